//! Packing: a factor's panel copied into the order in which the tiles read it, rounded on the way.
//!
//! A panel of `W` columns (of the right factor) or rows (of the left) becomes `[lanes][W]`. The units of [`amx`] want whole blocks of sixteen lanes,
//! `[blocks][planes][16][W]`, and of a left factor each row's lanes together, `[blocks][planes][W][16]`. What lies beyond the matrix is zero.
//!
//! Registers multiply lanes of a left factor one by one and read them row by row as well. Rows whose steps are neighbours are rounded and stay rows:
//! putting their lanes in the order of panels took twice as long.

use super::super::Matrix;
use super::amx;
use super::format::Format;
use super::kernel::{MR, NR};
use std::arch::x86_64::*;

/// A part of a factor: step `k` of K in row or column `w` at `data[k * k_stride + w * w_stride]`; one of the strides is 1.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) data: *const f32,
    pub(super) k_stride: usize,
    pub(super) w_stride: usize,
}

// SAFETY: factors are only read while a product runs, and outlive it.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Source {
    pub(super) fn of_left(matrix: &Matrix) -> Source {
        Source { data: matrix.data.as_ptr(), k_stride: matrix.column_stride, w_stride: matrix.row_stride }
    }

    pub(super) fn of_right(matrix: &Matrix) -> Source {
        Source { data: matrix.data.as_ptr(), k_stride: matrix.row_stride, w_stride: matrix.column_stride }
    }

    /// The source from step `k` and row or column `w` on. It may lie beyond the end where nothing is read.
    pub(super) fn at(self, k: usize, w: usize) -> Source {
        Source { data: self.data.wrapping_add(k * self.k_stride + w * self.w_stride), ..self }
    }
}

/// Whether a left factor stays rows.
pub(super) fn stays_rows(format: Format, left: Source) -> bool {
    format.reads_rows() && left.k_stride == 1
}

/// From row to row of `lanes`, in lanes: an odd number of cache lines, so that a tile's rows do not fall into one set of the first cache.
pub(super) fn row_stride(lanes: usize) -> usize {
    lanes.next_multiple_of(16) | 16
}

/// Rounds `rows` of a left factor that stay rows over `steps` of K, from row to row at `to` as [`row_stride`] has it or wider. Only pairs of `bf16` are made
/// so: `f32` stays where it is, and int8.rs quantises.
///
/// # Safety
/// The processor must have AVX-512 F, BW and BF16; `source` must be valid for `steps` and `rows`, `to` for as many rows of lanes.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) unsafe fn round_rows(
    format: Format,
    source: Source,
    steps: usize,
    rows: usize,
    to: *mut f32,
    stride: usize,
) {
    assert_eq!(format, Format::Bfloat16Pairs);
    let whole = steps / 32 * 32;
    for row in 0..rows {
        let (data, to) = (source.at(0, row).data, to.wrapping_add(row * stride));
        // SAFETY: the caller's promise; the mask leaves out what lies beyond `steps`.
        unsafe {
            for step in (0..whole).step_by(32) {
                let [pairs] = pairs_along(data.add(step), 32);
                _mm512_storeu_ps(to.add(step / 2), pairs);
            }
            if whole < steps {
                let [pairs] = pairs_along(data.add(whole), steps - whole);
                _mm512_mask_storeu_ps(to.add(whole / 2), below((steps - whole).div_ceil(2), 0), pairs);
            }
        }
    }
}

/// Packs `width <= NR` columns of a right factor over `steps` of K.
///
/// # Safety
/// The processor must have AVX-512 F and BW (and BF16 for whatever holds `bf16`); `source` must be valid for `steps` and `width`, `panel`
/// for `format.lanes(steps) * format.planes() * NR` words, at a multiple of 64 bytes.
pub(super) unsafe fn pack_right(format: Format, source: Source, steps: usize, width: usize, panel: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match format {
            Format::Float32 => float32_lanes::<NR>(source, steps, width, panel),
            Format::Bfloat16Pairs | Format::Bfloat16Tiles => pairs_lanes::<NR>(source, steps, width, panel),
            Format::Float32Tiles => planes_lanes::<NR>(source, steps, width, panel),
            Format::Int8Quads | Format::Int8Tiles | Format::Int8Pairs => unreachable!("int8.rs quantises"),
        }
        zero_lanes_to_the_end(format, steps, NR, panel);
    }
}

