//! The backward pass, by hand, layer by layer from the last.

use super::activations::Activations;
use super::batch::{Batch, ForwardOptions, PooledGradients};
use super::forward::Purpose;
use super::rows::{to_front, to_places};
use super::{EMBEDDING_SITE, Encoder, norm};
use dsgkd_ops::layer_norm::{self, LayerNormGradients};
use dsgkd_ops::spans::mean_backward;
use dsgkd_ops::{RowDropout, activation, attention, embedding, linear};
use std::ops::Range;

/// Disjoint parts of the gradient arena. The layout makes them so; a clash would be a bug of ours.
fn parts<'g, const N: usize>(gradients: &'g mut [f32], ranges: [&Range<usize>; N]) -> [&'g mut [f32]; N] {
    gradients.get_disjoint_mut(ranges.map(Range::clone)).expect("tensors of one layout never overlap")
}

impl Encoder<'_> {
    /// From the gradients of the last hidden states (`act.d_hidden_states`) and of the pooled values, adds those of all
    /// parameters to `gradients`. `options` and `act` are those of the forward pass, which stored for this.
    pub(crate) fn backward(
        &self,
        batch: &Batch,
        options: &ForwardOptions,
        pooled: &PooledGradients,
        act: &mut Activations,
        gradients: &mut [f32],
    ) {
        assert!(options.for_backward);
        let a = self.architecture;
        let (tokens, h, f) = (batch.tokens(), a.hidden_size, a.intermediate_size);
        assert_eq!(act.d_hidden_states.len(), tokens * h);
        act.resize_gradients(a, tokens);
        let layers = options.layers(a);
        self.add_pooled(layers, batch, options, pooled, act);
        for layer in (0..layers).rev() {
            if options.checkpointing {
                act.hidden_states.copy_from_slice(&act.layer_inputs[layer]);
                self.forward_layer(layer, Purpose::Recompute, batch, options, act);
            }
            let slots = &self.slots.layers[layer];
            let Activations {
                layers: stored,
                d_hidden_states: d, // [T, h], of this layer's output, then of its input
                attention_output,
                d_dense,
                d_attention_output,
                d_intermediate,
                d_qkv,
                ..
            } = act;
            let at = &mut stored[options.slot(layer)];
            // R, the rows that the layer went on with after its attention: in all layers but the last, T.
            let wanted = self.wanted(layer, options);
            let rows = wanted.map_or(tokens, <[u32]>::len);
            if let Some(wanted) = wanted {
                to_front(d, wanted, h);
            }
            let (intermediate, d_intermediate) = (&mut at.intermediate[..rows * f], &mut d_intermediate[..rows * f]);
            let [weight, bias, input_bias] =
                parts(gradients, [&slots.output_norm.weight, &slots.output_norm.bias, &slots.output.bias]);
            layer_norm::backward(
                norm(self.values, &slots.output_norm, a),
                &d[..rows * h],
                &at.output_normalised[..rows * h],
                &at.output_inverse_deviation[..rows],
                self.row_dropout(layer, 2, wanted, options),
                &mut d_attention_output[..rows * h], // [R, h], by the residual
                &mut d_dense[..rows * h],            // [R, h]
                LayerNormGradients { weight, bias, input_bias: Some(input_bias) },
            );
            activation::backward_through(
                a.hidden_act,
                &d_dense[..rows * h],
                self.weight(&slots.output),
                self.precision,
                intermediate,   // becomes its activation again
                d_intermediate, // [R, f]
                &mut gradients[slots.intermediate.bias.clone()],
                rows,
            );
            let d_weight = &mut gradients[slots.output.weight.clone()];
            linear::backward_weight(&d_dense[..rows * h], intermediate, self.precision, d_weight, rows);
            let attention_norm = norm(self.values, &slots.attention_norm, a);
            let (normalised, output) = (&at.attention_normalised[..rows * h], &mut attention_output[..rows * h]);
            layer_norm::output_again(attention_norm, normalised, output);
            let d_weight = &mut gradients[slots.intermediate.weight.clone()];
            linear::backward_weight(d_intermediate, output, self.precision, d_weight, rows);
            linear::backward_input(
                d_intermediate,
                self.weight(&slots.intermediate),
                self.precision,
                &mut d_attention_output[..rows * h],
                rows,
                true,
            );

            let [weight, bias, input_bias] = parts(
                gradients,
                [&slots.attention_norm.weight, &slots.attention_norm.bias, &slots.attention_output.bias],
            );
            layer_norm::backward(
                attention_norm,
                &d_attention_output[..rows * h],
                normalised,
                &at.attention_inverse_deviation[..rows],
                self.row_dropout(layer, 1, wanted, options),
                &mut d[..rows * h],       // [R, h], by the residual
                &mut d_dense[..rows * h], // [R, h]
                LayerNormGradients { weight, bias, input_bias: Some(input_bias) },
            );
            let d_weight = &mut gradients[slots.attention_output.weight.clone()];
            linear::backward_weight(&d_dense[..rows * h], &at.context[..rows * h], self.precision, d_weight, rows);
            let d_context = &mut *d_attention_output; // no longer needed
            linear::backward_input(
                &d_dense[..rows * h],
                self.weight(&slots.attention_output),
                self.precision,
                &mut d_context[..rows * h],
                rows,
                false,
            );
            if let Some(wanted) = wanted {
                to_places(d, wanted, h);
                to_places(d_context, wanted, h);
            }
            let d_rows = pooled.rows.get(layer).map_or(&[][..], |rows| rows);
            let operation = self.attention(layer, &at.qkv, batch, options);
            let d_bias = &mut gradients[slots.qkv.bias.clone()];
            attention::backward(operation, &at.probabilities, d_context, d_rows, d_qkv, d_bias); // [T, 3h]
            linear::backward_input(d_qkv, self.weight(&slots.qkv), self.precision, d, tokens, true);
            self.layer_input_again(layer, tokens, options, act);
            let d_weight = &mut gradients[slots.qkv.weight.clone()];
            linear::backward_weight(&act.d_qkv, &act.hidden_states, self.precision, d_weight, tokens);
            self.add_pooled(layer, batch, options, pooled, act);
        }
        self.embed_backward(batch, options, act, gradients);
    }

    /// Puts the input of a layer back into `act.hidden_states`.
    fn layer_input_again(&self, layer: usize, tokens: usize, options: &ForwardOptions, act: &mut Activations) {
        let a = self.architecture;
        if options.checkpointing {
            return act.hidden_states.copy_from_slice(&act.layer_inputs[layer]);
        }
        if layer > 0 {
            let before = norm(self.values, &self.slots.layers[layer - 1].output_norm, a);
            layer_norm::output_again(before, &act.layers[layer - 1].output_normalised, &mut act.hidden_states);
            return;
        }
        let projected = self.slots.projection.is_some();
        let output = if projected { &mut act.projection_input } else { &mut act.hidden_states };
        layer_norm::output_again(norm(self.values, &self.slots.norm, a), &act.embedding_normalised, output);
        self.hidden_dropout(options, EMBEDDING_SITE).apply(output, a.embedding_size);
        self.project(tokens, act);
    }

    fn add_pooled(
        &self,
        level: usize,
        batch: &Batch,
        options: &ForwardOptions,
        pooled: &PooledGradients,
        act: &mut Activations,
    ) {
        if let Some(gradient) = pooled.hidden.get(level).filter(|gradient| !gradient.is_empty()) {
            let (d, h) = (&mut act.d_hidden_states, self.architecture.hidden_size);
            mean_backward(gradient, &batch.cu_seqlens, options.spans, d, h);
        }
    }

    fn embed_backward(&self, batch: &Batch, options: &ForwardOptions, act: &mut Activations, gradients: &mut [f32]) {
        let a = self.architecture;
        let (tokens, e) = (batch.tokens(), a.embedding_size);
        let mut d_embedding = std::mem::take(&mut act.d_attention_output); // scratch of enough room
        d_embedding.resize(tokens * e, 0.0);
        if let Some(projection) = &self.slots.projection {
            // `layer_input_again` of layer 0 made `projection_input` again.
            let input = &act.projection_input;
            linear::backward_weight(
                &act.d_hidden_states,
                input,
                self.precision,
                &mut gradients[projection.weight.clone()],
                tokens,
            );
            linear::backward_bias(&act.d_hidden_states, &mut gradients[projection.bias.clone()]);
            linear::backward_input(
                &act.d_hidden_states,
                self.weight(projection),
                self.precision,
                &mut d_embedding,
                tokens,
                false,
            );
        } else {
            d_embedding.copy_from_slice(&act.d_hidden_states);
        }
        self.hidden_dropout(options, EMBEDDING_SITE).apply(&mut d_embedding, e);
        let [weight, bias] = parts(gradients, [&self.slots.norm.weight, &self.slots.norm.bias]);
        act.d_dense.resize(tokens * e, 0.0);
        act.d_embedded.resize(tokens * e, 0.0);
        layer_norm::backward(
            norm(self.values, &self.slots.norm, a),
            &d_embedding,
            &act.embedding_normalised,
            &act.embedding_deviation,
            RowDropout::NONE,
            &mut act.d_embedded, // [T, e], of the sum of embeddings
            &mut act.d_dense[..tokens * e],
            LayerNormGradients { weight, bias, input_bias: None },
        );
        let d_sum = &act.d_embedded;
        embedding::backward(d_sum, &batch.input_ids, &mut gradients[self.slots.word.clone()], e);
        embedding::backward(d_sum, &act.positions, &mut gradients[self.slots.position.clone()], e);
        if let Some(token_type) = &self.slots.token_type {
            embedding::backward(d_sum, &act.token_types, &mut gradients[token_type.clone()], e);
        }
        act.d_attention_output = d_embedding;
    }
}
