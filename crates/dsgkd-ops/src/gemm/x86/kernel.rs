//! The tiles: the sum over K of `MR x NR` products, kept in registers (24 of the 32) from first to last.
//!
//! Every factor comes in *lanes* of 32 bits: one `f32`, a pair of `bf16` or four `int8`, all neighbours along K. The right
//! factor lies packed, `[K][NR]`; the left one row by row, or packed, `[K][MR]`, where the steps of its rows are no neighbours.
//!
//! Where more columns than a panel's are asked for, they are those of two panels, and the rows are halved: as many sums in as many
//! registers, with 10 loads a step of K for 14. Each sum runs over K in the same order, to the same bits.

use super::pack::below;
use std::arch::x86_64::*;
use std::ops::Range;

/// Rows of a tile.
pub(super) const MR: usize = crate::gemm::LEAST_PANEL_ROWS;
/// Columns of a panel: two registers.
pub(super) const NR: usize = 32;
/// Rows of a tile over two panels.
const HALF: usize = MR / 2;
/// Lanes of a register.
const LANES: usize = 16;

/// How the lanes of a product are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Multiply {
    /// One `f32` a lane.
    Float32,
    /// Two `bf16` a lane, by AVX-512 BF16.
    Bfloat16Pairs,
    /// Four `u8` times `i8` a lane, by AVX-512 VNNI.
    Int8Quads,
}

/// The left factor of one tile.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// A panel: `[K][MR]`, or as the units of [`super::amx`] want it.
    Packed(*const f32),
    /// Row by row: lane `k` of row `r` at `data[r * stride + k]`.
    Rows { data: *const f32, stride: usize },
}

impl Left {
    /// The panel from another row on.
    fn at_row(self, row: usize) -> Left {
        match self {
            Left::Packed(panel) => Left::Packed(panel.wrapping_add(row)),
            Left::Rows { data, stride } => Left::Rows { data: data.wrapping_add(row * stride), stride },
        }
    }
}

/// The right factor of one tile.
#[derive(Clone, Copy)]
pub(super) struct Right {
    /// Its first panel.
    pub(super) data: *const f32,
    /// From panel to panel.
    pub(super) stride: usize,
    pub(super) ahead: Ahead,
}

/// What is read into the second cache while a tile is computed: its share of a panel that will be multiplied next. Without it the first tiles over a panel
/// wait for memory, a twentieth to a tenth of a product with few rows (ARCHITECTURE.md).
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    /// The share's first word.
    data: *const f32,
    /// Words for each lane of the tile.
    step: usize,
}

impl Ahead {
    /// The share of one tile of `tiles`, one after the other, all over `lanes` lanes; the panel has as many, of [`NR`] words.
    pub(super) fn share(panel: *const f32, lanes: usize, tile: usize, tiles: usize) -> Ahead {
        let step = NR.div_ceil(tiles).min(LANES); // a line at most
        Ahead { data: panel.wrapping_add((tile * step).min(NR - step) * lanes), step }
    }

    fn at_panel(self, stride: usize) -> Ahead {
        Ahead { data: self.data.wrapping_add(stride), ..self }
    }
}

/// What becomes of a tile's sums. Passed by reference: copied once a tile, it cost a twentieth of a small product (ARCHITECTURE.md).
pub(super) struct Store {
    pub(super) out: *mut f32,
    pub(super) stride: usize,
    pub(super) accumulate: bool,
    /// Factor of every sum.
    pub(super) scale: f32,
    /// `int8` only: the factor of each row, and the factor and the offset of each column.
    pub(super) row_scales: *const f32,
    pub(super) column_scales: *const f32,
    pub(super) column_offsets: *const i32,
}

