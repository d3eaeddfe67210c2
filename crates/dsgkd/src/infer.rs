//! Logits and embeddings of many notes: batches by a token budget, sorted by length inside a window, answers in the order of the notes.

pub use dsgkd_ops::WeightPrecision;

use crate::error::{Error, Result};
use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::in_pool;

/// Tokens of one batch at most (a single longer note still is one batch).
const BATCH_TOKENS: usize = 4096;

/// Buffers that are reused from call to call.
#[derive(Default)]
pub struct Scorer {
    /// Compute the last layer at every token, also where [`Scorer::logits`] reads each note's first alone: to be measured beside programs that do.
    pub every_token: bool,
    activations: Activations,
    head: ClassifierActivations,
}

impl Scorer {
    /// Logits `[notes, classes]` of `notes`, each a list of token ids.
    ///
    /// # Errors
    /// One of them is no finite number.
    pub fn logits(&mut self, model: &Model, notes: &[&[u32]]) -> Result<Vec<f32>> {
        let classes = model.classes.len();
        let mut logits = vec![0f32; notes.len() * classes];
        let head = &mut self.head;
        for_each_batch(model, notes, self.every_token, &mut self.activations, |here, batch, activations| {
            let all: Vec<usize> = (0..here.len()).collect();
            model.classify(batch, &all, None, activations, head);
            for (note, row) in here.iter().zip(head.logits.chunks_exact(classes)) {
                logits[note * classes..(note + 1) * classes].copy_from_slice(row);
            }
        });
        check_finite(&logits)?;
        Ok(logits)
    }

    /// Mean of the last hidden states of each note's tokens, special ones included, `[notes, hidden]`: a note's embedding, pooled
    /// as sentence encoders are trained (Reimers and Gurevych, arXiv 1908.10084, section 3).
    ///
    /// # Errors
    /// One of its numbers is not finite.
    pub fn mean_hidden(&mut self, model: &Model, notes: &[&[u32]]) -> Result<Vec<f32>> {
        let hidden = model.architecture.hidden_size;
        let mut means = vec![0f32; notes.len() * hidden];
        for_each_batch(model, notes, true, &mut self.activations, |here, batch, activations| {
            for (note, ends) in here.iter().zip(batch.cu_seqlens.windows(2)) {
                let mean = &mut means[note * hidden..(note + 1) * hidden];
                let states = &activations.hidden_states[ends[0] as usize * hidden..ends[1] as usize * hidden];
                for state in states.chunks_exact(hidden) {
                    mean.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
                }
                let tokens = (ends[1] - ends[0]) as f32;
                mean.iter_mut().for_each(|sum| *sum /= tokens);
            }
        });
        check_finite(&means)?;
        Ok(means)
    }
}

/// Refuses what a diverged model says: nothing that is made of it would be a number, and a decision would be made all the same.
///
/// # Errors
/// A value is not finite.
pub(crate) fn check_finite(values: &[f32]) -> Result<()> {
    if values.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let message = "the model's numbers are not finite: its training diverged (lower the learning rate), or its weights are damaged";
    Err(Error::Model(message.to_string()))
}

/// Runs the encoder over all notes, batch by batch; `take` is given which notes a batch holds, the batch and what came out,
/// of every token or of those that the classifier reads.
fn for_each_batch(
    model: &Model,
    notes: &[&[u32]],
    every_token: bool,
    activations: &mut Activations,
    mut take: impl FnMut(&[usize], &Batch, &Activations) + Send,
) {
    let mut order: Vec<usize> = (0..notes.len()).collect();
    order.sort_by_key(|note| notes[*note].len());
    in_pool(|| {
        let mut rest = &order[..];
        while !rest.is_empty() {
            let mut tokens = 0;
            let fits = |note: &&usize| {
                tokens += notes[**note].len();
                tokens <= BATCH_TOKENS
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (here, later) = rest.split_at(count);
            rest = later;
            let batch = Batch::pack(here.iter().map(|note| notes[*note]));
            let classified = || batch.wanted(&model.classified_tokens(&batch, 0..batch.notes()));
            let wanted = (!every_token).then(classified);
            let options = ForwardOptions { wanted: wanted.as_deref(), ..ForwardOptions::default() };
            model.forward(&batch, &options, activations);
            take(here, &batch, activations);
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dsgkd_encoder::{HeadForm, Heads};
    use serde_json::json;

    #[test]
    fn a_diverged_model_does_not_answer() {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 16});
        let heads = Heads { classes: vec!["no".into(), "yes".into()], ..Heads::default() };
        let mut model = Model::fresh(config, &heads, 5).unwrap();
        assert!(Scorer::default().logits(&model, &[&[1, 2]]).is_ok());
        model.values.fill(1e30);
        let message = Scorer::default().logits(&model, &[&[1, 2]]).unwrap_err().to_string();
        assert!(message.contains("not finite") && message.contains("learning rate"), "{message}");
        assert!(Scorer::default().mean_hidden(&model, &[&[1, 2]]).is_err());
    }

    #[test]
    fn logits_need_the_last_layer_at_the_classifier_s_tokens_alone() {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 16, "initializer_range": 0.3});
        let heads = |form| Heads { classes: vec!["no".into(), "yes".into()], form, ..Heads::default() };
        let notes: Vec<Vec<u32>> =
            (1..12).map(|length| (0..length).map(|at| (at * 7 + length) % 30).collect()).collect();
        let notes: Vec<&[u32]> = notes.iter().map(|note| &note[..]).collect();
        let precisions = [WeightPrecision::Float32, WeightPrecision::Bfloat16, WeightPrecision::Int8];
        for (precision, form) in
            precisions.iter().flat_map(|precision| [HeadForm::Family, HeadForm::Mean].map(|form| (*precision, form)))
        {
            let mut model = Model::fresh(config.clone(), &heads(form), 5).unwrap();
            model.pack(precision);
            let mut scorer = Scorer::default();
            let first = scorer.logits(&model, &notes).unwrap();
            scorer.every_token = true;
            let all = scorer.logits(&model, &notes).unwrap();
            assert!(first.iter().zip(&all).all(|(first, all)| (first - all).abs() < 1e-5), "{precision:?}");
        }
    }
}
