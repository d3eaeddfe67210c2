//! Which words belong to the domain: the ranking behind selective masking (Belfathi et al., arXiv 2402.12036, section 3).
//!
//! A word is the tokens that are hidden together ([`whole words`](super::masking::word_beginnings)). With `c` its count, `d` the number of
//! documents it stands in, `C` all words and `N` all documents of the domain, `c'` and `C'` those of the general corpora, and `V` the
//! number of different words of both together:
//!
//! - contrast `r = ln[ (c + 1/2) / (C + V/2) ] - ln[ (c' + 1/2) / (C' + V/2) ]`;
//! - genre `= r * d / N`: far more frequent here than elsewhere, and spread over the documents;
//! - topic `= r * (1 + ln(c / d)) * ln(N / d)`: far more frequent here, and gathered in few documents (TF-IDF);
//! - words of letters that the tokenizer knows, with `r > 0` and `d` of `selective.min_documents` or more, are ranked by either; the first of `n` has the rank score 1, the last
//!   `1/n`; `score = selective.genre * genre rank + (1 - selective.genre) * topic rank`; all other words have score 0.
//!
//! Differs from the paper: it scores genre by MetaDiscourse, TF-IDF by the domain alone, and trains with one or the other; here one contrast
//! with general text stands in both, and both are mixed by rank, so that neither needs a scale. It masks by weight within each text, or the
//! top of each text's ranking; here words are drawn by weight within a batch, and words without any score are still drawn at times, so
//! that the model does not forget them.

use crate::config::SelectiveConfig;
use serde::Serialize;
use std::collections::HashMap;

/// Counts of words, each a run of token ids.
#[derive(Default)]
pub(super) struct WordStatistics {
    words: HashMap<Box<[u32]>, Count>,
    total: u64,
    documents: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    count: u64,
    documents: u64,
    /// The document that was counted last, from 1.
    last: u64,
}

impl WordStatistics {
    /// Counts the words of one more document, token ids without special ones.
    pub(super) fn add(&mut self, document: &[u32], begins_word: impl Fn(u32) -> bool) {
        self.documents += 1;
        for word in document.chunk_by(|_, next| !begins_word(*next)) {
            self.total += 1;
            let count = match self.words.get_mut(word) {
                Some(count) => count,
                None => self.words.entry(word.into()).or_default(),
            };
            count.count += 1;
            count.documents += u64::from(count.last != self.documents);
            count.last = self.documents;
        }
    }
}

/// A word's place in the ranking, as `dsgkd pretrain --preview` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RankedWord {
    /// The word, as the tokenizer spells it.
    pub word: String,
    /// From above 0 to 1.
    pub score: f64,
    /// How often it stands in the domain.
    pub count: u64,
    /// In how many of its documents.
    pub documents: u64,
    /// How often in the general corpora.
    pub general_count: u64,
}

/// The ranked words, the first the most of the domain; see the module.
pub(super) struct Ranking {
    scores: HashMap<Box<[u32]>, f64>,
    order: Vec<(Box<[u32]>, RankedWord)>,
}

impl Ranking {
    /// See the module for the formula. Ties go to the smaller token ids, so that the same text gives the same ranking.
    /// `may_rank` says which words can belong to a domain at all.
    pub(super) fn new(
        domain: &WordStatistics,
        general: &WordStatistics,
        may_rank: impl Fn(&[u32]) -> bool,
        config: &SelectiveConfig,
    ) -> Ranking {
        let different =
            domain.words.len() + general.words.keys().filter(|word| !domain.words.contains_key(*word)).count();
        let half = different as f64 / 2.0;
        let mut ranked: Vec<(&[u32], Count, u64, f64, f64)> = vec![];
        let enough = |count: &Count| count.documents >= config.min_documents as u64;
        for (word, count) in domain.words.iter().filter(|(word, count)| enough(count) && may_rank(word)) {
            let elsewhere = general.words.get(word).map_or(0, |count| count.count);
            let share = |count: u64, total: u64| (count as f64 + 0.5) / (total as f64 + half);
            let contrast = (share(count.count, domain.total) / share(elsewhere, general.total)).ln();
            if contrast <= 0.0 {
                continue;
            }
            let (frequency, spread) = (count.count as f64, count.documents as f64);
            let all = domain.documents as f64;
            let genre = contrast * spread / all;
            let topic = contrast * (1.0 + (frequency / spread).ln()) * (all / spread).ln();
            ranked.push((word, *count, elsewhere, genre, topic));
        }
        let ranks = |value: &dyn Fn(usize) -> f64| {
            let mut order: Vec<usize> = (0..ranked.len()).collect();
            order.sort_by(|a, b| value(*b).total_cmp(&value(*a)).then_with(|| ranked[*a].0.cmp(ranked[*b].0)));
            let mut ranks = vec![0.0; ranked.len()];
            for (place, word) in order.iter().enumerate() {
                ranks[*word] = (ranked.len() - place) as f64 / ranked.len() as f64;
            }
            ranks
        };
        let (genre, topic) = (ranks(&|word| ranked[word].3), ranks(&|word| ranked[word].4));
        let mut order: Vec<(Box<[u32]>, RankedWord)> = vec![];
        for (place, (word, count, general_count, ..)) in ranked.iter().enumerate() {
            let score = config.genre * genre[place] + (1.0 - config.genre) * topic[place];
            let Count { count, documents, .. } = *count;
            let ranked = RankedWord { word: String::new(), score, count, documents, general_count: *general_count };
            order.push(((*word).into(), ranked));
        }
        order.sort_by(|a, b| b.1.score.total_cmp(&a.1.score).then_with(|| a.0.cmp(&b.0)));
        Ranking { scores: order.iter().map(|(word, ranked)| (word.clone(), ranked.score)).collect(), order }
    }

