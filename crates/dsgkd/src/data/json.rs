//! JSON: one document that holds all rows, as `pandas.DataFrame.to_json` and annotation tools write it.
//!
//! The text is held whole; of its rows only the places are, and each is parsed when it is asked for, so that memory is a small multiple of the file.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::{MAX_COLUMNS, clean_header, too_many_columns};
use super::encoding::{Utf8Source, read_error};
use super::jsonl::cell_of;
use super::reader::{MAX_ROW_BYTES, Record};
use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a document.
const MAX_DOCUMENT_BYTES: usize = 128 << 20;

/// What the name of a row becomes, where rows have names.
const KEY_COLUMN: &str = "key";

/// Members under which a document with other things beside them holds its rows: pandas' `orient="table"`, and what tools export.
const TABLES: [&str; 3] = ["data", "records", "rows"];

/// The rows of a JSON document. Its columns are the keys of all rows, in the order in which they are met; keys that a row lacks are missing cells.
pub(super) struct JsonRows {
    file: Arc<Path>,
    text: String,
    table: Table,
    /// Columns of the table.
    width: usize,
    /// Rows that were given out.
    given: usize,
}

/// Where the cells of a document are.
enum Table {
    /// An object a row: the names of rows, where they have some, the objects' places, and the columns of their keys.
    Rows { names: Option<Vec<String>>, places: Vec<Range<usize>>, positions: HashMap<String, usize> },
    /// An object a column: of each column its cells' places, row by row.
    Columns { rows: usize, cells: Vec<Vec<Option<Range<usize>>>> },
}

/// The members of an object in their order, keys that stand twice among them.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Walk<T> {
            type Value = Members<T>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members = vec![];
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Walk(std::marker::PhantomData))
    }
}

impl<T> Members<T> {
    fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    fn has_a_key_twice(&self) -> bool {
        let mut seen = HashSet::new();
        !self.keys().all(|key| seen.insert(key))
    }
}

impl JsonRows {
    pub(super) fn open(file: Arc<Path>, source: Utf8Source) -> Result<(Vec<String>, JsonRows)> {
        JsonRows::open_within(file, source, MAX_DOCUMENT_BYTES)
    }

    fn open_within(file: Arc<Path>, source: Utf8Source, max_bytes: usize) -> Result<(Vec<String>, JsonRows)> {
        let refused = |why: String| Error::Data(format!("{}: {why}", file.display()));
        let mut bytes = vec![];
        source.take(max_bytes as u64 + 1).read_to_end(&mut bytes).map_err(|error| read_error(&file, error))?;
        if bytes.len() > max_bytes {
            let limit = max_bytes >> 20;
            return Err(refused(format!(
                "a JSON document is held whole and may have {limit} MiB; write JSONL, which is read row by row"
            )));
        }
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(refused("has bytes that are not UTF-8, which JSON is; write the file anew".to_string()));
        };
        let (columns, table) = table_of(&file, &text)?;
        let columns = clean_header(&file, columns)?;
        if columns.is_empty() {
            return Err(refused("its objects have no keys".to_string()));
        }
        let width = columns.len();
        Ok((columns, JsonRows { file, text, table, width, given: 0 }))
    }

    /// The next record; `None` at the end. Its line is the row's place among the rows, from 1.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        let row = self.given;
        let line = row as u64 + 1;
        self.given += 1;
        match &self.table {
            Table::Columns { rows, .. } if row >= *rows => Ok(None),
            Table::Columns { cells, .. } => {
                let parsed = cells.iter().map(|column| match &column[row] {
                    Some(place) => serde_json::from_str(&self.text[place.clone()]).map(cell_of),
                    None => Ok((None, false)),
                });
                let cells = parsed.collect::<Result<Vec<_>, _>>();
                let (fields, json) = cells.map_err(|_| self.bad(line, Reason::Json, DEEP))?.into_iter().unzip();
                Ok(Some(Record { line, fields, json }))
            }
            Table::Rows { places, .. } if row >= places.len() => Ok(None),
            Table::Rows { names, places, positions } => {
                let text = &self.text[places[row].clone()];
                if text.len() > MAX_ROW_BYTES {
                    return Err(self.bad(line, Reason::TooLong, "is longer than 16 MiB; no note is as long").into());
                }
                let Ok(members) = serde_json::from_str::<Members<Value>>(text) else {
                    let message = if text.starts_with('{') { DEEP } else { NO_OBJECT };
                    return Err(self.bad(line, Reason::Json, message).into());
                };
                if members.has_a_key_twice() {
                    return Err(self.bad(line, Reason::Json, "has a key twice; keep one of them").into());
                }
                let (mut fields, mut json) = (vec![None; self.width], vec![false; self.width]);
                if let Some(names) = names {
                    // A row's own `key` comes after it, and stands.
                    fields[0] = Some(names[row].clone());
                }
                for (key, value) in members.0 {
                    if let Some(&position) = positions.get(&key) {
                        (fields[position], json[position]) = cell_of(value);
                    }
                }
                Ok(Some(Record { line, fields, json }))
            }
        }
    }

    fn bad(&self, line: u64, reason: Reason, message: &str) -> BadRow {
        BadRow { file: self.file.clone(), line, column: None, reason, message: message.to_string() }
    }
}

