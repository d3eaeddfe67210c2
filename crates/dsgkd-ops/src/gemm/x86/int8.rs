//! Products in `int8`: weights quantised once per output, activations per token as they come.
//!
//! A weight row is `scale * q` with `q` in -127..127, and so is a token's row; VNNI multiplies unsigned by signed, so that 128 is added to
//! the token's `q` and the weights' sum times 128 is taken off again. Sums are exact, and so the same on every processor (of finite numbers).

use super::super::{Cores, Finish, Left, Matrix, Piece, Product, has_avx512};
use super::format::Format;
use super::kernel::{Ahead, NR, Right, Store};
use super::pack::{below, row_stride};
use super::part::Lefts;
use super::scratch::{room, with_scratch};
use super::{amx, has_matrix_units, pairs, tasks};
use crate::parallel::SharedMut;
use rayon::prelude::*;
use std::arch::x86_64::*;
use std::ops::Range;

/// Steps of K in a lane of quads.
const STEPS: usize = 4;

/// A weight `[outputs, inputs]` in `int8`, packed: `[panels][lanes][NR]`, the lanes in whole blocks where the units of [`amx`] multiply.
#[derive(Clone)]
pub(crate) struct Int8Weight {
    lanes: Vec<__m512>,
    /// Of both factors.
    format: Format,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Of each output, padded to whole panels.
    scales: Vec<f32>,
    /// 128 times the sum of each output's quantised weights, padded likewise; [`pairs`] are signed and need none.
    offsets: Vec<i32>,
}

/// Whether `int8` is multiplied here, and faster than `f32`: by VNNI or the matrix units, or as pairs where `f32` has no AVX-512 either.
pub(crate) fn is_available() -> bool {
    if has_avx512() { is_x86_feature_detected!("avx512vnni") } else { is_x86_feature_detected!("avx2") }
}

/// What both factors are packed as here.
fn best_format() -> Format {
    if has_matrix_units() {
        Format::Int8Tiles
    } else if has_avx512() {
        Format::Int8Quads
    } else {
        Format::Int8Pairs
    }
}

impl Int8Weight {
    /// Quantises `weight [outputs, inputs]`.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Int8Weight {
        assert!(is_available());
        Int8Weight::of_format(best_format(), weight, inputs)
    }

    fn of_format(format: Format, weight: &[f32], inputs: usize) -> Int8Weight {
        let outputs = weight.len() / inputs;
        let (panels, all_lanes, steps) = (outputs.div_ceil(NR), format.lanes(inputs), format.steps());
        let mut words = vec![[0u8; 4]; panels * all_lanes * NR];
        let (mut scales, mut offsets) = (vec![0f32; panels * NR], vec![0i32; panels * NR]);
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let scale = scale_of(row.iter().fold(0f32, |max, value| max.max(value.abs())));
            let (panel, column) = (output / NR, output % NR);
            for (step, value) in row.iter().enumerate() {
                let quantised = (value / scale).round_ties_even() as i8;
                let word = &mut words[(panel * all_lanes + step / steps) * NR + column];
                match steps {
                    STEPS => word[step % STEPS] = quantised as u8,
                    _ => word[step % 2 * 2..][..2].copy_from_slice(&i16::from(quantised).to_le_bytes()),
                }
                offsets[output] += 128 * i32::from(quantised);
            }
            scales[output] = scale;
        }
        let mut lanes = vec![];
        let target = room(&mut lanes, words.len());
        // SAFETY: `room` made room for that many lanes, and a word has the size of a lane.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr().cast::<f32>(), target, words.len()) };
        Int8Weight { lanes, format, inputs, outputs, scales, offsets }
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.lanes[..]) + size_of_val(&self.scales[..]) + size_of_val(&self.offsets[..])
    }
}

/// The factor of quantised values whose greatest is 127.
pub(super) fn scale_of(greatest: f32) -> f32 {
    if greatest > 0.0 { greatest / 127.0 } else { 1.0 }
}

/// `out = left * weight^T`; see [`Product::run`]. There is no scale and nothing is accumulated: scoring needs neither.
///
/// # Safety
/// As for [`Product::run`].
pub(crate) unsafe fn run(product: &Product, weight: &Int8Weight, out: *mut f32, stride: usize, cores: Cores) {
    assert!(!product.accumulate && product.scale == 1.0, "int8 products are for scoring");
    let Left::Matrix(left) = product.left else { unreachable!("rows are quantised here") };
    assert_eq!(left.column_stride, 1);
    let (rows, format) = (left.rows, weight.format);
    let out = Target { out: SharedMut(out), stride, finish: product.finish };
    let columns = |from: usize, to: usize| from * NR..(to * NR).min(weight.outputs);
    let panels = weight.outputs.div_ceil(NR);
    // SAFETY, to the end: tasks write disjoint parts of the result; the caller vouches for the whole.
    let threads = rayon::current_num_threads();
    if cores == Cores::One || threads == 1 {
        return with_scratch(0, |buffer| unsafe {
            let quantised = quantise(format, &left, 0..rows, buffer);
            part(weight, quantised, 0..rows, columns(0, panels), out);
        });
    }
    let high = format.rows();
    if rows >= threads * high {
        tasks(rows, high, threads).into_par_iter().for_each(|rows| {
            with_scratch(0, |buffer| unsafe {
                let quantised = quantise(format, &left, rows.clone(), buffer);
                part(weight, quantised, rows, columns(0, panels), out);
            });
        });
        return;
    }
    with_scratch(0, |buffer| {
        let quantised = unsafe { quantise(format, &left, 0..rows, buffer) };
        let size = panels.div_ceil(threads);
        (0..panels.div_ceil(size)).into_par_iter().for_each(|task| unsafe {
            let columns = columns(task * size, ((task + 1) * size).min(panels));
            part(weight, quantised, 0..rows, columns, out);
        });
    });
}

