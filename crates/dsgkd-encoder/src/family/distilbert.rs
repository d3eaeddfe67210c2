//! DistilBERT (arXiv 1910.01108).

use super::{ClassifierDesign, DenseDesign, Family, LayerPart, MlmDesign};
use crate::architecture::{Architecture, ConfigReader};
use crate::error::Result;
use dsgkd_ops::activation::Activation;

/// See the module.
pub(super) struct DistilBert;

impl Family for DistilBert {
    fn model_types(&self) -> &'static [&'static str] {
        &["distilbert"]
    }

    fn architecture(&self, config: &ConfigReader) -> Result<Architecture> {
        let hidden_size = config.number("dim")?;
        Ok(Architecture {
            vocab_size: config.number("vocab_size")?,
            hidden_size,
            embedding_size: hidden_size,
            num_hidden_layers: config.number("n_layers")?,
            num_attention_heads: config.number("n_heads")?,
            intermediate_size: config.number("hidden_dim")?,
            max_position_embeddings: config.number_or("max_position_embeddings", 512)?,
            first_position: 0,
            type_vocab_size: 0,
            layer_norm_eps: 1e-12,
            hidden_act: config.activation("activation")?,
            hidden_dropout_prob: config.real_or("dropout", 0.1)?,
            attention_probs_dropout_prob: config.real_or("attention_dropout", 0.1)?,
            classifier_dropout: config.real_or("seq_classif_dropout", 0.2)?,
            initializer_range: config.real_or("initializer_range", 0.02)?,
        })
    }

    fn prefix(&self) -> &'static str {
        "distilbert"
    }

    fn layer_name(&self, layer: usize, part: LayerPart) -> String {
        let part = match part {
            LayerPart::Query => "attention.q_lin",
            LayerPart::Key => "attention.k_lin",
            LayerPart::Value => "attention.v_lin",
            LayerPart::AttentionOutput => "attention.out_lin",
            LayerPart::AttentionNorm => "sa_layer_norm",
            LayerPart::Intermediate => "ffn.lin1",
            LayerPart::Output => "ffn.lin2",
            LayerPart::OutputNorm => "output_layer_norm",
        };
        format!("transformer.layer.{layer}.{part}")
    }

    fn classifier(&self) -> ClassifierDesign {
        let dense = DenseDesign { name: "pre_classifier".into(), activation: Activation::Relu, dropout: false };
        ClassifierDesign { dense: vec![dense], output: "classifier".into() }
    }

    fn mlm(&self) -> MlmDesign {
        MlmDesign {
            dense: "vocab_transform",
            activation: None,
            norm: "vocab_layer_norm",
            bias: "vocab_projector.bias",
            tied: &["vocab_projector.weight"],
        }
    }

    fn python_name(&self) -> &'static str {
        "DistilBert"
    }

    fn dropout_keys(&self) -> [&'static str; 3] {
        ["dropout", "attention_dropout", "seq_classif_dropout"]
    }
}
