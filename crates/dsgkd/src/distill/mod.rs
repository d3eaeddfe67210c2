//! Distillation of frozen domain teachers into the student at the aligned terms (DSG-KD, arXiv 2409.14904, steps 2, 3).
//!
//! [`maps`] pairs the models' layers and heads, [`rows`] brings attention rows of two tokenizers into one space,
//! [`teacher`] computes what a frozen teacher says of a note, [`cache`] keeps it (in memory or in a [`feature_file`]), and [`losses`]
//! compares.

pub mod cache;
pub mod feature_file;
pub mod losses;
pub mod maps;
#[cfg(feature = "portable")]
pub mod portable;
pub mod rows;
pub mod teacher;

use crate::random::SplitMix64;
pub use crate::text::{SpanPair, TeacherView};
use dsgkd_ops::spans::Span;

/// What is taught in place of the terms, to see what the alignment is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// `distill.shuffle_terms`: each meets what the teacher said of another word of its note, drawn from this seed.
    ShuffledTerms(u64),
    /// `distill.whole_notes`: each note is one term, so that no word is aligned with another.
    WholeNotes,
}

impl Control {
    /// Changes a view of a note that has `student_tokens` in the student; `stream` is the note's own.
    pub fn apply(self, view: &mut TeacherView, student_tokens: usize, stream: u64) {
        match self {
            Control::ShuffledTerms(seed) => shuffle_terms(view, &mut SplitMix64::at(seed, stream)),
            Control::WholeNotes => take_whole_note(view, student_tokens),
        }
    }
}

/// The control `distill.whole_notes`: the note is one term, all of its tokens in either model, so that no word is aligned with another. A note
/// without a term stays without.
fn take_whole_note(view: &mut TeacherView, student_tokens: usize) {
    view.terms.truncate(1);
    for term in &mut view.terms {
        *term = SpanPair { student: (0, student_tokens as u32), teacher: (0, view.input_ids.len() as u32) };
    }
}

/// The control `distill.shuffle_terms`: each term's place in the teacher becomes that of another word of the note, drawn at random. A
/// term of a note without another word is dropped.
fn shuffle_terms(view: &mut TeacherView, random: &mut SplitMix64) {
    let words = &view.words;
    view.terms.retain_mut(|term| {
        let apart = |word: &&SpanPair| word.teacher.1 <= term.teacher.0 || term.teacher.1 <= word.teacher.0;
        let others: Vec<&SpanPair> = words.iter().filter(apart).collect();
        if let Some(other) = others.get(random.below(others.len() as u64) as usize) {
            term.teacher = other.teacher;
        }
        !others.is_empty()
    });
}

/// A note made ready for training.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// The student's token ids, truncated.
    pub input_ids: Vec<u32>,
    /// The class, or `None` for a note that only distils.
    pub label: Option<u32>,
    /// One view a teacher.
    pub views: Vec<TeacherView>,
}

/// The student's spans of a batch in the order of its notes, and which of them each teacher compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchSpans {
    /// For the student's forward pass.
    pub spans: Vec<Span>,
    /// Teacher by teacher, note by note: where the note's terms stand in `spans`.
    pub of_teacher: Vec<Vec<std::ops::Range<usize>>>,
}

impl BatchSpans {
    /// Lists the terms of all views of all notes.
    pub fn new(examples: &[&Example], teachers: usize) -> BatchSpans {
        let mut batch = BatchSpans { spans: vec![], of_teacher: vec![vec![]; teachers] };
        for (note, example) in examples.iter().enumerate() {
            for (teacher, ranges) in batch.of_teacher.iter_mut().enumerate() {
                let first = batch.spans.len();
                let terms = example.views.get(teacher).map_or(&[][..], |view| &view.terms);
                batch.spans.extend(terms.iter().map(|term| Span {
                    note: note as u32,
                    start: term.student.0,
                    end: term.student.1,
                }));
                ranges.push(first..batch.spans.len());
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_note_is_one_term_of_all_tokens() {
        let pair = |at: u32| SpanPair { student: (at, at + 1), teacher: (at + 2, at + 3) };
        let words = vec![pair(1), pair(3)];
        let mut view = TeacherView { input_ids: vec![0; 9], terms: words.clone(), words, ..TeacherView::default() };
        Control::WholeNotes.apply(&mut view, 6, 0);
        assert_eq!(view.terms, [SpanPair { student: (0, 6), teacher: (0, 9) }]);
        view.terms.clear();
        Control::WholeNotes.apply(&mut view, 6, 0);
        assert!(view.terms.is_empty(), "who hears nothing of its terms hears nothing here");
    }

    #[test]
    fn a_shuffled_term_meets_another_word_or_none() {
        let pair = |at: u32| SpanPair { student: (at, at + 1), teacher: (at + 10, at + 11) };
        let words: Vec<SpanPair> = (1..6).map(pair).collect();
        let view = TeacherView { terms: vec![pair(2), pair(4)], words, ..TeacherView::default() };
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut shuffled = view.clone();
            shuffle_terms(&mut shuffled, &mut SplitMix64::new(seed));
            for (term, before) in shuffled.terms.iter().zip(&view.terms) {
                assert_eq!(term.student, before.student);
                assert_ne!(term.teacher, before.teacher);
                seen.insert((before.student, term.teacher));
            }
        }
        assert_eq!(seen.len(), 8, "each of the two terms meets all four other words");
        let mut alone = TeacherView { terms: vec![pair(1)], words: vec![pair(1)], ..TeacherView::default() };
        shuffle_terms(&mut alone, &mut SplitMix64::new(0));
        assert!(alone.terms.is_empty());
    }
}
