//! Whole commands against the real binary: what a user types, what comes out.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, ran};
use serde_json::Value;

fn stdout(command: &mut assert_cmd::Command) -> String {
    ran(command, 0).0
}

fn stderr_of(command: &mut assert_cmd::Command, code: i32) -> String {
    ran(command, code).1
}

#[test]
fn from_notes_to_predictions() {
    let world = World::new();
    for (name, teacher) in [("finetune", false), ("distill", true)] {
        let experiment = world.experiment(name, teacher, "");
        let checked = stdout(dsgkd().arg("check").arg(&experiment));
        assert!(checked.contains("120 labelled") && checked.contains("student tokens"), "{checked}");
        let table = stdout(dsgkd().arg("train").arg(&experiment));
        assert!(table.contains("auroc"), "{table}");
        let run = world.path(name);
        for file in ["config.toml", "environment.json", "history.jsonl", "metrics.json", "predictions.json"] {
            assert!(run.join(file).exists(), "{file}");
        }
        for file in ["config.json", "model.safetensors", "tokenizer.json", "README.md", "dsgkd.json"] {
            assert!(run.join("model").join(file).exists(), "model/{file}");
        }
        let history = std::fs::read_to_string(run.join("history.jsonl")).unwrap();
        let first: Value = serde_json::from_str(history.lines().next().unwrap()).unwrap();
        assert_eq!(first["hidden"].as_f64(), Some(0.0), "the labels are learned alone");
        assert_eq!(run.join("teaching.jsonl").exists(), teacher);
        assert!(history.contains("\"validation\""));
        // `transformers` cuts a long note where `predict` does.
        let settings = common::bytes(&run.join("model/tokenizer_config.json"));
        let settings: Value = serde_json::from_slice(&settings).unwrap();
        assert_eq!((&settings["model_max_length"], &settings["truncation_side"]), (&48.into(), &"right".into()));
    }
    // The same notes again, with their columns kept.
    let output = world.path("out.csv");
    dsgkd()
        .arg("predict")
        .arg(world.path("distill/model"))
        .arg(world.path("notes.csv"))
        .arg("-o")
        .arg(&output)
        .assert()
        .success();
    let table = std::fs::read_to_string(&output).unwrap();
    assert!(table.starts_with("id,patient,note,urgent,predicted_label,probability_no,probability_yes\n"), "{table}");
    assert_eq!(table.lines().count(), 121);
    // Columns that make no notes: nothing is written before that is known.
    let refused =
        dsgkd().arg("predict").arg(world.path("distill/model")).write_stdin("other,columns\n1,2\n").output().unwrap();
    assert!(refused.status.code() == Some(2) || refused.status.code() == Some(3));
    assert!(refused.stdout.is_empty() && String::from_utf8(refused.stderr).unwrap().contains("note"));
    // From a pipe, the same.
    let piped =
        stdout(dsgkd().arg("predict").arg(world.path("distill/model")).pipe_stdin(world.path("notes.csv")).unwrap());
    assert_eq!(piped, table);
    // The table holds the notes: its owner's alone.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // As JSON: a line a note, or with the table in a file what was done.
    let mut as_json = dsgkd();
    as_json.arg("predict").arg(world.path("distill/model")).arg(world.path("notes.csv")).arg("--json");
    let lines = stdout(&mut as_json);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(lines.lines().count() == 120 && first["probability_yes"].is_f64(), "{first}");
    as_json.arg("-o").arg(&output);
    let done: Value = serde_json::from_str(&stdout(&mut as_json)).unwrap();
    assert_eq!((&done["notes"], &done["bad_rows"]), (&serde_json::json!(120), &serde_json::json!(0)));

    let evaluated = stdout(dsgkd().arg("evaluate").arg(world.path("distill")).arg("--json"));
    let evaluated: Value = serde_json::from_str(&evaluated).unwrap();
    let stored: Value = serde_json::from_slice(&common::bytes(&world.path("distill/metrics.json"))).unwrap();
    assert_eq!(evaluated["metrics"], stored["metrics"]);
    // A patient has two notes, which are drawn together.
    let units = |found: &Value| found["intervals"]["units"].as_u64().unwrap() * 2;
    assert_eq!(units(&evaluated), evaluated["intervals"]["notes"].as_u64().unwrap());
    // Runs of several experiments are not pooled.
    let mixed = stderr_of(dsgkd().arg("evaluate").arg(world.root()), 2);
    assert!(mixed.contains("several experiments") && mixed.contains("teachers"), "{mixed}");
    let compared = stdout(dsgkd().arg("compare").arg(world.path("finetune")).arg(world.path("distill")));
    assert!(compared.contains("finetune") && compared.contains("distill") && compared.contains("auroc"), "{compared}");
    // Any program's predictions, by their columns.
    let mut other = dsgkd();
    other.arg("evaluate").arg("--predictions").arg(&output).args([
        "--label",
        "urgent",
        "--probability",
        "probability_yes",
        "--id",
        "id",
        "--group",
        "patient",
    ]);
    let table = stdout(&mut other);
    assert!(table.contains("auroc") && table.contains("bootstrap samples of 60 groups"), "{table}");
}

