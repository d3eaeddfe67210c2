//! A WordPiece vocabulary learned from text, and the tokenizer files around it.
//!
//! The words are split as BERT does (by the `tokenizers` crate), then joined pair by pair, the most frequent first (Sennrich
//! et al. 2016), as the `tokenizers` trainer does. That trainer breaks ties by the order of a randomly seeded hash map, so
//! that two runs give two vocabularies; here ties are broken by the pieces themselves, and the same text always gives the
//! same vocabulary.

use crate::config::VocabularyConfig;
use crate::error::{Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::path::Path;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    Tokenizer,
};

/// The special tokens, in the order of their ids.
pub(super) const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// Words longer than this take no part: they are noise such as separator lines.
const LONGEST_WORD: usize = 40;

fn normalizer(lowercase: bool) -> BertNormalizer {
    // Accents stay: stripping them decomposes Hangul into its letters.
    BertNormalizer::new(true, true, Some(false), lowercase)
}

/// How often each word stands in the text.
#[derive(Default)]
pub(super) struct WordCounts {
    counts: BTreeMap<String, u64>,
}

impl WordCounts {
    /// Counts the words of one more document.
    pub(super) fn add(&mut self, text: &str, lowercase: bool) -> Result<()> {
        let mut normalized = NormalizedString::from(text);
        let failed = |_| Error::Data("a document of the corpus cannot be split into words".to_string());
        normalizer(lowercase).normalize(&mut normalized).map_err(failed)?;
        let mut split = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut split).map_err(failed)?;
        for (word, _, _) in split.get_splits(OffsetReferential::Normalized, OffsetType::None) {
            if word.chars().count() <= LONGEST_WORD {
                match self.counts.get_mut(word) {
                    Some(count) => *count += 1,
                    None => {
                        self.counts.insert(word.to_string(), 1);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A pair of pieces that may be joined; the heap gives the most frequent first, then the smaller pieces.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    count: u64,
    pair: std::cmp::Reverse<(u32, u32)>,
}

/// What was learned.
pub(super) struct Learned {
    /// The pieces, special tokens first; `vocabulary.size` at most.
    pub(super) pieces: Vec<String>,
    /// Single characters that are known.
    pub(super) letters: usize,
    /// Rarer ones, for which the size has no room although `vocabulary.limit_alphabet` has.
    pub(super) letters_left_out: usize,
}

/// Number of pieces before any are joined. A letter inside a word is another piece than the same letter at its beginning; both are known from the
/// start.
pub(super) fn pieces_of(letters: usize) -> usize {
    SPECIAL_TOKENS.len() + 2 * letters
}

/// Learns the pieces; where there is no room for all letters, of words without the rarest.
pub(super) fn learn(words: &WordCounts, config: &VocabularyConfig) -> Learned {
    let mut alphabet = letters_by_frequency(&words.counts);
    alphabet.truncate(config.limit_alphabet);
    let wanted = alphabet.len();
    while pieces_of(alphabet.len()) > config.size && alphabet.pop().is_some() {}
    alphabet.sort_unstable();
    let mut pieces: Vec<String> = SPECIAL_TOKENS.map(String::from).to_vec();
    pieces.extend(alphabet.iter().map(|letter| letter.to_string()));
    pieces.extend(alphabet.iter().map(|letter| format!("##{letter}")));
    let ids: HashMap<String, u32> = pieces.iter().enumerate().map(|(id, piece)| (piece.clone(), id as u32)).collect();
    let known: HashSet<char> = alphabet.iter().copied().collect();
    let mut split: Vec<(Vec<u32>, u64)> = vec![];
    for (word, count) in &words.counts {
        if !word.chars().all(|letter| known.contains(&letter)) {
            continue;
        }
        let piece =
            |(at, letter): (usize, char)| ids[&if at == 0 { letter.to_string() } else { format!("##{letter}") }];
        split.push((word.chars().enumerate().map(piece).collect(), *count));
    }
    join_pairs(&mut split, &mut pieces, config);
    Learned { pieces, letters: alphabet.len(), letters_left_out: wanted - alphabet.len() }
}

/// The letters of the text, the most frequent first, ties to the smaller code point.
fn letters_by_frequency(counts: &BTreeMap<String, u64>) -> Vec<char> {
    let mut letters: BTreeMap<char, u64> = BTreeMap::new();
    for (word, count) in counts {
        word.chars().for_each(|letter| *letters.entry(letter).or_default() += count);
    }
    let mut letters: Vec<(char, u64)> = letters.into_iter().collect();
    letters.sort_by_key(|(letter, count)| (std::cmp::Reverse(*count), *letter));
    letters.into_iter().map(|(letter, _)| letter).collect()
}

fn join_pairs(words: &mut [(Vec<u32>, u64)], pieces: &mut Vec<String>, config: &VocabularyConfig) {
    let mut counts: HashMap<(u32, u32), u64> = HashMap::new();
    let mut places: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
    for (index, (word, count)) in words.iter().enumerate() {
        for pair in word.windows(2).map(|pair| (pair[0], pair[1])) {
            *counts.entry(pair).or_default() += count;
            places.entry(pair).or_default().push(index);
        }
    }
    let candidate = |pair: (u32, u32), count: u64| Candidate { count, pair: std::cmp::Reverse(pair) };
    let mut heap: BinaryHeap<Candidate> = counts.iter().map(|(pair, count)| candidate(*pair, *count)).collect();
    let mut known: HashSet<String> = pieces.iter().cloned().collect();
    while pieces.len() < config.size {
        let Some(Candidate { count, pair: std::cmp::Reverse(pair) }) = heap.pop() else { break };
        let now = counts.get(&pair).copied().unwrap_or(0);
        if now != count {
            // Joins since it was put there took some of its places.
            if now > 0 {
                heap.push(candidate(pair, now));
            }
            continue;
        }
        if count < config.min_frequency.max(1) {
            break;
        }
        let joined = format!("{}{}", pieces[pair.0 as usize], pieces[pair.1 as usize].trim_start_matches("##"));
        let id = match known.contains(&joined) {
            // Two ways lead to one piece; it keeps its first id.
            true => pieces.iter().position(|piece| *piece == joined).unwrap_or(0) as u32,
            false => {
                known.insert(joined.clone());
                pieces.push(joined);
                pieces.len() as u32 - 1
            }
        };
        let mut changed: HashSet<(u32, u32)> = HashSet::new();
        for index in places.remove(&pair).unwrap_or_default() {
            let (word, count) = &mut words[index];
            let count = *count;
            let mut at = 0;
            while at + 1 < word.len() {
                if (word[at], word[at + 1]) != pair {
                    at += 1;
                    continue;
                }
                let mut take = |old: (u32, u32)| {
                    if let Some(number) = counts.get_mut(&old) {
                        *number = number.saturating_sub(count);
                    }
                };
                take(pair);
                if at > 0 {
                    take((word[at - 1], pair.0));
                }
                if at + 2 < word.len() {
                    take((pair.1, word[at + 2]));
                }
                word[at] = id;
                word.remove(at + 1);
                let neighbours =
                    [(at > 0).then(|| (word[at - 1], id)), (at + 1 < word.len()).then(|| (id, word[at + 1]))];
                for new in neighbours.into_iter().flatten() {
                    *counts.entry(new).or_default() += count;
                    places.entry(new).or_default().push(index);
                    changed.insert(new);
                }
                at += 1;
            }
        }
        counts.remove(&pair);
        for pair in changed {
            heap.push(candidate(pair, counts.get(&pair).copied().unwrap_or(0)));
        }
    }
}

/// Writes `tokenizer.json`, `tokenizer_config.json`, `vocab.txt` and `special_tokens_map.json` as `BertTokenizer` has them.
pub(super) fn write(pieces: &[String], lowercase: bool, max_length: usize, folder: &Path) -> Result<()> {
    let failed =
        |error: tokenizers::Error| Error::Model(format!("{}: the tokenizer cannot be made: {error}", folder.display()));
    let text = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(Error::io(&path, "write"))
    };
    text("vocab.txt", pieces.iter().map(|piece| format!("{piece}\n")).collect())?;
    let vocabulary = folder.join("vocab.txt");
    let model =
        WordPiece::from_file(&vocabulary.to_string_lossy()).unk_token("[UNK]".into()).build().map_err(failed)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(normalizer(lowercase))).map_err(failed)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    tokenizer.with_post_processor(Some(BertProcessing::new(("[SEP]".into(), 3), ("[CLS]".into(), 2))));
    let special = SPECIAL_TOKENS.map(|token| AddedToken::from(token, true));
    tokenizer.add_special_tokens(special).map_err(failed)?;
    tokenizer.save(folder.join("tokenizer.json"), true).map_err(failed)?;
    let [pad, unk, cls, sep, mask] = SPECIAL_TOKENS;
    let map = json!({"unk_token": unk, "sep_token": sep, "pad_token": pad, "cls_token": cls, "mask_token": mask});
    text("special_tokens_map.json", format!("{map:#}\n"))?;
    let mut config = map;
    config["tokenizer_class"] = json!("BertTokenizer");
    config["do_lower_case"] = json!(lowercase);
    config["strip_accents"] = json!(false);
    config["tokenize_chinese_chars"] = json!(true);
    config["model_max_length"] = json!(max_length);
    text("tokenizer_config.json", format!("{config:#}\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> WordCounts {
        let mut words = WordCounts::default();
        words.add(text, true).unwrap();
        words
    }

    #[test]
    fn frequent_pairs_are_joined_first() {
        let words =
            words("low low low low low lower lower newest newest newest newest newest newest widest widest widest");
        let config = VocabularyConfig { size: 5 + 2 * 10 + 3, min_frequency: 1, ..VocabularyConfig::default() };
        let pieces = learn(&words, &config).pieces;
        // 9 pairs `e s`, and `s t` as often: the smaller ids first; then `es t`, then `l o` (7).
        assert_eq!(pieces[25..], ["##es", "##est", "lo"]);
    }

    #[test]
    fn the_same_text_gives_the_same_vocabulary() {
        let text: String =
            (0..2000).map(|i| format!("{}{} ", ["가나", "다라", "ab", "cd"][i % 4], i * 7919 % 97)).collect();
        let config = VocabularyConfig { size: 300, ..VocabularyConfig::default() };
        assert_eq!(learn(&words(&text), &config).pieces, learn(&words(&text), &config).pieces);
    }

    #[test]
    fn the_size_holds_and_the_rarest_letters_leave_first() {
        let words = words("aaaa bbb cc d abab abab");
        let learned = |size: usize, limit_alphabet: usize| {
            let config = VocabularyConfig { size, limit_alphabet, min_frequency: 1, ..VocabularyConfig::default() };
            let Learned { pieces, letters_left_out, .. } = learn(&words, &config);
            (pieces[SPECIAL_TOKENS.len()..].join(" "), letters_left_out)
        };
        assert_eq!(learned(pieces_of(4), 9), ("a b c d ##a ##b ##c ##d".to_string(), 0));
        assert_eq!(learned(pieces_of(4) - 1, 9), ("a b c ##a ##b ##c ab".to_string(), 1));
        assert_eq!(learned(pieces_of(2), 9), ("a b ##a ##b".to_string(), 2));
        // Letters beyond `limit_alphabet` are not wanted, so that none is missing.
        assert_eq!(learned(pieces_of(2), 2), ("a b ##a ##b".to_string(), 0));
        assert_eq!(learned(0, 9), (String::new(), 4));
    }

    #[test]
    fn the_written_tokenizer_uses_the_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let config = VocabularyConfig { size: 60, min_frequency: 1, ..VocabularyConfig::default() };
        let Learned { pieces, .. } = learn(&words("fever fever 열이 열이 나고 fever Vomiting vomiting"), &config);
        write(&pieces, true, 64, folder.path()).unwrap();
        let tokenizer = Tokenizer::from_file(folder.path().join("tokenizer.json")).unwrap();
        let encoding = tokenizer.encode("Fever 열이 vomiting", true).unwrap();
        assert_eq!(encoding.get_tokens(), ["[CLS]", "fever", "열이", "vomiting", "[SEP]"]);
    }
}
