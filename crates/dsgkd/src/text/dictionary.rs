//! Terms by a user's list of words and phrases.

use super::TextSpan;
use crate::error::{Error, Result};
use regex::{Regex, RegexBuilder};
use std::path::Path;
use unicode_script::UnicodeScript;

/// A compiled list, matched without case, longest first.
pub(super) struct Dictionary {
    pattern: Regex,
}

impl Dictionary {
    /// One term a line; empty lines and lines that begin with `#` are passed over.
    pub(super) fn open(path: &Path) -> Result<Dictionary> {
        let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
        let text = super::normalise(text.trim_start_matches('\u{feff}'));
        let mut terms: Vec<&str> =
            text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
        if terms.is_empty() {
            return Err(Error::Config(format!("{}: the dictionary holds no term", path.display())));
        }
        terms.sort_by_key(|term| std::cmp::Reverse(term.len()));
        let alternatives: Vec<String> = terms.into_iter().map(regex::escape).collect();
        let pattern = RegexBuilder::new(&alternatives.join("|")).case_insensitive(true).size_limit(1 << 28).build();
        let pattern = pattern
            .map_err(|_| Error::Config(format!("{}: the dictionary is too large to compile", path.display())))?;
        Ok(Dictionary { pattern })
    }

    /// Matches that do not begin or end inside a word.
    pub(super) fn terms(&self, text: &str) -> Vec<TextSpan> {
        let (mut terms, mut from) = (vec![], 0);
        while let Some(found) = self.pattern.find_at(text, from) {
            let span = TextSpan { start: found.start(), end: found.end() };
            if !joined(text, span.start) && !joined(text, span.end) {
                terms.push(span);
                from = span.end;
            } else {
                from = span.start + text[span.start..].chars().next().map_or(1, char::len_utf8);
            }
        }
        terms
    }
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
        let terms = Dictionary::open(&path).unwrap().terms(text);
        let found: Vec<&str> = terms.iter().map(|term| term.of(text)).collect();
        assert_eq!(found, ["Chest Pain", "pain", "BT"]);
        std::fs::write(&path, "\n# nothing\n").unwrap();
        assert!(Dictionary::open(&path).is_err());
    }
}
