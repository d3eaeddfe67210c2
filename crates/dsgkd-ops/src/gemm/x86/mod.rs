//! Products on AVX-512: blocks of K, panels of the factors, tiles in registers.
//!
//! The work is split along the longer side of the result, so that the factor of that side is packed once and by whom it
//! serves; the other factor is packed by all cores before, unless it can be read where it is. An element's sum runs over blocks of K
//! in one order, whoever computes it: the result does not depend on the number of threads.

mod amx;
mod format;
mod int8;
mod kernel;
mod pack;

use super::{Cores, Finish, Instructions, Matrix, Place, Precision, Product, Right, has_avx512};
use crate::parallel::SharedMut;
use format::Format;
use kernel::{Left, NR, Store};
use pack::{Source, pack_left, pack_right};
use rayon::prelude::*;
use std::arch::x86_64::__m512;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::LazyLock;

pub(super) use int8::{Int8Weight, is_available as has_int8};

/// Panels of the right factor that are packed, then used by all rows.
const PANELS: usize = 6;
/// Tasks of a thread, so that a thread that was held up does not keep the others waiting.
const TASKS_PER_THREAD: usize = 4;

/// Whether this processor has what the products here need.
pub(super) fn has_instructions(instructions: Instructions) -> bool {
    let registers = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    match instructions {
        Instructions::Library => true,
        Instructions::Avx512 => registers,
        Instructions::Amx => registers && amx::are_there(),
    }
}

/// Whether the units of [`amx`] multiply.
fn has_matrix_units() -> bool {
    Instructions::used() == Instructions::Amx
}

/// How `bf16` is multiplied here: in the units of [`amx`], where there are any, else in registers. AMD's processors multiply pairs of `bf16` there at twice
/// the rate of `f32`, Intel's at half of it or less (measured on Sapphire Rapids: docs/performance.md). The choice must not be measured at run time:
/// it decides the last bits.
static BFLOAT16: LazyLock<Format> = LazyLock::new(|| {
    let vendor = std::arch::x86_64::__cpuid(0);
    let intel = vendor.ebx == u32::from_le_bytes(*b"Genu");
    if has_matrix_units() {
        Format::Bfloat16Tiles
    } else if is_x86_feature_detected!("avx512bf16") && !intel {
        Format::Bfloat16Pairs
    } else {
        Format::RoundedFloat32
    }
});

/// How `f32` is multiplied here.
static FLOAT32: LazyLock<Format> =
    LazyLock::new(|| if has_matrix_units() { Format::Float32Tiles } else { Format::Float32 });

fn format_of(precision: Precision) -> Format {
    match precision {
        Precision::Float32 => *FLOAT32,
        Precision::Bfloat16 => *BFLOAT16,
    }
}

/// A right factor packed whole, panel after panel (see [`pack`]).
#[derive(Clone)]
pub(super) struct PackedMatrix {
    lanes: Vec<__m512>,
    format: Format,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl PackedMatrix {
    pub(super) fn new(matrix: Matrix, precision: Precision) -> PackedMatrix {
        assert!(has_avx512());
        let format = format_of(precision);
        let mut lanes = vec![];
        // SAFETY: the processor was asked; `Matrix::new` checked the slice.
        unsafe {
            pack_all(Side::Right, format, right_source(&matrix), matrix.rows, matrix.columns, &mut lanes, Cores::All)
        };
        PackedMatrix { lanes, format, rows: matrix.rows, columns: matrix.columns }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..])
    }
}

fn left_source(matrix: &Matrix) -> Source {
    Source { data: matrix.data.as_ptr(), k_stride: matrix.column_stride, w_stride: matrix.row_stride }
}

fn right_source(matrix: &Matrix) -> Source {
    Source { data: matrix.data.as_ptr(), k_stride: matrix.row_stride, w_stride: matrix.column_stride }
}

/// Where the tiles find a factor.
#[derive(Clone, Copy)]
enum Factor {
    /// Packed whole: panel after panel over all lanes.
    Packed(*const f32),
    /// Not packed yet: each task packs the part it needs.
    Matrix(Source),
    /// Left factors in `f32` whose steps are neighbours are read where they are.
    Direct(Source),
}

// SAFETY: factors are only read while a product runs, and outlive it.
unsafe impl Send for Factor {}
// SAFETY: as above.
unsafe impl Sync for Factor {}

