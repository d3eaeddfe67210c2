#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use std::io::{BufReader, Cursor};

/// Reads with a tiny buffer, so that every state is cut somewhere.
fn rows_of(bytes: &[u8], separator: u8) -> Result<(Vec<String>, DelimitedRows)> {
    let source = Box::new(BufReader::with_capacity(3, Cursor::new(bytes.to_vec())));
    DelimitedRows::open(Path::new("a.csv").into(), source, separator, true, "")
}

fn all(rows: &mut DelimitedRows) -> Vec<Result<Record, RowError>> {
    std::iter::from_fn(|| rows.next_record().transpose()).collect()
}

fn good(bytes: &[u8]) -> Vec<(u64, Vec<String>)> {
    let (_, mut rows) = rows_of(bytes, b',').unwrap();
    all(&mut rows)
        .into_iter()
        .map(|row| row.unwrap())
        .map(|row| (row.line, row.fields.into_iter().map(Option::unwrap_or_default).collect()))
        .collect()
}

fn reasons(bytes: &[u8]) -> Vec<(u64, Reason)> {
    let (_, mut rows) = rows_of(bytes, b',').unwrap();
    let bad = all(&mut rows).into_iter().filter_map(|row| match row {
        Err(RowError::Bad(row)) => Some((row.line, row.reason)),
        Err(RowError::Stop(error)) => panic!("{error}"),
        Ok(_) => None,
    });
    bad.collect()
}

fn cells(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

#[test]
fn lines_are_counted_across_endings_quotes_and_blank_lines() {
    let expected = vec![(2, cells(&["1", "x\ny"])), (5, cells(&["2", "z"]))];
    assert_eq!(good(b"a,b\n1,\"x\ny\"\n\n2,z\n"), expected);
    let expected = vec![(2, cells(&["1", "x\r\ny"])), (5, cells(&["2", "z"]))];
    assert_eq!(good(b"a,b\r\n1,\"x\r\ny\"\r\n\r\n2,z"), expected);
    // A lone carriage return is a line break only where the header ends with one.
    let expected = vec![(2, cells(&["1", "x\ry"])), (3, cells(&["\r2\r", "z"])), (5, cells(&["3", "\r"]))];
    assert_eq!(good(b"a,b\r\n1,x\ry\r\n\r2\r,z\n\r\n3,\"\r\"\r\n"), expected);
    let expected = vec![(2, cells(&["1", "x"])), (4, cells(&["2", "z"]))];
    assert_eq!(good(b"a,b\r1,x\r\r2,z\r"), expected);
}

#[test]
fn quotes() {
    let expected = vec![(2, cells(&["5\" cut", "say \"ah\""])), (3, cells(&["", "a,b"]))];
    assert_eq!(good(b"a,b\n5\" cut,\"say \"\"ah\"\"\"\n\"\",\"a,b\"\n"), expected);
    assert_eq!(reasons(b"a,b\n1,\"x\"y\n2,z\n"), [(2, Reason::Quotes)]);
    assert_eq!(reasons(b"a,b\n1,z\n2,\"never closed\n3,z\n"), [(3, Reason::Quotes)]);
}

#[test]
fn in_tsv_a_line_is_a_row() {
    let bytes =
        b"id\t\"text\"\n1\t\"lone\n2\tend\"\n3\t\"say \"\"ah\"\"\"\n4\t\"a\" and \"b\"\n5\t\"\"\n6\t\"\n7\tx\ty\n";
    let source = Box::new(BufReader::with_capacity(3, Cursor::new(bytes.to_vec())));
    let (columns, mut rows) = DelimitedRows::open(Path::new("a.tsv").into(), source, b'\t', false, "").unwrap();
    assert_eq!(columns, ["id", "text"]);
    let mut rows = all(&mut rows);
    let Some(Err(RowError::Bad(last))) = rows.pop() else { panic!("a tab too many") };
    assert!(last.line == 8 && last.message.contains("`format` (or --format) to csv"), "{last}");
    let texts: Vec<_> = rows.into_iter().map(|row| row.unwrap().fields[1].clone().unwrap_or_default()).collect();
    assert_eq!(texts, ["\"lone", "end\"", "say \"ah\"", "\"a\" and \"b\"", "", "\""]);
}

#[test]
fn ragged_rows_and_bytes_of_another_encoding_are_bad_rows() {
    assert_eq!(reasons(b"a,b\n1\n1,2\n1,2,3\n,\n"), [(2, Reason::FieldCount), (4, Reason::FieldCount)]);
    assert_eq!(reasons(b"a,b\n1,caf\xE9\n1,2\n"), [(2, Reason::Encoding)]);
    // The two halves of one character in two cells must not be joined.
    assert_eq!(reasons(b"a,b\n\xC3,\xA9\n"), [(2, Reason::Encoding)]);
    let (_, mut rows) = rows_of(b"a,b\n1,secret\xE9\n", b',').unwrap();
    let message = RowErrorText(rows.next_record().unwrap_err()).to_string();
    assert!(message.starts_with("a.csv, line 2, column \"b\": has bytes that are not UTF-8"), "{message}");
    assert!(!message.contains("secret"));
}

struct RowErrorText(RowError);

impl std::fmt::Display for RowErrorText {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            RowError::Bad(row) => row.fmt(formatter),
            RowError::Stop(error) => error.fmt(formatter),
        }
    }
}

