//! Which documents of a large corpus belong to a domain (`dsgkd select`): clusters of their embeddings, and distance to a few examples
//! (Aharoni and Goldberg, "Unsupervised domain clusters in pretrained language models", arXiv 2004.02105).
//!
//! As in the paper, a document is the mean of its last hidden states; the embeddings are reduced to 50 principal components and a
//! mixture of Gaussians with full covariances is fitted to them (section 2); a cluster's domain is that of most of its documents, and
//! purity is the share of documents that lie in a cluster of their own domain; documents are taken by their cosine to the mean embedding
//! of the examples (section 4, "Domain-Cosine"). Differs from the paper: the cosine is taken of the whole embeddings, the clusters of the
//! reduced ones; a small ridge is added to the covariances.

mod mixture;
mod table;

pub use table::table;

use crate::config::{CorpusConfig, SelectConfig, Take, TakeBy, Truncation};
use crate::data::corpus::{Document, for_each_document};
use crate::data::{Format, NewColumn, TableWriter, Value, is_same_file};
use crate::error::{Error, Result};
use crate::infer::Scorer;
use crate::text::Tokenizer;
use crate::text::truncate::truncate;
use dsgkd_encoder::{Heads, Model};
use mixture::{Components, Mixture};
use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// Documents that are embedded at a time.
const WINDOW: usize = 1024;

/// Domains of a corpus at most: a column with more values is no domain but text, and would be printed.
const MOST_DOMAINS: usize = 100;

/// What was found; holds names of domains but no text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Selection {
    /// Documents of the corpora.
    pub documents: usize,
    /// Rows that could not be read.
    pub bad_rows: usize,
    /// Principal components kept.
    pub components: usize,
    /// The clusters, the largest first.
    pub clusters: Vec<Cluster>,
    /// Share of the documents of known domain that lie in a cluster of their domain; `None` where no domain is known.
    pub purity: Option<f64>,
    /// The number of the cluster that the examples belong to, and what was taken; `None` without examples.
    pub examples: Option<Examples>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// Its number, from 1.
    pub cluster: usize,
    /// Its documents: those to which no cluster is likelier.
    pub documents: usize,
    /// Their mean posterior probability of this cluster.
    pub mean_posterior: f64,
    /// Its documents by known domain.
    pub domains: BTreeMap<String, usize>,
    /// The domain of most of its documents of known domain; ties go to the first name.
    pub domain: Option<String>,
    /// That domain's share of them.
    pub purity: Option<f64>,
}

/// What the examples chose.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Examples {
    /// Number of examples.
    pub documents: usize,
    /// Documents of the corpora that are examples themselves, by their text, and so not taken; 0 where nothing was to be.
    pub left_out: usize,
    /// The cluster with the greatest mean posterior over them.
    pub cluster: usize,
    /// Documents that were written.
    pub taken: usize,
    /// Those of known domain, by domain.
    pub taken_domains: BTreeMap<String, usize>,
    /// The smallest cosine of a taken document to the mean of the examples.
    pub least_similarity: Option<f64>,
}

/// Told of progress; says whether to stop.
pub trait SelectObserver {
    /// A part of the work has begun.
    fn stage(&mut self, what: &str);
    /// So many documents are embedded, of so many.
    fn embedded(&mut self, documents: usize, all: usize);
    /// Asked after each window: end, with nothing written?
    fn interrupted(&self) -> bool;
}

/// An encoder that embeds documents.
struct Embedder {
    model: Model,
    tokenizer: Tokenizer,
    scorer: Scorer,
    max_length: usize,
}

impl Embedder {
    fn open(config: &SelectConfig) -> Result<Embedder> {
        let tokenizer = Tokenizer::open(&config.model)?;
        let (mut model, _) = Model::open(&config.model, &Heads::default(), 0)?;
        tokenizer.check_fits(&model.architecture, config.max_length)?;
        model.pack(crate::infer::WeightPrecision::Float32);
        let max_length = config.max_length.min(model.architecture.max_tokens());
        Ok(Embedder { model, tokenizer, scorer: Scorer::default(), max_length })
    }

    /// Appends the embeddings of texts, `[texts, hidden]`.
    fn embed(&mut self, texts: &[String], vectors: &mut Vec<f32>) -> Result<()> {
        let encode = |text: &String| {
            let mut encoding = self.tokenizer.encode(text)?;
            truncate(&mut encoding, self.max_length, Truncation::Head);
            Ok(encoding.ids)
        };
        let notes: Vec<Vec<u32>> = texts.par_iter().map(encode).collect::<Result<_>>()?;
        let notes: Vec<&[u32]> = notes.iter().map(Vec::as_slice).collect();
        vectors.extend(self.scorer.mean_hidden(&self.model, &notes)?);
        Ok(())
    }
}