/// One product, ready to be computed part by part.
#[derive(Clone, Copy)]
struct Plan<'a> {
    format: Format,
    steps: usize,
    left: Factor,
    right: Factor,
    out: SharedMut,
    stride: usize,
    scale: f32,
    accumulate: bool,
    finish: Option<Finish<'a>>,
}

thread_local! {
    /// Packed panels: of the whole product (its caller's thread), and of one task's left and right factor.
    static SCRATCH: RefCell<[Vec<__m512>; 3]> = const { RefCell::new([vec![], vec![], vec![]]) };
}

/// Lends one of this thread's buffers. Taken out while in use, so that a nested call gets a buffer of its own.
fn with_scratch<T>(which: usize, work: impl FnOnce(&mut Vec<__m512>) -> T) -> T {
    let mut buffer = SCRATCH.with(|scratch| std::mem::take(&mut scratch.borrow_mut()[which]));
    let result = work(&mut buffer);
    SCRATCH.with(|scratch| scratch.borrow_mut()[which] = buffer);
    result
}

/// At least `lanes` lanes of a buffer, at a multiple of 64 bytes.
fn room(buffer: &mut Vec<__m512>, lanes: usize) -> *mut f32 {
    let registers = lanes.div_ceil(16);
    if buffer.len() < registers {
        // SAFETY: zero bits are a register of zeros.
        buffer.resize(registers, unsafe { std::mem::zeroed() });
    }
    buffer.as_mut_ptr().cast()
}

/// See [`Product::run`].
///
/// # Safety
/// As for [`Product::run`]; the processor must have AVX-512.
pub(super) unsafe fn run(product: Product, out: *mut f32, stride: usize, cores: Cores) {
    let (rows, columns, steps) = (product.left.rows, product.right.columns(), product.left.columns);
    let (format, right) = match product.right {
        Right::Matrix(matrix, precision) => (format_of(precision), Factor::Matrix(right_source(&matrix))),
        Right::Packed(weight) => match weight.matrix() {
            Ok(packed) => (packed.format, Factor::Packed(packed.lanes.as_ptr().cast())),
            // SAFETY: the caller's promise.
            Err(int8) => return unsafe { int8::run(&product, int8, out, stride, cores) },
        },
    };
    let source = left_source(&product.left);
    let direct = format == Format::Float32 && source.k_stride == 1;
    let left = if direct { Factor::Direct(source) } else { Factor::Matrix(source) };
    let Product { scale, accumulate, finish, .. } = product;
    let mut plan = Plan { format, steps, left, right, out: SharedMut(out), stride, scale, accumulate, finish };
    let threads = rayon::current_num_threads();
    // SAFETY, to the end: the parts of the result are disjoint, and the caller vouches for the whole.
    if cores == Cores::One || threads == 1 {
        return unsafe { plan.part(0..rows, 0..columns) };
    }
    with_scratch(0, |shared| unsafe {
        if columns > rows {
            if let Factor::Matrix(source) = plan.left {
                plan.left = Factor::Packed(pack_all(Side::Left, format, source, steps, rows, shared, cores));
            }
            let size = task_size(columns, NR, threads);
            (0..columns.div_ceil(size)).into_par_iter().for_each(|task| {
                plan.part(0..rows, task * size..((task + 1) * size).min(columns));
            });
        } else {
            if let Factor::Matrix(source) = plan.right {
                plan.right = Factor::Packed(pack_all(Side::Right, format, source, steps, columns, shared, cores));
            }
            let size = task_size(rows, format.rows(), threads);
            (0..rows.div_ceil(size)).into_par_iter().for_each(|task| {
                plan.part(task * size..((task + 1) * size).min(rows), 0..columns);
            });
        }
    });
}

/// Rows or columns of a task: whole tiles, a few tasks a thread.
fn task_size(length: usize, tile: usize, threads: usize) -> usize {
    length.div_ceil(tile).div_ceil(threads * TASKS_PER_THREAD) * tile
}

