//! Terms and words found in both models' tokens through character offsets.
//!
//! A span is kept only where the text under its tokens is exactly the term in both models; what is dropped is counted by
//! reason. Positions count from the first special token of the truncated input.

use super::truncate::truncate;
use super::{Encoding, TermSelector, TextSpan, Tokenizer, reference, terms};
use crate::config::{Config, Truncation};
use crate::error::{Error, Result};
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// Positions of one term or word in both models' inputs, half-open; position 0 is the first special token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanPair {
    /// In the student's tokens.
    pub student: (u32, u32),
    /// In the teacher's tokens.
    pub teacher: (u32, u32),
}

impl SpanPair {
    /// In how many tokens the student has it.
    fn student_tokens(&self) -> usize {
        (self.student.1 - self.student.0) as usize
    }
}

/// One note as one teacher sees it, aligned with the student's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TeacherView {
    /// The teacher's token ids, truncated.
    pub input_ids: Vec<u32>,
    /// The terms to distil: those that both models have, without what was dropped.
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
    /// One model has its unknown token for it.
    pub unknown: usize,
    /// One model's tokenizer removes a part of it, such as a lone accent.
    pub no_tokens: usize,
    /// The student has it in fewer tokens than `min_student_tokens`.
    pub few_tokens: usize,
    /// `max_terms` were kept before it.
    pub over_limit: usize,
}

impl DropCounts {
    /// Adds another note's counts.
    pub fn add(&mut self, other: DropCounts) {
        self.part_of_token += other.part_of_token;
        self.truncated += other.truncated;
        self.unknown += other.unknown;
        self.no_tokens += other.no_tokens;
        self.few_tokens += other.few_tokens;
        self.over_limit += other.over_limit;
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.part_of_token + self.truncated + self.unknown + self.no_tokens + self.few_tokens + self.over_limit
    }
}

