#![allow(clippy::unwrap_used)]
use super::*;
use crate::data::Reason;
use std::path::Path;

/// Latin-1, `;`, CRLF, lost text as `??`, a quoted cell over two lines: what hospitals export.
const EXPORT: &[u8] = b"Age;Note;Level;BT\r\n71;fi\xE8vre;3;38,1\r\n56;\"douleur; thorax\r\nd\xE9but hier\";10;??\r\n\
    68;??;3;36,6\r\n40;toux;9;\r\n";

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn config(train: PathBuf) -> DataConfig {
    DataConfig {
        train: vec![train],
        encoding: "latin1".into(),
        separator: ";".into(),
        text: "Note".into(),
        label: "Level".into(),
        missing: vec!["??".into()],
        skip_bad_rows: true,
        ..DataConfig::default()
    }
}

#[test]
fn an_export_in_latin_1_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(write(folder.path(), "a.csv", EXPORT));
    let notes = read_notes(&config).unwrap();
    assert_eq!(notes.labels, ["3", "9", "10"], "numbers sort as numbers");
    let texts: Vec<&str> = notes.notes.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(texts, ["fièvre", "douleur; thorax\ndébut hier", "toux"]);
    let rows: Vec<(u64, Option<usize>)> = notes.notes.iter().map(|note| (note.row, note.label)).collect();
    assert_eq!(rows, [(2, Some(0)), (3, Some(2)), (6, Some(1))]);
    assert_eq!(notes.bad_rows.counts.get(&Reason::MissingText), Some(&1));
    assert_eq!(notes.class_counts(&[0, 1, 2]), [1, 1, 1]);

    let strict = DataConfig { skip_bad_rows: false, ..config.clone() };
    let error = read_notes(&strict).unwrap_err().to_string();
    assert!(error.contains("a.csv, line 5, column \"Note\": has no text"), "{error}");

    let template = DataConfig { text: String::new(), template: "{Age} ans: {Note}[, T {BT}]".into(), ..config };
    let notes = read_notes(&template).unwrap();
    assert_eq!(notes.notes[0].text, "71 ans: fièvre, T 38,1");
    assert_eq!(notes.notes[1].text, "56 ans: douleur; thorax\ndébut hier");
}

#[test]
fn the_wrong_encoding_is_a_bad_row_that_names_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(write(folder.path(), "a.csv", EXPORT));
    config.encoding = String::new();
    config.skip_bad_rows = false;
    let error = read_notes(&config).unwrap_err().to_string();
    assert!(error.contains("line 2, column \"Note\": has bytes that are not UTF-8"), "{error}");
}

#[test]
fn several_files_share_classes_and_name_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path(), "a.csv", b"Note;Level\nfever;1\n");
    let second = write(folder.path(), "b.csv", b"Level;Note\n2;cough\n");
    let test = write(folder.path(), "t.csv", b"Note;Level\npain;2\nrash;7\n");
    let pool = write(folder.path(), "u.csv", b"Note\ntired\n");
    let mut config = config(first);
    config.train.push(second);
    config.test = vec![test];
    config.unlabeled = vec![pool];
    let notes = read_notes(&config).unwrap();
    let ids: Vec<&str> = notes.notes.iter().map(|note| note.id.as_str()).collect();
    assert_eq!(ids, ["a.csv:2", "b.csv:2", "2"]);
    assert_eq!((notes.train, notes.validation, notes.test), (0..2, 2..2, 2..3));
    assert_eq!(notes.notes[2].label, Some(1), "the training files' classes");
    assert_eq!(notes.bad_rows.counts.get(&Reason::UnknownLabel), Some(&1));
    assert_eq!((notes.unlabeled[0].text.as_str(), notes.unlabeled[0].file), ("tired", 3));
    assert_eq!(notes.files.len(), 4);
}

