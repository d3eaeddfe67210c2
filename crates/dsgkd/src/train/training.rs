//! The training loop: epochs of steps, validation, early stopping, checkpoints.

use super::checkpoint::{self, Arenas, ArenasMut};
use super::plan::Plan;
use super::schedule::Schedule;
use super::step::{Learn, StepLosses};
use crate::config::{Monitor, TrainConfig};
use crate::distill::Example;
use crate::error::{Error, Result};
use crate::eval::{Metric, Metrics, evaluate};
use crate::infer::Scorer;
use crate::random::SplitMix64;
use crate::run::folder::RunFolder;
use crate::run::history::History;
use crate::run::tensorboard::EventWriter;
use dsgkd_encoder::Model;
use dsgkd_ops::loss::softmax;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The notes of a training.
pub struct TrainingSet {
    /// Notes to learn from: the labelled ones, then those without labels.
    pub training: Vec<Example>,
    /// Labelled notes to watch; may be empty.
    pub validation: Vec<Example>,
    /// Share of positives among the labelled training notes.
    pub prevalence: f64,
}

/// One optimiser step, as it is logged.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StepLog {
    /// Steps done.
    pub step: u64,
    /// Of how many at most.
    pub steps: u64,
    /// The epoch it belongs to, from 1.
    pub epoch: u64,
    /// The losses, means over the step's batches.
    #[serde(flatten)]
    pub losses: StepLosses,
    /// Of the encoder.
    pub learning_rate: f64,
    /// Of the classifier and the projections.
    pub classifier_learning_rate: f64,
    /// Before clipping.
    pub grad_norm: f64,
}

/// One validation, as it is logged.
#[derive(Debug, Clone, Serialize)]
pub struct EpochLog {
    /// Steps done.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Measures on the validation notes.
    pub validation: Metrics,
}

/// Told of progress; says whether to stop.
pub trait TrainObserver {
    /// A step was done.
    fn step(&mut self, log: &StepLog);
    /// The validation notes were measured.
    fn epoch(&mut self, log: &EpochLog);
    /// Asked after each step: write a checkpoint and end?
    fn interrupted(&self) -> bool;
}

/// The best value of a measure so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The value.
    pub value: f64,
    /// The epoch it was reached in, from 1.
    pub epoch: u64,
    /// Validations since.
    pub since: usize,
}

/// Where a training stands; the rest (order, masks, learning rate) follows from the step.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Progress {
    step: u64,
    best: BTreeMap<Monitor, Best>,
    stopped_early: bool,
    /// Of the best by `metric_for_best_model`.
    #[serde(default)]
    validation: Option<Metrics>,
}

/// What a training did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrainSummary {
    /// Optimiser steps done.
    pub steps: u64,
    /// Epochs begun.
    pub epochs: u64,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
    /// The best value of each watched measure.
    pub best: BTreeMap<Monitor, Best>,
    /// Of the weights that were kept, on the validation notes; `None` without any.
    #[serde(default)]
    pub validation: Option<Metrics>,
}

/// Epochs may take less than writing the moments of a large model does.
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(60);

/// Keeps the numbers drawn for dropout apart from others.
const DROPOUT_STREAM: u64 = 2 << 32;

