//! What distillation is held against: the floor, the student after masked-language-model training, terms that are shuffled.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, bytes, dsgkd, dsgkd_that_heeds_ctrl_c};
use serde_json::Value;

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&bytes(path)).unwrap()
}

#[test]
fn a_baseline_needs_no_model_and_leaves_figures_that_compare() {
    let world = World::new();
    let file = world.experiment("floor", false, "");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("seed = 3", "seed = 3\nbaseline = \"tf-idf\"").replace("student-run/model", ""))
        .unwrap();
    dsgkd().arg("train").arg(&file).arg("--quiet").assert().success();
    let auroc = json(&world.path("floor/metrics.json"))["metrics"]["auroc"].as_f64().unwrap();
    assert!(auroc > 0.9, "the complaint's words tell the label: {auroc}");
    let validation = &json(&world.path("floor/training.json"))["validation"];
    assert!(validation["auroc"].as_f64().unwrap() > 0.9, "a grid by the validation notes has its floor: {validation}");
    let again = || dsgkd().arg("train").arg(&file).args(["--quiet", "--resume"]).assert().success();
    let before = bytes(&world.path("floor/predictions.json"));
    again();
    assert_eq!(bytes(&world.path("floor/predictions.json")), before);

    let student = world.experiment("student", false, "");
    dsgkd().arg("train").arg(&student).arg("--quiet").assert().success();
    dsgkd().arg("compare").args([world.path("floor"), world.path("student")]).assert().success();

    std::fs::write(
        &file,
        std::fs::read_to_string(&file).unwrap().replace("test_fraction = 0.25\n", "test_fraction = 0\n"),
    )
    .unwrap();
    let refused = dsgkd().arg("train").arg(&file).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(refused).unwrap().contains("leaves no model"));
    let refused = dsgkd()
        .arg("train")
        .arg(&file)
        .args(["--set", "adapt.num_train_epochs=3", "--set", "data.split.test_fraction=0.25"])
        .assert()
        .code(2);
    assert!(
        String::from_utf8(refused.get_output().stderr.clone()).unwrap().contains("take out `teachers`, `adapt` and")
    );
}

#[test]
fn an_adapted_student_starts_elsewhere_and_leaves_only_its_model() {
    let world = World::new();
    let plain = world.experiment("plain", true, "");
    let adapted = world.experiment("adapted", true, "[adapt]\nnum_train_epochs = 5\nbatch_tokens = 200\n");
    for file in [&plain, &adapted] {
        dsgkd().arg("train").arg(file).arg("--quiet").assert().success();
    }
    let first = |run: &str| {
        let history = String::from_utf8(bytes(&world.path(run).join("history.jsonl"))).unwrap();
        let line: Value = serde_json::from_str(history.lines().next().unwrap()).unwrap();
        line["total"].as_f64().or(line["loss"].as_f64()).unwrap()
    };
    assert_ne!(first("plain"), first("adapted"));
    assert!(!world.path("adapted/adapted").exists());
    assert!(world.path("adapted/model/model.safetensors").exists());
}

/// Files of two runs that are equal when the runs are.
const COMPARED: [&str; 3] = ["model/model.safetensors", "predictions.json", "history.jsonl"];