/// Packs `width <= format.rows()` rows of a left factor over `steps` of K.
///
/// # Safety
/// As for [`pack_right`], `panel` for `format.lanes(steps) * format.planes() * format.rows()` words.
pub(super) unsafe fn pack_left(format: Format, source: Source, steps: usize, width: usize, panel: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match format {
            Format::Float32 => float32_lanes::<MR>(source, steps, width, panel),
            Format::Bfloat16Pairs => pairs_lanes::<MR>(source, steps, width, panel),
            Format::Bfloat16Tiles => pairs_rows::<{ amx::ROWS }>(source, steps, width, panel),
            Format::Float32Tiles => planes_rows::<{ amx::ROWS }>(source, steps, width, panel),
            Format::Int8Quads | Format::Int8Tiles | Format::Int8Pairs => unreachable!("int8.rs quantises"),
        }
    }
}

/// Zeros in the lanes that make the last block a whole one, `width` words a lane.
///
/// # Safety
/// As for [`pack_right`].
unsafe fn zero_lanes_to_the_end(format: Format, steps: usize, width: usize, panel: *mut f32) {
    let (written, lanes, planes) = (steps.div_ceil(format.steps()), format.lanes(steps), format.planes());
    for plane in 0..planes {
        if written < lanes {
            // SAFETY: the caller's promise.
            unsafe { panel.add(lane_at(written, plane, planes) * width).write_bytes(0, (lanes - written) * width) };
        }
    }
}

/// Where a plane of a lane lies in `[blocks][planes][16]`, in lanes; with one plane it is the lane.
fn lane_at(lane: usize, plane: usize, planes: usize) -> usize {
    (lane / 16 * planes + plane) * 16 + lane % 16
}

/// Sixteen lanes of `$rows` rows or columns whose steps are neighbours, from `$source` on: `[plane][row][lane]`, zero beyond `$rows`.
macro_rules! along {
    ($along:ident, $planes:literal, $source:expr, $rows:expr, $steps:expr) => {{
        let mut blocks = [[_mm512_setzero_ps(); 16]; $planes];
        for i in 0..$rows {
            let words = $along($source.at(0, i).data, $steps);
            for (block, words) in blocks.iter_mut().zip(words) {
                block[i] = words;
            }
        }
        blocks
    }};
}

/// The packing loops of a format, compiled for the instructions it needs: `$across` makes one lane of each of sixteen
/// neighbours in memory, `$along` sixteen lanes of one row or column whose steps are neighbours, both of `$planes` planes.
/// Whole blocks have loops of their own, without a mask to be computed at every row: three to four times as fast.
macro_rules! packing {
    ($name:ident, $features:literal, $steps:literal, $planes:literal, $across:ident, $along:ident) => {
        /// `[blocks][planes][16][W]`, up to the last lane.
        #[target_feature(enable = $features)]
        unsafe fn $name<const W: usize>(source: Source, steps: usize, width: usize, panel: *mut f32) {
            let high = W.min(16); // known to the compiler
            // SAFETY: the caller's promise; masks leave out what lies beyond `steps` and `width`.
            unsafe {
                if source.w_stride == 1 {
                    for step in (0..steps).step_by($steps) {
                        for w in (0..W).step_by(16) {
                            let lane = $across(source.at(step, w), steps - step, below(width, w));
                            for (plane, words) in lane.into_iter().enumerate() {
                                let at = panel.add(lane_at(step / $steps, plane, $planes) * W + w);
                                _mm512_mask_storeu_ps(at, below(high, 0), words);
                            }
                        }
                    }
                    return;
                }
                assert_eq!(source.k_stride, 1);
                let put = |blocks: &mut [[__m512; 16]; $planes], step: usize, w: usize, lanes: usize| {
                    for (plane, block) in blocks.iter_mut().enumerate() {
                        transpose(block); // [lane][w]
                        for (i, row) in block[..lanes].iter().enumerate() {
                            let at = panel.add(lane_at(step / $steps + i, plane, $planes) * W + w);
                            _mm512_mask_storeu_ps(at, below(high, 0), *row);
                        }
                    }
                };
                for step in (0..steps).step_by(16 * $steps) {
                    for w in (0..W).step_by(16) {
                        let (source, rest) = (source.at(step, w), steps - step);
                        let rows = width.saturating_sub(w).min(16);
                        if rows == high && rest >= 16 * $steps {
                            let mut blocks = along!($along, $planes, source, high, 16 * $steps);
                            put(&mut blocks, step, w, 16);
                        } else {
                            let mut blocks = along!($along, $planes, source, rows, rest);
                            put(&mut blocks, step, w, rest.div_ceil($steps).min(16));
                        }
                    }
                }
            }
        }
    };
}

