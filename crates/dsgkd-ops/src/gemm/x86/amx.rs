//! Tiles on Intel's matrix units (AMX): sixteen rows by sixteen lanes at an instruction, eight registers of them.
//!
//! Four registers hold the sums of 32 rows by 32 columns, two a factor. The left factor lies packed as `[blocks][planes][ROWS][16 lanes]`, the right
//! one as `[blocks][planes][16 lanes][NR]`: whole blocks of sixteen lanes of K, what lies beyond the matrix being zero (of `int8`, see there).
//!
//! The units know no `f32`. There a number is the sum of three of `bf16`, its *planes*, of which the first holds its leading 8 bits, the second the next
//! and the third the rest; of the nine products of planes the three smallest (below 2^-24 of the largest) are left out. An instruction adds up
//! 32 steps of K before it adds to the sums, so that the result is as near to the exact one as that of `f32` products (tests.rs), and it comes sooner. Only
//! numbers below 2^-103 lose bits, as the units take what is below 2^-126 for zero; and an infinity, like what is too large for `bf16`, becomes no number.

use super::kernel::{NR, Store, store_int8_row, store_row};
use super::pack::below;
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Rows of a tile of sums: two registers.
pub(super) const ROWS: usize = 32;
/// Lanes of K in a register.
pub(super) const BLOCK: usize = 16;

/// Whether this processor has the units, for `bf16` and `int8`, and the system lends them.
pub(super) fn are_there() -> bool {
    // Bits of EDX in leaf 7.
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    let needed = BF16 | TILES | INT8;
    is_x86_feature_detected!("avx512bf16") && __cpuid_count(7, 0).edx & needed == needed && permitted()
}

/// Asks the system for the tiles' registers, once for all threads.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory; kernels that do not know it answer with an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The tiles of this thread, set up for the functions below and given back when dropped.
pub(super) struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// # Safety
    /// They must be there ([`are_there`]).
    pub(super) unsafe fn new() -> Tiles {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        let eight = |index: usize| usize::from(index < 8);
        let configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: std::array::from_fn(|index| 64 * eight(index) as u16),
            rows: std::array::from_fn(|index| 16 * eight(index) as u8),
        };
        // SAFETY: the processor has tiles; 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &configuration, options(nostack, readonly, preserves_flags)) };
        Tiles(PhantomData)
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: whoever made them had a processor that has them.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// What the units multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Pairs of `bf16`.
    Bfloat16,
    /// `f32` in three planes of `bf16`.
    Float32,
    /// Four `u8` times `i8` a lane.
    Int8,
}

/// The sums of one tile, `[ROWS][NR]`, in `f32` or `i32`.
#[repr(align(64))]
struct Sums(MaybeUninit<[f32; ROWS * NR]>);

/// One tile of `rows <= ROWS` by `columns <= NR`, over `lanes` lanes of K, a multiple of [`BLOCK`].
///
/// # Safety
/// The processor must have what `numbers` need, and this thread [`Tiles`]; the factors must be valid for `lanes`, at multiples of 64 bytes;
/// `store` for `rows` and `columns`.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile(
    numbers: Numbers,
    lanes: usize,
    left: *const f32,
    right: *const f32,
    rows: usize,
    columns: usize,
    store: &Store,
) {
    debug_assert!(lanes.is_multiple_of(BLOCK) && rows <= ROWS && columns <= NR);
    let tall = rows > ROWS / 2;
    let factors = Factors { blocks: lanes / BLOCK, left, right };
    // The sums go on from what is there, in the registers: an element must not depend on whether its tile is a whole one.
    let go_on = store.accumulate && store.scale == 1.0;
    let whole = columns == NR && (rows == ROWS || rows == ROWS / 2);
    // SAFETY: the caller's promise; what is read of the sums was stored before.
    unsafe {
        if whole && store.scale == 1.0 && numbers != Numbers::Int8 {
            return add_products(numbers, tall, factors, store.out, store.stride, go_on);
        }
        let mut sums = Sums(MaybeUninit::uninit());
        let sums = sums.0.as_mut_ptr().cast::<f32>();
        if go_on {
            for row in 0..rows {
                for column in [0, NR / 2] {
                    let at = store.out.wrapping_add(row * store.stride + column);
                    _mm512_store_ps(sums.add(row * NR + column), _mm512_maskz_loadu_ps(below(columns, column), at));
                }
            }
        }
        add_products(numbers, tall, factors, sums, NR, go_on);
        for row in 0..rows {
            let sums = sums.add(row * NR);
            if numbers == Numbers::Int8 {
                store_int8_row(sums.cast::<[__m512i; 2]>().read(), row, columns, store);
            } else if store.scale == 1.0 {
                // As they are: a whole tile's are not scaled either.
                for column in [0, NR / 2] {
                    let at = store.out.wrapping_add(row * store.stride + column);
                    _mm512_mask_storeu_ps(at, below(columns, column), _mm512_load_ps(sums.add(column)));
                }
            } else {
                store_row(sums.cast::<[__m512; 2]>().read(), row, columns, store);
            }
        }
    }
}

/// Both factors of a tile.
struct Factors {
    blocks: usize,
    left: *const f32,
    right: *const f32,
}

