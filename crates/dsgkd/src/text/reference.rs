//! Terms and spans exactly as the original implementation of DSG-KD has them (step 1).
//!
//! Words lie between single spaces; a word of ASCII letters is a term. Each word is tokenized alone in either model, and its
//! span follows from counting: the original takes it that the tokens of the words are those of the text.

use super::{SpanPair, TextSpan, Tokenizer};
use crate::error::Result;

/// The words that are terms, whatever the models make of them.
pub(super) fn terms(text: &str) -> Vec<TextSpan> {
    let mut start = 0;
    let mut terms = vec![];
    for word in text.split(' ') {
        if is_term(word) {
            terms.push(TextSpan { start, end: start + word.len() });
        }
        start += word.len() + 1;
    }
    terms
}

fn is_term(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Spans of at most `max_terms` terms in both models' inputs, each given by its tokenizer and the length of the truncated
/// input. A word that begins at or past the last position (`[SEP]`'s) in either model ends the list; one that runs over is
/// cut there.
pub(super) fn spans(
    text: &str,
    student: (&Tokenizer, usize),
    teacher: (&Tokenizer, usize),
    max_terms: usize,
) -> Result<Vec<SpanPair>> {
    // The original's limit is `max_length - 1`; where a note is shorter, tokens counted word by word may still run past its
    // end when words alone are tokenized otherwise than in the text.
    let limits = [student, teacher].map(|(_, length)| length.saturating_sub(1) as u32);
    // Position 0 is [CLS].
    let mut at = [1u32; 2];
    let mut spans = vec![];
    for word in text.split(' ') {
        let next = [at[0] + student.0.token_count(word)? as u32, at[1] + teacher.0.token_count(word)? as u32];
        if at[0] >= limits[0] || at[1] >= limits[1] || spans.len() == max_terms {
            break;
        }
        let span = |model: usize| (at[model], next[model].min(limits[model]));
        let pair = SpanPair { student: span(0), teacher: span(1) };
        let is_empty = pair.student.0 == pair.student.1 || pair.teacher.0 == pair.teacher.1;
        if is_term(word) && !is_empty {
            spans.push(pair);
        }
        at = next;
    }
    Ok(spans)
}
