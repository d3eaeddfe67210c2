//! CSV and TSV, as RFC 4180 has them, with any separator and any line ending.
//!
//! A reader of our own because the usual ones take a quote that never closes as one huge last cell and so lose half a file in
//! silence; here it is a bad row with the line it starts in.
//!
//! In TSV a line is a row, as its registration has it (IANA text/tab-separated-values): most corpora in it hold lone quotes as
//! plain text, and reading those as CSV swallows the rows between two of them. A cell that is quoted whole, with its inner
//! quotes doubled, is unquoted all the same, as spreadsheets write it. TSV with line breaks in quotes is read as format `csv`
//! with a tab as separator.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::{MAX_COLUMNS, clean_header, too_many_columns};
use super::encoding::{Utf8Source, encoding_advice, looks_like_utf16, read_error};
use super::reader::{MAX_ROW_BYTES, Record};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq)]
enum State {
    RowStart,
    FieldStart,
    Plain,
    Quoted,
    AfterQuote,
}

/// The rows of a delimited file.
pub(super) struct DelimitedRows {
    file: Arc<Path>,
    source: Utf8Source,
    separator: u8,
    /// Whether quotes can hold separators and line breaks (CSV), or a line is a row (TSV).
    quoting: bool,
    encoding: String,
    columns: Vec<String>,
    max_row_bytes: usize,
    /// Line of the next byte, from 1.
    line: u64,
    /// A carriage return alone ends a line, as on old Macintoshes: only where the header's line ends so. Elsewhere it is text,
    /// which exports leave inside cells.
    return_ends: bool,
    /// The last byte was a carriage return that ended a line, so that a line feed now ends nothing new.
    after_return: bool,
    /// The row's cells, one after the other.
    text: Vec<u8>,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
}

/// What was read beside `text` and `ends`.
struct RawRow {
    line: u64,
    cells: usize,
    problem: Option<Reason>,
}

impl DelimitedRows {
    pub(super) fn open(
        file: Arc<Path>,
        source: Utf8Source,
        separator: u8,
        quoting: bool,
        encoding: &str,
    ) -> Result<(Vec<String>, DelimitedRows)> {
        let mut rows = DelimitedRows {
            file,
            source,
            separator,
            quoting,
            encoding: encoding.to_string(),
            columns: vec![],
            max_row_bytes: MAX_ROW_BYTES,
            line: 1,
            return_ends: true,
            after_return: false,
            text: vec![],
            ends: vec![],
        };
        let columns = rows.read_header()?;
        rows.columns = columns.clone();
        Ok((columns, rows))
    }

    fn read_header(&mut self) -> Result<Vec<String>> {
        let Some(row) = self.read_row(MAX_COLUMNS)? else {
            return Err(Error::Data(format!(
                "{}: is empty; it needs a header row with the names of the columns",
                self.file.display()
            )));
        };
        let next = self.source.fill_buf().map_err(|error| read_error(&self.file, error))?.first().copied();
        if self.after_return && next == Some(b'\n') {
            self.source.consume(1);
        }
        self.return_ends = self.after_return && next != Some(b'\n');
        self.after_return = false;
        if looks_like_utf16(&self.encoding, &self.text) {
            return Err(Error::Data(format!(
                "{}: the header has zero bytes; if the file is UTF-16, set `encoding` (or --encoding) to utf-16le or utf-16be",
                self.file.display()
            )));
        }
        if row.cells > MAX_COLUMNS {
            return Err(too_many_columns(&self.file));
        }
        if let Some(reason) = row.problem {
            return Err(self.bad(&row, None, reason, problem_advice(reason)).into());
        }
        let mut names = Vec::with_capacity(row.cells);
        let mut start = 0;
        for &end in &self.ends {
            match std::str::from_utf8(&self.text[start..end]) {
                Ok(name) => names.push(self.unquoted(name).into_owned()),
                Err(_) => {
                    return Err(self.bad(&row, None, Reason::Encoding, &encoding_advice(&self.encoding)).into());
                }
            }
            start = end;
        }
        clean_header(&self.file, names)
    }

