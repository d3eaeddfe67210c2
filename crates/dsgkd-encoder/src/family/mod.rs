//! What differs between the families of encoders: names of config keys and tensors, and the shape of the heads.
//!
//! The computation itself ([`crate::encoder`]) is the same for all of them: embeddings, then post-norm layers.

mod bert;
mod distilbert;
mod electra;
mod roberta;

use crate::architecture::{Architecture, ConfigReader};
use crate::error::{Error, Result};
use dsgkd_ops::activation::Activation;

/// One family of encoders.
pub trait Family: Send + Sync {
    /// Values of `model_type` in `config.json`.
    fn model_types(&self) -> &'static [&'static str];
    /// Sizes and settings from `config.json`.
    fn architecture(&self, config: &ConfigReader) -> Result<Architecture>;
    /// Name of the encoder inside a model with a head: `bert` in `bert.embeddings...`.
    fn prefix(&self) -> &'static str;
    /// Name of a layer's part, without prefix and without `.weight` or `.bias`.
    fn layer_name(&self, layer: usize, part: LayerPart) -> String;
    /// The dense layer from embedding to hidden width where these differ.
    fn embedding_projection(&self) -> Option<&'static str> {
        None
    }
    /// The head that `AutoModelForSequenceClassification` builds on the first token's last hidden state.
    fn classifier(&self) -> ClassifierDesign;
    /// The head that `AutoModelForMaskedLM` builds.
    fn mlm(&self) -> MlmDesign;
    /// What the names of its classes in `transformers` begin with.
    fn python_name(&self) -> &'static str;
    /// Whether Python's encoder can be built without its pooler.
    fn takes_add_pooling_layer(&self) -> bool {
        false
    }
    /// The config keys of hidden, attention and classifier dropout.
    fn dropout_keys(&self) -> [&'static str; 3] {
        ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
    }
}

/// Parts of a layer that have a weight and a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerPart {
    /// Query projection.
    Query,
    /// Key projection.
    Key,
    /// Value projection.
    Value,
    /// Projection of the attention's context.
    AttentionOutput,
    /// LayerNorm after the attention.
    AttentionNorm,
    /// First dense layer of the feed-forward part.
    Intermediate,
    /// Second dense layer of the feed-forward part.
    Output,
    /// LayerNorm after the feed-forward part.
    OutputNorm,
}

/// A dense layer of a classification head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenseDesign {
    /// Full tensor name, without `.weight` or `.bias`.
    pub name: String,
    /// Applied to its output.
    pub activation: Activation,
    /// Whether dropout comes before it.
    pub dropout: bool,
}

/// A classification head: dense layers, then dropout and a linear layer to the logits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassifierDesign {
    /// Hidden-size dense layers, in order.
    pub dense: Vec<DenseDesign>,
    /// The last layer's full name.
    pub output: String,
}

/// A masked-language-model head: dense, activation, LayerNorm, then the word embeddings as the last layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlmDesign {
    /// Dense layer from hidden to embedding width.
    pub dense: &'static str,
    /// Its activation; `None`: the encoder's own.
    pub activation: Option<Activation>,
    /// LayerNorm.
    pub norm: &'static str,
    /// Bias of the last layer.
    pub bias: &'static str,
    /// Other names of the tied tensors, which a folder may hold a copy of.
    pub tied: &'static [&'static str],
}

const FAMILIES: [&dyn Family; 4] = [&bert::Bert, &roberta::Roberta, &distilbert::DistilBert, &electra::Electra];

/// The family that a `config.json` names.
pub fn of_config(config: &ConfigReader) -> Result<&'static dyn Family> {
    let model_type = config.text_or("model_type", "")?;
    let known = || FAMILIES.iter().flat_map(|family| family.model_types()).copied().collect::<Vec<_>>().join(", ");
    FAMILIES.into_iter().find(|family| family.model_types().contains(&model_type)).ok_or_else(|| {
        Error::folder(config.path, format!("`model_type` is not a family that dsgkd knows; known are {}", known()))
    })
}

/// The head that DSG-KD published (step 4): pooled output, dropout, dense, GELU, dropout, linear.
pub fn reference_classifier(family: &dyn Family) -> ClassifierDesign {
    ClassifierDesign {
        dense: vec![
            DenseDesign {
                name: format!("{}.pooler.dense", family.prefix()),
                activation: Activation::Tanh,
                dropout: false,
            },
            DenseDesign { name: "classifier.dense".into(), activation: Activation::Gelu, dropout: true },
        ],
        output: "classifier.out_proj".into(),
    }
}
