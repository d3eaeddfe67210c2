//! A run that is killed at any moment and resumed ends with the same bytes as one that was never touched.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, bytes, dsgkd};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Kills of the test; `DSGKD_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("DSGKD_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

#[test]
fn killed_and_resumed_runs_end_with_the_same_weights_taught_before_the_labels() {
    killed_and_resumed("before-labels", "head = \"mean\"\nlinear_probing = true\n");
}

#[test]
fn killed_and_resumed_runs_end_with_the_same_weights_taught_with_the_labels() {
    killed_and_resumed("with-labels", "");
}

fn killed_and_resumed(when: &str, student: &str) {
    let world = World::new();
    let experiment = |name: &str, more: &str| {
        let path = world.experiment(name, true, more);
        let text = std::fs::read_to_string(&path).unwrap().replace("[student]\n", &format!("[student]\n{student}"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let distill = format!("[distill]\nwhen = \"{when}\"\nnum_train_epochs = 3\n");
    let more = format!("save_steps = 2\nmax_tokens_per_batch = 150\n{distill}");
    let whole = experiment("whole", &more);
    let begun = std::time::Instant::now();
    dsgkd().arg("train").arg(&whole).arg("--quiet").assert().success();
    let took = begun.elapsed();
    let killed = experiment("killed", &more);
    let binary = assert_cmd::cargo::cargo_bin("dsgkd");
    let mut state = 88_172_645_463_325_252u64;
    for kill in 0..kills() {
        let mut command = Command::new(&binary);
        command.arg("train").arg(&killed).arg("--quiet").env("RAYON_NUM_THREADS", "2");
        // What alters no number may change whenever a run goes on.
        let store = ["file", "memory", "file", "none"][kill as usize % 4];
        command.args(["--set", &format!("distill.teacher_cache=\"{store}\"")]);
        command.args(["--set", &format!("train.gradient_checkpointing={}", kill % 3 == 0)]);
        if world.path("killed/config.toml").exists() {
            command.arg("--resume");
        }
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        std::thread::sleep(Duration::from_nanos(state % took.as_nanos() as u64));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut last = dsgkd();
    last.arg("train").arg(&killed).arg("--quiet");
    if world.path("killed/config.toml").exists() {
        last.arg("--resume");
    }
    last.assert().success();
    for file in ["model/model.safetensors", "predictions.json", "metrics.json", "history.jsonl"] {
        assert!(bytes(&world.path("whole").join(file)) == bytes(&world.path("killed").join(file)), "{file} differs");
    }
    let heard = |run: &str| std::fs::read(world.path(run).join("teaching.jsonl")).ok();
    assert!(heard("whole") == heard("killed") && heard("whole").is_some() == (when == "before-labels"));
    assert!(!world.path("killed/teacher-features-0.cache").exists(), "it holds what was derived from notes");
    // Nothing is left to resume, and nothing is computed.
    let again = dsgkd().arg("train").arg(&killed).args(["--resume", "--json"]).assert().success();
    let said = String::from_utf8(again.get_output().stderr.clone()).unwrap();
    assert!(said.contains("is done, there is nothing to resume") && !said.contains("epoch"), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&again.get_output().stdout).unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&bytes(&world.path("killed/metrics.json"))).unwrap();
    assert_eq!(summary["test"], metrics);
    let of_whole: serde_json::Value = serde_json::from_slice(&bytes(&world.path("whole/training.json"))).unwrap();
    assert!(summary["train"]["steps"].as_u64().unwrap() > 0 && !of_whole["validation"].is_null());
    for part in ["steps", "best", "validation"] {
        assert_eq!(summary["train"][part], of_whole[part]);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_does_not() {
    let world = World::new();
    for (name, seed) in [("one", 3), ("two", 3), ("three", 4)] {
        let experiment = world.experiment(name, true, "");
        dsgkd().arg("train").arg(&experiment).args(["--quiet", "--set", &format!("seed={seed}")]).assert().success();
    }
    let model = |name: &str| bytes(&world.path(name).join("model/model.safetensors"));
    assert!(model("one") == model("two"));
    assert!(model("one") != model("three"));
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_writes_a_checkpoint() {
    let world = World::new();
    let experiment = world.experiment("stopped", true, "");
    let child = common::dsgkd_that_heeds_ctrl_c()
        .arg("train")
        .arg(&experiment)
        .args(["--set", "train.num_train_epochs=500", "--set", "train.early_stopping_patience=0"])
        .args(["--set", "distill.when=with-labels"])
        .args(["--set", "distill.teacher_cache=\"file\""])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let history = world.path("stopped/history.jsonl");
    while std::fs::read_to_string(&history).map_or(0, |text| text.lines().count()) < 5 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--resume"));
    assert!(std::fs::read_dir(world.path("stopped/checkpoints")).unwrap().count() > 0);
    let kept = std::fs::metadata(world.path("stopped/teacher-features-0.cache")).unwrap();
    assert!(kept.len() > 10_000);
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&kept.permissions()) & 0o777, 0o600);
}
