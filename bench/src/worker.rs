//! Our side of a measurement: a process that holds one model and runs a step whenever it is told to.
//!
//! `bench/peer/worker.py` is the same in PyTorch: the same sizes, the same notes, the same arithmetic.

use dsgkd::distill::Example;
use dsgkd::infer::Scorer;
use dsgkd::train::learner::Learner;
use dsgkd::train::step::{Learn, StepSettings};
use dsgkd_encoder::{Heads, Model};
use dsgkd_ops::linear::{self, Weight};
use dsgkd_ops::{Precision, WeightPrecision};
use serde_json::json;
use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

/// Sizes of a model and of its batch.
struct Case {
    hidden: usize,
    layers: usize,
    heads: usize,
    notes: usize,
    length: usize,
    vocabulary: usize,
}

fn case(name: &str) -> Option<Case> {
    match name {
        "base" => Some(Case { hidden: 768, layers: 12, heads: 12, notes: 8, length: 128, vocabulary: 30522 }),
        "small" => Some(Case { hidden: 256, layers: 4, heads: 4, notes: 32, length: 64, vocabulary: 30522 }),
        // The sizes of multilingual-e5-small, the vocabulary that of XLM-RoBERTa.
        "multilingual" => Some(Case { hidden: 384, layers: 12, heads: 12, notes: 16, length: 64, vocabulary: 250_037 }),
        _ => None,
    }
}

/// Runs a mode on `base`, `small` or `multilingual` in `float32`, `bfloat16` or `int8`: prints `ready`, then for every line it reads the milliseconds of one
/// step, and at the end the most memory that was ever resident, in MiB.
///
/// `train`, `train_checkpointing` and `infer` compute the last layer at every token and update every word embedding, as PyTorch does; `finetune` and `score`
/// those that are read, and that a batch has had. `products` are the dense layers of a step, `peak` as many multiplications and additions in registers.
pub(crate) fn work(mode: &str, model: &str, dtype: &str) -> Result<(), Box<dyn Error>> {
    let case = case(model).ok_or("the model is base, small or multilingual")?;
    match mode {
        "products" => {
            let precision = if dtype == "bfloat16" { Precision::Bfloat16 } else { Precision::Float32 };
            return serve(products(&case, precision));
        }
        "peak" => return serve(move || crate::peak::multiply_add(products_operations(&case))),
        _ => {}
    }
    let config = json!({
        "model_type": "bert", "vocab_size": case.vocabulary, "hidden_size": case.hidden, "num_hidden_layers": case.layers,
        "num_attention_heads": case.heads, "intermediate_size": 4 * case.hidden, "max_position_embeddings": 512,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
    });
    let heads = Heads { classes: vec!["no".into(), "yes".into()], ..Heads::default() };
    let mut model = Model::fresh(config, &heads, 1)?;
    match (mode, dtype) {
        ("train" | "train_checkpointing" | "finetune", "float32") => {}
        ("train" | "finetune", "bfloat16") => model.set_precision(Precision::Bfloat16),
        ("infer" | "score", "float32") => model.pack(WeightPrecision::Float32),
        ("infer" | "score", "bfloat16") => model.pack(WeightPrecision::Bfloat16),
        ("infer" | "score", "int8") => model.pack(WeightPrecision::Int8),
        _ => return Err("train and finetune know float32 and bfloat16, infer and score also int8".into()),
    }
    let spares_nothing = !matches!(mode, "finetune" | "score");
    let notes: Vec<Example> = (0..case.notes)
        .map(|note| Example {
            input_ids: (0..case.length)
                .map(|at| ((note * 7919 + at * 104_729 + 1000) % case.vocabulary) as u32)
                .collect(),
            label: Some(note as u32 % 2),
            views: vec![],
        })
        .collect();
    match mode {
        "train" | "train_checkpointing" | "finetune" => {
            let settings = StepSettings {
                alpha: 0.0,
                beta: 0.0,
                attention_after_dropout: false,
                gradient_checkpointing: mode == "train_checkpointing",
                max_length: 128,
                class_weights: vec![],
                betas: (0.9, 0.999),
                epsilon: 1e-8,
                weight_decay: 0.01,
                max_grad_norm: 1.0,
            };
            let mut learner = Learner::new(model, vec![], vec![], settings);
            learner.spares_nothing = spares_nothing;
            let (examples, indices): (Vec<&Example>, Vec<usize>) = (notes.iter().collect(), (0..notes.len()).collect());
            let mut seed = 0;
            serve(|| {
                seed += 1;
                let losses = learner.accumulate(&examples, &indices, Some(seed));
                let norm = learner.update((1e-5, 1e-3), 1);
                losses.and_then(|losses| norm.map(|_| losses.total)).unwrap_or(f64::NAN)
            })
        }
        "infer" | "score" => {
            let mut scorer = Scorer::default();
            scorer.every_token = spares_nothing;
            let ids: Vec<&[u32]> = notes.iter().map(|note| &note.input_ids[..]).collect();
            serve(|| scorer.logits(&model, &ids).map_or(f64::NAN, |logits| f64::from(logits[0])))
        }
        _ => Err("the mode is train, train_checkpointing, finetune, infer, score, products or peak".into()),
    }
}

/// Inputs and outputs of the dense layers of an encoder layer.
fn dense_layers(case: &Case) -> [(usize, usize); 4] {
    let Case { hidden, .. } = *case;
    [(hidden, 3 * hidden), (hidden, hidden), (hidden, 4 * hidden), (4 * hidden, hidden)]
}

/// Multiplications and additions of [`products`].
fn products_operations(case: &Case) -> f64 {
    let weights: usize = dense_layers(case).iter().map(|(inputs, outputs)| inputs * outputs).sum();
    (case.layers * weights * case.notes * case.length * 3 * 2) as f64
}

/// The dense layers of a training step and nothing else: forward, and backward to the input and to the weight.
fn products(case: &Case, precision: Precision) -> impl FnMut() -> f64 {
    let tokens = case.notes * case.length;
    let ones = |len: usize| vec![1f32; len];
    let mut buffers: Vec<_> = (0..case.layers)
        .flat_map(|_| dense_layers(case))
        .map(|(inputs, outputs)| (ones(tokens * inputs), ones(inputs * outputs), ones(inputs * outputs), outputs))
        .collect();
    let mut output = ones(tokens * 4 * case.hidden);
    let mut d_input = output.clone();
    move || {
        for (input, weight, _, outputs) in &buffers {
            linear::forward(input, Weight::Plain(weight, precision), &mut output[..tokens * outputs], tokens);
        }
        for (input, weight, d_weight, outputs) in buffers.iter_mut().rev() {
            let d_output = &output[..tokens * *outputs];
            linear::backward_input(d_output, weight, precision, &mut d_input[..input.len()], tokens, false);
            linear::backward_weight(d_output, input, precision, d_weight, tokens);
        }
        f64::from(d_input[0])
    }
}

/// Answers every line of stdin with the milliseconds of one `step`.
fn serve(mut step: impl FnMut() -> f64) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for _ in 0..2 {
        step(); // buffers grow and pages are touched
    }
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        let result = step();
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if !result.is_finite() {
            return Err("the step's result is no number".into());
        }
        writeln!(out, "{milliseconds:.3}")?;
        out.flush()?;
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kibibytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    writeln!(out, "{:.1}", kibibytes / 1024.0)?;
    Ok(())
}
