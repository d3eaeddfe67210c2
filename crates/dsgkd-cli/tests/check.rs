//! What `dsgkd check` says before an hour is spent, and `dsgkd train` of the same.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, ran};

#[test]
fn labels_of_one_class_are_refused_before_the_student_is_prepared() {
    let world = World::new();
    let file = world.experiment("single", true, "[adapt]\nnum_train_epochs = 1\n");
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    std::fs::write(world.path("notes.csv"), notes.replace(",no\n", ",yes\n")).unwrap();
    let message = "the notes to train on are all of one class";
    let (_, said) = ran(dsgkd().arg("train").arg(&file).arg("--quiet"), 3);
    assert!(said.contains(message) && !world.path("single").exists(), "{said}");
    let (checked, _) = ran(dsgkd().arg("check").arg(&file), 1);
    assert!(checked.contains(message), "{checked}");
}

#[test]
fn check_names_the_bad_row_that_leaves_a_single_class() {
    let world = World::new();
    let experiment = world.path("broken.toml");
    let text = "[data]\ntrain = [\"broken.csv\"]\ntext = \"note\"\nlabel = \"urgent\"\n";
    std::fs::write(&experiment, text).unwrap();
    std::fs::write(world.path("broken.csv"), "note,urgent\nfever,yes\nrash,yes\n\"cough,no\n").unwrap();
    let (_, said) = ran(dsgkd().arg("check").arg(&experiment), 3);
    assert!(said.contains("broken.csv, line 4: a quote is not closed") && !said.contains("class"), "{said}");
    // Where no row is bad, the class is what is missing.
    std::fs::write(world.path("broken.csv"), "note,urgent\nfever,yes\nrash,yes\n").unwrap();
    let (_, said) = ran(dsgkd().arg("check").arg(&experiment), 3);
    assert!(said.contains("class"), "{said}");
}

