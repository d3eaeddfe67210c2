//! Rows that cannot be used, as values: where, which column, what is wrong and what to do; never what the cell says.

use super::format::row_unit;
use crate::error::Error;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What is wrong with a row, as counted when bad rows are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Bytes that the file's encoding does not allow.
    Encoding,
    /// A quote that never closes, or text after a closing quote.
    Quotes,
    /// More or fewer cells than the header has columns.
    FieldCount,
    /// A row longer than a reader takes into memory, or a note longer than a tokenizer is given.
    TooLong,
    /// A line that is not one JSON object.
    Json,
    /// A JSON key that the first records do not have.
    UnknownKey,
    /// No text in the note.
    MissingText,
    /// A cell that the template needs is missing.
    MissingValue,
    /// No label.
    MissingLabel,
    /// A label that is not one of the class names.
    UnknownLabel,
    /// No group.
    MissingGroup,
}

impl Reason {
    /// The reason in a few words, as a report counts it: "rows ...".
    pub fn describe(self) -> &'static str {
        match self {
            Reason::Encoding => "with bytes that are not in the file's encoding",
            Reason::Quotes => "with broken quotes",
            Reason::FieldCount => "with a wrong number of cells",
            Reason::TooLong => "that are too long",
            Reason::Json => "that are not one JSON object",
            Reason::UnknownKey => "with a key that the first records do not have",
            Reason::MissingText => "without text",
            Reason::MissingValue => "without a cell that the template needs",
            Reason::MissingLabel => "without a label",
            Reason::UnknownLabel => "with an unknown label",
            Reason::MissingGroup => "without a group",
        }
    }
}

/// One row that cannot be used. Its message quotes no cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// The file, as the user named it.
    pub file: Arc<Path>,
    /// Line of the file where the row starts (row of the sheet or table), from 1.
    pub line: u64,
    /// The column at fault, where one is.
    pub column: Option<String>,
    /// What is wrong, for counting.
    pub reason: Reason,
    /// What is wrong and what to do, for reading.
    pub message: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, {} {}", self.file.display(), row_unit(&self.file), self.line)?;
        if let Some(column) = &self.column {
            write!(formatter, ", column \"{}\"", super::columns::short(column))?;
        }
        write!(formatter, ": {}", self.message)
    }
}

impl std::error::Error for BadRow {}

impl From<BadRow> for Error {
    fn from(row: BadRow) -> Error {
        Error::Data(row.to_string())
    }
}

/// Why a reader did not give a record.
#[derive(Debug)]
pub enum RowError {
    /// This row is bad; the next one can be read.
    Bad(BadRow),
    /// The file cannot be read on; nothing follows.
    Stop(Error),
}

impl From<RowError> for Error {
    fn from(error: RowError) -> Error {
        match error {
            RowError::Bad(row) => row.into(),
            RowError::Stop(error) => error,
        }
    }
}

impl From<Error> for RowError {
    fn from(error: Error) -> RowError {
        RowError::Stop(error)
    }
}

impl From<BadRow> for RowError {
    fn from(row: BadRow) -> RowError {
        RowError::Bad(row)
    }
}

/// Bad rows that were skipped, by reason, with the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BadRows {
    /// Rows by reason.
    pub counts: BTreeMap<Reason, u64>,
    /// The first bad rows met, up to [`BadRows::EXAMPLES`].
    pub first: Vec<BadRow>,
}

impl BadRows {
    /// Rows that are kept as examples.
    pub const EXAMPLES: usize = 10;

    /// Counts a row.
    pub fn add(&mut self, row: BadRow) {
        *self.counts.entry(row.reason).or_default() += 1;
        if self.first.len() < BadRows::EXAMPLES {
            self.first.push(row);
        }
    }

    /// Counts rows that were met after these.
    pub fn append(&mut self, later: BadRows) {
        later.counts.into_iter().for_each(|(reason, count)| *self.counts.entry(reason).or_default() += count);
        self.first.extend(later.first);
        self.first.truncate(BadRows::EXAMPLES);
    }

    /// Rows in all.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

impl fmt::Display for BadRows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} bad rows", self.total())?;
        for (position, (reason, count)) in self.counts.iter().enumerate() {
            let before = if position == 0 { ": " } else { ", " };
            write!(formatter, "{before}{count} {}", reason.describe())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_reason_and_keeps_the_first_ones() {
        let row = |line, reason| BadRow {
            file: Path::new("a.csv").into(),
            line,
            column: Some("note".into()),
            reason,
            message: "has no text".into(),
        };
        let mut rows = BadRows::default();
        rows.add(row(3, Reason::MissingText));
        rows.add(row(5, Reason::Quotes));
        rows.add(row(9, Reason::MissingText));
        assert_eq!(rows.to_string(), "3 bad rows: 1 with broken quotes, 2 without text");
        assert_eq!(
            rows.first.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [3, 5, 9].map(|line| format!("a.csv, line {line}, column \"note\": has no text"))
        );
    }
}
