//! What a run leaves: figures, predictions, and the model folder.

use crate::config::{Config, DataConfig, Truncation};
use crate::data::Notes;
use crate::error::{Error, Result};
use crate::eval::temperature::rescaled;
use crate::eval::{
    BootstrapOptions, Intervals, Metrics, Predictions, Subsamples, bootstrap, measure, reference_subsamples,
};
use crate::run::atomic::write_folder;
use crate::run::folder::{RunFolder, write_json};
use crate::text::{Tokenizer, set_truncation};
use crate::train::training::TrainSummary;
use dsgkd_encoder::Model;
use dsgkd_encoder::weights::WeightFormat;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `metrics.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunMetrics {
    /// Notes tested on.
    pub notes: usize,
    /// Class names in order.
    pub classes: Vec<String>,
    /// The measures.
    pub metrics: Metrics,
    /// Their bootstrap intervals.
    pub intervals: Intervals,
    /// The reference's subsamples, when asked for.
    pub subsamples: Option<Subsamples>,
}

/// What `training.json` holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// What was done.
    #[serde(flatten)]
    pub train: TrainSummary,
    /// From the first step to the last, teachers and validation included; what prepared the student (`[adapt]`, distillation before the labels)
    /// counts, be it the work of another run. `None` of a run that was cut off and resumed.
    pub seconds: Option<f64>,
    /// Threads that computed.
    pub threads: usize,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// The training.
    pub train: TrainSummary,
    /// On the test notes; `None` without any.
    pub test: Option<RunMetrics>,
}

/// What the model folder's `dsgkd.json` holds: all that a prediction needs beside the model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PredictionSettings {
    /// How a record becomes a note.
    pub data: DataConfig,
    /// Tokens of a note at most.
    pub max_length: usize,
    /// Which end of a long note is kept.
    pub truncation: Truncation,
    /// Share of positives among the training notes: the threshold of the label, unless one was chosen.
    pub prevalence: Option<f64>,
    /// The threshold that `dsgkd calibrate` chose, of the probability after the temperature.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// What the logits are divided by, once `dsgkd calibrate` has fitted it.
    #[serde(default)]
    pub temperature: Option<f64>,
}

impl PredictionSettings {
    /// The probability, of those that `predict` writes, at and above which a note is positive; `None`: of more than two classes the most probable is predicted.
    pub fn written_threshold(&self) -> Option<f64> {
        let written = |prevalence| self.temperature.map_or(prevalence, |temperature| rescaled(prevalence, temperature));
        self.threshold.or_else(|| self.prevalence.map(written))
    }
}

/// Name of [`PredictionSettings`] in a model folder.
pub const SETTINGS_FILE: &str = "dsgkd.json";

/// Name of the model card in a model folder.
pub(crate) const CARD_FILE: &str = "README.md";

/// Writes the test notes' predictions, `[test notes, classes]`, and what they measure.
pub(super) fn write_test(
    config: &Config,
    folder: &RunFolder,
    notes: &Notes,
    test: &[usize],
    prevalence: f64,
    probabilities: Vec<f64>,
) -> Result<RunMetrics> {
    let group = |index: &usize| notes.notes[*index].group.clone().unwrap_or_default();
    let predictions = Predictions {
        ids: test.iter().map(|index| notes.notes[*index].id.clone()).collect(),
        groups: if config.data.group.is_empty() { vec![] } else { test.iter().map(group).collect() },
        labels: test.iter().filter_map(|index| notes.notes[*index].label).collect(),
        probabilities,
        classes: notes.labels.clone(),
        training_prevalence: (notes.labels.len() == 2).then_some(prevalence),
    };
    write_json(&folder.predictions(), &predictions)?;
    let metrics = evaluate_predictions(&[vec![predictions]], config)?;
    write_json(&folder.metrics(), &metrics)?;
    Ok(metrics)
}

/// Measures and intervals of an arm: its seeds, each the predictions of its folds. The draw is the same whatever the training's seed, so that `evaluate` says of a
/// run what its training said.
pub fn evaluate_predictions(seeds: &[Vec<Predictions>], config: &Config) -> Result<RunMetrics> {
    let options = BootstrapOptions { samples: config.evaluation.bootstrap_samples, ..BootstrapOptions::default() };
    let intervals = bootstrap(seeds, options)?;
    let subsamples =
        config.evaluation.reference_subsamples.then(|| reference_subsamples(seeds, options.seed)).transpose()?;
    let classes = seeds.iter().flatten().next().map_or(vec![], |run| run.classes.clone());
    Ok(RunMetrics { notes: intervals.notes, classes, metrics: measure(seeds)?, intervals, subsamples })
}

/// Writes the Hugging Face folder that `predict` and `transformers` open.
pub(super) fn export(
    student: &Model,
    tokenizer: &Tokenizer,
    settings: &PredictionSettings,
    card: &str,
    folder: &Path,
) -> Result<()> {
    write_folder(folder, |to| {
        student.save(to, WeightFormat::F32)?;
        tokenizer.copy_files(to)?;
        set_truncation(to, settings.max_length, settings.truncation)?;
        let text = |name: &str, text: String| {
            let path = to.join(name);
            std::fs::write(&path, text).map_err(Error::io(&path, "write"))
        };
        let json = serde_json::to_string_pretty(settings).map_err(|error| Error::Config(error.to_string()))?;
        text(SETTINGS_FILE, json + "\n")?;
        text(CARD_FILE, card.to_string())
    })
}
