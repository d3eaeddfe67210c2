//! Which tokens are hidden from the model, and behind what (BERT, arXiv 1810.04805, section 3.1).

use crate::random::SplitMix64;

/// The vocabulary's special ids that masking needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MaskIds {
    /// `[MASK]`.
    pub(super) mask: u32,
    /// Number of words.
    pub(super) vocabulary: u32,
    /// Ids below this are special and are never put in as a random word.
    pub(super) first_word: u32,
}

/// Positions to predict, `[M]`, and the ids that stood there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Masked {
    /// Packed token positions, ascending.
    pub(super) rows: Vec<usize>,
    /// The true ids.
    pub(super) labels: Vec<u32>,
}

/// Chooses `probability` of the tokens that `may_hide` allows; of these 80 % become `[MASK]`, 10 % a random word, 10 % stay.
/// At least one token is chosen where any may be.
pub(super) fn mask(
    input_ids: &mut [u32],
    may_hide: impl Fn(usize) -> bool,
    ids: MaskIds,
    probability: f64,
    random: &mut SplitMix64,
) -> Masked {
    let candidates: Vec<usize> = (0..input_ids.len()).filter(|at| may_hide(*at)).collect();
    let mut chosen: Vec<usize> = candidates.iter().copied().filter(|_| random.unit() < probability).collect();
    if chosen.is_empty() && !candidates.is_empty() {
        chosen.push(candidates[random.below(candidates.len() as u64) as usize]);
    }
    let labels = chosen.iter().map(|at| input_ids[*at]).collect();
    for at in &chosen {
        match random.unit() {
            share if share < 0.8 => input_ids[*at] = ids.mask,
            share if share < 0.9 => {
                let words = u64::from(ids.vocabulary - ids.first_word);
                input_ids[*at] = ids.first_word + random.below(words) as u32;
            }
            _ => {}
        }
    }
    Masked { rows: chosen, labels }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_15_80_10_10_and_special_tokens_stay() {
        let ids = MaskIds { mask: 4, vocabulary: 1000, first_word: 5 };
        let original: Vec<u32> = (0..100_000).map(|i| if i % 50 == 0 { 2 } else { 5 + i % 990 }).collect();
        let mut input = original.clone();
        let masked = mask(&mut input, |at| original[at] != 2, ids, 0.15, &mut SplitMix64::new(1));
        let share = masked.rows.len() as f64 / 98_000.0;
        assert!((share - 0.15).abs() < 0.005, "{share}");
        let count = |test: &dyn Fn(usize) -> bool| masked.rows.iter().filter(|at| test(**at)).count() as f64;
        let all = masked.rows.len() as f64;
        assert!((count(&|at| input[at] == 4) / all - 0.8).abs() < 0.02);
        assert!((count(&|at| input[at] == original[at]) / all - 0.1).abs() < 0.02);
        assert!((0..original.len()).all(|at| original[at] != 2 || input[at] == 2));
        assert!(masked.rows.iter().zip(&masked.labels).all(|(at, label)| original[*at] == *label));
    }

    #[test]
    fn a_short_note_still_has_something_to_predict() {
        let ids = MaskIds { mask: 4, vocabulary: 10, first_word: 5 };
        for seed in 0..20 {
            let mut input = [2, 7, 3];
            let masked = mask(&mut input, |at| at == 1, ids, 0.01, &mut SplitMix64::new(seed));
            assert_eq!(masked, Masked { rows: vec![1], labels: vec![7] });
        }
    }
}
