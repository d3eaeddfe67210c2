//! Self-attention inside each packed note, with the attention-probability rows of chosen spans (DSG-KD, step 3).

use super::dropout::{factors, upload_u32};
use super::{Packing, upload_indices};
use crate::Dropout;
use burn_tensor::Tensor;
use burn_tensor::activation::softmax;

/// What attention gives.
pub struct Attended {
    /// `[tokens, hidden]`.
    pub context: Tensor<2>,
    /// Pooled probability rows of the packing's spans, `[notes, heads, most spans of a note, longest note]`: each span at its
    /// [`Packing::span_places`], 0 elsewhere. Nothing without spans.
    pub rows: Option<Tensor<4>>,
}

/// `softmax(Q K^T / sqrt(head_dim)) V` for every note and head, of `qkv [tokens, 3 * hidden]`. `dropout` is that of the
/// probabilities; with `rows_after_dropout` the rows are averaged after it.
pub fn forward(
    qkv: Tensor<2>,
    heads: usize,
    packing: &Packing,
    dropout: Dropout,
    rows_after_dropout: bool,
) -> Attended {
    let Packing { notes, longest, ragged, positions, spans, .. } = packing;
    let (notes, longest) = (*notes, *longest);
    let (hidden, device) = (qkv.dims()[1] / 3, qkv.device());
    let head_dim = hidden / heads;
    let side_by_side = match ragged {
        Some(ragged) => qkv.select(0, ragged.tokens.clone()),
        None => qkv,
    };
    let [query, key, value] = [0, 1, 2].map(|part| {
        let part = side_by_side.clone().narrow(1, part * hidden, hidden);
        part.reshape([notes, longest, heads, head_dim]).swap_dims(1, 2) // [B, heads, L, head_dim]
    });
    let scores = query.matmul(key.transpose()).mul_scalar(1.0 / (head_dim as f32).sqrt());
    let scores = match ragged {
        Some(ragged) => scores.add(ragged.beyond.clone()),
        None => scores,
    };
    let probabilities = softmax(scores, 3); // [B, heads, L, L]
    let weights = if dropout.is_active() {
        let seeds = (0..notes * heads).map(|part| dropout.part(part).seed).collect();
        let seeds = upload_u32(seeds, [notes, heads, 1, 1], &device);
        probabilities.clone().mul(factors(dropout, positions.clone(), seeds))
    } else {
        probabilities.clone()
    };
    let rows = spans.as_ref().map(|spans| {
        let pooled_from = if rows_after_dropout { weights.clone() } else { probabilities };
        spans.means.clone().expand([notes, heads, spans.most, longest]).matmul(pooled_from)
    });
    let context = weights.matmul(value).swap_dims(1, 2).reshape([notes * longest, hidden]);
    let context = match ragged {
        Some(ragged) => context.select(0, ragged.places.clone()),
        None => context,
    };
    Attended { context, rows }
}

/// The pooled rows as the CPU form lays them out (see [`crate::spans::row_offsets`]): ragged, span after span,
/// `[heads, tokens of the span's note]`.
pub fn ragged_rows(rows: Tensor<4>, packing: &Packing) -> Tensor<1> {
    let ([notes, heads, most, longest], device) = (rows.dims(), rows.device());
    let mut places = vec![];
    for ([note, place], length) in packing.span_places().iter().zip(packing.span_lengths()) {
        for head in 0..heads {
            let first = ((note * heads + head) * most + place) * longest;
            places.extend((first..first + length).map(|at| at as u32));
        }
    }
    rows.reshape([notes * heads * most * longest]).select(0, upload_indices(&places, &device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::{self as cpu, Attention, probabilities_len};
    use crate::portable::testing::{Leaf, check_forward, check_gradients, device, directed, random};
    use crate::spans::{Span, row_offsets};
    use crate::{Precision, parallel};

    const HEADS: usize = 3;
    const HIDDEN: usize = 12;

    fn check(cu_seqlens: &[u32], spans: &[Span], dropout: Dropout, rows_after_dropout: bool) {
        let tokens = cu_seqlens[cu_seqlens.len() - 1] as usize;
        let qkv = Leaf::new(random(tokens * 3 * HIDDEN, 1), [tokens, 3 * HIDDEN]);
        let row_count = *row_offsets(cu_seqlens, spans, HEADS).last().expect("offsets are never empty");
        let (direction, row_direction) = (random(tokens * HIDDEN, 2), random(row_count, 3));

        let packing = Packing::new(cu_seqlens, spans, &device());
        let Attended { context, rows } = forward(qkv.tensor(), HEADS, &packing, dropout, rows_after_dropout);

        let operation = Attention {
            heads: HEADS,
            qkv: &qkv.values,
            cu_seqlens,
            dropout,
            spans,
            rows_after_dropout,
            precision: Precision::Float32,
        };
        let (mut cpu_context, mut cpu_rows) = (vec![0f32; tokens * HIDDEN], vec![0f32; row_count]);
        let mut probabilities = vec![0f32; probabilities_len(cu_seqlens, HEADS)];
        let (mut d_qkv, mut d_bias) = (vec![0f32; qkv.values.len()], vec![0f32; 3 * HIDDEN]);
        parallel::in_pool(|| {
            cpu::forward(operation, &mut cpu_context, Some(&mut probabilities), &mut cpu_rows);
            cpu::backward(operation, &probabilities, &direction, &row_direction, &mut d_qkv, &mut d_bias);
        });
        check_forward("context", &context, &cpu_context);
        let mut objective = directed(context, &direction);
        assert_eq!(rows.is_some(), !spans.is_empty());
        if let Some(rows) = rows {
            let rows = ragged_rows(rows, &packing);
            check_forward("rows", &rows, &cpu_rows);
            objective = objective.add(directed(rows, &row_direction));
        }
        check_gradients("qkv", &qkv, &objective.backward(), &d_qkv);
    }

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        let spans = [
            Span { note: 0, start: 1, end: 3 },
            Span { note: 0, start: 4, end: 5 },
            Span { note: 2, start: 0, end: 17 },
            Span { note: 3, start: 2, end: 4 },
        ];
        for (dropout, after) in [(Dropout::NONE, false), (Dropout::new(0.3, 9), false), (Dropout::new(0.3, 9), true)] {
            check(&[0, 5, 6, 23, 30], &spans, dropout, after);
            check(&[0, 5, 6, 23], &[], dropout, after);
            // Notes of one length.
            check(&[0, 7, 14, 21, 28], &[spans[0], spans[3]], dropout, after);
        }
    }
}
