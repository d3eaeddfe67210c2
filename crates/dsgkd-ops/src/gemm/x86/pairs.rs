//! The tiles of processors with AVX2 and no more: pairs of `int8` in 16 bits each, a quarter of a tile at a time.
//!
//! AVX2 has a product of `int8` whose sums may overflow. Those of pairs of 16 bits are exact, as those of the other processors are, so that all
//! give the same digits; they are had at half again the rate of `f32` or more.

use super::int8::scale_of;
use super::kernel::{MR, NR, Store};
use std::arch::x86_64::*;

/// Rows and columns of a quarter: twelve registers of sums, of the sixteen.
const ROWS: usize = MR / 2;
const COLUMNS: usize = NR / 2;
/// Lanes of a register.
const LANES: usize = 8;

/// One tile of `rows <= MR` by `columns <= NR`, over `lanes` lanes of K: `left [lanes][MR]`, `right [lanes][NR]`.
///
/// # Safety
/// The processor must have AVX2; otherwise as for [`super::kernel::tile`].
pub(super) unsafe fn tile(
    lanes: usize,
    left: *const f32,
    right: *const f32,
    rows: usize,
    columns: usize,
    store: &Store,
) {
    for column in (0..columns).step_by(COLUMNS) {
        for row in (0..rows).step_by(ROWS) {
            // SAFETY: the quarter lies inside the tile; the caller vouches for that.
            unsafe {
                let (left, right) = (left.add(row), right.add(column));
                let store = Store {
                    out: store.out.add(row * store.stride + column),
                    row_scales: store.row_scales.add(row),
                    column_scales: store.column_scales.add(column),
                    ..*store // pairs are signed and have no offsets
                };
                let columns = (columns - column).min(COLUMNS);
                match (rows - row).min(ROWS) {
                    1 => quarter::<1>(lanes, left, right, columns, store),
                    2 => quarter::<2>(lanes, left, right, columns, store),
                    3 => quarter::<3>(lanes, left, right, columns, store),
                    4 => quarter::<4>(lanes, left, right, columns, store),
                    5 => quarter::<5>(lanes, left, right, columns, store),
                    _ => quarter::<ROWS>(lanes, left, right, columns, store),
                }
            }
        }
    }
}

#[target_feature(enable = "avx2")]
unsafe fn quarter<const R: usize>(
    lanes: usize,
    mut left: *const f32,
    mut right: *const f32,
    columns: usize,
    store: Store,
) {
    // SAFETY: the caller of `tile` vouches for the pointers.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; R];
        for _ in 0..lanes {
            let b = [0, LANES].map(|lane| _mm256_load_si256(right.add(lane).cast()));
            for (r, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_castps_si256(_mm256_broadcast_ss(&*left.add(r)));
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(a, b[0]));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(a, b[1]));
            }
            // Of a panel's later rows and columns, the last step ends behind it.
            left = left.wrapping_add(MR);
            right = right.wrapping_add(NR);
        }
        for (row, sums) in sums.into_iter().enumerate() {
            let row_scale = _mm256_set1_ps(*store.row_scales.add(row));
            for (j, sum) in sums.into_iter().enumerate() {
                let at = store.out.add(row * store.stride).wrapping_add(j * LANES);
                let scale = _mm256_mul_ps(row_scale, _mm256_loadu_ps(store.column_scales.add(j * LANES)));
                let value = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), scale);
                match columns.saturating_sub(j * LANES) {
                    LANES.. => _mm256_storeu_ps(at, value),
                    rest => _mm256_maskstore_ps(at, below(rest), value),
                }
            }
        }
    }
}

/// The first `end` lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn below(end: usize) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(end as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// Quantises `width <= MR` rows of `steps` values, `stride` apart, into one panel `[lanes][MR]`; what the panel has beyond them is not stored by any tile.
///
/// # Safety
/// The processor must have AVX2; the pointers must be valid for that.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn quantise_panel(
    data: *const f32,
    stride: usize,
    steps: usize,
    width: usize,
    panel: *mut f32,
    scales: *mut f32,
) {
    const STEPS: usize = 2 * LANES;
    for row in 0..width {
        // SAFETY: the caller's promise.
        let values = unsafe { std::slice::from_raw_parts(data.add(row * stride), steps) };
        let scale = scale_of(greatest(values));
        let inverse = _mm256_set1_ps(1.0 / scale);
        // SAFETY: as above.
        unsafe { *scales.add(row) = scale };
        for (block, values) in values.chunks(STEPS).enumerate() {
            let mut whole = [0f32; STEPS]; // zeros beyond the row's end
            whole[..values.len()].copy_from_slice(values);
            // SAFETY: the loads and stores are of arrays of their sizes, and the lanes lie in the panel.
            unsafe {
                let [low, high] = [0, LANES]
                    .map(|at| _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(whole.as_ptr().add(at)), inverse)));
                // Packing goes by halves of registers; the halves go back to their places.
                let pairs = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(low, high));
                let mut lanes = [0f32; LANES];
                _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_castsi256_ps(pairs));
                for (lane, pair) in lanes.iter().take(values.len().div_ceil(2)).enumerate() {
                    *panel.add((block * LANES + lane) * MR + row) = *pair;
                }
            }
        }
    }
}

/// The greatest absolute value.
#[target_feature(enable = "avx2")]
fn greatest(values: &[f32]) -> f32 {
    let mut lanes = [0f32; 4 * LANES];
    let chunks = values.chunks_exact(4 * LANES);
    let rest = chunks.remainder().iter().fold(0f32, |greatest, value| greatest.max(value.abs()));
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(value.abs());
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}
