//! The keys of a selection file (`dsgkd select`).

use super::keys::Kind;
use super::known::KnownKeys;
use super::pretrain::CorpusConfig;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Clusters of documents, and the part of them that is like a few examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectConfig {
    /// The encoder that embeds the documents: any Hugging Face folder.
    pub model: PathBuf,
    /// The table that the chosen documents are written to; its format follows from its extension.
    pub output: PathBuf,
    /// Threads to compute with; 0 means all cores.
    pub threads: usize,
    /// Seed of the clusters' beginnings.
    pub seed: u64,
    /// Tokens of a document that are embedded at most, from its beginning.
    pub max_length: usize,
    /// Principal components that the embeddings are reduced to.
    pub components: usize,
    /// Clusters; 0: as many as there are known domains, 5 where none is known.
    pub clusters: usize,
    /// Documents that components and clusters are fitted to at most, evenly spaced; all others are only assigned.
    pub fit_documents: usize,
    /// What is written.
    pub take: Option<Take>,
    /// The text.
    pub corpus: Vec<SelectCorpus>,
    /// A few documents of the wanted domain.
    pub examples: Option<CorpusConfig>,
}

impl Default for SelectConfig {
    fn default() -> Self {
        SelectConfig {
            model: PathBuf::new(),
            output: PathBuf::new(),
            threads: 0,
            seed: 1,
            max_length: 128,
            components: 50,
            clusters: 0,
            fit_documents: 20_000,
            take: None,
            corpus: vec![],
            examples: None,
        }
    }
}

/// How much of the corpus is taken.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "take: expected a number of documents, a share between 0 and 1, or \"cluster\"")]
pub enum Take {
    /// So many documents, those most like the examples.
    Documents(usize),
    /// This share of the documents, those most like the examples.
    Share(f64),
    /// By a word.
    By(TakeBy),
}

/// See [`Take::By`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakeBy {
    /// All documents of the cluster that the examples belong to.
    Cluster,
}

/// `[[corpus]]` of a selection: as that of a pretraining, and what is known of its domain.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectCorpus {
    /// The domain of all its documents; empty: unknown, or told by `domain`.
    pub name: String,
    /// Column of a table that names a document's domain; purity is measured against it.
    pub domain: String,
    /// As in a pretraining file.
    pub files: Vec<PathBuf>,
    /// As in a pretraining file.
    pub columns: Vec<String>,
    /// As `data.format`.
    pub format: String,
    /// As `data.encoding`.
    pub encoding: String,
    /// As `data.separator`.
    pub separator: String,
    /// As in a pretraining file.
    pub max_documents: usize,
}

impl SelectCorpus {
    /// What is read.
    pub fn source(&self) -> CorpusConfig {
        let SelectCorpus { files, columns, format, encoding, separator, max_documents, .. } = self.clone();
        CorpusConfig { files, columns, format, encoding, separator, max_documents, source: String::new() }
    }
}

/// What the defaults do not tell of a key: paths, and what its type says.
const KINDS: [(&str, Option<Kind>); 5] = [
    ("model", Some(Kind::Model)),
    ("output", Some(Kind::Path)),
    ("take", None),
    ("corpus.files", Some(Kind::Paths)),
    ("examples.files", Some(Kind::Paths)),
];

fn known_keys() -> KnownKeys {
    let mut sample = serde_json::to_value(SelectConfig::default()).unwrap_or_default();
    sample["corpus"] = serde_json::to_value(SelectCorpus::default()).unwrap_or_default();
    sample["examples"] = serde_json::to_value(CorpusConfig::default()).unwrap_or_default();
    KnownKeys::of_sample("a selection file", "docs/pretraining.md shows a file", &sample, &KINDS, &["corpus"])
}

/// Reads a selection file; relative paths start at the file's folder.
///
/// # Errors
/// [`Error::Config`] with file, line and key for unknown keys (and the nearest known one), wrong types and values that do not go
/// together; [`Error::Io`] when the file cannot be read.
pub fn load_select(path: &Path) -> Result<SelectConfig> {
    let document = known_keys().read(path, &[], Path::new(""))?;
    let config: SelectConfig = document.read_as()?;
    let wrong = |key: &str, what: &str| Err(Error::Config(format!("{}{key}: {what}", document.place(key))));
    let no_examples = config.examples.as_ref().is_none_or(|examples| examples.files.is_empty());
    match () {
        _ if config.model.as_os_str().is_empty() => wrong("model", "name the folder of an encoder"),
        _ if config.corpus.iter().all(|corpus| corpus.files.is_empty()) => {
            wrong("corpus", "name at least one file of text")
        }
        _ if config.corpus.iter().any(|corpus| !corpus.name.is_empty() && !corpus.domain.is_empty()) => {
            wrong("corpus.domain", "the corpus has a name, which is its domain; keep one of the two")
        }
        _ if config.corpus.iter().any(|corpus| corpus.columns.is_empty() && !corpus.domain.is_empty()) => {
            wrong("corpus.domain", "plain text has no columns; name the columns that hold text")
        }
        _ if config.take.is_some() && no_examples => {
            wrong("take", "like what? name files with a few documents of the wanted domain in [examples]")
        }
        _ if config.take.is_some() == config.output.as_os_str().is_empty() => {
            wrong("output", "a file to write and `take`, how much of the corpus goes there, belong together")
        }
        _ if matches!(config.take, Some(Take::Share(share)) if !(share > 0.0 && share < 1.0))
            || config.take == Some(Take::Documents(0)) =>
        {
            wrong("take", "expected a number of documents, a share between 0 and 1, or \"cluster\"")
        }
        _ if config.max_length < 3 => wrong("max_length", "at least 3 tokens"),
        _ if config.components == 0 => wrong("components", "at least 1"),
        _ if config.fit_documents < 2 => wrong("fit_documents", "at least 2"),
        () => Ok(config),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> std::result::Result<SelectConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("select.toml");
        std::fs::write(&path, text).unwrap();
        load_select(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_taken_is_a_number_a_share_or_a_word() {
        let base = "model = \"m\"\n[[corpus]]\nfiles = [\"a.txt\"]\n[examples]\nfiles = [\"b.txt\"]\n";
        let taken = |take: &str| read(&format!("output = \"o.csv\"\ntake = {take}\n{base}"));
        assert_eq!(taken("10").unwrap().take, Some(Take::Documents(10)));
        assert_eq!(taken("0.5").unwrap().take, Some(Take::Share(0.5)));
        assert_eq!(taken("\"cluster\"").unwrap().take, Some(Take::By(TakeBy::Cluster)));
        for wrong in ["0", "1.5", "-3", "\"clusters\"", "true"] {
            assert!(taken(wrong).unwrap_err().contains("take: expected a number of documents"), "{wrong}");
        }
        assert!(read(base).unwrap().examples.unwrap().files[0].ends_with("b.txt"));
        for (text, key) in [
            (base.replace("model", "modle"), "select.toml:1: unknown key `modle`; did you mean `model`?"),
            (format!("take = 3\n{base}"), "output:"),
            (format!("output = \"o.csv\"\n{base}"), "output:"),
            ("output = \"o.csv\"\ntake = 3\nmodel = \"m\"\n[[corpus]]\nfiles = [\"a\"]\n".to_string(), "take:"),
            (base.replace("[examples]", "domain = \"d\"\n[examples]"), "corpus.domain:"),
            (format!("components = 0\n{base}"), "components:"),
        ] {
            assert!(read(&text).unwrap_err().contains(key), "{text}");
        }
    }
}
