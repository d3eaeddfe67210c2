//! The arena on a device, and its tensors as one pass takes them.

use crate::layout::{DenseSlots, NormSlots};
use dsgkd_ops::portable::burn::Gradients;
use dsgkd_ops::portable::layer_norm::LayerNorm;
use dsgkd_ops::portable::{Device, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;

/// The tensors of one forward pass, cut from the arena when they are first asked for.
///
/// Each is a leaf of the autodiff graph by itself: the gradient of a slice of one flat leaf would be as long as the arena, once a slice.
pub struct Parameters {
    arena: Tensor<1>,
    for_backward: bool,
    /// By where each begins in the arena.
    leaves: BTreeMap<usize, Tensor<1>>,
}

impl Parameters {
    /// Of a model whose numbers are `arena` (`[parameters]`, no part of an autodiff graph).
    pub fn new(arena: Tensor<1>, for_backward: bool) -> Parameters {
        Parameters { arena: arena.inner(), for_backward, leaves: BTreeMap::new() }
    }

    /// The device, as constants of the pass take it.
    pub fn device(&self) -> Device {
        self.arena.device()
    }

    /// The numbers of a place in the arena.
    pub fn vector(&mut self, range: &Range<usize>) -> Tensor<1> {
        let (arena, for_backward) = (&self.arena, self.for_backward);
        let cut = || {
            let numbers = arena.clone().narrow(0, range.start, range.len());
            if for_backward { numbers.autodiff().require_grad() } else { numbers }
        };
        let leaf = self.leaves.entry(range.start).or_insert_with(cut);
        assert_eq!(leaf.dims(), [range.len()], "tensors of one layout never overlap");
        leaf.clone()
    }

    /// The numbers of a place as `[rows, columns]`.
    pub fn matrix(&mut self, range: &Range<usize>, columns: usize) -> Tensor<2> {
        self.vector(range).reshape([range.len() / columns, columns])
    }

    /// A dense layer's weight `[out, inputs]` and bias `[out]`.
    pub(crate) fn dense(&mut self, slots: &DenseSlots, inputs: usize) -> (Tensor<2>, Tensor<1>) {
        (self.matrix(&slots.weight, inputs), self.vector(&slots.bias))
    }

    pub(crate) fn norm(&mut self, slots: &NormSlots, epsilon: f32) -> LayerNorm {
        LayerNorm { weight: self.vector(&slots.weight), bias: self.vector(&slots.bias), epsilon }
    }

    /// The gradients of a backward pass in the arena's layout, `[parameters]`; 0 for what took no part in it.
    pub fn gradients(self, gradients: &mut Gradients) -> Tensor<1> {
        let ([length], device) = (self.arena.dims(), self.arena.device());
        let zeros = |range: Range<usize>| Tensor::zeros([range.len()], &device);
        let (mut parts, mut end) = (vec![], 0);
        for (start, leaf) in self.leaves {
            if start > end {
                parts.push(zeros(end..start));
            }
            end = start + leaf.dims()[0];
            parts.push(leaf.grad_remove(gradients).unwrap_or_else(|| zeros(start..end)));
        }
        if end < length {
            parts.push(zeros(end..length));
        }
        Tensor::cat(parts, 0)
    }
}
