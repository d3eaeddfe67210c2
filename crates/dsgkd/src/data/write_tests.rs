#![allow(clippy::unwrap_used)]
use super::*;
use crate::data::{ReadOptions, Records};

fn read(path: &Path) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let records = Records::open(path, &ReadOptions::default()).unwrap();
    (records.columns().to_vec(), records.map(|record| record.unwrap().fields).collect())
}

fn text(text: &str) -> Option<String> {
    Some(text.to_string())
}

#[test]
fn every_format_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let columns = ["note", "age"].map(str::to_string);
    let added = [NewColumn::text("label"), NewColumn::number("probability")];
    for name in ["a.csv", "a.tsv", "a.jsonl", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = TableWriter::create(&path, &columns, &added).unwrap();
        // A row of TSV is a line.
        let note = text(if name == "a.tsv" { "\"발열\", fever" } else { "발열,\t\"fever\"\nhier" });
        writer.write_row(&[note.clone(), None], &[Value::Text("yes".into()), Value::Number(0.1)]).unwrap();
        writer.write_row(&[None, text("7")], &[Value::Missing, Value::Number(f64::NAN)]).unwrap();
        assert!(!path.exists(), "the file has its name only when it is whole");
        writer.finish().unwrap();
        let (names, rows) = read(&path);
        assert_eq!(names, ["note", "age", "label", "probability"], "{name}");
        assert_eq!(rows[0], [note, None, text("yes"), text("0.1")], "{name}");
        assert_eq!(rows[1], [None, text("7"), None, None], "{name}");
        assert_eq!(rows.len(), 2);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4, "nothing is left aside");
}

#[test]
fn json_values_come_out_of_jsonl_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let [from, to, table] = ["a.jsonl", "b.jsonl", "b.csv"].map(|name| folder.path().join(name));
    let lines = "{\"note\":\"7\",\"age\":23,\"weight\":70.5,\"vip\":true,\"x\":null,\"y\":{\"b\":[1,\"z\"],\"a\":-0.0}}\n\
                 {\"note\":\"true\",\"age\":18446744073709551615,\"weight\":1e-7,\"vip\":\"no\",\"x\":[],\"y\":null}\n";
    fs::write(&from, lines).unwrap();
    for path in [&to, &table] {
        let records = Records::open(&from, &ReadOptions::default()).unwrap();
        let mut writer = TableWriter::create(path, records.columns(), &[]).unwrap();
        records.for_each(|record| writer.write_record(&record.unwrap(), &[]).unwrap());
        writer.finish().unwrap();
    }
    assert_eq!(fs::read_to_string(&to).unwrap(), lines);
    assert!(fs::read_to_string(&table).unwrap().starts_with("note,age,weight,vip,x,y\n7,23,70.5,true,,"));
}

#[test]
fn parquet_row_groups_and_empty_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let columns = ["note".to_string()];
    let mut writer = TableWriter::create(&path, &columns, &[NewColumn::number("p")]).unwrap();
    for row in 0..25_000 {
        writer.write_row(&[Some(row.to_string())], &[Value::Number(f64::from(row))]).unwrap();
    }
    writer.finish().unwrap();
    let (_, rows) = read(&path);
    assert_eq!(rows.len(), 25_000);
    assert!(rows.iter().enumerate().all(|(row, cells)| cells.iter().all(|cell| *cell == Some(row.to_string()))));

    TableWriter::create(&path, &columns, &[]).unwrap().finish().unwrap();
    assert_eq!(read(&path), (vec!["note".to_string()], vec![]));
}

#[test]
fn an_unfinished_table_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.csv");
    fs::write(&path, "old").unwrap();
    let mut writer = TableWriter::create(&path, &["a".to_string()], &[]).unwrap();
    writer.write_row(&[None], &[]).unwrap();
    drop(writer);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn wrong_tables_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let columns = ["note".to_string()];
    let create = |name: &str, added: &[NewColumn]| TableWriter::create(&folder.path().join(name), &columns, added);
    assert!(matches!(create("a.xlsx", &[]), Err(Error::Config(_))));
    assert!(matches!(create("a.json", &[]), Err(Error::Config(_))));
    assert!(matches!(create("a.csv.gz", &[]), Err(Error::Config(_))));
    assert!(matches!(create("no/a.csv", &[]), Err(Error::Io { .. })));
    assert!(matches!(create("a.csv", &[NewColumn::text("note")]), Err(Error::Data(_))));
    assert!(create("a.csv", &[]).unwrap().write_row(&[], &[]).is_err());
}

#[test]
fn writes_to_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let sink = Box::new(File::create(&path).unwrap());
    let mut writer =
        TableWriter::to_writer(sink, Path::new("-"), Format::Jsonl, &["a".to_string()], &[NewColumn::number("p")])
            .unwrap();
    writer.write_row(&[text("x")], &[Value::Number(0.5)]).unwrap();
    writer.flush().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"a\":\"x\",\"p\":0.5}\n");
    writer.finish().unwrap();
}
