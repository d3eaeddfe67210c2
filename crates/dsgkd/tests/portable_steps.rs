//! Training steps on a device against those of the CPU engine: losses, gradient norms and the parameters after ten of them; and a whole
//! training there, stopped and resumed.
//!
//! `DSGKD_DEVICE` names the device (`cpu` if not); one that is not there fails the test.
#![cfg(feature = "portable")]
#![allow(clippy::unwrap_used)]

use dsgkd::config::{AttentionRows, HeadMap, HeadMapName, Monitor, TeacherConfig, TrainConfig};
use dsgkd::distill::cache::TeacherCache;
use dsgkd::distill::teacher::{Teacher, projection_name};
use dsgkd::distill::{Example, SpanPair, TeacherView};
use dsgkd::error::Error;
use dsgkd::run::folder::RunFolder;
use dsgkd::train::learner::Learner;
use dsgkd::train::portable::DeviceLearner;
use dsgkd::train::step::{Learn, StepLosses, StepSettings};
use dsgkd::train::training::{EpochLog, StepLog, TrainObserver, TrainingSet, train};
use dsgkd_encoder::{Heads, Model};
use dsgkd_ops::portable::{Device, DeviceName};
use serde_json::json;

fn device() -> Device {
    let name = std::env::var("DSGKD_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    let name: DeviceName = name.parse().unwrap_or_else(|error| panic!("DSGKD_DEVICE: {error}"));
    name.open().unwrap_or_else(|error| panic!("{error}"))
}

fn model(hidden: usize, layers: usize, heads: &Heads, seed: u64) -> Model {
    let config = json!({
        "model_type": "bert", "vocab_size": 50, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": 4, "intermediate_size": 2 * hidden, "max_position_embeddings": 24, "type_vocab_size": 2,
        "initializer_range": 0.2, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    Model::fresh(config, heads, seed).unwrap()
}

/// Draws numbers below a limit.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(limit)) as u32
    }

    /// A note of 4 to 20 tokens, seen by `teachers`; every word has one token or two, every other word is a term.
    fn example(&mut self, teachers: usize) -> Example {
        let length = 4 + self.below(17);
        let label = Some(self.below(3)).filter(|_| !length.is_multiple_of(5)); // some notes only distil
        let input_ids = (0..length).map(|_| self.below(50)).collect();
        let views = (0..teachers).map(|_| {
            let teacher_length = length + 1;
            let mut words = vec![];
            let (mut student, mut teacher) = (1, 1);
            while student + 2 < length && teacher + 2 < teacher_length {
                let (of_student, of_teacher) = (1 + self.below(2), 1 + self.below(2));
                words.push(SpanPair {
                    student: (student, student + of_student),
                    teacher: (teacher, teacher + of_teacher),
                });
                (student, teacher) = (student + of_student, teacher + of_teacher + self.below(2));
            }
            TeacherView {
                input_ids: (0..teacher_length).map(|_| self.below(50)).collect(),
                terms: words.iter().copied().step_by(2).collect(),
                words,
                ..TeacherView::default()
            }
        });
        Example { views: views.collect(), input_ids, label }
    }
}

fn teacher(model: &Model, number: usize, rows: AttentionRows, heads: Option<HeadMap>, student: &Model) -> Teacher {
    let config = TeacherConfig { head_map: heads, weight: 1.0 + number as f64, ..TeacherConfig::default() };
    Teacher::new(model.clone(), &config, rows, &student.architecture).unwrap()
}

#[track_caller]
fn close(what: &str, step: usize, ours: f64, cpu: f64) {
    assert!((ours - cpu).abs() <= 1e-3 * cpu.abs().max(1e-6), "step {step}, {what}: {ours}, but {cpu} on the CPU");
}

fn follow(rows: [AttentionRows; 2], heads: [Option<HeadMap>; 2], after_dropout: bool) {
    let teacher_models = [model(16, 3, &Heads::default(), 1), model(32, 2, &Heads::default(), 2)];
    let student_heads = Heads {
        classes: ["a", "b", "c"].map(String::from).to_vec(),
        projections: vec![(projection_name(0), [16, 32])],
        ..Heads::default()
    };
    let student = model(32, 3, &student_heads, 3);
    let teachers = || -> Vec<Teacher> {
        let numbered = teacher_models.iter().zip(rows).zip(heads.clone()).enumerate();
        numbered.map(|(number, ((model, rows), heads))| teacher(model, number, rows, heads, &student)).collect()
    };
    let caches = || vec![TeacherCache::nothing(), TeacherCache::nothing()];
    let settings = StepSettings {
        alpha: 0.6,
        beta: 20.0, // so that its gradient counts
        attention_after_dropout: after_dropout,
        max_length: 24,
        gradient_checkpointing: false,
        class_weights: vec![1.0, 2.0, 0.5],
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
    };
    let mut cpu = Learner::new(student.clone(), teachers(), caches(), settings.clone());
    let mut ours = DeviceLearner::new(student.clone(), teachers(), caches(), settings, &device());
    let mut draw = Draw(5);
    let mut sum = StepLosses::default();
    for step in 0..10 {
        // Every third update is that of two batches; one batch has no term.
        let batches = 1 + usize::from(step % 3 == 2);
        for part in 0..batches {
            let mut examples: Vec<Example> = (0..5).map(|_| draw.example(2)).collect();
            if step == 4 {
                examples.iter_mut().flat_map(|example| &mut example.views).for_each(|view| view.terms.clear());
            }
            let (examples, indices): (Vec<&Example>, Vec<usize>) = (examples.iter().collect(), (0..5).collect());
            let seed = Some((step * 10 + part) as u64);
            let expected = cpu.accumulate(&examples, &indices, seed).unwrap();
            let losses = ours.accumulate(&examples, &indices, seed).unwrap();
            close("hidden", step, losses.hidden, expected.hidden);
            close("attention", step, losses.attention, expected.attention);
            close("prediction", step, losses.prediction, expected.prediction);
            close("total", step, losses.total, expected.total);
            sum.hidden += losses.hidden;
            sum.attention += losses.attention;
            sum.prediction += losses.prediction;
        }
        let rates = (1e-3, 5e-3);
        close("gradient norm", step, ours.update(rates, batches).unwrap(), cpu.update(rates, batches).unwrap());
    }
    assert!(sum.hidden > 0.0 && sum.attention > 0.0 && sum.prediction > 0.0);
    ours.student().unwrap();
    let moved = |at: usize| (cpu.student.values[at] - student.values[at]).abs();
    assert!((0..student.values.len()).any(|at| moved(at) > 1e-3), "ten steps move the parameters");
    for (at, (ours, cpu)) in ours.student.values.iter().zip(&cpu.student.values).enumerate() {
        // A gradient of nothing but rounding (a key's bias) has the step of a whole learning rate in AdamW, whose sign is chance.
        let name = || &student.layout().tensors().iter().find(|spec| spec.range.contains(&at)).unwrap().name;
        assert!((ours - cpu).abs() < 2e-3 || name().contains("key.bias"), "{}: {ours}, but {cpu} on the CPU", name());
    }
}

#[test]
fn portable_steps_follow_the_cpu_engine() {
    let crossed = Some(HeadMap::Pairs(vec![[0, 3], [2, 1]]));
    follow([AttentionRows::Aligned, AttentionRows::Positional], [None, crossed.clone()], false);
    follow(
        [AttentionRows::Positional, AttentionRows::Aligned],
        [crossed, Some(HeadMap::Named(HeadMapName::Mean))],
        true,
    );
}

/// Keeps what a training says, and stops it after `stop` steps.
struct Watch {
    losses: Vec<f64>,
    stop: u64,
}

impl TrainObserver for Watch {
    fn step(&mut self, log: &StepLog) {
        self.losses.push(log.losses.total);
    }

    fn epoch(&mut self, _: &EpochLog) {}

    fn interrupted(&self) -> bool {
        self.losses.len() as u64 == self.stop
    }
}

#[test]
fn a_portable_training_follows_the_cpu_and_goes_on_where_it_stopped() {
    let heads = Heads { classes: ["a", "b", "c"].map(String::from).to_vec(), ..Heads::default() };
    let (student, teacher_model) = (model(32, 2, &heads, 3), model(32, 2, &Heads::default(), 1));
    let settings = StepSettings {
        alpha: 0.6,
        beta: 0.2,
        attention_after_dropout: false,
        max_length: 24,
        gradient_checkpointing: false,
        class_weights: vec![],
        betas: (0.9, 0.999),
        epsilon: 1e-8,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
    };
    let parts = || {
        let teachers = vec![teacher(&teacher_model, 0, AttentionRows::Aligned, None, &student)];
        (student.clone(), teachers, vec![TeacherCache::nothing()], settings.clone())
    };
    let cpu = || -> Box<dyn Learn> {
        let (student, teachers, caches, settings) = parts();
        Box::new(Learner::new(student, teachers, caches, settings))
    };
    let on_device = || -> Box<dyn Learn> {
        let (student, teachers, caches, settings) = parts();
        Box::new(DeviceLearner::new(student, teachers, caches, settings, &device()))
    };
    let mut draw = Draw(7);
    let mut notes: Vec<Example> = (0..30).map(|_| draw.example(1)).collect();
    let validation = notes.split_off(20).into_iter().map(|note| Example { label: Some(note.input_ids[1] % 3), ..note });
    let set = TrainingSet { validation: validation.collect(), training: notes, prevalence: 0.3 };
    let config = TrainConfig {
        num_train_epochs: 3,
        batch_size: 4,
        learning_rate: Some(1e-3),
        early_stopping: vec![],
        metric_for_best_model: Monitor::Loss,
        ..TrainConfig::default()
    };
    let place = tempfile::tempdir().unwrap();
    let run = |name: &str, mut learner: Box<dyn Learn>, stop: u64, resume: bool| {
        let folder = RunFolder::part(&place.path().join(name)).unwrap();
        let mut watch = Watch { losses: vec![], stop };
        let summary = train(&mut *learner, &set, &config, 1, &folder, resume, &mut watch);
        (summary, watch.losses, learner.into_student().values)
    };
    let (expected, losses, weights) = run("cpu", cpu(), 0, false);
    let (whole, on_device_losses, device_weights) = run("device", on_device(), 0, false);
    let (expected, whole) = (expected.unwrap(), whole.unwrap());
    for (step, (ours, cpu)) in on_device_losses.iter().zip(&losses).enumerate() {
        close("total", step, *ours, *cpu);
    }
    let best = |summary: &dsgkd::train::training::TrainSummary| summary.best[&Monitor::Loss];
    close("validation", 0, best(&whole).value, best(&expected).value);
    assert_eq!((whole.steps, best(&whole).epoch), (expected.steps, best(&expected).epoch));
    assert!(weights.iter().zip(&device_weights).all(|(cpu, ours)| (cpu - ours).abs() < 3e-3));
    assert!(weights.iter().zip(&student.values).any(|(trained, before)| (trained - before).abs() > 3e-3));

    // Stopped in the second epoch, and resumed: moments, step and parameters come back from the checkpoint.
    let (stopped, before, _) = run("stopped", on_device(), 7, false);
    assert!(matches!(stopped, Err(Error::Interrupted(_))) && before == on_device_losses[..7]);
    let (resumed, after, resumed_weights) = run("stopped", on_device(), 0, true);
    assert_eq!(resumed.unwrap().steps, expected.steps);
    for (step, (ours, whole)) in after.iter().zip(&on_device_losses[7..]).enumerate() {
        close("total after resuming", step, *ours, *whole);
    }
    assert_eq!(after.len(), on_device_losses.len() - 7);
    assert!(device_weights.iter().zip(&resumed_weights).all(|(whole, ours)| (whole - ours).abs() < 1e-4));
}
