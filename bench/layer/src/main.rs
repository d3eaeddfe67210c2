//! One encoder layer of BERT-base, forward and backward, f32, in turn on one thread: the explicit engine, Burn's autodiff over the CPU
//! operations, and Burn's autodiff over the portable forms on Burn's CPU device.
//!
//!     cargo run --release -p dsgkd-bench-layer --features portable -- [ROUNDS]
//!
//! prints a line a variant: `name<TAB>milliseconds<TAB>ratio to the explicit engine`, medians over the rounds (20). Beside the layer a
//! step has its embeddings (a table of 128 words), which are 1 % of it. Other work on the machine moves the milliseconds; the ratio stands.
#![allow(clippy::print_stdout)] // Figures are data.

mod custom;

use dsgkd_encoder::portable::{Parameters, forward};
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Heads, Model, PooledGradients};
use dsgkd_ops::portable::{DeviceName, Tensor, download, upload};
use dsgkd_ops::{Dropout, in_pool};
use serde_json::json;
use std::error::Error;
use std::time::{Duration, Instant};

const NOTES: usize = 8;
const LENGTH: usize = 128;
const HEADS: usize = 12;
const HIDDEN: usize = 768;
const TOKENS: usize = NOTES * LENGTH;

/// One step of an engine under a dropout seed, forward and backward: how long it took, and, outside of that time, the sum of the
/// gradients' magnitudes, which is the same for every engine that computes the same.
type Step<'a> = Box<dyn FnMut(Option<u64>) -> Result<(Duration, f64), Box<dyn Error>> + 'a>;

fn main() -> Result<(), Box<dyn Error>> {
    let rounds = std::env::args().nth(1).map_or(Ok(20), |rounds| rounds.parse::<usize>())?;
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let config = json!({
        "model_type": "bert", "vocab_size": 128, "hidden_size": HIDDEN, "num_hidden_layers": 1, "num_attention_heads": HEADS,
        "intermediate_size": 4 * HIDDEN, "max_position_embeddings": LENGTH, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02,
    });
    let model = Model::fresh(config, &Heads::default(), 1)?;
    let ids: Vec<u32> = (0..TOKENS).map(|token| (token * 7919 % 128) as u32).collect();
    let batch = Batch::pack(ids.chunks(LENGTH));
    let direction: Vec<f32> = (0..TOKENS * HIDDEN).map(|at| (at * 7919 % 1000) as f32 / 500.0 - 1.0).collect();

    let mut engines: Vec<(&str, Step)> = vec![
        ("explicit", explicit(&model, &batch, &direction)),
        ("burn_graph_of_cpu_operations", custom(&model, &batch, &direction)?),
        ("burn_portable", portable(&model, &batch, &direction)?),
    ];
    for (with, dropout) in [("dropout", Some(7)), ("no_dropout", None)] {
        let mut times = vec![vec![]; engines.len()];
        let mut sums = vec![0f64; engines.len()];
        for round in 0..=rounds {
            for (engine, (_, step)) in engines.iter_mut().enumerate() {
                let (time, sum) = step(dropout)?;
                sums[engine] = sum;
                // The first round fills buffers and caches.
                if round > 0 {
                    times[engine].push(time.as_secs_f64() * 1000.0);
                }
            }
        }
        for (engine, (name, _)) in engines.iter().enumerate() {
            if (sums[engine] - sums[0]).abs() > 1e-3 * sums[0].abs() {
                return Err(format!("{name} computes {}, the explicit engine {}", sums[engine], sums[0]).into());
            }
            let of = |times: &[f64]| {
                let mut sorted = times.to_vec();
                sorted.sort_by(f64::total_cmp);
                sorted[sorted.len() / 2]
            };
            println!("{name}_{with}\t{:.1}\t{:.2}", of(&times[engine]), of(&times[engine]) / of(&times[0]));
        }
    }
    Ok(())
}

fn magnitude(gradients: &[f32]) -> f64 {
    gradients.iter().map(|gradient| f64::from(gradient.abs())).sum()
}

fn options(dropout: Option<u64>) -> ForwardOptions<'static> {
    ForwardOptions { dropout, for_backward: true, ..ForwardOptions::default() }
}

fn explicit<'a>(model: &'a Model, batch: &'a Batch, direction: &'a [f32]) -> Step<'a> {
    let mut activations = Activations::default();
    let mut gradients = vec![0f32; model.values.len()];
    Box::new(move |dropout| {
        let result = in_pool(|| {
            // In training, the optimiser's pass leaves the gradients at zero.
            gradients.fill(0.0);
            let start = Instant::now();
            model.forward(batch, &options(dropout), &mut activations);
            activations.d_hidden_states.clear();
            activations.d_hidden_states.extend_from_slice(direction);
            model.backward(batch, &options(dropout), &PooledGradients::default(), &mut activations, &mut gradients);
            (start.elapsed(), magnitude(&gradients))
        });
        Ok(result)
    })
}

fn portable<'a>(model: &'a Model, batch: &'a Batch, direction: &'a [f32]) -> Result<Step<'a>, Box<dyn Error>> {
    let device = DeviceName::Cpu.open()?;
    let arena = upload(&model.values, [model.values.len()], &device);
    let direction: Tensor<2> = upload(direction, [TOKENS, HIDDEN], &device);
    Ok(Box::new(move |dropout| {
        let start = Instant::now();
        let mut parameters = Parameters::new(arena.clone(), true);
        let states = forward(model, &mut parameters, batch, &options(dropout));
        let objective = states.hidden_states.mul(direction.clone()).sum();
        let gradients = parameters.gradients(&mut objective.backward());
        Ok((start.elapsed(), magnitude(&download(&gradients)?)))
    }))
}

fn custom<'a>(model: &'a Model, batch: &'a Batch, direction: &'a [f32]) -> Result<Step<'a>, Box<dyn Error>> {
    let tensors = custom::tensors(model)?;
    Ok(Box::new(move |seed| {
        // The encoder's own dropouts: sites 0 (embedding) to 3 (second residual) of a model of one layer.
        let of_site = |site: u64| match seed {
            Some(seed) => Dropout::new(0.1, seed.wrapping_add(site.wrapping_mul(0xD1B5_4A32_D192_ED03))),
            None => Dropout::NONE,
        };
        let result = in_pool(|| {
            let start = Instant::now();
            let gradients = custom::step(&tensors, batch, direction, [0, 1, 2, 3].map(of_site));
            let time = start.elapsed();
            (time, gradients.iter().map(|gradient| magnitude(gradient.storage())).sum())
        });
        Ok(result)
    }))
}
