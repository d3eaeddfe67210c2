//! What a pretraining starts from: a folder's tokenizer and model, a folder's with words added, or fresh ones.

use super::vocabulary::{self, Learned};
use super::{PretrainObserver, extension};
use crate::config::PretrainConfig;
use crate::data::corpus::for_each_document;
use crate::error::Result;
use crate::run::atomic::write_folder;
use crate::text::Tokenizer;
use dsgkd_encoder::{Heads, Model};
use serde_json::json;
use std::path::PathBuf;

/// Whether words are added to the tokenizer of the model that training continues from.
pub(super) fn adds_words(config: &PretrainConfig) -> bool {
    let vocabulary = &config.vocabulary;
    !config.model.as_os_str().is_empty() && (vocabulary.add > 0 || !vocabulary.words.as_os_str().is_empty())
}

/// Where the tokenizer is: beside the model to continue from, or learned from the corpus, or extended by its words, in the output folder.
pub(super) fn tokenizer_folder(
    config: &PretrainConfig,
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<PathBuf> {
    let continues = !config.model.as_os_str().is_empty();
    if continues && !adds_words(config) {
        return Ok(config.model.clone());
    }
    let folder = config.output_dir.join("tokenizer");
    if resume && folder.exists() {
        return Ok(folder);
    }
    if continues {
        let old = Tokenizer::open(&config.model)?;
        let json = extension::extensible(&old, &config.model)?;
        observer.stage("choosing words to add");
        let words = extension::choose(config, &old)?;
        observer.stage(&format!("{} words are added to the vocabulary", words.len()));
        write_folder(&folder, |to| extension::write(&old, json, &words, to))?;
        return Ok(folder);
    }
    observer.stage("counting words");
    let mut words = vocabulary::WordCounts::default();
    for corpus in &config.corpus {
        for_each_document(corpus, "", |document| words.add(document.text, config.vocabulary.lowercase))?;
    }
    observer.stage("learning the vocabulary");
    let Learned { pieces, letters, letters_left_out } = vocabulary::learn(&words, &config.vocabulary);
    if letters_left_out > 0 {
        observer.stage(&format!(
            "vocabulary.size = {} has room for {letters} letters, two pieces each; words with one of the {letters_left_out} rarer ones become [UNK] \
             (all letters need a size of {})",
            config.vocabulary.size,
            vocabulary::pieces_of(letters + letters_left_out)
        ));
    }
    let max_length = config.architecture.max_position_embeddings;
    write_folder(&folder, |to| vocabulary::write(&pieces, config.vocabulary.lowercase, max_length, to))?;
    Ok(folder)
}

/// The model to train: read from the folder to continue from, or fresh.
pub(super) fn model(
    config: &PretrainConfig,
    tokenizer: &Tokenizer,
    observer: &mut dyn PretrainObserver,
) -> Result<Model> {
    let dropout = Some(config.train.dropout as f32);
    let heads = Heads { mlm: true, dropout: [dropout, dropout, None], ..Heads::default() };
    if config.model.as_os_str().is_empty() {
        return Ok(Model::fresh(fresh_config(config, tokenizer.vocabulary_size()), &heads, config.seed)?);
    }
    let (model, report) = Model::open(&config.model, &heads, config.seed)?;
    observer.loaded(&report);
    if !adds_words(config) {
        return Ok(model);
    }
    let old = Tokenizer::open(&config.model)?;
    Ok(model.with_words(old.vocabulary_size(), &extension::pieces(&old, tokenizer)?)?)
}

fn fresh_config(config: &PretrainConfig, vocab_size: usize) -> serde_json::Value {
    let a = &config.architecture;
    json!({
        "model_type": "bert",
        "architectures": ["BertForMaskedLM"],
        "vocab_size": vocab_size,
        "hidden_size": a.hidden_size,
        "num_hidden_layers": a.num_hidden_layers,
        "num_attention_heads": a.num_attention_heads,
        "intermediate_size": a.intermediate_size,
        "max_position_embeddings": a.max_position_embeddings,
        "type_vocab_size": 1,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "pad_token_id": 0,
    })
}
