//! The masked-language-model head, computed at the masked positions only; its last layer is the word embeddings.

use crate::architecture::Architecture;
use crate::family::MlmDesign;
use crate::layout::{DenseSlots, Group, Initial, Layout, NormSlots};
use dsgkd_ops::activation::{self, Activation};
use dsgkd_ops::layer_norm::{self, LayerNorm, LayerNormGradients};
use dsgkd_ops::linear::{self, Output, Weight};
use dsgkd_ops::{Precision, RowDropout};
use std::ops::Range;

/// A head's places in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MlmSlots {
    pub(crate) dense: DenseSlots,
    pub(crate) norm: NormSlots,
    bias: Range<usize>,
    pub(crate) activation: Activation,
}

/// Buffers of a head's forward and backward pass; M is the number of masked tokens, e the embedding size.
#[derive(Default)]
pub struct MlmActivations {
    /// Scores of every word of the vocabulary, `[M, vocab]`; the caller turns them into their gradient before the backward.
    pub logits: Vec<f32>,
    input: Vec<f32>,             // [M, h]
    preactivation: Vec<f32>,     // [M, e]
    normalised: Vec<f32>,        // [M, e]
    inverse_deviation: Vec<f32>, // [M]
    output: Vec<f32>,            // [M, e]
}

impl MlmSlots {
    pub(crate) fn new(layout: &mut Layout, design: &MlmDesign, a: &Architecture) -> MlmSlots {
        let (h, e) = (a.hidden_size, a.embedding_size);
        MlmSlots {
            dense: DenseSlots::dense(layout, design.dense, [e, h], Group::Head, true),
            norm: NormSlots::norm(layout, design.norm, e, Group::Head, true),
            bias: layout.add(design.bias, &[a.vocab_size], Group::Head, Initial::Zero, true),
            activation: design.activation.unwrap_or(a.hidden_act),
        }
    }

    /// The place of the bias of every word.
    pub(crate) fn bias(&self) -> Range<usize> {
        self.bias.clone()
    }

    fn norm<'v>(&self, values: &'v [f32], epsilon: f32) -> LayerNorm<'v> {
        LayerNorm { weight: &values[self.norm.weight.clone()], bias: &values[self.norm.bias.clone()], epsilon }
    }

    /// `logits` of the masked tokens' hidden states `masked [M, h]`; `word` is the place of the word embeddings.
    pub(crate) fn forward(
        &self,
        values: &[f32],
        word: &Range<usize>,
        a: &Architecture,
        masked: Vec<f32>,
        act: &mut MlmActivations,
    ) {
        let (rows, e) = (masked.len() / a.hidden_size, a.embedding_size);
        for buffer in [&mut act.preactivation, &mut act.normalised, &mut act.output] {
            buffer.resize(rows * e, 0.0);
        }
        act.inverse_deviation.resize(rows, 0.0);
        act.logits.resize(rows * a.vocab_size, 0.0);
        let plain = |range: &Range<usize>| Weight::Plain(&values[range.clone()], Precision::Float32);
        let activated = &mut act.normalised; // the norm turns it into that
        activation::dense_forward(
            self.activation,
            &masked,
            plain(&self.dense.weight),
            &values[self.dense.bias.clone()],
            Some(&mut act.preactivation),
            Output::Plain(activated), // [M, e]
            rows,
        );
        let norm = self.norm(values, a.layer_norm_eps);
        layer_norm::forward(norm, activated, None, &mut act.inverse_deviation, &mut act.output, None); // [M, e]
        linear::forward_bias(&act.output, plain(word), &values[self.bias.clone()], &mut act.logits, rows); // [M, vocab]
        act.input = masked;
    }

    /// From `act.logits`, now the gradient of the logits, adds to `gradients` and returns the gradient of the masked
    /// tokens' hidden states, `[M, h]`.
    pub(crate) fn backward(
        &self,
        values: &[f32],
        word: &Range<usize>,
        a: &Architecture,
        act: &mut MlmActivations,
        gradients: &mut [f32],
    ) -> Vec<f32> {
        let (rows, e) = (act.input.len() / a.hidden_size, a.embedding_size);
        linear::backward_weight(&act.logits, &act.output, Precision::Float32, &mut gradients[word.clone()], rows);
        linear::backward_bias(&act.logits, &mut gradients[self.bias.clone()]);
        let mut d_output = vec![0f32; rows * e];
        linear::backward_input(&act.logits, &values[word.clone()], Precision::Float32, &mut d_output, rows, false);
        let (mut d_activated, mut unused) = (vec![0f32; rows * e], vec![0f32; rows * e]);
        let [weight, bias] = gradients
            .get_disjoint_mut([self.norm.weight.clone(), self.norm.bias.clone()])
            .expect("tensors of one layout never overlap");
        layer_norm::backward(
            self.norm(values, a.layer_norm_eps),
            &d_output,
            &act.normalised,
            &act.inverse_deviation,
            RowDropout::NONE,
            &mut unused,
            &mut d_activated,
            LayerNormGradients { weight, bias, input_bias: None },
        );
        let d_bias = &mut gradients[self.dense.bias.clone()];
        activation::backward(self.activation, &mut act.preactivation, &mut d_activated, d_bias);
        linear::backward_weight(
            &d_activated,
            &act.input,
            Precision::Float32,
            &mut gradients[self.dense.weight.clone()],
            rows,
        );
        let mut d_masked = vec![0f32; act.input.len()];
        linear::backward_input(
            &d_activated,
            &values[self.dense.weight.clone()],
            Precision::Float32,
            &mut d_masked,
            rows,
            false,
        );
        d_masked
    }
}
