//! Which tokens are hidden from the model, and behind what (BERT, arXiv 1810.04805, section 3.1).

use crate::config::Masking;
use crate::error::{Error, Result};
use crate::random::SplitMix64;
use crate::text::Tokenizer;
use dsgkd_encoder::Batch;

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

impl Masked {
    /// The positions as the encoder takes them: it need not finish the other tokens.
    pub(super) fn wanted(&self) -> Vec<u32> {
        self.rows.iter().map(|row| *row as u32).collect()
    }
}

/// What is hidden, and how it is chosen.
pub(super) struct Hiding<'a> {
    pub(super) ids: MaskIds,
    pub(super) begins_word: &'a dyn Fn(u32) -> bool,
    pub(super) weight: Option<&'a dyn Fn(&[u32]) -> f64>,
    pub(super) probability: f64,
}

/// Which tokens of a vocabulary begin a word, `[vocabulary]`, by the marks of WordPiece (`##` continues), SentencePiece (`▁` begins) or
/// byte-level BPE (`Ġ` begins); `None` for a vocabulary without such marks. Each mark may be text in the vocabularies of the others (`###`), so
/// that the one on most tokens counts.
pub(super) fn word_beginnings(vocabulary: &[String]) -> Option<Vec<bool>> {
    let marked = |mark: &str| vocabulary.iter().filter(|token| token.starts_with(mark) && *token != mark).count();
    let (mark, begins) = [("##", false), ("▁", true), ("Ġ", true)].into_iter().max_by_key(|(mark, _)| marked(mark))?;
    (marked(mark) > 0).then(|| vocabulary.iter().map(|token| token.starts_with(mark) == begins).collect())
}

