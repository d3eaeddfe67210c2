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
        String::from_utf8(refused.get_output().stderr.clone()).unwrap().contains("take out `teachers` and `adapt`")
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

#[test]
fn a_run_that_is_cut_off_while_it_adapts_ends_with_the_same_bytes() {
    let world = World::new();
    let adapt = "[adapt]\nnum_train_epochs = 40\nbatch_tokens = 200\n";
    let whole = world.experiment("whole", false, adapt);
    dsgkd().arg("train").arg(&whole).arg("--quiet").assert().success();
    let cut = world.experiment("cut", false, adapt);
    let mut stopped = false;
    for resume in [&[][..], &["--resume"], &["--resume"]] {
        let mut child = dsgkd_that_heeds_ctrl_c();
        let mut child = child.arg("train").arg(&cut).arg("--quiet").args(resume).spawn().unwrap();
        // As soon as the masked-language-model training has begun to write.
        let begun = world.path("cut/adapted/history.jsonl");
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
    for file in ["model/model.safetensors", "predictions.json", "history.jsonl"] {
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
