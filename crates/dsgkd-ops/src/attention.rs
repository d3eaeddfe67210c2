//! Self-attention inside each packed note, with the attention-probability rows of chosen spans.
//!
//! `softmax(Q K^T / sqrt(head_dim)) V` for every note and head, one task each; nothing is computed between notes and
//! nothing is padded. For DSG-KD (arXiv 2409.14904, step 3) the rows of the probability matrix are averaged over the
//! tokens of chosen spans on the way, so that the matrices themselves need not leave this module.

use crate::gemm::{Cores, Matrix, Precision, Product, Right};
use crate::math;
use crate::parallel::{SharedMut, with_scratch};
use crate::spans::{Span, row_offsets};
use crate::{Dropout, linear};
use multiversion::multiversion;
use rayon::prelude::*;

/// What forward and backward both need to know.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Number of heads; `hidden / heads` is the size of one.
    pub heads: usize,
    /// Query, key and value of each token, `[tokens, 3 * hidden]`.
    pub qkv: &'a [f32],
    /// Where each note begins, `[notes + 1]`.
    pub cu_seqlens: &'a [u32],
    /// Dropout of the probabilities.
    pub dropout: Dropout,
    /// Spans whose rows are wanted, in the order of their notes.
    pub spans: &'a [Span],
    /// Average the rows after dropout (what Hugging Face's eager attention returns in training) instead of before.
    pub rows_after_dropout: bool,
    /// Of the products; the softmax is always `f32`.
    pub precision: Precision,
}

/// The place of one note's head in the batch.
struct Task {
    note: usize,
    head: usize,
    /// First packed token and number of tokens.
    first: usize,
    length: usize,
    /// Offset of `[length, length]` in the stored probabilities.
    probabilities: usize,
    /// The note's spans, as a range of all spans.
    spans: std::ops::Range<usize>,
}

/// A small product on the current thread, into memory that other tasks do not touch.
///
/// # Safety
/// `out` must be valid for the result with rows `stride` apart, and nothing else may touch it meanwhile.
unsafe fn product_in_task(left: Matrix, right: Right, out: *mut f32, stride: usize, scale: f32) {
    // SAFETY: the caller's promise.
    unsafe { Product { left: left.into(), right, scale, accumulate: false, finish: None }.run(out, stride, Cores::One) }
}

/// Number of stored probabilities of a batch: `heads * sum of length^2`.
pub fn probabilities_len(cu_seqlens: &[u32], heads: usize) -> usize {
    cu_seqlens.windows(2).map(|pair| ((pair[1] - pair[0]) as usize).pow(2)).sum::<usize>() * heads
}

impl Attention<'_> {
    fn tokens(&self) -> usize {
        self.cu_seqlens.last().map_or(0, |end| *end as usize)
    }

    fn hidden(&self) -> usize {
        self.qkv.len() / 3 / self.tokens().max(1)
    }

    fn tasks(&self) -> Vec<Task> {
        let mut tasks = Vec::with_capacity((self.cu_seqlens.len() - 1) * self.heads);
        let (mut probabilities, mut span) = (0, 0);
        for (note, pair) in self.cu_seqlens.windows(2).enumerate() {
            let length = (pair[1] - pair[0]) as usize;
            let first_span = span;
            while self.spans.get(span).is_some_and(|s| s.note as usize == note) {
                assert!(self.spans[span].end as usize <= length);
                span += 1;
            }
            for head in 0..self.heads {
                let first = pair[0] as usize;
                tasks.push(Task { note, head, first, length, probabilities, spans: first_span..span });
                probabilities += length * length;
            }
        }
        assert_eq!(span, self.spans.len(), "spans must stand in the order of their notes");
        tasks
    }

    /// The dropout mask of one task, counted from its first probability.
    fn mask(&self, task: &Task) -> Dropout {
        self.dropout.part(task.note * self.heads + task.head)
    }

    /// Query, key or value (`part` 0, 1, 2) of one head, `[length, head_dim]`, where it lies.
    fn part(&self, task: &Task, part: usize) -> Matrix<'_> {
        let hidden = self.hidden();
        let head_dim = hidden / self.heads;
        let first = task.first * 3 * hidden + part * hidden + task.head * head_dim;
        Matrix::new(&self.qkv[first..], task.length, head_dim, 3 * hidden)
    }

    fn right<'m>(&self, matrix: Matrix<'m>) -> Right<'m> {
        Right::Matrix(matrix, self.precision)
    }
}