    /// How many times likelier than a word without score this word is hidden, 1 or more.
    pub(super) fn weight(&self, word: &[u32], strength: f64) -> f64 {
        1.0 + (strength - 1.0) * self.scores.get(word).copied().unwrap_or(0.0)
    }

    /// The first words, spelled by `token`.
    pub(super) fn top(&self, count: usize, token: impl Fn(u32) -> String) -> Vec<RankedWord> {
        let spelled = |(ids, ranked): &(Box<[u32]>, RankedWord)| {
            let tokens: String = ids.iter().map(|id| token(*id).trim_start_matches("##").to_string()).collect();
            RankedWord { word: tokens.trim_start_matches(['▁', 'Ġ']).to_string(), ..ranked.clone() }
        };
        self.order.iter().take(count).map(spelled).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Ids of 100 and more begin a word.
    fn count(documents: &[&[u32]]) -> WordStatistics {
        let mut statistics = WordStatistics::default();
        documents.iter().for_each(|document| statistics.add(document, |id| id >= 100));
        statistics
    }

    const THE: u32 = 100;
    const PATIENT: u32 = 101;
    const STROKE: u32 = 102;
    const RARE: u32 = 103;

    /// Ten notes: all of a patient, two of them mostly of strokes (102 with 7, one word), one with a word that is rare.
    fn ranking(genre: f64) -> Ranking {
        let stroke: &[u32] = &[THE, PATIENT, STROKE, 7, STROKE, 7, STROKE, 7];
        // 105 is no word of letters, however much of the domain.
        let other: &[u32] = &[THE, PATIENT, THE, 105];
        let rare: &[u32] = &[THE, PATIENT, RARE];
        let domain = count(&[stroke, stroke, rare, other, other, other, other, other, other, other]);
        let elsewhere: &[u32] = &[THE, 104, THE, 107, THE, 106];
        let general = count(&[elsewhere; 10]);
        Ranking::new(
            &domain,
            &general,
            |word| word != [105],
            &SelectiveConfig { genre, min_documents: 2, ..SelectiveConfig::default() },
        )
    }

    #[test]
    fn words_are_counted_whole_and_once_a_document() {
        let statistics = count(&[&[100, 7, 8, 101, 100, 7, 8], &[7, 100]]);
        let found = |word: &[u32]| statistics.words.get(word).map(|count| (count.count, count.documents));
        assert_eq!(found(&[100, 7, 8]), Some((2, 1)));
        assert_eq!(found(&[101]), Some((1, 1)));
        // A document may begin with what goes on.
        assert_eq!((found(&[7]), found(&[100])), (Some((1, 1)), Some((1, 1))));
        assert_eq!((statistics.total, statistics.documents), (5, 2));
    }

    #[test]
    fn genre_prefers_what_is_spread_and_topic_what_is_gathered() {
        let words = |ranking: &Ranking| ranking.order.iter().map(|(word, _)| word.to_vec()).collect::<Vec<_>>();
        assert_eq!(words(&ranking(1.0)), [vec![PATIENT], vec![STROKE, 7]]);
        assert_eq!(words(&ranking(0.0)), [vec![STROKE, 7], vec![PATIENT]]);
        // Words of everywhere and words of too few documents have no score.
        let ranking = ranking(1.0);
        let weights = [&[PATIENT][..], &[STROKE, 7], &[STROKE], &[THE], &[RARE]].map(|word| ranking.weight(word, 5.0));
        assert_eq!(weights, [5.0, 3.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn the_contrast_is_that_of_the_formula() {
        let top = ranking(1.0).top(9, |id| if id == STROKE { "stro".into() } else { format!("##{id}") });
        assert_eq!(top[1].word, "stro7");
        assert_eq!((top[1].count, top[1].documents, top[1].general_count, top[1].score), (6, 2, 0, 0.5));
        assert_eq!((top[0].count, top[0].documents, top[0].score), (10, 10, 1.0));
    }
}
