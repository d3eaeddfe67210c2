//! Logits of many notes: batches by a token budget, sorted by length inside a window, answers in the order of the notes.

pub use dsgkd_ops::WeightPrecision;

use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::in_pool;

/// Tokens of one batch at most (a single longer note still is one batch).
const BATCH_TOKENS: usize = 4096;

/// Buffers that are reused from call to call.
#[derive(Default)]
pub struct Scorer {
    activations: Activations,
    head: ClassifierActivations,
}

impl Scorer {
    /// Logits `[notes, classes]` of `notes`, each a list of token ids.
    pub fn logits(&mut self, model: &Model, notes: &[&[u32]]) -> Vec<f32> {
        in_pool(|| self.logits_here(model, notes))
    }

    fn logits_here(&mut self, model: &Model, notes: &[&[u32]]) -> Vec<f32> {
        let classes = model.classes.len();
        let mut logits = vec![0f32; notes.len() * classes];
        let mut order: Vec<usize> = (0..notes.len()).collect();
        order.sort_by_key(|note| notes[*note].len());
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
            model.forward(&batch, &ForwardOptions::default(), &mut self.activations);
            let all: Vec<usize> = (0..here.len()).collect();
            model.classify(&batch, &all, None, &self.activations, &mut self.head);
            for (note, row) in here.iter().zip(self.head.logits.chunks_exact(classes)) {
                logits[note * classes..(note + 1) * classes].copy_from_slice(row);
            }
        }
        logits
    }
}
