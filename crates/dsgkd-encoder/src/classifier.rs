//! Classification heads: dense layers and a linear layer on what is pooled of each note.

use crate::architecture::Architecture;
use crate::encoder::{DropoutSeed, FIRST_HEAD_SITE};
use crate::family::{self, ClassifierDesign, Family};
use crate::layout::{DenseSlots, Group, Layout, site_dropout};
use dsgkd_ops::activation::{self, Activation};
use dsgkd_ops::linear::{self, Output, Weight};
use dsgkd_ops::{Dropout, Precision};

/// What a classification head is made of, and which tokens it reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeadForm {
    /// The family's own, on each note's first token, as `AutoModelForSequenceClassification` builds it.
    #[default]
    Family,
    /// The published one, on each note's first token.
    Reference,
    /// Dropout and a linear layer on the mean of all of a note's last hidden states, special tokens included: pooled as sentence encoders are
    /// trained (Reimers and Gurevych, arXiv 1908.10084, section 3).
    Mean,
}

impl HeadForm {
    pub(crate) fn design(self, family: &dyn Family) -> ClassifierDesign {
        match self {
            HeadForm::Family => family.classifier(),
            HeadForm::Reference => family::reference_classifier(family),
            HeadForm::Mean => ClassifierDesign { dense: vec![], output: "classifier".into() },
        }
    }

    /// Its name in `config.json`, under `dsgkd_head`; `None`: it is a class of `transformers`.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            HeadForm::Family => None,
            HeadForm::Reference => Some("reference"),
            HeadForm::Mean => Some("mean"),
        }
    }
}

/// A head's places in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClassifierSlots {
    /// Layer by layer: its place, its activation, whether its input is dropped from.
    pub(crate) dense: Vec<(DenseSlots, Activation, bool)>,
    pub(crate) output: DenseSlots,
    pub(crate) classes: usize,
}

/// Buffers of a head's forward and backward pass; B is the number of notes.
#[derive(Default)]
pub struct ClassifierActivations {
    /// Scores before the softmax, `[B, classes]`; the caller turns them into their gradient before the backward.
    pub logits: Vec<f32>,
    inputs: Vec<Vec<f32>>,         // of every layer, after dropout, [B, h]
    preactivations: Vec<Vec<f32>>, // of every dense layer, [B, h]
}

impl ClassifierSlots {
    /// Appends the layers of the encoder's own group first: BERT's pooler belongs to the encoder.
    pub(crate) fn new(
        layout: &mut Layout,
        design: &ClassifierDesign,
        prefix: &str,
        a: &Architecture,
        classes: usize,
    ) -> ClassifierSlots {
        let h = a.hidden_size;
        let dense = design
            .dense
            .iter()
            .map(|dense| {
                let in_encoder = dense.name.starts_with(prefix) && dense.name[prefix.len()..].starts_with('.');
                let group = if in_encoder { Group::Encoder } else { Group::Head };
                let slots = DenseSlots::dense(layout, &dense.name, [h, h], group, true);
                (slots, dense.activation, dense.dropout)
            })
            .collect();
        let output = DenseSlots::dense(layout, &design.output, [classes, h], Group::Head, true);
        ClassifierSlots { dense, output, classes }
    }

    /// `logits` from the notes' pooled hidden states, `[B, h]`.
    pub(crate) fn forward(
        &self,
        values: &[f32],
        pooled: Vec<f32>,
        notes: usize,
        probability: f32,
        seed: Option<DropoutSeed>,
        act: &mut ClassifierActivations,
    ) {
        let dropout = |layer: usize| site_dropout(probability, seed, FIRST_HEAD_SITE + layer);
        act.inputs.clear();
        act.preactivations.clear();
        let mut state = pooled; // [B, h]
        let h = state.len() / notes;
        for (layer, (slots, function, drops)) in self.dense.iter().enumerate() {
            if *drops {
                dropout(layer).apply(&mut state, h);
            }
            let mut preactivation = vec![0f32; state.len()];
            let mut output = vec![0f32; state.len()];
            let weight = Weight::Plain(&values[slots.weight.clone()], Precision::Float32);
            let bias = &values[slots.bias.clone()];
            activation::dense_forward(
                *function,
                &state,
                weight,
                bias,
                Some(&mut preactivation),
                Output::Plain(&mut output),
                notes,
            );
            act.inputs.push(std::mem::replace(&mut state, output));
            act.preactivations.push(preactivation);
        }
        dropout(self.dense.len()).apply(&mut state, h);
        act.logits.resize(notes * self.classes, 0.0);
        let weight = Weight::Plain(&values[self.output.weight.clone()], Precision::Float32);
        linear::forward_bias(&state, weight, &values[self.output.bias.clone()], &mut act.logits, notes);
        act.inputs.push(state);
    }

    /// From `act.logits`, now the gradient of the logits, adds to `gradients` and returns the gradient of the pooled
    /// hidden states, `[B, h]`.
    pub(crate) fn backward(
        &self,
        values: &[f32],
        notes: usize,
        probability: f32,
        seed: Option<DropoutSeed>,
        act: &mut ClassifierActivations,
        gradients: &mut [f32],
    ) -> Vec<f32> {
        let dropout = |layer: usize, drops: bool| {
            if drops { site_dropout(probability, seed, FIRST_HEAD_SITE + layer) } else { Dropout::NONE }
        };
        let last = &act.inputs[self.dense.len()];
        let h = last.len() / notes;
        linear::backward_weight(
            &act.logits,
            last,
            Precision::Float32,
            &mut gradients[self.output.weight.clone()],
            notes,
        );
        linear::backward_bias(&act.logits, &mut gradients[self.output.bias.clone()]);
        let mut gradient = vec![0f32; last.len()]; // [B, h]
        linear::backward_input(
            &act.logits,
            &values[self.output.weight.clone()],
            Precision::Float32,
            &mut gradient,
            notes,
            false,
        );
        dropout(self.dense.len(), true).apply(&mut gradient, h);
        for (layer, (slots, function, drops)) in self.dense.iter().enumerate().rev() {
            let preactivation = &mut act.preactivations[layer];
            activation::backward(*function, preactivation, &mut gradient, &mut gradients[slots.bias.clone()]);
            linear::backward_weight(
                &gradient,
                &act.inputs[layer],
                Precision::Float32,
                &mut gradients[slots.weight.clone()],
                notes,
            );
            let mut d_input = vec![0f32; gradient.len()];
            linear::backward_input(
                &gradient,
                &values[slots.weight.clone()],
                Precision::Float32,
                &mut d_input,
                notes,
                false,
            );
            dropout(layer, *drops).apply(&mut d_input, h);
            gradient = d_input;
        }
        gradient
    }
}