#[test]
fn a_prepared_student_is_taken_by_other_runs_of_the_same_notes() {
    let world = World::new();
    let prepared = |learning_rate: &str| {
        format!(
            "[adapt]\nnum_train_epochs = 4\nbatch_tokens = 200\nlearning_rate = {learning_rate}\n\
             [distill]\nwhen = \"before-labels\"\nnum_train_epochs = 2\n"
        )
    };
    let kept = || {
        let mut folders: Vec<_> = std::fs::read_dir(world.path("kept")).unwrap().map(|e| e.unwrap().path()).collect();
        folders.sort();
        folders
    };
    let cache_dir = format!("cache_dir={}", world.path("kept").display());
    let shared = ["--set", &cache_dir];
    let train = |output: &str, learning_rate: &str, more: &[&str]| {
        let file = world.experiment(output, true, &prepared(learning_rate));
        let done = dsgkd().arg("train").arg(&file).args(more).assert().success();
        let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        said.matches("the student was prepared before").count()
    };
    assert_eq!(train("first", "1e-3", &shared), 0);
    let first = kept();
    assert_eq!(first.len(), 2, "one that has read, one that has heard as well");
    // With fewer labels the same notes are read and heard of.
    let budget =
        [&shared[..], &["--set", "data.split.label_budget=10", "--set", "data.split.rest_unlabeled=true"]].concat();
    assert_eq!(train("second", "1e-3", &budget), 2);
    assert_eq!(kept(), first);
    // What is taken alters no number, and its seconds count.
    assert_eq!(train("third", "1e-3", &shared), 2);
    assert!(world.path("third/teaching.jsonl").exists(), "what was heard is told, whoever heard it");
    train("alone", "1e-3", &[]);
    for file in COMPARED {
        assert!(bytes(&world.path("third").join(file)) == bytes(&world.path("alone").join(file)), "{file}");
    }
    let seconds = |path: &std::path::Path| json(path).as_f64().unwrap();
    let of_others: f64 = first.iter().map(|folder| seconds(&folder.join("seconds.json"))).sum();
    assert!(json(&world.path("third/training.json"))["seconds"].as_f64() > Some(of_others));
    assert!(first.iter().all(|folder| !folder.join("checkpoint.safetensors").exists()));
    // Another learning rate of the reading: another student has read, and another has heard. Fewer notes: likewise.
    assert_eq!(train("fourth", "2e-3", &shared), 0);
    assert_eq!(train("fifth", "1e-3", &budget[..4]), 0);
    assert_eq!(kept().len(), 6);
    // Another weight of what is heard: the one that has read is taken.
    assert_eq!(train("sixth", "1e-3", &[&shared[..], &["--set", "distill.alpha=0.1"]].concat()), 1);
    assert_eq!(kept().len(), 7);
    // Nor is one that was taught through a map taken for one that was taught without.
    let widths_differ = ["--set", "distill.projection=where-widths-differ"];
    assert_eq!(train("seventh", "1e-3", &[&shared[..], &widths_differ].concat()), 1);
    assert_eq!(kept().len(), 8);
    // Nor one that heard its teacher rounded. What alters no number is no matter.
    let rounded = ["--set", "distill.teacher_cache_dtype=float16"];
    assert_eq!(train("eighth", "1e-3", &[&shared[..], &rounded].concat()), 1);
    assert_eq!(kept().len(), 9);
    let free = ["--set", "train.gradient_checkpointing=true", "--set", "train.save_steps=3"];
    assert_eq!(train("ninth", "1e-3", &[&shared[..], &free].concat()), 2);
    // Terms are shuffled alike whatever has a label.
    let shuffled = ["--set", "distill.shuffle_terms=true"];
    assert_eq!(train("tenth", "1e-3", &[&shared[..], &shuffled].concat()), 1);
    assert_eq!(train("eleventh", "1e-3", &[&budget[..], &shuffled].concat()), 2);
}

#[test]
fn a_student_that_is_taught_before_the_labels_learns_them_alone() {
    let world = World::new();
    let when = |when: &str| format!("[distill]\nwhen = \"{when}\"\nnum_train_epochs = 3\n");
    for (output, distilled, sections) in
        [("alone", false, String::new()), ("with", true, when("with-labels")), ("before", true, when("before-labels"))]
    {
        let file = world.experiment(output, distilled, &sections);
        dsgkd().arg("train").arg(&file).arg("--quiet").assert().success();
    }
    let steps = |run: &str| -> Vec<Value> {
        let history = String::from_utf8(bytes(&world.path(run).join("history.jsonl"))).unwrap();
        let lines = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line.get("prediction").is_some()).collect()
    };
    assert_eq!(steps("before").len(), steps("with").len());
    assert!(steps("before").iter().all(|step| step["hidden"] == 0.0 && step["attention"] == 0.0));
    assert!(steps("with").iter().all(|step| step["hidden"].as_f64() > Some(0.0)));
    assert_ne!(steps("before")[0]["prediction"], steps("alone")[0]["prediction"], "it is no longer the same student");
    assert!(!world.path("before/taught").exists());
    let heard = String::from_utf8(bytes(&world.path("before/teaching.jsonl"))).unwrap();
    let heard: Vec<Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(heard.iter().all(|step| step["hidden"].as_f64() > Some(0.0) && step["prediction"] == 0.0));
    let mean =
        |steps: &[Value]| steps.iter().filter_map(|step| step["hidden"].as_f64()).sum::<f64>() / steps.len() as f64;
    let third = heard.len() / 3;
    assert!(mean(&heard[2 * third..]) < mean(&heard[..third]), "it learns what it hears");
    assert!(world.path("before/tensorboard/teaching").read_dir().unwrap().count() == 1);
    assert!(!world.path("with/teaching.jsonl").exists());
    let card = String::from_utf8(bytes(&world.path("before/model/README.md"))).unwrap();
    assert!(card.contains("before the labels"), "{card}");
}

#[test]
fn a_student_hears_the_same_whatever_head_it_will_have() {
    let world = World::new();
    let heard = |head: &str| {
        let file = world.experiment(head, true, "[distill]\nwhen = \"before-labels\"\nnum_train_epochs = 3\n");
        // A student whose width is no multiple of 16, and a gradient that is cut: the last bits of its norm count, in which a head's tensors could
        // show, though nothing flows through them.
        let model = format!("student.model={}", world.path("teacher-run/model").display());
        let set = [&format!("student.head={head}"), "train.max_grad_norm=0.01", &model];
        let set = set.iter().flat_map(|set| ["--set", set]);
        dsgkd().arg("train").arg(&file).arg("--quiet").args(set).assert().success();
        bytes(&world.path(head).join("teaching.jsonl"))
    };
    let family = heard("family");
    assert!(heard("mean") == family && heard("reference") == family);
}

