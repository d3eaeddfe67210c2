//! JSON: one document that holds all rows, as `pandas.DataFrame.to_json` and annotation tools write it.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::{MAX_COLUMNS, clean_header, too_many_columns};
use super::encoding::{Utf8Source, read_error};
use super::jsonl::cell_of;
use super::reader::Record;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a document, which is held whole.
const MAX_DOCUMENT_BYTES: u64 = 256 << 20;

/// What the name of a row becomes, where rows have names.
const KEY_COLUMN: &str = "key";

/// The rows of a JSON document. Its columns are the keys of all rows, in the order in which they are met; keys that a row lacks are missing cells.
pub(super) struct JsonRows {
    file: Arc<Path>,
    rows: std::iter::Zip<std::ops::RangeFrom<u64>, std::vec::IntoIter<Row>>,
    positions: HashMap<String, usize>,
}

/// The name of a row, where it has one, and its cells.
type Row = (Option<String>, Value);

impl JsonRows {
    pub(super) fn open(file: Arc<Path>, source: Utf8Source) -> Result<(Vec<String>, JsonRows)> {
        JsonRows::open_within(file, source, MAX_DOCUMENT_BYTES)
    }

    fn open_within(file: Arc<Path>, source: Utf8Source, max_bytes: u64) -> Result<(Vec<String>, JsonRows)> {
        let refused = |why: String| Error::Data(format!("{}: {why}", file.display()));
        let mut bytes = vec![];
        source.take(max_bytes + 1).read_to_end(&mut bytes).map_err(|error| read_error(&file, error))?;
        if bytes.len() as u64 > max_bytes {
            let limit = max_bytes >> 20;
            return Err(refused(format!(
                "a JSON document is held whole and may have {limit} MiB; write JSONL, which is read row by row"
            )));
        }
        let Ok(text) = std::str::from_utf8(&bytes) else {
            return Err(refused("has bytes that are not UTF-8, which JSON is; write the file anew".to_string()));
        };
        let documents: Vec<Value> =
            serde_json::Deserializer::from_str(text).into_iter().collect::<Result<_, _>>().map_err(
                // The parser's own words could one day quote the document; its place cannot.
                |error| refused(format!("is not valid JSON at line {}, byte {}", error.line(), error.column())),
            )?;
        drop(bytes);
        let rows = rows_of(documents).ok_or_else(|| {
            refused("holds no rows; write an array with an object for each note (pandas: `to_json(orient=\"records\")`), or JSONL".to_string())
        })?;

        let mut names: Vec<&str> = if rows[0].0.is_some() { vec![KEY_COLUMN] } else { vec![] };
        let mut positions: HashMap<&str, usize> = names.iter().map(|name| (*name, 0)).collect();
        for key in rows.iter().filter_map(|(_, value)| value.as_object()).flat_map(Map::keys) {
            positions.entry(key).or_insert_with(|| {
                names.push(key);
                names.len() - 1
            });
            if names.len() > MAX_COLUMNS {
                return Err(too_many_columns(&file));
            }
        }
        let positions = positions.into_iter().map(|(name, position)| (name.to_string(), position)).collect();
        let columns = clean_header(&file, names.into_iter().map(str::to_string))?;
        if columns.is_empty() {
            return Err(refused("its objects have no keys".to_string()));
        }
        Ok((columns, JsonRows { file, rows: (1..).zip(rows), positions }))
    }

    /// The next record; `None` at the end. Its line is the row's place among the rows, from 1.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        let Some((line, (key, value))) = self.rows.next() else {
            return Ok(None);
        };
        let Value::Object(object) = value else {
            let message = "is not a JSON object; each note is one, its columns are the keys".to_string();
            return Err(BadRow { file: self.file.clone(), line, column: None, reason: Reason::Json, message }.into());
        };
        let width = self.positions.values().max().map_or(0, |last| last + 1);
        let (mut fields, mut json) = (vec![None; width], vec![false; width]);
        if key.is_some() {
            // A row's own `key` comes after it, and stands.
            fields[0] = key;
        }
        for (name, value) in object {
            let position = self.positions[&name];
            (fields[position], json[position]) = cell_of(value);
        }
        Ok(Some(Record { line, fields, json }))
    }
}