const NO_OBJECT: &str = "is not a JSON object; each note is one, its columns are the keys";
const DEEP: &str = "holds what cannot be read: a number beyond any type, or lists in lists without end";

/// How a document writes a table.
enum Shape<'a> {
    /// As objects, one a row, and the names they have where they are members of one object.
    Rows(Option<Vec<String>>, Vec<&'a RawValue>),
    /// As objects, one a column, of these names.
    Columns(Vec<String>, Vec<Members<&'a RawValue>>),
}

const NO_ROWS: &str =
    "holds no rows; write an array with an object for each note (pandas: `to_json(orient=\"records\")`), or JSONL";

/// The columns of a document, and where its cells are.
fn table_of(file: &Arc<Path>, text: &str) -> Result<(Vec<String>, Table)> {
    let refused = |why: &str| Error::Data(format!("{}: {why}", file.display()));
    let documents = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<&RawValue>, _>>();
    // The parser's own words could one day quote the document; its place cannot.
    let documents = documents.map_err(|error| {
        let (line, byte) = (error.line(), error.column());
        refused(&format!(
            "is not valid JSON at line {line}, byte {byte} (NaN and Infinity are not; null is); in JSONL only that row would be bad"
        ))
    })?;
    let table = match shape_of(documents).map_err(refused)? {
        Some(Shape::Rows(names, objects)) => rows(file, text, names, objects)?,
        Some(Shape::Columns(names, objects)) => Some(columns(file, text, names, objects)?),
        None => None,
    };
    table.ok_or_else(|| refused(NO_ROWS))
}

/// The shape of a file's documents: JSONL under another name, or one; `None`: no table.
fn shape_of(documents: Vec<&RawValue>) -> Result<Option<Shape<'_>>, &'static str> {
    let [document] = documents[..] else { return Ok(Some(Shape::Rows(None, documents))) };
    if document.get().starts_with('[') {
        return Ok(parsed(document).map(|objects| Shape::Rows(None, objects)));
    }
    let Some(members) = parsed::<Members<&RawValue>>(document) else { return Ok(None) };
    if members.has_a_key_twice() {
        return Err("its object has a key twice; keep one of them");
    }
    let members = members.0;
    if !members.is_empty() && members.iter().all(|(_, value)| value.get().starts_with('{')) {
        let inner: Vec<Members<&RawValue>> = members.iter().filter_map(|(_, value)| parsed(value)).collect();
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let numbered = inner.iter().flat_map(Members::keys).all(is_number);
        let names_are_numbers = members.iter().all(|(name, _)| is_number(name));
        let (names, objects): (Vec<String>, Vec<&RawValue>) = members.into_iter().unzip();
        return match (numbered && inner.iter().any(|cells| !cells.0.is_empty()), names_are_numbers) {
            (true, true) => Err(
                "does not say whether its objects are rows or columns, all of whose names are numbers; write it with pandas' `to_json(orient=\"records\")`",
            ),
            (true, false) => Ok(Some(Shape::Columns(names, inner))),
            (false, _) => Ok(Some(Shape::Rows(Some(names), objects))),
        };
    }
    let table = members.iter().find(|(name, value)| TABLES.contains(&name.as_str()) && value.get().starts_with('['));
    let objects = match table.and_then(|(_, table)| parsed(table)) {
        Some(objects) => objects,
        // What has lists alone is another form of a table ({"columns": [...], "data": [[...]]}); one object is a row.
        None if members.iter().all(|(_, value)| value.get().starts_with('[')) => return Ok(None),
        None => vec![document],
    };
    Ok(Some(Shape::Rows(None, objects)))
}

fn parsed<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

/// Where a value stands in the text that it is a piece of.
fn place(text: &str, value: &RawValue) -> Range<usize> {
    let start = value.get().as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.get().len()
}

/// A table of these objects; `None`: there is not one among them.
fn rows(
    file: &Path,
    text: &str,
    names: Option<Vec<String>>,
    rows: Vec<&RawValue>,
) -> Result<Option<(Vec<String>, Table)>> {
    let mut columns: Vec<String> = if names.is_some() { vec![KEY_COLUMN.to_string()] } else { vec![] };
    let mut positions: HashMap<String, usize> = columns.iter().map(|name| (name.clone(), 0)).collect();
    let mut any = false;
    for row in rows.iter().filter(|row| row.get().starts_with('{') && row.get().len() <= MAX_ROW_BYTES) {
        any = true;
        for (key, _) in parsed::<Members<serde::de::IgnoredAny>>(row).into_iter().flat_map(|members| members.0) {
            if !positions.contains_key(&key) {
                positions.insert(key.clone(), columns.len());
                columns.push(key);
            }
        }
        if columns.len() > MAX_COLUMNS {
            return Err(too_many_columns(file));
        }
    }
    let places = rows.into_iter().map(|row| place(text, row)).collect();
    Ok(any.then_some((columns, Table::Rows { names, places, positions })))
}

/// A table of these columns, whose cells are named after their rows.
fn columns(
    file: &Path,
    text: &str,
    names: Vec<String>,
    columns: Vec<Members<&RawValue>>,
) -> Result<(Vec<String>, Table)> {
    if names.len() > MAX_COLUMNS {
        return Err(too_many_columns(file));
    }
    if columns.iter().any(Members::has_a_key_twice) {
        return Err(Error::Data(format!("{}: a column names a row twice; keep one of them", file.display())));
    }
    let mut rows: HashMap<&str, usize> = HashMap::new();
    for key in columns.iter().flat_map(Members::keys) {
        let next = rows.len();
        rows.entry(key).or_insert(next);
    }
    let mut cells = vec![];
    for column in &columns {
        let mut places = vec![None; rows.len()];
        for (key, value) in &column.0 {
            places[rows[key.as_str()]] = Some(place(text, value));
        }
        cells.push(places);
    }
    Ok((names, Table::Columns { rows: rows.len(), cells }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{BufReader, Cursor};

    fn open(text: &[u8]) -> Result<(Vec<String>, JsonRows)> {
        let source = Box::new(BufReader::new(Cursor::new(text.to_vec())));
        JsonRows::open_within(Path::new("a.json").into(), source, 300)
    }

    /// The columns, and each row's cells with a dot where one is missing.
    fn table(text: &str) -> (String, Vec<String>) {
        let (columns, mut rows) = open(text.as_bytes()).unwrap();
        let mut lines = vec![];
        while let Some(record) = rows.next_record().unwrap() {
            let cells: Vec<String> = record.fields.into_iter().map(|cell| cell.unwrap_or(".".to_string())).collect();
            lines.push(format!("{} {}", record.line, cells.join(" ")));
        }
        assert!(rows.next_record().unwrap().is_none());
        (columns.join(" "), lines)
    }

    #[test]
    fn rows_are_found_in_every_form_they_are_written_in() {
        let expected = ("note age".to_string(), vec!["1 fever 3".to_string(), "2 cough .".to_string()]);
        for text in [
            r#"[{"note":"fever","age":3},{"note":"cough","age":null}]"#,
            r#"{"note":{"0":"fever","1":"cough"},"age":{"0":3,"1":null}}"#,
            // Rows of a frame that was filtered.
            r#"{"note":{"3":"fever","17":"cough"},"age":{"3":3,"17":null}}"#,
            r#"{"schema":{"fields":[]},"data":[{"note":"fever","age":3},{"note":"cough"}]}"#,
            r#"{"version":"1","rows":[{"note":"fever","age":3},{"note":"cough"}]}"#,
            "{\"note\":\"fever\",\"age\":3}\n{\"note\":\"cough\"}\n",
        ] {
            assert_eq!(table(text), expected, "{text}");
        }
        let named = table(r#"{"17":{"note":"fever"},"4":{"age":3,"note":["a","b"]}}"#);
        assert_eq!(named.0, "key note age");
        assert_eq!(named.1, ["1 17 fever .", r#"2 4 ["a","b"] 3"#]);
        // A row's own key is not lost, nor is a column twice.
        let own = table(r#"{"17":{"note":"fever","key":"k"},"4":{"note":"cough"}}"#);
        assert_eq!((own.0.as_str(), own.1), ("key note", vec!["1 k fever".to_string(), "2 4 cough".to_string()]));
        // One object is one row, whatever stands in it.
        let one = table(r#"{"note":"fever cough","terms":[{"note":"hidden"}]}"#);
        assert_eq!((one.0.as_str(), one.1), ("note terms", vec![r#"1 fever cough [{"note":"hidden"}]"#.to_string()]));
    }

    #[test]
    fn a_row_that_cannot_be_used_is_bad_and_does_not_end_the_file() {
        let deep = "[".repeat(130) + &"]".repeat(130);
        let text = format!(r#"[{{"a":1}},"secret",{{"a":2,"a":3}},{{"a":{deep}}},{{"a":1e999}},{{"a":4}}]"#);
        let source = Box::new(BufReader::new(Cursor::new(text.into_bytes())));
        let (_, mut rows) = JsonRows::open(Path::new("a.json").into(), source).unwrap();
        rows.next_record().unwrap().unwrap();
        for (line, why) in
            [(2, "is not a JSON object"), (3, "a key twice"), (4, "cannot be read"), (5, "cannot be read")]
        {
            let Err(RowError::Bad(row)) = rows.next_record() else { panic!("row {line} is bad") };
            assert_eq!((row.line, row.reason), (line, Reason::Json));
            assert!(row.to_string().contains(why) && !row.to_string().contains("secret"), "{row}");
        }
        assert_eq!(rows.next_record().unwrap().unwrap().line, 6);
        assert!(rows.next_record().unwrap().is_none());
    }

    #[test]
    fn what_holds_no_rows_is_an_error_that_quotes_nothing() {
        let deep = "[".repeat(200);
        let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(300));
        for (text, why) in [
            (&b""[..], "holds no rows"),
            (b"[]", "holds no rows"),
            (b"{}", "holds no rows"),
            (b"\"secret\"", "holds no rows"),
            (br#"["secret"]"#, "holds no rows"),
            (br#"{"columns":["a"],"data":[["secret"]]}"#, "holds no rows"),
            (b"[{}]", "have no keys"),
            (br#"{"0":{"0":"secret"},"1":{"0":"b"}}"#, "rows or columns"),
            (br#"{"17":{"a":"secret"},"17":{"a":2}}"#, "a key twice"),
            (br#"{"a":{"1":"secret","1":2}}"#, "a row twice"),
            (b"[{\"a\":\n secret}]", "not valid JSON at line 2, byte 2"),
            (b"[{\"a\":NaN}]", "NaN and Infinity are not"),
            (b"[{\"a\":\"\xE9\"}]", "not UTF-8"),
            (deep.as_bytes(), "not valid JSON"),
            (long.as_bytes(), "write JSONL"),
            (br#"[{"a":1," a":2}]"#, "column 2 has the name"),
        ] {
            let Err(Error::Data(message)) = open(text) else { panic!("{why}") };
            assert!(message.starts_with("a.json: ") && message.contains(why), "{why}: {message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
