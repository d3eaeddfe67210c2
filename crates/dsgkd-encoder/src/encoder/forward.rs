//! The forward pass. It reads like the model's equations.

use super::activations::Activations;
use super::batch::{Batch, ForwardOptions};
use super::rows::{to_front, to_places};
use super::{EMBEDDING_SITE, Encoder, norm};
use dsgkd_ops::layer_norm::{self, Addends};
use dsgkd_ops::linear::{self, Input, Weight};
use dsgkd_ops::spans::mean_forward;
use dsgkd_ops::{activation, attention, embedding};
use std::ops::Range;

/// What a layer is computed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The forward pass: each layer packs its output for the next one.
    Forward,
    /// The backward of this layer alone, from `act.hidden_states`.
    Recompute,
}

impl Encoder<'_> {
    /// Fills `act.hidden_states` and the pooled values.
    pub(crate) fn forward(&self, batch: &Batch, options: &ForwardOptions, act: &mut Activations) {
        let a = self.architecture;
        let layers = options.layers(a);
        if let Some(wanted) = options.wanted {
            assert!(wanted.is_sorted_by(|one, next| one < next), "wanted tokens ascend");
            let mut rows = options.spans.iter().flat_map(|span| span.rows(&batch.cu_seqlens));
            assert!(rows.all(|row| wanted.binary_search(&(row as u32)).is_ok()), "tokens of spans are wanted");
        }
        act.resize(a, batch, options, layers);
        self.embed(batch, options, act);
        self.pool(0, batch, options, act);
        for layer in 0..layers {
            if options.checkpointing && options.for_backward {
                act.layer_inputs[layer].copy_from_slice(&act.hidden_states);
            }
            self.forward_layer(layer, Purpose::Forward, batch, options, act);
            self.pool(layer + 1, batch, options, act);
        }
    }

    /// One layer: `act.hidden_states` from its input to its output, and its pooled attention rows.
    pub(super) fn forward_layer(
        &self,
        layer: usize,
        purpose: Purpose,
        batch: &Batch,
        options: &ForwardOptions,
        act: &mut Activations,
    ) {
        let (a, tokens) = (self.architecture, batch.tokens());
        let (h, f) = (a.hidden_size, a.intermediate_size);
        let slots = &self.slots.layers[layer];
        let Activations { layers: stored, hidden_states, attention_output, activated, pooled_rows, .. } = act;
        let Activations { hidden_packed, attention_packed, activated_packed, .. } = act;
        let at = &mut stored[options.slot(layer)];
        let bias = self.bias(&slots.qkv);
        let forward = purpose == Purpose::Forward;
        let input = if forward && layer > 0 { hidden_packed.or(hidden_states) } else { Input::Plain(hidden_states) };
        linear::forward_bias(input, self.layer_weight(layer, 0), bias, &mut at.qkv, tokens); // [T, 3h]
        let operation = self.attention(layer, &at.qkv, batch, options);
        let probabilities = options.for_backward.then_some(&mut at.probabilities[..]);
        attention::forward(operation, &mut at.context, probabilities, &mut pooled_rows[layer]); // [T, h]
        // From here on R, the rows that are wanted: in all layers but the last, T.
        let wanted = self.wanted(layer, options);
        let rows = wanted.map_or(tokens, <[u32]>::len);
        if let Some(wanted) = wanted {
            to_front(&mut at.context, wanted, h);
            to_front(hidden_states, wanted, h);
        }
        let dense = &mut at.attention_normalised[..rows * h]; // the norm turns it into that
        linear::forward(&at.context[..rows * h], self.layer_weight(layer, 1), dense, rows); // [R, h]
        attention_packed.make_room(rows, h, self.layer_weight(layer, 2));
        layer_norm::forward(
            norm(self.values, &slots.attention_norm, a),
            dense,
            Some(Addends {
                bias: self.bias(&slots.attention_output),
                residual: &hidden_states[..rows * h],
                dropout: self.row_dropout(layer, 1, wanted, options),
            }),
            &mut at.attention_inverse_deviation[..rows],
            &mut attention_output[..rows * h], // [R, h]
            Some(attention_packed),
        );
        activated_packed.make_room(rows, f, self.layer_weight(layer, 3));
        activation::dense_forward(
            a.hidden_act,
            attention_packed.or(&attention_output[..rows * h]),
            self.layer_weight(layer, 2),
            self.bias(&slots.intermediate),
            options.for_backward.then(|| &mut at.intermediate[..rows * f]),
            activated_packed.or_mut(activated), // [R, f]
            rows,
        );
        let dense = &mut at.output_normalised[..rows * h];
        let input = activated_packed.or(activated);
        linear::forward(input, self.layer_weight(layer, 3), dense, rows); // [R, h]
        let next = (forward && layer + 1 < options.layers(a)).then(|| {
            hidden_packed.make_room(tokens, h, self.layer_weight(layer + 1, 0));
            hidden_packed
        });
        layer_norm::forward(
            norm(self.values, &slots.output_norm, a),
            dense,
            Some(Addends {
                bias: self.bias(&slots.output),
                residual: &attention_output[..rows * h],
                dropout: self.row_dropout(layer, 2, wanted, options),
            }),
            &mut at.output_inverse_deviation[..rows],
            &mut hidden_states[..rows * h], // [R, h]
            next,
        );
        if let Some(wanted) = wanted {
            to_places(hidden_states, wanted, h);
        }
    }

    /// The embedding output: level 0 of the hidden states.
    fn embed(&self, batch: &Batch, options: &ForwardOptions, act: &mut Activations) {
        let a = self.architecture;
        let table = |range: &Range<usize>| &self.values[range.clone()];
        let mut lookups = vec![
            embedding::Lookup { table: table(&self.slots.word), rows: &batch.input_ids },
            embedding::Lookup { table: table(&self.slots.position), rows: &act.positions },
        ];
        if let Some(token_type) = &self.slots.token_type {
            lookups.push(embedding::Lookup { table: table(token_type), rows: &act.token_types });
        }
        let projected = self.slots.projection.is_some();
        let output = if projected { &mut act.projection_input } else { &mut act.hidden_states };
        let embedded = &mut act.embedding_normalised; // the norm turns it into that
        embedding::forward(&lookups, embedded, a.embedding_size); // [T, e]
        let norm = norm(self.values, &self.slots.norm, a);
        layer_norm::forward(norm, embedded, None, &mut act.embedding_deviation, output, None); // [T, e]
        self.hidden_dropout(options, EMBEDDING_SITE).apply(output, a.embedding_size);
        self.project(batch.tokens(), act);
    }

    /// `hidden_states = projection_input * projection^T + bias`, for a family whose embeddings are narrower than its layers.
    pub(super) fn project(&self, tokens: usize, act: &mut Activations) {
        if let Some(projection) = &self.slots.projection {
            let weight = Weight::Plain(self.weight(projection), self.precision);
            let (input, bias) = (&act.projection_input, self.bias(projection));
            linear::forward_bias(input, weight, bias, &mut act.hidden_states, tokens); // [T, h]
        }
    }

    fn pool(&self, level: usize, batch: &Batch, options: &ForwardOptions, act: &mut Activations) {
        let output = &mut act.pooled_hidden[level];
        mean_forward(&act.hidden_states, &batch.cu_seqlens, options.spans, output, self.architecture.hidden_size);
    }
}
