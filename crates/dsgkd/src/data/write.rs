//! Tables out: the input's columns as they were, new columns beside them, row by row.

use super::columns::short;
use super::format::{Format, separator_byte};
use super::reader::Record;
use super::write_parquet::ParquetTable;
use crate::error::{Error, Result};
use crate::private::private_file;
use serde_json::{Map, Number};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where bytes go.
pub(super) type Sink = Box<dyn Write + Send>;

/// A cell of a new column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A number; not a number or infinite is written as missing.
    Number(f64),
    /// Nothing.
    Missing,
}

/// A column that is added to the input's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name, different from all others.
    pub name: String,
    /// Whether it holds [`Value::Number`]; else [`Value::Text`]. Parquet has to know before the first row.
    pub number: bool,
}

impl NewColumn {
    /// A column of text.
    pub fn text(name: &str) -> NewColumn {
        NewColumn { name: name.to_string(), number: false }
    }

    /// A column of numbers.
    pub fn number(name: &str) -> NewColumn {
        NewColumn { name: name.to_string(), number: true }
    }
}

/// Writes a table as CSV, TSV, JSONL or Parquet, in constant memory.
///
/// Cells with separators, quotes or line breaks are quoted, in TSV too, as spreadsheets and pandas have it.
///
/// A file is written aside, beside its place, and moved there by [`TableWriter::finish`]: a table is whole or absent. One that
/// is dropped unfinished is removed. It holds the notes, so its owner alone may read it.
pub struct TableWriter {
    name: PathBuf,
    input_columns: usize,
    added: Vec<NewColumn>,
    names: Vec<String>,
    table: Option<Table>,
    aside: Option<PathBuf>,
}

enum Table {
    Delimited(Box<csv::Writer<Sink>>),
    Jsonl(BufWriter<Sink>),
    Parquet(Box<ParquetTable>),
}

/// Whether two paths lead to one file that is there, by whatever name: a table must not be written over what it is read from.
pub fn is_same_file(left: &Path, right: &Path) -> bool {
    matches!((left.canonicalize(), right.canonicalize()), (Ok(left), Ok(right)) if left == right)
}

impl TableWriter {
    /// A table in a file, of the format its extension tells.
    ///
    /// `columns` are the input's, `added` the new ones. Errors when two columns have one name, when the format cannot be
    /// written (XLSX, `.gz`), or when the file cannot be created.
    pub fn create(path: &Path, columns: &[String], added: &[NewColumn]) -> Result<TableWriter> {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz")) {
            return Err(Error::Config(format!("{}: tables are written unpacked; leave out .gz", path.display())));
        }
        let format = Format::by_extension(path)?;
        check(path, format, columns, added)?;
        let file_name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let aside = path.with_file_name(format!(".{file_name}.{}.tmp", std::process::id()));
        let _ = fs::remove_file(&aside); // of a process of this number that was killed
        let file = private_file().write(true).create_new(true).open(&aside).map_err(Error::io(path, "create"))?;
        let table = open_table(path, Box::new(file), format, columns, added);
        let mut writer = TableWriter::new(path, columns, added);
        writer.aside = Some(aside);
        writer.table = Some(table?);
        Ok(writer)
    }

    /// A table on a pipe such as standard output; `name` stands for it in messages. Errors as [`TableWriter::create`].
    pub fn to_writer(
        sink: Box<dyn Write + Send>,
        name: &Path,
        format: Format,
        columns: &[String],
        added: &[NewColumn],
    ) -> Result<TableWriter> {
        check(name, format, columns, added)?;
        let mut writer = TableWriter::new(name, columns, added);
        writer.table = Some(open_table(name, sink, format, columns, added)?);
        Ok(writer)
    }

    fn new(name: &Path, columns: &[String], added: &[NewColumn]) -> TableWriter {
        TableWriter {
            name: name.to_path_buf(),
            input_columns: columns.len(),
            added: added.to_vec(),
            names: columns.iter().cloned().chain(added.iter().map(|column| column.name.clone())).collect(),
            table: None,
            aside: None,
        }
    }

    /// Writes one row: the cells of the input record, then those of the new columns.
    ///
    /// Errors when the disk does, or when there are not as many cells as columns.
    pub fn write_row(&mut self, fields: &[Option<String>], added: &[Value]) -> Result<()> {
        self.write(fields, &[], added)
    }

    /// As [`TableWriter::write_row`]; into JSONL, what was JSON in the record comes out as it was.
    pub fn write_record(&mut self, record: &Record, added: &[Value]) -> Result<()> {
        self.write(&record.fields, &record.json, added)
    }

    fn write(&mut self, fields: &[Option<String>], json: &[bool], added: &[Value]) -> Result<()> {
        if fields.len() != self.input_columns || added.len() != self.added.len() {
            return Err(Error::Data(format!(
                "{}: a row has {} + {} cells for {} + {} columns",
                self.name.display(),
                fields.len(),
                added.len(),
                self.input_columns,
                self.added.len()
            )));
        }
        match &mut self.table {
            Some(Table::Delimited(writer)) => {
                write_delimited(writer, fields, added).map_err(io_error).map_err(Error::io(&self.name, "write"))
            }
            Some(Table::Jsonl(sink)) => {
                write_json(sink, &self.names, fields, json, added).map_err(Error::io(&self.name, "write"))
            }
            Some(Table::Parquet(table)) => table.write_row(&self.name, fields, added),
            None => Ok(()),
        }
    }

    /// Writes out what is pending, so that a reader of a pipe sees the rows so far; Parquet waits for its row group.
    pub fn flush(&mut self) -> Result<()> {
        match &mut self.table {
            Some(Table::Delimited(writer)) => writer.flush().map_err(Error::io(&self.name, "write")),
            Some(Table::Jsonl(sink)) => sink.flush().map_err(Error::io(&self.name, "write")),
            _ => Ok(()),
        }
    }

    /// Ends the table and moves the file to its place.
    pub fn finish(mut self) -> Result<()> {
        match self.table.take() {
            Some(Table::Delimited(mut writer)) => writer.flush().map_err(Error::io(&self.name, "write"))?,
            Some(Table::Jsonl(mut sink)) => sink.flush().map_err(Error::io(&self.name, "write"))?,
            Some(Table::Parquet(table)) => table.finish(&self.name)?,
            None => {}
        }
        if let Some(aside) = &self.aside {
            // On the disk before it has its name: a crash must not leave a named file without content.
            File::options()
                .write(true)
                .open(aside)
                .and_then(|file| file.sync_all())
                .map_err(Error::io(&self.name, "write"))?;
            fs::rename(aside, &self.name).map_err(Error::io(&self.name, "create"))?;
            self.aside = None;
        }
        Ok(())
    }
}