#[test]
fn folds_are_trained_kept_and_pooled() {
    let world = World::new();
    let experiment = world.experiment("folds", false, "");
    let train = || {
        let mut command = dsgkd();
        command.arg("train").arg(&experiment).args(["--all-folds", "--set", "data.split.folds=3", "--json"]);
        stdout(&mut command)
    };
    let first: Value = serde_json::from_str(&train()).unwrap();
    assert_eq!(first["notes"], 120);
    let written = std::fs::metadata(world.path("folds/fold-1/predictions.json")).unwrap().modified().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&train()).unwrap(), first);
    assert_eq!(std::fs::metadata(world.path("folds/fold-1/predictions.json")).unwrap().modified().unwrap(), written);
    // What `evaluate` says of them is what their training said.
    let again: Value = serde_json::from_str(&stdout(dsgkd().arg("evaluate").arg(world.path("folds")).args([
        "--json",
        "--bootstrap-samples",
        "100",
    ])))
    .unwrap();
    assert_eq!(again, first);
    // Some folds are not all of them; one is itself.
    let predictions = world.path("folds/fold-2/predictions.json");
    std::fs::rename(&predictions, world.path("aside.json")).unwrap();
    let partial = stderr_of(dsgkd().arg("evaluate").arg(world.path("folds")), 3);
    assert!(partial.contains("folds: holds 2 of the 3 folds of seed 3; train the others first"), "{partial}");
    stdout(dsgkd().arg("evaluate").arg(world.path("folds/fold-1")));
    std::fs::rename(world.path("aside.json"), predictions).unwrap();
    // Beside a run of its own they would not be found.
    let alone = ["--set", "data.split.folds=3", "--set", "output_dir=alone", "--set", "train.num_train_epochs=1"];
    dsgkd().arg("train").arg(&experiment).args(alone).current_dir(world.root()).assert().success();
    let refused =
        stderr_of(dsgkd().arg("train").arg(&experiment).args(alone).arg("--all-folds").current_dir(world.root()), 2);
    assert!(refused.contains("alone: holds a run of its own"), "{refused}");
    // Folds of one experiment are one wherever their files lay, and not where these were others.
    let settings = world.path("folds/fold-1/config.toml");
    let moved = std::fs::read_to_string(&settings).unwrap().replace(&*world.root().to_string_lossy(), "/elsewhere");
    std::fs::write(&settings, moved).unwrap();
    stdout(dsgkd().arg("evaluate").arg(world.path("folds")));
    let environment = world.path("folds/fold-1/environment.json");
    let mut changed: Value = serde_json::from_slice(&common::bytes(&environment)).unwrap();
    changed["models"]["student"] = "another".into();
    std::fs::write(&environment, changed.to_string()).unwrap();
    let refused = stderr_of(dsgkd().arg("evaluate").arg(world.path("folds")), 2);
    assert!(refused.contains("several experiments (`models.student` differs"), "{refused}");
}

