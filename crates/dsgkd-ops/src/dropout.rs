//! Dropout whose mask is computed from the element's position, never stored: forward and backward ask the
//! same question and get the same answer, on any number of threads.

use crate::parallel::ELEMENTS_PER_TASK;
use multiversion::multiversion;
use rayon::prelude::*;

/// A dropout mask: which elements are kept, and the factor of those that are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dropout {
    pub(crate) seed: u32,
    /// An element is kept when its hash is at or above this.
    pub(crate) threshold: u32,
    /// `1 / (1 - probability)`.
    pub(crate) scale: f32,
}

impl Dropout {
    /// Nothing is dropped.
    pub const NONE: Dropout = Dropout { seed: 0, threshold: 0, scale: 1.0 };

    /// Drops each element with `probability` (0..1), as `seed` decides.
    pub fn new(probability: f32, seed: u64) -> Dropout {
        assert!((0.0..1.0).contains(&probability));
        if probability == 0.0 {
            return Dropout::NONE;
        }
        let threshold = (f64::from(probability) * 2f64.powi(32)) as u32;
        Dropout { seed: mix(seed), threshold, scale: 1.0 / (1.0 - probability) }
    }

    /// Whether anything is dropped at all.
    #[inline(always)]
    pub fn is_active(&self) -> bool {
        self.threshold != 0
    }

    /// The mask of one part of a tensor (a row, or one note's head), in which elements count from 0.
    #[inline(always)]
    pub(crate) fn part(&self, part: usize) -> Dropout {
        Dropout { seed: hash(part as u32, self.seed), ..*self }
    }

    /// The factor of element `index`: 0 where it is dropped.
    #[inline(always)]
    pub(crate) fn factor(&self, index: usize) -> f32 {
        if hash(index as u32, self.seed) >= self.threshold { self.scale } else { 0.0 }
    }

    /// Multiplies every element of `values [rows, columns]` by its factor: forward and backward alike.
    pub fn apply(&self, values: &mut [f32], columns: usize) {
        if !self.is_active() {
            return;
        }
        let rows_per_task = (ELEMENTS_PER_TASK / columns).max(1);
        values.par_chunks_mut(rows_per_task * columns).enumerate().for_each(|(task, rows)| {
            for (row, values) in rows.chunks_exact_mut(columns).enumerate() {
                apply_row(self.part(task * rows_per_task + row), values);
            }
        });
    }
}

/// The mask of rows that are some of a tensor's, so that each is dropped from as it would be among all.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowDropout<'a> {
    /// The mask of the whole tensor.
    pub dropout: Dropout,
    /// Which of the tensor's rows each row is; `None`: they are all of them.
    pub rows: Option<&'a [u32]>,
}

impl RowDropout<'_> {
    /// Nothing is dropped.
    pub const NONE: RowDropout<'static> = RowDropout { dropout: Dropout::NONE, rows: None };

    /// The mask of one of these rows.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Dropout {
        self.dropout.part(self.rows.map_or(row, |rows| rows[row] as usize))
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn apply_row(dropout: Dropout, values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        *value *= dropout.factor(index);
    }
}

/// What positions and hashes are multiplied by, modulo 2^32.
pub(crate) const POSITION_FACTOR: u32 = 0x9E37_79B1;
pub(crate) const FIRST_FACTOR: u32 = 0x85EB_CA6B;
pub(crate) const SECOND_FACTOR: u32 = 0xC2B2_AE35;

/// A 32-bit hash of a position under a seed (the finaliser of MurmurHash3).
#[inline(always)]
fn hash(index: u32, seed: u32) -> u32 {
    let mut x = index.wrapping_mul(POSITION_FACTOR) ^ seed;
    x ^= x >> 16;
    x = x.wrapping_mul(FIRST_FACTOR);
    x ^= x >> 13;
    x = x.wrapping_mul(SECOND_FACTOR);
    x ^ (x >> 16)
}

/// Folds a 64-bit seed into 32 well-mixed bits (SplitMix64's finaliser).
fn mix(seed: u64) -> u32 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_share_it_was_asked_to_and_keeps_the_mean() {
        for probability in [0.1f32, 0.5] {
            let mut values = vec![1f32; 400 * 256];
            Dropout::new(probability, 7).apply(&mut values, 256);
            let dropped = values.iter().filter(|v| **v == 0.0).count() as f32 / values.len() as f32;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
            assert!((dropped - probability).abs() < 0.005, "{dropped}");
            assert!((mean - 1.0).abs() < 0.01, "{mean}");
        }
    }

    #[test]
    fn seeds_and_rows_give_different_masks() {
        let mask = |seed: u64, part: usize| {
            let dropout = Dropout::new(0.5, seed).part(part);
            (0..64).map(|i| dropout.factor(i) > 0.0).collect::<Vec<_>>()
        };
        assert_ne!(mask(1, 0), mask(2, 0));
        assert_ne!(mask(1, 0), mask(1, 1));
        assert_eq!(mask(1, 1), mask(1, 1));
    }
}