#[test]
fn a_run_that_is_cut_off_while_it_adapts_ends_with_the_same_bytes() {
    ends_with_the_same_bytes_when_cut_off(
        "[adapt]\nnum_train_epochs = 40\nbatch_tokens = 200\n",
        "cut/adapted/history.jsonl",
    );
}

#[test]
fn a_run_that_is_cut_off_while_it_hears_its_teacher_ends_with_the_same_bytes() {
    ends_with_the_same_bytes_when_cut_off(
        "[distill]\nwhen = \"before-labels\"\nnum_train_epochs = 40\n",
        "cut/taught/history.jsonl",
    );
}

/// Cuts a run off three times, as soon as it has begun to write a file, and goes on.
fn ends_with_the_same_bytes_when_cut_off(sections: &str, begun: &str) {
    let world = World::new();
    let whole = world.experiment("whole", true, sections);
    dsgkd().arg("train").arg(&whole).arg("--quiet").assert().success();
    let cut = world.experiment("cut", true, sections);
    let mut stopped = false;
    for resume in [&[][..], &["--resume"], &["--resume"]] {
        let mut child = dsgkd_that_heeds_ctrl_c();
        let mut child = child.arg("train").arg(&cut).arg("--quiet").args(resume).spawn().unwrap();
        let begun = world.path(begun);
        while child.try_wait().unwrap().is_none() && !begun.exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        stopped |= child.wait().unwrap().code() == Some(130);
    }
    assert!(stopped, "no run was cut off");
    if !world.path("cut/model").exists() {
        dsgkd().arg("train").arg(&cut).args(["--quiet", "--resume"]).assert().success();
    }
    for file in COMPARED {
        assert_eq!(bytes(&world.path("cut").join(file)), bytes(&world.path("whole").join(file)), "{file}");
    }
}

#[test]
fn shuffled_terms_are_other_targets_for_as_many_terms() {
    let world = World::new();
    let taught = world.experiment("taught", true, "");
    let shuffled = world.experiment("shuffled", true, "[distill]\nshuffle_terms = true\n");
    for file in [&taught, &shuffled] {
        dsgkd().arg("train").arg(file).arg("--quiet").assert().success();
    }
    let terms = |run: &str| json(&world.path(run).join("environment.json"))["notes"]["aligned_terms"][0].clone();
    assert!(terms("taught").as_u64().unwrap() > 0);
    assert_eq!(terms("taught"), terms("shuffled"));
    assert_ne!(bytes(&world.path("taught/history.jsonl")), bytes(&world.path("shuffled/history.jsonl")));
}

#[test]
fn a_grid_of_rivals_is_written_and_runs() {
    let world = World::new();
    let file = world.experiment("taught", true, "");
    let grid = world.path("rivals.toml");
    let init = |file: &std::path::Path| dsgkd().arg("init").arg(&grid).arg("--rivals-of").arg(file).assert();
    init(&file).success();
    // Nobody's file is written over.
    init(&file).code(4);
    let text = std::fs::read_to_string(&grid).unwrap().replace("seeds = [1, 2, 3]", "seeds = [1]");
    std::fs::write(&grid, text.replace("adapt.num_train_epochs=20", "adapt.num_train_epochs=1")).unwrap();
    let done =
        dsgkd().current_dir(world.path("")).args(["grid", "rivals.toml", "--json", "--quiet"]).assert().success();
    let cells: Vec<Value> = serde_json::from_slice(&done.get_output().stdout).unwrap();
    let arms: Vec<&str> = cells.iter().map(|cell| cell["arm"].as_str().unwrap()).collect();
    let expected = [
        "student alone",
        "TF-IDF and logistic regression",
        "teacher alone",
        "student after MLM",
        "DSG-KD",
        "DSG-KD with the labels",
        "DSG-KD after MLM",
        "DSG-KD terms shuffled",
    ];
    assert_eq!(arms, expected);
    // The same warm-up and head with a teacher and without, where the file itself names none.
    let lines = |arm: &str, key: &str| {
        let config = bytes(&world.path("runs/rivals/all").join(arm).join("seed-1/config.toml"));
        let lines = String::from_utf8(config).unwrap();
        lines.lines().filter(|line| line.starts_with(key)).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(lines("student alone", "warmup_ratio"), lines("DSG-KD", "warmup_ratio"));
    assert!(arms.iter().all(|arm| lines(arm, "head = ") == ["head = \"mean\""]));
    assert_eq!(lines("student alone", "linear_probing"), ["linear_probing = false"]);
    assert_eq!(lines("DSG-KD", "linear_probing"), ["linear_probing = true"]);
    assert!(lines("teacher alone", "model")[0].contains("teacher-run"));
    assert!(lines("student alone", "[[teachers]]").is_empty() && !lines("DSG-KD", "[[teachers]]").is_empty());
    let alone = world.experiment("alone", false, "");
    std::fs::remove_file(&grid).unwrap();
    let refused = init(&alone).code(2).get_output().stderr.clone();
    assert!(String::from_utf8(refused).unwrap().contains("names no teacher"));
}
