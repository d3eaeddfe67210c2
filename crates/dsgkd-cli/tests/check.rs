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