/// The packing loop of left factors for [`amx`], beside [`packing`].
macro_rules! packing_rows {
    ($name:ident, $features:literal, $steps:literal, $planes:literal, $across:ident, $along:ident) => {
        /// `[blocks][planes][W][16]`, to the last block's end.
        #[target_feature(enable = $features)]
        unsafe fn $name<const W: usize>(source: Source, steps: usize, width: usize, panel: *mut f32) {
            // SAFETY: as above; `W` is a multiple of 16.
            unsafe {
                for (block, step) in (0..steps).step_by(16 * $steps).enumerate() {
                    for w in (0..W).step_by(16) {
                        let put = |blocks: &[[__m512; 16]; $planes]| {
                            for (plane, rows) in blocks.iter().enumerate() {
                                for (i, row) in rows.iter().enumerate() {
                                    let at = panel.add(((block * $planes + plane) * W + w + i) * 16);
                                    _mm512_store_ps(at, *row);
                                }
                            }
                        };
                        let rest = steps - step;
                        if source.w_stride == 1 {
                            let mut blocks = [[_mm512_setzero_ps(); 16]; $planes]; // [plane][lane][w]
                            for (lane, step) in (step..steps.min(step + 16 * $steps)).step_by($steps).enumerate() {
                                let words = $across(source.at(step, w), steps - step, below(width, w));
                                for (block, words) in blocks.iter_mut().zip(words) {
                                    block[lane] = words;
                                }
                            }
                            blocks.iter_mut().for_each(|block| transpose(block));
                            put(&blocks);
                            continue;
                        }
                        assert_eq!(source.k_stride, 1);
                        let (source, rows) = (source.at(step, w), width.saturating_sub(w).min(16));
                        if rows == 16 && rest >= 16 * $steps {
                            put(&along!($along, $planes, source, 16, 16 * $steps));
                        } else {
                            put(&along!($along, $planes, source, rows, rest));
                        }
                    }
                }
            }
        }
    };
}

packing!(float32_lanes, "avx512f,avx512bw", 1, 1, float32_across, float32_along);
packing!(pairs_lanes, "avx512f,avx512bw,avx512bf16", 2, 1, pairs_across, pairs_along);
packing!(planes_lanes, "avx512f,avx512bw,avx512bf16", 2, 3, planes_across, planes_along);
packing_rows!(pairs_rows, "avx512f,avx512bw,avx512bf16", 2, 1, pairs_across, pairs_along);
packing_rows!(planes_rows, "avx512f,avx512bw,avx512bf16", 2, 3, planes_across, planes_along);

