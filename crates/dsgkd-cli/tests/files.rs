//! Files and folders that are not what they were taken for, against the real binary.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, ran};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The model of one epoch, trained with these settings.
fn train(world: &World, set: &[&str]) -> PathBuf {
    let mut command = dsgkd();
    command.arg("train").arg(world.experiment("run", false, "")).args(["--set", "train.num_train_epochs=1"]);
    command.args(set.iter().flat_map(|set| ["--set", set])).assert().success();
    world.path("run/model")
}

/// `predict` of `notes`, to be given more.
fn predict(model: &Path, notes: &Path) -> assert_cmd::Command {
    let mut command = dsgkd();
    command.arg("predict").arg(model).arg(notes);
    command
}

#[test]
fn jsonl_is_utf_8_and_keeps_its_values() {
    let world = World::new();
    // The columns are read as what they are not, which ASCII labels survive.
    let model = train(&world, &["data.encoding=latin1"]);
    let csv = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let rows = csv.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split('"').collect();
        let (id, patient) = cells[0].trim_end_matches(',').split_once(',').unwrap();
        let id: u64 = id.parse().unwrap();
        json!({"id": id, "patient": patient, "note": cells[1], "urgent": cells[2].trim_start_matches(','), "weight": 70.25,
               "tall": id.is_multiple_of(2), "seen": {"by": ["a", 1]}, "left": null})
    });
    let rows: Vec<Value> = rows.collect();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let notes = world.path("notes.jsonl");
    std::fs::write(&notes, format!("\u{feff}{lines}")).unwrap();
    let (predicted, _) = ran(predict(&model, &notes).arg("--quiet"), 0);
    let (table, said) = ran(predict(&model, &world.path("notes.csv")).args(["--encoding", "utf-8"]), 0);
    assert!(!said.contains("reading the notes as"), "{said}");
    // Any bytes are text in Latin-1: that it is read so has to be said.
    let (_, said) = ran(&mut predict(&model, &world.path("notes.csv")), 0);
    assert!(said.contains("reading the notes as latin1, as the training files were"), "{said}");
    for ((line, row), cells) in predicted.lines().zip(&rows).zip(table.lines().skip(1)) {
        let found: Value = serde_json::from_str(line).unwrap();
        for (key, value) in row.as_object().unwrap() {
            assert_eq!(&found[key], value, "{key}");
        }
        let probability: f64 = cells.rsplit(',').next().unwrap().parse().unwrap();
        assert_eq!(found["probability_yes"].as_f64(), Some(probability));
    }
    assert_eq!(predicted.lines().count(), 120);
    // The same for notes to learn from: Korean stays Korean.
    let as_jsonl = world.experiment("as-jsonl", false, "");
    let text = std::fs::read_to_string(&as_jsonl).unwrap().replace("notes.csv", "notes.jsonl");
    std::fs::write(&as_jsonl, text.replace("[data]\n", "[data]\nencoding = \"latin1\"\n")).unwrap();
    let (checked, _) = ran(dsgkd().arg("check").arg(&as_jsonl), 0);
    assert!(checked.contains("Hangul"), "{checked}");
    let broken = [lines.as_bytes(), b"{\"id\":7777,\"note\":\"a\xf1os\"}\n"].concat();
    std::fs::write(&notes, broken).unwrap();
    let (_, said) = ran(&mut predict(&model, &notes), 3);
    assert!(said.contains("notes.jsonl, line 121: has bytes that are not UTF-8"), "{said}");
}

