//! The optimiser steps of a pretraining, and what the held-out documents say of them.

use super::held_out::{MASK_STREAM, held_out};
use super::masking::{Hiding, masked_batch};
use super::texts::{Texts, batches};
use super::{HeldOut, PretrainLog, PretrainObserver, PretrainSummary};
use crate::config::PretrainConfig;
use crate::error::{Error, Result};
use crate::infer::check_finite;
use crate::random::SplitMix64;
use crate::run::history::History;
use crate::train::checkpoint::{self, Arenas, ArenasMut};
use crate::train::schedule::Schedule;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::{Activations, ForwardOptions, Model, PooledGradients};
use dsgkd_ops::adamw::{self, AdamW, TouchedRows};
use dsgkd_ops::in_pool;
use dsgkd_ops::loss::cross_entropy;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Progress as a checkpoint holds it; masks and order follow from the step.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Progress {
    step: u64,
    tokens: u64,
    held_out_before: HeldOut,
}

const LOG_EVERY: u64 = 20;
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Removes the checkpoint of a pretraining that is done and will not be gone on with: its moments are twice the model's size.
pub(crate) fn remove_checkpoint(output_dir: &Path) -> Result<()> {
    let path = output_dir.join(CHECKPOINT);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "write")(error)),
        _ => Ok(()),
    }
}

/// Trains `model` on `texts`, from the folder's checkpoint when resuming.
pub(super) fn run(
    config: &PretrainConfig,
    model: &mut Model,
    texts: &Texts,
    hiding: &Hiding,
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<PretrainSummary> {
    let train = &config.train;
    let per_epoch = batches(&texts.training, train.batch_tokens, config.seed, 0).len() as u64;
    let mut steps = (per_epoch as f64 * train.num_train_epochs).ceil() as u64;
    if train.max_steps > 0 {
        steps = steps.min(train.max_steps);
    }
    let schedule = Schedule::new(steps, train.warmup_ratio);
    let len = model.values.len();
    let (mut gradients, mut exp_avg, mut exp_avg_sq) = (vec![0f32; len], vec![0f32; len], vec![0f32; len]);
    let path = config.output_dir.join(CHECKPOINT);
    let mut progress = if resume && path.exists() {
        let layout = &model.layout().clone();
        let moments = Some((&mut exp_avg[..], &mut exp_avg_sq[..]));
        checkpoint::load(&path, ArenasMut { layout, parameters: &mut model.values, moments })?
    } else {
        Progress { step: 0, tokens: 0, held_out_before: held_out(model, texts, hiding) }
    };
    let (mut act, mut head) = (Activations::default(), MlmActivations::default());
    let (mut epoch, mut order) = (u64::MAX, vec![]);
    let mut history = History::open(&config.output_dir.join("history.jsonl"), progress.step)?;
    let mut window = (0f64, 0u64);
    // Every word has a gradient: the head weighs it against the one that was hidden.
    let everything = TouchedRows::everything();
    while progress.step < steps {
        if epoch != progress.step / per_epoch {
            epoch = progress.step / per_epoch;
            order = batches(&texts.training, train.batch_tokens, config.seed, epoch);
        }
        // Epochs differ by a batch or so in number; one that falls short begins again.
        let chosen = &order[(progress.step % per_epoch) as usize % order.len()];
        let chosen: Vec<&[u32]> = chosen.iter().map(|text| &texts.training[*text][..]).collect();
        let mut random = SplitMix64::at(config.seed ^ MASK_STREAM, progress.step);
        let (batch, masked) = masked_batch(&chosen, hiding, &mut random);

        let dropout = Some(config.seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(progress.step));
        let wanted = masked.wanted();
        let options =
            ForwardOptions { dropout, for_backward: true, wanted: Some(&wanted), ..ForwardOptions::default() };
        let learning_rate = train.learning_rate * schedule.factor(progress.step);
        let step = progress.step + 1;
        let loss = in_pool(|| {
            model.forward(&batch, &options, &mut act);
            model.predict_masked(&masked.rows, &act, &mut head);
            let loss = cross_entropy(&mut head.logits, &masked.labels, model.architecture.vocab_size, &[]);
            model.clear_gradient(&batch, &mut act);
            model.predict_masked_backward(&masked.rows, &mut act, &mut head, &mut gradients);
            model.backward(&batch, &options, &PooledGradients::default(), &mut act, &mut gradients);

            let norm = adamw::sum_of_squares(&gradients, &everything).sqrt();
            let settings = AdamW {
                learning_rate,
                beta1: 0.9,
                beta2: 0.98,
                epsilon: 1e-6,
                weight_decay: train.weight_decay,
                gradient_scale: match train.max_grad_norm {
                    0.0 => 1.0,
                    most => (most / (norm + 1e-6)).min(1.0),
                },
                step,
            };
            adamw::step(settings, &everything, &mut model.values, &mut gradients, &mut exp_avg, &mut exp_avg_sq);
            loss
        });

        if !loss.is_finite() {
            return Err(Error::Model(format!(
                "the loss is no longer a number at step {step}; lower train.learning_rate"
            )));
        }
        progress.step += 1;
        progress.tokens += batch.tokens() as u64;
        window = (window.0 + loss, window.1 + 1);
        let measure = progress.step.is_multiple_of(train.eval_steps.max(1)) || progress.step == steps;
        if progress.step.is_multiple_of(LOG_EVERY) || measure {
            let held_out = measure.then(|| held_out(model, texts, hiding));
            let log = PretrainLog {
                step: progress.step,
                steps,
                tokens: progress.tokens,
                loss: window.0 / window.1 as f64,
                held_out,
            };
            window = (0.0, 0);
            history.write(&log)?;
            observer.step(&log);
        }
        let interrupted = observer.interrupted();
        if progress.step.is_multiple_of(train.save_steps.max(1)) || progress.step == steps || interrupted {
            check_finite(&model.values)?; // the update came after the loss
            let moments = Some((&exp_avg[..], &exp_avg_sq[..]));
            let arenas = Arenas { layout: model.layout(), parameters: &model.values, moments };
            checkpoint::save(&path, &arenas, &progress)?;
        }
        if interrupted {
            let message = format!("stopped after step {} of {steps}; --resume goes on from there", progress.step);
            return Err(Error::Interrupted(message));
        }
    }
    Ok(PretrainSummary {
        documents: texts.counts.documents,
        repeated_documents: texts.counts.repeated,
        held_out_documents: texts.counts.held_out,
        bad_rows: texts.counts.bad_rows,
        parameters: len,
        tokens: progress.tokens,
        steps,
        held_out_before: progress.held_out_before,
        held_out: held_out(model, texts, hiding),
        pseudo_perplexity: None,
    })
}
