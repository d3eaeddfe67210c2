//! Masked-language-model training on domain text, from scratch or from a folder (`dsgkd pretrain`).

mod begun;
mod card;
mod extension;
mod held_out;
mod masking;
mod ranking;
mod start;
mod steps;
mod texts;
mod vocabulary;

pub use held_out::PseudoPerplexity;
pub use ranking::RankedWord;
pub(crate) use steps::remove_checkpoint;

use crate::config::{Masking, PretrainConfig};
use crate::error::{Error, Result};
use crate::run::atomic::{sweep, write_folder};
use crate::text::Tokenizer;
use dsgkd_encoder::LoadReport;
use dsgkd_encoder::weights::WeightFormat;
use masking::Hiding;
use ranking::{Ranking, WordStatistics};
use serde::{Deserialize, Serialize};
use start::adds_words;
use texts::{Documents, for_each_text, tokenize};

/// One line of `history.jsonl`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PretrainLog {
    /// Optimiser steps done.
    pub step: u64,
    /// Of how many.
    pub steps: u64,
    /// Tokens seen so far.
    pub tokens: u64,
    /// Mean cross-entropy of the masked tokens since the last line, in nats.
    pub loss: f64,
    /// On the held-out documents; `None` where it was not measured.
    pub held_out: Option<HeldOut>,
}

/// Measures on the held-out documents, always behind the same masks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Mean cross-entropy of the masked tokens, in nats.
    pub loss: f64,
    /// `exp(loss)`: of single tokens behind one random mask, so that it is no [`PseudoPerplexity`], which hides tokens one at a time, and no
    /// perplexity of a model that reads from the left.
    pub perplexity: f64,
    /// Share of masked tokens whose likeliest word is the true one.
    pub accuracy: f64,
}

/// What a pretraining did, for its model card and the command line.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainSummary {
    /// Documents, held-out ones included.
    pub documents: usize,
    /// Of them, those with a text that an earlier one has.
    pub repeated_documents: usize,
    /// Different texts that are held out.
    pub held_out_documents: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// Parameters of the exported model.
    pub parameters: usize,
    /// Tokens seen.
    pub tokens: u64,
    /// Optimiser steps.
    pub steps: u64,
    /// Before the first step.
    pub held_out_before: HeldOut,
    /// After the last.
    pub held_out: HeldOut,
    /// After the last; `None` of texts in memory, of which nobody asks, and when it was interrupted.
    pub pseudo_perplexity: Option<PseudoPerplexity>,
}

/// Told of progress; says whether to stop.
pub trait PretrainObserver {
    /// A preparation has begun ("counting words").
    fn stage(&mut self, what: &str);
    /// What the folder that training continues from lacked.
    fn loaded(&mut self, report: &LoadReport);
    /// Steps were done.
    fn step(&mut self, log: &PretrainLog);
    /// Asked after each step: write a checkpoint and end?
    fn interrupted(&self) -> bool;
}

/// Trains and writes `config.output_dir/model`. With `resume`, goes on from the folder's checkpoint.
///
/// # Errors
/// The folder holds another run or other files, or is in use; to resume there is none, or one of other settings; whatever is wrong with files and
/// models.
pub fn pretrain(config: &PretrainConfig, resume: bool, observer: &mut dyn PretrainObserver) -> Result<PretrainSummary> {
    let _lock = begun::begin(config, resume)?;
    pretrain_documents(config, Documents::Files, resume, observer)
}

