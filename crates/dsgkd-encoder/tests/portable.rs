//! The encoder and its heads on a device against the CPU engine: outputs and all gradients, on fresh small models of every family.
//!
//! `DSGKD_DEVICE` names the device (`cpu` if not); one that is not there fails the test.
#![cfg(feature = "portable")]

mod common;

use common::{MODELS, model};
use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::portable::{Parameters, classify, forward, predict_masked};
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model, PooledGradients};
use dsgkd_ops::portable::attention::ragged_rows;
use dsgkd_ops::portable::{Device, DeviceName, Tensor, download, upload};
use dsgkd_ops::spans::Span;

fn device() -> Device {
    let name = std::env::var("DSGKD_DEVICE").unwrap_or_else(|_| "cpu".to_string());
    let name: DeviceName = name.parse().unwrap_or_else(|error| panic!("DSGKD_DEVICE: {error}"));
    name.open().unwrap_or_else(|error| panic!("{error}"))
}

/// Directions along which outputs are summed into one objective.
fn direction(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|at| ((at * 7919 + seed * 104_729) % 997) as f32 / 500.0 - 1.0).collect()
}

/// All outputs of a pass, by name, and the gradient of the objective in the arena's layout.
struct Pass {
    outputs: Vec<(String, Vec<f32>)>,
    gradients: Vec<f32>,
}

const NOTES: [usize; 2] = [0, 2];
const MASKED: [usize; 3] = [2, 8, 10];

fn on_the_cpu(model: &Model, batch: &Batch, options: &ForwardOptions) -> Pass {
    let (mut act, mut head, mut mlm) =
        (Activations::default(), ClassifierActivations::default(), MlmActivations::default());
    model.forward(batch, options, &mut act);
    model.classify(batch, &NOTES, options.dropout, &act, &mut head);
    model.predict_masked(&MASKED, &act, &mut mlm);
    let mut outputs = vec![
        ("hidden states".to_string(), act.hidden_states.clone()),
        ("logits".to_string(), head.logits.clone()),
        ("masked".to_string(), mlm.logits.clone()),
    ];
    let levels = |values: &[Vec<f32>], seed: usize| -> Vec<Vec<f32>> {
        values.iter().enumerate().map(|(level, values)| direction(values.len(), seed + level)).collect()
    };
    let pooled = PooledGradients { hidden: levels(&act.pooled_hidden, 10), rows: levels(&act.pooled_rows, 20) };
    for (name, values) in [("pooled hidden", &act.pooled_hidden), ("rows", &act.pooled_rows)] {
        outputs.extend(values.iter().enumerate().map(|(level, values)| (format!("{name} {level}"), values.clone())));
    }
    let mut gradients = vec![0f32; model.values.len()];
    act.d_hidden_states = direction(act.hidden_states.len(), 1);
    head.logits = direction(head.logits.len(), 2);
    mlm.logits = direction(mlm.logits.len(), 3);
    model.classify_backward(batch, &NOTES, options.dropout, &mut act, &mut head, &mut gradients);
    model.predict_masked_backward(&MASKED, &mut act, &mut mlm, &mut gradients);
    model.backward(batch, options, &pooled, &mut act, &mut gradients);
    Pass { outputs, gradients }
}

fn on_the_device(model: &Model, batch: &Batch, options: &ForwardOptions, device: &Device) -> Pass {
    let mut parameters = Parameters::new(upload(&model.values, [model.values.len()], device), true);
    let states = forward(model, &mut parameters, batch, options);
    let logits = classify(model, &mut parameters, batch, &NOTES, options.dropout, &states);
    let masked = predict_masked(model, &mut parameters, &MASKED, &states);
    let mut outputs = vec![];
    let mut objective: Option<Tensor<1>> = None;
    let mut take = |name: String, output: Tensor<1>, seed: usize| {
        let values = download(&output).expect("the device computes");
        let directed = output.mul(upload(&direction(values.len(), seed), [values.len()], device)).sum();
        objective = Some(objective.take().map_or(directed.clone(), |sum| sum.add(directed)));
        outputs.push((name, values));
    };
    let flat = |tensor: Tensor<2>| tensor.flatten::<1>(0, 1);
    take("hidden states".into(), flat(states.hidden_states), 1);
    take("logits".into(), flat(logits), 2);
    take("masked".into(), flat(masked), 3);
    for (level, pooled) in states.pooled_hidden.into_iter().enumerate() {
        take(format!("pooled hidden {level}"), flat(pooled), 10 + level);
    }
    for (layer, rows) in states.pooled_rows.into_iter().enumerate() {
        take(format!("rows {layer}"), ragged_rows(rows, &states.packing), 20 + layer);
    }
    let objective = objective.expect("there are outputs");
    let gradients = parameters.gradients(&mut objective.backward());
    Pass { outputs, gradients: download(&gradients).expect("the device computes") }
}

/// Holds `ours` against `expected`, relative to the largest value, which counts as `least` at least.
fn check(what: &str, ours: &[f32], expected: &[f32], bound: f32, least: f32) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let greatest = expected.iter().fold(0f32, |greatest, value| greatest.max(value.abs())).max(least);
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let error = (ours - expected).abs() / greatest;
        assert!(error <= bound, "{what}, element {index}: {ours}, but {expected} on the CPU, of up to {greatest}");
    }
}

#[test]
fn portable_models_give_what_the_cpu_engine_gives() {
    let device = device();
    let notes: [&[u32]; 3] = [&[2, 5, 9, 11, 3], &[2, 3], &[2, 7, 7, 30, 21, 8, 3]];
    let batch = Batch::pack(notes);
    let spans =
        [Span { note: 0, start: 1, end: 3 }, Span { note: 2, start: 2, end: 3 }, Span { note: 2, start: 3, end: 6 }];
    for (model_type, form) in MODELS {
        let model = model(model_type, 3, form);
        for (dropout, rows_after_dropout) in [(None, false), (Some(77), false), (Some(78), true)] {
            let options = ForwardOptions {
                dropout,
                for_backward: true,
                spans: &spans,
                rows_after_dropout,
                ..ForwardOptions::default()
            };
            let expected = on_the_cpu(&model, &batch, &options);
            let ours = on_the_device(&model, &batch, &options, &device);
            assert_eq!(ours.outputs.len(), expected.outputs.len());
            for ((name, ours), (expected_name, expected)) in ours.outputs.iter().zip(&expected.outputs) {
                assert_eq!(name, expected_name);
                check(&format!("{model_type}, {name}"), ours, expected, 1e-5, 1e-2);
            }
            for spec in model.layout().tensors() {
                let what = format!("{model_type}, gradient of {}", spec.name);
                let range = spec.range.clone();
                // A key's bias moves all scores of a row alike, which softmax does not see: its gradient is rounding alone.
                let least = if spec.name.contains("key.bias") || spec.name.contains("k_lin.bias") { 1.0 } else { 1e-2 };
                check(&what, &ours.gradients[range.clone()], &expected.gradients[range], 1e-4, least);
            }
        }
    }
}
