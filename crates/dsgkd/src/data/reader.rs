//! Records: rows of text cells, read one by one from a file of any format.

use super::bad_row::RowError;
use super::delimited::DelimitedRows;
use super::encoding::{Source, open_text};
use super::format::{Format, ReadOptions, separator_byte};
use super::json::JsonRows;
use super::jsonl::JsonlRows;
use super::parquet::ParquetRows;
use super::xlsx::XlsxRows;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

/// Bytes of one row, beyond which it is bad: what follows a lost quote is not taken into memory for ever, and no row of notes has as many.
pub(super) const MAX_ROW_BYTES: usize = 16 << 20;

/// Bytes of a workbook that comes from a pipe, which has to be held whole.
const MAX_PIPED_WORKBOOK: u64 = 512 << 20;

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Line of the file where the row starts, from 1 (XLSX: row of the sheet; Parquet and JSON: row of the table).
    pub line: u64,
    /// One cell a column, in the order of the columns; `None` where the cell is empty or null.
    pub fields: Vec<Option<String>>,
    /// Of JSONL and JSON, which cells are the JSON of what is no text (a number, a list), one a column; empty: none.
    pub json: Vec<bool>,
}

impl Record {
    /// Whether a cell is a list or an object of JSON, and no text that looks like one.
    pub(super) fn holds_list(&self, column: usize) -> bool {
        let text = self.fields.get(column).and_then(Option::as_deref).unwrap_or_default();
        text.starts_with(['[', '{']) && self.json.get(column) == Some(&true)
    }

    /// A record of a format whose cells are text.
    pub(super) fn of_text(line: u64, fields: Vec<Option<String>>) -> Record {
        Record { line, fields, json: vec![] }
    }
}

/// The records of one file, read as they are asked for.
///
/// Takes constant memory for CSV, TSV, JSONL and Parquet; a JSON document and an XLSX sheet are held whole. A [`RowError::Bad`] row does not end
/// the file, a [`RowError::Stop`] does.
pub struct Records {
    file: Arc<Path>,
    columns: Arc<[String]>,
    rows: Rows,
    finished: bool,
}

enum Rows {
    Delimited(DelimitedRows),
    Json(JsonRows),
    Jsonl(JsonlRows),
    Parquet(Box<ParquetRows>),
    Xlsx(XlsxRows),
}

impl Records {
    /// Opens a file and reads its header.
    ///
    /// Errors when the file cannot be read, is empty, is not of its format, has two columns of one name, or when an option is
    /// wrong.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Records> {
        let format = Format::of(path, &options.format)?;
        let file = File::open(path).map_err(Error::io(path, "read"))?;
        // Opening a folder succeeds, and reading it fails with words that help nobody.
        if file.metadata().map_err(Error::io(path, "read"))?.is_dir() {
            return Err(Error::Data(format!("{}: is a folder; name the files in it", path.display())));
        }
        match format {
            Format::Parquet => {
                let (columns, rows) = ParquetRows::open(path.into(), file)?;
                Ok(Records::new(path, columns, Rows::Parquet(Box::new(rows))))
            }
            Format::Xlsx => {
                let (columns, rows) = XlsxRows::open(path.into(), file, &options.sheet)?;
                Ok(Records::new(path, columns, Rows::Xlsx(rows)))
            }
            text => Records::open_text(Box::new(file), path, text, options),
        }
    }

    /// Reads from a pipe such as standard input; `name` stands for it in messages and `options.format` must be given.
    ///
    /// Errors as [`Records::open`], and for Parquet, which cannot be read from a pipe.
    pub fn from_reader(source: Box<dyn Read + Send>, name: &Path, options: &ReadOptions) -> Result<Records> {
        if options.format.trim().is_empty() {
            return Err(Error::Config(format!("{}: a pipe has no extension; give its format", name.display())));
        }
        match Format::by_name(&options.format)? {
            Format::Parquet => Err(Error::Config(format!(
                "{}: Parquet cannot be read from a pipe, its index is at the end; write it to a file",
                name.display()
            ))),
            Format::Xlsx => {
                let mut bytes = Vec::new();
                source.take(MAX_PIPED_WORKBOOK + 1).read_to_end(&mut bytes).map_err(Error::io(name, "read"))?;
                if bytes.len() as u64 > MAX_PIPED_WORKBOOK {
                    return Err(Error::Data(format!(
                        "{}: a piped workbook may have {} MiB; write it as CSV",
                        name.display(),
                        MAX_PIPED_WORKBOOK >> 20
                    )));
                }
                let (columns, rows) = XlsxRows::open(name.into(), Cursor::new(bytes), &options.sheet)?;
                Ok(Records::new(name, columns, Rows::Xlsx(rows)))
            }
            text => Records::open_text(source, name, text, options),
        }
    }

    fn open_text(source: Source, path: &Path, format: Format, options: &ReadOptions) -> Result<Records> {
        // JSON is UTF-8 (RFC 8259), whatever the tables beside it are encoded in.
        if format == Format::Jsonl {
            let (columns, rows) = JsonlRows::open(path.into(), open_text(source, path, "")?)?;
            return Ok(Records::new(path, columns, Rows::Jsonl(rows)));
        }
        if format == Format::Json {
            let (columns, rows) = JsonRows::open(path.into(), open_text(source, path, "")?)?;
            return Ok(Records::new(path, columns, Rows::Json(rows)));
        }
        let text = open_text(source, path, &options.encoding)?;
        let separator = separator_byte(format, &options.separator)?;
        let (columns, rows) =
            DelimitedRows::open(path.into(), text, separator, format == Format::Csv, &options.encoding)?;
        Ok(Records::new(path, columns, Rows::Delimited(rows)))
    }

    fn new(path: &Path, columns: Vec<String>, rows: Rows) -> Records {
        Records { file: path.into(), columns: columns.into(), rows, finished: false }
    }

    /// The file, as it was named.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Names of the columns, in order, without whitespace around them.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