/// Trains until the epochs are done or every watched measure has given up, and leaves the best weights by
/// `metric_for_best_model` in the learner. With `resume`, goes on from the folder's latest checkpoint and ends with the
/// same bytes as if it had never stopped.
///
/// # Errors
/// [`Error::Interrupted`] after writing a checkpoint; a damaged checkpoint; a disk that is full; a loss that is no number.
pub fn train(
    learner: &mut dyn Learn,
    set: &TrainingSet,
    config: &TrainConfig,
    seed: u64,
    folder: &RunFolder,
    resume: bool,
    observer: &mut dyn TrainObserver,
) -> Result<TrainSummary> {
    let lengths = set.training.iter().map(|example| example.input_ids.len()).collect();
    let labelled = set.training.partition_point(|example| example.label.is_some());
    let plan = Plan::new(lengths, labelled, config, seed);
    let steps = plan.steps();
    let has_teacher = learner.has_teacher();
    let schedule = Schedule::new(steps, config.warmup_ratio.unwrap_or(if has_teacher { 0.25 } else { 0.15 }));
    let learning_rate = config.learning_rate.unwrap_or(if has_teacher { 1e-4 } else { 1e-5 });

    let mut progress = if resume { load_latest(learner, folder)? } else { Progress::default() };
    let mut history = History::open(&folder.history(), progress.step)?;
    let mut events = EventWriter::create(&folder.tensorboard())?;
    if progress.step > 0 {
        events.restart(progress.step)?;
    }
    let mut scorer = Scorer::default();
    let mut last_checkpoint = Instant::now();
    let (mut batches_of, mut epoch_batches) = (u64::MAX, vec![]);
    while progress.step < steps && !progress.stopped_early {
        let epoch = plan.epoch_of(progress.step);
        if batches_of != epoch {
            (batches_of, epoch_batches) = (epoch, plan.batches(epoch));
        }
        let batches = plan.of_step(&epoch_batches, progress.step);
        let mut losses = StepLosses::default();
        for (number, batch) in batches.iter().enumerate() {
            let examples: Vec<&Example> = batch.iter().map(|index| &set.training[*index]).collect();
            let place = progress.step * config.gradient_accumulation_steps as u64 + number as u64;
            let dropout_seed = SplitMix64::at(seed, DROPOUT_STREAM + place).next_u64();
            losses.add(learner.accumulate(&examples, batch, Some(dropout_seed))?, 1.0 / batches.len() as f64);
        }
        if !losses.total.is_finite() {
            return Err(Error::Model(format!(
                "the loss is no longer a number at step {}; lower the learning rate (the last checkpoint is sound)",
                progress.step + 1
            )));
        }
        let factor = schedule.factor(progress.step);
        let rates = (factor * learning_rate, factor * config.classifier_learning_rate);
        let grad_norm = learner.update(rates, batches.len())?;
        progress.step += 1;
        let log = StepLog {
            step: progress.step,
            steps,
            epoch: epoch + 1,
            losses,
            learning_rate: rates.0,
            classifier_learning_rate: rates.1,
            grad_norm,
        };
        write_step(&log, &mut history, &mut events)?;
        observer.step(&log);

        let epoch_ends = plan.ends_epoch(progress.step);
        if epoch_ends && !set.validation.is_empty() {
            let student = learner.student()?;
            let validation = measure(student, &mut scorer, &set.validation, set.prevalence)?;
            watch(&mut progress, &validation, epoch + 1, config, student, folder)?;
            let log = EpochLog { step: progress.step, epoch: epoch + 1, validation };
            history.write(&log)?;
            let values: Vec<(String, f64)> = log
                .validation
                .iter()
                .filter_map(|(name, value)| Some((format!("validation/{name}"), value?)))
                .collect();
            let values: Vec<(&str, f64)> = values.iter().map(|(name, value)| (name.as_str(), *value)).collect();
            events.scalars(progress.step, &values)?;
            observer.epoch(&log);
        }
        let interrupted = observer.interrupted();
        let periodic = config.save_steps > 0 && progress.step.is_multiple_of(config.save_steps as u64);
        let due = epoch_ends && (progress.step == steps || last_checkpoint.elapsed() >= BETWEEN_CHECKPOINTS);
        if due || periodic || interrupted {
            last_checkpoint = Instant::now();
            checkpoint::save(&folder.checkpoint(progress.step), &learner.arenas()?, &progress)?;
            folder.prune()?;
        }
        if interrupted && progress.step < steps {
            let message = format!("stopped after step {} of {steps}; go on with --resume", progress.step);
            return Err(Error::Interrupted(message));
        }
    }
    let best = folder.best(config.metric_for_best_model);
    if best.exists() && progress.best.contains_key(&config.metric_for_best_model) {
        checkpoint::load::<serde_json::Value>(&best, ArenasMut { moments: None, ..learner.arenas_mut() })?;
    } else {
        learner.student()?;
    }
    Ok(TrainSummary {
        steps: progress.step,
        epochs: progress.step.checked_sub(1).map_or(0, |last| plan.epoch_of(last) + 1),
        stopped_early: progress.stopped_early,
        best: progress.best,
        validation: progress.validation,
    })
}

