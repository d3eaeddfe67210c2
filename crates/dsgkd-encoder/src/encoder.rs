//! The encoder itself: embeddings and post-norm layers, forward and backward, on packed tokens.
//!
//! Both directions read like the model's equations; T is the number of tokens of the batch, h the hidden size, f the
//! feed-forward size. What the backward needs is stored in [`Activations`], which grow to the largest batch and are reused.

use crate::architecture::Architecture;
use crate::family::{Family, LayerPart};
use crate::layout::{DenseSlots, Group, Initial, Layout, NormSlots, site_dropout};
use dsgkd_ops::layer_norm::{Addends, LayerNorm, LayerNormGradients};
use dsgkd_ops::linear::Weight;
use dsgkd_ops::spans::{Span, mean_backward, mean_forward, row_offsets};
use dsgkd_ops::{
    Dropout, PackedWeight, Precision, WeightPrecision, activation, attention, embedding, layer_norm, linear,
};
use std::ops::Range;

/// Notes packed end to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all notes, `[tokens]`.
    pub input_ids: Vec<u32>,
    /// Where each note begins, `[notes + 1]`; no note is empty.
    pub cu_seqlens: Vec<u32>,
}

impl Batch {
    /// Packs notes, each a list of token ids.
    pub fn pack<'a>(notes: impl IntoIterator<Item = &'a [u32]>) -> Batch {
        let mut batch = Batch { input_ids: vec![], cu_seqlens: vec![0] };
        for note in notes {
            assert!(!note.is_empty(), "a note has at least its special tokens");
            batch.input_ids.extend_from_slice(note);
            batch.cu_seqlens.push(batch.input_ids.len() as u32);
        }
        batch
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Number of notes.
    pub fn notes(&self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Packed index of each note's first token.
    pub fn first_tokens(&self) -> impl Iterator<Item = usize> + '_ {
        self.cu_seqlens[..self.notes()].iter().map(|at| *at as usize)
    }
}

/// Decides which elements this step drops; the same seed gives the same masks.
pub type DropoutSeed = u64;

/// What a forward pass is to do beside the last hidden states.
#[derive(Clone, Copy, Default)]
pub struct ForwardOptions<'a> {
    /// Train: drop by this seed. `None`: evaluate.
    pub dropout: Option<DropoutSeed>,
    /// Store what the backward needs.
    pub for_backward: bool,
    /// Spans whose pooled hidden states and attention rows are wanted, in the order of their notes.
    pub spans: &'a [Span],
    /// Pool the attention rows after attention dropout.
    pub rows_after_dropout: bool,
    /// Run only this many layers; `None`: all.
    pub layers: Option<usize>,
}

/// Gradients of what [`Activations`] gave out, beside that of the last hidden states. A missing or empty entry is zero.
#[derive(Default)]
pub struct PooledGradients {
    /// Of `pooled_hidden`, level by level, each `[spans, h]`.
    pub hidden: Vec<Vec<f32>>,
    /// Of `pooled_rows`, layer by layer.
    pub rows: Vec<Vec<f32>>,
}

#[derive(Default)]
struct LayerActivations {
    qkv: Vec<f32>,                         // [T, 3h]
    probabilities: Vec<f32>,               // [notes, heads, length, length]
    context: Vec<f32>,                     // [T, h]
    attention_normalised: Vec<f32>,        // [T, h]
    attention_inverse_deviation: Vec<f32>, // [T]
    intermediate: Vec<f32>,                // [T, f]
    output_normalised: Vec<f32>,           // [T, h]
    output_inverse_deviation: Vec<f32>,    // [T]
}

/// Buffers of a forward and backward pass.
#[derive(Default)]
pub struct Activations {
    /// The last hidden states, `[T, h]`.
    pub hidden_states: Vec<f32>,
    /// Mean hidden state of each span, `[spans, h]`, for the embedding output (level 0) and every layer.
    pub pooled_hidden: Vec<Vec<f32>>,
    /// Mean attention-probability row of each span, layer by layer: ragged `[spans][heads, tokens of the note]`.
    pub pooled_rows: Vec<Vec<f32>>,
    /// The caller puts the gradient of `hidden_states` here, `[T, h]`, before the backward.
    pub d_hidden_states: Vec<f32>,
    positions: Vec<u32>,            // [T]
    token_types: Vec<u32>,          // [T]
    projection_input: Vec<f32>,     // [T, e], where embeddings are projected
    embedding_normalised: Vec<f32>, // [T, e]
    embedding_deviation: Vec<f32>,  // [T]
    layers: Vec<LayerActivations>,
    attention_output: Vec<f32>,   // [T, h]
    activated: Vec<f32>,          // [T, f]
    d_dense: Vec<f32>,            // [T, h]
    d_attention_output: Vec<f32>, // [T, h]
    d_intermediate: Vec<f32>,     // [T, f]
    d_qkv: Vec<f32>,              // [T, 3h]
    d_embedded: Vec<f32>,         // [T, e]
}

