//! The forward pass on a device. It reads like the one of [`crate::encoder`], whose shapes and names it shares.

use super::Parameters;
use crate::encoder::{Batch, EMBEDDING_SITE, ForwardOptions, layer_site};
use crate::layout::site_dropout;
use crate::model::Model;
use dsgkd_ops::Dropout;
use dsgkd_ops::portable::attention::{self, Attended};
use dsgkd_ops::portable::embedding::{self, Lookup};
use dsgkd_ops::portable::layer_norm::{self, Addends};
use dsgkd_ops::portable::{Packing, Tensor, activation, drop_rows, linear, spans, upload_indices};
use std::ops::Range;

/// What a forward pass gives.
pub struct States {
    /// The last hidden states, `[T, h]`.
    pub hidden_states: Tensor<2>,
    /// Mean hidden state of each span, `[spans, h]`, for the embedding output (level 0) and every layer. Empty without spans.
    pub pooled_hidden: Vec<Tensor<2>>,
    /// Mean attention-probability row of each span, layer by layer: see [`Attended::rows`]. Empty without spans.
    pub pooled_rows: Vec<Tensor<4>>,
    /// Where notes and spans lie.
    pub packing: Packing,
}

/// Runs the encoder of `model` over a batch. `options.for_backward` is that of `parameters`; `checkpointing` and `wanted` are not known here: every token is computed.
pub fn forward(model: &Model, parameters: &mut Parameters, batch: &Batch, options: &ForwardOptions) -> States {
    let a = &model.architecture;
    let packing = Packing::new(&batch.cu_seqlens, options.spans, &parameters.device());
    let hidden_states = embed(model, parameters, batch, options);
    let mut states = States { hidden_states, pooled_hidden: vec![], pooled_rows: vec![], packing };
    states.pool();
    for layer in 0..options.layers(a) {
        forward_layer(model, parameters, layer, options, &mut states);
        states.pool();
    }
    states
}

impl States {
    fn pool(&mut self) {
        self.pooled_hidden.extend(spans::mean_forward(self.hidden_states.clone(), &self.packing));
    }
}

/// The embedding output: level 0 of the hidden states.
fn embed(model: &Model, parameters: &mut Parameters, batch: &Batch, options: &ForwardOptions) -> Tensor<2> {
    let (a, slots, device) = (&model.architecture, model.encoder_slots(), parameters.device());
    let first = a.first_position as u32;
    let positions = batch.cu_seqlens.windows(2).flat_map(|pair| first..first + pair[1] - pair[0]);
    let positions: Vec<u32> = positions.collect();
    let mut lookup = |table: &Range<usize>, rows: &[u32]| Lookup {
        table: parameters.matrix(table, a.embedding_size),
        rows: upload_indices(rows, &device),
    };
    let mut lookups = vec![lookup(&slots.word, &batch.input_ids), lookup(&slots.position, &positions)];
    lookups.extend(slots.token_type.as_ref().map(|table| lookup(table, &vec![0; batch.tokens()])));
    let embedded = embedding::forward(lookups); // [T, e]
    let norm = parameters.norm(&slots.norm, a.layer_norm_eps);
    let normalised = layer_norm::forward(norm, embedded, None);
    let embedded = drop_rows(hidden_dropout(model, options, EMBEDDING_SITE), normalised);
    match &slots.projection {
        Some(projection) => {
            let (weight, bias) = parameters.dense(projection, a.embedding_size);
            linear::forward(embedded, weight, Some(bias)) // [T, h]
        }
        None => embedded,
    }
}

fn hidden_dropout(model: &Model, options: &ForwardOptions, site: usize) -> Dropout {
    site_dropout(model.architecture.hidden_dropout_prob, options.dropout, site)
}

/// One layer: `states.hidden_states` from its input to its output, and its pooled attention rows.
fn forward_layer(
    model: &Model,
    parameters: &mut Parameters,
    layer: usize,
    options: &ForwardOptions,
    states: &mut States,
) {
    let a = &model.architecture;
    let slots = &model.encoder_slots().layers[layer];
    let (h, f, epsilon) = (a.hidden_size, a.intermediate_size, a.layer_norm_eps);
    let input = states.hidden_states.clone();
    let (weight, bias) = parameters.dense(&slots.qkv, h);
    let qkv = linear::forward(input.clone(), weight, Some(bias)); // [T, 3h]
    let dropout = site_dropout(a.attention_probs_dropout_prob, options.dropout, layer_site(layer, 0));
    let Attended { context, rows } =
        attention::forward(qkv, a.num_attention_heads, &states.packing, dropout, options.rows_after_dropout);
    states.pooled_rows.extend(rows);
    let (weight, bias) = parameters.dense(&slots.attention_output, h);
    let add = Addends { residual: input, dropout: hidden_dropout(model, options, layer_site(layer, 1)) };
    let norm = parameters.norm(&slots.attention_norm, epsilon);
    let attention_output = layer_norm::forward(norm, linear::forward(context, weight, Some(bias)), Some(add)); // [T, h]
    let (weight, bias) = parameters.dense(&slots.intermediate, h);
    let activated = activation::dense_forward(a.hidden_act, attention_output.clone(), weight, bias); // [T, f]
    let (weight, bias) = parameters.dense(&slots.output, f);
    let add = Addends { residual: attention_output, dropout: hidden_dropout(model, options, layer_site(layer, 2)) };
    let norm = parameters.norm(&slots.output_norm, epsilon);
    states.hidden_states = layer_norm::forward(norm, linear::forward(activated, weight, Some(bias)), Some(add)); // [T, h]
}
