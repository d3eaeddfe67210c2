//! The keys of a pretraining file (`dsgkd pretrain`).

use super::keys::Kind;
use super::known::KnownKeys;
use super::load::map_paths;
use super::schema::Dtype;
use super::selective::{Masking, SelectiveConfig};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Masked-language-model training, from a folder or from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// The folder that the model is written to.
    pub output_dir: PathBuf,
    /// Threads to compute with; 0 means all cores.
    pub threads: usize,
    /// Seed of weights, order and masks.
    pub seed: u64,
    /// Licence of the model, for its card, as the Hugging Face hub names it (`cc-by-4.0`); empty: the card names none.
    pub license: String,
    /// A Hugging Face folder to continue from; empty: from scratch, with `[vocabulary]` and `[architecture]`.
    pub model: PathBuf,
    /// The text.
    pub corpus: Vec<CorpusConfig>,
    /// The vocabulary of a model from scratch.
    pub vocabulary: VocabularyConfig,
    /// The sizes of a model from scratch, as in a BERT's `config.json`.
    pub architecture: ArchitectureConfig,
    /// The training itself.
    pub train: PretrainTrainConfig,
    /// Which words `train.masking = "selective"` prefers.
    pub selective: SelectiveConfig,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        PretrainConfig {
            output_dir: PathBuf::new(),
            threads: 0,
            seed: 1,
            license: String::new(),
            model: PathBuf::new(),
            corpus: vec![],
            vocabulary: VocabularyConfig::default(),
            architecture: ArchitectureConfig::default(),
            train: PretrainTrainConfig::default(),
            selective: SelectiveConfig::default(),
        }
    }
}

/// `[[corpus]]`: files of one form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorpusConfig {
    /// The files: text with one document a line, or tables (CSV, TSV, JSONL, JSON, Parquet, XLSX); `.gz` too.
    pub files: Vec<PathBuf>,
    /// Columns of a table that hold text, each non-empty cell of which is a document, as is each text of a list in JSON; empty: the files are plain text.
    pub columns: Vec<String>,
    /// As `data.format`.
    pub format: String,
    /// As `data.encoding`.
    pub encoding: String,
    /// As `data.separator`.
    pub separator: String,
    /// Documents to take at most, from the beginning; 0: all. A document is a line of text or a cell, not a row: of two filled columns, 1000 documents are
    /// 500 rows.
    pub max_documents: usize,
    /// What the text is, from where, and under which licence, for the model card.
    pub source: String,
}

/// `[vocabulary]`: a WordPiece vocabulary trained on the corpus, or words that are added to that of `model`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VocabularyConfig {
    /// Number of pieces at most, special tokens included. Each letter is two; where there is no room for all, words with the rarest become `[UNK]`.
    pub size: usize,
    /// Lower-case the text (accents stay, so that Hangul is not taken apart).
    pub lowercase: bool,
    /// Single characters to keep at most; rarer ones become `[UNK]`.
    pub limit_alphabet: usize,
    /// Pieces rarer than this are not learned, nor words added.
    pub min_frequency: u64,
    /// With `model`: this many words of the corpus that the tokenizer splits become tokens, the most frequent ones.
    pub add: usize,
    /// Words in fewer documents are not added.
    pub min_documents: usize,
    /// With `model`, instead of `add`: a file with the words to add, one a line.
    pub words: PathBuf,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        VocabularyConfig {
            size: 8000,
            lowercase: true,
            limit_alphabet: 2000,
            min_frequency: 3,
            add: 0,
            min_documents: 5,
            words: PathBuf::new(),
        }
    }
}

/// `[architecture]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchitectureConfig {
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads of a layer.
    pub num_attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// The longest note in tokens.
    pub max_position_embeddings: usize,
}

impl Default for ArchitectureConfig {
    fn default() -> Self {
        ArchitectureConfig {
            hidden_size: 192,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            intermediate_size: 768,
            max_position_embeddings: 256,
        }
    }
}

/// `[train]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainTrainConfig {
    /// What the products are computed in.
    pub dtype: Dtype,
    /// Tokens of one text at most; longer documents are cut into several texts.
    pub max_length: usize,
    /// Tokens of a batch at most.
    pub batch_tokens: usize,
    /// Passes over the corpus.
    pub num_train_epochs: f64,
    /// Optimiser steps at most; 0: as many as the epochs take.
    pub max_steps: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps in which the learning rate rises linearly.
    pub warmup_ratio: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// The gradient's norm is cut to this.
    pub max_grad_norm: f64,
    /// Share of tokens to predict.
    pub mlm_probability: f64,
    /// Hide all tokens of a word together.
    pub whole_word_masking: bool,
    /// What is hidden together, and how it is chosen; `None`: by `whole_word_masking`.
    pub masking: Option<Masking>,
    /// Dropout of hidden states and attention in training.
    pub dropout: f64,
    /// About one in this many documents is held out to measure on. Its text decides, so that equal texts are all held out or all trained on.
    pub held_out_every: usize,
    /// Steps between measurements on the held-out documents.
    pub eval_steps: u64,
    /// Steps between checkpoints to resume from.
    pub save_steps: u64,
}

