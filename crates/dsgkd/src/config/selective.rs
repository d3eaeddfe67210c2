//! Keys of a pretraining file that adapt an encoder to a domain: which words are hidden, which become tokens.

use super::pretrain::{CorpusConfig, PretrainConfig};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// `train.masking`: what is hidden together, and how it is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Masking {
    /// Single tokens, all alike.
    Random,
    /// Whole words, all alike.
    WholeWord,
    /// Whole words, those of the domain more often: `[selective]`.
    Selective,
}

/// `[selective]`: which words are the domain's, by contrast with general text (arXiv 2402.12036).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectiveConfig {
    /// Text of no domain to contrast with.
    pub general: Vec<CorpusConfig>,
    /// How many times likelier the first word is hidden than a word that is not ranked.
    pub strength: f64,
    /// 1: words that are spread over the documents first; 0: those that gather in few; between: both.
    pub genre: f64,
    /// Words in fewer documents are not ranked, and never printed.
    pub min_documents: usize,
}

impl Default for SelectiveConfig {
    fn default() -> Self {
        SelectiveConfig { general: vec![], strength: 8.0, genre: 0.5, min_documents: 5 }
    }
}

impl PretrainConfig {
    /// What is hidden, by `train.masking` or the older `train.whole_word_masking`.
    pub fn masking(&self) -> Masking {
        let older = if self.train.whole_word_masking { Masking::WholeWord } else { Masking::Random };
        self.train.masking.unwrap_or(older)
    }
}

/// What [`load_pretrain`](super::load_pretrain) leaves open: paths of the keys of this file, and whether they go together.
///
/// # Errors
/// Names the file and the key.
pub fn finish_pretrain(mut config: PretrainConfig, path: &Path) -> Result<PretrainConfig> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let general = config.selective.general.iter_mut().flat_map(|corpus| &mut corpus.files);
    general.for_each(|path| *path = folder.join(&*path));
    if !config.vocabulary.words.as_os_str().is_empty() {
        config.vocabulary.words = folder.join(&config.vocabulary.words);
    }
    let vocabulary = &config.vocabulary;
    let list = !vocabulary.words.as_os_str().is_empty();
    let wrong = |key: &str, what: &str| Err(Error::Config(format!("{}: {key}: {what}", path.display())));
    let SelectiveConfig { general, strength, genre, .. } = &config.selective;
    let selective = config.masking() == Masking::Selective;
    let named = general.iter().any(|corpus| !corpus.files.is_empty());
    match () {
        _ if config.train.whole_word_masking
            && matches!(config.train.masking, Some(masking) if masking != Masking::WholeWord) =>
        {
            wrong("train.masking", "contradicts train.whole_word_masking; keep one of the two")
        }
        _ if selective && !named => {
            wrong("selective.general", "name at least one file of general text to contrast with")
        }
        _ if !selective && named => wrong("selective", "is used only with train.masking = \"selective\""),
        _ if list && vocabulary.add > 0 => {
            wrong("vocabulary.add", "words come from vocabulary.words; keep one of the two")
        }
        _ if (list || vocabulary.add > 0) && config.model.as_os_str().is_empty() => {
            wrong("vocabulary.add", "adds words to the tokenizer of `model`; a new vocabulary has vocabulary.size")
        }
        _ if !(*strength >= 1.0 && strength.is_finite()) => {
            wrong("selective.strength", "expected a number of 1 or more")
        }
        _ if !(0.0..=1.0).contains(genre) => wrong("selective.genre", "expected a number from 0 to 1"),
        () => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::load_pretrain;

    fn read(top: &str, more: &str) -> std::result::Result<PretrainConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pretrain.toml");
        std::fs::write(&path, format!("output_dir = \"o\"\n{top}\n[[corpus]]\nfiles = [\"a.txt\"]\n{more}")).unwrap();
        load_pretrain(&path).and_then(|config| finish_pretrain(config, &path)).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_that_go_together_are_asked_for() {
        let selective = "[train]\nmasking = \"selective\"\n";
        let general = "[[selective.general]]\nfiles = [\"b.txt\"]\n";
        let config = read("", &format!("{selective}{general}")).unwrap();
        assert_eq!(config.masking(), Masking::Selective);
        assert!(config.selective.general[0].files[0].is_absolute());
        assert_eq!(read("", "[train]\nwhole_word_masking = true").unwrap().masking(), Masking::WholeWord);
        assert_eq!(read("", "[train]\nmasking = \"whole-word\"").unwrap().masking(), Masking::WholeWord);
        assert_eq!(read("", "").unwrap().masking(), Masking::Random);
        for (top, more, key) in [
            ("", selective.to_string(), "selective.general:"),
            ("", general.to_string(), "selective:"),
            ("", format!("{selective}[selective]\nstrength = 0.5\n{general}"), "selective.strength:"),
            ("", format!("{selective}[selective]\ngenre = 2.0\n{general}"), "selective.genre:"),
            ("", "[train]\nmasking = \"random\"\nwhole_word_masking = true".to_string(), "train.masking:"),
            ("", "[train]\nmasking = \"words\"".to_string(), "line 6"),
            ("", "[vocabulary]\nadd = 3".to_string(), "vocabulary.add:"),
            ("model = \"m\"", "[vocabulary]\nadd = 3\nwords = \"w.txt\"".to_string(), "vocabulary.add:"),
        ] {
            assert!(read(top, &more).unwrap_err().contains(key), "{key}: {:?}", read(top, &more));
        }
    }
}