/// Documents as numbers.
#[derive(Default)]
struct Embedded {
    /// `[documents, hidden]`.
    vectors: Vec<f32>,
    /// Each document's domain, an index into `names`.
    domains: Vec<Option<usize>>,
    /// Whether its text is that of an example.
    are_examples: Vec<bool>,
    names: Vec<String>,
    bad_rows: usize,
}

/// Embeds and clusters the corpora, and writes what is like the examples to `config.output`.
///
/// # Errors
/// Names the file or folder that cannot be read or written; there are too few documents, or the encoder tells none from another.
pub fn select(config: &SelectConfig, observer: &mut dyn SelectObserver) -> Result<Selection> {
    // What cannot be written is to be found before an hour of embedding.
    let writer = if config.take.is_some() { Some(open_output(config)?) } else { None };
    let mut embedder = Embedder::open(config)?;
    let hidden = embedder.model.architecture.hidden_size;
    observer.stage("counting documents");
    let mut all = 0;
    for corpus in &config.corpus {
        all += for_each_document(&corpus.source(), &corpus.domain, |_| Ok(()))?.0;
    }
    observer.stage("embedding");
    let (mut examples, mut example_texts) = (vec![], HashSet::new());
    if let Some(corpus) = &config.examples {
        let mut met = |document: &Document| -> Result<()> {
            example_texts.insert(document.text.to_string());
            Ok(())
        };
        embed_corpus(corpus, "", &mut embedder, &mut examples, &mut met, &mut |_| Ok(()))?;
        if examples.is_empty() {
            return Err(Error::Data("examples: the files hold no document".to_string()));
        }
    }
    let embedded = embed_corpora(config, &mut embedder, &example_texts, all, observer)?;
    observer.stage("clustering");
    let documents = embedded.domains.len();
    let wanted = match (config.clusters, embedded.names.len()) {
        (0, 0) => 5,
        (0, domains) => domains,
        (clusters, _) => clusters,
    };
    if documents < 2 * wanted {
        return Err(Error::Data(format!(
            "the corpus has {documents} documents, too few for {wanted} clusters; give more, or a smaller `clusters`"
        )));
    }
    let every = documents.div_ceil(config.fit_documents).max(1);
    let fitted: Vec<f32> =
        embedded.vectors.chunks_exact(hidden).step_by(every).flat_map(|vector| vector.iter().copied()).collect();
    let fitted = matrix(&fitted, hidden);
    let alike =
        || Error::Data(format!("{}: embeds all documents alike; nothing can be told apart", config.model.display()));
    let components = Components::of(&fitted, config.components).ok_or_else(alike)?;
    let mixture = Mixture::fit(&components.project(fitted), wanted, config.seed).ok_or_else(alike)?;
    let assigned = assign(&components, &mixture, &embedded.vectors, hidden);
    let (clusters, numbers) = describe(&assigned, &embedded);
    let mut selection = Selection {
        documents,
        bad_rows: embedded.bad_rows,
        components: components.len(),
        purity: purity(&clusters),
        clusters,
        examples: None,
    };
    if !examples.is_empty() {
        let (_, posteriors) = mixture.posteriors(&components.project(matrix(&examples, hidden)));
        let cluster = posteriors.column_sum().imax();
        let similarities = similarities(&embedded.vectors, &examples, hidden);
        let taken = taken(config.take, cluster, &assigned, &similarities, &embedded.are_examples);
        let least = (0..documents).filter(|document| taken[*document]).map(|document| similarities[document]);
        selection.examples = Some(Examples {
            documents: examples.len() / hidden,
            left_out: embedded.are_examples.iter().filter(|is_example| **is_example && config.take.is_some()).count(),
            cluster: numbers[cluster],
            taken: taken.iter().filter(|taken| **taken).count(),
            taken_domains: count_domains((0..documents).filter(|document| taken[*document]), &embedded),
            least_similarity: least.min_by(f64::total_cmp),
        });
        if let Some(writer) = writer {
            observer.stage("writing");
            write(config, writer, &taken, &|document| {
                let (cluster, posterior) = assigned[document];
                [numbers[cluster] as f64, posterior, similarities[document]]
            })?;
        }
    }
    Ok(selection)
}

