//! An encoder's tensors: their places in the arena, and its dense weights packed for scoring.

use crate::architecture::Architecture;
use crate::family::{Family, LayerPart};
use crate::layout::{DenseSlots, Group, Initial, Layout, NormSlots};
use dsgkd_ops::{PackedWeight, Precision, WeightPrecision};
use std::ops::Range;

/// An encoder's places in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncoderSlots {
    pub(crate) word: Range<usize>,
    pub(crate) position: Range<usize>,
    pub(crate) token_type: Option<Range<usize>>,
    pub(crate) norm: NormSlots,
    pub(crate) projection: Option<DenseSlots>,
    pub(crate) layers: Vec<LayerSlots>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LayerSlots {
    pub(crate) qkv: DenseSlots,
    pub(crate) attention_output: DenseSlots,
    pub(crate) attention_norm: NormSlots,
    pub(crate) intermediate: DenseSlots,
    pub(crate) output: DenseSlots,
    pub(crate) output_norm: NormSlots,
}

impl EncoderSlots {
    pub(crate) fn new(layout: &mut Layout, family: &dyn Family, a: &Architecture) -> EncoderSlots {
        let name = |tail: &str| format!("{}.{tail}", family.prefix());
        let (h, e, f) = (a.hidden_size, a.embedding_size, a.intermediate_size);
        let mut table = |tail: &str, rows: usize| {
            layout.add(name(&format!("embeddings.{tail}.weight")), &[rows, e], Group::Encoder, Initial::Normal, false)
        };
        let word = table("word_embeddings", a.vocab_size);
        let position = table("position_embeddings", a.max_position_embeddings);
        let token_type = (a.type_vocab_size > 0).then(|| table("token_type_embeddings", a.type_vocab_size));
        let norm = NormSlots::norm(layout, &name("embeddings.LayerNorm"), e, Group::Encoder, false);
        let projection = family
            .embedding_projection()
            .filter(|_| e != h)
            .map(|tail| DenseSlots::dense(layout, &name(tail), [h, e], Group::Encoder, false));
        let layers = (0..a.num_hidden_layers)
            .map(|layer| {
                let name = |part| name(&family.layer_name(layer, part));
                // Query, key and value stand side by side, so that one product computes all three.
                let qkv_parts = [LayerPart::Query, LayerPart::Key, LayerPart::Value].map(name);
                let side_by_side = |layout: &mut Layout, kind: &str, shape: &[usize], initial| {
                    let ranges = [0, 1, 2].map(|part| {
                        layout.add(format!("{}.{kind}", qkv_parts[part]), shape, Group::Encoder, initial, false)
                    });
                    ranges[0].start..ranges[2].end
                };
                let weight = side_by_side(layout, "weight", &[h, h], Initial::Normal);
                let bias = side_by_side(layout, "bias", &[h], Initial::Zero);
                let mut dense = |part, shape| DenseSlots::dense(layout, &name(part), shape, Group::Encoder, false);
                let attention_output = dense(LayerPart::AttentionOutput, [h, h]);
                let intermediate = dense(LayerPart::Intermediate, [f, h]);
                let output = dense(LayerPart::Output, [h, f]);
                let mut norm = |part| NormSlots::norm(layout, &name(part), h, Group::Encoder, false);
                LayerSlots {
                    qkv: DenseSlots { weight, bias },
                    attention_output,
                    attention_norm: norm(LayerPart::AttentionNorm),
                    intermediate,
                    output,
                    output_norm: norm(LayerPart::OutputNorm),
                }
            })
            .collect();
        EncoderSlots { word, position, token_type, norm, projection, layers }
    }
}

/// The dense weights of all layers, packed: four a layer, in the order of the forward pass.
#[derive(Clone)]
pub(crate) struct PackedLayers {
    pub(super) layers: Vec<[PackedWeight; 4]>,
    /// Of attention's own products.
    pub(super) precision: Precision,
}

impl PackedLayers {
    pub(crate) fn new(
        slots: &EncoderSlots,
        values: &[f32],
        a: &Architecture,
        precision: WeightPrecision,
    ) -> PackedLayers {
        let (h, f) = (a.hidden_size, a.intermediate_size);
        let pack = |slots: &DenseSlots, inputs| PackedWeight::new(&values[slots.weight.clone()], inputs, precision);
        let layers = slots.layers.iter().map(|layer| {
            let dense = [(&layer.qkv, h), (&layer.attention_output, h), (&layer.intermediate, h), (&layer.output, f)];
            dense.map(|(slots, inputs)| pack(slots, inputs))
        });
        let attention = match precision.available() {
            WeightPrecision::Float32 => Precision::Float32,
            WeightPrecision::Bfloat16 | WeightPrecision::Int8 => Precision::Bfloat16,
        };
        PackedLayers { layers: layers.collect(), precision: attention }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layers.iter().flatten().map(PackedWeight::bytes).sum()
    }
}
