//! No word of a note reaches a log, an error, a file name or any file of a run, whatever happens.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, notes_csv};
use std::path::Path;

/// Stands in every note, and nowhere else.
const CANARY: &str = "Qz7canaryWord";

fn search(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(!path.to_string_lossy().contains(CANARY), "{}", path.display());
        if path.is_dir() {
            search(&path);
        } else {
            let found =
                common::bytes(&path).windows(CANARY.len()).any(|window| window.eq_ignore_ascii_case(CANARY.as_bytes()));
            assert!(!found, "{} holds the text of a note", path.display());
        }
    }
}

#[test]
fn the_canary_stays_in_the_notes() {
    let world = World::with_notes(&notes_csv(CANARY));
    let check = |command: &mut assert_cmd::Command| {
        let output = command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").output().unwrap();
        for stream in [output.stdout, output.stderr] {
            let text = String::from_utf8_lossy(&stream).to_lowercase();
            assert!(!text.contains(&CANARY.to_lowercase()), "{text}");
        }
    };
    let experiment = world.experiment("run", true, "");
    check(dsgkd().arg("check").arg(&experiment));
    check(dsgkd().arg("train").arg(&experiment));
    search(&world.path("run"));
    check(dsgkd().arg("evaluate").arg(world.path("run")));
    // Errors whose cause is a cell with note text: a label column that is the note, broken quotes, broken encoding.
    check(dsgkd().arg("train").arg(&experiment).args(["--set", "data.label=note", "--set", "output_dir=other"]));
    let csv = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    for broken in [
        csv.replacen("\"\n", "\n", 40),
        csv.replace("세", "\u{0}"),
        csv.replace(",yes", ""),
        csv.replace(",yes", ",maybe"),
    ] {
        std::fs::write(world.path("notes.csv"), broken).unwrap();
        check(dsgkd().arg("check").arg(&experiment));
        check(
            dsgkd()
                .arg("predict")
                .arg(world.path("run/model"))
                .arg(world.path("notes.csv"))
                .arg("-o")
                .arg(world.path("out.jsonl")),
        );
    }
    std::fs::write(world.path("notes.csv"), [csv.as_bytes(), b"1,p,\"\xff\xfe\",yes\n"].concat()).unwrap();
    check(dsgkd().arg("check").arg(&experiment));
    // A label column that is the note, with no classes to hold it against; and a file without a header, whose first note stands where names should.
    std::fs::write(world.path("notes.csv"), &csv).unwrap();
    let learned = std::fs::read_to_string(&experiment).unwrap().replace("labels = [\"no\", \"yes\"]\n", "");
    let learned = learned.replace("label = \"urgent\"", "label = \"note\"");
    std::fs::write(world.path("learned.toml"), learned).unwrap();
    check(dsgkd().arg("check").arg(world.path("learned.toml")));
    check(dsgkd().arg("train").arg(world.path("learned.toml")).args(["--set", "output_dir=learned"]));
    let twice = csv.lines().skip(1).map(|line| format!("{line},{CANARY},{CANARY}\n")).collect::<String>();
    for headless in [csv.split_once('\n').unwrap().1, &twice] {
        std::fs::write(world.path("notes.csv"), headless).unwrap();
        check(dsgkd().arg("check").arg(&experiment));
        check(dsgkd().arg("predict").arg(world.path("run/model")).arg(world.path("notes.csv")));
        let columns = ["--label", "urgent", "--probability", "probability_yes"];
        check(dsgkd().arg("evaluate").arg("--predictions").arg(world.path("notes.csv")).args(columns));
        let corpus = "output_dir = \"more\"\nmodel = \"student-run/model\"\n[[corpus]]\nfiles = [\"notes.csv\"]\ncolumns = [\"note\"]\n";
        std::fs::write(world.path("more.toml"), corpus).unwrap();
        check(dsgkd().arg("pretrain").arg(world.path("more.toml")));
    }
}
