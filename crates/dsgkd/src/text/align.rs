//! Terms and words found in both models' tokens through character offsets.
//!
//! A span is kept only where the text under its tokens is exactly the term in both models; what is dropped is counted by
//! reason. Positions count from the first special token of the truncated input.

use super::truncate::truncate;
use super::{Encoding, TermSelector, TextSpan, Tokenizer, reference, terms};
use crate::config::{TextConfig, Truncation};
use crate::error::Result;
use serde::Serialize;

/// Positions of one term or word in both models' inputs, half-open; position 0 is the first special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPair {
    /// In the student's tokens.
    pub student: (u32, u32),
    /// In the teacher's tokens.
    pub teacher: (u32, u32),
}

/// One note as one teacher sees it, aligned with the student's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeacherView {
    /// The teacher's token ids, truncated.
    pub input_ids: Vec<u32>,
    /// The terms that both models have.
    pub terms: Vec<SpanPair>,
    /// All words that both models have: the columns of aligned attention rows.
    pub words: Vec<SpanPair>,
    /// Terms that were dropped, by reason.
    pub dropped: DropCounts,
}

/// Why terms were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DropCounts {
    /// A token of one model holds more than the term.
    pub part_of_token: usize,
    /// The term lies in what truncation cut off.
    pub truncated: usize,
    /// One model has only its unknown token for it.
    pub unknown: usize,
}

impl DropCounts {
    /// Adds another note's counts.
    pub fn add(&mut self, other: DropCounts) {
        self.part_of_token += other.part_of_token;
        self.truncated += other.truncated;
        self.unknown += other.unknown;
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.part_of_token + self.truncated + self.unknown
    }
}

/// A note in the student's tokens and as each teacher sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlignedNote {
    /// The student's token ids, truncated.
    pub input_ids: Vec<u32>,
    /// Student tokens that truncation cut off.
    pub truncated: usize,
    /// Terms that the rule found.
    pub terms: usize,
    /// One view a teacher.
    pub views: Vec<TeacherView>,
}

/// Student, teachers and the rules, ready for notes.
pub struct Aligner<'a> {
    /// The student's tokenizer.
    pub student: &'a Tokenizer,
    /// The teachers' tokenizers.
    pub teachers: Vec<&'a Tokenizer>,
    /// The term rule.
    pub selector: TermSelector,
    /// Tokens of the student's and each teacher's input at most: `text.max_length`, or what the model can take if that is
    /// less.
    pub max_lengths: Vec<usize>,
    /// Which end of a long note is kept.
    pub truncation: Truncation,
}

impl<'a> Aligner<'a> {
    /// `longest` is what each model can take, student first.
    pub fn new(
        config: &TextConfig,
        student: &'a Tokenizer,
        teachers: Vec<&'a Tokenizer>,
        longest: &[usize],
    ) -> Result<Aligner<'a>> {
        let max_lengths = longest.iter().map(|longest| config.max_length.min(*longest)).collect();
        let selector = TermSelector::new(config)?;
        Ok(Aligner { student, teachers, selector, max_lengths, truncation: config.truncation })
    }

    /// The student's truncated tokens of a note, and how many were cut: all that prediction needs.
    pub fn encode(&self, text: &str) -> Result<(Encoding, usize)> {
        let mut encoding = self.student.encode(text)?;
        let cut = truncate(&mut encoding, self.max_lengths[0], self.truncation);
        Ok((encoding, cut))
    }

    /// A note in all models.
    ///
    /// # Errors
    /// A tokenizer refuses the text; the text is not quoted.
    pub fn align(&self, text: &str) -> Result<AlignedNote> {
        let (student, truncated) = self.encode(text)?;
        let (found, words) = (self.selector.terms(text), terms::words(text));
        let mut views = vec![];
        for (teacher, max_length) in self.teachers.iter().zip(&self.max_lengths[1..]) {
            let mut encoding = teacher.encode(text)?;
            truncate(&mut encoding, *max_length, self.truncation);
            let mut view = if self.selector.is_reference() {
                self.reference_view(text, teacher, *max_length, found.len())?
            } else {
                pair_terms(&found, (&student, self.student.unknown()), (&encoding, teacher.unknown()))
            };
            let pair = |word: &TextSpan| pair(*word, (&student, None), (&encoding, None)).ok();
            view.words = words.iter().filter_map(pair).collect();
            view.input_ids = encoding.ids;
            views.push(view);
        }
        Ok(AlignedNote { input_ids: student.ids, truncated, terms: found.len(), views })
    }

    fn reference_view(&self, text: &str, teacher: &Tokenizer, max_length: usize, found: usize) -> Result<TeacherView> {
        let max_length = max_length.min(self.max_lengths[0]);
        let spans = reference::spans(text, self.student, teacher, max_length, self.selector.max_terms())?;
        let dropped = DropCounts { truncated: found.saturating_sub(spans.len()), ..DropCounts::default() };
        Ok(TeacherView { terms: spans.into_iter().map(|(_, pair)| pair).collect(), dropped, ..TeacherView::default() })
    }
}