/// `[documents, hidden]` as a matrix with a document a column.
fn matrix(vectors: &[f32], hidden: usize) -> DMatrix<f64> {
    DMatrix::from_iterator(hidden, vectors.len() / hidden, vectors.iter().map(|value| f64::from(*value)))
}

fn embed_corpora(
    config: &SelectConfig,
    embedder: &mut Embedder,
    example_texts: &HashSet<String>,
    all: usize,
    observer: &mut dyn SelectObserver,
) -> Result<Embedded> {
    let Embedded { mut vectors, mut domains, mut are_examples, mut names, mut bad_rows } = Embedded::default();
    for corpus in &config.corpus {
        let mut met = |document: &Document| -> Result<()> {
            are_examples.push(example_texts.contains(document.text));
            let name = Some(corpus.name.as_str()).filter(|name| !name.is_empty()).or(document.domain);
            let place = name.map(|name| {
                names.iter().position(|known| known == name).unwrap_or_else(|| {
                    names.push(name.to_string());
                    names.len() - 1
                })
            });
            domains.push(place);
            if names.len() > MOST_DOMAINS {
                return Err(Error::Config(format!(
                    "corpus.domain: the column \"{}\" has more than {MOST_DOMAINS} values; a domain column names few",
                    corpus.domain
                )));
            }
            Ok(())
        };
        let mut tell = |documents: usize| {
            observer.embedded(documents, all);
            if observer.interrupted() {
                return Err(Error::Interrupted("stopped; nothing was written".to_string()));
            }
            Ok(())
        };
        bad_rows += embed_corpus(&corpus.source(), &corpus.domain, embedder, &mut vectors, &mut met, &mut tell)?;
    }
    Ok(Embedded { vectors, domains, are_examples, names, bad_rows })
}

/// Appends the embeddings of a corpus; returns the number of bad rows. `met` is told of each document, `tell` how many are embedded by now.
fn embed_corpus(
    corpus: &CorpusConfig,
    domain: &str,
    embedder: &mut Embedder,
    vectors: &mut Vec<f32>,
    met: &mut dyn FnMut(&Document) -> Result<()>,
    tell: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<usize> {
    let mut waiting = vec![];
    let mut flush = |waiting: &mut Vec<String>| {
        embedder.embed(waiting, vectors)?;
        waiting.clear();
        tell(vectors.len() / embedder.model.architecture.hidden_size)
    };
    let (_, bad) = for_each_document(corpus, domain, |document| {
        met(&document)?;
        waiting.push(document.text.to_string());
        if waiting.len() >= WINDOW { flush(&mut waiting) } else { Ok(()) }
    })?;
    flush(&mut waiting)?;
    Ok(bad.total() as usize)
}

/// Each document's likeliest cluster and that cluster's posterior.
fn assign(components: &Components, mixture: &Mixture, vectors: &[f32], hidden: usize) -> Vec<(usize, f64)> {
    let windows = vectors.par_chunks(WINDOW * hidden).map(|vectors| {
        let (_, posteriors) = mixture.posteriors(&components.project(matrix(vectors, hidden)));
        posteriors.column_iter().map(|column| column.argmax()).collect::<Vec<(usize, f64)>>()
    });
    windows.flatten().collect()
}

/// The clusters, the largest first, and the number that each cluster of the mixture has among them.
fn describe(assigned: &[(usize, f64)], embedded: &Embedded) -> (Vec<Cluster>, Vec<usize>) {
    let found = assigned.iter().map(|(cluster, _)| cluster + 1).max().unwrap_or(0);
    let mut clusters: Vec<(usize, Cluster)> = vec![];
    for cluster in 0..found {
        let members = || (0..assigned.len()).filter(|document| assigned[*document].0 == cluster);
        let documents = members().count();
        let domains = count_domains(members(), embedded);
        let known: usize = domains.values().sum();
        // `max_by_key` takes the last of equals; from behind, that is the first name.
        let most = domains.iter().rev().max_by_key(|(_, count)| **count);
        let described = Cluster {
            cluster: 0,
            documents,
            mean_posterior: members().map(|document| assigned[document].1).sum::<f64>() / documents.max(1) as f64,
            domain: most.map(|(name, _)| name.clone()),
            purity: most.map(|(_, count)| *count as f64 / known as f64),
            domains,
        };
        clusters.push((cluster, described));
    }
    clusters.sort_by_key(|(cluster, described)| (std::cmp::Reverse(described.documents), *cluster));
    let mut numbers = vec![0; found];
    for (place, (cluster, described)) in clusters.iter_mut().enumerate() {
        described.cluster = place + 1;
        numbers[*cluster] = place + 1;
    }
    (clusters.into_iter().map(|(_, described)| described).collect(), numbers)
}

fn count_domains(documents: impl Iterator<Item = usize>, embedded: &Embedded) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for domain in documents.filter_map(|document| embedded.domains[document]) {
        *counts.entry(embedded.names[domain].clone()).or_default() += 1;
    }
    counts
}