/// `context [tokens, hidden]`; the pooled rows go to `rows` (see [`row_offsets`]). With `probabilities`
/// (`[probabilities_len]`) the probabilities before dropout are stored for the backward.
pub fn forward(attention: Attention, context: &mut [f32], mut probabilities: Option<&mut [f32]>, rows: &mut [f32]) {
    let hidden = attention.hidden();
    let head_dim = hidden / attention.heads;
    let tokens = attention.tokens();
    let offsets = row_offsets(attention.cu_seqlens, attention.spans, attention.heads);
    assert!(attention.qkv.len() == tokens * 3 * hidden && context.len() == tokens * hidden);
    assert_eq!(Some(&rows.len()), offsets.last());
    if let Some(stored) = &probabilities {
        assert_eq!(stored.len(), probabilities_len(attention.cu_seqlens, attention.heads));
    }
    let stored = probabilities.as_mut().map(|stored| SharedMut(stored.as_mut_ptr()));
    let (context, rows) = (SharedMut(context.as_mut_ptr()), SharedMut(rows.as_mut_ptr()));
    let scale = 1.0 / (head_dim as f32).sqrt();
    attention.tasks().par_iter().for_each(|task| {
        let length = task.length;
        with_scratch(2 * length * length, |scratch| {
            let (scores, dropped) = scratch.split_at_mut(length * length);
            let [query, key, value] = [0, 1, 2].map(|part| attention.part(task, part));
            let key = attention.right(key.transposed());
            // SAFETY: `scores` is this task's own.
            unsafe { product_in_task(query, key, scores.as_mut_ptr(), length, scale) };
            scores.chunks_exact_mut(length).for_each(softmax_row);
            if let Some(stored) = stored {
                // SAFETY: every task stores to its own range of the probabilities, whose length was checked.
                unsafe {
                    let at = stored.pointer().add(task.probabilities);
                    std::ptr::copy_nonoverlapping(scores.as_ptr(), at, length * length);
                }
            }
            let mask = attention.mask(task);
            let weights: &[f32] = if mask.is_active() {
                apply_mask(mask, scores, dropped);
                dropped
            } else {
                scores
            };
            let pooled_from: &[f32] = if attention.rows_after_dropout { weights } else { scores };
            for span in task.spans.clone() {
                let at = offsets[span] + task.head * length;
                // SAFETY: one task alone has this head of this span's note, and `rows` holds `offsets[last]`.
                let row = unsafe { std::slice::from_raw_parts_mut(rows.pointer().add(at), length) };
                mean_of_rows(pooled_from, attention.spans[span], row);
            }
            let weights = Matrix::new(weights, length, length, length);
            // SAFETY: the note's rows and the head's columns of `context` are this task's alone.
            unsafe {
                let at = context.pointer().add(task.first * hidden + task.head * head_dim);
                product_in_task(weights, attention.right(value), at, hidden, 1.0);
            }
        });
    });
}