/// Which factor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// Packs a whole factor into `buffer`, all panels over all lanes, and says where it lies.
///
/// # Safety
/// As for [`pack_right`].
unsafe fn pack_all(
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

impl Plan<'_> {
    /// The part of the result in `rows` and `columns`, on this thread. Both begin at a tile.
    ///
    /// # Safety
    /// Nobody else writes this part meanwhile.
    unsafe fn part(&self, rows: Range<usize>, columns: Range<usize>) {
        // SAFETY: the processor has what the format needs.
        let _tiles = unsafe { self.format.hold_tiles() };
        let all_lanes = self.format.lanes(self.steps);
        // Blocks of K of equal size, and whole ones.
        let block = all_lanes.div_ceil(all_lanes.div_ceil(self.format.blocking().0).max(1)).max(1);
        let block = self.format.lanes(block * self.format.steps());
        for first in (0..all_lanes.max(1)).step_by(block) {
            let lanes = first..(first + block).min(all_lanes);
            with_scratch(1, |left| {
                with_scratch(2, |right| unsafe { self.block(&lanes, &rows, &columns, left, right) });
            });
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
                Factor::Direct(source) => Panels {
                    data: source.at(k, rows.start).data,
                    panel_stride: high * source.w_stride,
                    left: (source.w_stride, 1),
                },
                Factor::Packed(data) => {
                    let data = data.add(rows.start * all_lanes * format.planes() + lanes.start * left_words);
                    Panels { data, panel_stride: left_words * all_lanes, left: (1, high) }
                }
                Factor::Matrix(source) => {
                    let panels = rows.len().div_ceil(high);
                    let data = room(left_buffer, panels * lanes.len() * left_words);
                    for panel in 0..panels {
                        let from = source.at(k, rows.start + panel * high);
                        let to = data.add(panel * lanes.len() * left_words);
                        pack_left(format, from, steps, (rows.len() - panel * high).min(high), to);
                    }
                    Panels { data, panel_stride: left_words * lanes.len(), left: (1, high) }
                }
            };
            for first in (columns.start..columns.end).step_by(panels * NR) {
                let group = first..(first + panels * NR).min(columns.end);
                let (right, right_stride) = match self.right {
                    Factor::Packed(data) => {
                        let data = data.add(first * all_lanes * format.planes() + lanes.start * right_words);
                        (data, right_words * all_lanes)
                    }
                    Factor::Matrix(source) | Factor::Direct(source) => {
                        let data = room(right_buffer, panels * right_words * lanes.len());
                        for (panel, column) in group.clone().step_by(NR).enumerate() {
                            let to = data.add(panel * right_words * lanes.len());
                            pack_right(format, source.at(k, column), steps, (group.end - column).min(NR), to);
                        }
                        (data.cast_const(), right_words * lanes.len())
                    }
                };
                for (panel, row) in rows.clone().step_by(high).enumerate() {
                    let (row_stride, lane_stride) = left.left;
                    let left = Left { data: left.data.add(panel * left.panel_stride), row_stride, lane_stride };
                    for (panel, column) in group.clone().step_by(NR).enumerate() {
                        let store = Store {
                            out: self.out.pointer().add(row * self.stride + column),
                            stride: self.stride,
                            accumulate: self.accumulate || lanes.start > 0,
                            scale: self.scale,
                            row_scales: std::ptr::null(),
                            column_scales: std::ptr::null(),
                            column_offsets: std::ptr::null(),
                        };
                        let right = right.add(panel * right_stride);
                        let (rows, columns) = ((rows.end - row).min(high), (group.end - column).min(NR));
                        format.tile(lanes.len(), left, right, rows, columns, store);
                    }
                    if let Some(finish) = self.finish.filter(|_| lanes.end == all_lanes) {
                        let rows = row..(row + high).min(rows.end);
                        finish_panel(finish, row / high, rows, group.clone(), self.out.pointer(), self.stride);
                    }
                }
            }
        }
    }
}

/// Hands the rows of one panel, from the first of `columns` to the last, to `finish`.
///
/// # Safety
/// They must lie inside the result, and nobody else may touch them meanwhile.
unsafe fn finish_panel(
    finish: Finish,
    panel: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    out: *mut f32,
    stride: usize,
) {
    for row in rows {
        // SAFETY: the caller's promise.
        let values = unsafe { std::slice::from_raw_parts_mut(out.add(row * stride + columns.start), columns.len()) };
        finish(Place { panel, row, column: columns.start }, values);
    }
}

/// Panels of the left factor.
struct Panels {
    data: *const f32,
    /// From one panel to the next.
    panel_stride: usize,
    /// From row to row and from lane to lane in a panel; the units of [`amx`] know it without.
    left: (usize, usize),
}
