//! What goes into a forward and a backward pass: packed notes, and what is wanted beside the last hidden states.

use crate::architecture::Architecture;
use dsgkd_ops::spans::Span;

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

    /// The packed index of every token of `spans`, ascending: what [`ForwardOptions::wanted`] takes where they are all that is read.
    pub fn wanted<'a>(&self, spans: impl IntoIterator<Item = &'a Span>) -> Vec<u32> {
        let rows = spans.into_iter().flat_map(|span| span.rows(&self.cu_seqlens));
        let mut rows: Vec<u32> = rows.map(|row| row as u32).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
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
    /// Of that, store the input of each layer alone; the backward computes the layer again, to the same bits.
    pub checkpointing: bool,
    /// Spans whose pooled hidden states and attention rows are wanted, in the order of their notes.
    pub spans: &'a [Span],
    /// Pool the attention rows after attention dropout.
    pub rows_after_dropout: bool,
    /// Run only this many layers; `None`: all.
    pub layers: Option<usize>,
    /// Packed indices, ascending, of the tokens whose last hidden states will be read, those of `spans` among them; `None`: all. The last layer
    /// goes on with them alone after its attention, and leaves the other tokens' hidden states zero. Nothing else changes.
    pub wanted: Option<&'a [u32]>,
}

impl ForwardOptions<'_> {
    /// How many layers run.
    pub(crate) fn layers(&self, a: &Architecture) -> usize {
        self.layers.unwrap_or(a.num_hidden_layers).min(a.num_hidden_layers)
    }

    /// Which buffers hold what a layer stores.
    pub(super) fn slot(&self, layer: usize) -> usize {
        if self.for_backward && !self.checkpointing { layer } else { 0 }
    }
}

/// Gradients of what [`Activations`](super::Activations) gave out, beside that of the last hidden states. A missing or empty entry is zero.
#[derive(Default)]
pub struct PooledGradients {
    /// Of `pooled_hidden`, level by level, each `[spans, h]`.
    pub hidden: Vec<Vec<f32>>,
    /// Of `pooled_rows`, layer by layer.
    pub rows: Vec<Vec<f32>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_ascending_and_each_token_once() {
        let batch = Batch::pack([&[1, 2, 3][..], &[4, 5], &[6, 7, 8, 9]]);
        let span = |note, start, end| Span { note, start, end };
        assert_eq!(
            batch.wanted(&[span(2, 0, 1), span(0, 0, 1), span(0, 1, 3), span(0, 1, 2), span(2, 3, 4)]),
            [0, 1, 2, 5, 8]
        );
        assert_eq!(batch.wanted(&[]), [0u32; 0]);
    }
}
