//! Parquet, row by row through the crate's record reader. Every cell becomes text.

use super::bad_row::{BadRow, Reason, RowError};
use super::columns::{MAX_COLUMNS, clean_header, too_many_columns};
use super::reader::{MAX_ROW_BYTES, Record};
use crate::error::{Error, Result};
use ::parquet::basic::{ConvertedType, LogicalType, Type as PhysicalType};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::reader::RowIter;
use ::parquet::record::{Field, Row};
use ::parquet::schema::types::Type;
use chrono::{DateTime, NaiveTime};
use std::fmt::{self, Write};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Values that the lists of a row group may have in all, or as many a row as an embedding has: the crate takes a row's lists into memory before they can be
/// measured, and a page of a few bytes can hold millions of nulls of one row.
const MAX_LIST_VALUES: usize = 8 << 20;
const MAX_LIST_VALUES_A_ROW: usize = 4096;

/// The rows of a Parquet file.
pub(super) struct ParquetRows {
    file: Arc<Path>,
    rows: RowIter<'static>,
    /// One a column.
    clocks: Vec<Option<Clock>>,
    row: u64,
    max_row_bytes: usize,
}

impl ParquetRows {
    pub(super) fn open(file: Arc<Path>, source: File) -> Result<(Vec<String>, ParquetRows)> {
        ParquetRows::open_within(file, source, MAX_LIST_VALUES, MAX_LIST_VALUES_A_ROW)
    }

    fn open_within(
        file: Arc<Path>,
        source: File,
        max_list_values: usize,
        a_row: usize,
    ) -> Result<(Vec<String>, ParquetRows)> {
        let reader = guarded(&file, || SerializedFileReader::new(source))?;
        // A group's columns, which are its parts, count each.
        if reader.metadata().file_metadata().schema_descr().num_columns() > MAX_COLUMNS {
            return Err(too_many_columns(&file));
        }
        if guarded(&file, || has_longer_lists(&reader, max_list_values, a_row))? {
            return Err(Error::Data(format!(
                "{}: the lists of a row group have more than {max_list_values} values, and {a_row} a row; write \
                 the file anew without its columns of lists",
                file.display()
            )));
        }
        let opened = guarded(&file, || {
            let schema = reader.metadata().file_metadata().schema_descr().root_schema_ptr();
            let names = schema.get_fields().iter().map(|field| field.name().to_string()).collect::<Vec<_>>();
            let clocks = schema.get_fields().iter().map(|field| Clock::of(field)).collect::<Vec<_>>();
            Ok((names, clocks, RowIter::from_file_into(Box::new(reader))))
        })?;
        let (names, clocks, rows) = opened;
        // A name that is cleaned stays in its place: cells are taken by position.
        let columns = clean_header(&file, names)?;
        if columns.is_empty() {
            return Err(Error::Data(format!("{}: the Parquet file has no columns", file.display())));
        }
        Ok((columns, ParquetRows { file, rows, clocks, row: 0, max_row_bytes: MAX_ROW_BYTES }))
    }

    /// The next record; `None` at the end. Damage ends the file: the columns may no longer be in step.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, RowError> {
        self.row += 1;
        let (rows, clocks, row, limit) = (&mut self.rows, &self.clocks, self.row, self.max_row_bytes);
        match guarded(&self.file, || rows.next().map(|cells| record(row, cells?, clocks, limit)).transpose())? {
            None => Ok(None),
            Some(Some(record)) => Ok(Some(record)),
            Some(None) => {
                let message =
                    "the row is longer than 16 MiB; shorten it or set data.skip_bad_rows (or --skip-bad-rows)";
                let (file, message) = (self.file.clone(), message.to_string());
                Err(BadRow { file, line: row, column: None, reason: Reason::TooLong, message }.into())
            }
        }
    }
}

/// Whether the lists of a row group, those of all its columns together, have more than `limit` values and more than `a_row` a row, nulls included. The headers of the
/// pages are asked, by which the crate reads: what the index at the file's end says can be anything.
fn has_longer_lists(
    reader: &SerializedFileReader<File>,
    limit: usize,
    a_row: usize,
) -> ::parquet::errors::Result<bool> {
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let limit = limit.max(rows.saturating_mul(a_row));
        let mut values = 0usize;
        for column in 0..group.num_columns() {
            if group.metadata().column(column).column_descr().max_rep_level() == 0 {
                continue;
            }
            let mut pages = group.get_column_page_reader(column)?;
            while let Some(page) = pages.peek_next_page()? {
                values = values.saturating_add(page.num_levels.unwrap_or(0));
                if values > limit {
                    return Ok(true);
                }
                pages.skip_next_page()?;
            }
        }
    }
    Ok(false)
}