impl fmt::Display for DropCounts {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(
            f,
            "{} part of a token, {} truncated, {} unknown, {} removed by a tokenizer, {} in too few student tokens, {} over max_terms",
            self.part_of_token, self.truncated, self.unknown, self.no_tokens, self.few_tokens, self.over_limit
        )
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
    /// Of the tokenizers of an experiment, student first, and the tokens that each model can take; `None`: any number.
    ///
    /// # Errors
    /// The published rule is asked for something that it does not know, or the rule's file or pattern cannot be read.
    pub fn new(config: &Config, tokenizers: &[&'a Tokenizer], longest: Option<&[usize]>) -> Result<Aligner<'a>> {
        let text = &config.text;
        let selector = TermSelector::new(text, config.data.normalization)?;
        if selector.is_reference() {
            // The published rule counts tokens from the beginning, and teaches every term.
            let needs = [
                ("text.truncation", "\"head\"", text.truncation == Truncation::Head),
                ("text.min_student_tokens", "1", selector.min_student_tokens() == 1),
            ];
            if let Some((key, value, _)) = needs.into_iter().find(|(_, _, holds)| !holds) {
                return Err(Error::Config(format!("{key}: `terms = \"reference\"` needs {value}")));
            }
        }
        let [student, teachers @ ..] = tokenizers else {
            return Err(Error::Config("student.model: notes are aligned with a student's tokens".to_string()));
        };
        let max_lengths = match longest {
            Some(longest) => longest.iter().map(|longest| text.max_length.min(*longest)).collect(),
            None => vec![text.max_length; tokenizers.len()],
        };
        Ok(Aligner { student, teachers: teachers.to_vec(), selector, max_lengths, truncation: text.truncation })
    }

    /// The student's truncated tokens of a note, and how many were cut: all that prediction needs.
    pub fn encode(&self, text: &str) -> Result<(Encoding, usize)> {
        let mut encoding = self.student.encode(text)?;
        let cut = truncate(&mut encoding, self.max_lengths[0], self.truncation);
        Ok((encoding, cut.len()))
    }

    /// A note in all models.
    ///
    /// # Errors
    /// A tokenizer refuses the text; the text is not quoted.
    pub fn align(&self, text: &str) -> Result<AlignedNote> {
        let student = Side::new(text, self.student, self.max_lengths[0], self.truncation)?;
        let (found, words) = (self.selector.terms(text), terms::words(text));
        let mut views = vec![];
        for (tokenizer, max_length) in self.teachers.iter().zip(&self.max_lengths[1..]) {
            let teacher = Side::new(text, tokenizer, *max_length, self.truncation)?;
            let mut view = if self.selector.is_reference() {
                self.reference_view(text, &student, &teacher, found.len())?
            } else {
                pair_terms(&found, &student, &teacher, &self.selector)
            };
            view.words = words.iter().filter_map(|word| pair(*word, &student, &teacher, false).ok()).collect();
            view.input_ids = teacher.input_ids;
            views.push(view);
        }
        let truncated = student.cut.len();
        Ok(AlignedNote { input_ids: student.input_ids, truncated, terms: found.len(), views })
    }

    fn reference_view(&self, text: &str, student: &Side, teacher: &Side, found: usize) -> Result<TeacherView> {
        let spans = reference::spans(
            text,
            (student.tokenizer, student.input_ids.len()),
            (teacher.tokenizer, teacher.input_ids.len()),
            self.selector.max_terms(),
        )?;
        // The published rule ends its list at the limit of terms or of tokens, whichever comes first.
        let lost = found.saturating_sub(spans.len());
        let dropped = if spans.len() == self.selector.max_terms() {
            DropCounts { over_limit: lost, ..DropCounts::default() }
        } else {
            DropCounts { truncated: lost, ..DropCounts::default() }
        };
        Ok(TeacherView { terms: spans, dropped, ..TeacherView::default() })
    }
}

/// A note in one model: all its tokens, and which of them truncation cut.
struct Side<'a> {
    tokenizer: &'a Tokenizer,
    whole: Searchable,
    cut: Range<usize>,
    /// The truncated ids.
    input_ids: Vec<u32>,
}

impl<'a> Side<'a> {
    fn new(text: &str, tokenizer: &'a Tokenizer, max_length: usize, truncation: Truncation) -> Result<Side<'a>> {
        let whole = tokenizer.encode(text)?;
        let mut truncated = whole.clone();
        let cut = truncate(&mut truncated, max_length, truncation);
        Ok(Side { tokenizer, whole: Searchable::new(whole), cut, input_ids: truncated.ids })
    }

    /// The positions of a span in the truncated input. Searched in the whole note, so that a character that truncation cut
    /// in the middle does not pass for whole.
    fn locate(&self, span: TextSpan, refuse_unknown: bool) -> Result<(u32, u32), Drop> {
        let unknown = self.tokenizer.unknown().filter(|_| refuse_unknown);
        let (start, end) = self.whole.token_span(span, unknown)?;
        match (start as usize, end as usize) {
            (_, end_at) if end_at <= self.cut.start => Ok((start, end)),
            (start_at, _) if start_at >= self.cut.end => {
                let shift = self.cut.len() as u32;
                Ok((start - shift, end - shift))
            }
            _ => Err(Drop::Truncated),
        }
    }
}

/// Why a span has no tokens of its own in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drop {
    /// A token holds more than the span.
    PartOfToken,
    /// Truncation cut off some or all of it.
    Truncated,
    /// The tokenizer removes some or all of it.
    NoTokens,
    /// The unknown token stands for it.
    Unknown,
}

/// A note's tokens, and where in the text those before and after each of them end and begin: so that the tokens of a span are found without
/// going over the whole note. Tokens are in the text's order but for special ones and what a tokenizer moves.
struct Searchable {
    encoding: Encoding,
    /// `[tokens]`, rising: where the tokens up to here end at most.
    ends: Vec<usize>,
    /// `[tokens]`, rising: where the tokens from here begin at least.
    starts: Vec<usize>,
}

impl Searchable {
    fn new(encoding: Encoding) -> Searchable {
        let mut ends: Vec<usize> = encoding.offsets.iter().map(|offset| offset.end).collect();
        for index in 1..ends.len() {
            ends[index] = ends[index].max(ends[index - 1]);
        }
        // A special token lies at 0..0, in no span.
        let start = |offset: &TextSpan| if offset.end == 0 { usize::MAX } else { offset.start };
        let mut starts: Vec<usize> = encoding.offsets.iter().map(start).collect();
        for index in (1..starts.len()).rev() {
            starts[index - 1] = starts[index - 1].min(starts[index]);
        }
        Searchable { encoding, ends, starts }
    }

