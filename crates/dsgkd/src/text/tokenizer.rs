//! Tokenizers of Hugging Face folders, with the byte offsets of every token.

use super::TextSpan;
use crate::config::{Config, Truncation};
use crate::data::hexadecimal;
use crate::error::{Error, Result};
use dsgkd_encoder::Architecture;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
    Tokenizer as Inner,
};

/// Files that make up a tokenizer; those that are there are copied with an exported model.
pub(crate) const FILES: [&str; 9] = [
    "tokenizer.json",
    SETTINGS_FILE,
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
];

/// What SentencePiece and byte-level BPE write for a space.
const SPACE_MARKS: [char; 2] = ['\u{2581}', '\u{120}'];

/// Values of `tokenizer_class` whose `vocab.txt` is split as BERT's.
const BERT_CLASSES: [&str; 8] = [
    "BertTokenizer",
    "BertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
];

/// A note as one model reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The text under each token without surrounding whitespace; empty for special tokens.
    pub offsets: Vec<TextSpan>,
    /// Which tokens the tokenizer added (`[CLS]`, `[SEP]`).
    pub special: Vec<bool>,
}

/// A tokenizer and what is known of it.
pub struct Tokenizer {
    inner: Inner,
    folder: PathBuf,
    unknown: Option<u32>,
    hash: String,
}

impl Tokenizer {
    /// Those of an experiment's models, student first.
    ///
    /// # Errors
    /// As [`Tokenizer::open`], of any of them.
    pub fn open_all(config: &Config) -> Result<Vec<Tokenizer>> {
        let teachers = config.teachers.iter().map(|teacher| &teacher.model);
        std::iter::once(&config.student.model).chain(teachers).map(|folder| Tokenizer::open(folder)).collect()
    }

    /// Reads `tokenizer.json`, or makes BERT's tokenizer from `vocab.txt` and `tokenizer_config.json`. Truncation and padding
    /// that the file asks for are switched off: they are decided here.
    ///
    /// # Errors
    /// Names the file that is missing or cannot be understood.
    pub fn open(folder: &Path) -> Result<Tokenizer> {
        dsgkd_encoder::weights::require_folder(folder)?;
        let path = folder.join("tokenizer.json");
        let mut hash = Sha256::new();
        let (mut inner, unknown) = if path.exists() {
            let bytes = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
            hash.update(&bytes);
            let inner = guarded(&path, || Inner::from_bytes(&bytes))?;
            let unknown = unknown_of(&bytes, &inner);
            (inner, unknown)
        } else {
            from_vocabulary(folder, &mut hash)?
        };
        guarded(&path, || inner.with_truncation(None).map(|_| ()))?;
        inner.with_padding(None);
        let hash = hexadecimal(hash);
        let tokenizer = Tokenizer { inner, folder: folder.to_path_buf(), unknown, hash };
        // A tokenizer that cannot read anything, or has no token for what it does not know, should say so now and not at the
        // first note.
        tokenizer.encode("a \u{e000}\u{20bb7}")?;
        Ok(tokenizer)
    }

    /// Tokens of a note, special tokens included.
    ///
    /// # Errors
    /// The tokenizer refuses the text; the text is not quoted.
    pub fn encode(&self, text: &str) -> Result<Encoding> {
        let encoding = guarded(&self.folder, || self.inner.encode(text, true))?;
        let special: Vec<bool> = encoding.get_special_tokens_mask().iter().map(|mask| *mask == 1).collect();
        let tokens = encoding.get_tokens().iter().zip(&special);
        // A space marker that stands alone reports the place of the letter after it.
        let empty = tokens.map(|(token, special)| *special || token.chars().all(|mark| SPACE_MARKS.contains(&mark)));
        let offsets = encoding.get_offsets().iter().zip(empty);
        let offsets = offsets.map(|((start, end), empty)| trimmed(text, *start, *end, empty)).collect();
        Ok(Encoding { ids: encoding.get_ids().to_vec(), offsets, special })
    }

