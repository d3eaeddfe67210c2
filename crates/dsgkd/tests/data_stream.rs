//! Records to notes to an output table through the public interface, as prediction does it: one record at a time, the input's
//! columns kept.
#![allow(clippy::unwrap_used)]

use dsgkd::config::DataConfig;
use dsgkd::data::{NewColumn, NoteMapper, ReadOptions, Records, RowError, TableWriter, Value};
use std::io::Write;
use std::path::{Path, PathBuf};

const TABLE: &str = "Age,Note,Visit\n71,\"발열, fever\",a\n5,,b\n40,복통 pain\n33,기침 cough,d\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// The notes of a file, its bad rows as messages, and the output table as text.
fn predict(path: &Path, encoding: &str, output: &Path) -> (Vec<String>, Vec<String>, String) {
    let config = DataConfig {
        template: "{Age}세: {Note}".into(),
        id: "Visit".into(),
        encoding: encoding.into(),
        ..DataConfig::default()
    };
    let records = Records::open(path, &ReadOptions::from(&config)).unwrap();
    let mapper = NoteMapper::new(&config, path, records.columns(), false).unwrap();
    let mut writer = TableWriter::create(output, records.columns(), &[NewColumn::number("length")]).unwrap();
    let (mut notes, mut bad) = (vec![], vec![]);
    for record in records {
        let mapped = record.and_then(|record| match mapper.map(&record) {
            Ok(note) => Ok((record, note)),
            Err(row) => Err(RowError::Bad(row)),
        });
        match mapped {
            Ok((record, note)) => {
                writer.write_row(&record.fields, &[Value::Number(note.text.chars().count() as f64)]).unwrap();
                notes.push(format!("{} {}", note.id, note.text));
            }
            Err(RowError::Bad(row)) => bad.push(row.to_string()),
            Err(RowError::Stop(error)) => panic!("{error}"),
        }
    }
    writer.finish().unwrap();
    (notes, bad, std::fs::read_to_string(output).unwrap())
}

#[test]
fn the_same_table_in_any_encoding_gives_the_same_notes() {
    let folder = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = [0xFEFF].into_iter().chain(TABLE.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let (cp949, _, _) = encoding_rs::EUC_KR.encode(TABLE);
    let files: [(&str, &[u8], &str); 4] = [
        ("plain.csv", TABLE.as_bytes(), ""),
        ("wide.csv", &utf16, ""),
        ("korean.csv", &cp949, "cp949"),
        ("packed.csv.gz", &gzip(&cp949), "CP949"),
    ];
    for (name, bytes, encoding) in files {
        let path: PathBuf = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (notes, bad, output) = predict(&path, encoding, &folder.path().join("output.csv"));
        assert_eq!(notes, ["a 71세: 발열, fever", "d 33세: 기침 cough"], "{name}");
        assert_eq!(bad.len(), 2);
        assert!(bad[0].contains("line 3, column \"Note\": is missing"), "{}", bad[0]);
        assert!(bad[1].contains("line 4: has 2 cells where the header has 3 columns"), "{}", bad[1]);
        assert_eq!(output, "Age,Note,Visit,length\n71,\"발열, fever\",a,14\n33,기침 cough,d,13\n");
    }
}

#[test]
fn readers_and_writers_can_move_to_another_thread() {
    fn movable<T: Send>() {}
    movable::<Records>();
    movable::<TableWriter>();
    movable::<NoteMapper>();
}
