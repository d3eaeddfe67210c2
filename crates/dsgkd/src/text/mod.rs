//! Notes as tokens of several models, their terms, and where both models have them.
//!
//! `text -> tokens -> terms and words -> aligned spans`: [`Tokenizer`] reads any Hugging Face tokenizer, [`terms`] finds the
//! domain's words, [`align`] finds their tokens in the student's and the teacher's input through character offsets.

pub mod align;
mod dictionary;
mod reference;
pub mod terms;
mod tokenizer;
pub mod truncate;

pub use align::{AlignedNote, Aligner, DropCounts, SpanPair, TeacherView};
pub use terms::TermSelector;
#[cfg(feature = "hub")]
pub(crate) use tokenizer::FILES as TOKENIZER_FILES;
pub(crate) use tokenizer::set_truncation;
pub use tokenizer::{Encoding, Tokenizer};

/// Half-open range of bytes of a note's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl TextSpan {
    /// The text under the span.
    pub fn of(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or("")
    }
}
