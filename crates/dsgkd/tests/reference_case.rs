//! The numbers of the original implementation of DSG-KD, computed again.
//!
//! Runs on the small copy beside this file, and on any folder of that form: `DSGKD_REFERENCE=DIR cargo test --release
//! reference_case`. A folder holds `student/`, `teacher/`, `classifier.safetensors`, `notes.jsonl` and `expected.json`.
#![allow(clippy::unwrap_used)]

use dsgkd::config::{AttentionRows, Config, HeadMap, HeadMapName, TeacherConfig, TermRule, TextConfig};
use dsgkd::distill::cache::TeacherCache;
use dsgkd::distill::teacher::Teacher;
use dsgkd::distill::{Example, SpanPair, TeacherView};
use dsgkd::infer::Scorer;
use dsgkd::text::{Aligner, Tokenizer};
use dsgkd::train::learner::Learner;
use dsgkd::train::schedule::Schedule;
use dsgkd::train::step::{Learn, StepLosses, StepSettings};
use dsgkd_encoder::{HeadForm, Heads, Model};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder that the environment names, or the small copy.
fn folder() -> PathBuf {
    match std::env::var_os("DSGKD_REFERENCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/case-a"),
    }
}

struct Case {
    expected: Value,
    examples: Vec<Example>,
    learner: Learner,
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn example(note: &Value) -> Example {
    let spans = |key: &str| -> Vec<(u32, u32)> {
        note[key].as_array().unwrap().iter().map(ids).map(|span| (span[0], span[1])).collect()
    };
    let pairs = spans("student_spans").into_iter().zip(spans("teacher_spans"));
    let terms = pairs.map(|(student, teacher)| SpanPair { student, teacher }).collect();
    Example {
        input_ids: ids(&note["student_ids"]),
        label: Some(note["label"].as_u64().unwrap() as u32),
        views: vec![TeacherView { input_ids: ids(&note["teacher_ids"]), terms, ..TeacherView::default() }],
    }
}

fn load() -> Case {
    let folder = folder();
    let expected: Value =
        serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let notes = std::fs::read_to_string(folder.join("notes.jsonl")).unwrap();
    let examples = notes.lines().map(|line| example(&serde_json::from_str(line).unwrap())).collect::<Vec<_>>();
    let heads = Heads { classes: vec!["0".into(), "1".into()], form: HeadForm::Reference, ..Heads::default() };
    let (mut student, _) = Model::open(&folder.join("student"), &heads, 1).unwrap();
    // The head stands in a file of its own.
    let bytes = std::fs::read(folder.join("classifier.safetensors")).unwrap();
    for (name, tensor) in safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let range = student.layout().find(&name).unwrap_or_else(|| panic!("no tensor {name}")).range.clone();
        let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        student.values[range].iter_mut().zip(values).for_each(|(to, from)| *to = from);
    }
    let (teacher, _) = Model::open(&folder.join("teacher"), &Heads::default(), 1).unwrap();
    let config = TeacherConfig { head_map: Some(HeadMap::Named(HeadMapName::Same)), ..TeacherConfig::default() };
    let teacher = Teacher::new(teacher, &config, AttentionRows::Positional, &student.architecture).unwrap();
    let training = &expected["training"];
    let settings = StepSettings {
        alpha: training["alpha"].as_f64().unwrap(),
        beta: training["beta"].as_f64().unwrap(),
        attention_after_dropout: true,
        max_length: training["max_length"].as_u64().unwrap() as usize,
        gradient_checkpointing: false,
        class_weights: vec![],
        betas: (0.9, 0.999),
        epsilon: training["eps"].as_f64().unwrap(),
        weight_decay: training["weight_decay"].as_f64().unwrap(),
        max_grad_norm: 1.0,
    };
    let cache = TeacherCache::nothing();
    Case { expected, learner: Learner::new(student, vec![teacher], vec![cache], settings), examples }
}

/// Runs the notes of a step through forward and backward.
fn accumulate(case: &mut Case, rows: &Value) -> StepLosses {
    let rows: Vec<usize> = ids(rows).into_iter().map(|row| row as usize).collect();
    let examples: Vec<&Example> = rows.iter().map(|row| &case.examples[*row]).collect();
    case.learner.accumulate(&examples, &rows, None).unwrap()
}

