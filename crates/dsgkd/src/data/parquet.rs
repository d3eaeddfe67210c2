//! Parquet, row by row through the crate's record reader. Every cell becomes text.

use super::bad_row::RowError;
use super::columns::clean_header;
use super::reader::Record;
use crate::error::{Error, Result};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// The rows of a Parquet file.
pub(super) struct ParquetRows {
    file: Arc<Path>,
    rows: RowIter<'static>,
    row: u64,
}

impl ParquetRows {
    pub(super) fn open(file: Arc<Path>, source: File) -> Result<(Vec<String>, ParquetRows)> {
        let opened = guarded(&file, || {
            let reader = SerializedFileReader::new(source)?;
            let schema = reader.metadata().file_metadata().schema_descr().root_schema_ptr();
            let names = schema.get_fields().iter().map(|field| field.name().to_string()).collect::<Vec<_>>();
            Ok((names, RowIter::from_file_into(Box::new(reader))))
        })?;
        let (names, rows) = opened;
        // A name that is cleaned stays in its place: cells are taken by position.
        let columns = clean_header(&file, names)?;
        if columns.is_empty() {
            return Err(Error::Data(format!("{}: the Parquet file has no columns", file.display())));
        }
        Ok((columns, ParquetRows { file, rows, row: 0 }))
    }

    /// The next record; `None` at the end. Damage ends the file: the columns may no longer be in step.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        self.row += 1;
        let (rows, row) = (&mut self.rows, self.row);
        Ok(guarded(&self.file, || rows.next().transpose()?.map(|cells| record(row, cells)).transpose())?)
    }
}

fn record(line: u64, row: Row) -> ::parquet::errors::Result<Record> {
    let fields = row.into_columns().into_iter().map(|(_, field)| text_of(field)).collect::<Result<_, _>>()?;
    Ok(Record::of_text(line, fields))
}

/// A value as a cell. Whole numbers lose their `.0`: a column of labels with gaps is one of floats in most tools.
fn text_of(field: Field) -> ::parquet::errors::Result<Option<String>> {
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Str(text) => text,
        // Some writers leave out the mark that says bytes are text.
        Field::Bytes(bytes) => bytes.as_utf8()?.to_string(),
        Field::Float(number) if number.is_nan() => return Ok(None),
        Field::Double(number) if number.is_nan() => return Ok(None),
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        other => other.to_string(),
    }))
}

/// Runs a step of the parquet crate, which panics on some damaged files.
fn guarded<T>(file: &Path, step: impl FnOnce() -> ::parquet::errors::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(Ok(value)) => Ok(value),
        // The crate's message could hold a value; the file's name is enough to act on.
        Ok(Err(_)) | Err(_) => Err(Error::Data(format!(
            "{}: is not a Parquet file that can be read, is damaged or cut short, or holds bytes that are not text; \
             write it anew",
            file.display()
        ))),
    }
}

#[cfg(test)]
#[path = "parquet_tests.rs"]
mod tests;