#[test]
fn the_reference_preset_trains_its_published_head() {
    let world = World::new();
    let experiment = world.experiment("reference", true, "");
    let text = std::fs::read_to_string(&experiment).unwrap().replace("teacher-run/model", "student-run/model");
    std::fs::write(&experiment, format!("preset = \"reference\"\n{text}")).unwrap();
    dsgkd().arg("train").arg(&experiment).assert().success();
    let config: Value = serde_json::from_slice(&common::bytes(&world.path("reference/model/config.json"))).unwrap();
    assert_eq!(config["dsgkd_head"], "reference");
    let card = std::fs::read_to_string(world.path("reference/model/README.md")).unwrap();
    assert!(card.contains("trust_remote_code=True") && card.contains("the published one"), "{card}");
    assert!(world.path("reference/model/modeling_dsgkd.py").exists());
    dsgkd().arg("predict").arg(world.path("reference/model")).arg(world.path("notes.csv")).assert().success();
}

#[test]
fn a_reader_of_predictions_may_leave() {
    let world = World::new();
    let experiment = world.experiment("short", false, "");
    dsgkd().arg("train").arg(&experiment).args(["--set", "train.num_train_epochs=1"]).assert().success();
    // More than a pipe or a buffer holds.
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let (header, rows) = notes.split_once('\n').unwrap();
    std::fs::write(world.path("many.csv"), format!("{header}\n{}", rows.repeat(20))).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("dsgkd"))
        .arg("predict")
        .args([world.path("short/model"), world.path("many.csv")])
        .arg("--quiet")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn a_head_on_the_mean_of_the_tokens_is_trained_and_found_again() {
    let world = World::new();
    let experiment = world.experiment("mean", true, ""); // what a teacher brings by default
    dsgkd().arg("train").arg(&experiment).assert().success();
    // The folder says what it is made of, so that it answers as the run did.
    let folder = world.path("mean/model");
    let config: Value = serde_json::from_slice(&common::bytes(&folder.join("config.json"))).unwrap();
    assert_eq!(config["dsgkd_head"], "mean");
    assert_eq!(config["auto_map"]["AutoModelForSequenceClassification"], "modeling_dsgkd.BertForMeanClassification");
    let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(card.contains("trust_remote_code=True") && card.contains("began as a logistic regression"), "{card}");
    let recorded: Value = serde_json::from_slice(&common::bytes(&world.path("mean/predictions.json"))).unwrap();
    let mut predict = dsgkd();
    predict.arg("predict").arg(&folder).arg(world.path("notes.csv")).arg("--json");
    let predicted: Vec<Value> = stdout(&mut predict).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids = recorded["ids"].as_array().unwrap();
    for (place, id) in ids.iter().enumerate() {
        let again = predicted.iter().find(|note| note["id"] == *id).unwrap()["probability_yes"].as_f64().unwrap();
        let then = recorded["probabilities"][2 * place + 1].as_f64().unwrap();
        assert!((again - then).abs() < 1e-5, "{id}: {again} {then}");
    }
    assert!(!ids.is_empty());
    // Notes are sorted by length inside windows of a thousand, and written in the file's order.
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    let (header, rows) = notes.split_once('\n').unwrap();
    std::fs::write(world.path("many.csv"), format!("{header}\n{}", rows.repeat(20))).unwrap();
    let mut predict = dsgkd();
    predict.arg("predict").arg(&folder).arg(world.path("many.csv")).arg("--json");
    let many: Vec<Value> = stdout(&mut predict).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(many.len() == 20 * predicted.len() && many.len() > 2 * 1024);
    for (place, note) in many.iter().enumerate() {
        let once = &predicted[place % predicted.len()];
        let [again, then] = [note, once].map(|note| note["probability_yes"].as_f64().unwrap());
        assert!(note["id"] == once["id"] && (again - then).abs() < 1e-5, "row {place}: {again} {then}");
    }
    // A head of another dsgkd's is not answered for.
    let text = std::fs::read_to_string(folder.join("config.json")).unwrap().replace("\"mean\"", "\"median\"");
    std::fs::write(folder.join("config.json"), text).unwrap();
    let refused = stderr_of(dsgkd().arg("predict").arg(&folder).arg(world.path("notes.csv")), 3);
    assert!(refused.contains("config.json: `dsgkd_head` names a head that this dsgkd does not know"), "{refused}");
    // Other heads are more than a regression.
    let other = ["--set", "output_dir=other", "--set", "student.head=family", "--set", "student.linear_probing=true"];
    let refused = stderr_of(dsgkd().arg("train").arg(&experiment).args(other), 2);
    assert!(refused.contains("`student.linear_probing` needs `student.head = \"mean\"`"), "{refused}");
}

