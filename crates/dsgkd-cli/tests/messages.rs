//! What a newcomer is told: that it is true, and says what to do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, notes_csv, ran};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A folder with `notes.csv`, whose labels are those of `label` by the note's number.
fn folder(label: impl Fn(usize) -> &'static str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let csv = notes_csv("");
    let (head, rows) = csv.split_once('\n').unwrap();
    let rows = rows.lines().enumerate().map(|(number, row)| {
        let cells = row.rsplit_once(',').unwrap().0;
        format!("{cells},{}\n", label(number))
    });
    std::fs::write(folder.path().join("notes.csv"), format!("{head}\n{}", rows.collect::<String>())).unwrap();
    folder
}

fn urgent(number: usize) -> &'static str {
    if number.is_multiple_of(3) { "yes" } else { "no" }
}

/// Writes an experiment on the folder's notes, without an encoder; `more` at its end, `top` before its sections.
fn experiment(folder: &Path, top: &str, more: &str) -> PathBuf {
    let text = format!(
        "output_dir = \"run\"\nseed = 3\n{top}\n[data]\ntrain = [\"notes.csv\"]\ntext = \"note\"\nlabel = \"urgent\"\nid = \"id\"\n\
         group = \"patient\"\n[evaluation]\nbootstrap_samples = 20\n[data.split]\ntest_fraction = 0.25\n{more}"
    );
    let path = folder.join("experiment.toml");
    std::fs::write(&path, text).unwrap();
    path
}

const FLOOR: &str = "baseline = \"tf-idf\"";
const TAUGHT: &str = "student.model = \"/nowhere/student\"\nteachers = [{ model = \"/nowhere/teacher\" }]";

/// The page about a run without an encoder on these labels, with its notes in place and without.
fn pages(label: impl Fn(usize) -> &'static str) -> (String, String) {
    let folder = folder(label);
    dsgkd().arg("train").arg(experiment(folder.path(), FLOOR, "")).arg("--quiet").assert().success();
    let page = || {
        let mut report = dsgkd();
        report.arg("report").arg(folder.path().join("run")).args(["--bootstrap-samples", "20"]);
        ran(&mut report, 0).0
    };
    let with_notes = page();
    std::fs::remove_file(folder.path().join("notes.csv")).unwrap();
    (with_notes, page())
}

