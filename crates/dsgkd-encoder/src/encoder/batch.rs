//! What goes into a forward and a backward pass: packed notes, and what is wanted beside the last hidden states.

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
    /// Of that, store the input of each layer alone; the backward computes the layer again, to the same bits.
    pub checkpointing: bool,
    /// Spans whose pooled hidden states and attention rows are wanted, in the order of their notes.
    pub spans: &'a [Span],
    /// Pool the attention rows after attention dropout.
    pub rows_after_dropout: bool,
    /// Run only this many layers; `None`: all.
    pub layers: Option<usize>,
}

impl ForwardOptions<'_> {
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
