//! Attention rows of one model brought into the space in which two models are compared, and gradients back.
//!
//! A pooled row of a term has one probability for each token of the note. Columns of two tokenizers are different words;
//! [`Columns::Words`] sums a row's mass over the tokens of each aligned word and divides by the total, so that both
//! models' rows are distributions over the same words. [`Columns::Positions`] leaves the tokens as they are.
//!
//! Differs from the paper: published is [`Columns::Positions`] only.

use super::maps::HeadPairs;

/// What the columns of a row are.
#[derive(Debug, Clone, Copy)]
pub enum Columns<'a> {
    /// Token positions; rows of different lengths are compared as if padded with zeros.
    Positions,
    /// Aligned words, by their token ranges in this model.
    Words(&'a [(u32, u32)]),
}

impl Columns<'_> {
    /// Number of columns of a row of a note of `tokens`.
    pub fn len(&self, tokens: usize) -> usize {
        match self {
            Columns::Positions => tokens,
            Columns::Words(words) => words.len(),
        }
    }

    /// One row into the space: `output [len]` from `row [tokens]`. A row without any mass on aligned words becomes zero.
    fn forward(&self, row: &[f32], output: &mut [f32]) {
        match self {
            Columns::Positions => output.copy_from_slice(row),
            Columns::Words(words) => {
                let mass = |word: &(u32, u32)| row[word.0 as usize..word.1 as usize].iter().sum::<f32>();
                words.iter().zip(output.iter_mut()).for_each(|(word, output)| *output = mass(word));
                let total: f32 = output.iter().sum();
                let scale = if total > SMALLEST_MASS { 1.0 / total } else { 0.0 };
                output.iter_mut().for_each(|value| *value *= scale);
            }
        }
    }

    /// Adds the gradient of a row to `d_row [tokens]`, from that of [`Columns::forward`]'s output.
    fn backward(&self, row: &[f32], output: &[f32], d_output: &[f32], scale: f32, d_row: &mut [f32]) {
        match self {
            Columns::Positions => d_row.iter_mut().zip(d_output).for_each(|(sum, value)| *sum += scale * value),
            Columns::Words(words) => {
                let mass = |word: &(u32, u32)| row[word.0 as usize..word.1 as usize].iter().sum::<f32>();
                let total: f32 = words.iter().map(mass).sum();
                if total <= SMALLEST_MASS {
                    return;
                }
                // y = m / sum(m): dm = (dy - <dy, y>) / sum(m), the same for every token of the word.
                let projection: f32 = d_output.iter().zip(output).map(|(d, y)| d * y).sum();
                for (word, d_output) in words.iter().zip(d_output) {
                    let gradient = scale * (d_output - projection) / total;
                    d_row[word.0 as usize..word.1 as usize].iter_mut().for_each(|value| *value += gradient);
                }
            }
        }
    }
}

/// Below this, a row's mass on aligned words is noise, and its distribution over them has no meaning.
pub(super) const SMALLEST_MASS: f32 = 1e-6;

/// Which model's side of a [`HeadPairs`] is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first of each pair.
    Teacher,
    /// The second of each pair.
    Student,
}

/// The heads of one model behind each compared row, and the weight of each.
fn heads_behind(pairs: &HeadPairs, side: Side, heads: usize) -> Vec<(std::ops::Range<usize>, f32)> {
    match pairs {
        HeadPairs::Mean => vec![(0..heads, 1.0 / heads as f32)],
        HeadPairs::Pairs(pairs) => pairs
            .iter()
            .map(|(teacher, student)| {
                let head = if side == Side::Teacher { *teacher } else { *student };
                (head..head + 1, 1.0)
            })
            .collect(),
    }
}

