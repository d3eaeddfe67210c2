//! `[student]`, `[adapt]`, `[[teachers]]` and `[distill]`.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[student]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// A Hugging Face model folder (a hub id with the `hub` feature).
    pub model: PathBuf,
    /// Classification head: `family` (what `AutoModelForSequenceClassification` has), `reference` (the published one), or `mean`
    /// (linear, on the mean of a note's hidden states). Absent: `mean` after teachers that are heard before the labels, else `family`, or by preset.
    ///
    /// Differs from the paper: its head reads the first token, of which hearing asks nothing.
    pub head: Option<HeadKind>,
    /// Begin the head `mean` as the logistic regression of the labels on the encoder's states (linear probing, then fine-tuning: arXiv
    /// 2202.10054) instead of at random. Absent: after teachers that are heard before the labels.
    pub linear_probing: Option<bool>,
    /// Dropout of hidden states; absent: the model's own.
    pub hidden_dropout_prob: Option<f64>,
    /// Dropout of attention probabilities; absent: the model's own.
    pub attention_probs_dropout_prob: Option<f64>,
    /// Dropout before the classifier; absent: the model's own.
    pub classifier_dropout: Option<f64>,
}

/// `[adapt]`: the student is trained as a masked language model on the training notes and those without labels, never on validation or
/// test notes (task-adaptive pretraining, arXiv 2004.10964); the classification starts from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptConfig {
    /// Passes over the notes; 0: none of this.
    pub num_train_epochs: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Tokens of a batch at most.
    pub batch_tokens: usize,
    /// Hide all tokens of a word together.
    pub whole_word_masking: bool,
}

impl Default for AdaptConfig {
    fn default() -> Self {
        AdaptConfig { num_train_epochs: 0, learning_rate: 1e-4, batch_tokens: 1024, whole_word_masking: false }
    }
}

/// Classification heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The family's own, as `AutoModelForSequenceClassification` builds it.
    Family,
    /// Pooled output, dropout, dense, GELU, dropout, linear.
    Reference,
    /// Dropout and a linear layer on the mean of all of a note's hidden states.
    Mean,
}

/// `[[teachers]]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TeacherConfig {
    /// A Hugging Face model folder (a hub id with the `hub` feature).
    pub model: PathBuf,
    /// Weight of this teacher in the mean of the teachers' losses.
    pub weight: f64,
    /// Which student layer each teacher layer teaches: `uniform`, `last-k`, or a list of `[teacher, student]` pairs; layer 0 is
    /// the embedding output.
    pub layer_map: LayerMap,
    /// How heads are paired: `same` (head by head), `mean` (averaged on both sides), or a list of `[teacher, student]` pairs,
    /// from 0. Absent: `same` where the numbers of heads agree, else `mean`.
    pub head_map: Option<HeadMap>,
}

impl Default for TeacherConfig {
    fn default() -> Self {
        TeacherConfig { model: PathBuf::new(), weight: 1.0, layer_map: LayerMap::default(), head_map: None }
    }
}

/// Which student layer each teacher layer teaches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LayerMap {
    /// `uniform` or `last-k`.
    Named(LayerMapName),
    /// `[teacher, student]` pairs of layers, 0 = embedding output.
    Pairs(Vec<[usize; 2]>),
}

impl Default for LayerMap {
    fn default() -> Self {
        LayerMap::Named(LayerMapName::Uniform)
    }
}

/// Layer maps by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LayerMapName {
    /// Layers spread evenly over the deeper model; the embedding outputs are paired.
    #[default]
    Uniform,
    /// The last layers of the deeper model, one by one.
    LastK,
}

/// How attention heads are paired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HeadMap {
    /// `same` or `mean`.
    Named(HeadMapName),
    /// `[teacher, student]` pairs of heads, from 0.
    Pairs(Vec<[usize; 2]>),
}

/// Head maps by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadMapName {
    /// Head by head; the numbers of heads must agree.
    Same,
    /// The mean over heads of either model.
    Mean,
}

/// `[distill]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillConfig {
    /// Whether the teachers are heard before the labels are learned, or with them, as published.
    pub when: DistillWhen,
    /// Of `before-labels`: passes over all notes, labelled or not, in which the teachers are heard.
    pub num_train_epochs: usize,
    /// Of `before-labels`: peak learning rate while the teachers are heard; absent: `train.learning_rate`.
    pub learning_rate: Option<f64>,
    /// Weight of the hidden-state loss.
    pub alpha: f64,
    /// Weight of the attention loss.
    pub beta: f64,
    /// Compare attention rows over aligned words, or column by column as published.
    pub attention: AttentionRows,
    /// Take the student's rows after attention dropout, as the original's library returns them in training.
    pub attention_after_dropout: bool,
    /// Where the student's hidden states are compared through a learned linear map.
    pub projection: Projection,
    /// A control, not a method: each term meets what the teacher said of another word of its note. What distillation brings beyond
    /// this is what the alignment brings.
    pub shuffle_terms: bool,
    /// A control, not a method: each note is one term, so that what the teacher says of the whole is matched and no word is aligned.
    pub whole_notes: bool,
    /// Where what the frozen teacher says of a note is kept, instead of running it again every epoch.
    pub teacher_cache: TeacherCacheStore,
    /// How it is kept.
    pub teacher_cache_dtype: TeacherCacheDtype,
    /// Bytes the caches of all teachers may take together, in MiB; notes beyond it are run again.
    pub teacher_cache_mib: usize,
}

impl Default for DistillConfig {
    fn default() -> Self {
        DistillConfig {
            when: DistillWhen::BeforeLabels,
            num_train_epochs: 20,
            learning_rate: None,
            alpha: 0.6,
            beta: 0.2,
            attention: AttentionRows::Aligned,
            attention_after_dropout: false,
            projection: Projection::Always,
            shuffle_terms: false,
            whole_notes: false,
            teacher_cache: TeacherCacheStore::Memory,
            teacher_cache_dtype: TeacherCacheDtype::Float32,
            teacher_cache_mib: 2048,
        }
    }
}

/// Where the student's hidden states are mapped to a teacher's by a learned matrix before they are compared.
///
/// Differs from the paper: published is to compare number by number, which needs equal widths, and costs a student that was pretrained apart from its
/// teacher (docs/results.md).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// For every teacher: encoders that were pretrained apart have no axis in common, even where they have as many.
    #[default]
    Always,
    /// Where the teacher is of another width; else number by number, as published.
    WhereWidthsDiffer,
}

/// When the teachers are heard.
///
/// Differs from the paper: published is [`DistillWhen::WithLabels`] alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DistillWhen {
    /// First a training by the distillation losses alone, on all notes; then one by the labels alone.
    #[default]
    BeforeLabels,
    /// One training by the sum of all losses, as published.
    WithLabels,
}

/// Where a teacher's features are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherCacheStore {
    /// Nowhere: the teacher runs again every epoch.
    None,
    /// In memory.
    Memory,
    /// In the run folder while the run lasts; a resumed run finds them there.
    File,
}

/// How a teacher's features are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherCacheDtype {
    /// As they are.
    #[default]
    Float32,
    /// Rounded, in half the room.
    Float16,
}

impl TeacherCacheDtype {
    /// Bytes of a number.
    pub(crate) fn bytes(self) -> usize {
        match self {
            TeacherCacheDtype::Float32 => 4,
            TeacherCacheDtype::Float16 => 2,
        }
    }
}

/// What the columns of an attention row are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionRows {
    /// Mass summed over the tokens of each aligned word, renormalised: the same words in both models.
    #[default]
    Aligned,
    /// Token positions 0..max_length of either model, as published.
    Positional,
}