/// As [`pretrain`] with a `config.model` to continue from, on texts in memory instead of files.
pub fn pretrain_on(
    config: &PretrainConfig,
    texts: &[&str],
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<PretrainSummary> {
    pretrain_documents(config, Documents::Texts(texts), resume, observer)
}

fn pretrain_documents(
    config: &PretrainConfig,
    documents: Documents,
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<PretrainSummary> {
    let folder = &config.output_dir;
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
    sweep(folder)?; // what a killed process left unfinished
    let tokenizer = Tokenizer::open(&start::tokenizer_folder(config, resume, observer)?)?;
    let mut model = start::model(config, &tokenizer, observer)?;
    tokenizer.check_fits(&model.architecture, config.train.max_length)?;
    observer.stage("tokenizing the corpus");
    let max_length = config.train.max_length.min(model.architecture.max_tokens());
    let begins = masking::beginnings(&tokenizer, config.masking())?;
    let begins_word = |id: u32| begins.get(id as usize).copied().unwrap_or(true);
    let texts = tokenize(config, documents, &tokenizer, max_length, &begins_word, observer)?;
    model.set_precision(config.train.dtype.precision());
    let ranking = match config.masking() {
        Masking::Selective => Some(rank(config, &tokenizer, &texts.words, &begins_word, observer)?),
        _ => None,
    };
    let strength = config.selective.strength;
    let weight = ranking.as_ref().map(|ranking| move |word: &[u32]| ranking.weight(word, strength));
    let hiding = Hiding {
        ids: masking::mask_ids(&tokenizer, model.architecture.vocab_size)?,
        begins_word: &begins_word,
        weight: weight.as_ref().map(|weight| weight as &dyn Fn(&[u32]) -> f64),
        probability: config.train.mlm_probability,
    };
    let mut summary = steps::run(config, &mut model, &texts, &hiding, resume, observer)?;
    if matches!(documents, Documents::Files) {
        observer.stage("hiding tokens of held-out texts one at a time");
        let interrupted = || observer.interrupted();
        summary.pseudo_perplexity = held_out::pseudo_perplexity(&model, &texts, hiding.ids.mask, &interrupted);
    }
    write_folder(&folder.join("model"), |to| {
        model.save(to, if matches!(documents, Documents::Files) { WeightFormat::F16 } else { WeightFormat::F32 })?;
        tokenizer.copy_files(to)?;
        let path = to.join("README.md");
        std::fs::write(&path, card::model_card(config, &summary)).map_err(Error::io(&path, "write"))
    })?;
    Ok(summary)
}

/// The first `count` words that selective masking prefers; trains nothing and writes nothing.
///
/// Prints what stands in private text, so that a word has to stand in `selective.min_documents` documents.
///
/// # Errors
/// As [`pretrain`]; there is no tokenizer yet to split words with, or masking is not selective.
pub fn preview(config: &PretrainConfig, count: usize, observer: &mut dyn PretrainObserver) -> Result<Vec<RankedWord>> {
    if config.masking() != Masking::Selective {
        let message = "--preview shows what train.masking = \"selective\" prefers; the file asks for other masking";
        return Err(Error::Config(message.to_string()));
    }
    // A vocabulary that is yet to be learned or extended lies in the output folder once a training began.
    let written = config.output_dir.join("tokenizer");
    let made = adds_words(config) || config.model.as_os_str().is_empty();
    let folder = if made && written.exists() { &written } else { &config.model };
    if folder.as_os_str().is_empty() {
        return Err(Error::Config(
            "model: --preview needs a model to continue from, whose tokenizer splits words".to_string(),
        ));
    }
    let tokenizer = Tokenizer::open(folder)?;
    let begins = masking::beginnings(&tokenizer, Masking::Selective)?;
    let begins_word = |id: u32| begins.get(id as usize).copied().unwrap_or(true);
    observer.stage("tokenizing the corpus");
    let texts = tokenize(config, Documents::Files, &tokenizer, config.train.max_length, &begins_word, observer)?;
    let ranking = rank(config, &tokenizer, &texts.words, &begins_word, observer)?;
    Ok(ranking.top(count, |id| tokenizer.token(id).unwrap_or_default()))
}

/// Contrasts the words of the training documents with the general corpora.
fn rank(
    config: &PretrainConfig,
    tokenizer: &Tokenizer,
    words: &WordStatistics,
    begins_word: &dyn Fn(u32) -> bool,
    observer: &mut dyn PretrainObserver,
) -> Result<Ranking> {
    let mut general = WordStatistics::default();
    for_each_text(&config.selective.general, observer, |text| {
        general.add(&tokenizer.content_ids(text)?, begins_word);
        Ok(())
    })?;
    let letters = |id: &u32| {
        let token = tokenizer.token(*id).filter(|_| Some(*id) != tokenizer.unknown());
        token.is_some_and(|token| token.chars().any(char::is_alphabetic))
    };
    Ok(Ranking::new(words, &general, |word| word.iter().any(letters), &config.selective))
}