    /// Token ids of a text without special tokens.
    pub fn content_ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(guarded(&self.folder, || self.inner.encode_fast(text, false))?.get_ids().to_vec())
    }

    /// The words of a text as the tokenizer normalises and splits them, before it looks for tokens.
    pub fn words(&self, text: &str) -> Result<Vec<String>> {
        guarded(&self.folder, || {
            let mut normalized = NormalizedString::from(text);
            if let Some(normalizer) = self.inner.get_normalizer() {
                normalizer.normalize(&mut normalized)?;
            }
            let mut split = PreTokenizedString::from(normalized);
            if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
                pre_tokenizer.pre_tokenize(&mut split)?;
            }
            let words = split.get_splits(OffsetReferential::Normalized, OffsetType::None);
            Ok(words.into_iter().map(|(word, _, _)| word.to_string()).collect())
        })
    }

    /// The content of `tokenizer.json`, or what it would be where there is only `vocab.txt`.
    pub fn to_json(&self) -> Result<Value> {
        let path = self.folder.join("tokenizer.json");
        let text = if path.exists() {
            std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))?
        } else {
            guarded(&path, || self.inner.to_string(false))?
        };
        guarded(&path, || Ok(serde_json::from_str(&text)?))
    }

    /// Number of tokens of a word that stands alone, without special tokens.
    pub fn token_count(&self, word: &str) -> Result<usize> {
        Ok(self.content_ids(word)?.len())
    }

    /// A tokenizer with ids beyond a model's embeddings would index past their end, and one whose special tokens alone fill `max_length` leaves no
    /// room for a note.
    ///
    /// # Errors
    /// It has such ids, or leaves no room.
    pub fn check_fits(&self, architecture: &Architecture, max_length: usize) -> Result<()> {
        let refuse = |what: String| Err(Error::Model(format!("{}: the tokenizer {what}", self.folder.display())));
        let special = self.encode("")?.ids; // what its post-processor adds need not stand in its vocabulary
        let ids = self.inner.get_vocab(true).into_values().chain(special.iter().copied());
        let tokens = ids.max().map_or(0, |largest| largest as usize + 1).max(self.vocabulary_size());
        let embeddings = architecture.vocab_size;
        if tokens > embeddings {
            return refuse(format!(
                "needs {tokens} embeddings and the model has {embeddings}; they do not belong together"
            ));
        }
        let longest = max_length.min(architecture.max_tokens());
        if special.len() >= longest {
            return refuse(format!(
                "puts {} special tokens into every note, and {longest} tokens are all that the model (`max_position_embeddings`) or \
                 `max_length` allows",
                special.len()
            ));
        }
        Ok(())
    }

    /// Id of the token that hides another from a masked language model.
    pub fn mask(&self) -> Option<u32> {
        ["[MASK]", "<mask>"].into_iter().find_map(|token| self.inner.token_to_id(token))
    }

    /// The smallest id that is no added token.
    pub fn first_word(&self) -> u32 {
        let added = self.inner.get_added_tokens_decoder();
        (0..).find(|id| !added.contains_key(id)).unwrap_or(0)
    }

    /// A token as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Id of the token for what the vocabulary cannot spell.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// Number of tokens, added ones included.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// SHA-256 of the files, in hex: the key of whatever is remembered of this tokenizer's work.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Copies the tokenizer's files into an exported model's folder; where there was only `vocab.txt`, writes
    /// `tokenizer.json` as well.
    pub fn copy_files(&self, to: &Path) -> Result<()> {
        for name in FILES {
            let from = self.folder.join(name);
            if from.is_file() {
                std::fs::copy(&from, to.join(name)).map_err(Error::io(&from, "read"))?;
            }
        }
        let path = to.join("tokenizer.json");
        if !path.exists() {
            guarded(&path, || self.inner.save(&path, false))?;
        }
        Ok(())
    }
}

/// Name of the settings that `transformers` keeps beside a tokenizer.
const SETTINGS_FILE: &str = "tokenizer_config.json";

/// What a file of settings says; `None` without one. A file that cannot be read is not taken for absent: a cased model would become an uncased one.
fn settings_of(path: &Path) -> Result<Option<Map<String, Value>>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(path, "read")(error)),
    };
    let broken = |error: serde_json::Error| {
        Error::Model(format!("{}: line {}: is no JSON object", path.display(), error.line()))
    };
    serde_json::from_str(&text).map(Some).map_err(broken)
}

/// Has `transformers` cut a note in this model folder where `predict` does; it cannot cut both ends, and then cuts the last one. A tokenizer without
/// settings of its own has none to set.
///
/// # Errors
/// The file of settings is no JSON object, or cannot be read or written.
pub(crate) fn set_truncation(folder: &Path, max_length: usize, truncation: Truncation) -> Result<()> {
    let path = folder.join(SETTINGS_FILE);
    let Some(mut settings) = settings_of(&path)? else { return Ok(()) };
    let side = if truncation == Truncation::Tail { "left" } else { "right" };
    settings.insert("model_max_length".to_string(), max_length.into());
    settings.insert("truncation_side".to_string(), side.into());
    std::fs::write(&path, format!("{:#}\n", Value::Object(settings))).map_err(Error::io(&path, "write"))
}

