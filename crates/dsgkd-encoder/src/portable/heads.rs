//! The heads on a device.

use super::{Parameters, States};
use crate::encoder::{Batch, DropoutSeed, FIRST_HEAD_SITE};
use crate::layout::site_dropout;
use crate::model::Model;
use dsgkd_ops::portable::{Packing, Tensor, activation, drop_rows, layer_norm, linear, spans, upload_indices};

/// Logits `[notes, classes]` for the notes of `which` (indices into the batch).
pub fn classify(
    model: &Model,
    parameters: &mut Parameters,
    batch: &Batch,
    which: &[usize],
    dropout: Option<DropoutSeed>,
    states: &States,
) -> Tensor<2> {
    let (slots, h) = (model.classifier_slots(), model.architecture.hidden_size);
    let probability = model.architecture.classifier_dropout;
    let dropout = |layer: usize| site_dropout(probability, dropout, FIRST_HEAD_SITE + layer);
    let read = model.classified_tokens(batch, which.iter().copied());
    let (hidden_states, device) = (states.hidden_states.clone(), parameters.device());
    let mut state = if read.iter().all(|span| span.end - span.start == 1) {
        hidden_states.select(0, upload_indices(&batch.wanted(&read), &device)) // in the order of `which`, which ascends
    } else {
        let packing = Packing::new(&batch.cu_seqlens, &read, &device);
        spans::mean_forward(hidden_states, &packing).expect("there are notes to classify")
    }; // [B, h]
    for (layer, (slots, function, drops)) in slots.dense.iter().enumerate() {
        if *drops {
            state = drop_rows(dropout(layer), state);
        }
        let (weight, bias) = parameters.dense(slots, h);
        state = activation::dense_forward(*function, state, weight, bias);
    }
    let (weight, bias) = parameters.dense(&slots.output, h);
    linear::forward(drop_rows(dropout(slots.dense.len()), state), weight, Some(bias))
}

/// Masked-language-model logits `[rows.len(), vocab]` at packed token positions `rows`.
pub fn predict_masked(model: &Model, parameters: &mut Parameters, rows: &[usize], states: &States) -> Tensor<2> {
    let (slots, a) = (model.mlm_slots(), &model.architecture);
    let rows: Vec<u32> = rows.iter().map(|row| *row as u32).collect();
    let masked = states.hidden_states.clone().select(0, upload_indices(&rows, &parameters.device())); // [M, h]
    let (weight, bias) = parameters.dense(&slots.dense, a.hidden_size);
    let activated = activation::dense_forward(slots.activation, masked, weight, bias); // [M, e]
    let norm = parameters.norm(&slots.norm, a.layer_norm_eps);
    let normalised = layer_norm::forward(norm, activated, None);
    let word = parameters.matrix(&model.encoder_slots().word, a.embedding_size);
    linear::forward(normalised, word, Some(parameters.vector(&slots.bias()))) // [M, vocab]
}