/// The backward of [`forward`]: `d_qkv [tokens, 3 * hidden]` from `d_context [tokens, hidden]` and the gradient `d_rows` of the
/// pooled rows (empty: none); its column sums, the gradient of the bias in `qkv`, are added to `d_bias [3 * hidden]`.
pub fn backward(
    attention: Attention,
    probabilities: &[f32],
    d_context: &[f32],
    d_rows: &[f32],
    d_qkv: &mut [f32],
    d_bias: &mut [f32],
) {
    let hidden = attention.hidden();
    let head_dim = hidden / attention.heads;
    let tokens = attention.tokens();
    let offsets = row_offsets(attention.cu_seqlens, attention.spans, attention.heads);
    assert!(d_qkv.len() == tokens * 3 * hidden && d_context.len() == tokens * hidden);
    assert_eq!(attention.qkv.len(), d_qkv.len());
    assert_eq!(probabilities.len(), probabilities_len(attention.cu_seqlens, attention.heads));
    assert!(d_rows.is_empty() || Some(&d_rows.len()) == offsets.last());
    let scale = 1.0 / (head_dim as f32).sqrt();
    let output = SharedMut(d_qkv.as_mut_ptr());
    attention.tasks().par_iter().for_each(|task| {
        let length = task.length;
        with_scratch(2 * length * length, |scratch| {
            let (gradient, dropped) = scratch.split_at_mut(length * length);
            let [query, key, value] = [0, 1, 2].map(|part| attention.part(task, part));
            let probabilities = &probabilities[task.probabilities..task.probabilities + length * length];
            let mask = attention.mask(task);
            let weights: &[f32] = if mask.is_active() {
                apply_mask(mask, probabilities, dropped);
                dropped
            } else {
                probabilities
            };
            let columns = task.head * head_dim;
            let d_context = &d_context[task.first * hidden + columns..];
            let d_context = Matrix::new(&d_context[..(length - 1) * hidden + head_dim], length, head_dim, hidden);
            let weights = Matrix::new(weights, length, length, length);
            // The head's columns of query, key and value in this note's rows of `d_qkv`.
            // SAFETY: they lie inside `d_qkv`, whose length was checked.
            let part = |part: usize| unsafe { output.pointer().add(task.first * 3 * hidden + part * hidden + columns) };
            // SAFETY: those rows and columns are this task's alone, and so is `gradient`.
            unsafe {
                product_in_task(weights.transposed(), attention.right(d_context), part(2), 3 * hidden, 1.0);
                let value = attention.right(value.transposed());
                product_in_task(d_context, value, gradient.as_mut_ptr(), length, 1.0);
            }
            let add_rows = |gradient: &mut [f32]| {
                for span in task.spans.clone() {
                    let at = offsets[span] + task.head * length;
                    add_to_rows(&d_rows[at..at + length], attention.spans[span], gradient);
                }
            };
            let pooled = !d_rows.is_empty();
            if pooled && attention.rows_after_dropout {
                add_rows(gradient);
            }
            if mask.is_active() {
                mask_in_place(mask, gradient);
            }
            if pooled && !attention.rows_after_dropout {
                add_rows(gradient);
            }
            for (gradient, probabilities) in gradient.chunks_exact_mut(length).zip(probabilities.chunks_exact(length)) {
                softmax_row_backward(probabilities, gradient);
            }
            let d_scores = Matrix::new(gradient, length, length, length);
            // SAFETY: as above.
            unsafe {
                product_in_task(d_scores, attention.right(key), part(0), 3 * hidden, scale);
                product_in_task(d_scores.transposed(), attention.right(query), part(1), 3 * hidden, scale);
            }
        });
    });
    linear::backward_bias(d_qkv, d_bias);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax_row(row: &mut [f32]) {
    let max = math::max(row);
    for value in row.iter_mut() {
        *value = math::exp(*value - max);
    }
    let scale = 1.0 / math::sum(row);
    for value in row.iter_mut() {
        *value *= scale;
    }
}

/// `gradient = probabilities * (gradient - <gradient, probabilities>)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn softmax_row_backward(probabilities: &[f32], gradient: &mut [f32]) {
    let projection = math::dot(probabilities, gradient);
    for (gradient, probability) in gradient.iter_mut().zip(probabilities) {
        *gradient = probability * (*gradient - projection);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn apply_mask(mask: Dropout, input: &[f32], output: &mut [f32]) {
    for (index, (input, output)) in input.iter().zip(output).enumerate() {
        *output = input * mask.factor(index);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn mask_in_place(mask: Dropout, values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        *value *= mask.factor(index);
    }
}

/// The mean of a span's rows of `matrix [length, length]`.
fn mean_of_rows(matrix: &[f32], span: Span, mean: &mut [f32]) {
    let length = mean.len();
    let scale = 1.0 / (span.end - span.start) as f32;
    mean.fill(0.0);
    for row in matrix[span.start as usize * length..span.end as usize * length].chunks_exact(length) {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += value * scale;
        }
    }
}

/// The backward of [`mean_of_rows`].
fn add_to_rows(d_mean: &[f32], span: Span, d_matrix: &mut [f32]) {
    let length = d_mean.len();
    let scale = 1.0 / (span.end - span.start) as f32;
    for row in d_matrix[span.start as usize * length..span.end as usize * length].chunks_exact_mut(length) {
        for (value, gradient) in row.iter_mut().zip(d_mean) {
            *value += gradient * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: usize = 2;
    const HIDDEN: usize = 8;

    struct Case {
        qkv: Vec<f32>,
        cu_seqlens: Vec<u32>,
        spans: Vec<Span>,
        direction: Vec<f32>,
        row_direction: Vec<f32>,
    }

    fn case() -> Case {
        let cu_seqlens = vec![0u32, 5, 6, 23];
        let spans = vec![
            Span { note: 0, start: 1, end: 3 },
            Span { note: 0, start: 4, end: 5 },
            Span { note: 2, start: 0, end: 17 },
        ];
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 997) as f32 / 400.0 - 1.2).collect()
        };
        let rows = *row_offsets(&cu_seqlens, &spans, HEADS).last().expect("offsets are never empty");
        Case {
            qkv: numbers(23 * 3 * HIDDEN, 1),
            cu_seqlens,
            spans,
            direction: numbers(23 * HIDDEN, 3),
            row_direction: numbers(rows, 4),
        }
    }

    fn attention(case: &Case, dropout: Dropout, rows_after_dropout: bool) -> Attention<'_> {
        Attention {
            heads: HEADS,
            qkv: &case.qkv,
            cu_seqlens: &case.cu_seqlens,
            dropout,
            spans: &case.spans,
            rows_after_dropout,
            precision: Precision::Float32,
        }
    }

    /// The operation by its definition, one number at a time, in double precision.
    fn objective(case: &Case, dropout: Dropout, rows_after_dropout: bool) -> f64 {
        let head_dim = HIDDEN / HEADS;
        let at = |token: usize, column: usize| f64::from(case.qkv[token * 3 * HIDDEN + column]);
        let mut total = 0.0;
        let offsets = row_offsets(&case.cu_seqlens, &case.spans, HEADS);
        for (note, pair) in case.cu_seqlens.windows(2).enumerate() {
            let (first, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            for head in 0..HEADS {
                let mask = dropout.part(note * HEADS + head);
                for i in 0..length {
                    let scores: Vec<f64> = (0..length)
                        .map(|j| {
                            let dot: f64 = (head * head_dim..(head + 1) * head_dim)
                                .map(|c| at(first + i, c) * at(first + j, HIDDEN + c))
                                .sum();
                            (dot / (head_dim as f64).sqrt()).exp()
                        })
                        .collect();
                    let sum: f64 = scores.iter().sum();
                    let probabilities: Vec<f64> = scores.iter().map(|s| s / sum).collect();
                    let weights: Vec<f64> =
                        (0..length).map(|j| probabilities[j] * f64::from(mask.factor(i * length + j))).collect();
                    for c in head * head_dim..(head + 1) * head_dim {
                        let context: f64 = (0..length).map(|j| weights[j] * at(first + j, 2 * HIDDEN + c)).sum();
                        total += context * f64::from(case.direction[(first + i) * HIDDEN + c]);
                    }
                    let rows = if rows_after_dropout { &weights } else { &probabilities };
                    for (index, span) in case.spans.iter().enumerate() {
                        if span.note as usize == note && (span.start as usize..span.end as usize).contains(&i) {
                            let share = 1.0 / f64::from(span.end - span.start);
                            for j in 0..length {
                                let direction = case.row_direction[offsets[index] + head * length + j];
                                total += rows[j] * share * f64::from(direction);
                            }
                        }
                    }
                }
            }
        }
        total
    }

    #[test]
    fn forward_and_backward_agree_with_the_definition() {
        for (dropout, after) in [(Dropout::NONE, false), (Dropout::new(0.3, 9), false), (Dropout::new(0.3, 9), true)] {
            let mut case = case();
            let operation = attention(&case, dropout, after);
            let mut context = vec![0f32; case.direction.len()];
            let mut rows = vec![0f32; case.row_direction.len()];
            let mut probabilities = vec![0f32; probabilities_len(&case.cu_seqlens, HEADS)];
            forward(operation, &mut context, Some(&mut probabilities), &mut rows);
            let ours: f64 = context.iter().zip(&case.direction).map(|(a, b)| f64::from(a * b)).sum::<f64>()
                + rows.iter().zip(&case.row_direction).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let exact = objective(&case, dropout, after);
            assert!((ours - exact).abs() < 1e-4 * exact.abs().max(1.0), "{ours}, not {exact}");

            let mut d_qkv = vec![0f32; case.qkv.len()];
            let mut d_bias = vec![0f32; 3 * HIDDEN];
            backward(operation, &probabilities, &case.direction, &case.row_direction, &mut d_qkv, &mut d_bias);
            for index in 0..d_qkv.len() {
                let (kept, step) = (case.qkv[index], 1e-2f32);
                case.qkv[index] = kept + step;
                let above = objective(&case, dropout, after);
                case.qkv[index] = kept - step;
                let below = objective(&case, dropout, after);
                case.qkv[index] = kept;
                let difference = (above - below) / f64::from(2.0 * step);
                let error = (difference - f64::from(d_qkv[index])).abs();
                assert!(error < 2e-3 * (1.0 + difference.abs()), "{index}: {}, not {difference}", d_qkv[index]);
            }
            for column in 0..d_bias.len() {
                let exact: f32 = d_qkv.iter().skip(column).step_by(3 * HIDDEN).sum();
                assert!((d_bias[column] - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn bfloat16_stays_near_float32() {
        let case = case();
        let run = |precision| {
            let operation = Attention { precision, ..attention(&case, Dropout::NONE, false) };
            let (mut context, mut rows) = (vec![0f32; case.direction.len()], vec![0f32; case.row_direction.len()]);
            let mut probabilities = vec![0f32; probabilities_len(&case.cu_seqlens, HEADS)];
            forward(operation, &mut context, Some(&mut probabilities), &mut rows);
            let (mut d_qkv, mut d_bias) = (vec![0f32; case.qkv.len()], vec![0f32; 3 * HIDDEN]);
            backward(operation, &probabilities, &case.direction, &case.row_direction, &mut d_qkv, &mut d_bias);
            [context, rows, d_qkv]
        };
        for (exact, rounded) in run(Precision::Float32).iter().zip(run(Precision::Bfloat16)) {
            let greatest = |values: &[f32]| values.iter().fold(0f32, |max, value| max.max(value.abs()));
            let differences: Vec<f32> = exact.iter().zip(&rounded).map(|(a, b)| a - b).collect();
            assert!(greatest(&differences) < 0.02 * greatest(exact));
        }
    }

    #[test]
    fn a_packed_note_is_a_note_alone() {
        let case = case();
        let mut context = vec![0f32; case.direction.len()];
        let mut rows = vec![0f32; case.row_direction.len()];
        forward(attention(&case, Dropout::NONE, false), &mut context, None, &mut rows);
        let alone = Case {
            qkv: case.qkv[6 * 3 * HIDDEN..].to_vec(),
            cu_seqlens: vec![0, 17],
            spans: vec![Span { note: 0, ..case.spans[2] }],
            ..case
        };
        let mut context_alone = vec![0f32; 17 * HIDDEN];
        let mut rows_alone = vec![0f32; 17 * HEADS];
        forward(attention(&alone, Dropout::NONE, false), &mut context_alone, None, &mut rows_alone);
        assert_eq!(context[6 * HIDDEN..], context_alone);
        assert_eq!(rows[rows.len() - rows_alone.len()..], rows_alone);
    }
}
