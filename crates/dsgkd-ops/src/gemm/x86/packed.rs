//! Factors packed whole: before a product, by its caller, or for it.

use super::super::{Matrix, Piece, Precision, Weight, has_avx512};
use super::format::Format;
use super::format_of;
use super::kernel::NR;
use super::pack::{Source, pack_left, pack_right, round_rows, row_stride, stays_rows};
use super::part::Factor;
use super::scratch::room;
use crate::parallel::{ROWS_PER_TASK, SharedMut};
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
        unsafe { pack_right_whole(format, Source::of_right(&matrix), matrix.rows, matrix.columns, &mut lanes) };
        PackedMatrix { lanes, format, rows: matrix.rows, columns: matrix.columns }
    }

    pub(in super::super) fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..])
    }

    pub(super) fn words(&self) -> *const f32 {
        self.lanes.as_ptr().cast()
    }
}

/// A left factor packed whole by whoever made it (see [`pack`](super::pack)).
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
        let words = if format.reads_rows() {
            rows * row_stride(all_lanes)
        } else {
            rows.next_multiple_of(format.rows()) * all_lanes * format.planes()
        };
        let pointer = SharedMut(room(&mut lanes, words));
        *left = Some(PackedLeft { lanes, format, pointer, all_lanes });
    }

    pub(in super::super) fn panel_rows(&self) -> usize {
        if self.format.reads_rows() { 1 } else { self.format.rows() }
    }

    pub(super) fn factor(&self) -> Factor {
        let words = self.pointer.pointer().cast_const();
        if self.format.reads_rows() { Factor::Rows(words, row_stride(self.all_lanes)) } else { Factor::Packed(words) }
    }

    /// See `PackedRows::write`.
    ///
    /// # Safety
    /// As there.
    pub(in super::super) unsafe fn write(&self, piece: &Piece) {
        let (format, words) = (self.format, self.pointer.pointer());
        assert!(piece.rows.start.is_multiple_of(self.panel_rows()) && piece.columns.start.is_multiple_of(NR));
        let source = Source { data: piece.data, k_stride: 1, w_stride: piece.stride };
        let (rows, columns, lane) = (piece.rows.len(), piece.columns.len(), piece.columns.start / format.steps());
        // SAFETY, to the end: the processor was asked when the room was made; the piece lies inside, whole lanes and blocks from its first column on.
        if format.reads_rows() {
            let stride = row_stride(self.all_lanes);
            let to = words.wrapping_add(piece.rows.start * stride + lane);
            return unsafe { round_rows(format, source, columns, rows, to, stride) };
        }
        let high = format.rows();
        let of_lane = high * format.planes();
        for row in (0..rows).step_by(high) {
            let panel = (piece.rows.start + row) / high;
            unsafe {
                let to = words.add((panel * self.all_lanes + lane) * of_lane);
                pack_left(format, source.at(0, row), columns, (rows - row).min(high), to);
            }
        }
    }
}

/// Packs a whole left factor into `buffer` for a product, on all cores.
///
/// # Safety
/// As for [`pack_left`].
pub(super) unsafe fn pack_left_whole(
    format: Format,
    source: Source,
    steps: usize,
    rows: usize,
    buffer: &mut Vec<__m512>,
) -> Factor {
    if stays_rows(format, source) {
        let stride = row_stride(format.lanes(steps));
        let target = SharedMut(room(buffer, rows * stride));
        (0..rows.div_ceil(ROWS_PER_TASK)).into_par_iter().for_each(|task| {
            let row = task * ROWS_PER_TASK;
            // SAFETY: every row is rounded by one task; the caller vouches for the source.
            unsafe {
                let to = target.pointer().add(row * stride);
                round_rows(format, source.at(0, row), steps, (rows - row).min(ROWS_PER_TASK), to, stride);
            }
        });
        return Factor::Rows(target.pointer(), stride);
    }
    // SAFETY: the caller's promise.
    Factor::Packed(unsafe { pack_panels(pack_left, format, format.rows(), source, steps, rows, buffer) })
}

/// Packs a whole right factor into `buffer`, on all cores.
///
/// # Safety
/// As for [`pack_right`].
pub(super) unsafe fn pack_right_whole(
    format: Format,
    source: Source,
    steps: usize,
    columns: usize,
    buffer: &mut Vec<__m512>,
) -> Factor {
    // SAFETY: the caller's promise.
    Factor::Packed(unsafe { pack_panels(pack_right, format, NR, source, steps, columns, buffer) })
}

/// All panels, `wide` rows or columns each, over all lanes, and where they lie.
///
/// # Safety
/// As for `pack`.
unsafe fn pack_panels(
    pack: unsafe fn(Format, Source, usize, usize, *mut f32),
    format: Format,
    wide: usize,
    source: Source,
    steps: usize,
    width: usize,
    buffer: &mut Vec<__m512>,
) -> *const f32 {
    let words = format.lanes(steps) * format.planes() * wide;
    let target = SharedMut(room(buffer, width.div_ceil(wide) * words));
    (0..width.div_ceil(wide)).into_par_iter().with_min_len(4).for_each(|panel| {
        // SAFETY: every panel is packed by one task; the caller vouches for the source.
        unsafe {
            let to = target.pointer().add(panel * words);
            pack(format, source.at(0, panel * wide), steps, (width - panel * wide).min(wide), to);
        }
    });
    target.pointer()
}