#[test]
fn aligned_tokens_are_shown_side_by_side() {
    let world = World::new();
    let experiment = world.experiment("show", true, "");
    let shown = stdout(dsgkd().arg("align").arg(&experiment).args(["--text", "3세 환자 seizure가 있어 cough"]));
    assert!(shown.contains("term      seizure"), "{shown}");
    assert!(shown.contains("2 terms, 2 kept"), "{shown}");
    let mut as_json = dsgkd();
    as_json.arg("align").arg(&experiment).args(["--json", "--text", "3세 환자 seizure가 있어 cough"]);
    let notes: Value = serde_json::from_str(&stdout(&mut as_json)).unwrap();
    assert_eq!(notes[0]["terms"], serde_json::json!(["seizure", "cough"]));
    let (student, teacher) = (&notes[0]["student"]["tokens"], &notes[0]["teachers"][0]);
    let spelled = |tokens: &Value, range: &Value| -> String {
        let at = |end: usize| range[end].as_u64().unwrap() as usize;
        (at(0)..at(1)).map(|token| tokens[token].as_str().unwrap().replace("##", "")).collect()
    };
    let term = &teacher["terms"][0];
    assert_eq!(spelled(student, &term["student"]), "seizure");
    assert_eq!(spelled(&teacher["tokens"], &term["teacher"]), "seizure");
    assert_eq!(teacher["dropped"]["few_tokens"], 0);
    // What the student has whole is not taught, unless that is asked for.
    std::fs::write(&experiment, std::fs::read_to_string(&experiment).unwrap().replace("min_student_tokens = 1\n", ""))
        .unwrap();
    let shown = stdout(dsgkd().arg("align").arg(&experiment).args(["--text", "seizure, syncope"]));
    assert!(shown.contains("2 terms, 1 kept") && shown.contains("1 in too few student tokens"), "{shown}");
}

#[test]
fn mistakes_are_named_in_one_line_with_their_exit_code() {
    let world = World::new();
    let experiment = world.experiment("mistakes", false, "");
    let cases: [(&[&str], i32, &str); 6] = [
        (&["--set", "train.learning_rat=1"], 2, "learning_rate"),
        (&["--set", "student.model=nowhere"], 3, "nowhere"),
        (&["--set", "data.label=urgen"], 3, "urgent"),
        (&["--set", "data.train=[\"none.csv\"]"], 4, "none.csv"),
        (&["--set", "data.labels=[\"a\",\"b\"]"], 3, "line 2"),
        (&["--resume"], 2, "resume"),
    ];
    for (arguments, code, word) in cases {
        let mut command = dsgkd();
        command.arg("train").arg(&experiment).args(arguments);
        let output = command.output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        // A column that is not there is a mistake of the file or of the data; either code is for the user to mend.
        let codes = if word == "urgent" { vec![2, 3] } else { vec![code] };
        assert!(codes.contains(&output.status.code().unwrap()), "{arguments:?}: {message}");
        let last = message.lines().last().unwrap();
        assert!(last.starts_with("error: ") && last.contains(word), "{arguments:?}: {message}");
    }
    dsgkd().arg("train").arg(&experiment).assert().success();
    assert!(stderr_of(dsgkd().arg("train").arg(&experiment), 2).contains("--resume"));
    // A pickle is refused with what to do.
    std::fs::create_dir(world.path("pickled")).unwrap();
    std::fs::write(world.path("pickled/pytorch_model.bin"), "x").unwrap();
    std::fs::copy(world.path("student-run/model/tokenizer.json"), world.path("pickled/tokenizer.json")).unwrap();
    let pickled = format!("student.model={}", world.path("pickled").display());
    let mut command = dsgkd();
    command.arg("train").arg(&experiment).args(["--set", &pickled, "--set", "output_dir=other"]);
    assert!(stderr_of(&mut command, 3).contains("safe_serialization"));
}

