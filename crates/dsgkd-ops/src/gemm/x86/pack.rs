//! Packing: a factor's panel copied into the order in which the tiles read it, rounded on the way.
//!
//! A panel of `W` columns (of the right factor) or rows (of the left) becomes `[lanes][W]`. What lies beyond the matrix is zero.

use super::kernel::Multiply;
use std::arch::x86_64::*;

/// What a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An `f32`.
    Float32,
    /// An `f32` that was rounded to `bf16`: for processors that multiply `f32` faster than pairs of `bf16`.
    RoundedFloat32,
    /// Two `bf16`.
    Bfloat16Pairs,
}

impl Format {
    /// Steps of K in a lane.
    pub(super) fn steps(self) -> usize {
        match self {
            Format::Float32 | Format::RoundedFloat32 => 1,
            Format::Bfloat16Pairs => 2,
        }
    }

    /// How its lanes are multiplied.
    pub(super) fn multiply(self) -> Multiply {
        match self {
            Format::Float32 | Format::RoundedFloat32 => Multiply::Float32,
            Format::Bfloat16Pairs => Multiply::Bfloat16Pairs,
        }
    }
}

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
    /// The source from step `k` and row or column `w` on.
    ///
    /// # Safety
    /// Both must lie inside it.
    pub(super) unsafe fn at(self, k: usize, w: usize) -> Source {
        // SAFETY: the caller's promise.
        Source { data: unsafe { self.data.add(k * self.k_stride + w * self.w_stride) }, ..self }
    }
}

/// Packs `width <= W` rows or columns over `steps` of K.
///
/// # Safety
/// The processor must have AVX-512 F and BW (and BF16 for pairs); `source` must be valid for `steps` and `width`, `panel`
/// for `steps / format.steps()` (rounded up) times `W` lanes.
pub(super) unsafe fn pack<const W: usize>(format: Format, source: Source, steps: usize, width: usize, panel: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match format {
            Format::Float32 => pack_float32::<W>(source, steps, width, panel),
            Format::RoundedFloat32 => pack_rounded::<W>(source, steps, width, panel),
            Format::Bfloat16Pairs => pack_pairs::<W>(source, steps, width, panel),
        }
    }
}

/// One packing loop a format, so that each is compiled for the instructions it needs: `$across` makes one lane of each of sixteen
/// neighbours in memory, `$along` sixteen lanes of one row or column whose steps are neighbours.
macro_rules! packing {
    ($name:ident, $features:literal, $format:expr, $across:ident, $along:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $name<const W: usize>(source: Source, steps: usize, width: usize, panel: *mut f32) {
            let lane = $format.steps();
            // SAFETY: the caller's promise; masks leave out what lies beyond `steps` and `width`.
            unsafe {
                if source.w_stride == 1 {
                    for step in (0..steps).step_by(lane) {
                        let row = panel.add(step / lane * W);
                        for w in (0..W).step_by(16) {
                            let lanes = $across(source.at(step, w), steps - step, below(width, w));
                            _mm512_mask_storeu_ps(row.add(w), below(W, w), lanes);
                        }
                    }
                    return;
                }
                assert_eq!(source.k_stride, 1);
                for step in (0..steps).step_by(16 * lane) {
                    let lanes = (steps - step).div_ceil(lane).min(16);
                    for w in (0..W).step_by(16) {
                        let mut block = [_mm512_setzero_ps(); 16]; // [w][lane]
                        for i in 0..width.saturating_sub(w).min(16) {
                            block[i] = $along(source.at(step, w + i).data, steps - step);
                        }
                        let block = transposed(block); // [lane][w]
                        for (i, row) in block.into_iter().enumerate().take(lanes) {
                            let at = panel.add((step / lane + i) * W + w);
                            _mm512_mask_storeu_ps(at, below(W, w), row);
                        }
                    }
                }
            }
        }
    };
}

packing!(pack_float32, "avx512f,avx512bw", Format::Float32, float32_across, float32_along);
packing!(pack_rounded, "avx512f,avx512bw", Format::RoundedFloat32, rounded_across, rounded_along);
packing!(pack_pairs, "avx512f,avx512bw,avx512bf16", Format::Bfloat16Pairs, pairs_across, pairs_along);

/// The lanes from `at` on that lie below `end`, of sixteen.
pub(super) fn below(end: usize, at: usize) -> __mmask16 {
    match end.saturating_sub(at) {
        rest @ 0..16 => (1 << rest) - 1,
        _ => !0,
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn float32_across(source: Source, _steps: usize, mask: __mmask16) -> __m512 {
    // SAFETY: the mask leaves out what lies beyond the source.
    unsafe { _mm512_maskz_loadu_ps(mask, source.data) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn float32_along(data: *const f32, steps: usize) -> __m512 {
    // SAFETY: the mask leaves out what lies beyond the source.
    unsafe { _mm512_maskz_loadu_ps(below(steps, 0), data) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn rounded_across(source: Source, steps: usize, mask: __mmask16) -> __m512 {
    // SAFETY: as above.
    rounded(unsafe { float32_across(source, steps, mask) })
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
unsafe fn rounded_along(data: *const f32, steps: usize) -> __m512 {
    // SAFETY: as above.
    rounded(unsafe { float32_along(data, steps) })
}

/// The instruction rounds as [`rounded`] does, but takes numbers below 2^-126 for zero, as the product of pairs does anyway.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn pairs_across(source: Source, steps: usize, mask: __mmask16) -> __m512 {
    // SAFETY: the masks leave out what lies beyond the source.
    unsafe {
        let first = _mm512_maskz_loadu_ps(mask, source.data);
        let mask = if steps > 1 { mask } else { 0 };
        let second = _mm512_maskz_loadu_ps(mask, source.data.wrapping_add(source.k_stride));
        let halves: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(second, first));
        let interleaved = _mm512_set_epi16(
            31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17,
            1, 16, 0,
        );
        _mm512_castsi512_ps(_mm512_permutexvar_epi16(interleaved, halves))
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
#[inline]
unsafe fn pairs_along(data: *const f32, steps: usize) -> __m512 {
    // SAFETY: the masks leave out what lies beyond the source.
    unsafe {
        let first = _mm512_maskz_loadu_ps(below(steps, 0), data);
        let second = _mm512_maskz_loadu_ps(below(steps, 16), data.wrapping_add(16));
        std::mem::transmute(_mm512_cvtne2ps_pbh(second, first))
    }
}

/// Rounds to the nearest `bf16`, ties to even. An infinity stays one; what is no number stays none, except the few whose
/// payload lies in the lost bits alone, which become infinite.
#[target_feature(enable = "avx512f")]
#[inline]
fn rounded(values: __m512) -> __m512 {
    let bits = _mm512_castps_si512(values);
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
    let bits = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
    _mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(!0xFFFF)))
}

/// Sixteen rows of sixteen become columns.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn transposed(rows: [__m512; 16]) -> [__m512; 16] {
    let pair = |a: __m512, b: __m512| (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let doubles = |a: __m512, b: __m512| {
        let (a, b) = (_mm512_castps_pd(a), _mm512_castps_pd(b));
        (_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)))
    };
    let quarters = |a: __m512, b: __m512| (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b));
    let (mut a, mut b) = (rows, [_mm512_setzero_ps(); 16]);
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
    a
}