/// The record of a row; `None` when its cells have more than `limit` bytes.
fn record(line: u64, row: Row, clocks: &[Option<Clock>], limit: usize) -> ::parquet::errors::Result<Option<Record>> {
    let (mut fields, mut bytes) = (Vec::with_capacity(row.len()), 0);
    for ((_, field), clock) in row.into_columns().into_iter().zip(clocks) {
        let time = clock.and_then(|clock| clock.text(&field));
        let text = if time.is_some() { time } else { text_of(field, limit)? };
        bytes += text.as_ref().map_or(0, String::len);
        if bytes > limit {
            return Ok(None);
        }
        fields.push(text);
    }
    Ok(Some(Record::of_text(line, fields)))
}

/// What the times of a column are told by.
#[derive(Clone, Copy)]
enum Clock {
    /// What a clock on the wall showed, wherever it hung.
    Wall,
    /// That of Greenwich: moments.
    Utc,
}

impl Clock {
    /// `None` where a column has no times with a date.
    fn of(column: &Type) -> Option<Clock> {
        if !column.is_primitive() {
            return None;
        }
        let info = column.get_basic_info();
        match info.logical_type_ref() {
            Some(LogicalType::Timestamp(time)) if time.is_adjusted_to_u_t_c => Some(Clock::Utc),
            Some(LogicalType::Timestamp(_)) => Some(Clock::Wall),
            // Older writers do not say, and mean the wall's.
            _ => {
                let is_time =
                    matches!(info.converted_type(), ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS);
                (is_time || column.get_physical_type() == PhysicalType::INT96).then_some(Clock::Wall)
            }
        }
    }

    /// A time as pandas writes it to CSV and [`super::xlsx`] reads it, a date alone at midnight; `None` for what is none, or beyond the calendar.
    fn text(self, field: &Field) -> Option<String> {
        let (ticks, a_second) = match field {
            Field::TimestampMillis(ticks) => (*ticks, 1_000),
            Field::TimestampMicros(ticks) => (*ticks, 1_000_000),
            // The record reader takes nanoseconds for any number.
            Field::Long(ticks) => (*ticks, 1_000_000_000),
            _ => return None,
        };
        let nanoseconds = ticks.rem_euclid(a_second) * (1_000_000_000 / a_second);
        let time = DateTime::from_timestamp(ticks.div_euclid(a_second), u32::try_from(nanoseconds).ok()?)?;
        let format = match self {
            Clock::Wall if time.time() == NaiveTime::MIN => "%Y-%m-%d",
            Clock::Wall => "%Y-%m-%d %H:%M:%S%.f",
            Clock::Utc => "%Y-%m-%d %H:%M:%S%.f+00:00",
        };
        Some(time.format(format).to_string())
    }
}

/// Text that is not written on once it is longer than `limit`.
struct Bounded {
    text: String,
    limit: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.text.push_str(part);
        if self.text.len() > self.limit { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A value as a cell; of a list, no more than what shows that it is longer than `limit`. Whole numbers lose their `.0`: a column of labels with
/// gaps is one of floats in most tools.
fn text_of(field: Field, limit: usize) -> ::parquet::errors::Result<Option<String>> {
    Ok(Some(match field {
        Field::Null => return Ok(None),
        Field::Str(text) => text,
        // Some writers leave out the mark that says bytes are text.
        Field::Bytes(bytes) => bytes.as_utf8()?.to_string(),
        Field::Float(number) if number.is_nan() => return Ok(None),
        Field::Double(number) if number.is_nan() => return Ok(None),
        Field::Float(number) => number.to_string(),
        Field::Double(number) => number.to_string(),
        other => {
            let mut cell = Bounded { text: String::new(), limit };
            // That it was not written on shows in its length.
            let _ = write!(cell, "{other}");
            cell.text
        }
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
