//! The text of a pretraining as tokens: documents divided into trained and held-out ones, cut into texts, texts put into batches.

use super::PretrainObserver;
use super::ranking::WordStatistics;
use crate::config::{CorpusConfig, Masking, PretrainConfig};
use crate::data::corpus::for_each_document;
use crate::data::{BadRows, row_unit};
use crate::error::{Error, Result};
use crate::random::SplitMix64;
use crate::text::Tokenizer;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The texts as token ids, special tokens included.
pub(super) struct Texts {
    pub(super) training: Vec<Vec<u32>>,
    /// Of every held-out document once, in the order of their hashes, so that the first ones are a fair sample of all files.
    pub(super) held_out: Vec<Vec<u32>>,
    pub(super) counts: Counts,
    /// Of the training documents; only with selective masking.
    pub(super) words: WordStatistics,
}

/// How many documents there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// All of them.
    pub(super) documents: usize,
    /// Those with a text that an earlier one has.
    pub(super) repeated: usize,
    /// Different texts that are held out.
    pub(super) held_out: usize,
    /// Rows that could not be read.
    pub(super) bad_rows: usize,
}

/// Where the documents are.
#[derive(Clone, Copy)]
pub(super) enum Documents<'a> {
    /// In the files of `config.corpus`.
    Files,
    Texts(&'a [&'a str]),
}

