//! Masked-language-model training on domain text, from scratch or from a folder (`dsgkd pretrain`).

mod extension;
mod masking;
mod ranking;
mod vocabulary;

pub use ranking::RankedWord;

use crate::config::{CorpusConfig, Masking, PretrainConfig};
use crate::data::corpus::for_each_document;
use crate::error::{Error, Result};
use crate::random::SplitMix64;
use crate::run::atomic::{sweep, write_folder};
use crate::run::history::History;
use crate::text::Tokenizer;
use crate::train::checkpoint::{self, Arenas, ArenasMut};
use crate::train::schedule::Schedule;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::weights::WeightFormat;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Heads, LoadReport, Model, PooledGradients};
use dsgkd_ops::adamw::{self, AdamW};
use dsgkd_ops::in_pool;
use dsgkd_ops::loss::{cross_entropy, softmax};
use masking::{MaskIds, Masked};
use ranking::{Ranking, WordStatistics};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

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
    /// `exp(loss)`: perplexity of the masked tokens.
    pub perplexity: f64,
    /// Share of masked tokens whose likeliest word is the true one.
    pub accuracy: f64,
}

/// What a pretraining did, for its model card and the command line.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainSummary {
    /// Documents, held-out ones included.
    pub documents: usize,
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

/// Progress as a checkpoint holds it; masks and order follow from the step.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Progress {
    step: u64,
    tokens: u64,
    held_out_before: HeldOut,
}

/// The texts as token ids, special tokens included.
struct Texts {
    training: Vec<Vec<u32>>,
    held_out: Vec<Vec<u32>>,
    documents: usize,
    bad_rows: usize,
    /// Of the training documents; only with selective masking.
    words: WordStatistics,
}

/// What is hidden, and how it is chosen.
struct Hiding<'a> {
    ids: MaskIds,
    begins_word: &'a dyn Fn(u32) -> bool,
    weight: Option<&'a dyn Fn(&[u32]) -> f64>,
    probability: f64,
}

const LOG_EVERY: u64 = 20;
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Trains and writes `config.output_dir/model`. With `resume`, goes on from the folder's checkpoint.
pub fn pretrain(config: &PretrainConfig, resume: bool, observer: &mut dyn PretrainObserver) -> Result<PretrainSummary> {
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

/// Where the documents are.
#[derive(Clone, Copy)]
enum Documents<'a> {
    /// In the files of `config.corpus`.
    Files,
    Texts(&'a [&'a str]),
}

