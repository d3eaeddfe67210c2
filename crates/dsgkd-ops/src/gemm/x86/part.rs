//! A part of a product, on one thread: blocks of K, groups of panels, tiles.

use super::super::{Finish, Piece};
use super::format::Format;
use super::kernel::{self, Ahead, NR, Right, Store};
use super::pack::{Source, pack_left, pack_right, round_rows, row_stride, stays_rows};
use super::scratch::{room, with_scratch};
use crate::parallel::SharedMut;
use std::arch::x86_64::__m512;
use std::ops::Range;

/// Where the tiles find a factor.
#[derive(Clone, Copy)]
pub(super) enum Factor {
    /// Packed whole: panel after panel over all lanes.
    Packed(*const f32),
    /// Not packed yet: each task packs the part it needs.
    Matrix(Source),
    /// Left factors whose lanes are read where they are, row by row: from row to row.
    Rows(*const f32, usize),
}

// SAFETY: factors are only read while a product runs, and outlive it.
unsafe impl Send for Factor {}
// SAFETY: as above.
unsafe impl Sync for Factor {}

/// One product, ready to be computed part by part.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) format: Format,
    pub(super) steps: usize,
    pub(super) left: Factor,
    pub(super) right: Factor,
    /// Where the result is kept, and from row to row; none: `finish` is all it is for.
    pub(super) out: Option<(SharedMut, usize)>,
    pub(super) scale: f32,
    pub(super) accumulate: bool,
    pub(super) finish: Option<Finish<'a>>,
}