    /// The positions whose text is exactly `span`.
    ///
    /// Several tokens may share one character (the jamo of a Hangul syllable); a token without text (a lone `▁`) is passed over.
    fn token_span(&self, span: TextSpan, unknown: Option<u32>) -> Result<(u32, u32), Drop> {
        let touches = |offset: &TextSpan| offset.start < span.end && offset.end > span.start;
        // Whatever touches the span lies from `from` on and before `to`.
        let from = self.ends.partition_point(|end| *end <= span.start);
        let to = self.starts.partition_point(|start| *start < span.end).max(from);
        let offsets = &self.encoding.offsets[from..to];
        let first = offsets.iter().position(touches).ok_or(Drop::NoTokens)?;
        let last = offsets.iter().rposition(touches).ok_or(Drop::NoTokens)?;
        let under = &offsets[first..=last];
        let start = under.iter().filter(|offset| touches(offset)).map(|offset| offset.start).min();
        let end = under.iter().filter(|offset| touches(offset)).map(|offset| offset.end).max();
        // Tokens in between that lie elsewhere in the text would put foreign words into the mean.
        let whole = under.iter().all(|offset| touches(offset) || offset.start == offset.end);
        match (start, end) {
            (Some(start), Some(end)) if start == span.start && end == span.end && whole => {}
            (Some(start), Some(end)) if start >= span.start && end <= span.end => return Err(Drop::NoTokens),
            _ => return Err(Drop::PartOfToken),
        }
        let (first, last) = (from + first, from + last);
        if unknown.is_some_and(|unknown| self.encoding.ids[first..=last].contains(&unknown)) {
            return Err(Drop::Unknown);
        }
        Ok((first as u32, last as u32 + 1))
    }
}

fn pair(span: TextSpan, student: &Side, teacher: &Side, refuse_unknown: bool) -> Result<SpanPair, Drop> {
    Ok(SpanPair { student: student.locate(span, refuse_unknown)?, teacher: teacher.locate(span, refuse_unknown)? })
}

fn pair_terms(found: &[TextSpan], student: &Side, teacher: &Side, selector: &TermSelector) -> TeacherView {
    let mut view = TeacherView::default();
    for term in found {
        if view.terms.len() == selector.max_terms() {
            view.dropped.over_limit += 1;
            continue;
        }
        match pair(*term, student, teacher, true) {
            Ok(pair) if pair.student_tokens() < selector.min_student_tokens() => view.dropped.few_tokens += 1,
            Ok(pair) => view.terms.push(pair),
            Err(Drop::PartOfToken) => view.dropped.part_of_token += 1,
            Err(Drop::Truncated) => view.dropped.truncated += 1,
            Err(Drop::Unknown) => view.dropped.unknown += 1,
            Err(Drop::NoTokens) => view.dropped.no_tokens += 1,
        }
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        let tokens = Searchable::new(tokens);
        let at = |start, end| tokens.token_span(TextSpan { start, end }, None);
        assert_eq!(at(0, 5), Ok((1, 3)));
        assert_eq!(at(0, 3), Err(Drop::PartOfToken));
        assert_eq!(at(5, 8), Ok((3, 4)));
        assert_eq!(at(5, 9), Err(Drop::NoTokens));
        assert_eq!(at(8, 12), Err(Drop::NoTokens));
        assert_eq!(tokens.token_span(TextSpan { start: 0, end: 5 }, Some(2)), Err(Drop::Unknown));
    }

    #[test]
    fn jamo_that_share_a_syllable_are_one_span() {
        let tokens = Searchable::new(encoding(&[(0, 0), (0, 3), (0, 3), (0, 3), (3, 6), (0, 0)]));
        assert_eq!(tokens.token_span(TextSpan { start: 0, end: 3 }, None), Ok((1, 4)));
        assert_eq!(tokens.token_span(TextSpan { start: 0, end: 6 }, None), Ok((1, 5)));
    }

    proptest! {
        /// The windows lose nothing, whatever order the tokens lie in.
        #[test]
        fn a_span_is_found_as_if_all_tokens_were_looked_at(
            offsets in prop::collection::vec((0usize..20, 0usize..4), 0..12), start in 0usize..20, length in 1usize..6
        ) {
            let offsets: Vec<(usize, usize)> = offsets.into_iter().map(|(start, length)| (start, start + length)).collect();
            let tokens = Searchable::new(encoding(&offsets));
            let everywhere = Searchable {
                ends: vec![usize::MAX; offsets.len()],
                starts: vec![0; offsets.len()],
                encoding: encoding(&offsets),
            };
            let span = TextSpan { start, end: start + length };
            prop_assert_eq!(tokens.token_span(span, None), everywhere.token_span(span, None));
        }
    }
}
