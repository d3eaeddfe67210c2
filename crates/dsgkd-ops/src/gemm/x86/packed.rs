//! Factors packed whole, panel after panel: before a product, by its caller, or for it.

use super::super::{Cores, Matrix, Piece, Precision, Weight, has_avx512};
use super::format::Format;
use super::format_of;
use super::kernel::NR;
use super::pack::{Source, pack_left, pack_right};
use super::scratch::room;
use crate::parallel::SharedMut;
use rayon::prelude::*;
use std::arch::x86_64::__m512;

/// A right factor packed whole, panel after panel (see [`pack`](super::pack)).
#[derive(Clone)]
pub(in super::super) struct PackedMatrix {
    lanes: Vec<__m512>,
    pub(super) format: Format,
    pub(in super::super) rows: usize,
    pub(in super::super) columns: usize,
}

impl PackedMatrix {
    pub(in super::super) fn new(matrix: Matrix, precision: Precision) -> PackedMatrix {
        assert!(has_avx512());
        let format = format_of(precision);
        let mut lanes = vec![];
        // SAFETY: the processor was asked; `Matrix::new` checked the slice.
        unsafe {
            pack_all(
                Side::Right,
                format,
                Source::of_right(&matrix),
                matrix.rows,
                matrix.columns,
                &mut lanes,
                Cores::All,
            )
        };
        PackedMatrix { lanes, format, rows: matrix.rows, columns: matrix.columns }
    }

    pub(in super::super) fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..])
    }

    pub(super) fn words(&self) -> *const f32 {
        self.lanes.as_ptr().cast()
    }
}

/// A left factor packed whole by whoever made it, panel after panel (see [`pack`](super::pack)).
pub(in super::super) struct PackedLeft {
    lanes: Vec<__m512>,
    pub(super) format: Format,
    /// Where the lanes lie: the same as in `lanes`, for tasks that write disjoint parts of them.
    pointer: SharedMut,
    /// Lanes of a row.
    all_lanes: usize,
}

impl PackedLeft {
    /// See `PackedRows::make_room`: a buffer of the format that meets `weight` is used again, or made.
    pub(in super::super) fn make_room(left: &mut Option<PackedLeft>, rows: usize, columns: usize, weight: Weight) {
        let format = match weight {
            _ if !has_avx512() => None,
            Weight::Plain(_, precision) => Some(format_of(precision)),
            Weight::Packed(weight) => weight.matrix().ok().map(|matrix| matrix.format),
        };
        let Some(format) = format.filter(|format| *format != Format::Float32) else {
            *left = None;
            return;
        };
        let mut lanes = left.take().map_or(vec![], |left| left.lanes);
        let all_lanes = format.lanes(columns);
        let words = rows.next_multiple_of(format.rows()) * all_lanes * format.planes();
        let pointer = SharedMut(room(&mut lanes, words));
        *left = Some(PackedLeft { lanes, format, pointer, all_lanes });
    }

    pub(in super::super) fn panel_rows(&self) -> usize {
        self.format.rows()
    }

    pub(super) fn words(&self) -> *mut f32 {
        self.pointer.pointer()
    }

    /// See `PackedRows::write`.
    ///
    /// # Safety
    /// As there.
    pub(in super::super) unsafe fn write(&self, piece: &Piece) {
        let (format, high) = (self.format, self.format.rows());
        let of_lane = high * format.planes();
        let of_panel = of_lane * self.all_lanes;
        assert!(piece.rows.start.is_multiple_of(high) && piece.columns.start.is_multiple_of(NR));
        for row in piece.rows.clone().step_by(high) {
            let data = piece.data.wrapping_add((row - piece.rows.start) * piece.stride);
            let source = Source { data, k_stride: 1, w_stride: piece.stride };
            // SAFETY: the processor was asked when the room was made; the piece lies inside, whole lanes and blocks from its first column on.
            unsafe {
                let to = self.words().add(row / high * of_panel + piece.columns.start / format.steps() * of_lane);
                pack_left(format, source, piece.columns.len(), (piece.rows.end - row).min(high), to);
            }
        }
    }
}

/// Which factor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Packs a whole factor into `buffer`, all panels over all lanes, and says where it lies.
///
/// # Safety
/// As for [`pack_right`].
pub(super) unsafe fn pack_all(
    side: Side,
    format: Format,
    source: Source,
    steps: usize,
    width: usize,
    buffer: &mut Vec<__m512>,
    cores: Cores,
) -> *const f32 {
    let wide = if side == Side::Left { format.rows() } else { NR };
    let words = format.lanes(steps) * format.planes() * wide;
    let target = SharedMut(room(buffer, width.div_ceil(wide) * words));
    let panel = |panel: usize| {
        let pack = if side == Side::Left { pack_left } else { pack_right };
        // SAFETY: every panel is packed by one task; the caller vouches for the source.
        unsafe {
            let to = target.pointer().add(panel * words);
            pack(format, source.at(0, panel * wide), steps, (width - panel * wide).min(wide), to);
        }
    };
    match cores {
        Cores::One => (0..width.div_ceil(wide)).for_each(panel),
        Cores::All => (0..width.div_ceil(wide)).into_par_iter().with_min_len(4).for_each(panel),
    }
    target.pointer()
}