/// Metrics and TRIPOD+AI draw the same units.
fn draws_groups_everywhere(page: &str) {
    let groups = page.split("20 bootstrap samples of ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(groups.parse::<usize>().unwrap() < 30, "a patient has two of the 30 notes: {groups}");
    assert_eq!(page.matches(&format!("20 bootstrap samples of {groups} groups")).count(), 2);
    assert!(!page.contains("samples of notes"));
}

#[test]
fn a_report_of_two_classes_names_what_is_on_it() {
    let (page, without_notes) = pages(urgent);
    draws_groups_everywhere(&page);
    for there in [
        "decisions at thresholds",
        "net benefit",
        "the table of thresholds",
        "of them yes",
        " training (",
        " 30 test (10 yes)<",
        "Sections: metrics, curves, parts of the notes.",
        "None is kept; RUN/config.toml",
    ] {
        assert!(page.contains(there), "{there}");
    }
    // A floor leaves no model, so that there is nothing to open or to calibrate.
    assert!(!page.contains("Hugging Face folder") && !page.contains("dsgkd calibrate"));
    assert!(without_notes.contains("Sections: metrics, curves.") && without_notes.contains("No part was measured"));
}

#[test]
fn the_items_of_the_guideline_ascend() {
    let (page, _) = pages(urgent);
    let table = page.split("<h2>TRIPOD+AI</h2>").nth(1).unwrap();
    let items = ["10, 21", "11", "12a", "12c", "12e", "12f", "13", "14", "15", "22", "23a"];
    let places = items.map(|item| table.find(&format!("<td>{item}</td>")).unwrap_or_else(|| panic!("no item {item}")));
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn a_report_of_three_classes_names_nothing_that_two_alone_have() {
    let (page, _) = pages(|number| ["ICU", "surgery", "ward"][number % 3]);
    draws_groups_everywhere(&page);
    for absent in ["net benefit", "decisions at thresholds", "table of thresholds", "of them ", "curves,"] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("By note length") && page.contains("Sections: metrics, parts of the notes."));
    assert!(page.contains("the most probable one is predicted, without a threshold"));
}

#[test]
fn check_asks_about_a_class_of_hardly_a_note() {
    let folder = folder(|number| if number == 50 { "yse" } else { urgent(number) });
    let file = experiment(folder.path(), "", "");
    let advice = "class `yse` has 1 note: a typo? name the classes in data.labels, or map them in data.label_map";
    let table = ran(dsgkd().arg("check").arg(&file), 0).0;
    assert!(table.lines().any(|line| line.starts_with("advice ") && line.ends_with(advice)), "{table}");
    let report: Value = serde_json::from_str(&ran(dsgkd().arg("check").arg(&file).arg("--json"), 0).0).unwrap();
    assert_eq!(report["advice"], serde_json::json!([advice]));
    // As it says.
    let mapped = ["--json", "--set", "data.label_map.yse=yes"];
    let report: Value = serde_json::from_str(&ran(dsgkd().arg("check").arg(&file).args(mapped), 0).0).unwrap();
    assert_eq!(report["advice"], serde_json::json!([]));
    // A class that is meant and has no note cannot be a typo.
    let named = ["--set", "data.label_map.yse=yes", "--set", "data.labels=[\"no\", \"yes\", \"perhaps\"]"];
    let table = ran(dsgkd().arg("check").arg(&file).args(named), 0).0;
    assert!(table.contains("class `perhaps` has 0 notes: too few to learn it") && !table.contains("typo"), "{table}");
}

#[test]
fn more_labels_than_notes_to_train_on_are_refused() {
    let folder = folder(urgent);
    let file = experiment(folder.path(), FLOOR, "label_budget = 3000\n");
    let message = "data.split.label_budget: 3000 labels are asked for, and there are ";
    let refused = ran(dsgkd().arg("train").arg(&file), 3).1;
    assert!(refused.contains(message) && !folder.path().join("run").exists(), "{refused}");
    assert!(ran(dsgkd().arg("check").arg(&file), 1).0.contains(message));
    // As many as there are: all of them.
    let most = refused.split("there are ").nth(1).unwrap().split(' ').next().unwrap();
    let budget = format!("data.split.label_budget={most}");
    dsgkd().arg("train").arg(&file).args(["--set", &budget]).assert().success();
}

#[test]
fn what_would_end_in_a_panic_or_never_is_refused_in_a_line() {
    let world = World::new();
    let file = world.experiment("run", true, "");
    let said = |command: &str, more: &[&str], code: i32| {
        let mut command_line = dsgkd();
        command_line.current_dir(world.root()).arg(command).arg(&file).args(more).arg("--quiet");
        let (_, said) = ran(&mut command_line, code);
        assert!(said.lines().count() <= 1, "{said}");
        said
    };
    // The student diverges in the one step in which it hears its teacher.
    let one_step = ["train.warmup_ratio=0.0", "train.batch_size=200", "distill.num_train_epochs=1"];
    let mut diverging = vec!["--set", "distill.learning_rate=1e30", "--set", "output_dir=diverged"];
    one_step.iter().for_each(|setting| diverging.extend(["--set", setting]));
    assert!(said("train", &diverging, 3).contains("its training diverged (lower the learning rate)"));
    // Embeddings alone have no attention to compare.
    let embeddings = ["--set", "teachers.0.layer_map=[[0,0]]", "--set", "output_dir=embeddings"];
    said("train", &[&embeddings[..], &["--set", "distill.num_train_epochs=1"]].concat(), 0);
    for (setting, message) in [
        ("train.num_train_epochs=9223372036854775807", "`train.num_train_epochs` must be 1 to 100000"),
        ("data.split.folds=100000000", "`data.split.folds` must be 0 (no cross-validation), or 2 to 10000"),
        ("threads=100000", "`threads` must be 0 (all cores) to 1024"),
        ("evaluation.bootstrap_samples=9223372036854775807", "`evaluation.bootstrap_samples` must be 1 to 1000000"),
    ] {
        assert!(said("train", &["--set", setting], 2).contains(message), "{setting}");
    }
    let mut evaluate = dsgkd();
    evaluate.arg("evaluate").arg(world.path("embeddings")).args(["--bootstrap-samples", "100000000"]);
    assert!(ran(&mut evaluate, 2).1.contains("is not from 1 to 1000000"));
    // A token beyond the embeddings, and special tokens that leave no room.
    let tokenizer = world.path("student-run/model/tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    json["model"]["vocab"]["zzzz"] = 4_000_000.into();
    std::fs::write(&tokenizer, json.to_string()).unwrap();
    for command in ["check", "train"] {
        let said = said(command, &["--set", "output_dir=beyond"], 3);
        assert!(said.contains("the tokenizer needs 4000001 embeddings and the model has 120"), "{said}");
    }
    let mut pretrain = dsgkd();
    pretrain.current_dir(world.root()).args(["pretrain", "pretrain.toml", "--quiet", "--set", "output_dir=short"]);
    let (_, said) = ran(pretrain.args(["--set", "architecture.max_position_embeddings=2"]), 3);
    assert!(said.contains("puts 2 special tokens into every note, and 2 tokens are all"), "{said}");
}

#[test]
fn a_grid_with_nothing_to_show_says_why() {
    let folder = folder(urgent);
    experiment(folder.path(), FLOOR, "validation_fraction = 0\n");
    let arm = |name: &str, set: &str| {
        format!(
            "[[arms]]\nname = \"{name}\"\nconfig = \"experiment.toml\"\nset = [\"data.split.label_budget={set}\"]\n"
        )
    };
    let write = |top: &str, arms: &[String]| {
        let text = format!("output_dir = \"grid\"\nseeds = [1, 2]\n{top}{}", arms.concat());
        std::fs::write(folder.path().join("grid.toml"), text).unwrap();
    };
    let grid_ends = |more: &[&str], code: i32| {
        let mut command = dsgkd();
        command.current_dir(folder.path()).args(["grid", "grid.toml", "--bootstrap-samples", "20"]).args(more);
        ran(&mut command, code)
    };
    let grid = |more: &[&str]| grid_ends(more, 0);
    write("", &[arm("all", "0"), arm("few", "30")]);
    let (table, talk) = grid_ends(&["--finished"], 1);
    assert_eq!((table.as_str(), talk.lines().count()), ("", 2), "{talk}");
    let left_out = "left out: all (0 of 2 seeds), few (0 of 2 seeds); dsgkd grid grid.toml trains what is not done";
    assert!(talk.contains(left_out), "{talk}");
    assert_eq!(grid_ends(&["--finished", "--quiet"], 1).1, "");
    assert_eq!(grid_ends(&["--finished", "--json"], 1).0.trim(), "[]");

    write("", &[arm("few", "30")]);
    grid(&["--quiet"]);
    write("", &[arm("all", "0"), arm("few", "30")]);
    let talk = grid_ends(&["--finished"], 1).1;
    assert!(talk.contains("arm \"all\", which the others are held against, is not done under any"), "{talk}");
    assert!(talk.contains("left out: all (0 of 2 seeds), few (2 of 2 seeds);"), "{talk}");
    // What is done is shown beside what is not.
    let (table, talk) = grid(&["--finished", "--against", "few"]);
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(talk.contains("left out: all (0 of 2 seeds); dsgkd grid"), "{talk}");

    write("on = \"validation\"\n", &[arm("few", "30")]);
    let (table, talk) = grid(&["--finished"]);
    assert!(talk.contains("no arm has validation notes") && table.contains("undefined"), "{table}{talk}");
    assert_eq!(grid(&["--finished", "--quiet"]).1, "");
    write("", &[arm("few", "30")]);
    assert_eq!(grid(&["--finished"]).1, "");
}

#[test]
fn what_a_grid_cannot_be_written_as_is_refused_before_it_is_trained() {
    let folder = folder(urgent);
    experiment(folder.path(), FLOOR, "");
    let grid = |top: &str, option: &str| {
        let text =
            format!("output_dir = \"grid\"\nseeds = [1]\n{top}[[arms]]\nname = \"a\"\nconfig = \"experiment.toml\"\n");
        std::fs::write(folder.path().join("grid.toml"), text).unwrap();
        let mut command = dsgkd();
        let (_, said) = ran(command.current_dir(folder.path()).args(["grid", "grid.toml", option, "out.csv"]), 2);
        assert!(!folder.path().join("grid").exists(), "{said}");
        said
    };
    assert!(grid("", "--chart").contains("--chart: a curve needs two conditions"));
    assert!(
        grid("on = \"validation\"\n", "--predictions")
            .contains("--predictions and --from: runs keep those of test notes")
    );
}

#[test]
fn row_numbers_pair_notes_of_the_same_files_alone() {
    let folder = folder(urgent);
    let file = experiment(folder.path(), FLOOR, "");
    let text = std::fs::read_to_string(&file).unwrap().replace("group = \"patient\"\n", "");
    std::fs::write(&file, &text).unwrap();
    // The same labels in the same rows, of other notes.
    let notes = std::fs::read_to_string(folder.path().join("notes.csv")).unwrap();
    std::fs::write(folder.path().join("others.csv"), notes.replace("환자", "환아")).unwrap();
    let run = |command: &str, more: &[&str], code: i32| {
        let mut command_line = dsgkd();
        // The file's folder as people name it, which `config.toml` makes absolute.
        command_line.current_dir(folder.path()).arg(command).args(more).arg("--quiet");
        ran(&mut command_line, code).1
    };
    let train = |name: &str, more: &[&str]| {
        let mut set = vec!["./experiment.toml".to_string(), "--set".to_string(), format!("output_dir={name}")];
        set.extend(more.iter().flat_map(|more| ["--set".to_string(), more.to_string()]));
        run("train", &set.iter().map(String::as_str).collect::<Vec<_>>(), 0);
    };
    let others = "data.train=[\"others.csv\"]";
    train("named", &[]);
    train("other-named", &[others]);
    let bare = "data.id=";
    train("one", &[bare]);
    train("again", &[bare, "data.split.label_budget=50"]);
    train("other", &[bare, others]);
    let message =
        "one and other: were tested on files that differ, and notes without an id (data.id) go by row numbers";
    let compare = |one: &str, other: &str, code: i32| run("compare", &[one, other, "--bootstrap-samples", "20"], code);
    assert!(compare("one", "other", 3).contains(message));
    assert!(run("report", &["one", "other", "--bootstrap-samples", "20"], 3).contains(message));
    compare("one", "again", 0);
    // Where notes have ids, an edited file pairs them all the same.
    compare("named", "other-named", 0);
    // What cannot be paired at all is called by its name.
    let unpaired = "named (the baseline) and one (the candidate): the arms are not about the same notes";
    assert!(compare("named", "one", 3).contains(unpaired));
    assert!(run("report", &["named", "one", "--bootstrap-samples", "20"], 3).contains(unpaired));
    // Unless some lack theirs.
    let mut lines: Vec<String> = notes.lines().map(str::to_string).collect();
    lines.iter_mut().skip(1).for_each(|line| *line = format!(",{}", line.split_once(',').unwrap().1));
    std::fs::write(folder.path().join("unnamed.csv"), lines.join("\n")).unwrap();
    train("unnamed", &["data.train=[\"unnamed.csv\"]"]);
    std::fs::write(folder.path().join("others.csv"), lines.join("\n").replace("환자", "환아")).unwrap();
    train("other-unnamed", &[others]);
    assert!(compare("unnamed", "other-unnamed", 3).contains("notes without an id (data.id) go by row numbers"));
    // Nor does a grid pair them.
    let arm = |name: &str, set: &str| {
        format!("[[arms]]\nname = \"{name}\"\nconfig = \"experiment.toml\"\nset = [\"data.id=\", '{set}']\n")
    };
    let grid = format!("output_dir = \"grid\"\nseeds = [1]\n{}{}", arm("one", "seed=1"), arm("other", others));
    std::fs::write(folder.path().join("grid.toml"), grid).unwrap();
    let refused = run("grid", &["grid.toml", "--bootstrap-samples", "20"], 3);
    assert!(refused.contains("were tested on files that differ"), "{refused}");
}

#[test]
fn a_floor_of_a_taught_experiment_is_trained_by_what_its_refusal_says() {
    let folder = folder(urgent);
    let file = experiment(folder.path(), TAUGHT, "");
    let train = |set: &[&str], code: i32| {
        let mut command = dsgkd();
        command.arg("train").arg(&file).args(["--quiet", "--set", "baseline=tf-idf"]);
        ran(command.args(set.iter().flat_map(|set| ["--set", *set])), code).1
    };
    let refused = train(&[], 2);
    assert!(refused.contains("(on the command line: --set teachers=[])"), "{refused}");
    let refused = train(&["adapt.num_train_epochs=3"], 2);
    assert!(refused.contains("--set teachers=[] --set adapt.num_train_epochs=0"), "{refused}");
    train(&["adapt.num_train_epochs=3", "teachers=[]", "adapt.num_train_epochs=0"], 0);
}

#[test]
fn measures_that_want_a_prevalence_say_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    std::fs::write(&table, "label,p\nyes,0.9\nno,0.2\nyes,0.7\nno,0.4\n").unwrap();
    let talk = |more: &[&str]| {
        let mut evaluate = dsgkd();
        evaluate.arg("evaluate").arg("--predictions").arg(&table).args(["--label", "label", "--probability", "p"]);
        ran(evaluate.args(["--bootstrap-samples", "20"]).args(more), 0).1
    };
    let (told, positive) = (talk(&[]), "evaluate: positive class: yes\n");
    assert!(told.lines().count() == 2 && told.contains("--prevalence") && told.contains("was not given"), "{told}");
    assert_eq!((talk(&["--prevalence", "0.5"]).as_str(), told.ends_with(positive)), (positive, true), "{told}");
    assert_eq!(talk(&["--quiet"]), "");
}

#[test]
fn columns_named_after_classes_are_theirs_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    let rows = [("yes", 0.9), ("no", 0.2), ("yes", 0.7), ("no", 0.8), ("no", 0.1)];
    let rows = rows.map(|(label, of_yes)| format!("{label},{of_yes},{:.1},{of_yes}\n", 1.0 - of_yes));
    std::fs::write(&table, format!("label,probability_yes,probability_no,p\n{}", rows.concat())).unwrap();
    let evaluate = |more: &[&str]| {
        let mut evaluate = dsgkd();
        evaluate.arg("evaluate").arg("--predictions").arg(&table).args(["--label", "label", "--json"]);
        evaluate.args(["--bootstrap-samples", "20", "--prevalence", "0.5", "--probability"]).args(more);
        let (metrics, talk) = ran(&mut evaluate, 0);
        let metrics: Value = serde_json::from_str(&metrics).unwrap();
        let positive = talk.trim_end().strip_prefix("evaluate: positive class: ").unwrap().to_string();
        (metrics["metrics"]["auroc"].as_f64().unwrap(), positive)
    };
    // One of the six pairs is ranked wrong.
    let right = 5.0 / 6.0;
    for (columns, positive, auroc) in [
        (&["probability_no,probability_yes"][..], "yes", right),
        (&["probability_yes,probability_no"], "no", right),
        (&["probability_yes"], "yes", right),
        (&["probability_no"], "no", right),
        // Other names say nothing, and --classes says all.
        (&["p"], "yes", right),
        (&["p", "--classes", "yes,no"], "no", 1.0 - right),
    ] {
        let (found, of) = evaluate(columns);
        assert!((found - auroc).abs() < 1e-12 && of == positive, "{columns:?}: {found} {of}");
    }
}

