//! The tables of docs/results.md and docs/performance.md whose predictions are kept: what the commands say today of what every arm said of every note.
#![allow(clippy::unwrap_used)]

mod common;

use common::{dsgkd, ran};
use std::path::Path;

/// The grids, and how many rows their tables have.
const TABLES: [(&str, &[&str], usize); 7] = [
    ("ktas", &[], 17),
    ("ktas-without-vital-signs", &[], 6),
    ("ktas-teachers", &["--seeds", "1,2"], 5),
    ("label-budgets", &[], 55),
    ("bfloat16", &[], 4),
    ("real-encoders", &[], 6),
    ("japanese", &["--against", "TF-IDF and logistic regression"], 2),
];

/// A copy of the experiments' files alone: whatever runs lie beside the originals have no part in it.
fn experiments() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for part in ["experiments", "experiments/japanese", "demo"] {
        std::fs::create_dir(folder.path().join(part)).unwrap();
        for file in std::fs::read_dir(root.join(part)).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                std::fs::copy(&file, folder.path().join(part).join(file.file_name().unwrap())).unwrap();
            }
        }
    }
    folder
}

#[test]
fn every_table_of_kept_predictions_is_what_its_command_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let pages =
        ["results", "performance"].map(|page| std::fs::read_to_string(root.join(format!("docs/{page}.md"))).unwrap());
    let copy = experiments();
    for (name, more, count) in TABLES {
        let mut command = dsgkd();
        command.arg("grid").arg(copy.path().join(format!("experiments/{name}.toml"))).args(more);
        command.args(["--quiet", "--finished", "--from"]);
        let (table, _) = ran(command.arg(root.join(format!("experiments/predictions/{name}.parquet"))), 0);
        // Without the seconds, which some tables leave out.
        let row = |line: &str| line.trim_end_matches('|').rsplit_once('|').unwrap().0.to_string() + "|";
        let rows: Vec<String> = table.lines().skip(2).map(row).collect();
        assert_eq!(rows.len(), count, "{name}: {table}");
        for row in rows {
            assert!(pages.iter().any(|page| page.contains(&row)), "the docs do not hold this row of {name}: {row}");
        }
    }
}