impl Plan<'_> {
    /// The part of the result in `rows` and `columns`, on this thread. Both begin at a tile.
    ///
    /// # Safety
    /// Nobody else writes this part meanwhile.
    pub(super) unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        // SAFETY: the processor has what the format needs.
        let _tiles = unsafe { self.format.hold_tiles() };
        let all_lanes = self.format.lanes(self.steps);
        // Blocks of K of equal size, and whole ones.
        let block = all_lanes.div_ceil(all_lanes.div_ceil(self.format.blocking().0).max(1)).max(1);
        let block = self.format.lanes(block * self.format.steps());
        with_scratch(3, |sums| {
            let sums = self.sums(block >= all_lanes, &rows, &columns, sums);
            for first in (0..all_lanes.max(1)).step_by(block) {
                let lanes = first..(first + block).min(all_lanes);
                with_scratch(1, |left| {
                    with_scratch(2, |right| unsafe { self.block(&lanes, &rows, &columns, sums, left, right) });
                });
            }
        });
    }

    /// Where a part's sums stand until `finish` has seen them.
    fn sums(&self, one_block: bool, rows: &Range<usize>, columns: &Range<usize>, scratch: &mut Vec<__m512>) -> Sums {
        match self.out {
            Some((data, stride)) => Sums { data, stride, at: Some((0, 0)) },
            None if one_block => {
                let stride = (self.format.blocking().1 * NR).min(columns.len().next_multiple_of(NR));
                Sums { data: SharedMut(room(scratch, self.format.rows() * stride)), stride, at: None }
            }
            None => {
                let stride = columns.len().next_multiple_of(NR);
                let data = SharedMut(room(scratch, rows.len() * stride));
                Sums { data, stride, at: Some((rows.start, columns.start)) }
            }
        }
    }

    /// One block of K of a part.
    ///
    /// # Safety
    /// As for [`Plan::part`].
    unsafe fn block(
        &self,
        lanes: &Range<usize>,
        rows: &Range<usize>,
        columns: &Range<usize>,
        sums: Sums,
        left_buffer: &mut Vec<__m512>,
        right_buffer: &mut Vec<__m512>,
    ) {
        let (format, k) = (self.format, lanes.start * self.format.steps());
        let (all_lanes, high, panels) = (format.lanes(self.steps), format.rows(), format.blocking().1);
        // Words of a lane in a panel of each factor.
        let (left_words, right_words) = (high * format.planes(), NR * format.planes());
        let steps = (lanes.end * format.steps()).min(self.steps) - k;
        // SAFETY: panels lie inside the factors and the buffers; tiles inside the part.
        unsafe {
            let left = match self.left {
                Factor::Rows(data, stride) => Lefts::Rows(data.wrapping_add(rows.start * stride + lanes.start), stride),
                Factor::Packed(data) => {
                    let data = data.add(rows.start * all_lanes * format.planes() + lanes.start * left_words);
                    Lefts::Panels(data, left_words * all_lanes)
                }
                Factor::Matrix(source) if stays_rows(format, source) => {
                    let stride = row_stride(lanes.len());
                    let data = room(left_buffer, rows.len() * stride);
                    round_rows(format, source.at(k, rows.start), steps, rows.len(), data, stride);
                    Lefts::Rows(data, stride)
                }
                Factor::Matrix(source) => {
                    let panels = rows.len().div_ceil(high);
                    let data = room(left_buffer, panels * lanes.len() * left_words);
                    for panel in 0..panels {
                        let from = source.at(k, rows.start + panel * high);
                        let to = data.add(panel * lanes.len() * left_words);
                        pack_left(format, from, steps, (rows.len() - panel * high).min(high), to);
                    }
                    Lefts::Panels(data, left_words * lanes.len())
                }
            };
            for first in (columns.start..columns.end).step_by(panels * NR) {
                let group = first..(first + panels * NR).min(columns.end);
                let (right, right_stride) = match self.right {
                    Factor::Packed(data) => (self.panels_at(data, first, lanes.start), right_words * all_lanes),
                    Factor::Rows(..) => unreachable!("the tiles read right factors panel by panel"),
                    Factor::Matrix(source) => {
                        let data = room(right_buffer, panels * right_words * lanes.len());
                        for (panel, column) in group.clone().step_by(NR).enumerate() {
                            let to = data.add(panel * right_words * lanes.len());
                            pack_right(format, source.at(k, column), steps, (group.end - column).min(NR), to);
                        }
                        (data.cast_const(), right_words * lanes.len())
                    }
                };
                // Panels that were packed just now are in the cache, and so are the next ones when they are packed: nothing is to be read ahead but these again.
                let next = self.after(lanes, columns, &group).unwrap_or(right);
                let row_panels = rows.len().div_ceil(high);
                for (panel, row) in rows.clone().step_by(high).enumerate() {
                    let left = left.of_tiles(panel, high);
                    let out = sums.of(row, group.start);
                    for column in group.clone().step_by(format.columns()) {
                        let store = Store {
                            out: out.add(column - group.start),
                            stride: sums.stride,
                            accumulate: self.accumulate || lanes.start > 0,
                            scale: self.scale,
                            row_scales: std::ptr::null(),
                            column_scales: std::ptr::null(),
                            column_offsets: std::ptr::null(),
                        };
                        let at = (column - group.start) / NR * right_stride;
                        let ahead = Ahead::share(next.wrapping_add(at), lanes.len(), panel, row_panels);
                        let right = Right { data: right.add(at), stride: right_stride, ahead };
                        let (rows, columns) = ((rows.end - row).min(high), (group.end - column).min(format.columns()));
                        format.tile(lanes.len(), left, right, rows, columns, &store);
                    }
                    if let Some(finish) = self.finish.filter(|_| lanes.end == all_lanes) {
                        let (rows, columns) = (row..(row + high).min(rows.end), group.clone());
                        finish(&mut Piece::at(out, sums.stride, row / high, rows, columns));
                    }
                }
            }
        }
    }

    /// The panels that a part multiplies after a group's, where they are packed: the next group, in the same lanes or from the first column on in the next
    /// ones. After the last group comes the first, which the next task begins with where tasks are rows.
    fn after(&self, lanes: &Range<usize>, columns: &Range<usize>, group: &Range<usize>) -> Option<*const f32> {
        let Factor::Packed(data) = self.right else { return None };
        let (column, lane) = if group.end < columns.end {
            (group.end, lanes.start)
        } else if lanes.end < self.format.lanes(self.steps) {
            (columns.start, lanes.end)
        } else {
            (columns.start, 0)
        };
        Some(self.panels_at(data, column, lane))
    }

    /// Where the panel that begins with this column lies in a packed right factor, from this lane on.
    fn panels_at(&self, data: *const f32, column: usize, lane: usize) -> *const f32 {
        data.wrapping_add((column * self.format.lanes(self.steps) + lane * NR) * self.format.planes())
    }
}

/// Where the sums of a part stand.
#[derive(Clone, Copy)]
struct Sums {
    data: SharedMut,
    /// From row to row.
    stride: usize,
    /// The row and column at `data`; none: those that are being computed, each piece in the place of the one before.
    at: Option<(usize, usize)>,
}

impl Sums {
    /// Where the piece that begins at this row and column stands.
    fn of(self, row: usize, column: usize) -> *mut f32 {
        let (first_row, first_column) = self.at.unwrap_or((row, column));
        self.data.pointer().wrapping_add((row - first_row) * self.stride + column - first_column)
    }
}

/// A part's left factor.
#[derive(Clone, Copy)]
pub(super) enum Lefts {
    /// The first panel, and from one to the next.
    Panels(*const f32, usize),
    /// The first row, and from one to the next.
    Rows(*const f32, usize),
}

impl Lefts {
    /// That of the tiles in one panel of `high` rows.
    pub(super) fn of_tiles(self, panel: usize, high: usize) -> kernel::Left {
        match self {
            Lefts::Panels(data, stride) => kernel::Left::Packed(data.wrapping_add(panel * stride)),
            Lefts::Rows(data, stride) => kernel::Left::Rows { data: data.wrapping_add(panel * high * stride), stride },
        }
    }
}
