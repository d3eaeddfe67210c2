//! Words added to the WordPiece tokenizer of a model that training continues from: those of the corpus that it splits into pieces.
//!
//! A word becomes a token as a whole. Other words tokenize as before unless they begin with an added word: WordPiece takes the longest
//! token that a word begins with.

use crate::config::PretrainConfig;
use crate::data::corpus::for_each_document;
use crate::error::{Error, Result};
use crate::text::Tokenizer;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Longer words are noise such as separator lines.
const LONGEST_WORD: usize = 40;

/// The tokenizer's file, if words can be added to it: a WordPiece vocabulary without gaps, where a token's number is its line.
///
/// # Errors
/// Says what it is instead.
pub(super) fn extensible(tokenizer: &Tokenizer, folder: &Path) -> Result<Value> {
    let json = tokenizer.to_json()?;
    let model = &json["model"];
    let wordpiece =
        model["type"] == "WordPiece" || model["type"].is_null() && !model["continuing_subword_prefix"].is_null();
    let refuse =
        |what: String| Err(Error::Model(format!("{}: {what}; leave out vocabulary.add and .words", folder.display())));
    if !wordpiece || model["continuing_subword_prefix"] != "##" {
        let kind = model["type"].as_str().unwrap_or("unknown");
        return refuse(format!("its tokenizer is of the kind {kind}, and words can be added to WordPiece (##) only"));
    }
    let tokens = tokenizer.vocabulary_size();
    if (0..tokens as u32).any(|id| tokenizer.token(id).is_none()) {
        return refuse("its tokens are not numbered without gaps, so that no number is surely free".to_string());
    }
    Ok(json)
}

/// The words to add: those of the file `vocabulary.words`, or the `vocabulary.add` most frequent ones that the tokenizer splits, ties in
/// the order of their letters.
pub(super) fn choose(config: &PretrainConfig, tokenizer: &Tokenizer) -> Result<Vec<String>> {
    let vocabulary = &config.vocabulary;
    // What the tokenizer cannot spell has no pieces to begin from.
    let splits = |word: &str| -> Result<bool> {
        let pieces = tokenizer.content_ids(word)?;
        Ok(pieces.len() > 1 && !pieces.iter().any(|piece| Some(*piece) == tokenizer.unknown()))
    };
    if !vocabulary.words.as_os_str().is_empty() {
        return listed(&vocabulary.words, tokenizer, splits);
    }
    let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for corpus in &config.corpus {
        for_each_document(corpus, "", |document| {
            let mut words = tokenizer.words(document.text)?;
            words.sort_unstable();
            for same in words.chunk_by(|a, b| a == b) {
                let word = &same[0];
                if word.chars().count() <= LONGEST_WORD && word.chars().any(char::is_alphabetic) {
                    let count = counts.entry(word.clone()).or_default();
                    *count = (count.0 + same.len() as u64, count.1 + 1);
                }
            }
            Ok(())
        })?;
    }
    let enough = |(_, (count, documents)): &(String, (u64, u64))| {
        *count >= vocabulary.min_frequency && *documents >= vocabulary.min_documents as u64
    };
    let mut ordered: Vec<(String, (u64, u64))> = counts.into_iter().filter(enough).collect();
    ordered.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let mut chosen = vec![];
    for (word, _) in ordered {
        if chosen.len() == vocabulary.add {
            break;
        }
        if splits(&word)? {
            chosen.push(word);
        }
    }
    Ok(chosen)
}

fn listed(path: &Path, tokenizer: &Tokenizer, splits: impl Fn(&str) -> Result<bool>) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let mut chosen: Vec<String> = vec![];
    for (line, word) in text.lines().enumerate().filter(|(_, word)| !word.trim().is_empty()) {
        let words = tokenizer.words(word)?;
        let [word] = &words[..] else {
            let at = format!("{}, line {}", path.display(), line + 1);
            return Err(Error::Config(format!("{at}: is no single word to the tokenizer; write one word a line")));
        };
        if splits(word)? && !chosen.contains(word) {
            chosen.push(word.clone());
        }
    }
    Ok(chosen)
}

/// Writes the tokenizer's files with `words` at the end of its vocabulary.
pub(super) fn write(tokenizer: &Tokenizer, mut json: Value, words: &[String], to: &Path) -> Result<()> {
    let first = tokenizer.vocabulary_size();
    tokenizer.copy_files(to)?;
    for (place, word) in words.iter().enumerate() {
        json["model"]["vocab"][word.as_str()] = json!(first + place);
    }
    let path = to.join("tokenizer.json");
    replace(&path, &format!("{json:#}\n"))?;
    let path = to.join("vocab.txt");
    if path.exists() {
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() != first {
            let lines = lines.len();
            return Err(Error::Model(format!(
                "vocab.txt has {lines} lines for {first} tokens, so that no line is free for a new token; leave out vocabulary.add and .words"
            )));
        }
        let all = lines.into_iter().chain(words.iter().map(String::as_str));
        let text: String = all.map(|token| format!("{token}\n")).collect();
        replace(&path, &text)?;
    }
    Ok(())
}

/// Writes a new file in the place of a copy, which may be as read-only as its original.
fn replace(path: &Path, text: &str) -> Result<()> {
    if path.exists() {
        std::fs::remove_file(path).map_err(Error::io(path, "write"))?;
    }
    std::fs::write(path, text).map_err(Error::io(path, "write"))
}

/// What each word that `extended` has beyond `old` was split into, in the order of their ids.
pub(super) fn pieces(old: &Tokenizer, extended: &Tokenizer) -> Result<Vec<Vec<u32>>> {
    let added = old.vocabulary_size() as u32..extended.vocabulary_size() as u32;
    added.map(|id| old.content_ids(&extended.token(id).unwrap_or_default())).collect()
}
