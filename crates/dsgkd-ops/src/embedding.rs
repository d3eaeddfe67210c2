//! Sums of embedding rows, and the gradient scattered back.

use rayon::prelude::*;

use crate::parallel::ROWS_PER_TASK;

/// One table and the row of it that each token takes.
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// `[rows, columns]`.
    pub table: &'a [f32],
    /// `[tokens]`, each below `rows`.
    pub rows: &'a [u32],
}

/// `output [tokens, columns] = ` the sum over `lookups` of their rows.
pub fn forward(lookups: &[Lookup], output: &mut [f32], columns: usize) {
    for lookup in lookups {
        assert_eq!(lookup.rows.len() * columns, output.len());
    }
    output.par_chunks_mut(ROWS_PER_TASK * columns).enumerate().for_each(|(task, rows)| {
        for (row, output) in rows.chunks_exact_mut(columns).enumerate() {
            output.fill(0.0);
            for lookup in lookups {
                let at = lookup.rows[task * ROWS_PER_TASK + row] as usize * columns;
                for (output, value) in output.iter_mut().zip(&lookup.table[at..at + columns]) {
                    *output += value;
                }
            }
        }
    });
}

/// `d_table [rows, columns] +=` each token's `gradient [tokens, columns]` at its row. Sequential: many tokens share a row,
/// and their order decides the last bit.
pub fn backward(gradient: &[f32], rows: &[u32], d_table: &mut [f32], columns: usize) {
    assert_eq!(gradient.len(), rows.len() * columns);
    for (gradient, row) in gradient.chunks_exact(columns).zip(rows) {
        let at = *row as usize * columns;
        for (sum, value) in d_table[at..at + columns].iter_mut().zip(gradient) {
            *sum += value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_and_scattered() {
        let words = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let positions = [10.0, 20.0, 30.0, 40.0];
        let mut output = [0f32; 6];
        let lookups = [Lookup { table: &words, rows: &[2, 0, 2] }, Lookup { table: &positions, rows: &[0, 1, 0] }];
        forward(&lookups, &mut output, 2);
        assert_eq!(output, [15.0, 26.0, 31.0, 42.0, 15.0, 26.0]);
        let mut d_words = [1f32; 6];
        backward(&output, &[2, 0, 2], &mut d_words, 2);
        assert_eq!(d_words, [32.0, 43.0, 1.0, 1.0, 31.0, 53.0]);
    }
}
