//! BERT (arXiv 1810.04805), and models of its form such as e5 and MiniLM.

use super::{ClassifierDesign, DenseDesign, Family, LayerPart, MlmDesign};
use crate::architecture::{Architecture, ConfigReader};
use crate::error::Result;
use dsgkd_ops::activation::Activation;

/// See the module.
pub(super) struct Bert;

/// Layer names that BERT shares with RoBERTa and ELECTRA.
pub(super) fn layer_name(layer: usize, part: LayerPart) -> String {
    let part = match part {
        LayerPart::Query => "attention.self.query",
        LayerPart::Key => "attention.self.key",
        LayerPart::Value => "attention.self.value",
        LayerPart::AttentionOutput => "attention.output.dense",
        LayerPart::AttentionNorm => "attention.output.LayerNorm",
        LayerPart::Intermediate => "intermediate.dense",
        LayerPart::Output => "output.dense",
        LayerPart::OutputNorm => "output.LayerNorm",
    };
    format!("encoder.layer.{layer}.{part}")
}

/// Config keys that BERT shares with RoBERTa and ELECTRA.
pub(super) fn architecture(config: &ConfigReader) -> Result<Architecture> {
    config.refuse_unless("position_embedding_type", "absolute")?;
    let hidden_size = config.number("hidden_size")?;
    let hidden_dropout_prob = config.real_or("hidden_dropout_prob", 0.1)?;
    Ok(Architecture {
        vocab_size: config.number("vocab_size")?,
        hidden_size,
        embedding_size: hidden_size,
        num_hidden_layers: config.number("num_hidden_layers")?,
        num_attention_heads: config.number("num_attention_heads")?,
        intermediate_size: config.number("intermediate_size")?,
        max_position_embeddings: config.number_or("max_position_embeddings", 512)?,
        first_position: 0,
        type_vocab_size: config.number_or("type_vocab_size", 2)?,
        layer_norm_eps: config.real_or("layer_norm_eps", 1e-12)?,
        hidden_act: config.activation("hidden_act")?,
        hidden_dropout_prob,
        attention_probs_dropout_prob: config.real_or("attention_probs_dropout_prob", 0.1)?,
        classifier_dropout: config.real_or("classifier_dropout", f64::from(hidden_dropout_prob))?,
        initializer_range: config.real_or("initializer_range", 0.02)?,
    })
}

impl Family for Bert {
    fn model_types(&self) -> &'static [&'static str] {
        &["bert"]
    }

    fn architecture(&self, config: &ConfigReader) -> Result<Architecture> {
        architecture(config)
    }

    fn prefix(&self) -> &'static str {
        "bert"
    }

    fn layer_name(&self, layer: usize, part: LayerPart) -> String {
        layer_name(layer, part)
    }

    fn classifier(&self) -> ClassifierDesign {
        let pooler = DenseDesign { name: "bert.pooler.dense".into(), activation: Activation::Tanh, dropout: false };
        ClassifierDesign { dense: vec![pooler], output: "classifier".into() }
    }

    fn mlm(&self) -> MlmDesign {
        MlmDesign {
            dense: "cls.predictions.transform.dense",
            activation: None,
            norm: "cls.predictions.transform.LayerNorm",
            bias: "cls.predictions.bias",
            tied: &["cls.predictions.decoder.weight", "cls.predictions.decoder.bias"],
        }
    }

    fn python_name(&self) -> &'static str {
        "Bert"
    }

    fn takes_add_pooling_layer(&self) -> bool {
        true
    }
}
