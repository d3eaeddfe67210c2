//! Products on AVX-512 (`int8` on AVX2 too): blocks of K, panels of the factors, tiles in registers.
//!
//! The work is split along the longer side of the result, so that the factor of that side is packed once and by whom it
//! serves; the other factor is packed by all cores before, unless it can be read where it is or was packed by whoever made it. An element's sum runs over blocks of K
//! in one order, whoever computes it: the result does not depend on the number of threads.

mod amx;
mod format;
mod int8;
mod kernel;
mod pack;
mod packed;
mod pairs;
mod part;
mod scratch;

use super::{Cores, Instructions, Left, Precision, Product, Right};
use crate::parallel::SharedMut;
use format::Format;
use kernel::NR;
use pack::{Source, stays_rows};
use packed::{pack_left_whole, pack_right_whole};
use part::{Factor, Plan};
use rayon::prelude::*;
use scratch::with_scratch;
use std::ops::Range;
use std::sync::LazyLock;

pub(super) use int8::{Int8Weight, is_available as has_int8};
pub(super) use packed::{PackedLeft, PackedMatrix};

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

/// Whether Intel made this processor.
fn is_intel() -> bool {
    static INTEL: LazyLock<bool> = LazyLock::new(|| std::arch::x86_64::__cpuid(0).ebx == u32::from_le_bytes(*b"Genu"));
    *INTEL
}

/// How `bf16` is multiplied here: in the units of [`amx`], where there are any, or in registers; none: no faster than `f32`. AMD's processors multiply pairs
/// of `bf16` in registers at twice the rate of `f32`, Intel's at half of it or less (measured on Sapphire Rapids: docs/performance.md). The choice must not be
/// measured at run time: it decides the last bits.
static BFLOAT16: LazyLock<Option<Format>> = LazyLock::new(|| {
    let in_registers = is_x86_feature_detected!("avx512bf16") && !is_intel();
    match Instructions::used() {
        Instructions::Amx => Some(Format::Bfloat16Tiles),
        Instructions::Avx512 => in_registers.then_some(Format::Bfloat16Pairs),
        Instructions::Library => None,
    }
});

/// Whether `bf16` saves time here.
pub(super) fn has_bfloat16() -> bool {
    BFLOAT16.is_some()
}

/// How `f32` is multiplied here.
static FLOAT32: LazyLock<Format> =
    LazyLock::new(|| if has_matrix_units() { Format::Float32Tiles } else { Format::Float32 });

fn format_of(precision: Precision) -> Format {
    match precision {
        Precision::Float32 => *FLOAT32,
        Precision::Bfloat16 => BFLOAT16.unwrap_or(*FLOAT32),
    }
}

/// See [`Product::run`].
///
/// # Safety
/// As for [`Product::run`]; the processor must have AVX-512, or for weights in `int8` AVX2.
pub(super) unsafe fn run(product: Product, out: Option<(*mut f32, usize)>, cores: Cores) {
    let (rows, columns, steps) = (product.left.rows(), product.right.columns(), product.left.columns());
    let (format, right) = match product.right {
        Right::Matrix(matrix, precision) => (format_of(precision), Factor::Matrix(Source::of_right(&matrix))),
        Right::Packed(weight) => match weight.matrix() {
            Ok(packed) => (packed.format, Factor::Packed(packed.words())),
            // SAFETY: the caller's promise.
            Err(int8) => {
                let (out, stride) = out.expect("rows for int8 are not packed");
                return unsafe { int8::run(&product, int8, out, stride, cores) };
            }
        },
    };
    let left = match product.left {
        Left::Packed(rows) => {
            let packed = rows.left();
            assert_eq!(packed.format, format);
            packed.factor()
        }
        Left::Matrix(matrix) => {
            let source = Source::of_left(&matrix);
            let in_place = format == Format::Float32 && stays_rows(format, source);
            if in_place { Factor::Rows(source.data, source.w_stride) } else { Factor::Matrix(source) }
        }
    };
    let Product { scale, accumulate, finish, .. } = product;
    let out = out.map(|(out, stride)| (SharedMut(out), stride));
    let mut plan = Plan { format, steps, left, right, out, scale, accumulate, finish };
    let threads = rayon::current_num_threads();
    // SAFETY, to the end: the parts of the result are disjoint, and the caller vouches for the whole.
    if cores == Cores::One || threads == 1 {
        return unsafe { plan.part(0..rows, 0..columns) };
    }
    with_scratch(0, |shared| unsafe {
        if columns > rows {
            if let Factor::Matrix(source) = plan.left {
                plan.left = pack_left_whole(format, source, steps, rows, shared);
            }
            // Whole tiles, unless some threads would have none.
            let width = if columns >= threads * TASKS_PER_THREAD * format.columns() { format.columns() } else { NR };
            tasks(columns, width, threads).into_par_iter().for_each(|columns| plan.part(0..rows, columns));
        } else {
            if let Factor::Matrix(source) = plan.right {
                plan.right = pack_right_whole(format, source, steps, columns, shared);
            }
            tasks(rows, format.rows(), threads).into_par_iter().for_each(|rows| plan.part(rows, 0..columns));
        }
    });
}

/// `length` rows or columns as tasks of whole tiles, a few a thread, that differ by no more than a tile.
fn tasks(length: usize, tile: usize, threads: usize) -> Vec<Range<usize>> {
    let tiles = length.div_ceil(tile);
    let tasks = tiles.min(threads * TASKS_PER_THREAD);
    let end = |task: usize| (tiles * task / tasks * tile).min(length);
    (0..tasks).map(|task| end(task)..end(task + 1)).collect()
}
