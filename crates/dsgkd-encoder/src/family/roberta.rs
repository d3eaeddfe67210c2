//! RoBERTa (arXiv 1907.11692) and XLM-RoBERTa (arXiv 1911.02116).

use super::{ClassifierDesign, DenseDesign, Family, LayerPart, MlmDesign, bert};
use crate::architecture::{Architecture, ConfigReader};
use crate::error::Result;
use dsgkd_ops::activation::Activation;

/// See the module.
pub(super) struct Roberta;

impl Family for Roberta {
    fn model_types(&self) -> &'static [&'static str] {
        &["roberta", "xlm-roberta", "camembert"]
    }

    fn architecture(&self, config: &ConfigReader) -> Result<Architecture> {
        // Positions count from the pad id plus one, an inheritance of fairseq.
        let first_position = config.number_or("pad_token_id", 1)?.saturating_add(1);
        Ok(Architecture { first_position, ..bert::architecture(config)? })
    }

    fn prefix(&self) -> &'static str {
        "roberta"
    }

    fn layer_name(&self, layer: usize, part: LayerPart) -> String {
        bert::layer_name(layer, part)
    }

    fn classifier(&self) -> ClassifierDesign {
        let dense = DenseDesign { name: "classifier.dense".into(), activation: Activation::Tanh, dropout: true };
        ClassifierDesign { dense: vec![dense], output: "classifier.out_proj".into() }
    }

    fn mlm(&self) -> MlmDesign {
        MlmDesign {
            dense: "lm_head.dense",
            activation: Some(Activation::Gelu),
            norm: "lm_head.layer_norm",
            bias: "lm_head.bias",
            tied: &["lm_head.decoder.weight", "lm_head.decoder.bias"],
        }
    }

    fn python_name(&self) -> &'static str {
        "Roberta"
    }

    fn takes_add_pooling_layer(&self) -> bool {
        true
    }
}
