//! The keys of an experiment file, section by section.

use dsgkd_ops::Precision;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
    /// Where the notes and labels are.
    pub data: DataConfig,
    /// Tokens and terms.
    pub text: TextConfig,
    /// The model that is trained.
    pub student: StudentConfig,
    /// The frozen domain models; none means plain fine-tuning.
    pub teachers: Vec<TeacherConfig>,
    /// The distillation losses.
    pub distill: DistillConfig,
    /// The training itself.
    pub train: TrainConfig,
    /// What is measured after training.
    pub evaluation: EvaluationConfig,
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

/// `[data]`: files, columns, the note's template, splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Training files (CSV, TSV, JSONL, Parquet or XLSX; `.gz` of the text formats too).
    pub train: Vec<PathBuf>,
    /// Validation files; empty: split off the training notes by `[data.split]`.
    pub validation: Vec<PathBuf>,
    /// Test files; empty: split off the training notes by `[data.split]`.
    pub test: Vec<PathBuf>,
    /// Notes without labels that only distil; the same columns as `train`, without the label.
    pub unlabeled: Vec<PathBuf>,
    /// `csv`, `tsv`, `jsonl`, `parquet` or `xlsx`; empty: by the file's extension.
    pub format: String,
    /// Any name that the WHATWG encoding standard knows (`utf-8`, `euc-kr`, `latin1`, `utf-16le`); CP949 is `euc-kr` there.
    /// Empty: UTF-8, or what the byte-order mark says.
    pub encoding: String,
    /// One character; empty: by extension (`,` for csv, tab for tsv).
    pub separator: String,
    /// Sheet of an XLSX file; empty: the first.
    pub sheet: String,
    /// Column with the note's text. Exactly one of `text` and `template` is given.
    pub text: String,
    /// A note made of columns: `{Age}세 {Sex} 환자[ BT {BT}]`; the part in `[ ]` is left out when a column in it is missing.
    /// `\{`, `\}`, `\[`, `\]` and `\\` stand for themselves.
    pub template: String,
    /// Column with the label.
    pub label: String,
    /// Class names in order; the second of two is the positive class. Empty: the sorted values found in the training file.
    pub labels: Vec<String>,
    /// Cell value -> class name, for labels that must be merged or renamed.
    pub label_map: BTreeMap<String, String>,
    /// Column whose equal values must stay on one side of a split (patient id).
    pub group: String,
    /// Column that names a note in outputs and errors; empty: the row number.
    pub id: String,
    /// Cell values that mean "missing", beside the empty cell.
    pub missing: Vec<String>,
    /// Column -> (cell value -> words) used by the template.
    pub values: BTreeMap<String, BTreeMap<String, String>>,
    /// Go on past bad rows and count them, instead of stopping at the first.
    pub skip_bad_rows: bool,
    /// What to do with equal notes on both sides of a split: `error` (the default), `same-side` (equal notes are kept
    /// together, as a group is), or `allow`.
    pub duplicates: DuplicatePolicy,
    /// How validation and test notes are split off.
    pub split: SplitConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            train: vec![],
            validation: vec![],
            test: vec![],
            unlabeled: vec![],
            format: String::new(),
            encoding: String::new(),
            separator: String::new(),
            sheet: String::new(),
            text: String::new(),
            template: String::new(),
            label: String::new(),
            labels: vec![],
            label_map: BTreeMap::new(),
            group: String::new(),
            id: String::new(),
            missing: vec![],
            values: BTreeMap::new(),
            skip_bad_rows: false,
            duplicates: DuplicatePolicy::Error,
            split: SplitConfig::default(),
        }
    }
}

/// What equal notes on both sides of a split mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicatePolicy {
    /// Stop, and count them.
    #[default]
    Error,
    /// Keep equal notes on one side when splitting here.
    SameSide,
    /// Take them as they are; they are counted all the same.
    Allow,
}

