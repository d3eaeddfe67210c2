//! Notes cut to the length that a model takes.

use super::Encoding;
use crate::config::Truncation;
use std::ops::Range;

/// Cuts an encoding to at most `max_length` tokens; the special tokens at both ends stay. Returns the positions that were
/// cut, as they were before.
pub fn truncate(encoding: &mut Encoding, max_length: usize, truncation: Truncation) -> Range<usize> {
    let length = encoding.ids.len();
    if length <= max_length {
        return length..length;
    }
    let front = encoding.special.iter().take_while(|special| **special).count();
    let back = encoding.special[front..].iter().rev().take_while(|special| **special).count();
    let room = max_length.saturating_sub(front + back);
    let content = front..length - back;
    let (head, tail) = match truncation {
        Truncation::Head => (room, 0),
        Truncation::Tail => (0, room),
        Truncation::Both => (room.div_ceil(2), room / 2),
    };
    let cut = content.start + head..content.end - tail;
    encoding.ids.drain(cut.clone());
    encoding.offsets.drain(cut.clone());
    encoding.special.drain(cut.clone());
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::TextSpan;

    fn cut(max_length: usize, truncation: Truncation) -> (Vec<u32>, usize) {
        let mut encoding = Encoding {
            ids: vec![101, 1, 2, 3, 4, 5, 102],
            offsets: (0..7).map(|at| TextSpan { start: at, end: at + 1 }).collect(),
            special: vec![true, false, false, false, false, false, true],
        };
        let dropped = truncate(&mut encoding, max_length, truncation);
        assert!(encoding.ids.len() == encoding.offsets.len() && encoding.ids.len() == encoding.special.len());
        (encoding.ids, dropped.len())
    }

    #[test]
    fn either_end_or_both_are_kept_with_the_special_tokens() {
        assert_eq!(cut(7, Truncation::Head), (vec![101, 1, 2, 3, 4, 5, 102], 0));
        assert_eq!(cut(5, Truncation::Head), (vec![101, 1, 2, 3, 102], 2));
        assert_eq!(cut(5, Truncation::Tail), (vec![101, 3, 4, 5, 102], 2));
        assert_eq!(cut(5, Truncation::Both), (vec![101, 1, 2, 5, 102], 2));
        assert_eq!(cut(2, Truncation::Both), (vec![101, 102], 5));
        assert_eq!(cut(1, Truncation::Head), (vec![101, 102], 5));
    }
}