#[test]
fn ids_that_repeat_among_tested_notes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let visits = b"Note;Level;Patient\nfever;1;secret\ncough;2;b\npain;1;secret\nrash;2;secret\nchill;1;b\nache;2;\n\
        itch;2;\nburn;1;7\n";
    let others = b"Note;Level;Patient\ntired;1;c\ndizzy;2;secret\n";
    let mut config = config(write(folder.path(), "a.csv", visits));
    config.id = "Patient".into();
    let error = |config: &DataConfig| {
        let error = read_notes(config).unwrap_err();
        assert!(matches!(error, Error::Data(_)));
        error.to_string().replace(&*folder.path().to_string_lossy(), "")
    };
    assert_eq!(
        error(&config),
        "data.id: column \"Patient\" repeats 2 of its values (first: /a.csv, line 2 and line 4); an id names one note. \
         If it names a patient, set data.group; without data.id, notes go by their row numbers"
    );
    // Notes that are only trained on are put together by nothing.
    config.test = vec![write(folder.path(), "t.csv", others)];
    config.validation = vec![write(folder.path(), "v.csv", others)];
    let notes = read_notes(&config).unwrap();
    assert_eq!(
        notes.notes[5..8].iter().map(|note| &note.id[..]).collect::<Vec<_>>(),
        ["no id (row 7)", "no id (row 8)", "7"]
    );
    // Across files of one part they are.
    config.test.push(write(folder.path(), "u.csv", others));
    let said = error(&config);
    assert!(said.contains("repeats 2 of its values (first: /t.csv, line 2 and /u.csv, line 2)"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn ids_do_not_hang_on_how_a_path_was_written() {
    let here = std::env::current_dir().unwrap();
    let files = ["notes.csv", "old/notes.csv"].map(PathBuf::from);
    let absolute = files.each_ref().map(|file| here.join(file));
    let prefixes = |files: &[PathBuf]| files.iter().map(|file| super::id_prefix(files, file)).collect::<Vec<_>>();
    assert_eq!(prefixes(&files), prefixes(&absolute));
    assert_ne!(prefixes(&files)[0], prefixes(&files)[1]);
}

#[test]
fn files_of_one_name_have_ids_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = |ward: &str| {
        std::fs::create_dir_all(folder.path().join(ward)).unwrap();
        write(folder.path(), &format!("{ward}/a.csv"), b"Note;Level\nfever;1\ncough;2\n")
    };
    let mut config = config(file("north"));
    config.train.extend([file("south"), write(folder.path(), "b.csv", b"Note;Level\npain;1\n")]);
    let notes = read_notes(&config).unwrap();
    let ids: Vec<&str> = notes.notes.iter().map(|note| note.id.as_str()).collect();
    assert_eq!(ids, ["north/a.csv:2", "north/a.csv:3", "south/a.csv:2", "south/a.csv:3", "b.csv:2"]);
}

#[test]
fn what_cannot_be_learnt_from_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (text, word) in [
        ("Note;Level\n", "holds no note"),
        ("Note;Level\nfever;1\npain;1\n", "only 1 class"),
        ("Note;Level\n??;1\n", "1 without text"),
        ("Note;Levels\nfever;1\n", "did you mean \"Levels\""),
    ] {
        let error = read_notes(&config(write(folder.path(), "a.csv", text.as_bytes()))).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let many: String = (0..1500).map(|row| format!("fever;secret {row}\n")).collect();
    let path = write(folder.path(), "a.csv", format!("Note;Level\n{many}").as_bytes());
    let error = read_notes(&config(path)).unwrap_err().to_string();
    assert!(error.contains("more than 1000") && !error.contains("secret"), "{error}");
}

#[test]
fn a_debug_print_has_no_text() {
    let note = Note { row: 1, file: 0, id: "secret".into(), text: "secret".into(), label: None, group: None };
    assert!(!format!("{note:?}").contains("secret"));
}

/// The emergency-department visits of Moon et al. 2019 (10.1371/journal.pone.0216972), where they are at hand.
#[test]
fn the_real_triage_file_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ktas/data.csv");
    if !path.is_file() {
        eprintln!("skipped: the triage data are not at hand");
        return;
    }
    let mut config = config(path);
    config.text = "Chief_complain".into();
    config.label = "KTAS_expert".into();
    config.labels = vec!["non-emergency".into(), "emergency".into()];
    config.label_map = (1..=5)
        .map(|level| (level.to_string(), if level <= 3 { "emergency" } else { "non-emergency" }.to_string()))
        .collect();
    let notes = read_notes(&config).unwrap();
    let all: Vec<usize> = (0..notes.notes.len()).collect();
    let missing = notes.bad_rows.total() as usize;
    assert_eq!(all.len() + missing, 1267);
    let counts = notes.class_counts(&all);
    assert!(counts[0] <= 534 && counts[1] <= 733 && counts[0] + counts[1] == all.len());
}

#[test]
fn a_column_of_text_is_no_label() {
    let folder = tempfile::tempdir().unwrap();
    let labels = |values: &[usize]| {
        let rows: String = values.iter().enumerate().map(|(note, value)| format!("fever {note};c{value}\n")).collect();
        let train = write(folder.path(), "a.csv", format!("Note;Level\n{rows}").as_bytes());
        read_notes(&config(train)).map(|notes| notes.labels.len()).map_err(|error| error.to_string())
    };
    let repeated = |values: usize, times: usize| (0..values * times).map(|note| note % values).collect::<Vec<_>>();
    assert_eq!((labels(&repeated(5, 1)), labels(&repeated(6, 3))), (Ok(5), Ok(6)));
    for of_text in [repeated(6, 1), repeated(6, 2), [repeated(6, 9), vec![6]].concat()] {
        let error = labels(&of_text).unwrap_err();
        assert!(error.contains("different values in") && !error.contains("c1"), "{error}");
    }
}