/// `[data.split]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Keep each class's share in every part.
    pub stratified: bool,
    /// Share of notes held out for the test, 0..1; ignored with `folds`.
    pub test_fraction: f64,
    /// Share of the remaining notes held out for validation, 0..1.
    pub validation_fraction: f64,
    /// Number of cross-validation folds; 0: no cross-validation.
    pub folds: usize,
    /// Which fold is the test part, from 0.
    pub fold: usize,
    /// Train on the labels of so many of the training notes, each class with its share; 0: of all. A larger budget holds the notes of a
    /// smaller one.
    pub label_budget: usize,
    /// Keep the training notes beyond the budget, without their labels, to distil alone.
    pub rest_unlabeled: bool,
    /// Seed of the split alone; absent: the experiment's `seed`. Keep it fixed to compare seeds on the same folds.
    pub seed: Option<u64>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig {
            stratified: true,
            test_fraction: 0.2,
            validation_fraction: 0.1,
            folds: 0,
            fold: 0,
            label_budget: 0,
            rest_unlabeled: false,
            seed: None,
        }
    }
}

/// `[text]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Tokens per note, special tokens included, in every model; also the width of positional attention rows.
    pub max_length: usize,
    /// Which end of a long note is kept.
    pub truncation: Truncation,
    /// Rule that finds the terms.
    pub terms: TermRule,
    /// Terms per note at most, in order.
    pub max_terms: usize,
    /// `script` rule: Unicode script names whose runs are terms.
    pub term_scripts: Vec<String>,
    /// `script` rule: shortest term, in characters.
    pub min_term_length: usize,
    /// `dictionary` rule: a file with one term a line, matched without case.
    pub dictionary: PathBuf,
    /// `regex` rule: every match (or its first group) is a term.
    pub pattern: String,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            max_length: 128,
            truncation: Truncation::Head,
            terms: TermRule::Script,
            max_terms: 32,
            term_scripts: vec!["Latin".into()],
            min_term_length: 2,
            dictionary: PathBuf::new(),
            pattern: String::new(),
        }
    }
}

/// Which end of a long note is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// The beginning.
    #[default]
    Head,
    /// The end.
    Tail,
    /// Half of each.
    Both,
}

/// Rule that finds the terms of a note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TermRule {
    /// Runs of letters of `term_scripts`, wherever they stand (`fever가`, `BT38.5C`, `N/V/D`).
    #[default]
    Script,
    /// DSG-KD's own: words between spaces made of ASCII letters only.
    Reference,
    /// Words and phrases of a user's file.
    Dictionary,
    /// Matches of a user's pattern.
    Regex,
}

/// `[student]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentConfig {
    /// A Hugging Face model folder (a hub id with the `hub` feature).
    pub model: PathBuf,
    /// Classification head: `family` (what `AutoModelForSequenceClassification` has) or `reference` (the published one).
    /// Absent: by preset.
    pub head: Option<HeadKind>,
    /// Dropout of hidden states; absent: the model's own.
    pub hidden_dropout_prob: Option<f64>,
    /// Dropout of attention probabilities; absent: the model's own.
    pub attention_probs_dropout_prob: Option<f64>,
    /// Dropout before the classifier; absent: the model's own.
    pub classifier_dropout: Option<f64>,
}

