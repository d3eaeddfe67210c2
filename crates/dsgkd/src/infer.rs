//! Logits and embeddings of many notes: batches by a token budget, sorted by length inside a window, answers in the order of the notes.

pub use dsgkd_ops::WeightPrecision;

use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::in_pool;

/// Tokens of one batch at most (a single longer note still is one batch).
const BATCH_TOKENS: usize = 4096;

/// Buffers that are reused from call to call.
#[derive(Default)]
pub struct Scorer {
    /// Compute the last layer at every token, also where [`Scorer::logits`] reads the first alone: to be measured beside programs that do.
    pub every_token: bool,
    activations: Activations,
    head: ClassifierActivations,
}

impl Scorer {
    /// Logits `[notes, classes]` of `notes`, each a list of token ids.
    pub fn logits(&mut self, model: &Model, notes: &[&[u32]]) -> Vec<f32> {
        let classes = model.classes.len();
        let mut logits = vec![0f32; notes.len() * classes];
        let head = &mut self.head;
        let wanted = if self.every_token { Wanted::All } else { Wanted::First };
        for_each_batch(model, notes, wanted, &mut self.activations, |here, batch, activations| {
            let all: Vec<usize> = (0..here.len()).collect();
            model.classify(batch, &all, None, activations, head);
            for (note, row) in here.iter().zip(head.logits.chunks_exact(classes)) {
                logits[note * classes..(note + 1) * classes].copy_from_slice(row);
            }
        });
        logits
    }

    /// Mean of the last hidden states of each note's tokens, special ones included, `[notes, hidden]`: a note's embedding, pooled
    /// as sentence encoders are trained (Reimers and Gurevych, arXiv 1908.10084, section 3).
    pub fn mean_hidden(&mut self, model: &Model, notes: &[&[u32]]) -> Vec<f32> {
        let hidden = model.architecture.hidden_size;
        let mut means = vec![0f32; notes.len() * hidden];
        for_each_batch(model, notes, Wanted::All, &mut self.activations, |here, batch, activations| {
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
        means
    }
}

/// The tokens whose last hidden states are read.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    First,
    All,
}

/// Runs the encoder over all notes, batch by batch; `take` is given which notes a batch holds, the batch and what came out.
fn for_each_batch(
    model: &Model,
    notes: &[&[u32]],
    wanted: Wanted,
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
            let first = batch.wanted(0..here.len(), &[]);
            let wanted = (wanted == Wanted::First).then_some(&first[..]);
            model.forward(&batch, &ForwardOptions { wanted, ..ForwardOptions::default() }, activations);
            take(here, &batch, activations);
        }
    });
}