/// Rows of one term in one layer, `[heads, tokens]`, into the compared space: appends `[pairs, columns]` to `output`.
pub fn into_space(rows: &[f32], tokens: usize, pairs: &HeadPairs, side: Side, columns: Columns, output: &mut Vec<f32>) {
    let mut mapped = vec![0f32; columns.len(tokens)];
    for (heads, weight) in heads_behind(pairs, side, rows.len() / tokens) {
        let first = output.len();
        output.resize(first + mapped.len(), 0.0);
        for head in heads {
            columns.forward(&rows[head * tokens..(head + 1) * tokens], &mut mapped);
            output[first..].iter_mut().zip(&mapped).for_each(|(sum, value)| *sum += weight * value);
        }
    }
}

/// The backward of [`into_space`]: adds to `d_rows [heads, tokens]` from `d_output [pairs, columns]`.
pub fn out_of_space(
    rows: &[f32],
    tokens: usize,
    pairs: &HeadPairs,
    side: Side,
    columns: Columns,
    d_output: &[f32],
    d_rows: &mut [f32],
) {
    let width = columns.len(tokens);
    let mut mapped = vec![0f32; width];
    for ((heads, weight), d_output) in
        heads_behind(pairs, side, rows.len() / tokens).into_iter().zip(d_output.chunks_exact(width))
    {
        for head in heads {
            let (row, d_row) =
                (&rows[head * tokens..(head + 1) * tokens], &mut d_rows[head * tokens..(head + 1) * tokens]);
            columns.forward(row, &mut mapped);
            columns.backward(row, &mapped, d_output, weight, d_row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_take_the_mass_of_their_tokens() {
        let row = [0.4, 0.1, 0.2, 0.05, 0.05, 0.2];
        let mut output = vec![];
        let pairs = HeadPairs::Pairs(vec![(0, 0)]);
        into_space(&row, 6, &pairs, Side::Student, Columns::Words(&[(1, 3), (4, 5)]), &mut output);
        assert!((output[0] - 0.3 / 0.35).abs() < 1e-6 && (output[1] - 0.05 / 0.35).abs() < 1e-6);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let rows: Vec<f32> = (0..14).map(|i| ((i * 5) % 7) as f32 / 20.0 + 0.01).collect(); // 2 heads, 7 tokens
        let words = [(1, 2), (2, 4), (6, 7)];
        for columns in [Columns::Words(&words), Columns::Positions] {
            for pairs in [HeadPairs::Mean, HeadPairs::Pairs(vec![(0, 1), (1, 0)])] {
                let width = pairs.len() * columns.len(7);
                let direction: Vec<f32> = (0..width).map(|i| ((i * 3) % 5) as f32 - 1.7).collect();
                let value = |rows: &[f32]| {
                    let mut output = vec![];
                    into_space(rows, 7, &pairs, Side::Student, columns, &mut output);
                    output.iter().zip(&direction).map(|(a, b)| f64::from(a * b)).sum::<f64>()
                };
                let mut gradient = vec![0f32; 14];
                out_of_space(&rows, 7, &pairs, Side::Student, columns, &direction, &mut gradient);
                for index in 0..14 {
                    let (mut above, mut below) = (rows.clone(), rows.clone());
                    above[index] += 1e-3;
                    below[index] -= 1e-3;
                    let difference = (value(&above) - value(&below)) / 2e-3;
                    assert!((difference - f64::from(gradient[index])).abs() < 5e-3 * (1.0 + difference.abs()));
                }
            }
        }
    }

    #[test]
    fn a_row_without_mass_on_words_is_zero_and_has_no_gradient() {
        let (row, words) = ([1.0, 0.0, 0.0], [(1, 2)]);
        let pairs = HeadPairs::Mean;
        let mut output = vec![];
        into_space(&row, 3, &pairs, Side::Student, Columns::Words(&words), &mut output);
        assert_eq!(output, [0.0]);
        let mut gradient = [0f32; 3];
        out_of_space(&row, 3, &pairs, Side::Student, Columns::Words(&words), &[5.0], &mut gradient);
        assert_eq!(gradient, [0.0; 3]);
    }
}
