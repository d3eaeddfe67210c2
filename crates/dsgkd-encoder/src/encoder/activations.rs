//! The buffers of a forward and backward pass, which grow to the largest batch and are reused.
//! T is the number of tokens of the batch, h the hidden size, e the embeddings' size, f the feed-forward size. Of the last layer, what comes after
//! the attention fills as many rows as tokens are wanted.

use super::batch::{Batch, ForwardOptions};
use crate::architecture::Architecture;
use dsgkd_ops::attention;
use dsgkd_ops::linear::PackedRows;
use dsgkd_ops::spans::row_offsets;

#[derive(Default)]
pub(super) struct LayerActivations {
    pub(super) qkv: Vec<f32>,                         // [T, 3h]
    pub(super) probabilities: Vec<f32>,               // [notes, heads, length, length]
    pub(super) context: Vec<f32>,                     // [T, h]
    pub(super) attention_normalised: Vec<f32>,        // [T, h]
    pub(super) attention_inverse_deviation: Vec<f32>, // [T]
    pub(super) intermediate: Vec<f32>,                // [T, f]
    pub(super) output_normalised: Vec<f32>,           // [T, h]
    pub(super) output_inverse_deviation: Vec<f32>,    // [T]
}

/// Buffers of a forward and backward pass.
#[derive(Default)]
pub struct Activations {
    /// The last hidden states, `[T, h]`; zero at tokens that [`ForwardOptions::wanted`] leaves out.
    pub hidden_states: Vec<f32>,
    /// Mean hidden state of each span, `[spans, h]`, for the embedding output (level 0) and every layer.
    pub pooled_hidden: Vec<Vec<f32>>,
    /// Mean attention-probability row of each span, layer by layer: ragged `[spans][heads, tokens of the note]`.
    pub pooled_rows: Vec<Vec<f32>>,
    /// The caller puts the gradient of `hidden_states` here, `[T, h]`, before the backward. Tokens that were left out have none.
    pub d_hidden_states: Vec<f32>,
    pub(super) positions: Vec<u32>,            // [T]
    pub(super) token_types: Vec<u32>,          // [T]
    pub(super) projection_input: Vec<f32>,     // [T, e], where embeddings are projected
    pub(super) embedding_normalised: Vec<f32>, // [T, e]
    pub(super) embedding_deviation: Vec<f32>,  // [T]
    /// One a layer for the backward, else one in all.
    pub(super) layers: Vec<LayerActivations>,
    pub(super) layer_inputs: Vec<Vec<f32>>, // [layers][T, h], with checkpointing
    pub(super) attention_output: Vec<f32>,  // [T, h]
    pub(super) activated: Vec<f32>,         // [T, f]
    /// As the next product reads them, where it does not read plain rows: the hidden states of every layer but the last, the attention output, and what was
    /// activated, which is not kept otherwise.
    pub(super) hidden_packed: PackedRows, // [T, h]
    pub(super) attention_packed: PackedRows, // [T, h]
    pub(super) activated_packed: PackedRows, // [T, f]
    pub(super) d_dense: Vec<f32>,           // [T, h]
    pub(super) d_attention_output: Vec<f32>, // [T, h]
    pub(super) d_intermediate: Vec<f32>,    // [T, f]
    pub(super) d_qkv: Vec<f32>,             // [T, 3h]
    pub(super) d_embedded: Vec<f32>,        // [T, e]
}

impl Activations {
    pub(super) fn resize(&mut self, a: &Architecture, batch: &Batch, options: &ForwardOptions, layers: usize) {
        let (tokens, h, e, f) = (batch.tokens(), a.hidden_size, a.embedding_size, a.intermediate_size);
        self.positions.clear();
        for pair in batch.cu_seqlens.windows(2) {
            self.positions.extend((0..pair[1] - pair[0]).map(|position| position + a.first_position as u32));
        }
        self.token_types.clear();
        self.token_types.resize(tokens, 0);
        for (buffer, length) in [
            (&mut self.hidden_states, tokens * h),
            (&mut self.embedding_normalised, tokens * e),
            (&mut self.embedding_deviation, tokens),
            (&mut self.attention_output, tokens * h),
            (&mut self.projection_input, tokens * e),
        ] {
            buffer.resize(length, 0.0);
        }
        let kept = if options.for_backward && !options.checkpointing { layers } else { 1 };
        let inputs = if options.for_backward && options.checkpointing { layers } else { 0 };
        self.layer_inputs.resize_with(inputs, Vec::new);
        self.layer_inputs.iter_mut().for_each(|input| input.resize(tokens * h, 0.0));
        if self.layers.len() < kept {
            self.layers.resize_with(kept, LayerActivations::default);
        }
        let probabilities = attention::probabilities_len(&batch.cu_seqlens, a.num_attention_heads);
        for layer in &mut self.layers[..kept] {
            for (buffer, length) in [
                (&mut layer.qkv, tokens * 3 * h),
                (&mut layer.probabilities, if options.for_backward { probabilities } else { 0 }),
                (&mut layer.context, tokens * h),
                (&mut layer.attention_normalised, tokens * h),
                (&mut layer.attention_inverse_deviation, tokens),
                (&mut layer.intermediate, if options.for_backward { tokens * f } else { 0 }),
                (&mut layer.output_normalised, tokens * h),
                (&mut layer.output_inverse_deviation, tokens),
            ] {
                buffer.resize(length, 0.0);
            }
        }
        let rows = *row_offsets(&batch.cu_seqlens, options.spans, a.num_attention_heads).last().unwrap_or(&0);
        self.pooled_hidden.resize_with(layers + 1, Vec::new);
        self.pooled_rows.resize_with(layers, Vec::new);
        self.pooled_hidden.iter_mut().for_each(|pooled| pooled.resize(options.spans.len() * h, 0.0));
        self.pooled_rows.iter_mut().for_each(|pooled| pooled.resize(rows, 0.0));
    }

    pub(super) fn resize_gradients(&mut self, a: &Architecture, tokens: usize) {
        let (h, f) = (a.hidden_size, a.intermediate_size);
        for (buffer, length) in [
            (&mut self.d_dense, tokens * h),
            (&mut self.d_attention_output, tokens * h),
            (&mut self.d_intermediate, tokens * f),
            (&mut self.d_qkv, tokens * 3 * h),
        ] {
            buffer.resize(length, 0.0);
        }
    }
}