/// Products of the left factor's registers, 4 and of `tall` tiles 5, with the right one's, 6 and 7.
macro_rules! products {
    ($instruction:literal, low) => {
        concat!($instruction, " tmm0, tmm4, tmm6\n", $instruction, " tmm1, tmm4, tmm7\n")
    };
    ($instruction:literal, tall) => {
        concat!(
            products!($instruction, low),
            concat!($instruction, " tmm2, tmm5, tmm6\n", $instruction, " tmm3, tmm5, tmm7\n")
        )
    };
}

/// Loads a plane of the left factor, 2048 bytes.
macro_rules! load_left {
    ($plane:literal, low) => {
        concat!("tileloadd tmm4, [{left} + {row}*1 + ", $plane, " * 2048]\n")
    };
    ($plane:literal, tall) => {
        concat!(load_left!($plane, low), "tileloadd tmm5, [{left} + {row}*1 + ", $plane, " * 2048 + 1024]\n")
    };
}

/// Loads a plane of the right factor, 2048 bytes.
macro_rules! load_right {
    ($plane:literal) => {
        concat!(
            concat!("tileloadd tmm6, [{right} + {lane}*1 + ", $plane, " * 2048]\n"),
            concat!("tileloadd tmm7, [{right} + {lane}*1 + ", $plane, " * 2048 + 64]\n")
        )
    };
}

/// One block of one plane.
macro_rules! one_plane {
    ($instruction:literal, $rows:tt) => {
        concat!(
            load_left!(0, $rows),
            load_right!(0),
            products!($instruction, $rows),
            "add {left}, 2048\nadd {right}, 2048\n"
        )
    };
}

/// One block of three planes: the products of 0 and 2, 0 and 1, 1 and 1, 1 and 0, 2 and 0, 0 and 0. Each but the first loads one factor anew.
macro_rules! three_planes {
    ($rows:tt) => {
        concat!(
            concat!(load_left!(0, $rows), load_right!(2), products!("tdpbf16ps", $rows)),
            concat!(load_right!(1), products!("tdpbf16ps", $rows)),
            concat!(load_left!(1, $rows), products!("tdpbf16ps", $rows)),
            concat!(load_right!(0), products!("tdpbf16ps", $rows)),
            concat!(load_left!(2, $rows), products!("tdpbf16ps", $rows)),
            concat!(load_left!(0, $rows), products!("tdpbf16ps", $rows)),
            "add {left}, 3 * 2048\nadd {right}, 3 * 2048\n"
        )
    };
}

/// Sets the sums, registers 0 and 1 and of `tall` tiles 2 and 3, to what is in memory where `go_on` is not zero, or to zero.
macro_rules! begin {
    (low) => {
        concat!(
            "tilezero tmm0\ntilezero tmm1\ntest {go_on}, {go_on}\njz 4f\n",
            "tileloadd tmm0, [{sums} + {stride}*1]\ntileloadd tmm1, [{sums} + {stride}*1 + 64]\n4:\n",
        )
    };
    (tall) => {
        concat!(
            begin!(low),
            "tilezero tmm2\ntilezero tmm3\ntest {go_on}, {go_on}\njz 5f\n",
            "tileloadd tmm2, [{lower} + {stride}*1]\ntileloadd tmm3, [{lower} + {stride}*1 + 64]\n5:\n",
        )
    };
}

/// Stores the sums.
macro_rules! end {
    (low) => {
        "tilestored [{sums} + {stride}*1], tmm0\ntilestored [{sums} + {stride}*1 + 64], tmm1\n"
    };
    (tall) => {
        concat!(end!(low), "tilestored [{lower} + {stride}*1], tmm2\ntilestored [{lower} + {stride}*1 + 64], tmm3\n")
    };
}

/// `sums [ROWS, or half of them][NR] = left * right`, or with `go_on` added to them, rows `stride` numbers apart.
///
/// # Safety
/// As for [`tile`]; all sums must be valid.
unsafe fn add_products(numbers: Numbers, tall: bool, factors: Factors, sums: *mut f32, stride: usize, go_on: bool) {
    let Factors { blocks, left, right } = factors;
    macro_rules! run {
        ($rows:tt, $block:expr) => {
            asm!(
                begin!($rows),
                "test {blocks}, {blocks}",
                "jz 3f",
                "2:",
                $block,
                "dec {blocks}",
                "jnz 2b",
                "3:",
                end!($rows),
                "/* {lower} */", // Not used by tiles that are not tall.
                blocks = inout(reg) blocks => _,
                left = inout(reg) left => _,
                right = inout(reg) right => _,
                sums = in(reg) sums,
                lower = in(reg) sums.wrapping_add(ROWS / 2 * stride),
                stride = in(reg) 4 * stride,
                go_on = in(reg) usize::from(go_on),
                row = in(reg) 64usize,
                lane = in(reg) 4 * NR,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            )
        };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match (numbers, tall) {
            (Numbers::Bfloat16, true) => run!(tall, one_plane!("tdpbf16ps", tall)),
            (Numbers::Bfloat16, false) => run!(low, one_plane!("tdpbf16ps", low)),
            (Numbers::Float32, true) => run!(tall, three_planes!(tall)),
            (Numbers::Float32, false) => run!(low, three_planes!(low)),
            (Numbers::Int8, true) => run!(tall, one_plane!("tdpbusd", tall)),
            (Numbers::Int8, false) => run!(low, one_plane!("tdpbusd", low)),
        }
    }
}