/// Calls `take` with each document of the corpora. Rows that cannot be read are passed over: tells of them, and returns their number.
pub(super) fn for_each_text(
    corpora: &[CorpusConfig],
    observer: &mut dyn PretrainObserver,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<usize> {
    let mut bad_rows = BadRows::default();
    for corpus in corpora {
        let (_, bad) = for_each_document(corpus, "", |document| take(document.text))?;
        bad_rows.append(bad);
    }
    let count = bad_rows.total() as usize;
    if count > 0 {
        observer.stage(&format!("skipped {bad_rows} ({})", places(&bad_rows)));
    }
    Ok(count)
}

/// File and line of the first bad rows.
fn places(bad_rows: &BadRows) -> String {
    let mut places: Vec<String> = bad_rows
        .first
        .iter()
        .map(|row| format!("{}, {} {}", row.file.display(), row_unit(&row.file), row.line))
        .collect();
    if bad_rows.total() > places.len() as u64 {
        places.push("...".to_string());
    }
    places.join("; ")
}

/// All documents as token ids, long ones cut into several texts; about one in `held_out_every` is held out, see [`last_held_out`].
pub(super) fn tokenize(
    config: &PretrainConfig,
    documents: Documents,
    tokenizer: &Tokenizer,
    max_length: usize,
    begins_word: &dyn Fn(u32) -> bool,
    observer: &mut dyn PretrainObserver,
) -> Result<Texts> {
    let mut all: Vec<(u64, Vec<u32>)> = vec![];
    let mut waiting: Vec<String> = vec![];
    let (cls, sep) = frame(tokenizer)?;
    let flush = |waiting: &mut Vec<String>, all: &mut Vec<(u64, Vec<u32>)>| -> Result<()> {
        let tokens = |text: &String| Ok((hash(text), tokenizer.content_ids(text)?));
        all.extend(waiting.par_iter().map(tokens).collect::<Result<Vec<_>>>()?);
        waiting.clear();
        Ok(())
    };
    let take = |text: &str| {
        waiting.push(text.to_string());
        if waiting.len() >= 4096 { flush(&mut waiting, &mut all) } else { Ok(()) }
    };
    let bad_rows = match documents {
        Documents::Files => for_each_text(&config.corpus, observer, take)?,
        Documents::Texts(texts) => texts.iter().copied().try_for_each(take).map(|()| 0)?,
    };
    flush(&mut waiting, &mut all)?;

    let mut hashes: Vec<u64> = all.iter().map(|(hash, _)| *hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let (documents, repeated) = (all.len(), all.len() - hashes.len());
    let every = config.train.held_out_every.max(2);
    let too_few = || {
        Error::Data(format!(
            "the corpus has {documents} documents with {} different texts; give more, or a smaller train.held_out_every",
            hashes.len()
        ))
    };
    let last = last_held_out(&hashes, every).filter(|_| documents >= every).ok_or_else(too_few)?;
    let mut training: Vec<Vec<u32>> = vec![];
    let mut held_out: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    let mut words = WordStatistics::default();
    let cut = |document: &[u32], to: &mut Vec<Vec<u32>>| {
        let pieces = document.chunks(max_length.saturating_sub(2).max(1));
        to.extend(pieces.map(|piece| [&[cls], piece, &[sep]].concat()));
    };
    for (hash, document) in all {
        if hash <= last {
            held_out.entry(hash).or_insert(document);
            continue;
        }
        if config.masking() == Masking::Selective {
            words.add(&document, begins_word);
        }
        cut(&document, &mut training);
    }
    let counts = Counts { documents, repeated, held_out: held_out.len(), bad_rows };
    let mut texts = Texts { training, held_out: vec![], counts, words };
    held_out.values().for_each(|document| cut(document, &mut texts.held_out));
    if texts.training.is_empty() || texts.held_out.is_empty() {
        return Err(too_few());
    }
    observer.stage(&format!("{documents} documents ({repeated} repeat a text), {} held out", counts.held_out));
    Ok(texts)
}

/// What decides whether a text is held out: equal texts are on one side, whatever files, columns and order they stand in. Runs of whitespace
/// count as one space.
fn hash(text: &str) -> u64 {
    let mut hasher = Sha256::new();
    for word in text.split_whitespace() {
        hasher.update(word);
        hasher.update(" ");
    }
    hasher.finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

/// The largest hash of a text that is held out, of the different `hashes` of a corpus in ascending order; `None` for fewer than two.
///
/// Hashes are evenly spread, so that about one text in `every` lies below a fixed limit. Where chance puts fewer there than that share of the corpus
/// (or none, of a small one), the next are held out too; one text is always left to train on.
fn last_held_out(hashes: &[u64], every: usize) -> Option<u64> {
    let largest_allowed = hashes.len().checked_sub(2)?;
    let least = (hashes.len() / every).max(1);
    Some((u64::MAX / every as u64).max(hashes[least - 1]).min(hashes[largest_allowed]))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::vocabulary::{self, WordCounts};
    use super::super::{PretrainLog, PretrainObserver};
    use super::*;
    use crate::config::VocabularyConfig;
    use dsgkd_encoder::LoadReport;
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Keeps what it is told.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl PretrainObserver for Told {
        fn stage(&mut self, what: &str) {
            self.0.push(what.to_string());
        }

        fn loaded(&mut self, _: &LoadReport) {}

        fn step(&mut self, _: &PretrainLog) {}

        fn interrupted(&self) -> bool {
            false
        }
    }

    /// One that knows digits and some letters.
    fn tokenizer(folder: &Path) -> Tokenizer {
        let mut words = WordCounts::default();
        words.add("left right same 0123456789", true).unwrap();
        vocabulary::write(&vocabulary::learn(&words, &VocabularyConfig::default()).pieces, true, 64, folder).unwrap();
        Tokenizer::open(folder).unwrap()
    }

    fn tokenized(texts: &[String], tokenizer: &Tokenizer, held_out_every: usize) -> Result<Texts> {
        let mut config = PretrainConfig::default();
        config.train.held_out_every = held_out_every;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        tokenize(&config, Documents::Texts(&texts), tokenizer, 64, &|_| true, &mut Told::default())
    }

    #[test]
    fn a_text_is_held_out_by_what_it_says_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(folder.path());
        let columns = ["left", "right"];
        // Two columns that alternate; a third of all rows says what a row before says.
        let row = |number: usize| if number % 3 == 2 { number / 3 } else { number };
        let mut documents: Vec<String> =
            (0..6000).flat_map(|number| columns.map(|column| format!("{column} {}", row(number)))).collect();
        let texts = tokenized(&documents, &tokenizer, 200).unwrap();
        let different = documents.iter().collect::<BTreeSet<_>>().len();
        assert_eq!((texts.counts.documents, texts.counts.repeated), (12_000, 12_000 - different));
        let share = different / 200;
        assert!((share..share + share / 2).contains(&texts.held_out.len()), "{} of {different}", texts.held_out.len());
        for column in columns {
            let begin = &tokenizer.content_ids(column).unwrap()[..];
            let held_out = texts.held_out.iter().filter(|text| text[1..].starts_with(begin)).count();
            assert!(held_out * 3 > texts.held_out.len(), "{column}: {held_out} of {}", texts.held_out.len());
        }
        assert!(texts.held_out.iter().all(|text| !texts.training.contains(text)), "a held-out text is trained on");

        SplitMix64::new(3).shuffle(&mut documents);
        documents.iter_mut().step_by(2).for_each(|text| *text = text.replace(' ', " \n "));
        let shuffled = tokenized(&documents, &tokenizer, 200).unwrap();
        assert!(shuffled.held_out == texts.held_out && shuffled.counts == texts.counts);
    }

    #[test]
    fn as_many_documents_as_one_is_held_out_of_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tokenizer(folder.path());
        for count in 2..60 {
            let documents: Vec<String> = (0..count).map(|number| format!("same {number}")).collect();
            let texts = tokenized(&documents, &tokenizer, count).unwrap();
            assert_eq!(texts.training.len() + texts.held_out.len(), count);
            let halves = tokenized(&documents, &tokenizer, 0).unwrap();
            assert!(halves.held_out.len() >= count / 2 && !halves.training.is_empty(), "{count}");
            let error = tokenized(&documents, &tokenizer, count + 1).err().unwrap().to_string();
            assert!(
                error.contains(&format!("has {count} documents with {count} different texts; give more")),
                "{error}"
            );
        }
        let error = tokenized(&vec!["same".to_string(); 9], &tokenizer, 3).err().unwrap().to_string();
        assert!(error.contains("9 documents with 1 different texts; ") && !error.contains("same"), "{error}");
    }

    #[test]
    fn bad_rows_are_told_by_their_places_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let first = write("first.csv", "note\nfever\nfever,secret\ncough\n");
        let second = write("second.csv", "note\npain\npain,secret\n\"torn\"secret\npain\nlate,secret\n");
        let corpus = CorpusConfig { columns: vec!["note".to_string()], ..CorpusConfig::default() };
        let whole = CorpusConfig { files: vec![first.clone(), second.clone()], max_documents: 4, ..corpus.clone() };
        let mut told = Told::default();
        let mut texts = vec![];
        let mut read = |corpora: &[CorpusConfig]| {
            for_each_text(corpora, &mut told, |text| {
                texts.push(text.to_string());
                Ok(())
            })
        };
        let bad = read(&[whole, CorpusConfig { files: vec![first.clone()], ..corpus.clone() }]).unwrap();
        // What stands after the last document that is wanted was never met.
        assert_eq!((bad, texts.join(" ")), (4, "fever cough pain pain fever cough".to_string()));
        let [line] = &told.0[..] else { panic!("{:?}", told.0) };
        let place = |file: &Path, line: u64| format!("{}, line {line}", file.display());
        let places = [place(&first, 3), place(&second, 3), place(&second, 4), place(&first, 3)].join("; ");
        assert!(line.starts_with("skipped 4 bad rows: ") && line.ends_with(&format!(" ({places})")), "{line}");
        assert!(!line.contains("secret"), "{line}");

        let mut told = Told::default();
        assert_eq!(for_each_text(&[], &mut told, |_| Ok(())).unwrap(), 0);
        assert!(told.0.is_empty());
    }
}
