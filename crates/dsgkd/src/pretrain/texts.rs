//! The text of a pretraining as tokens: documents cut into texts, texts put into batches.

use super::ranking::WordStatistics;
use crate::config::{CorpusConfig, Masking, PretrainConfig};
use crate::data::corpus::for_each_document;
use crate::error::{Error, Result};
use crate::random::SplitMix64;
use crate::text::Tokenizer;
use rayon::prelude::*;

/// The texts as token ids, special tokens included.
pub(super) struct Texts {
    pub(super) training: Vec<Vec<u32>>,
    pub(super) held_out: Vec<Vec<u32>>,
    pub(super) documents: usize,
    pub(super) bad_rows: usize,
    /// Of the training documents; only with selective masking.
    pub(super) words: WordStatistics,
}

/// Where the documents are.
#[derive(Clone, Copy)]
pub(super) enum Documents<'a> {
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

/// All documents as token ids, long ones cut into several texts; every `held_out_every`-th document is held out.
pub(super) fn tokenize(
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
pub(super) fn batches(texts: &[Vec<u32>], batch_tokens: usize, seed: u64, epoch: u64) -> Vec<Vec<usize>> {
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