#[test]
fn init_writes_once_and_completions_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("experiment.toml");
    dsgkd().arg("init").arg(&file).assert().success();
    dsgkd().arg("config").arg(&file).assert().success();
    let resolved: Value = serde_json::from_str(&stdout(dsgkd().arg("config").arg(&file).arg("--json"))).unwrap();
    assert!(
        resolved["output_dir"].as_str().unwrap().ends_with("runs/experiment"),
        "a folder to begin with: {resolved}"
    );
    let refused = stderr_of(dsgkd().arg("init").arg(&file), 4);
    assert!(
        refused.contains("experiment.toml") && refused.contains("name a file that does not exist yet"),
        "{refused}"
    );
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(dsgkd().args(["completions", shell])).contains("dsgkd"));
    }
    let help = stdout(dsgkd().arg("--help"));
    for command in [
        "init",
        "check",
        "align",
        "pretrain",
        "train",
        "evaluate",
        "compare",
        "calibrate",
        "grid",
        "report",
        "predict",
        "demo",
    ] {
        assert!(help.contains(command), "{command} is not in the help");
    }
    assert!(!help.contains('\u{1b}'));
}

#[test]
fn a_tokenizer_with_more_tokens_than_the_model_has_embeddings_is_refused_by_every_command() {
    let world = World::new();
    let experiment = world.experiment("foreign", false, "");
    let path = world.path("student-run/model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&common::bytes(&path)).unwrap();
    let mut token = tokenizer["added_tokens"][0].clone();
    (token["id"], token["content"]) = (120.into(), "[MORE]".into());
    tokenizer["added_tokens"].as_array_mut().unwrap().push(token);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let config = "output_dir = \"more\"\nmodel = \"student-run/model\"\n[[corpus]]\nfiles = [\"text.txt\"]\n";
    std::fs::write(world.path("more.toml"), config).unwrap();
    assert!(stderr_of(dsgkd().arg("pretrain").arg(world.path("more.toml")), 3).contains("embeddings"));
    assert!(stderr_of(dsgkd().arg("train").arg(&experiment), 3).contains("embeddings"));
}

#[test]
fn bad_rows_are_named_or_counted_never_quoted() {
    let broken = common::notes_csv("").replacen(",no\n", ",perhapsXQ7\n", 2);
    let world = World::with_notes(&broken);
    let experiment = world.experiment("bad-rows", false, "");
    let refused = stderr_of(dsgkd().arg("train").arg(&experiment), 3);
    assert!(refused.contains("notes.csv") && refused.contains("line 3") && refused.contains("urgent"), "{refused}");
    let output = dsgkd().arg("train").arg(&experiment).arg("--skip-bad-rows").assert().success().get_output().clone();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("2 bad rows skipped"), "{said}");
    assert!(!(refused + &said).contains("XQ7"));
}

#[test]
fn the_environment_limits_the_products_and_the_run_says_so() {
    let world = World::new();
    let config = world.experiment("plain", false, "");
    for wrong in ["sse", ""] {
        let (stdout, stderr) = ran(dsgkd().env("DSGKD_PRODUCTS", wrong).arg("train").arg(&config), 2);
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", "error: DSGKD_PRODUCTS: library, avx512 or amx\n"));
    }
    ran(dsgkd().env("DSGKD_PRODUCTS", "library").arg("train").arg(&config), 0);
    let environment: Value = serde_json::from_slice(&common::bytes(&world.path("plain/environment.json"))).unwrap();
    assert_eq!(environment["products"], "library");
}

