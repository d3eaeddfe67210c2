//! Where the notes and spans of a batch lie, as index tensors on a device: made once a batch, used by every layer.

use super::dropout::{scrambled, upload_u32};
use super::{upload, upload_indices};
use crate::spans::Span;
use burn_tensor::{Device, Int, Tensor};

/// See the module. B is the number of notes, L the length of the longest one, in tokens.
///
/// Inside `attention` notes stand side by side, `[B, L, ..]`, so that one batched product does for all: a product a note would start
/// B times as many kernels. Nothing outside sees the places past a note's end.
#[derive(Clone)]
pub struct Packing {
    pub(crate) notes: usize,
    pub(crate) longest: usize,
    /// Of each note, in tokens.
    lengths: Vec<usize>,
    /// Where the notes differ in length.
    pub(crate) ragged: Option<Ragged>,
    /// Of each probability in its note's `[length, length]`, for dropout: `[B, 1, L, L]`.
    pub(crate) positions: Tensor<4, Int>,
    /// Where there are spans.
    pub(crate) spans: Option<PackedSpans>,
}

/// The way between packed tokens and places in `[B, L]`.
#[derive(Clone)]
pub(crate) struct Ragged {
    /// Packed token of each place, `[B * L]`; past a note's end some token of the note.
    pub(crate) tokens: Tensor<1, Int>,
    /// Place of each token, `[tokens]`.
    pub(crate) places: Tensor<1, Int>,
    /// Added to scores: 0, or past a note's end a number whose exponential is 0; `[B, 1, 1, L]`.
    pub(crate) beyond: Tensor<4>,
}

/// The spans of a batch; S is the number of spans of the note that has most.
#[derive(Clone)]
pub(crate) struct PackedSpans {
    pub(crate) count: usize,
    /// The packed tokens of all spans, span after span.
    pub(crate) tokens: Tensor<1, Int>,
    /// The span of each of these.
    pub(crate) owners: Tensor<1, Int>,
    /// One over the length of that span, `[.., 1]`.
    pub(crate) shares: Tensor<2>,
    /// Mean over each span of its note's tokens, `[B, 1, S, L]`.
    pub(crate) means: Tensor<4>,
    /// Note and place among the note's spans, of each span.
    places: Vec<[usize; 2]>,
    /// S.
    pub(crate) most: usize,
}

/// Far below any score, yet finite, so that no difference of two is without a value.
const BEYOND: f32 = -1e30;

impl Packing {
    /// Of notes that begin at `cu_seqlens` (`[notes + 1]`, no note empty), and of `spans`, in the order of their notes.
    pub fn new(cu_seqlens: &[u32], spans: &[Span], device: &Device) -> Packing {
        let lengths: Vec<usize> = cu_seqlens.windows(2).map(|pair| (pair[1] - pair[0]) as usize).collect();
        let (notes, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let mut positions = Vec::with_capacity(notes * longest * longest);
        for length in &lengths {
            // The places past the end are dropped or not as it happens: nothing of them is used.
            positions.extend((0..longest).flat_map(|i| (0..longest).map(move |j| scrambled(i * length + j))));
        }
        Packing {
            notes,
            longest,
            ragged: lengths.iter().any(|length| *length < longest).then(|| Ragged::new(cu_seqlens, &lengths, device)),
            positions: upload_u32(positions, [notes, 1, longest, longest], device),
            spans: (!spans.is_empty()).then(|| PackedSpans::new(cu_seqlens, &lengths, spans, device)),
            lengths,
        }
    }

    /// Note of each span and its place among the note's spans.
    pub fn span_places(&self) -> &[[usize; 2]] {
        self.spans.as_ref().map_or(&[], |spans| &spans.places)
    }

    /// Length of each span's note, in tokens.
    pub fn span_lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.span_places().iter().map(|[note, _]| self.lengths[*note])
    }
}

impl Ragged {
    fn new(cu_seqlens: &[u32], lengths: &[usize], device: &Device) -> Ragged {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let (mut tokens, mut places, mut beyond) = (vec![], vec![], vec![]);
        for (note, (first, length)) in cu_seqlens.iter().zip(lengths).enumerate() {
            for place in 0..longest {
                tokens.push(first + place.min(length - 1) as u32);
                beyond.push(if place < *length { 0.0 } else { BEYOND });
            }
            places.extend((0..*length).map(|place| (note * longest + place) as u32));
        }
        Ragged {
            tokens: upload_indices(&tokens, device),
            places: upload_indices(&places, device),
            beyond: upload(&beyond, [lengths.len(), 1, 1, longest], device),
        }
    }
}

impl PackedSpans {
    fn new(cu_seqlens: &[u32], lengths: &[usize], spans: &[Span], device: &Device) -> PackedSpans {
        let (notes, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let mut of_note = vec![0usize; notes];
        let mut places = Vec::with_capacity(spans.len());
        let (mut tokens, mut owners, mut shares) = (vec![], vec![], vec![]);
        for (owner, span) in spans.iter().enumerate() {
            let note = span.note as usize;
            places.push([note, of_note[note]]);
            of_note[note] += 1;
            let of_span = span.rows(cu_seqlens);
            owners.extend(std::iter::repeat_n(owner as u32, of_span.len()));
            shares.extend(std::iter::repeat_n(1.0 / of_span.len() as f32, of_span.len()));
            tokens.extend(of_span.map(|token| token as u32));
        }
        let most = of_note.iter().copied().max().unwrap_or(0);
        let mut means = vec![0f32; notes * most * longest];
        for (span, [note, place]) in spans.iter().zip(&places) {
            let at = (note * most + place) * longest;
            means[at + span.start as usize..at + span.end as usize].fill(1.0 / (span.end - span.start) as f32);
        }
        PackedSpans {
            count: spans.len(),
            tokens: upload_indices(&tokens, device),
            owners: upload_indices(&owners, device),
            shares: upload(&shares, [tokens.len(), 1], device),
            means: upload(&means, [notes, 1, most, longest], device),
            places,
            most,
        }
    }
}