impl Documents<'_> {
    /// Calls `take` with each document; returns the number of bad rows.
    fn for_each(self, corpora: &[CorpusConfig], mut take: impl FnMut(&str) -> Result<()>) -> Result<usize> {
        match self {
            Documents::Files => corpora
                .iter()
                .try_fold(0, |bad, corpus| Ok(bad + for_each_document(corpus, "", |document| take(document.text))?.1)),
            Documents::Texts(texts) => texts.iter().try_for_each(|text| take(text)).map(|()| 0),
        }
    }
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
    let tokenizer_folder = tokenizer_folder(config, resume, observer)?;
    let tokenizer = Tokenizer::open(&tokenizer_folder)?;
    let heads = Heads {
        mlm: true,
        dropout: [Some(config.train.dropout as f32), Some(config.train.dropout as f32), None],
        ..Heads::default()
    };
    let mut model = if config.model.as_os_str().is_empty() {
        Model::fresh(fresh_config(config, tokenizer.vocabulary_size()), &heads, config.seed)?
    } else {
        let (model, report) = Model::open(&config.model, &heads, config.seed)?;
        observer.loaded(&report);
        if adds_words(config) {
            let old = Tokenizer::open(&config.model)?;
            model.with_words(old.vocabulary_size(), &extension::pieces(&old, &tokenizer)?)?
        } else {
            model
        }
    };
    tokenizer.check_fits(model.architecture.vocab_size)?;
    observer.stage("tokenizing the corpus");
    let max_length = config.train.max_length.min(model.architecture.max_tokens());
    let begins = beginnings(&tokenizer, config.masking())?;
    let begins_word = |id: u32| begins.get(id as usize).copied().unwrap_or(true);
    let texts = tokenize(config, documents, &tokenizer, max_length, &begins_word)?;
    model.set_precision(config.train.dtype.precision());
    let ranking = match config.masking() {
        Masking::Selective => Some(rank(config, &tokenizer, &texts.words, &begins_word)?),
        _ => None,
    };
    let strength = config.selective.strength;
    let weight = ranking.as_ref().map(|ranking| move |word: &[u32]| ranking.weight(word, strength));
    let hiding = Hiding {
        ids: mask_ids(&tokenizer, model.architecture.vocab_size)?,
        begins_word: &begins_word,
        weight: weight.as_ref().map(|weight| weight as &dyn Fn(&[u32]) -> f64),
        probability: config.train.mlm_probability,
    };
    let summary = run(config, &mut model, &texts, &hiding, resume, observer)?;
    write_folder(&folder.join("model"), |to| {
        model.save(to, if matches!(documents, Documents::Files) { WeightFormat::F16 } else { WeightFormat::F32 })?;
        tokenizer.copy_files(to)?;
        let path = to.join("README.md");
        std::fs::write(&path, model_card(config, &summary)).map_err(Error::io(&path, "write"))
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
    let begins = beginnings(&tokenizer, Masking::Selective)?;
    let begins_word = |id: u32| begins.get(id as usize).copied().unwrap_or(true);
    observer.stage("tokenizing the corpus");
    let texts = tokenize(config, Documents::Files, &tokenizer, config.train.max_length, &begins_word)?;
    let ranking = rank(config, &tokenizer, &texts.words, &begins_word)?;
    Ok(ranking.top(count, |id| tokenizer.token(id).unwrap_or_default()))
}

/// Contrasts the words of the training documents with the general corpora.
fn rank(
    config: &PretrainConfig,
    tokenizer: &Tokenizer,
    words: &WordStatistics,
    begins_word: &dyn Fn(u32) -> bool,
) -> Result<Ranking> {
    let mut general = WordStatistics::default();
    for corpus in &config.selective.general {
        for_each_document(corpus, "", |document| {
            general.add(&tokenizer.content_ids(document.text)?, begins_word);
            Ok(())
        })?;
    }
    let letters = |id: &u32| {
        let token = tokenizer.token(*id).filter(|_| Some(*id) != tokenizer.unknown());
        token.is_some_and(|token| token.chars().any(char::is_alphabetic))
    };
    Ok(Ranking::new(words, &general, |word| word.iter().any(letters), &config.selective))
}

/// Whether words are added to the tokenizer of the model that training continues from.
fn adds_words(config: &PretrainConfig) -> bool {
    let vocabulary = &config.vocabulary;
    !config.model.as_os_str().is_empty() && (vocabulary.add > 0 || !vocabulary.words.as_os_str().is_empty())
}

/// Where the tokenizer is: beside the model to continue from, or learned from the corpus, or extended by its words, in the output folder.
fn tokenizer_folder(
    config: &PretrainConfig,
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<std::path::PathBuf> {
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
    let pieces = vocabulary::learn(&words, &config.vocabulary);
    let max_length = config.architecture.max_position_embeddings;
    write_folder(&folder, |to| vocabulary::write(&pieces, config.vocabulary.lowercase, max_length, to))?;
    Ok(folder)
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

/// Which tokens begin a word, as `train.masking` wants it.
fn beginnings(tokenizer: &Tokenizer, masking: Masking) -> Result<Vec<bool>> {
    let words = tokenizer.vocabulary_size();
    if masking == Masking::Random {
        return Ok(vec![true; words]);
    }
    let vocabulary: Vec<String> = (0..words as u32).map(|id| tokenizer.token(id).unwrap_or_default()).collect();
    masking::word_beginnings(&vocabulary).ok_or_else(|| {
        Error::Config("train.masking: the tokenizer's tokens do not tell where words begin (##, ▁ or Ġ)".to_string())
    })
}

fn mask_ids(tokenizer: &Tokenizer, vocab_size: usize) -> Result<MaskIds> {
    let missing = || Error::Model("the tokenizer has neither [MASK] nor <mask>".to_string());
    let mask = tokenizer.mask().ok_or_else(missing)?;
    Ok(MaskIds { mask, vocabulary: vocab_size as u32, first_word: tokenizer.first_word() })
}

/// All documents as token ids, long ones cut into several texts; every `held_out_every`-th document is held out.
fn tokenize(
    config: &PretrainConfig,
    documents: Documents,
    tokenizer: &Tokenizer,
    max_length: usize,
    begins_word: &dyn Fn(u32) -> bool,
) -> Result<Texts> {
    let mut texts =
        Texts { training: vec![], held_out: vec![], documents: 0, bad_rows: 0, words: WordStatistics::default() };
    let mut waiting: Vec<String> = vec![];
    let (cls, sep) = frame(tokenizer)?;
    let flush = |waiting: &mut Vec<String>, texts: &mut Texts| -> Result<()> {
        let documents: Vec<Vec<u32>> =
            waiting.par_iter().map(|text| tokenizer.content_ids(text)).collect::<Result<_>>()?;
        waiting.clear();
        for document in documents {
            texts.documents += 1;
            let held_out = texts.documents.is_multiple_of(config.train.held_out_every.max(2));
            if !held_out && config.masking() == Masking::Selective {
                texts.words.add(&document, begins_word);
            }
            let target = if held_out { &mut texts.held_out } else { &mut texts.training };
            for piece in document.chunks(max_length.saturating_sub(2).max(1)) {
                target.push([&[cls], piece, &[sep]].concat());
            }
        }
        Ok(())
    };
    texts.bad_rows = documents.for_each(&config.corpus, |text| {
        waiting.push(text.to_string());
        if waiting.len() >= 4096 { flush(&mut waiting, &mut texts) } else { Ok(()) }
    })?;
    flush(&mut waiting, &mut texts)?;
    if texts.training.is_empty() || texts.held_out.is_empty() {
        return Err(Error::Data(format!(
            "the corpus has {} documents; give more, or a smaller train.held_out_every",
            texts.documents
        )));
    }
    Ok(texts)
}

/// The special tokens that begin and end a note.
fn frame(tokenizer: &Tokenizer) -> Result<(u32, u32)> {
    match &tokenizer.encode("")?.ids[..] {
        [first, .., last] => Ok((*first, *last)),
        _ => Err(Error::Model("the tokenizer adds no special tokens; its post_processor is missing".to_string())),
    }
}

/// Batches of one epoch, each a list of texts within the budget of tokens, in the order that seed and epoch decide.
fn batches(texts: &[Vec<u32>], batch_tokens: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    SplitMix64::at(seed, epoch).shuffle(&mut order);
    let mut batches: Vec<Vec<usize>> = vec![vec![]];
    let mut tokens = 0;
    for text in order {
        let length = texts[text].len();
        if tokens + length > batch_tokens && tokens > 0 {
            batches.push(vec![]);
            tokens = 0;
        }
        tokens += length;
        if let Some(batch) = batches.last_mut() {
            batch.push(text);
        }
    }
    batches
}

/// Packs texts and hides tokens; the framing special tokens are never hidden.
fn masked_batch(texts: &[&[u32]], hiding: &Hiding, random: &mut SplitMix64) -> (Batch, Masked) {
    let Hiding { ids, begins_word, weight, probability } = *hiding;
    let mut batch = Batch::pack(texts.iter().copied());
    let mut may_hide = vec![true; batch.tokens()];
    for pair in batch.cu_seqlens.windows(2) {
        may_hide[pair[0] as usize] = false;
        may_hide[pair[1] as usize - 1] = false;
    }
    let masked = masking::mask(&mut batch.input_ids, |at| may_hide[at], begins_word, weight, ids, probability, random);
    (batch, masked)
}

fn run(
    config: &PretrainConfig,
    model: &mut Model,
    texts: &Texts,
    hiding: &Hiding,
    resume: bool,
    observer: &mut dyn PretrainObserver,
) -> Result<PretrainSummary> {
    let train = &config.train;
    let per_epoch = batches(&texts.training, train.batch_tokens, config.seed, 0).len() as u64;
    let mut steps = (per_epoch as f64 * train.num_train_epochs).ceil() as u64;
    if train.max_steps > 0 {
        steps = steps.min(train.max_steps);
    }
    let schedule = Schedule::new(steps, train.warmup_ratio);
    let len = model.values.len();
    let (mut gradients, mut exp_avg, mut exp_avg_sq) = (vec![0f32; len], vec![0f32; len], vec![0f32; len]);
    let path = config.output_dir.join(CHECKPOINT);
    let mut progress = if resume && path.exists() {
        let layout = &model.layout().clone();
        let moments = Some((&mut exp_avg[..], &mut exp_avg_sq[..]));
        checkpoint::load(&path, ArenasMut { layout, parameters: &mut model.values, moments })?
    } else {
        Progress { step: 0, tokens: 0, held_out_before: held_out(model, texts, hiding) }
    };
    let (mut act, mut head) = (Activations::default(), MlmActivations::default());
    let (mut epoch, mut order) = (u64::MAX, vec![]);
    let mut history = History::open(&config.output_dir.join("history.jsonl"), progress.step)?;
    let mut window = (0f64, 0u64);
    while progress.step < steps {
        if epoch != progress.step / per_epoch {
            epoch = progress.step / per_epoch;
            order = batches(&texts.training, train.batch_tokens, config.seed, epoch);
        }
        // Epochs differ by a batch or so in number; one that falls short begins again.
        let chosen = &order[(progress.step % per_epoch) as usize % order.len()];
        let chosen: Vec<&[u32]> = chosen.iter().map(|text| &texts.training[*text][..]).collect();
        let mut random = SplitMix64::at(config.seed ^ MASK_STREAM, progress.step);
        let (batch, masked) = masked_batch(&chosen, hiding, &mut random);

        let dropout = Some(config.seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(progress.step));
        let options = ForwardOptions { dropout, for_backward: true, ..ForwardOptions::default() };
        let learning_rate = train.learning_rate * schedule.factor(progress.step);
        let step = progress.step + 1;
        let loss = in_pool(|| {
            model.forward(&batch, &options, &mut act);
            model.predict_masked(&masked.rows, &act, &mut head);
            let loss = cross_entropy(&mut head.logits, &masked.labels, model.architecture.vocab_size, &[]);
            model.clear_gradient(&batch, &mut act);
            model.predict_masked_backward(&masked.rows, &mut act, &mut head, &mut gradients);
            model.backward(&batch, &options, &PooledGradients::default(), &mut act, &mut gradients);

            let norm = adamw::sum_of_squares(&gradients).sqrt();
            let settings = AdamW {
                learning_rate,
                beta1: 0.9,
                beta2: 0.98,
                epsilon: 1e-6,
                weight_decay: train.weight_decay,
                gradient_scale: (train.max_grad_norm / (norm + 1e-6)).min(1.0),
                step,
            };
            adamw::step(settings, &mut model.values, &mut gradients, &mut exp_avg, &mut exp_avg_sq);
            loss
        });

        progress.step += 1;
        progress.tokens += batch.tokens() as u64;
        window = (window.0 + loss, window.1 + 1);
        let measure = progress.step.is_multiple_of(train.eval_steps.max(1)) || progress.step == steps;
        if progress.step.is_multiple_of(LOG_EVERY) || measure {
            let held_out = measure.then(|| held_out(model, texts, hiding));
            let log = PretrainLog {
                step: progress.step,
                steps,
                tokens: progress.tokens,
                loss: window.0 / window.1 as f64,
                held_out,
            };
            window = (0.0, 0);
            history.write(&log)?;
            observer.step(&log);
        }
        let interrupted = observer.interrupted();
        if progress.step.is_multiple_of(train.save_steps.max(1)) || progress.step == steps || interrupted {
            let moments = Some((&exp_avg[..], &exp_avg_sq[..]));
            let arenas = Arenas { layout: model.layout(), parameters: &model.values, moments };
            checkpoint::save(&path, &arenas, &progress)?;
        }
        if interrupted {
            let message = format!("stopped after step {} of {steps}; --resume goes on from there", progress.step);
            return Err(Error::Interrupted(message));
        }
    }
    Ok(PretrainSummary {
        documents: texts.documents,
        bad_rows: texts.bad_rows,
        parameters: len,
        tokens: progress.tokens,
        steps,
        held_out_before: progress.held_out_before,
        held_out: held_out(model, texts, hiding),
    })
}

/// Keeps the masks' numbers apart from those of order and weights.
const MASK_STREAM: u64 = 0x6D61_736B;

/// Documents measured on at most; the measure's own noise is far below what training changes.
const MOST_HELD_OUT: usize = 1000;

fn held_out(model: &Model, texts: &Texts, hiding: &Hiding) -> HeldOut {
    let (mut act, mut head) = (Activations::default(), MlmActivations::default());
    let mut random = SplitMix64::new(MASK_STREAM);
    let (mut loss, mut right, mut all) = (0f64, 0usize, 0usize);
    let words = model.architecture.vocab_size;
    // Token by token whatever the training hides, so that figures of different recipes compare.
    let single = Hiding { begins_word: &|_| true, weight: None, ..*hiding };
    for chunk in texts.held_out[..texts.held_out.len().min(MOST_HELD_OUT)].chunks(32) {
        let chunk: Vec<&[u32]> = chunk.iter().map(|text| &text[..]).collect();
        let (batch, masked) = masked_batch(&chunk, &single, &mut random);
        model.forward(&batch, &ForwardOptions::default(), &mut act);
        model.predict_masked(&masked.rows, &act, &mut head);
        for (row, label) in softmax(&head.logits, words).chunks_exact(words).zip(&masked.labels) {
            let likely = (0..words).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            right += usize::from(likely == Some(*label as usize));
            loss -= row[*label as usize].max(f64::MIN_POSITIVE).ln();
            all += 1;
        }
    }
    let all = all.max(1) as f64;
    HeldOut { loss: loss / all, perplexity: (loss / all).exp(), accuracy: right as f64 / all }
}

fn model_card(config: &PretrainConfig, summary: &PretrainSummary) -> String {
    let files = |corpus: &CorpusConfig| {
        let names =
            corpus.files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let corpora: Vec<String> = config.corpus.iter().map(files).collect();
    let HeldOut { loss, perplexity, accuracy } = summary.held_out;
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: fill-mask\n---\n\nA masked language model trained by `dsgkd pretrain` {}.\n\n\
         - text: {} ({} documents, {} of them held out)\n- tokens seen: {} in {} steps, seed {}\n- parameters: {}\n\
         - held-out documents: masked cross-entropy {loss:.4} nats (perplexity {perplexity:.2}), masked accuracy {accuracy:.4}; \
         before training {:.4} nats\n",
        env!("CARGO_PKG_VERSION"),
        corpora.join(", "),
        summary.documents,
        summary.documents / config.train.held_out_every.max(2),
        summary.tokens,
        summary.steps,
        config.seed,
        summary.parameters,
        summary.held_out_before.loss,
    )
}
