//! ELECTRA (arXiv 2003.10555): the discriminator is a BERT without pooler, the generator has its language-model head.

use super::{ClassifierDesign, DenseDesign, Family, LayerPart, MlmDesign, bert};
use crate::architecture::{Architecture, ConfigReader};
use crate::error::Result;
use dsgkd_ops::activation::Activation;

/// See the module.
pub(super) struct Electra;

impl Family for Electra {
    fn model_types(&self) -> &'static [&'static str] {
        &["electra"]
    }

    fn architecture(&self, config: &ConfigReader) -> Result<Architecture> {
        let architecture = bert::architecture(config)?;
        let embedding_size = config.number_or("embedding_size", 128)?;
        Ok(Architecture { embedding_size, ..architecture })
    }

    fn prefix(&self) -> &'static str {
        "electra"
    }

    fn layer_name(&self, layer: usize, part: LayerPart) -> String {
        bert::layer_name(layer, part)
    }

    fn embedding_projection(&self) -> Option<&'static str> {
        Some("embeddings_project")
    }

    fn classifier(&self) -> ClassifierDesign {
        let dense = DenseDesign { name: "classifier.dense".into(), activation: Activation::Gelu, dropout: true };
        ClassifierDesign { dense: vec![dense], output: "classifier.out_proj".into() }
    }

    fn mlm(&self) -> MlmDesign {
        MlmDesign {
            dense: "generator_predictions.dense",
            activation: Some(Activation::Gelu),
            norm: "generator_predictions.LayerNorm",
            bias: "generator_lm_head.bias",
            tied: &["generator_lm_head.weight"],
        }
    }

    fn python_name(&self) -> &'static str {
        "Electra"
    }
}