    /// The next record; `None` at the end.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        let Some(row) = self.read_row(self.columns.len())? else {
            return Ok(None);
        };
        if let Some(reason) = row.problem {
            return Err(self.bad(&row, None, reason, problem_advice(reason)).into());
        }
        if row.cells != self.columns.len() {
            let advice = if self.quoting {
                "put cells that hold the separator in quotes"
            } else {
                "if cells hold tabs or line breaks in quotes, set `format` (or --format) to csv and `separator` (or --separator) to a tab"
            };
            let (cells, columns) = (row.cells, self.columns.len());
            let message = format!("has {cells} cells where the header has {columns} columns; {advice}");
            return Err(self.bad(&row, None, Reason::FieldCount, &message).into());
        }
        let mut fields = Vec::with_capacity(row.cells);
        let mut start = 0;
        for (position, &end) in self.ends.iter().enumerate() {
            // Cell by cell: two malformed cells side by side could make up one valid character.
            let Ok(cell) = std::str::from_utf8(&self.text[start..end]) else {
                let column = self.columns.get(position).cloned();
                return Err(self.bad(&row, column, Reason::Encoding, &encoding_advice(&self.encoding)).into());
            };
            let cell = self.unquoted(cell);
            fields.push(if cell.is_empty() { None } else { Some(cell.into_owned()) });
            start = end;
        }
        Ok(Some(Record::of_text(row.line, fields)))
    }

    /// Reads one row into `text` and `ends`, at most `keep` cells of it; blank lines are no rows.
    fn read_row(&mut self, keep: usize) -> Result<Option<RawRow>> {
        self.text.clear();
        self.ends.clear();
        let mut row = RawRow { line: self.line, cells: 0, problem: None };
        let mut state = State::RowStart;
        // A carriage return outside of quotes, not yet known to be half of a line break.
        let mut held_return = false;
        loop {
            let chunk = self.source.fill_buf().map_err(|error| read_error(&self.file, error))?;
            if chunk.is_empty() {
                match state {
                    State::RowStart => return Ok(None),
                    State::Quoted => row.problem = Some(Reason::Quotes),
                    _ => {}
                }
                end_cell(&mut row, &self.text, &mut self.ends, keep);
                return Ok(Some(row));
            }
            let mut used = 0;
            while used < chunk.len() {
                let rest = &chunk[used..];
                if std::mem::take(&mut held_return) && rest[0] != b'\n' {
                    if state == State::AfterQuote {
                        row.problem.get_or_insert(Reason::Quotes);
                    }
                    store(&mut row, &mut self.text, b"\r", self.max_row_bytes, keep);
                    state = State::Plain;
                }
                // Runs of ordinary bytes are copied at once.
                let run = match state {
                    State::Plain => {
                        rest.iter().position(|&byte| byte == self.separator || byte == b'\n' || byte == b'\r')
                    }
                    State::Quoted => rest.iter().position(|&byte| byte == b'"' || byte == b'\n' || byte == b'\r'),
                    _ => Some(0),
                }
                .unwrap_or(rest.len());
                if run > 0 {
                    store(&mut row, &mut self.text, &rest[..run], self.max_row_bytes, keep);
                    self.after_return = false;
                    used += run;
                    continue;
                }
                let byte = rest[0];
                let new_line = if byte == b'\n' { !self.after_return } else { byte == b'\r' && self.return_ends };
                self.line += u64::from(new_line);
                self.after_return = byte == b'\r' && self.return_ends;
                used += 1;
                match (state, byte) {
                    (State::RowStart | State::FieldStart | State::Plain | State::AfterQuote, b'\r')
                        if !self.return_ends =>
                    {
                        held_return = true;
                    }
                    (State::RowStart, b'\n' | b'\r') => {
                        // A blank line, or the line feed that belongs to the last row's carriage return.
                        row.line = self.line;
                    }
                    (State::RowStart | State::FieldStart, b'"') if self.quoting => state = State::Quoted,
                    (State::Quoted, b'"') => state = State::AfterQuote,
                    (State::AfterQuote, b'"') => {
                        store(&mut row, &mut self.text, b"\"", self.max_row_bytes, keep);
                        state = State::Quoted;
                    }
                    (State::Quoted, _) => store(&mut row, &mut self.text, &[byte], self.max_row_bytes, keep),
                    (_, b'\n' | b'\r') => {
                        end_cell(&mut row, &self.text, &mut self.ends, keep);
                        self.source.consume(used);
                        return Ok(Some(row));
                    }
                    (_, byte) if byte == self.separator => {
                        end_cell(&mut row, &self.text, &mut self.ends, keep);
                        state = State::FieldStart;
                    }
                    (state_before, byte) => {
                        if state_before == State::AfterQuote {
                            row.problem.get_or_insert(Reason::Quotes);
                        }
                        store(&mut row, &mut self.text, &[byte], self.max_row_bytes, keep);
                        state = State::Plain;
                    }
                }
            }
            self.source.consume(used);
        }
    }

    /// In TSV, the content of a cell that is quoted whole; else the cell as it is.
    fn unquoted<'a>(&self, cell: &'a str) -> Cow<'a, str> {
        let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"')).filter(|_| !self.quoting);
        match inner {
            Some(inner) if !inner.replace("\"\"", "").contains('"') => Cow::Owned(inner.replace("\"\"", "\"")),
            _ => Cow::Borrowed(cell),
        }
    }

    fn bad(&self, row: &RawRow, column: Option<String>, reason: Reason, message: &str) -> BadRow {
        BadRow { file: self.file.clone(), line: row.line, column, reason, message: message.to_string() }
    }
}

fn store(row: &mut RawRow, text: &mut Vec<u8>, bytes: &[u8], limit: usize, keep: usize) {
    if row.cells >= keep {
        return;
    }
    if text.len() + bytes.len() > limit {
        row.problem = Some(Reason::TooLong);
    } else {
        text.extend_from_slice(bytes);
    }
}

fn end_cell(row: &mut RawRow, text: &[u8], ends: &mut Vec<usize>, keep: usize) {
    if row.cells < keep {
        ends.push(text.len());
    }
    row.cells += 1;
}

fn problem_advice(reason: Reason) -> &'static str {
    match reason {
        Reason::TooLong => "the row is longer than 16 MiB; look for a quote in it that is never closed",
        _ => "a quote is not closed, or text follows a closing quote; write a quote inside a quoted cell twice (\"\")",
    }
}

#[cfg(test)]
#[path = "delimited_tests.rs"]
mod tests;