#[test]
fn predictions_do_not_replace_the_notes_and_need_no_ids() {
    let world = World::new();
    let model = train(&world, &[]);
    let csv = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let notes = world.path("new.csv");
    // Of the training's columns the text alone, and a row without it.
    let without: String = csv.lines().map(|line| format!("{},x\n", line.split(',').nth(2).unwrap())).collect();
    let without = format!("{without},x\n");
    std::fs::write(&notes, &without).unwrap();
    let mut outputs = vec![notes.clone(), world.path("./run/../new.csv")];
    #[cfg(unix)]
    {
        outputs.push(world.path("link.csv"));
        std::os::unix::fs::symlink(&notes, &outputs[2]).unwrap();
    }
    for output in &outputs {
        let (_, said) = ran(predict(&model, &notes).arg("--skip-bad-rows").arg("-o").arg(output), 2);
        let expected = format!("error: -o: {} is read; write to another file\n", output.display());
        assert_eq!(said, expected);
        assert_eq!(std::fs::read_to_string(&notes).unwrap(), without);
    }
    let other = world.path("out.csv");
    for _ in 0..2 {
        ran(predict(&model, &notes).arg("--skip-bad-rows").arg("-o").arg(&other), 0);
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap().lines().count(), 121);
    let (_, said) = ran(predict(&model, &notes).args(["--skip-bad-rows", "--quiet"]), 0);
    assert_eq!(said, "");
    // An experiment's own files have the columns that it names.
    let unlabeled = format!("data.unlabeled=[{notes:?}]");
    let mut check = dsgkd();
    check.arg("check").arg(world.experiment("run", false, "")).args(["--set", &unlabeled, "--skip-bad-rows"]);
    let (_, said) = ran(&mut check, 3);
    assert!(said.contains("new.csv: data.group names column \"patient\", which is not there"), "{said}");
}

#[test]
fn a_patient_is_no_id() {
    let world = World::new();
    let experiment = world.experiment("run", false, "");
    for command in ["check", "train"] {
        let (_, said) = ran(dsgkd().arg(command).arg(&experiment).args(["--set", "data.id=patient"]), 3);
        let file = world.path("notes.csv").display().to_string();
        let expected =
            format!("data.id: column \"patient\" repeats 60 of its values (first: {file}, line 2 and line 3); an id");
        assert!(said.contains(&expected) && said.contains("set data.group"), "{said}");
        assert!(!world.path("run").exists());
    }
    // A train and a test file may count from the same number.
    let both = [format!("data.test=[{:?}]", world.path("test.csv")), "data.duplicates=allow".to_string()];
    let csv = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    std::fs::write(world.path("test.csv"), csv.replace(",p", ",q").replace(",qatient", ",patient")).unwrap();
    let sets = both.iter().flat_map(|set| ["--set", set]);
    ran(dsgkd().arg("check").arg(&experiment).args(sets), 0);
}

#[test]
fn a_run_folder_names_its_model() {
    let world = World::new();
    let run = world.path("student-run");
    let expected = format!("{0}: this is a run folder; its model is {0}/model", run.display());
    let (_, said) = ran(&mut predict(&run, &world.path("notes.csv")), 3);
    assert!(said.contains(&expected), "{said}");
    let student = format!("student.model={}", run.display());
    let experiment = world.experiment("run", false, "");
    for command in ["check", "train"] {
        let (_, said) = ran(dsgkd().arg(command).arg(&experiment).args(["--set", &student]), 3);
        assert!(said.contains(&expected), "{said}");
    }
}

/// Who may enter any folder, as root may, runs the command as nobody.
#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_entered_is_the_systems_no() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    let model = locked.join("model");
    let allow = |path: &Path, mode: u32| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::create_dir_all(&model).unwrap();
    std::fs::write(model.join("config.json"), "{}").unwrap();
    allow(folder.path(), 0o755);
    allow(&locked, 0);
    for path in [&locked, &model] {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("dsgkd"));
        if std::fs::read_dir(&locked).is_ok() {
            command.uid(65534).gid(65534).current_dir("/");
        }
        let Ok(output) = command.arg("predict").arg(path).output() else {
            eprintln!("skipped: nobody may not run the command from here");
            break;
        };
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said, format!("error: {}: cannot read: permission denied\n", path.display()));
        assert_eq!(output.status.code(), Some(4));
    }
    allow(&locked, 0o755);
}
