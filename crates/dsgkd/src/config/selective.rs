//! Keys of a pretraining file that adapt an encoder to a domain: which words are hidden, which become tokens.

use super::pretrain::{CorpusConfig, PretrainConfig};
use serde::{Deserialize, Serialize};

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

    /// The first key of `[selective]` and `[vocabulary]` that does not go together with others, and why.
    pub(super) fn contradiction(&self) -> Option<(&'static str, &'static str)> {
        let vocabulary = &self.vocabulary;
        let list = !vocabulary.words.as_os_str().is_empty();
        let SelectiveConfig { general, strength, genre, .. } = &self.selective;
        let selective = self.masking() == Masking::Selective;
        let named = general.iter().any(|corpus| !corpus.files.is_empty());
        let twice = self.train.whole_word_masking
            && matches!(self.train.masking, Some(masking) if masking != Masking::WholeWord);
        let checks = [
            (twice, "train.masking", "contradicts train.whole_word_masking; keep one of the two"),
            (selective && !named, "selective.general", "name at least one file of general text to contrast with"),
            (!selective && named, "selective", "is used only with train.masking = \"selective\""),
            (list && vocabulary.add > 0, "vocabulary.add", "words come from vocabulary.words; keep one of the two"),
            (
                (list || vocabulary.add > 0) && self.model.as_os_str().is_empty(),
                "vocabulary.add",
                "adds words to the tokenizer of `model`; a new vocabulary has vocabulary.size",
            ),
            (!(*strength >= 1.0 && strength.is_finite()), "selective.strength", "expected a number of 1 or more"),
            (!(0.0..=1.0).contains(genre), "selective.genre", "expected a number from 0 to 1"),
        ];
        checks.into_iter().find(|(wrong, ..)| *wrong).map(|(_, key, what)| (key, what))
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
        load_pretrain(&path, &[]).map_err(|error| error.to_string())
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
            ("", "[train]\nmasking = \"words\"".to_string(), "pretrain.toml:6: `train.masking`"),
            ("", "[vocabulary]\nadd = 3".to_string(), "vocabulary.add:"),
            ("model = \"m\"", "[vocabulary]\nadd = 3\nwords = \"w.txt\"".to_string(), "vocabulary.add:"),
        ] {
            assert!(read(top, &more).unwrap_err().contains(key), "{key}: {:?}", read(top, &more));
        }
    }
}