/// An encoder's places in the arena.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EncoderSlots {
    pub(crate) word: Range<usize>,
    position: Range<usize>,
    token_type: Option<Range<usize>>,
    norm: NormSlots,
    projection: Option<DenseSlots>,
    layers: Vec<LayerSlots>,
}

#[derive(Debug, Clone, PartialEq)]
struct LayerSlots {
    qkv: DenseSlots,
    attention_output: DenseSlots,
    attention_norm: NormSlots,
    intermediate: DenseSlots,
    output: DenseSlots,
    output_norm: NormSlots,
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

/// Sites of dropout: the embeddings, then three a layer.
const EMBEDDING_SITE: usize = 0;
fn layer_site(layer: usize, which: usize) -> usize {
    1 + 3 * layer + which
}
/// Sites of the heads come after those of any encoder.
pub(crate) const FIRST_HEAD_SITE: usize = 1 << 20;

fn norm<'a>(values: &'a [f32], slots: &NormSlots, a: &Architecture) -> LayerNorm<'a> {
    LayerNorm { weight: &values[slots.weight.clone()], bias: &values[slots.bias.clone()], epsilon: a.layer_norm_eps }
}

/// Disjoint parts of the gradient arena. The layout makes them so; a clash would be a bug of ours.
fn parts<'g, const N: usize>(gradients: &'g mut [f32], ranges: [&Range<usize>; N]) -> [&'g mut [f32]; N] {
    gradients.get_disjoint_mut(ranges.map(Range::clone)).expect("tensors of one layout never overlap")
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

/// The dense weights of all layers, packed: four a layer, in the order of the forward pass.
#[derive(Clone)]
pub(crate) struct PackedLayers {
    layers: Vec<[PackedWeight; 4]>,
    /// Of attention's own products.
    precision: Precision,
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

    /// Fills `act.hidden_states` and the pooled values.
    pub(crate) fn forward(&self, batch: &Batch, options: &ForwardOptions, act: &mut Activations) {
        let a = self.architecture;
        let (tokens, h, f) = (batch.tokens(), a.hidden_size, a.intermediate_size);
        let layers = options.layers.unwrap_or(a.num_hidden_layers).min(a.num_hidden_layers);
        act.resize(a, batch, options, layers);
        self.embed(batch, options, act);
        self.pool(0, batch, options, act);
        for layer in 0..layers {
            let slots = &self.slots.layers[layer];
            let Activations { layers: stored, hidden_states, attention_output, activated, pooled_rows, .. } = act;
            let at = &mut stored[if options.for_backward { layer } else { 0 }];
            let bias = self.bias(&slots.qkv);
            linear::forward_bias(hidden_states, self.layer_weight(layer, 0), bias, &mut at.qkv, tokens); // [T, 3h]
            let operation = self.attention(layer, &at.qkv, batch, options);
            let probabilities = options.for_backward.then_some(&mut at.probabilities[..]);
            attention::forward(operation, &mut at.context, probabilities, &mut pooled_rows[layer]); // [T, h]
            let dense = &mut at.attention_normalised; // the norm turns it into that
            linear::forward(&at.context, self.layer_weight(layer, 1), dense, tokens); // [T, h]
            layer_norm::forward(
                norm(self.values, &slots.attention_norm, a),
                dense,
                Some(Addends {
                    bias: self.bias(&slots.attention_output),
                    residual: hidden_states,
                    dropout: self.hidden_dropout(options, layer_site(layer, 1)),
                }),
                &mut at.attention_inverse_deviation,
                attention_output, // [T, h]
            );
            activation::dense_forward(
                a.hidden_act,
                attention_output,
                self.layer_weight(layer, 2),
                self.bias(&slots.intermediate),
                options.for_backward.then_some(&mut at.intermediate[..]),
                activated, // [T, f]
                tokens,
            );
            let dense = &mut at.output_normalised;
            linear::forward(activated, self.layer_weight(layer, 3), dense, tokens); // [T, h]
            layer_norm::forward(
                norm(self.values, &slots.output_norm, a),
                dense,
                Some(Addends {
                    bias: self.bias(&slots.output),
                    residual: attention_output,
                    dropout: self.hidden_dropout(options, layer_site(layer, 2)),
                }),
                &mut at.output_inverse_deviation,
                hidden_states, // [T, h]
            );
            debug_assert_eq!((hidden_states.len(), activated.len()), (tokens * h, tokens * f));
            self.pool(layer + 1, batch, options, act);
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
        layer_norm::forward(norm, embedded, None, &mut act.embedding_deviation, output); // [T, e]
        self.hidden_dropout(options, EMBEDDING_SITE).apply(output, a.embedding_size);
        self.project(batch.tokens(), act);
    }

    /// `hidden_states = projection_input * projection^T + bias`, for a family whose embeddings are narrower than its layers.
    fn project(&self, tokens: usize, act: &mut Activations) {
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
        let (tokens, h) = (batch.tokens(), a.hidden_size);
        assert_eq!(act.d_hidden_states.len(), tokens * h);
        act.resize_gradients(a, tokens);
        let layers = options.layers.unwrap_or(a.num_hidden_layers).min(a.num_hidden_layers);
        self.add_pooled(layers, batch, options, pooled, act);
        for layer in (0..layers).rev() {
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
            let at = &mut stored[layer];
            let [weight, bias, input_bias] =
                parts(gradients, [&slots.output_norm.weight, &slots.output_norm.bias, &slots.output.bias]);
            layer_norm::backward(
                norm(self.values, &slots.output_norm, a),
                d,
                &at.output_normalised,
                &at.output_inverse_deviation,
                self.hidden_dropout(options, layer_site(layer, 2)),
                d_attention_output, // [T, h], by the residual
                d_dense,            // [T, h]
                LayerNormGradients { weight, bias, input_bias: Some(input_bias) },
            );
            activation::backward_through(
                a.hidden_act,
                d_dense,
                self.weight(&slots.output),
                self.precision,
                &mut at.intermediate, // becomes its activation again
                d_intermediate,       // [T, f]
                &mut gradients[slots.intermediate.bias.clone()],
                tokens,
            );
            linear::backward_weight(
                d_dense,
                &at.intermediate,
                self.precision,
                &mut gradients[slots.output.weight.clone()],
                tokens,
            );
            let attention_norm = norm(self.values, &slots.attention_norm, a);
            layer_norm::output_again(attention_norm, &at.attention_normalised, attention_output);
            let d_weight = &mut gradients[slots.intermediate.weight.clone()];
            linear::backward_weight(d_intermediate, attention_output, self.precision, d_weight, tokens);
            linear::backward_input(
                d_intermediate,
                self.weight(&slots.intermediate),
                self.precision,
                d_attention_output,
                tokens,
                true,
            );

            let [weight, bias, input_bias] = parts(
                gradients,
                [&slots.attention_norm.weight, &slots.attention_norm.bias, &slots.attention_output.bias],
            );
            layer_norm::backward(
                attention_norm,
                d_attention_output,
                &at.attention_normalised,
                &at.attention_inverse_deviation,
                self.hidden_dropout(options, layer_site(layer, 1)),
                d,       // [T, h], by the residual
                d_dense, // [T, h]
                LayerNormGradients { weight, bias, input_bias: Some(input_bias) },
            );
            let d_weight = &mut gradients[slots.attention_output.weight.clone()];
            linear::backward_weight(d_dense, &at.context, self.precision, d_weight, tokens);
            let d_context = &mut *d_attention_output; // no longer needed
            linear::backward_input(
                d_dense,
                self.weight(&slots.attention_output),
                self.precision,
                d_context,
                tokens,
                false,
            );
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
            Dropout::NONE,
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

impl Activations {
    fn resize(&mut self, a: &Architecture, batch: &Batch, options: &ForwardOptions, layers: usize) {
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
            (&mut self.activated, tokens * f),
        ] {
            buffer.resize(length, 0.0);
        }
        let kept = if options.for_backward { layers } else { 1 };
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

    fn resize_gradients(&mut self, a: &Architecture, tokens: usize) {
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