impl Default for PretrainTrainConfig {
    fn default() -> Self {
        PretrainTrainConfig {
            dtype: Dtype::Float32,
            max_length: 128,
            batch_tokens: 4096,
            num_train_epochs: 1.0,
            max_steps: 0,
            learning_rate: 1e-3,
            warmup_ratio: 0.06,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            mlm_probability: 0.15,
            whole_word_masking: false,
            masking: None,
            dropout: 0.0,
            held_out_every: 200,
            eval_steps: 500,
            save_steps: 500,
        }
    }
}

/// What the defaults do not tell of a key: paths and choices.
const KINDS: [(&str, Option<Kind>); 7] = [
    ("output_dir", Some(Kind::Path)),
    ("model", Some(Kind::Model)),
    ("corpus.files", Some(Kind::Paths)),
    ("selective.general.files", Some(Kind::Paths)),
    ("vocabulary.words", Some(Kind::Path)),
    ("train.masking", Some(Kind::Choice(&["random", "whole-word", "selective"]))),
    ("train.dtype", Some(Kind::Choice(&["float32", "bfloat16"]))),
];

fn known_keys() -> KnownKeys {
    let mut sample = serde_json::to_value(PretrainConfig::default()).unwrap_or_default();
    sample["corpus"] = serde_json::to_value(CorpusConfig::default()).unwrap_or_default();
    sample["selective"]["general"] = sample["corpus"].clone();
    KnownKeys::of_sample(
        "a pretraining file",
        "docs/pretraining.md shows a file",
        &sample,
        &KINDS,
        &["corpus", "selective.general"],
    )
}

/// The configuration as TOML text with every path absolute, so that it means the same in any folder.
///
/// # Errors
/// [`Error::Io`] when the current folder cannot be found, [`Error::Config`] when a path is not UTF-8.
pub(crate) fn pretrain_to_toml(config: &PretrainConfig) -> Result<String> {
    let written = |error: toml::ser::Error| Error::Config(format!("the file cannot be written as TOML: {error}"));
    let mut table = toml::Table::try_from(config).map_err(written)?;
    map_paths(&mut table, &known_keys(), &|path| std::path::absolute(path))?;
    toml::to_string(&table).map_err(written)
}

