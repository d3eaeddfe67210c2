//! The numbers of an encoder, whatever its family calls them, and how they are read from `config.json`.

use crate::error::{Error, Result};
use dsgkd_ops::activation::Activation;
use serde_json::Value;
use std::path::Path;

/// An encoder's sizes and settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Rows of the word embeddings.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Width of an embedding; ELECTRA's may differ from `hidden_size`.
    pub embedding_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Attention heads of a layer.
    pub num_attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Rows of the position embeddings.
    pub max_position_embeddings: usize,
    /// Position of a note's first token (RoBERTa counts from the pad id plus one).
    pub first_position: usize,
    /// Rows of the token type embeddings; 0: none.
    pub type_vocab_size: usize,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f32,
    /// Activation of the feed-forward part.
    pub hidden_act: Activation,
    /// Dropout of hidden states.
    pub hidden_dropout_prob: f32,
    /// Dropout of attention probabilities.
    pub attention_probs_dropout_prob: f32,
    /// Dropout before the classifier.
    pub classifier_dropout: f32,
    /// Standard deviation of fresh weights.
    pub initializer_range: f32,
}

impl Architecture {
    /// The longest note, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings - self.first_position
    }

    /// Refuses sizes that no real model has, before anything is allocated by them.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 16),
            ("embedding_size", self.embedding_size, 1 << 16),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 10),
            ("num_attention_heads", self.num_attention_heads, 1 << 10),
            ("intermediate_size", self.intermediate_size, 1 << 18),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 20),
        ];
        for (key, value, limit) in sizes {
            if value == 0 || value > limit {
                return Err(Error::folder(path, format!("`{key}` is {value}; expected 1 to {limit}")));
            }
        }
        if self.type_vocab_size > 1 << 10 {
            return Err(Error::folder(path, "`type_vocab_size` is beyond 1024"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let message = format!(
                "`hidden_size` {} is no multiple of `num_attention_heads` {}",
                self.hidden_size, self.num_attention_heads
            );
            return Err(Error::folder(path, message));
        }
        if self.first_position >= self.max_position_embeddings {
            return Err(Error::folder(path, "`max_position_embeddings` leaves no position for a token"));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            let message = format!("`layer_norm_eps` is {}; expected 0 or more", self.layer_norm_eps);
            return Err(Error::folder(path, message));
        }
        let shares = [
            ("hidden dropout", self.hidden_dropout_prob),
            ("attention dropout", self.attention_probs_dropout_prob),
            ("classifier dropout", self.classifier_dropout),
        ];
        for (key, value) in shares {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::folder(path, format!("{key} is {value}; expected 0 or more and below 1")));
            }
        }
        Ok(())
    }
}

/// A `config.json`, read key by key; errors name the file and the key.
pub struct ConfigReader<'a> {
    /// For errors.
    pub path: &'a Path,
    /// The whole object.
    pub json: &'a Value,
}

impl ConfigReader<'_> {
    fn present(&self, key: &str) -> Option<&Value> {
        self.json.get(key).filter(|value| !value.is_null())
    }

    fn expected(&self, key: &str, kind: &str) -> Error {
        Error::folder(self.path, format!("`{key}` is missing or is not {kind}"))
    }

    /// A whole number that must be there.
    pub fn number(&self, key: &str) -> Result<usize> {
        let number = self.present(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        number.ok_or_else(|| self.expected(key, "a whole number"))
    }

    /// A whole number, or a default where the key is absent.
    pub fn number_or(&self, key: &str, default: usize) -> Result<usize> {
        if self.present(key).is_none() { Ok(default) } else { self.number(key) }
    }

    /// A real number, or a default where the key is absent.
    pub fn real_or(&self, key: &str, default: f64) -> Result<f32> {
        let Some(value) = self.present(key) else { return Ok(default as f32) };
        let real = value.as_f64().filter(|real| real.is_finite());
        real.map(|real| real as f32).ok_or_else(|| self.expected(key, "a number"))
    }

    /// A text, or a default where the key is absent.
    pub fn text_or<'s>(&'s self, key: &str, default: &'s str) -> Result<&'s str> {
        let Some(value) = self.present(key) else { return Ok(default) };
        value.as_str().ok_or_else(|| self.expected(key, "a text"))
    }

    /// An activation by its Hugging Face name.
    pub fn activation(&self, key: &str) -> Result<Activation> {
        match self.text_or(key, "gelu")? {
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            "relu" => Ok(Activation::Relu),
            _ => Err(Error::folder(
                self.path,
                format!("`{key}`: only gelu, gelu_new, gelu_pytorch_tanh and relu are known"),
            )),
        }
    }

    /// Refuses settings of the original that this encoder does not have.
    pub fn refuse_unless(&self, key: &str, only: &str) -> Result<()> {
        if self.text_or(key, only)? == only {
            return Ok(());
        }
        Err(Error::folder(self.path, format!("`{key}`: only \"{only}\" is supported")))
    }
}