/// The rows of what a file holds; `None`: there are none.
///
/// Several documents are JSONL under another name. One is an array of rows, or an object: of columns (pandas' default, whose cells are named "0", "1" and
/// so on in every column), of named rows, or with a single array of rows beside other things.
fn rows_of(mut documents: Vec<Value>) -> Option<Vec<Row>> {
    let nameless = |rows: Vec<Value>| rows.into_iter().map(|row| (None, row)).collect::<Vec<Row>>();
    let rows = if documents.len() > 1 {
        nameless(documents)
    } else {
        match documents.pop()? {
            Value::Array(rows) => nameless(rows),
            Value::Object(object) if is_columns(&object) => nameless(transposed(object)),
            Value::Object(object) if object.values().all(Value::is_object) => {
                object.into_iter().map(|(name, row)| (Some(name), row)).collect()
            }
            Value::Object(object) => {
                let mut tables = object.into_iter().filter_map(|(_, value)| match value {
                    Value::Array(rows) if rows.iter().any(Value::is_object) => Some(rows),
                    _ => None,
                });
                let table = tables.next()?;
                if tables.next().is_some() {
                    return None;
                }
                nameless(table)
            }
            _ => return None,
        }
    };
    rows.iter().any(|(_, row)| row.is_object()).then_some(rows)
}

/// Whether all values are objects of the same keys "0", "1" and so on.
fn is_columns(object: &Map<String, Value>) -> bool {
    let rows = object.values().next().and_then(Value::as_object).map_or(0, Map::len);
    rows > 0
        && object.values().all(|column| {
            let cells = column.as_object().filter(|cells| cells.len() == rows);
            cells.is_some_and(|cells| cells.keys().enumerate().all(|(row, name)| *name == row.to_string()))
        })
}

fn transposed(columns: Map<String, Value>) -> Vec<Value> {
    let mut rows: Vec<Map<String, Value>> = vec![];
    for (name, column) in columns {
        let Value::Object(cells) = column else { continue };
        rows.resize_with(cells.len(), Map::new);
        for (row, (_, cell)) in rows.iter_mut().zip(cells) {
            row.insert(name.clone(), cell);
        }
    }
    rows.into_iter().map(Value::Object).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::{BufReader, Cursor};

    fn open(text: &[u8]) -> Result<(Vec<String>, JsonRows)> {
        let source = Box::new(BufReader::new(Cursor::new(text.to_vec())));
        JsonRows::open_within(Path::new("a.json").into(), source, 100)
    }

    /// The columns, and each row's cells with a dot where one is missing.
    fn table(text: &str) -> (String, Vec<String>) {
        let (columns, mut rows) = open(text.as_bytes()).unwrap();
        let mut lines = vec![];
        while let Some(record) = rows.next_record().unwrap() {
            let cells: Vec<String> = record.fields.into_iter().map(|cell| cell.unwrap_or(".".to_string())).collect();
            lines.push(format!("{} {}", record.line, cells.join(" ")));
        }
        (columns.join(" "), lines)
    }

    #[test]
    fn rows_are_found_in_every_form_they_are_written_in() {
        let expected = ("note age".to_string(), vec!["1 fever 3".to_string(), "2 cough .".to_string()]);
        for text in [
            r#"[{"note":"fever","age":3},{"note":"cough","age":null}]"#,
            r#"{"note":{"0":"fever","1":"cough"},"age":{"0":3,"1":null}}"#,
            r#"{"version":"1","data":[{"note":"fever","age":3},{"note":"cough"}]}"#,
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
    }

    #[test]
    fn a_row_that_is_no_object_is_bad_and_does_not_end_the_file() {
        let (_, mut rows) = open(br#"[{"a":1},"secret",{"a":2}]"#).unwrap();
        rows.next_record().unwrap().unwrap();
        let Err(RowError::Bad(row)) = rows.next_record() else { panic!("row 2 is bad") };
        assert_eq!((row.line, row.reason), (2, Reason::Json));
        assert!(!row.to_string().contains("secret"), "{row}");
        assert_eq!(rows.next_record().unwrap().unwrap().line, 3);
        assert!(rows.next_record().unwrap().is_none());
    }

    #[test]
    fn what_holds_no_rows_is_an_error_that_quotes_nothing() {
        let deep = "[".repeat(100);
        let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(100));
        for (text, why) in [
            (&b""[..], "holds no rows"),
            (b"[]", "holds no rows"),
            (b"\"secret\"", "holds no rows"),
            (br#"["secret"]"#, "holds no rows"),
            (br#"{"a":[{"b":1}],"secret":[{"b":1}]}"#, "holds no rows"),
            (br#"{"columns":["a"],"data":[["secret"]]}"#, "holds no rows"),
            (b"[{}]", "have no keys"),
            (b"[{\"a\":\n secret}]", "not valid JSON at line 2, byte 2"),
            (b"[{\"a\":\"\xE9\"}]", "not UTF-8"),
            (deep.as_bytes(), "not valid JSON"),
            (long.as_bytes(), "write JSONL"),
            (br#"[{"a":1," a":2}]"#, "column 2 has the name"),
        ] {
            let Err(Error::Data(message)) = open(text) else { panic!("{why}") };
            assert!(message.starts_with("a.json: ") && message.contains(why), "{message}");
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