/// One tile of `rows <= MR` by `columns <= 2 * NR`, over `lanes` lanes of K.
///
/// # Safety
/// The processor must have what `multiply` needs; `left` and `right` must be valid for `lanes` lanes, the panels of `right` at
/// multiples of 64 bytes; `store` for `rows` and `columns`.
pub(super) unsafe fn tile(
    multiply: Multiply,
    lanes: usize,
    left: Left,
    right: Right,
    rows: usize,
    columns: usize,
    store: &Store,
) {
    let upper = rows.min(if columns > NR { HALF } else { MR });
    // SAFETY, to the end: the caller's promise.
    unsafe { registers(multiply, lanes, left, right, 0..upper, columns, store) };
    if upper < rows {
        // Of two panels the upper rows read the first ahead, the lower ones the second: a tile without lower rows leaves it out.
        let right = Right { ahead: right.ahead.at_panel(right.stride), ..right };
        unsafe { registers(multiply, lanes, left.at_row(upper), right, upper..rows, columns, store) };
    }
}

/// One tile whose sums all have a register: `rows` are at most [`MR`] of one panel, [`HALF`] of two, and `left` is at the first of them.
///
/// # Safety
/// As for [`tile`].
unsafe fn registers(
    multiply: Multiply,
    lanes: usize,
    left: Left,
    right: Right,
    rows: Range<usize>,
    columns: usize,
    store: &Store,
) {
    macro_rules! sized {
        ($kernel:ident, $packed:literal, $left:expr, $columns:literal, $($rows:literal)*) => {
            match rows.len() {
                $($rows => $kernel::<$rows, $columns, $packed>(lanes, $left, right, rows.start, columns, store),)*
                _ => unreachable!("a tile has 1 to {MR} rows, over two panels 1 to {HALF}"),
            }
        };
    }
    macro_rules! kernel {
        ($kernel:ident, $packed:literal, $left:expr) => {
            match columns.div_ceil(LANES) {
                1 => sized!($kernel, $packed, $left, 1, 1 2 3 4 5 6 7 8 9 10 11 12),
                2 => sized!($kernel, $packed, $left, 2, 1 2 3 4 5 6 7 8 9 10 11 12),
                3 => sized!($kernel, $packed, $left, 3, 1 2 3 4 5 6),
                4 => sized!($kernel, $packed, $left, 4, 1 2 3 4 5 6),
                _ => unreachable!("a tile has 1 to {} columns", 2 * NR),
            }
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match (multiply, left) {
            (Multiply::Float32, Left::Packed(data)) => kernel!(float32, true, (data, MR)),
            (Multiply::Float32, Left::Rows { data, stride }) => kernel!(float32, false, (data, stride)),
            (Multiply::Bfloat16Pairs, Left::Packed(data)) => kernel!(bfloat16_pairs, true, (data, MR)),
            (Multiply::Bfloat16Pairs, Left::Rows { data, stride }) => kernel!(bfloat16_pairs, false, (data, stride)),
            (Multiply::Int8Quads, Left::Rows { data, stride }) => kernel!(int8_quads, false, (data, stride)),
            (Multiply::Int8Quads, Left::Packed(_)) => unreachable!("activations are quantised row by row"),
        }
    }
}

/// The loop over K, the same for every kind of lane: `R` rows by `J` registers of sums. A left factor comes with its stride, from lane to lane of a packed one,
/// from row to row otherwise.
macro_rules! sums {
    ($R:ident, $J:ident, $PACKED:ident, $lanes:ident, $left:ident, $right:ident, $zero:expr, |$sum:ident, $a:ident, $b:ident| $multiply:expr) => {{
        let mut sums = [[$zero; $J]; $R];
        let (row_stride, lane_stride) = if $PACKED { (1, MR) } else { ($left.1, 1) };
        let (mut a, mut b, mut ahead) = ($left.0, $right.data, $right.ahead.data);
        for _ in 0..$lanes {
            let mut columns = [_mm512_setzero_ps(); $J];
            for j in 0..$J {
                columns[j] = _mm512_load_ps(b.add(j * LANES / NR * $right.stride + j * LANES % NR));
            }
            for r in 0..$R {
                let $a = _mm512_set1_ps(*a.add(r * row_stride));
                for j in 0..$J {
                    let ($sum, $b) = (sums[r][j], columns[j]);
                    sums[r][j] = $multiply;
                }
            }
            _mm_prefetch::<_MM_HINT_T1>(ahead.cast());
            ahead = ahead.wrapping_add($right.ahead.step);
            a = a.wrapping_add(lane_stride); // of a panel's lower rows, the last step ends behind it
            b = b.add(NR);
        }
        sums
    }};
}

/// What becomes of one row's sums of `f32`.
///
/// # Safety
/// The processor must have AVX-512; `store` must be valid for the row's `columns`.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn store_row<const J: usize>(sums: [__m512; J], row: usize, columns: usize, store: &Store) {
    let scale = _mm512_set1_ps(store.scale);
    // SAFETY: the mask leaves out what lies beyond `columns`.
    unsafe {
        let at = store.out.add(row * store.stride);
        // Most tiles are whole and the first of their sums: a mask and what was there before cost as much as twenty steps of K.
        if columns == J * LANES && !store.accumulate {
            for (j, sum) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(at.add(j * LANES), _mm512_fmadd_ps(sum, scale, _mm512_setzero_ps()));
            }
            return;
        }
        for (j, sum) in sums.into_iter().enumerate() {
            let (mask, at) = (below(columns, j * LANES), at.wrapping_add(j * LANES));
            let before = if store.accumulate { _mm512_maskz_loadu_ps(mask, at) } else { _mm512_setzero_ps() };
            _mm512_mask_storeu_ps(at, mask, _mm512_fmadd_ps(sum, scale, before));
        }
    }
}