/// Where the result goes.
#[derive(Clone, Copy)]
struct Target<'a> {
    out: SharedMut,
    stride: usize,
    finish: Option<Finish<'a>>,
}

/// Quantised rows, `[rows][row_stride]` or, for [`pairs`], `[panels][lanes][MR]`, for [`amx`], `[panels][blocks][ROWS][16 lanes]`, and the scale of each.
/// Beyond a row's end and in rows that a panel lacks stands what meets no weight or is not stored.
#[derive(Clone, Copy)]
struct Quantised {
    left: Lefts,
    scales: *const f32,
}

// SAFETY: it is only read while a product runs, and outlives it.
unsafe impl Send for Quantised {}
// SAFETY: as above.
unsafe impl Sync for Quantised {}

/// Quantises rows of a matrix into `buffer`.
///
/// # Safety
/// The processor must have what the format needs.
unsafe fn quantise(format: Format, matrix: &Matrix, rows: Range<usize>, buffer: &mut Vec<__m512>) -> Quantised {
    let (all_lanes, high) = (format.lanes(matrix.columns), format.rows());
    let stride = if format.reads_rows() { row_stride(all_lanes) } else { all_lanes };
    let (panels, words) = (rows.len().div_ceil(high), stride * high);
    let lanes = room(buffer, panels * words + 16 + panels * high);
    // SAFETY: `room` made room for both; panels and rows lie inside.
    unsafe {
        let scales = lanes.add((panels * words).next_multiple_of(16));
        for (panel, row) in rows.clone().step_by(high).enumerate() {
            let width = (rows.end - row).min(high);
            let data = matrix.data.as_ptr().add(row * matrix.row_stride);
            let (to, scales) = (lanes.add(panel * words), scales.add(panel * high));
            if format == Format::Int8Pairs {
                pairs::quantise_panel(data, matrix.row_stride, matrix.columns, width, to, scales);
            } else {
                quantise_panel(format, data, matrix.row_stride, matrix.columns, width, to, scales);
            }
        }
        let left = if format.reads_rows() { Lefts::Rows(lanes, stride) } else { Lefts::Panels(lanes, words) };
        Quantised { left, scales }
    }
}

/// Quantises `width` rows of `steps` values into one panel.
///
/// # Safety
/// The pointers must be valid for that.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn quantise_panel(
    format: Format,
    data: *const f32,
    stride: usize,
    steps: usize,
    width: usize,
    panel: *mut f32,
    scales: *mut f32,
) {
    // SAFETY: masks leave out what lies beyond the rows.
    unsafe {
        let mut inverse = [_mm512_setzero_ps(); amx::ROWS];
        for row in 0..width {
            // Four chains: one would wait for itself.
            let mut greatest = [_mm512_setzero_ps(); 4];
            for first in (0..steps).step_by(64) {
                for (chain, greatest) in greatest.iter_mut().enumerate() {
                    let (step, whole) = (first + 16 * chain, first + 64 <= steps);
                    let mask = if whole { !0 } else { below(steps, step) };
                    let values = _mm512_maskz_loadu_ps(mask, data.wrapping_add(row * stride + step));
                    *greatest = _mm512_max_ps(*greatest, _mm512_abs_ps(values));
                }
            }
            let [a, b, c, d] = greatest;
            let scale = scale_of(_mm512_reduce_max_ps(_mm512_max_ps(_mm512_max_ps(a, b), _mm512_max_ps(c, d))));
            *scales.add(row) = scale;
            inverse[row] = _mm512_set1_ps(1.0 / scale);
        }
        for first in (0..steps).step_by(16 * STEPS) {
            let quantised = |row: usize| {
                let data = data.wrapping_add(row * stride + first);
                // Of whole blocks the compiler knows the masks.
                if steps - first >= 16 * STEPS {
                    quantised_along(data, 16 * STEPS, inverse[row])
                } else {
                    quantised_along(data, steps - first, inverse[row])
                }
            };
            for row in 0..width {
                let at = if format.has_tiles() {
                    (first / (16 * STEPS) * amx::ROWS + row) * 16
                } else {
                    // Beyond a row's last lane there is room for a register.
                    row * row_stride(format.lanes(steps)) + first / STEPS
                };
                _mm512_store_ps(panel.add(at), quantised(row));
            }
        }
    }
}