/// Runs a call of the tokenizers crate; its error or panic becomes a value. The message never holds the text.
fn guarded<T>(path: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        // The crate's message may quote what it was given; a file's syntax error is said by line and column only.
        Ok(Err(error)) => match error.downcast_ref::<serde_json::Error>() {
            Some(error) => Err(Error::Model(format!(
                "{}: is not a tokenizer (line {}, column {})",
                path.display(),
                error.line(),
                error.column()
            ))),
            None => Err(Error::Model(format!("{}: the tokenizer cannot be read or refuses a text", path.display()))),
        },
        Err(_) => Err(Error::Model(format!("{}: the tokenizer is broken", path.display()))),
    }
}

/// Byte-level and Unigram tokenizers count the space before a word as part of its first token.
fn trimmed(text: &str, start: usize, end: usize, empty: bool) -> TextSpan {
    let Some(under) = text.get(start..end).filter(|_| !empty) else { return TextSpan { start, end: start } };
    let start = start + (under.len() - under.trim_start().len());
    TextSpan { start, end: start + under.trim().len() }
}

/// `BertTokenizer` as `transformers` makes it from `vocab.txt`.
fn from_vocabulary(folder: &Path, hash: &mut Sha256) -> Result<(Inner, Option<u32>)> {
    let path = folder.join("vocab.txt");
    if !path.exists() {
        return Err(Error::Model(format!("{}: holds neither tokenizer.json nor vocab.txt", folder.display())));
    }
    let config = settings_of(&folder.join(SETTINGS_FILE))?.map_or(Value::Null, Value::Object);
    if let Some(class) = config.get("tokenizer_class").and_then(Value::as_str)
        && !BERT_CLASSES.contains(&class)
    {
        return Err(Error::Model(format!(
            "{}: a {class} needs its tokenizer.json; vocab.txt alone does not say how it splits words",
            folder.display()
        )));
    }
    hash.update(std::fs::read(&path).map_err(Error::io(&path, "read"))?);
    hash.update(config.to_string());
    let flag = |key: &str| config.get(key).and_then(Value::as_bool);
    let token = |key: &str, default: &str| -> String {
        let value = config.get(key);
        let text = value.and_then(|value| value.as_str().or_else(|| value.get("content").and_then(Value::as_str)));
        text.unwrap_or(default).to_string()
    };
    let [unk, cls, sep] = [("unk_token", "[UNK]"), ("cls_token", "[CLS]"), ("sep_token", "[SEP]")]
        .map(|(key, default)| token(key, default));
    let specials = [unk.clone(), cls.clone(), sep.clone(), token("pad_token", "[PAD]"), token("mask_token", "[MASK]")];
    let model = guarded(&path, || WordPiece::from_file(&path.to_string_lossy()).unk_token(unk.clone()).build())?;
    let mut inner = Inner::new(model);
    let lowercase = flag("do_lower_case").unwrap_or(true);
    let chinese = flag("tokenize_chinese_chars").unwrap_or(true);
    let normalizer = BertNormalizer::new(true, chinese, flag("strip_accents"), lowercase);
    guarded(&path, || inner.with_normalizer(Some(normalizer)).map(|_| ()))?;
    inner.with_pre_tokenizer(Some(BertPreTokenizer));
    let id = |token: &str| {
        let missing = || Error::Model(format!("{}: has no {token}", path.display()));
        inner.token_to_id(token).ok_or_else(missing)
    };
    let frame = BertProcessing::new((sep.clone(), id(&sep)?), (cls.clone(), id(&cls)?));
    let known = specials.into_iter().filter(|token| inner.token_to_id(token).is_some());
    let added: Vec<AddedToken> = known.map(|token| AddedToken::from(token, true)).collect();
    inner.with_post_processor(Some(frame));
    guarded(&path, || inner.add_special_tokens(added).map(|_| ()))?;
    let unknown = inner.token_to_id(&unk);
    Ok((inner, unknown))
}

/// The model's own unknown token, by the name or id that its file gives.
fn unknown_of(bytes: &[u8], inner: &Inner) -> Option<u32> {
    let json: Value = serde_json::from_slice(bytes).ok()?;
    let by_name = json["model"]["unk_token"].as_str().and_then(|token| inner.token_to_id(token));
    by_name.or_else(|| json["model"]["unk_id"].as_u64().map(|id| id as u32))
}