#[test]
fn smaller_types_change_little_and_say_how_much() {
    let world = World::new();
    let config = world.experiment("bf16", false, "dtype = \"bfloat16\"\n");
    let trained = dsgkd().arg("train").arg(&config).output().unwrap();
    assert!(trained.status.success());
    let environment: Value = serde_json::from_slice(&common::bytes(&world.path("bf16/environment.json"))).unwrap();
    let has_bf16 = environment["dtype"] == "bfloat16";
    let talk = String::from_utf8(trained.stderr).unwrap();
    assert_eq!(talk.contains("computing in float32"), !has_bf16, "{talk}");
    let features = environment["cpu_features"].as_array().unwrap();
    // The environment may ask for less than the processor has.
    let ours = environment["products"] != "library";
    assert_eq!(ours && features.iter().any(|feature| feature == "avx512bw"), has_bf16);
    let needed = if ours { "avx512vnni" } else { "avx2" };
    let has_int8 = features.iter().any(|feature| feature == needed);

    let predict = |dtype: &str| {
        let output = dsgkd()
            .args(["predict", "--dtype", dtype])
            .arg(world.path("bf16/model"))
            .arg(world.path("notes.csv"))
            .output()
            .unwrap();
        assert!(output.status.success());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let probabilities = |table: &str| -> Vec<f64> {
        table.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };
    let (exact, talk) = predict("float32");
    assert!(!talk.contains("against float32"), "{talk}");
    for (dtype, is_there) in [("bfloat16", has_bf16), ("int8", has_int8)] {
        let (rounded, talk) = predict(dtype);
        let differences: Vec<f64> =
            probabilities(&exact).iter().zip(probabilities(&rounded)).map(|(a, b)| (a - b).abs()).collect();
        let largest = differences.iter().copied().fold(0.0, f64::max);
        assert_eq!(differences.len(), 120);
        assert_eq!(largest > 0.0, is_there, "{dtype}: {largest}");
        assert!(largest < 0.05, "{dtype}: {largest}");
        if is_there {
            let said = format!(
                "on the first 120 notes: probabilities differ by {:.4} on average and {largest:.4} at most",
                differences.iter().sum::<f64>() / 120.0
            );
            assert!(talk.contains(&said), "{talk} lacks: {said}");
        } else {
            assert!(talk.contains("computing in float32"), "{talk}");
        }
    }
}

#[test]
fn a_teacher_of_equal_width_is_met_through_a_learned_map() {
    let world = World::new();
    let experiment = world.experiment("same", true, "");
    let train = |name: &str, more: &[&str]| {
        let mut train = dsgkd();
        train.current_dir(world.root()).arg("train").arg(&experiment).args(["--set", &format!("output_dir={name}")]);
        // The student is its own teacher: number by number it has little to learn, through a fresh map all of it.
        train.args(["--set", "teachers.0.model=student-run/model", "--set", "train.num_train_epochs=1"]);
        train.args(more.iter().flat_map(|set| ["--set", *set]));
        train
    };
    let first_hidden_loss = |name: &str, more: &[&str]| {
        train(name, more).assert().success();
        let heard = std::fs::read_to_string(world.path(name).join("teaching.jsonl")).unwrap();
        let first: Value = serde_json::from_str(heard.lines().next().unwrap()).unwrap();
        first["hidden"].as_f64().unwrap()
    };
    let number_by_number = first_hidden_loss("plain", &["distill.projection=where-widths-differ"]);
    let mapped = first_hidden_loss("mapped", &[]);
    assert!(number_by_number < 0.5 * mapped, "{number_by_number} and {mapped}");
    // The map is no part of the model.
    let weights = |name: &str| common::bytes(&world.path(name).join("model/model.safetensors")).len();
    assert_eq!(weights("plain"), weights("mapped"));
    let said = stderr_of(&mut train("published", &["preset=reference", "distill.projection=always"]), 2);
    assert!(said.contains("preset \"reference\" compares number by number"), "{said}");
}

#[test]
fn options_of_a_table_of_predictions_are_no_options_of_a_run() {
    let said = stderr_of(dsgkd().args(["evaluate", "run", "--group", "patient"]), 2);
    assert!(said.contains("--predictions"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    std::fs::write(&table, b"label;p\n\xfcbel;0.9\ngut;0.2\n\xfcbel;0.7\ngut;0.4\n").unwrap();
    let mut evaluate = dsgkd();
    evaluate.arg("evaluate").arg("--predictions").arg(&table).args(["--label", "label", "--probability", "p"]);
    evaluate.args(["--encoding", "latin1", "--separator", ";", "--bootstrap-samples", "20"]);
    assert!(stdout(&mut evaluate).contains("auroc"));
}