#[track_caller]
fn close(what: &str, ours: f64, theirs: &Value, relative: f64) {
    let theirs = theirs.as_f64().unwrap();
    // A gradient that is zero but for rounding (a key's bias) has no relative error.
    let allowed = relative * theirs.abs() + if theirs.abs() < 1e-6 { 1e-7 } else { 0.0 };
    assert!((ours - theirs).abs() <= allowed, "{what}: {ours}, the reference has {theirs}");
}

#[test]
fn reference_case_losses_and_gradients_of_the_first_batch() {
    let mut case = load();
    let first = case.expected["first_batch"].clone();
    let losses = accumulate(&mut case, &first["rows"]);
    close("hidden loss", 0.6 * losses.hidden, &first["hidden_loss_weighted"], 1e-5);
    close("attention loss", 0.2 * losses.attention, &first["attention_loss_weighted"], 1e-5);
    close("prediction loss", losses.prediction, &first["prediction_loss"], 1e-5);
    let norms = first["grad_norm"].as_object().unwrap();
    let layout = case.learner.student.layout();
    assert_eq!(norms.len(), layout.tensors().len(), "every tensor has a gradient in the reference");
    for spec in layout.tensors() {
        let sum: f64 = case.learner.gradients[spec.range.clone()].iter().map(|g| f64::from(*g).powi(2)).sum();
        close(&spec.name, sum.sqrt(), &norms[&spec.name], 1e-4);
    }
    let total = case.learner.update((0.0, 0.0), 1).unwrap();
    close("total gradient norm", total, &first["total_grad_norm"], 1e-4);
}

#[test]
fn reference_case_all_training_steps() {
    let mut case = load();
    let training = case.expected["training"].clone();
    let steps = training["steps"].as_array().unwrap();
    let number = |key: &str| training[key].as_f64().unwrap();
    let schedule = Schedule::new(steps.len() as u64, number("warmup_fraction"));
    for (index, step) in steps.iter().enumerate() {
        let factor = schedule.factor(index as u64);
        let rates = (factor * number("encoder_lr"), factor * number("classifier_lr"));
        close("encoder learning rate", rates.0, &step["lr"][0], 1e-9);
        close("classifier learning rate", rates.1, &step["lr"][1], 1e-9);
        let losses = accumulate(&mut case, &step["rows"]);
        close(&format!("step {index}, hidden"), number("alpha") * losses.hidden, &step["hidden"], 1e-3);
        close(&format!("step {index}, attention"), number("beta") * losses.attention, &step["attention"], 1e-3);
        close(&format!("step {index}, prediction"), losses.prediction, &step["prediction"], 1e-3);
        let norm = case.learner.update(rates, 1).unwrap();
        close(&format!("step {index}, gradient norm"), norm, &step["grad_norm"], 1e-3);
    }
    let notes: Vec<&[u32]> = case.examples.iter().map(|example| &example.input_ids[..]).collect();
    let logits = Scorer::default().logits(&case.learner.student, &notes).unwrap();
    let probabilities = dsgkd_ops::loss::softmax(&logits, 2);
    for (note, expected) in training["final_probability_of_class_1"].as_array().unwrap().iter().enumerate() {
        close(&format!("note {note}, probability"), probabilities[note * 2 + 1], expected, 1e-3);
    }
}

#[test]
fn reference_case_token_ids_and_spans() {
    let folder = folder();
    let training: Value = serde_json::from_str::<Value>(
        &std::fs::read_to_string(folder.join("expected.json")).unwrap(),
    )
    .unwrap()["training"]
        .clone();
    let text = TextConfig {
        terms: TermRule::Reference,
        max_length: training["max_length"].as_u64().unwrap() as usize,
        max_terms: training["max_terms"].as_u64().unwrap() as usize,
        ..TextConfig::default()
    };
    let [student, teacher] = ["student", "teacher"].map(|role| Tokenizer::open(&folder.join(role)).unwrap());
    let aligner = Aligner::new(&Config { text, ..Config::default() }, &[&student, &teacher], None).unwrap();
    let notes = std::fs::read_to_string(folder.join("notes.jsonl")).unwrap();
    for (number, line) in notes.lines().enumerate() {
        let note: Value = serde_json::from_str(line).unwrap();
        let expected = example(&note);
        let aligned = aligner.align(note["text"].as_str().unwrap()).unwrap();
        assert_eq!(aligned.input_ids, expected.input_ids, "note {number}, student");
        assert_eq!(aligned.views[0].input_ids, expected.views[0].input_ids, "note {number}, teacher");
        assert_eq!(aligned.views[0].terms, expected.views[0].terms, "note {number}, spans");
    }
}