#[test]
fn notes_that_are_measured_are_not_read_without_their_labels() {
    let world = World::new();
    let file = world.experiment("export", true, "");
    // The whole export, labels or not.
    std::fs::copy(world.path("notes.csv"), world.path("export.csv")).unwrap();
    let all = ["--set", "data.unlabeled=[\"export.csv\"]"];
    let (checked, _) = ran(dsgkd().current_dir(world.root()).arg("check").arg(&file).args(all), 0);
    assert!(checked.contains("120 labelled, 120 without labels") && checked.contains(" training: "), "{checked}");
    let count = |line: &str| -> usize {
        let found = checked.lines().find(|found| found.contains(line)).unwrap_or_else(|| panic!("{line}: {checked}"));
        found
            .trim_start_matches(|character: char| !character.is_ascii_digit())
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let measured = count(" validation: ") + count(" test: ");
    assert_eq!((count(" training: ") + measured, count("without labels are left out")), (120, measured), "{checked}");
    let mut train = dsgkd();
    train.current_dir(world.root()).arg("train").arg(&file).args(all).args(["--set", "distill.num_train_epochs=1"]);
    let (_, said) = ran(&mut train, 0);
    assert!(said.contains(&format!("({} more without labels)", 120 - measured)), "{said}");
    assert!(said.contains(&format!("{measured} notes without labels are left out: they")), "{said}");
}

#[test]
fn notes_without_labels_are_refused_without_their_patients() {
    let world = World::new();
    let file = world.experiment("export", true, "");
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let rows = notes.lines().map(|line| line.splitn(3, ',').collect::<Vec<_>>());
    let with = |cells: &dyn Fn(&[&str]) -> String| rows.clone().map(|row| cells(&row)).collect::<Vec<_>>().join("\n");
    let run = |command: &str, more: &[&str], code: i32| {
        let mut command_line = dsgkd();
        command_line
            .current_dir(world.root())
            .arg(command)
            .arg(&file)
            .args(["--set", "data.unlabeled=[\"export.csv\"]"]);
        ran(command_line.args(more), code)
    };
    // A test patient's notes must not be trained on, and nothing tells of which patient these are.
    std::fs::write(world.path("export.csv"), with(&|row| format!("{},{}", row[0], row[2]))).unwrap();
    for command in ["check", "train"] {
        let (_, said) = run(command, &[], 3);
        assert!(said.contains("export.csv: data.group names column \"patient\", which is not there"), "{said}");
    }
    let without_some = with(&|row| if row[0] == "5" { format!("5,,{}", row[2]) } else { row.join(",") });
    std::fs::write(world.path("export.csv"), without_some).unwrap();
    let row = "export.csv, line 7, column \"patient\": has no group";
    let (checked, _) = run("check", &[], 1);
    assert!(checked.contains(row) && checked.contains("120 labelled, 119 without labels"), "{checked}");
    let (_, said) = run("train", &[], 3);
    assert!(said.contains(row) && !world.path("export").exists(), "{said}");
    run("check", &["--skip-bad-rows"], 0);
}

#[test]
fn class_weights_are_one_a_class_before_anything_is_trained() {
    let world = World::new();
    let file = world.experiment("weighted", false, "");
    let text = std::fs::read_to_string(&file).unwrap();
    // Three classes, which only the notes tell.
    std::fs::write(&file, text.replace("labels = [\"no\", \"yes\"]\n", "")).unwrap();
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let thirds = notes.lines().enumerate().map(|(line, row)| match line % 4 {
        0 if line > 0 => format!("{},perhaps\n", row.rsplit_once(',').unwrap().0),
        _ => format!("{row}\n"),
    });
    std::fs::write(world.path("notes.csv"), thirds.collect::<String>()).unwrap();
    let run = |command: &str, weights: &str, code: i32| {
        let weights = format!("train.class_weights={weights}");
        let more = ["--set", &weights, "--set", "train.num_train_epochs=1", "--set", "data.duplicates=allow"];
        ran(dsgkd().current_dir(world.root()).arg(command).arg(&file).args(more).arg("--quiet"), code)
    };
    for (weights, count) in [("[1, 2]", 2), ("[1, 2, 3, 4]", 4)] {
        for command in ["check", "train"] {
            let (_, said) = run(command, weights, 2);
            assert!(said.contains(&format!("`train.class_weights` has {count} weights for 3 classes; ")), "{said}");
            assert!(said.lines().count() == 1 && !world.path("weighted").exists(), "{said}");
        }
    }
    run("train", "[1, 2, 3]", 0);
    // The experiment that was written is one that can be read.
    ran(dsgkd().arg("config").arg(world.path("weighted/config.toml")), 0);
}

#[test]
fn check_shows_the_bad_rows_and_how_many_more_there_are() {
    let world = World::new();
    let file = world.experiment("rows", false, "");
    let bad: String = (0..12).map(|number| format!("x{number},p,,yes\n")).collect();
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    std::fs::write(world.path("notes.csv"), notes + &bad).unwrap();
    let (checked, _) = ran(dsgkd().arg("check").arg(&file), 1);
    for line in ["line 122, column \"note\"", "line 131, column \"note\"", "and 2 more"] {
        assert!(checked.contains(line) && !checked.contains("line 132"), "{line}: {checked}");
    }
    assert!(checked.contains(" cut at 48 tokens"), "{checked}");
    let (checked, _) = ran(dsgkd().arg("check").arg(&file).args(["--set", "text.max_length=400"]), 1);
    assert!(checked.contains(" cut at 64 tokens"), "the model has no more positions: {checked}");
}

#[test]
fn a_teacher_with_nothing_to_teach_is_named() {
    let world = World::new();
    let experiment = world.experiment("distill", true, "");
    for (least, code, shown) in [(1, 0, false), (40, 1, true)] {
        let least = format!("text.min_student_tokens={least}");
        let mut check = dsgkd();
        check.arg("check").arg(&experiment).args(["--set", &least]);
        let (table, _) = ran(&mut check, code);
        assert_eq!(table.contains("NOTHING TO TEACH: 0 terms kept; dropped: "), shown, "{table}");
        let mut train = dsgkd();
        train.current_dir(world.root()).arg("train").arg(&experiment);
        train.args(["--set", &least, "--set", "train.num_train_epochs=1", "--set", &format!("output_dir=run-{code}")]);
        let (_, said) = ran(&mut train, 0);
        assert_eq!(
            said.contains("a teacher has nothing to teach: no term is kept; `dsgkd check` says why"),
            shown,
            "{said}"
        );
        // Nothing was heard, so nothing was learned of it either.
        assert_eq!(world.path(&format!("run-{code}/teaching.jsonl")).exists(), !shown);
    }
}

#[test]
fn check_refuses_a_model_that_a_training_would_refuse() {
    let world = World::new();
    let experiment = world.experiment("run", true, "");
    for (file, content) in [("config.json", "{"), ("model.safetensors", "cut")] {
        let path = world.path("teacher-run/model").join(file);
        let whole = common::bytes(&path);
        std::fs::write(&path, content).unwrap();
        let (_, said) = ran(dsgkd().arg("check").arg(&experiment), 3);
        assert!(said.contains(file), "{said}");
        std::fs::write(&path, whole).unwrap();
    }
    dsgkd().arg("check").arg(&experiment).assert().success();
}
