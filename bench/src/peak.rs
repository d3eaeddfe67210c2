//! How fast this machine multiplies and adds when everything is in registers.

use rayon::prelude::*;

const LANES: usize = 16;
const CHAINS: usize = 12;

/// Does about this many multiplications and additions, on all cores.
pub(crate) fn multiply_add(operations: f64) -> f64 {
    let threads = rayon::current_num_threads();
    let rounds = operations / (2 * threads * LANES * CHAINS) as f64;
    (0..threads).into_par_iter().map(|_| f64::from(chains(rounds as u64))).sum()
}

/// Independent chains of `x <- a * x + b`: more of them than an addition takes cycles.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn chains(rounds: u64) -> f32 {
    let (a, b) = (std::hint::black_box(0.999f32), std::hint::black_box(0.001f32));
    let mut x = [1f32; LANES * CHAINS];
    for _ in 0..rounds {
        for lane in &mut x {
            *lane = a.mul_add(*lane, b);
        }
    }
    x.iter().sum()
}
