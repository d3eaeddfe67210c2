//! XLSX: one sheet of a workbook, its first row with cells the header.

use super::columns::{MAX_COLUMNS, clean_header, nearest, short, too_many_columns};
use super::reader::{MAX_ROW_BYTES, Record};
use super::zip_guard::check_archive;
use crate::error::{Error, Result};
use calamine::{DataRef, ExcelDateTime, Reader, Xlsx, XlsxError};
use std::io::{BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

/// Bytes of the texts of a sheet's cells, which are all held: one text that many cells share takes its place once in the file, and in each here.
const MAX_SHEET_BYTES: usize = 256 << 20;

/// Cells of one row that are not empty: column from 0, text.
type Cells = Vec<(u32, String)>;

/// The rows of a sheet. Held whole, as sparse as the sheet is: a lone cell in the last corner must not fill the memory.
pub(super) struct XlsxRows {
    rows: std::vec::IntoIter<(u32, Cells)>,
    columns: usize,
}

impl XlsxRows {
    pub(super) fn open(file: Arc<Path>, source: impl Read + Seek, sheet: &str) -> Result<(Vec<String>, XlsxRows)> {
        XlsxRows::open_within(file, source, sheet, MAX_ROW_BYTES, MAX_SHEET_BYTES)
    }

    fn open_within(
        file: Arc<Path>,
        source: impl Read + Seek,
        sheet: &str,
        max_cell_bytes: usize,
        max_sheet_bytes: usize,
    ) -> Result<(Vec<String>, XlsxRows)> {
        let mut source = BufReader::new(source);
        check_archive(&file, &mut source)?;
        let damaged = || {
            Error::Data(format!(
                "{}: is not an XLSX workbook that can be read, or is damaged; save it anew",
                file.display()
            ))
        };
        // The crate may panic on damaged workbooks.
        let mut book = catch_unwind(AssertUnwindSafe(|| Xlsx::new(source)))
            .ok()
            .and_then(|book: Result<_, XlsxError>| book.ok())
            .ok_or_else(damaged)?;
        let name = sheet_name(&file, &book.sheet_names(), sheet)?;
        let read = catch_unwind(AssertUnwindSafe(|| read_sheet(&mut book, &name, max_cell_bytes, max_sheet_bytes)))
            .ok()
            .and_then(|read| read.ok())
            .ok_or_else(damaged)?;
        let rows = read.map_err(|why| {
            Error::Data(format!("{}: sheet \"{}\" {why}; save the sheet as CSV", file.display(), short(&name)))
        })?;

        let mut rows = rows.into_iter();
        let Some((_, header)) = rows.next() else {
            return Err(Error::Data(format!(
                "{}: sheet \"{}\" is empty; it needs a header row with the names of the columns",
                file.display(),
                short(&name)
            )));
        };
        // Columns before the header's first and after its last cell still hold their places.
        let width = header.iter().map(|(column, _)| *column as usize + 1).max().unwrap_or(0);
        if width > MAX_COLUMNS {
            return Err(too_many_columns(&file));
        }
        let mut names = vec![String::new(); width];
        for (column, text) in header {
            names[column as usize] = text;
        }
        let columns = clean_header(&file, names)?;
        Ok((columns, XlsxRows { rows, columns: width }))
    }

    /// The next record; `None` at the end. Cells beyond the header's columns are notes in the margin and are left out.
    pub(super) fn next_record(&mut self) -> Option<Record> {
        let (row, cells) = self.rows.next()?;
        let mut fields = vec![None; self.columns];
        for (column, text) in cells {
            if let Some(field) = fields.get_mut(column as usize) {
                *field = Some(text);
            }
        }
        Some(Record::of_text(u64::from(row) + 1, fields))
    }
}

fn sheet_name(file: &Path, names: &[String], sheet: &str) -> Result<String> {
    if sheet.is_empty() {
        return names
            .first()
            .cloned()
            .ok_or_else(|| Error::Data(format!("{}: the workbook has no sheets", file.display())));
    }
    if names.iter().any(|name| name == sheet) {
        return Ok(sheet.to_string());
    }
    let near = nearest(sheet, names.iter().map(String::as_str));
    let near = near.map(|near| format!(" (did you mean \"{}\"?)", short(near))).unwrap_or_default();
    let shown: Vec<String> = names.iter().take(30).map(|name| format!("\"{}\"", short(name))).collect();
    Err(Error::Data(format!(
        "{}: data.sheet names sheet \"{}\", which is not there{near}; there are: {}",
        file.display(),
        short(sheet),
        shown.join(", ")
    )))
}

/// The rows of a sheet, or why they are not taken into memory.
fn read_sheet<S: Read + Seek>(
    book: &mut Xlsx<S>,
    name: &str,
    max_cell_bytes: usize,
    max_sheet_bytes: usize,
) -> Result<Result<Vec<(u32, Cells)>, String>, XlsxError> {
    let mut reader = book.worksheet_cells_reader(name)?;
    let mut rows: Vec<(u32, Cells)> = Vec::new();
    let mut bytes = 0;
    while let Some(cell) = reader.next_cell()? {
        let (row, column) = cell.get_position();
        let Some(text) = text_of(cell.get_value()) else {
            continue;
        };
        if text.len() > max_cell_bytes {
            let (row, limit) = (u64::from(row) + 1, max_cell_bytes >> 20);
            return Ok(Err(format!("has a cell of more than {limit} MiB in row {row}")));
        }
        bytes += text.len();
        if bytes > max_sheet_bytes {
            return Ok(Err(format!("has more than {} MiB of text", max_sheet_bytes >> 20)));
        }
        match rows.last_mut() {
            Some((last, cells)) if *last == row => cells.push((column, text)),
            _ => rows.push((row, vec![(column, text)])),
        }
    }
    Ok(Ok(rows))
}

/// A value as a cell. Excel keeps every number as a float; whole ones are written without a point.
fn text_of(value: &DataRef<'_>) -> Option<String> {
    let text = match value {
        DataRef::Empty => return None,
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => text.to_string(),
        DataRef::Bool(value) => value.to_string(),
        DataRef::DateTime(time) => time_text(time),
        DataRef::Error(error) => error.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

/// `2024-05-31`, `2024-05-31 13:05:00`, or `13:05:00` for a time or length of time alone.
fn time_text(time: &ExcelDateTime) -> String {
    if time.is_duration() || (0.0..1.0).contains(&time.as_f64()) {
        let seconds = (time.as_f64() * 86_400.0).round() as i64;
        return format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    }
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    if (hour, minute, second) == (0, 0, 0) { date } else { format!("{date} {hour:02}:{minute:02}:{second:02}") }
}

#[cfg(test)]
#[path = "xlsx_tests.rs"]
mod tests;