#[test]
fn hostile_headers_are_errors_and_zero_bytes_are_text() {
    for (bytes, word) in [
        (&b""[..], "empty"),
        (b"\r\n\n\n", "empty"),
        (b"a,a\n1,2\n", "column 2 has the name"),
        (b"a,\"b\n1,2\n", "quote"),
        (b"a\0,\0b\0\n\0", "utf-16le"),
        (b"\xE9,b\n1,2\n", "encoding"),
    ] {
        let Err(error) = rows_of(bytes, b',') else { panic!("{bytes:?} was read") };
        assert!(error.to_string().contains(word), "{error}");
    }
    let Err(error) = rows_of(&vec![b','; MAX_COLUMNS + 10], b',') else { panic!("too many columns") };
    assert!(error.to_string().contains("columns"), "{error}");
    assert!(good(b"a,b\n").is_empty(), "a header alone has no rows");
    assert_eq!(good(b"a,b\n1,x\0y\n"), [(2, cells(&["1", "x\0y"]))]);
}

#[test]
fn a_row_beyond_the_limit_is_bad_and_the_next_is_read() {
    let (_, mut rows) = rows_of(b"a,b\n1,xxxxxxxxxxxxxxxxxxxxxxxx\n2,y\n", b',').unwrap();
    rows.max_row_bytes = 10;
    let rows = all(&mut rows);
    assert!(matches!(&rows[0], Err(RowError::Bad(BadRow { reason: Reason::TooLong, line: 2, .. }))));
    assert_eq!(rows[1].as_ref().unwrap().line, 3);
}

#[test]
fn a_cell_of_15_megabytes_is_read() {
    let bytes = format!("a,b\n1,\"{}\"\n", "x\n".repeat(7_500_000));
    let source = Box::new(BufReader::new(Cursor::new(bytes.into_bytes())));
    let (_, mut rows) = DelimitedRows::open(Path::new("a.csv").into(), source, b',', true, "").unwrap();
    let record = rows.next_record().unwrap().unwrap();
    assert_eq!(record.fields[1].as_ref().unwrap().len(), 15_000_000);
    assert!(rows.next_record().unwrap().is_none());
}

proptest! {
    /// Whatever the csv crate writes is read back cell by cell.
    #[test]
    fn reads_what_was_written(
        table in prop::collection::vec(prop::collection::vec("[a-c\"',;\r\n\t 발é]{0,6}", 3), 0..8),
        separator in prop::sample::select(vec![b',', b';', b'\t', b'|']),
    ) {
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(vec![]);
        writer.write_record(["a", "b", "c"]).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }
        let bytes = writer.into_inner().unwrap();
        let (_, mut rows) = rows_of(&bytes, separator).unwrap();
        let read: Vec<Vec<String>> = all(&mut rows)
            .into_iter()
            .map(|row| row.unwrap().fields.into_iter().map(Option::unwrap_or_default).collect())
            .collect();
        prop_assert_eq!(read, table);
    }

    /// Any bytes at all: no panic, and where no row is bad, the cells that the csv crate reads.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop::sample::select(b"ab\",;\r\n\t \0\xC3\xA9\xFF".to_vec()), 0..60)) {
        let Ok((columns, mut rows)) = rows_of(&bytes, b',') else { return Ok(()) };
        let rows = all(&mut rows);
        // The csv crate takes a lone carriage return for the end of a row.
        let lone_return = bytes.iter().enumerate().any(|(at, &byte)| byte == b'\r' && bytes.get(at + 1) != Some(&b'\n'));
        if !lone_return && rows.iter().all(Result::is_ok) {
            let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
            let read: Vec<_> = rows.into_iter().flatten().collect();
            let expected: Vec<csv::ByteRecord> = reader.byte_records().map(|row| row.unwrap()).collect();
            prop_assert_eq!(read.len(), expected.len());
            for (row, expected) in read.iter().zip(&expected) {
                prop_assert_eq!(row.fields.len(), columns.len());
                for (cell, expected) in row.fields.iter().zip(expected) {
                    prop_assert_eq!(cell.as_deref().unwrap_or_default().as_bytes(), expected);
                }
            }
        }
    }
}
