//! How fast this machine multiplies and adds when everything is in registers.

use rayon::prelude::*;

/// Lanes of as many chains as stay in registers and are more than an addition takes cycles: 12 of 16 lanes, or 10 of 8 where there are half as many
/// registers.
const WIDE: usize = 12 * 16;
const NARROW: usize = 10 * 8;

/// Does about this many multiplications and additions, on all cores.
pub(crate) fn multiply_add(operations: f64) -> f64 {
    #[cfg(target_arch = "x86_64")]
    let is_wide = is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    let is_wide = false;
    let (lanes, chains): (usize, fn(u64) -> f32) = if is_wide { (WIDE, wide) } else { (NARROW, narrow) };
    let threads = rayon::current_num_threads();
    let rounds = operations / (2 * threads * lanes) as f64;
    (0..threads).into_par_iter().map(|_| f64::from(chains(rounds as u64))).sum()
}

#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512vl"))]
fn wide(rounds: u64) -> f32 {
    chains::<WIDE>(rounds)
}

#[multiversion::multiversion(targets("x86_64+avx2+fma", "aarch64+neon"))]
fn narrow(rounds: u64) -> f32 {
    chains::<NARROW>(rounds)
}

/// Independent chains of `x <- a * x + b`.
#[inline(always)]
fn chains<const LANES: usize>(rounds: u64) -> f32 {
    let (a, b) = (std::hint::black_box(0.999f32), std::hint::black_box(0.001f32));
    let mut x = [1f32; LANES];
    for _ in 0..rounds {
        for lane in &mut x {
            *lane = a.mul_add(*lane, b);
        }
    }
    x.iter().sum()
}