impl Drop for TableWriter {
    fn drop(&mut self) {
        if let Some(aside) = self.aside.take() {
            self.table = None;
            // Nothing can be done about a file that does not go away.
            let _ = fs::remove_file(aside);
        }
    }
}

fn check(path: &Path, format: Format, columns: &[String], added: &[NewColumn]) -> Result<()> {
    let read_only = match format {
        Format::Xlsx => "workbooks are",
        Format::Json => "JSON documents are",
        _ => "",
    };
    if !read_only.is_empty() {
        return Err(Error::Config(format!(
            "{}: {read_only} read only; write csv, tsv, jsonl or parquet",
            path.display()
        )));
    }
    let mut seen: std::collections::HashSet<&str> = columns.iter().map(String::as_str).collect();
    for column in added {
        if !seen.insert(&column.name) {
            return Err(Error::Data(format!(
                "the input has a column \"{}\" already, which {} would have twice; rename the input's",
                short(&column.name),
                path.display()
            )));
        }
    }
    Ok(())
}

fn open_table(path: &Path, sink: Sink, format: Format, columns: &[String], added: &[NewColumn]) -> Result<Table> {
    match format {
        Format::Jsonl => Ok(Table::Jsonl(BufWriter::new(sink))),
        Format::Parquet => Ok(Table::Parquet(Box::new(ParquetTable::open(path, sink, columns, added)?))),
        _ => {
            let mut writer = csv::WriterBuilder::new().delimiter(separator_byte(format, "")?).from_writer(sink);
            let names = columns.iter().map(String::as_str).chain(added.iter().map(|column| column.name.as_str()));
            writer.write_record(names).map_err(io_error).map_err(Error::io(path, "write"))?;
            Ok(Table::Delimited(Box::new(writer)))
        }
    }
}

fn write_delimited(writer: &mut csv::Writer<Sink>, fields: &[Option<String>], added: &[Value]) -> csv::Result<()> {
    for field in fields {
        writer.write_field(field.as_deref().unwrap_or_default())?;
    }
    for value in added {
        match value {
            Value::Text(text) => writer.write_field(text)?,
            Value::Number(number) if number.is_finite() => writer.write_field(number.to_string())?,
            _ => writer.write_field("")?,
        }
    }
    writer.write_record(None::<&[u8]>)
}

/// The system's error as it was: the crate's own conversion hides that a reader has left.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        _ => io::Error::other("the row has another number of cells than the table"),
    }
}

/// `json`: which of `fields` are JSON; none of those beyond its end.
fn write_json(
    sink: &mut impl Write,
    names: &[String],
    fields: &[Option<String>],
    json: &[bool],
    added: &[Value],
) -> io::Result<()> {
    let fields = fields.iter().zip(json.iter().copied().chain(std::iter::repeat(false)));
    let fields = fields.map(|(field, is_json)| match field {
        None => serde_json::Value::Null,
        Some(text) if is_json => serde_json::from_str(text).unwrap_or_else(|_| serde_json::Value::String(text.clone())),
        Some(text) => serde_json::Value::String(text.clone()),
    });
    let added = added.iter().map(|value| match value {
        Value::Text(text) => serde_json::Value::String(text.clone()),
        Value::Number(number) => Number::from_f64(*number).map_or(serde_json::Value::Null, serde_json::Value::Number),
        Value::Missing => serde_json::Value::Null,
    });
    let object: Map<String, serde_json::Value> = names.iter().cloned().zip(fields.chain(added)).collect();
    serde_json::to_writer(&mut *sink, &object)?;
    sink.write_all(b"\n")
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
