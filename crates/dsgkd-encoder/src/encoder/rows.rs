//! Some rows of a matrix brought together, and back to their places.

/// Moves `rows` (ascending) of `matrix [_, columns]` to its beginning, in their order.
pub(super) fn to_front(matrix: &mut [f32], rows: &[u32], columns: usize) {
    for (to, from) in rows.iter().enumerate() {
        let from = *from as usize * columns;
        matrix.copy_within(from..from + columns, to * columns);
    }
}

/// The reverse of [`to_front`]: the first rows of `matrix` go back to where they were, and all others become zero.
pub(super) fn to_places(matrix: &mut [f32], rows: &[u32], columns: usize) {
    let mut end = matrix.len();
    for (from, to) in rows.iter().enumerate().rev() {
        let to = *to as usize * columns;
        matrix.copy_within(from * columns..(from + 1) * columns, to);
        matrix[to + columns..end].fill(0.0);
        end = to;
    }
    matrix[..end].fill(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_back_to_where_they_were() {
        for rows in [vec![], vec![0], vec![4], vec![1, 2, 4], vec![0, 1, 2, 3, 4]] {
            let matrix: Vec<f32> = (1..=10).map(|value| value as f32).collect();
            let mut moved = matrix.clone();
            to_front(&mut moved, &rows, 2);
            for (here, row) in rows.iter().enumerate() {
                assert_eq!(moved[here * 2..here * 2 + 2], matrix[*row as usize * 2..*row as usize * 2 + 2]);
            }
            to_places(&mut moved, &rows, 2);
            for (row, (moved, before)) in moved.chunks(2).zip(matrix.chunks(2)).enumerate() {
                assert_eq!(moved, if rows.contains(&(row as u32)) { before } else { &[0.0, 0.0] });
            }
        }
    }
}
