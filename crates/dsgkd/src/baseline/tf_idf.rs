//! Weights of character sequences.

use rayon::prelude::*;
use std::collections::HashMap;

/// Lengths of the sequences, in characters.
const LENGTHS: std::ops::RangeInclusive<usize> = 2..=4;

/// Notes as rows of few non-zero columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparseRows {
    /// Number of columns.
    pub columns: usize,
    /// Row by row: column and value, columns rising.
    pub rows: Vec<Vec<(u32, f64)>>,
}

/// The sequences of the training notes and how rare each is.
#[derive(Debug, Clone)]
pub struct TfIdf {
    column: HashMap<String, u32>,
    /// `ln((1 + notes) / (1 + notes with it)) + 1`, by column.
    inverse_frequency: Vec<f64>,
}

impl TfIdf {
    /// Lists the sequences of the notes, in the order of their characters.
    pub fn fit(notes: &[&str]) -> TfIdf {
        let mut in_notes: HashMap<String, usize> = HashMap::new();
        for counts in notes.par_iter().map(|note| counts(note)).collect::<Vec<_>>() {
            counts.into_keys().for_each(|sequence| *in_notes.entry(sequence).or_default() += 1);
        }
        let mut found: Vec<(String, usize)> = in_notes.into_iter().collect();
        found.sort_unstable(); // a map's own order differs from run to run
        let inverse = |with: &usize| ((1 + notes.len()) as f64 / (1 + with) as f64).ln() + 1.0;
        let inverse_frequency = found.iter().map(|(_, with)| inverse(with)).collect();
        let column = found.into_iter().enumerate().map(|(column, (sequence, _))| (sequence, column as u32)).collect();
        TfIdf { column, inverse_frequency }
    }

    /// Counts times rarity, each row of length 1; sequences that no training note has are passed over.
    pub fn transform(&self, notes: &[&str]) -> SparseRows {
        let row = |note: &&str| {
            let known = counts(note).into_iter().filter_map(|(sequence, count)| {
                let column = *self.column.get(&sequence)?;
                Some((column, count as f64 * self.inverse_frequency[column as usize]))
            });
            let mut row: Vec<(u32, f64)> = known.collect();
            row.sort_unstable_by_key(|(column, _)| *column);
            let norm = row.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
            row.iter_mut().for_each(|(_, value)| *value /= norm);
            row
        };
        SparseRows { columns: self.inverse_frequency.len(), rows: notes.par_iter().map(row).collect() }
    }
}

/// How often each sequence stands in a note: inside words alone, a space before and after each word counting as its own.
fn counts(note: &str) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for word in note.to_lowercase().split_whitespace() {
        let word: Vec<char> = std::iter::once(' ').chain(word.chars()).chain([' ']).collect();
        for length in LENGTHS {
            let mut add = |sequence: &[char]| *counts.entry(sequence.iter().collect()).or_default() += 1;
            if word.len() <= length {
                add(&word); // a short word counts whole, and once
                break;
            }
            word.windows(length).for_each(&mut add);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_stay_inside_words_and_short_words_count_once() {
        let counts = counts("A fe");
        let mut found: Vec<(&str, usize)> = counts.iter().map(|(sequence, count)| (&sequence[..], *count)).collect();
        found.sort_unstable();
        let expected =
            [(" a", 1), (" a ", 1), (" f", 1), (" fe", 1), (" fe ", 1), ("a ", 1), ("e ", 1), ("fe", 1), ("fe ", 1)];
        assert_eq!(found, expected);
    }
}
