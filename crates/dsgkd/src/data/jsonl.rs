//! JSONL: one JSON object a line. The keys of the first objects are the columns.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::{MAX_COLUMNS, clean_header, clean_name, too_many_columns};
use super::encoding::{Utf8Source, read_error};
use super::reader::{MAX_ROW_BYTES, Record};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

/// Lines and bytes of them that are read ahead for their keys: programs leave out what is null, so that the first object may lack some.
const LINES_AHEAD: usize = 1000;
const BYTES_AHEAD: usize = MAX_ROW_BYTES;

/// The rows of a JSONL file. A record may lack keys (they are missing cells), but after the first lines it may not have new ones: the table's
/// columns are known by then, so that rows can be written as they are read.
pub(super) struct JsonlRows {
    file: Arc<Path>,
    source: Utf8Source,
    line: u64,
    text: Vec<u8>,
    /// Where a key's cell stands, and how many there are.
    positions: HashMap<String, usize>,
    width: usize,
    max_line_bytes: usize,
    ahead: VecDeque<Result<(u64, Map<String, Value>), RowError>>,
    /// The last line whose keys are columns.
    last_ahead: u64,
}

impl JsonlRows {
    pub(super) fn open(file: Arc<Path>, source: Utf8Source) -> Result<(Vec<String>, JsonlRows)> {
        JsonlRows::open_within(file, source, MAX_ROW_BYTES)
    }

    fn open_within(file: Arc<Path>, source: Utf8Source, max_line_bytes: usize) -> Result<(Vec<String>, JsonlRows)> {
        let mut rows = JsonlRows {
            file,
            source,
            line: 0,
            text: vec![],
            positions: HashMap::new(),
            width: 0,
            max_line_bytes,
            ahead: VecDeque::new(),
            last_ahead: 0,
        };
        let columns = rows.read_ahead()?;
        Ok((columns, rows))
    }

    /// Reads the first lines and gives the keys that their objects have.
    fn read_ahead(&mut self) -> Result<Vec<String>> {
        let (mut columns, mut bytes) = (None, 0);
        while self.ahead.len() < LINES_AHEAD && bytes < BYTES_AHEAD {
            let Some(object) = self.read_object().transpose() else { break };
            if let Ok(object) = &object {
                columns = Some(self.with_keys_of(object, columns)?);
            }
            bytes += self.text.len();
            let ends = matches!(object, Err(RowError::Stop(_)));
            self.ahead.push_back(object.map(|object| (self.line, object)));
            if ends {
                break; // a file that cannot be read is not to be asked again and again
            }
        }
        self.last_ahead = self.line;
        let Some(columns) = columns else {
            // Not one object: what is wrong with the first line is wrong with the file.
            let stop = self.ahead.iter().position(|read| matches!(read, Err(RowError::Stop(_))));
            return match self.ahead.remove(stop.unwrap_or(0)) {
                Some(Err(error)) => Err(error.into()),
                _ => Err(Error::Data(format!("{}: is empty; it needs one JSON object a line", self.file.display()))),
            };
        };
        if columns.is_empty() {
            return Err(Error::Data(format!("{}: its JSON objects have no keys", self.file.display())));
        }
        if columns.len() > MAX_COLUMNS {
            return Err(too_many_columns(&self.file));
        }
        self.width = columns.len();
        Ok(columns)
    }

    /// The columns with those of an object that are new; without any, the object's.
    fn with_keys_of(&mut self, object: &Map<String, Value>, columns: Option<Vec<String>>) -> Result<Vec<String>> {
        let Some(mut columns) = columns else {
            let names = clean_header(&self.file, object.keys().cloned())?;
            // A key that is empty is given a name, and may be called by it later.
            let keys = object.keys().map(|key| clean_name(key)).zip(0..);
            let both = keys.chain(names.iter().map(String::as_str).zip(0..));
            self.positions = both.map(|(key, position)| (key.to_string(), position)).collect();
            return Ok(names);
        };
        for key in object.keys().map(|key| clean_name(key)).filter(|key| !key.is_empty()) {
            if !self.positions.contains_key(key) {
                self.positions.insert(key.to_string(), columns.len());
                columns.push(key.to_string());
            }
        }
        Ok(columns)
    }

