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

/// Spans of at most `max_terms` terms in both models' inputs of at most `max_length` tokens, and the words' places in the
/// text. A word that begins at or past `max_length - 1` in either model ends the list; one that runs over is cut there.
pub fn spans(
    text: &str,
    student: &Tokenizer,
    teacher: &Tokenizer,
    max_length: usize,
    max_terms: usize,
) -> Result<Vec<(TextSpan, SpanPair)>> {
    let limit = max_length.saturating_sub(1) as u32;
    // Position 0 is [CLS].
    let (mut of_student, mut of_teacher) = (1u32, 1u32);
    let (mut spans, mut start) = (vec![], 0);
    for word in text.split(' ') {
        let (next_student, next_teacher) =
            (of_student + student.token_count(word)? as u32, of_teacher + teacher.token_count(word)? as u32);
        if of_student >= limit || of_teacher >= limit || spans.len() == max_terms {
            break;
        }
        let pair =
            SpanPair { student: (of_student, next_student.min(limit)), teacher: (of_teacher, next_teacher.min(limit)) };
        let empty = pair.student.0 == pair.student.1 || pair.teacher.0 == pair.teacher.1;
        if is_term(word) && !empty {
            spans.push((TextSpan { start, end: start + word.len() }, pair));
        }
        (of_student, of_teacher) = (next_student, next_teacher);
        start += word.len() + 1;
    }
    Ok(spans)
}
