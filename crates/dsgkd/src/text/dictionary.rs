//! Terms by a user's list of words and phrases.

use super::TextSpan;
use crate::config::Normalization;
use crate::data::normalise;
use crate::error::{Error, Result};
use aho_corasick::AhoCorasick;
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use unicode_script::UnicodeScript;

/// A compiled list, matched without case.
pub(super) struct Dictionary {
    words: AhoCorasick,
    /// Every character that stands for a character of the list when case does not count, and the one that the compiled
    /// words have in its place.
    folded: HashMap<char, char>,
}

impl Dictionary {
    /// One term a line; empty lines and lines that begin with `#` are passed over. Terms are brought to the form of the notes.
    pub(super) fn open(path: &Path, form: Normalization) -> Result<Dictionary> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let lines = text.trim_start_matches('\u{feff}').split(['\n', '\r']).map(str::trim);
        let written = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let terms: Vec<String> = written.map(|line| normalise(line, form)).collect();
        if terms.is_empty() {
            return Err(Error::Config(format!("{}: the dictionary holds no term", path.display())));
        }
        let mut folded = HashMap::new();
        for letter in terms.iter().flat_map(|term| term.chars()) {
            if !folded.contains_key(&letter) {
                folded.extend(other_cases(letter));
            }
        }
        let fold = |term: &String| term.chars().map(|letter| folded[&letter]).collect::<String>();
        let words = AhoCorasick::new(terms.iter().map(fold))
            .map_err(|_| Error::Config(format!("{}: the dictionary is too large to compile", path.display())))?;
        Ok(Dictionary { words, folded })
    }

    /// Matches that do not begin or end inside a word, the longest of those that begin at one place. Words are held
    /// against the text first: a longer entry that ends inside a word must not hide a shorter one that does not.
    pub(super) fn terms(&self, text: &str) -> Vec<TextSpan> {
        // Letters of one word may take different numbers of bytes in the other case: `origins` leads back.
        let (mut folded, mut origins) = (String::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        for (origin, letter) in text.char_indices() {
            folded.push(self.folded.get(&letter).copied().unwrap_or(letter));
            origins.resize(folded.len(), origin);
        }
        origins.push(text.len());
        let found = self.words.find_overlapping_iter(&folded);
        let spans = found.map(|found| TextSpan { start: origins[found.start()], end: origins[found.end()] });
        let mut whole: Vec<TextSpan> =
            spans.filter(|span| !joined(text, span.start) && !joined(text, span.end)).collect();
        whole.sort_by_key(|span| (span.start, Reverse(span.end)));
        let mut from = 0;
        whole.retain(|span| {
            let is_free = span.start >= from;
            if is_free {
                from = span.end;
            }
            is_free
        });
        whole
    }
}

/// The letter in all its cases (Unicode's simple folding, as in a pattern without case), each with the first of them.
fn other_cases(letter: char) -> Vec<(char, char)> {
    let mut class = ClassUnicode::new([ClassUnicodeRange::new(letter, letter)]);
    class.case_fold_simple();
    let first = class.ranges().first().map_or(letter, ClassUnicodeRange::start);
    class.ranges().iter().flat_map(|range| range.start()..=range.end()).map(|other| (other, first)).collect()
}

/// Whether the characters before and after `at` belong to one word: letters of one script, or digits.
fn joined(text: &str, at: usize) -> bool {
    let (Some(before), Some(after)) = (text[..at].chars().next_back(), text[at..].chars().next()) else { return false };
    (before.is_numeric() && after.is_numeric())
        || (before.is_alphabetic() && after.is_alphabetic() && before.script() == after.script())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_longest_term_at_word_boundaries() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terms.txt");
        std::fs::write(&path, "\u{feff}# list\nchest pain\nPain\n\nbt\n구토\n").unwrap();
        let text = "Chest Pain, painful 복통pain BT38 구토를 구토증";
        let terms = Dictionary::open(&path, Normalization::Nfc).unwrap().terms(text);
        let found: Vec<&str> = terms.iter().map(|term| term.of(text)).collect();
        assert_eq!(found, ["Chest Pain", "pain", "BT"]);
        std::fs::write(&path, "\n# nothing\n").unwrap();
        assert!(Dictionary::open(&path, Normalization::Nfc).is_err());
    }
    fn dictionary(list: &str, form: Normalization) -> (tempfile::TempDir, Dictionary) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("terms.txt");
        std::fs::write(&path, list).unwrap();
        let dictionary = Dictionary::open(&path, form).unwrap();
        (folder, dictionary)
    }

    fn found(list: &str, text: &str) -> Vec<String> {
        let (_folder, dictionary) = dictionary(list, Normalization::Nfc);
        dictionary.terms(text).iter().map(|term| term.of(text).to_string()).collect()
    }

    #[test]
    fn a_longer_entry_that_ends_inside_a_word_hides_no_shorter_one() {
        assert_eq!(found("BT 38\nBT\n", "BT 385, BT 38"), ["BT", "BT 38"]);
        assert_eq!(found("chest pain\nchest\npain", "chest painful, chest pain"), ["chest", "chest pain"]);
        // Of two that overlap, the one that begins first.
        assert_eq!(found("a b\nb c\nc", "a b c"), ["a b", "c"]);
    }

    #[test]
    fn entries_are_brought_to_the_form_of_the_notes() {
        let list = "ＣＴ\n５㎎\n№\n＃4\n# a remark\n";
        assert_eq!(found(list, "ＣＴ検査 CT, ５㎎ 5mg no №"), ["ＣＴ", "５㎎", "№"]);
        let (_folder, plain) = dictionary(list, Normalization::Nfkc);
        let text = "CT検査, 5mg no, #4";
        let found: Vec<&str> = plain.terms(text).iter().map(|term| term.of(text)).collect();
        assert_eq!(found, ["CT", "5mg", "no", "#4"]);
    }

    #[test]
    fn case_is_unicode_s_whatever_its_bytes() {
        // The Kelvin sign and the long s take more bytes than the letters that they stand for.
        assert_eq!(
            found("kiss\nΣΟΦΟΣ\nß", "구 \u{212a}i\u{17f}s KISS, σοφος ẞ"),
            ["\u{212a}i\u{17f}s", "KISS", "σοφος", "ẞ"]
        );
    }

    #[test]
    fn a_hundred_thousand_entries_are_found() {
        let list: String =
            (0..100_000u32).map(|n| format!("term {n:05} of {:x}\n", n.wrapping_mul(2_654_435_761))).collect();
        let last = list.lines().last().unwrap();
        assert_eq!(found(&list, &format!("{last}, {}", last.to_uppercase())), [last, &last.to_uppercase()]);
    }
}
