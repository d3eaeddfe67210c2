#![allow(clippy::unwrap_used)]
use super::*;
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type};
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use std::path::PathBuf;

const SCHEMA: &str = "message table {
    OPTIONAL BYTE_ARRAY note (UTF8); REQUIRED BYTE_ARRAY unmarked; OPTIONAL DOUBLE level; REQUIRED INT64 id;
    REQUIRED INT32 seen (DATE); REQUIRED BOOLEAN well; REPEATED INT32 codes;
}";

/// Three rows in one row group; `unmarked` is the second column of the last row.
fn write(folder: &Path, unmarked: &[u8]) -> PathBuf {
    let path = folder.join("a.parquet");
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    macro_rules! column {
        ($type:ty, $values:expr, $definitions:expr, $repetitions:expr) => {{
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<$type>().write_batch($values, $definitions, $repetitions).unwrap();
            column.close().unwrap();
        }};
    }
    let bytes = |bytes: &[u8]| ByteArray::from(bytes.to_vec());
    column!(ByteArrayType, &[bytes("발열".as_bytes()), bytes(b"fever")], Some(&[1, 0, 1]), None);
    column!(ByteArrayType, &[bytes(b"a"), bytes(b"b"), bytes(unmarked)], None, None);
    column!(DoubleType, &[3.0, f64::NAN, 36.6], Some(&[1, 1, 1]), None);
    column!(Int64Type, &[1, 2, i64::MAX], None, None);
    column!(Int32Type, &[0, 19_874, i32::MAX], None, None);
    column!(BoolType, &[true, false, true], None, None);
    column!(Int32Type, &[7, 8], Some(&[1, 1, 0, 0]), Some(&[0, 1, 0, 0]));
    group.close().unwrap();
    writer.close().unwrap();
    path
}

fn read(path: &Path) -> Result<Vec<Record>> {
    let (_, mut rows) = ParquetRows::open(path.into(), File::open(path).unwrap())?;
    let mut records = Vec::new();
    while let Some(record) = rows.next_record()? {
        records.push(record);
        assert!(records.len() < 100_000, "a damaged file that never ends");
    }
    Ok(records)
}

#[test]
fn values_of_every_kind_become_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"c");
    // The last date is out of any calendar: the crate panics on some of these, which must stay an error.
    let (columns, mut rows) = ParquetRows::open(path.as_path().into(), File::open(&path).unwrap()).unwrap();
    assert_eq!(columns, ["note", "unmarked", "level", "id", "seen", "well", "codes"]);
    let text = |text: &str| Some(text.to_string());
    let first = rows.next_record().unwrap().unwrap();
    assert_eq!(first.line, 1);
    let expected = [text("발열"), text("a"), text("3"), text("1"), text("1970-01-01"), text("true"), text("[7, 8]")];
    assert_eq!(first.fields, expected);
    let second = rows.next_record().unwrap().unwrap();
    assert_eq!(second.fields[..5], [None, text("b"), None, text("2"), text("2024-05-31")]);
    assert!(!matches!(rows.next_record(), Err(RowError::Bad(_))));
}