/// Classification heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// The family's own, as `AutoModelForSequenceClassification` builds it.
    Family,
    /// Pooled output, dropout, dense, GELU, dropout, linear.
    Reference,
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
    /// Weight of the hidden-state loss.
    pub alpha: f64,
    /// Weight of the attention loss.
    pub beta: f64,
    /// Compare attention rows over aligned words, or column by column as published.
    pub attention: AttentionRows,
    /// Take the student's rows after attention dropout, as the original's library returns them in training.
    pub attention_after_dropout: bool,
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
            alpha: 0.6,
            beta: 0.2,
            attention: AttentionRows::Aligned,
            attention_after_dropout: false,
            teacher_cache: TeacherCacheStore::Memory,
            teacher_cache_dtype: TeacherCacheDtype::Float32,
            teacher_cache_mib: 2048,
        }
    }
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

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// What the student's products are computed in.
    pub dtype: Dtype,
    /// Passes over the training notes.
    pub num_train_epochs: usize,
    /// Notes per batch.
    #[serde(alias = "per_device_train_batch_size")]
    pub batch_size: usize,
    /// Tokens per batch at most (a longer note is a batch of its own); 0: any number.
    pub max_tokens_per_batch: usize,
    /// Keep each layer's input alone for the backward pass and compute the rest again.
    pub gradient_checkpointing: bool,
    /// Batches per optimiser step.
    pub gradient_accumulation_steps: usize,
    /// Peak learning rate of the encoder. Absent: 1e-4 with a teacher, 1e-5 without (as published).
    pub learning_rate: Option<f64>,
    /// Peak learning rate of the classifier and the projections.
    pub classifier_learning_rate: f64,
    /// AdamW's decoupled weight decay, on every parameter.
    pub weight_decay: f64,
    /// AdamW's first decay.
    pub adam_beta1: f64,
    /// AdamW's second decay.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// Share of all steps in which the learning rate rises linearly. Absent: 0.25 with a teacher, 0.15 without (as published).
    pub warmup_ratio: Option<f64>,
    /// The gradient's norm is cut to this; 0: never.
    pub max_grad_norm: f64,
    /// Take the notes in a new order each epoch.
    pub shuffle: bool,
    /// `none`, `balanced`, or one weight a class.
    pub class_weights: ClassWeights,
    /// Measures that early stopping watches on the validation notes; each keeps its own best checkpoint.
    pub early_stopping: Vec<Monitor>,
    /// Evaluations without a better value before a measure gives up; training stops when all have. 0: never.
    pub early_stopping_patience: usize,
    /// The measure whose best checkpoint becomes the run's model.
    pub metric_for_best_model: Monitor,
    /// Steps between checkpoints to resume from, beside the one at each epoch's end; 0: only those.
    pub save_steps: usize,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            dtype: Dtype::Float32,
            num_train_epochs: 10,
            batch_size: 16,
            max_tokens_per_batch: 0,
            gradient_checkpointing: false,
            gradient_accumulation_steps: 1,
            learning_rate: None,
            classifier_learning_rate: 1e-3,
            weight_decay: 0.01,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            warmup_ratio: None,
            max_grad_norm: 1.0,
            shuffle: true,
            class_weights: ClassWeights::default(),
            early_stopping: vec![Monitor::F1, Monitor::Brier, Monitor::Loss],
            early_stopping_patience: 5,
            metric_for_best_model: Monitor::Loss,
            save_steps: 0,
        }
    }
}

/// What the products of a model in training are computed in. Weights, gradients, moments and sums are `float32` always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// As they are.
    #[default]
    Float32,
    /// Factors rounded to 8 bits of mantissa, where the processor has AVX-512; `float32` elsewhere.
    Bfloat16,
}

impl Dtype {
    /// As the operations take it.
    pub fn precision(self) -> Precision {
        match self {
            Dtype::Float32 => Precision::Float32,
            Dtype::Bfloat16 => Precision::Bfloat16,
        }
    }

    /// What this processor makes of it.
    pub fn available(self) -> Dtype {
        match self.precision().available() {
            Precision::Float32 => Dtype::Float32,
            Precision::Bfloat16 => Dtype::Bfloat16,
        }
    }
}

/// Weights of the classes in the cross-entropy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeights {
    /// `none` or `balanced`.
    Named(ClassWeightsName),
    /// One weight a class, in the order of the labels.
    Values(Vec<f64>),
}

impl Default for ClassWeights {
    fn default() -> Self {
        ClassWeights::Named(ClassWeightsName::None)
    }
}

/// Class weights by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeightsName {
    /// All 1.
    None,
    /// `notes / (classes * notes of the class)`.
    Balanced,
}

/// Measures that early stopping can watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Monitor {
    /// F1 of the positive class at the training prevalence (macro F1 with more than two classes); higher is better.
    F1,
    /// Brier score; lower is better.
    Brier,
    /// Cross-entropy of the logits; lower is better.
    Loss,
    /// Area under the ROC curve; higher is better.
    Auroc,
}

/// `[evaluation]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Bootstrap samples of the 95 % intervals and paired tests.
    pub bootstrap_samples: usize,
    /// Also report the reference's ten subsamples of 75 % as mean ± sd.
    pub reference_subsamples: bool,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        EvaluationConfig { bootstrap_samples: 2000, reference_subsamples: false }
    }
}