#[test]
fn a_grid_of_rivals_advises_what_the_notes_allow() {
    let folder = folder(urgent);
    let (resplit, choose) = ("resplit = true # each seed draws its own split\n", "on = \"validation\"");
    let unwatched = "validation_fraction = 0\n";
    for (test, more, resplits, chooses) in [
        ("", "", true, true),
        ("", unwatched, true, false),
        ("test = [\"test.csv\"]\n", "", true, true),
        ("test = [\"test.csv\"]\n", unwatched, false, false),
        ("test = [\"test.csv\"]\nvalidation = [\"watched.csv\"]\n", "", false, true),
        ("test = [\"test.csv\"]\n", "validation_fraction = 0\nlabel_budget = 30\n", true, false),
    ] {
        let file = experiment(folder.path(), TAUGHT, more);
        let text = std::fs::read_to_string(&file).unwrap().replace("[data]\n", &format!("[data]\n{test}"));
        std::fs::write(&file, text).unwrap();
        let grid = folder.path().join("rivals.toml");
        dsgkd().arg("init").arg(&grid).arg("--rivals-of").arg(&file).arg("--quiet").assert().success();
        let text = std::fs::read_to_string(&grid).unwrap();
        std::fs::remove_file(&grid).unwrap();
        assert!(text.contains("\nseeds = [1, 2, 3]\n"), "{text}");
        assert_eq!((text.contains(resplit), text.contains(choose)), (resplits, chooses), "{test}{more}: {text}");
        assert_eq!(text.contains("resplit"), resplits, "{text}");
    }
}

#[test]
fn preview_says_that_it_needs_a_tokenizer() {
    let help = ran(dsgkd().args(["pretrain", "--help"]), 0).0;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("needs a `model` to continue from"), "{help}");
}