/// Share of the documents of known domain whose cluster has their domain.
fn purity(clusters: &[Cluster]) -> Option<f64> {
    let known: usize = clusters.iter().flat_map(|cluster| cluster.domains.values()).sum();
    let right: usize = clusters.iter().filter_map(|cluster| cluster.domains.values().max()).sum();
    (known > 0).then(|| right as f64 / known as f64)
}

/// Cosine of each document's embedding to the mean of the examples' embeddings.
fn similarities(vectors: &[f32], examples: &[f32], hidden: usize) -> Vec<f64> {
    let query = matrix(examples, hidden).column_mean();
    let cosine = |vector: &[f32]| {
        let (mut product, mut square) = (0f64, 0f64);
        for (value, wanted) in vector.iter().map(|value| f64::from(*value)).zip(query.iter()) {
            product += value * wanted;
            square += value * value;
        }
        product / (square.sqrt() * query.norm()).max(f64::MIN_POSITIVE)
    };
    vectors.par_chunks_exact(hidden).map(cosine).collect()
}

/// Which documents are taken; of equally similar ones the earlier, and none that is an example, which its owner has.
fn taken(
    take: Option<Take>,
    cluster: usize,
    assigned: &[(usize, f64)],
    similarities: &[f64],
    are_examples: &[bool],
) -> Vec<bool> {
    let documents = assigned.len();
    let others = (0..documents).filter(|document| !are_examples[*document]);
    let (mut order, count): (Vec<usize>, usize) = match take {
        None => (vec![], 0),
        Some(Take::By(TakeBy::Cluster)) => (others.filter(|other| assigned[*other].0 == cluster).collect(), documents),
        Some(Take::Documents(count)) => (others.collect(), count),
        Some(Take::Share(share)) => (others.collect(), (share * documents as f64).ceil() as usize),
    };
    order.sort_by(|a, b| similarities[*b].total_cmp(&similarities[*a]));
    let mut taken = vec![false; documents];
    order.iter().take(count).for_each(|document| taken[*document] = true);
    taken
}

fn open_output(config: &SelectConfig) -> Result<TableWriter> {
    let same = |file: &Path| is_same_file(file, &config.output);
    let examples = config.examples.iter().flat_map(|examples| &examples.files);
    if let Some(file) = config.corpus.iter().flat_map(|corpus| &corpus.files).chain(examples).find(|file| same(file)) {
        return Err(Error::Config(format!("output: {} is read; write to another file", file.display())));
    }
    Format::by_extension(&config.output).map_err(|_| {
        Error::Config(format!("output: {}: end its name in .jsonl, .csv, .tsv or .parquet", config.output.display()))
    })?;
    let columns = ["corpus", "file", "line", "text"].map(str::to_string);
    let added = ["cluster", "posterior", "similarity"].map(NewColumn::number);
    TableWriter::create(&config.output, &columns, &added)
}

/// Reads the corpora once more and writes what is taken, in their order.
fn write(
    config: &SelectConfig,
    mut writer: TableWriter,
    taken: &[bool],
    numbers: &dyn Fn(usize) -> [f64; 3],
) -> Result<()> {
    let mut at = 0;
    for corpus in &config.corpus {
        let source = corpus.source();
        for_each_document(&source, &corpus.domain, |document| {
            if taken.get(at) == Some(&true) {
                let file = source.files[document.file].file_name().map(|name| name.to_string_lossy().to_string());
                let domain = Some(corpus.name.as_str()).filter(|name| !name.is_empty()).or(document.domain);
                let fields = [
                    domain.map(str::to_string),
                    file,
                    Some(document.line.to_string()),
                    Some(document.text.to_string()),
                ];
                writer.write_row(&fields, &numbers(at).map(Value::Number))?;
            }
            at += 1;
            Ok(())
        })?;
    }
    if at != taken.len() {
        return Err(Error::Data("the corpus changed while it was read; run again".to_string()));
    }
    writer.finish()
}