    /// The next record; `None` at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        let (line, object) = match self.ahead.pop_front() {
            Some(read) => read?,
            None => match self.read_object()? {
                Some(object) => (self.line, object),
                None => return Ok(None),
            },
        };
        let (mut fields, mut json) = (vec![None; self.width], vec![false; self.width]);
        for (number, (key, value)) in (1..).zip(object) {
            match self.positions.get(clean_name(&key)) {
                Some(&position) => (fields[position], json[position]) = cell_of(value),
                None => {
                    // By number: where a line is put together wrongly, its key is a cell.
                    let message = match clean_name(&key) {
                        "" => format!("has a key that is empty (number {number} of its keys); give it a name"),
                        _ => format!(
                            "has a key that no line up to {} has (number {number} of its keys); give the first record every key (null \
                             where it has no value)",
                            self.last_ahead
                        ),
                    };
                    return Err(self.bad(line, Reason::UnknownKey, message).into());
                }
            }
        }
        Ok(Some(Record { line, fields, json }))
    }

    fn read_object(&mut self) -> Result<Option<Map<String, Value>>, RowError> {
        let whole = loop {
            let (any, whole) = self.read_line()?;
            if !any {
                return Ok(None);
            }
            if !whole || !self.text.iter().all(u8::is_ascii_whitespace) {
                break whole;
            }
        };
        if !whole {
            let message = "the line is longer than 16 MiB; write one object a line";
            return Err(self.bad(self.line, Reason::TooLong, message.to_string()).into());
        }
        let Ok(text) = std::str::from_utf8(&self.text) else {
            let message = "has bytes that are not UTF-8, which JSONL is whatever data.encoding says; write the file anew, or repair the row";
            return Err(self.bad(self.line, Reason::Encoding, message.to_string()).into());
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some(object)),
            Ok(Value::Array(_)) => {
                let message = "is a JSON array; write one object a line, without brackets or commas around them";
                Err(self.bad(self.line, Reason::Json, message.to_string()).into())
            }
            Ok(_) => Err(self
                .bad(self.line, Reason::Json, "is not a JSON object; write one object a line".to_string())
                .into()),
            Err(error) => {
                // The parser's own words could one day quote the line; its column cannot.
                let message = format!(
                    "is not valid JSON at byte {} (NaN is none; null is); write one object a line",
                    error.column()
                );
                Err(self.bad(self.line, Reason::Json, message).into())
            }
        }
    }

    /// Reads one line into `text`: whether there was one, and whether all of it was kept.
    fn read_line(&mut self) -> Result<(bool, bool)> {
        self.text.clear();
        let (mut any, mut whole) = (false, true);
        loop {
            let chunk = self.source.fill_buf().map_err(|error| read_error(&self.file, error))?;
            if chunk.is_empty() {
                self.line += u64::from(any);
                return Ok((any, whole));
            }
            any = true;
            let end = chunk.iter().position(|&byte| byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if self.text.len() + part.len() > self.max_line_bytes {
                whole = false;
            } else {
                self.text.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.source.consume(used);
            if end.is_some() {
                self.line += 1;
                return Ok((true, whole));
            }
        }
    }

    fn bad(&self, line: u64, reason: Reason, message: String) -> BadRow {
        BadRow { file: self.file.clone(), line, column: None, reason, message }
    }
}

/// A value as a cell, and whether that is JSON: null is missing, what is no text is its JSON.
pub(super) fn cell_of(value: Value) -> (Option<String>, bool) {
    match value {
        Value::Null => (None, false),
        Value::String(text) => (Some(text), false),
        other => (Some(other.to_string()), true),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::columns::MAX_COLUMNS;
    use super::*;
    use std::io::{BufReader, Cursor};

    fn open(text: &[u8]) -> Result<(Vec<String>, JsonlRows)> {
        let source = Box::new(BufReader::with_capacity(5, Cursor::new(text.to_vec())));
        JsonlRows::open(Path::new("a.jsonl").into(), source)
    }

    fn reason(result: Result<Option<Record>, RowError>) -> (u64, Reason) {
        match result.unwrap_err() {
            RowError::Bad(row) => (row.line, row.reason),
            RowError::Stop(error) => panic!("{error}"),
        }
    }

    #[test]
    fn values_become_text_and_absent_keys_are_missing() {
        let (columns, mut rows) =
            open(b"{\" note \":\"fe\\nver\",\"age\":71,\"bt\":36.60,\"x\":null,\"y\":[true]}\r\n\n{\"age\":false}")
                .unwrap();
        assert_eq!(columns, ["note", "age", "bt", "x", "y"]);
        let text = |text: &str| Some(text.to_string());
        let first = rows.next_record().unwrap().unwrap();
        assert_eq!(first.line, 1);
        assert_eq!(first.fields, [text("fe\nver"), text("71"), text("36.6"), None, text("[true]")]);
        assert_eq!(first.json, [false, true, true, false, true]);
        let second = rows.next_record().unwrap().unwrap();
        assert_eq!((second.line, second.fields[1].clone(), second.fields[0].clone()), (3, text("false"), None));
        assert_eq!(second.json, [false, true, false, false, false]);
        assert!(rows.next_record().unwrap().is_none());
    }

    #[test]
    fn bad_lines_do_not_end_the_file_and_are_not_quoted() {
        let (_, mut rows) =
            open(b"{\"a\":1}\n{\"a\":secret}\n[{\"a\":1}]\n5\n{\"\":1}\n{\"a\":\"\xE9\"}\n{\"a\":1}x\n{\"a\":2}\n")
                .unwrap();
        rows.next_record().unwrap().unwrap();
        let Err(RowError::Bad(row)) = rows.next_record() else { panic!("line 2 is bad") };
        assert_eq!((row.line, row.reason), (2, Reason::Json));
        assert!(!row.to_string().contains("secret"), "{row}");
        assert_eq!(reason(rows.next_record()), (3, Reason::Json));
        assert_eq!(reason(rows.next_record()), (4, Reason::Json));
        assert_eq!(reason(rows.next_record()), (5, Reason::UnknownKey));
        assert_eq!(reason(rows.next_record()), (6, Reason::Encoding));
        assert_eq!(reason(rows.next_record()), (7, Reason::Json));
        assert_eq!(rows.next_record().unwrap().unwrap().line, 8);
    }

    #[test]
    fn keys_that_the_first_record_lacks_are_columns() {
        let (columns, mut rows) = open(
            b"{\"bt\":NaN}\n{\"\":0,\"note\":\"fever\"}\n{\"a\":secret}\n{\" label \":\"yes\",\"note\":\"cough\",\"column_1\":1}\n",
        )
        .unwrap();
        assert_eq!(columns, ["column_1", "note", "label"]);
        let text = |text: &str| Some(text.to_string());
        assert_eq!(reason(rows.next_record()), (1, Reason::Json));
        assert_eq!(rows.next_record().unwrap().unwrap().fields, [text("0"), text("fever"), None]);
        assert_eq!(reason(rows.next_record()), (3, Reason::Json));
        let last = rows.next_record().unwrap().unwrap();
        assert_eq!((last.line, last.fields), (4, vec![text("1"), text("cough"), text("yes")]));
        assert!(rows.next_record().unwrap().is_none());
    }

    #[test]
    fn a_key_that_comes_late_is_told_by_its_number() {
        let text = "{\"a\":1}\n".repeat(LINES_AHEAD) + "{\"a\":2,\"secret fever\":3}\n{\"a\":4}\n";
        let (columns, mut rows) = open(text.as_bytes()).unwrap();
        assert_eq!(columns, ["a"]);
        (0..LINES_AHEAD).for_each(|_| assert!(rows.next_record().unwrap().is_some()));
        let Err(RowError::Bad(row)) = rows.next_record() else { panic!("its key was not known") };
        assert_eq!((row.line, row.reason), (LINES_AHEAD as u64 + 1, Reason::UnknownKey));
        assert!(row.message.contains("number 2 of its keys") && !row.message.contains("secret"), "{row}");
        assert_eq!(rows.next_record().unwrap().unwrap().line, LINES_AHEAD as u64 + 2);
    }

    #[test]
    fn an_object_of_too_many_keys_is_no_first_record() {
        let keys: Vec<String> = (0..=MAX_COLUMNS).map(|key| format!("\"{key}\":1")).collect();
        let Err(error) = open(format!("{{{}}}\n", keys.join(",")).as_bytes()) else { panic!("too many columns") };
        assert!(error.to_string().starts_with("a.jsonl: the header has more than"), "{error}");
    }

    #[test]
    fn hostile_files_are_errors() {
        let deep = "[".repeat(100_000);
        for text in [&b""[..], b"\n\n", b"{}", b"[1]", b"{\"a\":1", b"\0", b"{\"a\":1,\" a\":2}", deep.as_bytes()] {
            assert!(matches!(open(text), Err(Error::Data(_))));
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_bad() {
        let source = |text: &'static [u8]| Box::new(BufReader::new(Cursor::new(text)));
        let text = b"{\"a\":1}\n{\"a\":\"xxxxxxxxxxxxxxxxxxxxxxx\"}\n{\"a\":2}\n";
        let (_, mut rows) = JsonlRows::open_within(Path::new("a.jsonl").into(), source(text), 12).unwrap();
        rows.next_record().unwrap().unwrap();
        assert_eq!(reason(rows.next_record()), (2, Reason::TooLong));
        assert_eq!(rows.next_record().unwrap().unwrap().line, 3);
    }
}
