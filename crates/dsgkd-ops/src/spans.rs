//! Token spans of packed notes, and means over them.

/// Half-open range of token positions of one note; position 0 is the note's first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the note in the batch.
    pub note: u32,
    /// First position.
    pub start: u32,
    /// One past the last position; greater than `start`.
    pub end: u32,
}

impl Span {
    /// The packed rows of the span.
    pub fn rows(&self, cu_seqlens: &[u32]) -> std::ops::Range<usize> {
        let first = cu_seqlens[self.note as usize];
        let range = (first + self.start) as usize..(first + self.end) as usize;
        assert!(self.start < self.end && range.end <= cu_seqlens[self.note as usize + 1] as usize);
        range
    }
}

/// `output [spans, hidden]` = the mean of `hidden_states [tokens, hidden]` over each span (DSG-KD, step 2).
pub fn mean_forward(hidden_states: &[f32], cu_seqlens: &[u32], spans: &[Span], output: &mut [f32], hidden: usize) {
    assert_eq!(output.len(), spans.len() * hidden);
    for (span, output) in spans.iter().zip(output.chunks_exact_mut(hidden)) {
        let rows = span.rows(cu_seqlens);
        let scale = 1.0 / rows.len() as f32;
        output.fill(0.0);
        for row in hidden_states[rows.start * hidden..rows.end * hidden].chunks_exact(hidden) {
            for (output, value) in output.iter_mut().zip(row) {
                *output += value * scale;
            }
        }
    }
}

/// The backward of [`mean_forward`]: adds to `d_hidden_states [tokens, hidden]`.
pub fn mean_backward(d_output: &[f32], cu_seqlens: &[u32], spans: &[Span], d_hidden_states: &mut [f32], hidden: usize) {
    assert_eq!(d_output.len(), spans.len() * hidden);
    for (span, d_output) in spans.iter().zip(d_output.chunks_exact(hidden)) {
        let rows = span.rows(cu_seqlens);
        let scale = 1.0 / rows.len() as f32;
        for row in d_hidden_states[rows.start * hidden..rows.end * hidden].chunks_exact_mut(hidden) {
            for (value, gradient) in row.iter_mut().zip(d_output) {
                *value += gradient * scale;
            }
        }
    }
}

/// Where each span's pooled attention rows begin: `[spans + 1]` offsets into a ragged array that holds, span after
/// span, `[heads, tokens of the span's note]`.
pub fn row_offsets(cu_seqlens: &[u32], spans: &[Span], heads: usize) -> Vec<usize> {
    let mut offsets = Vec::with_capacity(spans.len() + 1);
    offsets.push(0);
    for span in spans {
        let length = cu_seqlens[span.note as usize + 1] - cu_seqlens[span.note as usize];
        offsets.push(offsets[offsets.len() - 1] + heads * length as usize);
    }
    offsets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_their_gradient() {
        let cu_seqlens = [0, 2, 5];
        let hidden_states = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        let spans = [Span { note: 0, start: 1, end: 2 }, Span { note: 1, start: 0, end: 2 }];
        let mut output = [0f32; 4];
        mean_forward(&hidden_states, &cu_seqlens, &spans, &mut output, 2);
        assert_eq!(output, [3.0, 4.0, 6.0, 7.0]);
        let mut gradient = [0f32; 10];
        mean_backward(&[1.0, 2.0, 4.0, 6.0], &cu_seqlens, &spans, &mut gradient, 2);
        assert_eq!(gradient, [0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 2.0, 3.0, 0.0, 0.0]);
        assert_eq!(row_offsets(&cu_seqlens, &spans, 3), [0, 6, 15]);
    }
}
