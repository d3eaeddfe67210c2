//! Which file format, encoding and separator a file is read with.

use crate::config::DataConfig;
use crate::error::{Error, Result};
use std::path::Path;

/// A table's file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Cells separated by a comma or another character, quoted where needed.
    Csv,
    /// Cells separated by tabs, a line a row; lone quotes are text. With line breaks in quotes: `Csv` with a tab.
    Tsv,
    /// One JSON object a line.
    Jsonl,
    /// One JSON document with all rows.
    Json,
    /// Apache Parquet.
    Parquet,
    /// An Excel workbook.
    Xlsx,
}

const NAMES: &str = "csv, tsv, jsonl, json, parquet or xlsx";

impl Format {
    /// The format named in an experiment file or argument.
    pub fn by_name(name: &str) -> Result<Format> {
        match name.trim().to_ascii_lowercase().as_str() {
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            "jsonl" | "ndjson" => Ok(Format::Jsonl),
            "json" => Ok(Format::Json),
            "parquet" => Ok(Format::Parquet),
            "xlsx" => Ok(Format::Xlsx),
            _ => Err(Error::Config(format!("data.format: \"{name}\" is none of {NAMES}"))),
        }
    }

    /// The format that a file's extension tells (`notes.csv`, `notes.csv.gz`).
    pub fn by_extension(path: &Path) -> Result<Format> {
        let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        match name.rsplit_once('.').map(|(_, extension)| extension) {
            Some("csv") => Ok(Format::Csv),
            Some("tsv" | "tab") => Ok(Format::Tsv),
            Some("jsonl" | "ndjson") => Ok(Format::Jsonl),
            Some("json") => Ok(Format::Json),
            Some("parquet" | "pq") => Ok(Format::Parquet),
            Some("xlsx" | "xlsm") => Ok(Format::Xlsx),
            _ => Err(Error::Config(format!(
                "{}: the name does not tell the format; set `format` (or --format) to {NAMES}",
                path.display()
            ))),
        }
    }

    /// The format given by name or, if that is empty, by the file's extension.
    pub fn of(path: &Path, name: &str) -> Result<Format> {
        if name.trim().is_empty() { Format::by_extension(path) } else { Format::by_name(name) }
    }
}

/// What a file's records are numbered by: lines, or rows where it has no lines or several rows on one.
pub(crate) fn row_unit(path: &Path) -> &'static str {
    match Format::by_extension(path) {
        Ok(Format::Json | Format::Parquet | Format::Xlsx) => "row",
        _ => "line",
    }
}

/// How files are read; the empty string means "find out".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// `csv`, `tsv`, `jsonl`, `json`, `parquet` or `xlsx`; empty: by the file's extension.
    pub format: String,
    /// A WHATWG name; empty: UTF-8 or what the byte-order mark says. JSON and JSONL are UTF-8 whatever stands here.
    pub encoding: String,
    /// One ASCII character (or `\t`); empty: comma for CSV, tab for TSV.
    pub separator: String,
    /// Sheet of an XLSX file; empty: the first.
    pub sheet: String,
}

impl From<&DataConfig> for ReadOptions {
    fn from(config: &DataConfig) -> ReadOptions {
        ReadOptions {
            format: config.format.clone(),
            encoding: config.encoding.clone(),
            separator: config.separator.clone(),
            sheet: config.sheet.clone(),
        }
    }
}

/// The separator byte of a delimited file.
pub(super) fn separator_byte(format: Format, separator: &str) -> Result<u8> {
    match separator.as_bytes() {
        [] if format == Format::Tsv => Ok(b'\t'),
        [] => Ok(b','),
        // Typed literally on a command line or in a TOML literal string.
        b"\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err(Error::Config(
            "data.separator: give one ASCII character that is neither a quote nor a line break".to_string(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_and_names() {
        let of = |path: &str, name: &str| Format::of(Path::new(path), name).ok();
        assert_eq!(of("A.CSV.gz", ""), Some(Format::Csv));
        assert_eq!(of("notes.tab", ""), Some(Format::Tsv));
        assert_eq!(of("notes.txt", "tsv"), Some(Format::Tsv));
        assert_eq!(of("notes.txt", ""), None);
        assert_eq!(of("notes.csv", "xls"), None);
        assert_eq!(of(".csv", ""), Some(Format::Csv));
    }

    #[test]
    fn separators() {
        assert_eq!(separator_byte(Format::Csv, "").ok(), Some(b','));
        assert_eq!(separator_byte(Format::Tsv, "").ok(), Some(b'\t'));
        assert_eq!(separator_byte(Format::Tsv, ";").ok(), Some(b';'));
        assert_eq!(separator_byte(Format::Csv, "\\t").ok(), Some(b'\t'));
        for wrong in ["\"", "\n", ";;", "¦"] {
            assert!(separator_byte(Format::Csv, wrong).is_err());
        }
    }
}