/// The lanes from `at` on that lie below `end`, of sixteen.
pub(super) fn below(end: usize, at: usize) -> __mmask16 {
    match end.saturating_sub(at) {
        rest @ 0..16 => (1 << rest) - 1,
        _ => !0,
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn float32_across(source: Source, _steps: usize, mask: __mmask16) -> [__m512; 1] {
    // SAFETY: the mask leaves out what lies beyond the source.
    [unsafe { _mm512_maskz_loadu_ps(mask, source.data) }]
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn float32_along(data: *const f32, steps: usize) -> [__m512; 1] {
    // SAFETY: the mask leaves out what lies beyond the source.
    [unsafe { _mm512_maskz_loadu_ps(below(steps, 0), data) }]
}

/// The values of two steps of sixteen neighbours.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn two_across(source: Source, steps: usize, mask: __mmask16) -> [__m512; 2] {
    // SAFETY: the masks leave out what lies beyond the source.
    unsafe {
        let first = _mm512_maskz_loadu_ps(mask, source.data);
        let mask = if steps > 1 { mask } else { 0 };
        [first, _mm512_maskz_loadu_ps(mask, source.data.wrapping_add(source.k_stride))]
    }
}

/// Thirty-two steps of one row or column.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn two_along(data: *const f32, steps: usize) -> [__m512; 2] {
    // SAFETY: as above.
    unsafe {
        let first = _mm512_maskz_loadu_ps(below(steps, 0), data);
        [first, _mm512_maskz_loadu_ps(below(steps, 16), data.wrapping_add(16))]
    }
}

/// Both registers rounded to the nearest `bf16`, ties to even, one after the other. The instruction takes numbers below 2^-126 for zero, as the product of
/// pairs does anyway.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn halves([first, second]: [__m512; 2]) -> __m512i {
    // SAFETY: both types are 512 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(second, first)) }
}

/// From one register's `bf16` after the other's to pairs of both.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn interleaved(halves: __m512i) -> __m512 {
    let order = _mm512_set_epi16(
        31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1,
        16, 0,
    );
    _mm512_castsi512_ps(_mm512_permutexvar_epi16(order, halves))
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn pairs_across(source: Source, steps: usize, mask: __mmask16) -> [__m512; 1] {
    // SAFETY: the caller's promise.
    [interleaved(halves(unsafe { two_across(source, steps, mask) }))]
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn pairs_along(data: *const f32, steps: usize) -> [__m512; 1] {
    // SAFETY: the caller's promise.
    [_mm512_castsi512_ps(halves(unsafe { two_along(data, steps) }))]
}

/// The planes of two registers: what each `bf16` leaves of a number is the next one's to hold.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
fn planes_of(mut values: [__m512; 2]) -> [__m512i; 3] {
    let mut planes = [_mm512_setzero_si512(); 3];
    for plane in &mut planes {
        *plane = halves(values);
        let float = |half: __m256i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half)));
        values[0] = _mm512_sub_ps(values[0], float(_mm512_castsi512_si256(*plane)));
        values[1] = _mm512_sub_ps(values[1], float(_mm512_extracti64x4_epi64::<1>(*plane)));
    }
    planes
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn planes_across(source: Source, steps: usize, mask: __mmask16) -> [__m512; 3] {
    // SAFETY: the caller's promise.
    let [a, b, c] = planes_of(unsafe { two_across(source, steps, mask) });
    [interleaved(a), interleaved(b), interleaved(c)]
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn planes_along(data: *const f32, steps: usize) -> [__m512; 3] {
    // SAFETY: the caller's promise.
    let [a, b, c] = planes_of(unsafe { two_along(data, steps) });
    [_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), _mm512_castsi512_ps(c)]
}

/// Sixteen rows of sixteen become columns.
#[target_feature(enable = "avx512f")]
#[inline]
fn transpose(a: &mut [__m512; 16]) {
    let pair = |a: __m512, b: __m512| (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let doubles = |a: __m512, b: __m512| {
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        (_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
    };
    let quarters = |a: __m512, b: __m512| (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
    let mut b = [_mm512_setzero_ps(); 16];
    for i in 0..8 {
        (b[2 * i], b[2 * i + 1]) = pair(a[2 * i], a[2 * i + 1]);
    }
    for i in 0..4 {
        (a[4 * i], a[4 * i + 1]) = doubles(b[4 * i], b[4 * i + 2]);
        (a[4 * i + 2], a[4 * i + 3]) = doubles(b[4 * i + 1], b[4 * i + 3]);
    }
    for i in 0..4 {
        (b[i], b[i + 4]) = quarters(a[i], a[i + 4]);
        (b[i + 8], b[i + 12]) = quarters(a[i + 8], a[i + 12]);
    }
    for i in 0..4 {
        (a[i], a[i + 8]) = quarters(b[i], b[i + 8]);
        (a[i + 4], a[i + 12]) = quarters(b[i + 4], b[i + 12]);
    }
}
