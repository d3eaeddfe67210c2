//! The keys of an experiment file, section by section.

mod data;
mod models;
mod train;

pub use data::*;
pub use models::*;
pub use train::*;

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A whole experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `default`, or `reference`: exactly what the original implementation of DSG-KD computes. A preset
    /// sets defaults; any key written in the file wins over it.
    pub preset: Preset,
    /// The run folder.
    pub output_dir: PathBuf,
    /// Threads to compute with; 0 means all cores.
    pub threads: usize,
    /// Seed of splits, initial heads, order of notes and dropout.
    pub seed: u64,
    /// Folder where students that were prepared before they saw a label (`[adapt]`, `distill.when = "before-labels"`) stay, each by the hash of
    /// what it is made of, for other runs to take; empty: a run's own is removed when the run is done.
    pub cache_dir: PathBuf,
    /// What is run instead of an encoder: the floor that one must beat.
    pub baseline: Baseline,
    /// Where the notes and labels are.
    pub data: DataConfig,
    /// Tokens and terms.
    pub text: TextConfig,
    /// The model that is trained.
    pub student: StudentConfig,
    /// Masked-language-model training of the student on the training notes, before it sees their labels.
    pub adapt: AdaptConfig,
    /// The frozen domain models; none means plain fine-tuning.
    pub teachers: Vec<TeacherConfig>,
    /// The distillation losses.
    pub distill: DistillConfig,
    /// The training itself.
    pub train: TrainConfig,
    /// What is measured after training.
    pub evaluation: EvaluationConfig,
}

/// Classifiers without an encoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Baseline {
    /// The student is trained.
    #[default]
    None,
    /// TF-IDF of character sequences and logistic regression ([`crate::baseline`]).
    TfIdf,
}

/// Named sets of defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// The repaired method.
    #[default]
    Default,
    /// The published computation.
    Reference,
}