/// Why a span has no tokens of its own in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// A token holds more than the span.
    PartOfToken,
    /// No token lies under it: truncation cut it off.
    Truncated,
    /// The unknown token stands for it.
    Unknown,
}

/// The positions whose text is exactly `span`.
///
/// Several tokens may share one character (the jamo of a Hangul syllable); a token without text (a lone `▁`) is passed over.
pub fn token_span(encoding: &Encoding, span: TextSpan, unknown: Option<u32>) -> Result<(u32, u32), Drop> {
    let touches = |offset: &TextSpan| offset.start < span.end && offset.end > span.start;
    let first = encoding.offsets.iter().position(touches).ok_or(Drop::Truncated)?;
    let last = encoding.offsets.iter().rposition(touches).ok_or(Drop::Truncated)?;
    let under = first..=last;
    let start =
        encoding.offsets[under.clone()].iter().filter(|offset| touches(offset)).map(|offset| offset.start).min();
    let end = encoding.offsets[under.clone()].iter().filter(|offset| touches(offset)).map(|offset| offset.end).max();
    // Tokens in between that lie elsewhere in the text would put foreign words into the mean.
    let whole = encoding.offsets[under.clone()].iter().all(|offset| touches(offset) || offset.start == offset.end);
    match (start, end) {
        (Some(start), Some(end)) if start == span.start && end == span.end && whole => {}
        (Some(start), Some(end)) if start >= span.start && end <= span.end => return Err(Drop::Truncated),
        _ => return Err(Drop::PartOfToken),
    }
    if unknown.is_some_and(|unknown| encoding.ids[under].contains(&unknown)) {
        return Err(Drop::Unknown);
    }
    Ok((first as u32, last as u32 + 1))
}

/// One model's tokens and its unknown id, where that matters.
type Side<'e> = (&'e Encoding, Option<u32>);

fn pair(span: TextSpan, student: Side, teacher: Side) -> Result<SpanPair, Drop> {
    Ok(SpanPair { student: token_span(student.0, span, student.1)?, teacher: token_span(teacher.0, span, teacher.1)? })
}

fn pair_terms(found: &[TextSpan], student: Side, teacher: Side) -> TeacherView {
    let mut view = TeacherView::default();
    for term in found {
        match pair(*term, student, teacher) {
            Ok(pair) => view.terms.push(pair),
            Err(Drop::PartOfToken) => view.dropped.part_of_token += 1,
            Err(Drop::Truncated) => view.dropped.truncated += 1,
            Err(Drop::Unknown) => view.dropped.unknown += 1,
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(offsets: &[(usize, usize)]) -> Encoding {
        Encoding {
            ids: (0..offsets.len() as u32).collect(),
            offsets: offsets.iter().map(|(start, end)| TextSpan { start: *start, end: *end }).collect(),
            special: vec![false; offsets.len()],
        }
    }

    #[test]
    fn spans_are_exact_or_dropped_for_a_reason() {
        // [CLS] fe ver 가 [SEP]
        let tokens = encoding(&[(0, 0), (0, 2), (2, 5), (5, 8), (0, 0)]);
        let at = |start, end| token_span(&tokens, TextSpan { start, end }, None);
        assert_eq!(at(0, 5), Ok((1, 3)));
        assert_eq!(at(0, 3), Err(Drop::PartOfToken));
        assert_eq!(at(5, 8), Ok((3, 4)));
        assert_eq!(at(5, 9), Err(Drop::Truncated));
        assert_eq!(at(8, 12), Err(Drop::Truncated));
        assert_eq!(token_span(&tokens, TextSpan { start: 0, end: 5 }, Some(2)), Err(Drop::Unknown));
    }

    #[test]
    fn jamo_that_share_a_syllable_are_one_span() {
        let tokens = encoding(&[(0, 0), (0, 3), (0, 3), (0, 3), (3, 6), (0, 0)]);
        assert_eq!(token_span(&tokens, TextSpan { start: 0, end: 3 }, None), Ok((1, 4)));
        assert_eq!(token_span(&tokens, TextSpan { start: 0, end: 6 }, None), Ok((1, 5)));
    }
}
