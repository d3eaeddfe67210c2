//! The tables of docs/results.md whose predictions are kept: what the commands say today of what every arm said of every note.
#![allow(clippy::unwrap_used)]

mod common;

use common::{dsgkd, ran};
use std::path::Path;

/// The rows that the page must hold: what a grid of `experiments/` makes of the predictions beside it.
fn rows(name: &str, more: &[&str]) -> Vec<String> {
    let experiments = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut command = dsgkd();
    command.arg("grid").arg(experiments.join(format!("{name}.toml"))).args(more).args(["--quiet", "--finished"]);
    command.arg("--from").arg(experiments.join("predictions").join(format!("{name}.parquet")));
    let (table, _) = ran(&mut command, 0);
    // Without the seconds, which some tables leave out.
    let row = |line: &str| line.trim_end_matches('|').rsplit_once('|').unwrap().0.to_string() + "|";
    table.lines().skip(2).map(row).collect()
}

#[test]
fn every_table_of_kept_predictions_is_what_its_command_prints() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results.md")).unwrap();
    for (name, more) in [("ktas", &[][..]), ("label-budgets", &[]), ("real-encoders", &["--seeds", "1"])] {
        let rows = rows(name, more);
        assert!(rows.len() >= 5, "{name}: {rows:?}");
        for row in rows {
            assert!(page.contains(&row), "docs/results.md does not hold this row of {name}: {row}");
        }
    }
}