/// As pandas has them in CSV, and Excel in a sheet: the same notes must come of the same table.
#[test]
fn times_are_written_as_in_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("times.parquet");
    let schema = "message table {
        OPTIONAL INT64 millis (TIMESTAMP(MILLIS,false)); REQUIRED INT64 micros (TIMESTAMP(MICROS,false));
        REQUIRED INT64 nanos (TIMESTAMP(NANOS,false)); REQUIRED INT64 moment (TIMESTAMP(NANOS,true));
        REQUIRED INT64 old (TIMESTAMP_MILLIS); REQUIRED INT64 number;
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(File::create(&path).unwrap(), schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    // 2025-01-01 09:30:00, a fraction of a second later, its midnight, and the second before 1970.
    let seconds: [i64; 4] = [1_735_723_800, 1_735_723_800, 1_735_689_600, -1];
    let ticks = |a_second: i64, fraction: i64| -> Vec<i64> {
        seconds.iter().zip([0, fraction, 0, 0]).map(|(seconds, fraction)| seconds * a_second + fraction).collect()
    };
    let (millis, nanos) = (ticks(1_000, 250), ticks(1_000_000_000, 1));
    let columns = [&millis, &ticks(1_000_000, 500_000), &nanos, &nanos, &millis, &nanos];
    for (number, values) in columns.into_iter().enumerate() {
        let mut column = group.next_column().unwrap().unwrap();
        let present: &[i16] = if number == 0 { &[1, 1, 1, 0] } else { &[] };
        let values = if number == 0 { &values[..3] } else { &values[..] };
        column.typed::<Int64Type>().write_batch(values, (number == 0).then_some(present), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let found: Vec<Vec<String>> = read(&path)
        .unwrap()
        .into_iter()
        .map(|record| record.fields.into_iter().map(|cell| cell.unwrap_or_default()).collect())
        .collect();
    let expected = [
        "2025-01-01 09:30:00|2025-01-01 09:30:00|2025-01-01 09:30:00|2025-01-01 09:30:00+00:00|2025-01-01 09:30:00|1735723800000000000",
        "2025-01-01 09:30:00.250|2025-01-01 09:30:00.500|2025-01-01 09:30:00.000000001|2025-01-01 09:30:00.000000001+00:00|2025-01-01 09:30:00.250|1735723800000000001",
        "2025-01-01|2025-01-01|2025-01-01|2025-01-01 00:00:00+00:00|2025-01-01|1735689600000000000",
        "|1969-12-31 23:59:59|1969-12-31 23:59:59|1969-12-31 23:59:59+00:00|1969-12-31 23:59:59|-1000000000",
    ];
    assert_eq!(found, expected.map(|row| row.split('|').map(str::to_string).collect::<Vec<_>>()));
}

#[test]
fn a_row_beyond_the_limit_is_bad_and_the_next_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"c");
    // The first row has 29 bytes, six of them its list; the second has 19.
    for limit in [20, 28] {
        let (_, mut rows) = ParquetRows::open(path.as_path().into(), File::open(&path).unwrap()).unwrap();
        rows.max_row_bytes = limit;
        let Err(RowError::Bad(row)) = rows.next_record() else { panic!("the first row is too long for {limit}") };
        assert_eq!((row.line, row.reason), (1, Reason::TooLong));
        assert_eq!(rows.next_record().unwrap().unwrap().line, 2);
    }
}

#[test]
fn a_list_is_not_written_beyond_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"c");
    let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let row = RowIter::from_file_into(Box::new(reader)).next().unwrap().unwrap();
    let (_, list) = row.into_columns().pop().unwrap();
    assert_eq!(text_of(list.clone(), 6).unwrap().unwrap(), "[7, 8]");
    assert_eq!(text_of(list, 1).unwrap().unwrap(), "[7");
}

#[test]
fn lists_of_too_many_values_are_refused_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"c");
    let open = |limit, a_row| {
        ParquetRows::open_within(path.as_path().into(), File::open(&path).unwrap(), limit, a_row).map(|_| ())
    };
    // Two values and two rows with an empty list each, which is a value in its page.
    open(4, 0).unwrap();
    open(3, 2).unwrap(); // as many a row as an embedding, say, has
    let error = open(3, 1).unwrap_err().to_string();
    assert!(error.contains("a.parquet: the lists of a row group have more than 3 values, and 1 a row"), "{error}");
}

#[test]
fn bytes_that_are_not_text_end_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"\xFFsecret");
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains("a.parquet") && !error.contains("secret"), "{error}");
}

#[test]
fn damaged_files_are_errors_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), b"c");
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(5) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(read(&path), Err(Error::Data(_))), "cut at {length}");
    }
    for position in 0..whole.len() {
        for flip in [0xFF, 0x01, 0x40] {
            let mut damaged = whole.clone();
            damaged[position] ^= flip;
            std::fs::write(&path, &damaged).unwrap();
            let _ = read(&path);
        }
    }
}
