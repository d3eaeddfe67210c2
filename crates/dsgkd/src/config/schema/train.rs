//! `[train]` and `[evaluation]`.

use dsgkd_ops::Precision;
use serde::{Deserialize, Serialize};

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Where the student is trained.
    pub device: Device,
    /// What the student's products are computed in.
    pub dtype: Dtype,
    /// Passes over the training notes.
    pub num_train_epochs: usize,
    /// Notes per batch.
    #[serde(alias = "per_device_train_batch_size")]
    pub batch_size: usize,
    /// Notes without labels beside them in each batch, taken in turn; `None`: as many as `batch_size`.
    pub unlabeled_batch_size: Option<usize>,
    /// Tokens per batch at most (a longer note is a batch of its own), and as many again of notes without labels; 0: any number.
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
            device: Device::Cpu,
            dtype: Dtype::Float32,
            num_train_epochs: 10,
            batch_size: 16,
            unlabeled_batch_size: None,
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

/// Where a student is trained; teachers, masked-language-model training and scoring stay on the CPU.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// Every core, by the engine of `dsgkd-encoder`.
    #[default]
    Cpu,
    /// The first CUDA device, in a build with the feature `cuda`.
    Cuda,
    /// The first Vulkan device, in a build with the feature `vulkan`.
    Vulkan,
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
