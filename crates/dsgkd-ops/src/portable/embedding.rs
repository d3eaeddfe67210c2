//! Sums of embedding rows.

use burn_tensor::{Int, Tensor};

/// One table and the row of it that each token takes.
#[derive(Clone)]
pub struct Lookup {
    /// `[rows, columns]`.
    pub table: Tensor<2>,
    /// `[tokens]`, each below `rows`.
    pub rows: Tensor<1, Int>,
}

/// `[tokens, columns]`: the sum over `lookups`, at least one, of their rows.
pub fn forward(lookups: impl IntoIterator<Item = Lookup>) -> Tensor<2> {
    let rows = lookups.into_iter().map(|lookup| lookup.table.select(0, lookup.rows));
    rows.reduce(Tensor::add).expect("there is a lookup at least")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding as cpu;
    use crate::portable::testing::{Leaf, check_forward, check_gradients, device, directed, random};
    use crate::portable::upload_indices;

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        let columns = 6;
        let words = Leaf::new(random(9 * columns, 1), [9, columns]);
        let positions = Leaf::new(random(4 * columns, 2), [4, columns]);
        let (word_rows, position_rows) = ([2, 0, 2, 8, 8, 8, 1], [0, 1, 2, 3, 0, 1, 0]);
        let direction = random(7 * columns, 3);
        let lookup =
            |leaf: &Leaf<2>, rows: &[u32]| Lookup { table: leaf.tensor(), rows: upload_indices(rows, &device()) };
        let portable = forward([lookup(&words, &word_rows), lookup(&positions, &position_rows)]);

        let mut output = vec![0f32; 7 * columns];
        let lookups = [
            cpu::Lookup { table: &words.values, rows: &word_rows },
            cpu::Lookup { table: &positions.values, rows: &position_rows },
        ];
        cpu::forward(&lookups, &mut output, columns);
        check_forward("embedding", &portable, &output);

        let (mut d_words, mut d_positions) = (vec![0f32; 9 * columns], vec![0f32; 4 * columns]);
        cpu::backward(&direction, &word_rows, &mut d_words, columns);
        cpu::backward(&direction, &position_rows, &mut d_positions, columns);
        let gradients = directed(portable, &direction).backward();
        check_gradients("words", &words, &gradients, &d_words);
        check_gradients("positions", &positions, &gradients, &d_positions);
    }
}
