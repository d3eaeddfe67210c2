//! What a model makes of texts that were held out.

use super::HeldOut;
use super::masking::{Hiding, Masked, masked_batch};
use super::texts::Texts;
use crate::random::SplitMix64;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::loss::softmax;
use serde::{Deserialize, Serialize};

/// Keeps the masks' numbers apart from those of order and weights.
pub(super) const MASK_STREAM: u64 = 0x6D61_736B;

/// Texts measured on at most; the measure's own noise is far below what training changes.
const MOST_HELD_OUT: usize = 1000;

/// Tokens that [`pseudo_perplexity`] may send through the encoder: a text goes through it whole for each of its tokens that is hidden.
const MOST_TOKENS: usize = 300_000;

/// Tokens of one batch of it.
const BATCH_TOKENS: usize = 4096;

/// How well held-out texts are told when their tokens are hidden one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PseudoPerplexity {
    /// `exp` of the mean cross-entropy over all tokens but the special ones (Salazar et al., ACL 2020, equations 1 and 4).
    ///
    /// Differs from the paper: of a long text some tokens, drawn at random, stand for all.
    pub value: f64,
    /// Texts measured.
    pub texts: usize,
    /// Tokens that were hidden.
    pub tokens: usize,
}

/// Cross-entropy and accuracy of single tokens behind one random mask, always the same one.
pub(super) fn held_out(model: &Model, texts: &Texts, hiding: &Hiding) -> HeldOut {
    let mut random = SplitMix64::new(MASK_STREAM);
    let mut told = Told::default();
    // Token by token whatever the training hides, so that figures of different recipes compare.
    let single = Hiding { begins_word: &|_| true, weight: None, ..*hiding };
    for chunk in texts.held_out[..texts.held_out.len().min(MOST_HELD_OUT)].chunks(32) {
        let chunk: Vec<&[u32]> = chunk.iter().map(|text| &text[..]).collect();
        let (batch, masked) = masked_batch(&chunk, &single, &mut random);
        told.add(model, &batch, &masked);
    }
    let all = told.tokens.max(1) as f64;
    let loss = told.loss / all;
    HeldOut { loss, perplexity: loss.exp(), accuracy: told.right as f64 / all }
}

/// Of the held-out texts, a thousand at most; `None` when it was interrupted.
pub(super) fn pseudo_perplexity(
    model: &Model,
    texts: &Texts,
    mask: u32,
    interrupted: &dyn Fn() -> bool,
) -> Option<PseudoPerplexity> {
    let texts = &texts.held_out[..texts.held_out.len().min(MOST_HELD_OUT)];
    let most = most_hidden(texts.iter().map(Vec::len));
    let mut random = SplitMix64::new(MASK_STREAM);
    let (mut told, mut sum, mut all) = (Told::default(), 0.0, 0);
    for text in texts {
        let mut places: Vec<usize> = (1..text.len() - 1).collect(); // all but [CLS] and [SEP]
        let inner = places.len();
        random.shuffle(&mut places);
        places.truncate(most);
        let before = (told.loss, told.tokens);
        for places in places.chunks((BATCH_TOKENS / text.len()).max(1)) {
            if interrupted() {
                return None;
            }
            let (batch, masked) = one_by_one(text, places, mask);
            told.add(model, &batch, &masked);
        }
        // Those that were hidden stand for all of their text.
        sum += (told.loss - before.0) / (told.tokens - before.1).max(1) as f64 * inner as f64;
        all += inner;
    }
    Some(PseudoPerplexity { value: (sum / all.max(1) as f64).exp(), texts: texts.len(), tokens: told.tokens })
}

/// How many tokens of each text may be hidden, so that no more than [`MOST_TOKENS`] go through the encoder; one at least.
fn most_hidden(lengths: impl Iterator<Item = usize> + Clone) -> usize {
    let sent =
        |hidden: usize| lengths.clone().map(|length| length * hidden.min(length.saturating_sub(2))).sum::<usize>();
    let longest = lengths.clone().max().unwrap_or(0);
    (2..=longest).take_while(|hidden| sent(*hidden) <= MOST_TOKENS).last().unwrap_or(1)
}

/// A copy of the text for each of `places`, in which that token alone is hidden.
fn one_by_one(text: &[u32], places: &[usize], mask: u32) -> (Batch, Masked) {
    let mut batch = Batch::pack(places.iter().map(|_| text));
    let rows: Vec<usize> = places.iter().enumerate().map(|(copy, place)| copy * text.len() + place).collect();
    rows.iter().for_each(|row| batch.input_ids[*row] = mask);
    (batch, Masked { rows, labels: places.iter().map(|place| text[*place]).collect() })
}

/// What was said of hidden tokens so far.
#[derive(Default)]
struct Told {
    act: Activations,
    head: MlmActivations,
    /// Sum of their cross-entropies, in nats.
    loss: f64,
    /// Tokens whose likeliest word is the true one.
    right: usize,
    tokens: usize,
}

impl Told {
    fn add(&mut self, model: &Model, batch: &Batch, masked: &Masked) {
        let words = model.architecture.vocab_size;
        let wanted = masked.wanted();
        model.forward(batch, &ForwardOptions { wanted: Some(&wanted), ..ForwardOptions::default() }, &mut self.act);
        model.predict_masked(&masked.rows, &self.act, &mut self.head);
        for (row, label) in softmax(&self.head.logits, words).chunks_exact(words).zip(&masked.labels) {
            let likely = (0..words).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            self.right += usize::from(likely == Some(*label as usize));
            self.loss -= row[*label as usize].max(f64::MIN_POSITIVE).ln();
            self.tokens += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_but_the_special_ones_is_hidden_once_and_alone() {
        let text = [2, 11, 12, 13, 3];
        let (batch, masked) = one_by_one(&text, &[1, 2, 3], 4);
        assert_eq!(batch.input_ids, [2, 4, 12, 13, 3, 2, 11, 4, 13, 3, 2, 11, 12, 4, 3]);
        assert_eq!(
            (batch.cu_seqlens, masked.rows, masked.labels),
            (vec![0, 5, 10, 15], vec![1, 7, 13], vec![11, 12, 13])
        );
    }

    #[test]
    fn long_texts_have_as_many_hidden_as_there_is_time_for() {
        let of = |lengths: &[usize]| most_hidden(lengths.iter().copied());
        assert!(of(&[10, 12, 7]) >= 10, "all of them");
        // 1000 texts of 128 tokens: 128,000 for each that is hidden in all of them.
        assert_eq!((of(&[128; 1000]), of(&[512; 1000]), of(&[])), (2, 1, 1));
        // Short texts leave their share to long ones.
        assert!(of(&[[128; 100], [8; 100]].concat()) > of(&[128; 200]));
    }
}
