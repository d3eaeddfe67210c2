//! The encoder itself: embeddings and post-norm layers, forward and backward, on packed tokens.
//!
//! In shapes, T is the number of tokens of the batch, R of those that a layer goes on with after its attention, h the hidden size, e the embeddings' size, f the feed-forward size. What the
//! backward needs is stored in [`Activations`].

mod activations;
mod backward;
mod batch;
mod forward;
mod rows;
mod slots;

pub use activations::Activations;
pub use batch::{Batch, DropoutSeed, ForwardOptions, PooledGradients};
pub(crate) use slots::{EncoderSlots, PackedLayers};

use crate::architecture::Architecture;
use crate::layout::{DenseSlots, NormSlots, site_dropout};
use dsgkd_ops::layer_norm::LayerNorm;
use dsgkd_ops::linear::Weight;
use dsgkd_ops::{Dropout, Precision, RowDropout, attention};

/// Sites of dropout: the embeddings, then three a layer.
pub(crate) const EMBEDDING_SITE: usize = 0;
pub(crate) fn layer_site(layer: usize, which: usize) -> usize {
    1 + 3 * layer + which
}
/// Sites of the heads come after those of any encoder.
pub(crate) const FIRST_HEAD_SITE: usize = 1 << 20;

fn norm<'a>(values: &'a [f32], slots: &NormSlots, a: &Architecture) -> LayerNorm<'a> {
    LayerNorm { weight: &values[slots.weight.clone()], bias: &values[slots.bias.clone()], epsilon: a.layer_norm_eps }
}

/// One encoder over an arena of parameters.
pub(crate) struct Encoder<'a> {
    pub(crate) architecture: &'a Architecture,
    pub(crate) slots: &'a EncoderSlots,
    pub(crate) values: &'a [f32],
    pub(crate) precision: Precision,
    /// The layers' weights packed beforehand, for a model that only answers.
    pub(crate) packed: Option<&'a PackedLayers>,
}

impl Encoder<'_> {
    fn weight(&self, slots: &DenseSlots) -> &[f32] {
        &self.values[slots.weight.clone()]
    }

    /// Dense weight `which` of a layer, as the forward pass takes it.
    fn layer_weight(&self, layer: usize, which: usize) -> Weight<'_> {
        let slots = &self.slots.layers[layer];
        match self.packed {
            Some(packed) => Weight::Packed(&packed.layers[layer][which]),
            None => {
                let dense = [&slots.qkv, &slots.attention_output, &slots.intermediate, &slots.output];
                Weight::Plain(self.weight(dense[which]), self.precision)
            }
        }
    }

    fn bias(&self, slots: &DenseSlots) -> &[f32] {
        &self.values[slots.bias.clone()]
    }

    /// Dropout at site `which` of a layer (see [`layer_site`]), at the tokens that it goes on with.
    fn row_dropout<'r>(
        &self,
        layer: usize,
        which: usize,
        wanted: Option<&'r [u32]>,
        options: &ForwardOptions,
    ) -> RowDropout<'r> {
        RowDropout { dropout: self.hidden_dropout(options, layer_site(layer, which)), rows: wanted }
    }

    /// The tokens that `layer` goes on with after its attention, where these are not all.
    fn wanted<'o>(&self, layer: usize, options: &ForwardOptions<'o>) -> Option<&'o [u32]> {
        options.wanted.filter(|_| layer + 1 == options.layers(self.architecture))
    }

    fn hidden_dropout(&self, options: &ForwardOptions, site: usize) -> Dropout {
        site_dropout(self.architecture.hidden_dropout_prob, options.dropout, site)
    }

    fn attention<'b>(
        &'b self,
        layer: usize,
        qkv: &'b [f32],
        batch: &'b Batch,
        options: &ForwardOptions<'b>,
    ) -> attention::Attention<'b> {
        let probability = self.architecture.attention_probs_dropout_prob;
        attention::Attention {
            heads: self.architecture.num_attention_heads,
            qkv,
            cu_seqlens: &batch.cu_seqlens,
            dropout: site_dropout(probability, options.dropout, layer_site(layer, 0)),
            spans: options.spans,
            rows_after_dropout: options.rows_after_dropout,
            precision: self.packed.map_or(self.precision, |packed| packed.precision),
        }
    }
}