/// What becomes of one row's sums of `int8`.
///
/// # Safety
/// As for [`store_row`], and for the row's scale and the columns' scales and offsets, padded to whole registers.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) unsafe fn store_int8_row<const J: usize>(sums: [__m512i; J], row: usize, columns: usize, store: &Store) {
    // SAFETY: as above.
    unsafe {
        let row_scale = _mm512_set1_ps(*store.row_scales.add(row));
        for (j, sum) in sums.into_iter().enumerate() {
            let offset = _mm512_loadu_si512(store.column_offsets.add(j * LANES).cast());
            let scale = _mm512_mul_ps(row_scale, _mm512_loadu_ps(store.column_scales.add(j * LANES)));
            let value = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset)), scale);
            let at = store.out.add(row * store.stride).wrapping_add(j * LANES);
            _mm512_mask_storeu_ps(at, below(columns, j * LANES), value);
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn float32<const R: usize, const J: usize, const PACKED: bool>(
    lanes: usize,
    left: (*const f32, usize),
    right: Right,
    first: usize,
    columns: usize,
    store: &Store,
) {
    // SAFETY: the caller of `tile` vouches for the pointers.
    unsafe {
        let sums = sums!(R, J, PACKED, lanes, left, right, _mm512_setzero_ps(), |sum, a, b| _mm512_fmadd_ps(a, b, sum));
        for (row, sums) in sums.into_iter().enumerate() {
            store_row(sums, first + row, columns, store);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bfloat16_pairs<const R: usize, const J: usize, const PACKED: bool>(
    lanes: usize,
    left: (*const f32, usize),
    right: Right,
    first: usize,
    columns: usize,
    store: &Store,
) {
    // SAFETY: as above; a register of pairs is a register of lanes.
    unsafe {
        let pairs = |lanes: __m512| std::mem::transmute::<__m512, __m512bh>(lanes);
        let sums = sums!(R, J, PACKED, lanes, left, right, _mm512_setzero_ps(), |sum, a, b| _mm512_dpbf16_ps(
            sum,
            pairs(a),
            pairs(b)
        ));
        for (row, sums) in sums.into_iter().enumerate() {
            store_row(sums, first + row, columns, store);
        }
    }
}

#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn int8_quads<const R: usize, const J: usize, const PACKED: bool>(
    lanes: usize,
    left: (*const f32, usize),
    right: Right,
    first: usize,
    columns: usize,
    store: &Store,
) {
    // SAFETY: as above; scales and offsets are padded to whole registers.
    unsafe {
        let sums = sums!(R, J, PACKED, lanes, left, right, _mm512_setzero_si512(), |sum, a, b| _mm512_dpbusd_epi32(
            sum,
            _mm512_castps_si512(a),
            _mm512_castps_si512(b)
        ));
        for (row, sums) in sums.into_iter().enumerate() {
            store_int8_row(sums, first + row, columns, store);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes of K.
    const STEPS: usize = 37;

    /// A step of K fetches one line at most, so a single tile reads half a panel ahead; the shares of two or more are all of it, and nothing beyond.
    #[test]
    fn the_tiles_over_a_panel_read_all_of_the_next_one_ahead() {
        for tiles in 2..100 {
            let shares = (0..tiles).map(|tile| Ahead::share(std::ptr::null(), STEPS, tile, tiles));
            let words = shares.map(|ahead| (ahead.data as usize / 4, ahead.data as usize / 4 + ahead.step * STEPS));
            let end = words.fold(0, |end, (from, to)| {
                assert!(from <= end, "{tiles} tiles leave out {end} to {from}");
                to
            });
            assert_eq!(end, NR * STEPS, "{tiles} tiles");
        }
    }

    /// Whatever the processor's maker: a tile over two panels has the bits of two tiles over one each.
    #[test]
    fn two_panels_at_once_give_what_each_gives_alone() {
        let mut multiplies = vec![];
        multiplies.extend(is_x86_feature_detected!("avx512f").then_some(Multiply::Float32));
        multiplies.extend(is_x86_feature_detected!("avx512bf16").then_some(Multiply::Bfloat16Pairs));
        multiplies.extend(is_x86_feature_detected!("avx512vnni").then_some(Multiply::Int8Quads));
        let numbers = |count: usize, bytes: fn(usize) -> f32| (0..count).map(bytes).collect::<Vec<f32>>();
        for multiply in multiplies {
            let number: fn(usize) -> f32 = match multiply {
                Multiply::Float32 => |i| (i * 7919 % 1009) as f32 / 504.5 - 1.0,
                // Two `bf16` of ordinary size, four bytes of any.
                Multiply::Bfloat16Pairs => |i| f32::from_bits(0x3F80_3F80 | ((i * 7919 % 97) as u32 * 0x0001_0001)),
                Multiply::Int8Quads => |i| f32::from_bits((i as u32).wrapping_mul(2_654_435_761)),
            };
            let left = numbers(STEPS * MR, number);
            let panels = numbers(2 * STEPS * NR + LANES, number);
            let (scales, offsets) = (numbers(2 * NR, |i| i as f32 + 0.5), (0..2 * NR as i32).collect::<Vec<_>>());
            let right = panels[panels.as_ptr().align_offset(64)..].as_ptr();
            let lefts = [Left::Packed(left.as_ptr()), Left::Rows { data: left.as_ptr(), stride: STEPS }];
            for (left, rows) in lefts.into_iter().flat_map(|left| (1..=MR).map(move |rows| (left, rows))) {
                if multiply == Multiply::Int8Quads && matches!(left, Left::Packed(_)) {
                    continue;
                }
                for (columns, accumulate) in
                    [(NR + 1, false), (NR + LANES, true), (NR + LANES + 1, true), (2 * NR, false)]
                {
                    let run = |columns_at_once: usize| {
                        let mut out = vec![0.25f32; MR * 2 * NR];
                        for column in (0..columns).step_by(columns_at_once) {
                            let store = Store {
                                out: out[column..].as_mut_ptr(),
                                stride: 2 * NR,
                                accumulate,
                                scale: 0.5,
                                row_scales: scales.as_ptr(),
                                column_scales: scales[column..].as_ptr(),
                                column_offsets: offsets[column..].as_ptr(),
                            };
                            let right = Right {
                                data: right.wrapping_add(column * STEPS),
                                stride: STEPS * NR,
                                ahead: Ahead::share(right, STEPS, 0, 1),
                            };
                            let columns = (columns - column).min(columns_at_once);
                            // SAFETY: the processor was asked; factors, scales and sums have room for two panels.
                            unsafe { tile(multiply, STEPS, left, right, rows, columns, &store) };
                        }
                        out
                    };
                    assert!(run(2 * NR) == run(NR), "{multiply:?}: {rows} x {columns}");
                    let beyond = |row: &[f32]| row[columns..].iter().all(|value| *value == 0.25);
                    assert!(run(2 * NR).chunks(2 * NR).all(beyond), "{multiply:?}: wrote beyond {columns} columns");
                }
            }
        }
    }
}