/// Chooses `probability` of the words among the tokens that `may_hide` allows; of their tokens 80 % become `[MASK]`, 10 % a random word, 10
/// % stay. At least one word is chosen where any may be. A token begins a word when `begins_word` says so or the one before it may not be
/// hidden: with `true` for all, every token is chosen by itself (BERT); with [`word_beginnings`], all tokens of a word together (whole-word
/// masking, as in PubMedBERT, arXiv 2007.15779). With `weight` (of a word's ids, above 0), words are drawn one after the other, each with
/// a probability in proportion to its weight, until `probability` of the tokens are chosen: selective masking.
pub(super) fn mask(
    input_ids: &mut [u32],
    may_hide: impl Fn(usize) -> bool,
    begins_word: impl Fn(u32) -> bool,
    weight: Option<&dyn Fn(&[u32]) -> f64>,
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
    let mut chosen: Vec<usize> = match weight {
        None => words.iter().filter(|_| random.unit() < probability).flatten().copied().collect(),
        Some(weight) => draw(&words, |word| weight(&input_ids[word[0]..=word[word.len() - 1]]), probability, random),
    };
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

/// Packs texts and hides tokens; the framing special tokens are never hidden.
pub(super) fn masked_batch(texts: &[&[u32]], hiding: &Hiding, random: &mut SplitMix64) -> (Batch, Masked) {
    let Hiding { ids, begins_word, weight, probability } = *hiding;
    let mut batch = Batch::pack(texts.iter().copied());
    let mut may_hide = vec![true; batch.tokens()];
    for pair in batch.cu_seqlens.windows(2) {
        may_hide[pair[0] as usize] = false;
        may_hide[pair[1] as usize - 1] = false;
    }
    let masked = mask(&mut batch.input_ids, |at| may_hide[at], begins_word, weight, ids, probability, random);
    (batch, masked)
}

/// Words drawn by weight without replacement, as positions in order, until as many tokens as `probability` of them all: the words with the
/// smallest `-ln(u) / weight` for a uniform `u` each (Efraimidis and Spirakis 2006, algorithm A).
fn draw(
    words: &[Vec<usize>],
    weight: impl Fn(&[usize]) -> f64,
    probability: f64,
    random: &mut SplitMix64,
) -> Vec<usize> {
    let tokens: usize = words.iter().map(Vec::len).sum();
    let wanted = (tokens as f64 * probability).round() as usize;
    let key = |word: &Vec<usize>| -(1.0 - random.unit()).ln() / weight(word).max(f64::MIN_POSITIVE);
    let keys: Vec<f64> = words.iter().map(key).collect();
    let mut order: Vec<usize> = (0..words.len()).collect();
    order.sort_by(|a, b| keys[*a].total_cmp(&keys[*b]));
    let mut chosen = vec![];
    for word in order {
        // The last word may be longer than what is left: it is taken when that comes nearer to the share.
        let over = (chosen.len() + words[word].len()).saturating_sub(wanted);
        if chosen.len() >= wanted || over > wanted - chosen.len() {
            break;
        }
        chosen.extend(&words[word]);
    }
    chosen.sort_unstable();
    chosen
}

/// Which tokens begin a word, as `train.masking` wants it.
pub(super) fn beginnings(tokenizer: &Tokenizer, masking: Masking) -> Result<Vec<bool>> {
    let words = tokenizer.vocabulary_size();
    if masking == Masking::Random {
        return Ok(vec![true; words]);
    }
    let vocabulary: Vec<String> = (0..words as u32).map(|id| tokenizer.token(id).unwrap_or_default()).collect();
    word_beginnings(&vocabulary).ok_or_else(|| {
        Error::Config("train.masking: the tokenizer's tokens do not tell where words begin (##, ▁ or Ġ)".to_string())
    })
}

pub(super) fn mask_ids(tokenizer: &Tokenizer, vocab_size: usize) -> Result<MaskIds> {
    let missing = || Error::Model("the tokenizer has neither [MASK] nor <mask>".to_string());
    let mask = tokenizer.mask().ok_or_else(missing)?;
    let first_word = tokenizer.first_word();
    if first_word as usize >= vocab_size {
        return Err(Error::Model("the tokenizer has special tokens alone, and no word to learn".to_string()));
    }
    Ok(MaskIds { mask, vocabulary: vocab_size as u32, first_word })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_15_80_10_10_and_special_tokens_stay() {
        let ids = MaskIds { mask: 4, vocabulary: 1000, first_word: 5 };
        let original: Vec<u32> = (0..100_000).map(|i| if i % 50 == 0 { 2 } else { 5 + i % 990 }).collect();
        let mut input = original.clone();
        let masked = mask(&mut input, |at| original[at] != 2, |_| true, None, ids, 0.15, &mut SplitMix64::new(1));
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
        // XLM-RoBERTa's vocabulary has the token `###`, and a cased WordPiece vocabulary may have words with a Ġ or ▁.
        assert_eq!(words(&["###", "▁gastro", "▁colo", "scopy"]), Some(vec![false, true, true, false]));
        assert_eq!(words(&["##", "###", "Ġgastro", "Ġcolo", "scopy"]), Some(vec![false, false, true, true, false]));
        assert_eq!(words(&["##scopy", "##lon", "Ġgantija", "▁a"]), Some(vec![false, false, true, true]));

        // Ids below 100 go on with the word before; the frames are 200.
        let original: Vec<u32> = (0..30_000).map(|i| if i % 30 == 0 { 200 } else { 50 + i % 3 * 40 }).collect();
        let begins = |id: u32| id >= 100;
        let ids = MaskIds { mask: 4, vocabulary: 1000, first_word: 5 };
        let mut input = original.clone();
        let masked = mask(&mut input, |at| original[at] != 200, begins, None, ids, 0.15, &mut SplitMix64::new(1));
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
    fn heavy_words_are_hidden_more_often_whole_and_the_share_stays() {
        // Words of one to three tokens; a third of them, all of two tokens (110 with 50), weigh eight times as much.
        let original: Vec<u32> = (0..10_000).flat_map(|_| [100, 110, 50, 120, 51, 52]).collect();
        let begins = |id: u32| id >= 100;
        let weight = |word: &[u32]| if word == [110, 50] { 8.0 } else { 1.0 };
        let ids = MaskIds { mask: 4, vocabulary: 1000, first_word: 5 };
        let run = |seed: u64| {
            let mut input = original.clone();
            let masked = mask(&mut input, |_| true, begins, Some(&weight), ids, 0.15, &mut SplitMix64::new(seed));
            (masked, input)
        };
        let (masked, input) = run(1);
        assert!(masked.rows.is_sorted() && (masked.rows.len() as f64 / 60_000.0 - 0.15).abs() < 1e-4);
        let hidden = |place: usize| masked.rows.iter().filter(|at| **at % 6 == place).count();
        let (plain, heavy, long) = (hidden(0), hidden(1), hidden(3));
        assert!(heavy > 4 * plain && heavy < 9 * plain, "{heavy} {plain}");
        assert!(plain.abs_diff(long) < plain / 5, "{plain} {long}");
        // The last word that would go over the share may be left out, never torn.
        assert_eq!((hidden(2), hidden(4), hidden(5)), (heavy, long, long));
        let still = masked.rows.iter().filter(|at| input[**at] == 4).count() as f64 / masked.rows.len() as f64;
        assert!((still - 0.8).abs() < 0.02, "{still}");
        assert_eq!(run(1), (masked, input));
        assert_ne!(run(2).0, run(1).0);
    }

    #[test]
    fn a_short_note_still_has_something_to_predict() {
        let ids = MaskIds { mask: 4, vocabulary: 10, first_word: 5 };
        for seed in 0..20 {
            let mut input = [2, 7, 3];
            let masked = mask(&mut input, |at| at == 1, |_| true, None, ids, 0.01, &mut SplitMix64::new(seed));
            assert_eq!(masked, Masked { rows: vec![1], labels: vec![7] });
        }
    }
}