impl StepLosses {
    fn add(&mut self, other: StepLosses, share: f64) {
        self.total += share * other.total;
        self.hidden += share * other.hidden;
        self.attention += share * other.attention;
        self.prediction += share * other.prediction;
    }
}

/// The latest checkpoint that can be read; a damaged one is passed over for the one before.
fn load_latest(learner: &mut dyn Learn, folder: &RunFolder) -> Result<Progress> {
    let mut failure = None;
    for step in folder.steps().into_iter().rev() {
        match checkpoint::load::<Progress>(&folder.checkpoint(step), learner.arenas_mut()) {
            Ok(progress) => {
                learner.go_on(progress.step);
                return Ok(progress);
            }
            Err(error) => failure = Some(error),
        }
    }
    // A run that was killed before its first checkpoint simply begins again.
    failure.map_or(Ok(Progress::default()), Err)
}

/// Measures of the student on labelled notes.
pub fn measure(student: &Model, scorer: &mut Scorer, examples: &[Example], prevalence: f64) -> Result<Metrics> {
    let notes: Vec<&[u32]> = examples.iter().map(|example| &example.input_ids[..]).collect();
    let probabilities = softmax(&scorer.logits(student, &notes)?, student.classes.len());
    let labels: Vec<usize> = examples.iter().filter_map(|example| Some(example.label? as usize)).collect();
    evaluate(&labels, &probabilities, student.classes.len(), prevalence)
}

/// Compares a validation with the best so far, keeps the weights of each new best, and decides whether to stop.
fn watch(
    progress: &mut Progress,
    validation: &Metrics,
    epoch: u64,
    config: &TrainConfig,
    student: &Model,
    folder: &RunFolder,
) -> Result<()> {
    let mut monitors = config.early_stopping.clone();
    if !monitors.contains(&config.metric_for_best_model) {
        monitors.push(config.metric_for_best_model);
    }
    for monitor in &monitors {
        let metric = Metric::of_monitor(*monitor, student.classes.len());
        let better = |new: f64, old: f64| if metric.higher_is_better() { new > old } else { new < old };
        let value = validation.get(metric);
        let best = progress.best.get(monitor).copied();
        match value {
            Some(value) if best.is_none_or(|best| better(value, best.value)) => {
                progress.best.insert(*monitor, Best { value, epoch, since: 0 });
                if *monitor == config.metric_for_best_model {
                    progress.validation = Some(validation.clone());
                }
                let arenas = Arenas { layout: student.layout(), parameters: &student.values, moments: None };
                checkpoint::save(&folder.best(*monitor), &arenas, &serde_json::json!({"epoch": epoch}))?;
            }
            // An undefined value is no better one.
            _ => {
                if let Some(best) = progress.best.get_mut(monitor) {
                    best.since += 1;
                }
            }
        }
    }
    let patience = config.early_stopping_patience;
    let given_up = |monitor: &Monitor| progress.best.get(monitor).is_some_and(|best| best.since >= patience);
    progress.stopped_early =
        patience > 0 && !config.early_stopping.is_empty() && config.early_stopping.iter().all(given_up);
    Ok(())
}

fn write_step(log: &StepLog, history: &mut History, events: &mut EventWriter) -> Result<()> {
    history.write(log)?;
    let values = [
        ("train/loss", log.losses.total),
        ("train/hidden", log.losses.hidden),
        ("train/attention", log.losses.attention),
        ("train/prediction", log.losses.prediction),
        ("train/learning_rate", log.learning_rate),
        ("train/grad_norm", log.grad_norm),
    ];
    events.scalars(log.step, &values)
}
