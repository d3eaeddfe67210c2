//! The arena of parameters: every tensor has a name, a shape and a range of one `[f32]`.
//!
//! Gradients and AdamW's moments are arenas of the same layout, so that clipping and the optimiser are one pass each.

use dsgkd_ops::Dropout;
use std::ops::Range;

/// Which learning rate a tensor takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The encoder, its pooler included.
    Encoder,
    /// Classification and language-model heads, projections of the distillation.
    Head,
}

/// How a tensor that no file holds begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Initial {
    /// Normal with the model's `initializer_range`.
    Normal,
    /// All zero: biases.
    Zero,
    /// All one: LayerNorm weights.
    One,
}

/// One tensor of the arena.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorSpec {
    /// Its full Hugging Face name.
    pub name: String,
    /// Its shape, `[out, in]` for a dense layer.
    pub shape: Vec<usize>,
    /// Its place in the arena.
    pub range: Range<usize>,
    /// Its learning rate.
    pub group: Group,
    /// Its first values.
    pub initial: Initial,
    /// Whether a folder may lack it (a head, a pooler): it is then fresh.
    pub optional: bool,
}

/// All tensors of a model, in the arena's order: first the encoder's group, then the heads'.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    tensors: Vec<TensorSpec>,
    len: usize,
}

impl Layout {
    /// Appends a tensor.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        group: Group,
        initial: Initial,
        optional: bool,
    ) -> Range<usize> {
        let range = self.len..self.len + shape.iter().product::<usize>();
        self.len = range.end;
        debug_assert!(group == Group::Head || self.tensors.iter().all(|tensor| tensor.group == Group::Encoder));
        self.tensors.push(TensorSpec {
            name: name.into(),
            shape: shape.to_vec(),
            range: range.clone(),
            group,
            initial,
            optional,
        });
        range
    }

    /// The tensors, in order.
    pub fn tensors(&self) -> &[TensorSpec] {
        &self.tensors
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The part of the arena that a group takes.
    pub fn group(&self, group: Group) -> Range<usize> {
        let head = self.tensors.iter().find(|tensor| tensor.group == Group::Head).map_or(self.len, |t| t.range.start);
        match group {
            Group::Encoder => 0..head,
            Group::Head => head..self.len,
        }
    }

    /// A tensor by name.
    pub fn find(&self, name: &str) -> Option<&TensorSpec> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
}

/// Fills a tensor with its first values; the same seed and name give the same numbers wherever the tensor stands.
pub(crate) fn initialise(spec: &TensorSpec, initializer_range: f32, seed: u64, values: &mut [f32]) {
    match spec.initial {
        Initial::Zero => values.fill(0.0),
        Initial::One => values.fill(1.0),
        Initial::Normal => {
            let name = spec
                .name
                .bytes()
                .fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
            let mut state = seed ^ name;
            let mut uniform = || {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut x = state;
                x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                ((x ^ (x >> 31)) >> 11) as f64 / (1u64 << 53) as f64
            };
            for value in values {
                // Box and Muller's transform; 1 - u keeps the logarithm finite.
                let normal = (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
                *value = (normal * f64::from(initializer_range)) as f32;
            }
        }
    }
}

/// A dense layer's place in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DenseSlots {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// A LayerNorm's place in the arena.
pub(crate) type NormSlots = DenseSlots;

impl DenseSlots {
    /// Appends `name.weight [outputs, inputs]` and `name.bias [outputs]`.
    pub(crate) fn dense(
        layout: &mut Layout,
        name: &str,
        shape: [usize; 2],
        group: Group,
        optional: bool,
    ) -> DenseSlots {
        DenseSlots {
            weight: layout.add(format!("{name}.weight"), &shape, group, Initial::Normal, optional),
            bias: layout.add(format!("{name}.bias"), &shape[..1], group, Initial::Zero, optional),
        }
    }

    /// Appends a LayerNorm's `name.weight [size]` and `name.bias [size]`.
    pub(crate) fn norm(layout: &mut Layout, name: &str, size: usize, group: Group, optional: bool) -> NormSlots {
        DenseSlots {
            weight: layout.add(format!("{name}.weight"), &[size], group, Initial::One, optional),
            bias: layout.add(format!("{name}.bias"), &[size], group, Initial::Zero, optional),
        }
    }
}

/// The dropout of one site of the model in one step.
pub(crate) fn site_dropout(probability: f32, seed: Option<u64>, site: usize) -> Dropout {
    match seed {
        Some(seed) => Dropout::new(probability, seed.wrapping_add((site as u64).wrapping_mul(0xD1B5_4A32_D192_ED03))),
        None => Dropout::NONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_weights_have_the_model_s_spread_and_depend_on_name_and_seed() {
        let mut layout = Layout::default();
        layout.add("a", &[100, 100], Group::Encoder, Initial::Normal, false);
        layout.add("b", &[100, 100], Group::Head, Initial::Normal, true);
        let mut values = vec![vec![0f32; 10_000]; 3];
        initialise(&layout.tensors()[0], 0.02, 1, &mut values[0]);
        initialise(&layout.tensors()[1], 0.02, 1, &mut values[1]);
        initialise(&layout.tensors()[0], 0.02, 2, &mut values[2]);
        assert!(values[0] != values[1] && values[0] != values[2]);
        let deviation = (values[0].iter().map(|v| f64::from(v * v)).sum::<f64>() / 1e4).sqrt();
        assert!((deviation - 0.02).abs() < 5e-4, "{deviation}");
        assert_eq!(layout.group(Group::Encoder), 0..10_000);
        assert_eq!(layout.group(Group::Head), 10_000..20_000);
    }
}
