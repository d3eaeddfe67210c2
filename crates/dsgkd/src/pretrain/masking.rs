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

/// Which tokens of a vocabulary begin a word, `[vocabulary]`, by the marks of WordPiece (`##` continues), SentencePiece (`▁` begins) or
/// byte-level BPE (`Ġ` begins); `None` for a vocabulary without such marks.
pub(super) fn word_beginnings(vocabulary: &[String]) -> Option<Vec<bool>> {
    let marked = |mark: &str| vocabulary.iter().any(|token| token.starts_with(mark) && token != mark);
    let begins = |test: &dyn Fn(&String) -> bool| Some(vocabulary.iter().map(test).collect());
    match () {
        _ if marked("##") => begins(&|token| !token.starts_with("##")),
        _ if marked("▁") => begins(&|token| token.starts_with('▁')),
        _ if marked("Ġ") => begins(&|token| token.starts_with('Ġ')),
        () => None,
    }
}

/// Chooses `probability` of the words among the tokens that `may_hide` allows; of their tokens 80 % become `[MASK]`, 10 % a random word, 10
/// % stay. At least one word is chosen where any may be. A token begins a word when `begins_word` says so or the one before it may not be
/// hidden: with `true` for all, every token is chosen by itself (BERT); with [`word_beginnings`], all tokens of a word together (whole-word
/// masking, as in PubMedBERT, arXiv 2007.15779).
pub(super) fn mask(
    input_ids: &mut [u32],
    may_hide: impl Fn(usize) -> bool,
    begins_word: impl Fn(u32) -> bool,
    ids: MaskIds,
    probability: f64,
    random: &mut SplitMix64,
) -> Masked {
    let mut words: Vec<Vec<usize>> = vec![];
    for at in (0..input_ids.len()).filter(|at| may_hide(*at)) {
        match words.last_mut() {
            Some(word) if word.last() == Some(&(at.wrapping_sub(1))) && !begins_word(input_ids[at]) => word.push(at),
            _ => words.push(vec![at]),
        }
    }
    let mut chosen: Vec<usize> = words.iter().filter(|_| random.unit() < probability).flatten().copied().collect();
    if chosen.is_empty() && !words.is_empty() {
        chosen.clone_from(&words[random.below(words.len() as u64) as usize]);
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
        let masked = mask(&mut input, |at| original[at] != 2, |_| true, ids, 0.15, &mut SplitMix64::new(1));
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
    fn whole_words_are_hidden_together_by_every_mark() {
        let words =
            |tokens: &[&str]| word_beginnings(&tokens.iter().map(|token| token.to_string()).collect::<Vec<_>>());
        assert_eq!(words(&["[CLS]", "gastro", "##scopy"]), Some(vec![true, true, false]));
        assert_eq!(words(&["<s>", "▁gastro", "scopy"]), Some(vec![false, true, false]));
        assert_eq!(words(&["<s>", "Ġgastro", "scopy"]), Some(vec![false, true, false]));
        assert_eq!(words(&["<s>", "gastro", "##"]), None);

        // Ids below 100 go on with the word before; the frames are 200.
        let original: Vec<u32> = (0..30_000).map(|i| if i % 30 == 0 { 200 } else { 50 + i % 3 * 40 }).collect();
        let begins = |id: u32| id >= 100;
        let ids = MaskIds { mask: 4, vocabulary: 1000, first_word: 5 };
        let mut input = original.clone();
        let masked = mask(&mut input, |at| original[at] != 200, begins, ids, 0.15, &mut SplitMix64::new(1));
        let chosen: std::collections::HashSet<usize> = masked.rows.iter().copied().collect();
        for at in (1..original.len()).filter(|at| original[*at] != 200 && original[at - 1] != 200) {
            assert!(
                begins(original[at]) || chosen.contains(&at) == chosen.contains(&(at - 1)),
                "a word is torn at {at}"
            );
        }
        assert!((masked.rows.len() as f64 / 29_000.0 - 0.15).abs() < 0.01);
        assert!(masked.rows.is_sorted());
    }

    #[test]
    fn a_short_note_still_has_something_to_predict() {
        let ids = MaskIds { mask: 4, vocabulary: 10, first_word: 5 };
        for seed in 0..20 {
            let mut input = [2, 7, 3];
            let masked = mask(&mut input, |at| at == 1, |_| true, ids, 0.01, &mut SplitMix64::new(seed));
            assert_eq!(masked, Masked { rows: vec![1], labels: vec![7] });
        }
    }
}
