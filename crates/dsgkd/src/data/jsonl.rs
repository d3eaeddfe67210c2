//! JSONL: one JSON object a line. The keys of the first object are the columns.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::clean_header;
use super::encoding::{Utf8Source, read_error};
use super::reader::{MAX_ROW_BYTES, Record};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The rows of a JSONL file. A later record may lack keys of the first (they are missing cells) but may not have others: the
/// table's columns are known after one record, so that rows can be written as they are read.
pub(super) struct JsonlRows {
    file: Arc<Path>,
    source: Utf8Source,
    line: u64,
    text: Vec<u8>,
    positions: HashMap<String, usize>,
    max_line_bytes: usize,
    first: Option<Record>,
}

impl JsonlRows {
    pub(super) fn open(file: Arc<Path>, source: Utf8Source) -> Result<(Vec<String>, JsonlRows)> {
        let mut rows = JsonlRows {
            file,
            source,
            line: 0,
            text: vec![],
            positions: HashMap::new(),
            max_line_bytes: MAX_ROW_BYTES,
            first: None,
        };
        let Some(object) = rows.read_object()? else {
            return Err(Error::Data(format!("{}: is empty; it needs one JSON object a line", rows.file.display())));
        };
        let columns = clean_header(&rows.file, object.keys().cloned())?;
        if columns.is_empty() {
            return Err(Error::Data(format!("{}: the first JSON object has no keys", rows.file.display())));
        }
        rows.positions = columns.iter().enumerate().map(|(position, name)| (name.clone(), position)).collect();
        let (fields, json) = object.into_iter().map(|(_, value)| cell_of(value)).unzip();
        rows.first = Some(Record { line: rows.line, fields, json });
        Ok((columns, rows))
    }

    /// The next record; `None` at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let Some(object) = self.read_object()? else {
            return Ok(None);
        };
        let (mut fields, mut json) = (vec![None; self.positions.len()], vec![false; self.positions.len()]);
        for (number, (key, value)) in (1..).zip(object) {
            match self.positions.get(key.trim()) {
                Some(&position) => (fields[position], json[position]) = cell_of(value),
                None => {
                    // By number: where a line is put together wrongly, its key is a cell.
                    let message = format!(
                        "has a key that the first record does not have (number {number} of its keys); give the first \
                         record every key (null where it has no value)"
                    );
                    return Err(self.bad(Reason::UnknownKey, message).into());
                }
            }
        }
        Ok(Some(Record { line: self.line, fields, json }))
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
            return Err(self.bad(Reason::TooLong, message.to_string()).into());
        }
        let Ok(text) = std::str::from_utf8(&self.text) else {
            let message = "has bytes that are not UTF-8, which JSONL is whatever data.encoding says; write the file anew, or repair the row";
            return Err(self.bad(Reason::Encoding, message.to_string()).into());
        };
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => Ok(Some(object)),
            Ok(Value::Array(_)) => {
                let message = "is a JSON array; write one object a line, without brackets or commas around them";
                Err(self.bad(Reason::Json, message.to_string()).into())
            }
            Ok(_) => Err(self.bad(Reason::Json, "is not a JSON object; write one object a line".to_string()).into()),
            Err(error) => {
                // The parser's own words could one day quote the line; its column cannot.
                let message = format!("is not valid JSON at byte {}; write one object a line", error.column());
                Err(self.bad(Reason::Json, message).into())
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

    fn bad(&self, reason: Reason, message: String) -> BadRow {
        BadRow { file: self.file.clone(), line: self.line, column: None, reason, message }
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
            open(b"{\"a\":1}\n{\"a\":secret}\n[{\"a\":1}]\n5\n{\"b\":1}\n{\"a\":\"\xE9\"}\n{\"a\":1}x\n{\"a\":2}\n")
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
    fn an_unknown_key_is_told_by_its_number() {
        let (_, mut rows) = open(b"{\"a\":1}\n{\"a\":2,\"secret fever\":3}\n").unwrap();
        rows.next_record().unwrap().unwrap();
        let Err(RowError::Bad(row)) = rows.next_record() else { panic!("line 2 has a key too many") };
        assert_eq!((row.line, row.reason), (2, Reason::UnknownKey));
        assert!(row.message.contains("number 2 of its keys") && !row.message.contains("secret"), "{row}");
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
        let (_, mut rows) = open(b"{\"a\":1}\n{\"a\":\"xxxxxxxxxxxxxxxxxxxxxxx\"}\n{\"a\":2}\n").unwrap();
        rows.max_line_bytes = 12;
        rows.next_record().unwrap().unwrap();
        assert_eq!(reason(rows.next_record()), (2, Reason::TooLong));
        assert_eq!(rows.next_record().unwrap().unwrap().line, 3);
    }
}