/// Reads a pretraining file, then each `key=value` override, as [`super::load()`] does an experiment.
///
/// # Errors
/// [`Error::Config`] with file, line and key for broken TOML, unknown keys (and the nearest known one), wrong types and
/// impossible values; [`Error::Io`] when the file cannot be read.
pub fn load_pretrain(path: &Path, overrides: &[String]) -> Result<PretrainConfig> {
    let document = known_keys().read(path, overrides, Path::new(""))?;
    let config: PretrainConfig = document.read_as()?;
    let wrong = |key: &str, what: &str| Err(Error::Config(format!("{}{key}: {what}", document.place(key))));
    let train = &config.train;
    match () {
        _ if config.output_dir.as_os_str().is_empty() => wrong("output_dir", "name the folder to write to"),
        _ if config.corpus.iter().all(|corpus| corpus.files.is_empty()) => {
            wrong("corpus", "name at least one file of text")
        }
        _ if !(0.0..1.0).contains(&train.dropout) => wrong("train.dropout", "expected 0 or more and below 1"),
        _ if !(train.mlm_probability > 0.0 && train.mlm_probability < 1.0) => {
            wrong("train.mlm_probability", "expected a number between 0 and 1")
        }
        _ if !(train.learning_rate >= 0.0 && train.learning_rate.is_finite()) => {
            wrong("train.learning_rate", "expected a number of 0 or more")
        }
        _ if !(train.weight_decay >= 0.0 && train.weight_decay.is_finite()) => {
            wrong("train.weight_decay", "expected a number of 0 or more")
        }
        _ if !(train.max_grad_norm >= 0.0 && train.max_grad_norm.is_finite()) => {
            wrong("train.max_grad_norm", "expected 0 (never cut) or more")
        }
        _ if !(0.0..=1.0).contains(&train.warmup_ratio) => {
            wrong("train.warmup_ratio", "expected a number between 0 and 1")
        }
        _ if !(train.num_train_epochs > 0.0 && train.num_train_epochs < 1e6) => {
            wrong("train.num_train_epochs", "expected a number above 0")
        }
        _ if train.max_length < 3 || train.batch_tokens == 0 => {
            wrong("train.max_length", "at least 3 tokens, and a batch of at least one")
        }
        _ => match config.contradiction() {
            Some((key, what)) => wrong(key, what),
            None => Ok(config),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CORPUS: &str = "output_dir = \"out\"\n[[corpus]]\nfiles = [\"a.txt\"]\n";

    fn read(text: &str, overrides: &[&str]) -> std::result::Result<PretrainConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pre.toml");
        std::fs::write(&path, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        load_pretrain(&path, &overrides)
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn wrong_keys_are_named_by_line_with_the_nearest_known() {
        for (more, expected) in [
            ("[train]\nmax_lenght = 3", "pre.toml:5: unknown key `train.max_lenght`; did you mean `train.max_length`?"),
            ("file = []", "pre.toml:4: unknown key `corpus.0.file`; did you mean `corpus.files`?"),
            ("[zzzzzzzzzz]\na = 1", "pre.toml:4: unknown key `zzzzzzzzzz`; docs/pretraining.md shows a file"),
            (
                "[train]\nmax_steps = \"3\"",
                "pre.toml:5: `train.max_steps` is \"3\", expected a whole number, 0 or more",
            ),
            (
                "[train]\ndtype = \"f16\"",
                "pre.toml:5: `train.dtype` is \"f16\", expected one of \"float32\", \"bfloat16\"",
            ),
            ("[train]\ndropout = 1.0", "pre.toml:5: train.dropout: expected 0 or more and below 1"),
            (
                "columns = [1]",
                "pre.toml:4: `corpus.0.columns` is a list, expected a list of texts, like [\"a\", \"b\"]",
            ),
        ] {
            assert_eq!(read(&format!("{CORPUS}{more}"), &[]).unwrap_err(), expected);
        }
        assert_eq!(
            read("[corpus]\nfiles = []", &[]).unwrap_err(),
            "pre.toml:1: `corpus` is a table, expected a [[corpus]] block for each (two brackets)"
        );
        assert_eq!(
            read("[[corpus]]\nfiles = ['a']", &[]).unwrap_err(),
            "pre.toml: output_dir: name the folder to write to"
        );
    }

    #[test]
    fn overrides_win_and_are_told_apart_from_the_file() {
        let config =
            read(CORPUS, &["train.max_steps=7", "corpus.0.format=2024", "corpus.1.files=[\"b.txt\"]"]).unwrap();
        assert_eq!((config.train.max_steps, config.corpus[0].format.as_str()), (7, "2024"));
        // Written in the file, a path starts at the file's folder; typed, at the current one.
        assert!(config.corpus[0].files[0].is_absolute());
        assert_eq!(config.corpus[1].files, [PathBuf::from("b.txt")]);
        for (setting, expected) in [
            ("train.max_step=1", "--set: unknown key `train.max_step`; did you mean `train.max_steps`?"),
            ("corpus.files=[]", "--set corpus.files=[]: say which of the corpus, like corpus.0.files"),
            ("train.max_steps", "--set train.max_steps: write it as key=value, like train.batch_size=8"),
            ("train.dropout=2", "--set: train.dropout: expected 0 or more and below 1"),
            ("train.weight_decay=nan", "--set: train.weight_decay: expected a number of 0 or more"),
            ("train.max_grad_norm=-1.0", "--set: train.max_grad_norm: expected 0 (never cut) or more"),
            ("train.warmup_ratio=inf", "--set: train.warmup_ratio: expected a number between 0 and 1"),
        ] {
            assert_eq!(read(CORPUS, &[setting]).unwrap_err(), expected);
        }
    }

    #[test]
    fn described_kinds_are_of_the_schema_s_keys_and_the_defaults_are_of_them() {
        let (known, table) = (known_keys(), toml::Table::try_from(PretrainConfig::default()).unwrap());
        assert!(KINDS.iter().all(|(path, _)| known.has(path)));
        let has_default =
            |path: &str| path != "train.masking" && !known.lists.iter().any(|list| path.starts_with(list));
        for (path, kind) in known.keys.iter().filter(|(path, _)| has_default(path)) {
            let value = path.split('.').fold(toml::Value::Table(table.clone()), |value, name| value[name].clone());
            assert!(kind.is_some_and(|kind| kind.accepts(&value)), "{path} = {value}");
        }
    }
}