/// Sixteen lanes of one row, `steps` of its values, quantised and 128 added. Beyond the row's end 128 meets weights that are zero.
///
/// # Safety
/// `data` must be valid for `steps`.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn quantised_along(data: *const f32, steps: usize, inverse: __m512) -> __m512 {
    let mut quarters = [_mm_setzero_si128(); 4];
    for (q, quarter) in quarters.iter_mut().enumerate() {
        // SAFETY: the mask leaves out what lies beyond the row.
        let values = unsafe { _mm512_maskz_loadu_ps(below(steps, 16 * q), data.wrapping_add(16 * q)) };
        let quantised = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
        *quarter = _mm512_cvtepi32_epi8(_mm512_add_epi32(quantised, _mm512_set1_epi32(128)));
    }
    let low = _mm512_castsi128_si512(quarters[0]);
    let low = _mm512_inserti32x4::<1>(low, quarters[1]);
    let low = _mm512_inserti32x4::<2>(low, quarters[2]);
    _mm512_castsi512_ps(_mm512_inserti32x4::<3>(low, quarters[3]))
}

/// The part of the result in `rows` (those of `left`) and `columns`, on this thread.
///
/// # Safety
/// Nobody else writes this part meanwhile.
unsafe fn part(weight: &Int8Weight, left: Quantised, rows: Range<usize>, columns: Range<usize>, target: Target) {
    let format = weight.format;
    // SAFETY: the processor was asked.
    let _tiles = unsafe { format.hold_tiles() };
    let (lanes, high, panels) = (format.lanes(weight.inputs), format.rows(), format.blocking().1);
    let (out, stride) = (target.out.pointer(), target.stride);
    for first in columns.clone().step_by(panels * NR) {
        let group = first..(first + panels * NR).min(columns.end);
        // After the last group comes the first, which the next task begins with where tasks are rows.
        let next = if group.end < columns.end { group.end } else { columns.start };
        let row_panels = rows.len().div_ceil(high);
        for (panel, row) in rows.clone().step_by(high).enumerate() {
            let rows_here = row..(row + high).min(rows.end);
            // SAFETY: panels lie inside both factors, tiles inside the part.
            unsafe {
                let left_panel = left.left.of_tiles(panel, high);
                for column in group.clone().step_by(format.columns()) {
                    let store = Store {
                        out: out.add(row * stride + column),
                        stride,
                        accumulate: false,
                        scale: 1.0,
                        row_scales: left.scales.add(panel * high),
                        column_scales: weight.scales.as_ptr().add(column),
                        column_offsets: weight.offsets.as_ptr().add(column),
                    };
                    let words = weight.lanes.as_ptr().cast::<f32>();
                    let ahead = words.wrapping_add((next + column - group.start) * lanes);
                    let ahead = Ahead::share(ahead, lanes, panel, row_panels);
                    let right = Right { data: words.add(column * lanes), stride: lanes * NR, ahead };
                    let columns = (group.end - column).min(format.columns());
                    format.tile(lanes, left_panel, right, rows_here.len(), columns, &store);
                }
                if let Some(finish) = target.finish {
                    finish(&mut Piece::of(out, stride, row / high, rows_here, group.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bit by bit those of the definition, whatever multiplies: the sums are exact, and one order of roundings follows.
    #[test]
    fn the_digits_do_not_hang_on_what_multiplies() {
        let numbers = |count: usize| (0..count).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect::<Vec<f32>>();
        let greatest = |row: &[f32]| row.iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
        let mut formats = vec![Format::Int8Pairs];
        formats.extend(Some(best_format()).filter(|_| is_available()));
        for [rows, steps, columns] in [[1, 1, 1], [7, 17, 65], [13, 31, 127], [64, 768, 193], [3, 1601, 300]] {
            let (left, weight) = (numbers(rows * steps), numbers(columns * steps));
            let expected = |i: usize| {
                let (row, column) = (&left[i / columns * steps..][..steps], &weight[i % columns * steps..][..steps]);
                let (row_scale, column_scale) = (scale_of(greatest(row)), scale_of(greatest(column)));
                let inverse = 1.0 / row_scale;
                let product = |(a, b): (&f32, &f32)| {
                    (a * inverse).round_ties_even() as i32 * (b / column_scale).round_ties_even() as i32
                };
                row.iter().zip(column).map(product).sum::<i32>() as f32 * (row_scale * column_scale)
            };
            let expected: Vec<f32> = (0..rows * columns).map(expected).collect();
            for format in formats.iter().filter(|_| is_x86_feature_detected!("avx2")) {
                let packed = crate::gemm::PackedWeight::of_int8(Int8Weight::of_format(*format, &weight, steps));
                let mut out = vec![7f32; rows * columns];
                let left = Left::Matrix(Matrix::new(&left, rows, steps, steps));
                let right = crate::gemm::Right::Packed(&packed);
                let product = Product { left, right, scale: 1.0, accumulate: false, finish: None };
                // SAFETY: `out` has a row for each of `left`'s.
                unsafe { product.run(out.as_mut_ptr(), columns, Cores::All) };
                assert_eq!(out, expected, "{format:?}: {rows} x {steps} x {columns}");
            }
        }
    }
}