impl Iterator for Records {
    type Item = Result<Record, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = match &mut self.rows {
            Rows::Delimited(rows) => rows.next_record(),
            Rows::Json(rows) => rows.next_record(),
            Rows::Jsonl(rows) => rows.next_record(),
            Rows::Parquet(rows) => rows.next_record(),
            Rows::Xlsx(rows) => Ok(rows.next_record()),
        };
        // A cell with a bad row's reason does not end the file; damage does, and must not be met again and again.
        self.finished = matches!(next, Ok(None) | Err(RowError::Stop(_)));
        next.transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_from_a_pipe_with_a_named_format() {
        let open = |format: &str| {
            let source: Box<dyn Read + Send> = Box::new(Cursor::new(b"Age,Note\n5,fever\n".to_vec()));
            let options = ReadOptions { format: format.into(), ..ReadOptions::default() };
            Records::from_reader(source, Path::new("-"), &options)
        };
        let mut records = open("csv").unwrap();
        assert_eq!(records.columns(), ["Age", "Note"]);
        let record = records.next().unwrap().unwrap();
        assert_eq!(record, Record::of_text(2, vec![Some("5".into()), Some("fever".into())]));
        assert!(records.next().is_none());
        assert!(matches!(open(""), Err(Error::Config(_))));
        assert!(matches!(open("parquet"), Err(Error::Config(_))));
        assert!(matches!(open("xlsx"), Err(Error::Data(_))), "not a workbook");
    }

    #[test]
    fn jsonl_is_utf_8_whatever_the_encoding_of_tables() {
        let open = |bytes: &[u8], format: &str| {
            let source: Box<dyn Read + Send> = Box::new(Cursor::new(bytes.to_vec()));
            let options = ReadOptions { format: format.into(), encoding: "latin1".into(), ..ReadOptions::default() };
            Records::from_reader(source, Path::new("-"), &options).unwrap()
        };
        let text = |mut records: Records| records.next().unwrap().unwrap().fields[0].clone().unwrap();
        let line = "{\"note\":\"años\"}\n";
        assert_eq!(text(open(line.as_bytes(), "jsonl")), "años");
        assert_eq!(text(open(format!("\u{feff}{line}").as_bytes(), "jsonl")), "años");
        assert_eq!(text(open(b"note\na\xF1os\n", "csv")), "años");
        let mut records = open(b"{\"note\":\"a\"}\n{\"note\":\"a\xF1os\"}\n", "jsonl");
        records.next().unwrap().unwrap();
        let Some(Err(RowError::Bad(row))) = records.next() else { panic!("line 2 is bad") };
        assert!(row.to_string().starts_with("-, line 2: has bytes that are not UTF-8"), "{row}");
    }

    #[test]
    fn an_absent_file_and_a_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let absent = Records::open(&folder.path().join("a.csv"), &ReadOptions::default());
        assert!(matches!(absent, Err(Error::Io { .. })));
        let options = ReadOptions { format: "csv".into(), ..ReadOptions::default() };
        assert!(matches!(Records::open(folder.path(), &options), Err(Error::Data(_))));
    }
}
