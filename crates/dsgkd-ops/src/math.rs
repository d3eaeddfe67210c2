//! Elementary functions in forms that compilers vectorise, and sums in sixteen lanes.
//!
//! They are `#[inline(always)]` so that they take on the instruction set of the `multiversion` function
//! they are called from.

/// Lanes of a sum: what one AVX-512 register holds.
pub(crate) const LANES: usize = 16;

/// `e^x`, relative error below 2e-7; below -87 as at -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    // Added to 1.5 * 2^23, a number is rounded to a whole one, which then stands in the low bits.
    let shifted = x.mul_add(std::f32::consts::LOG2_E, 12_582_912.0);
    let n = shifted - 12_582_912.0;
    // ln 2 in two parts, so that the reduced argument keeps its low bits.
    let r = (-n).mul_add(0.693_145_75, x);
    let r = (-n).mul_add(1.428_606_8e-6, r);
    let p = (1.0f32 / 720.0).mul_add(r, 1.0 / 120.0);
    let p = p.mul_add(r, 1.0 / 24.0);
    let p = p.mul_add(r, 1.0 / 6.0);
    let p = p.mul_add(r, 0.5).mul_add(r, 1.0).mul_add(r, 1.0);
    // Times 2^n: p is near 1 and n from -126 to 127, so that adding to the exponent's bits is enough.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The cumulative normal distribution, absolute error below 2e-7: a half and an odd rational function, which is the minimax one of its degrees
/// on the part where the result is neither 0 nor 1 in `f32`; half the time of one that needs an exponential.
#[inline(always)]
pub(crate) fn normal_cumulative(x: f32) -> f32 {
    let x = x.clamp(-5.4, 5.4);
    let z = x * x;
    let p = 2.338_675_2e-8f32.mul_add(z, 6.360_024_6e-6).mul_add(z, 1.643_218_4e-4);
    let p = p.mul_add(z, 4.650_852e-3).mul_add(z, 3.337_224e-2).mul_add(z, 0.398_942_23);
    let q = 1.216_591_8e-6f32.mul_add(z, 7.240_024_6e-5).mul_add(z, 1.858_982_3e-3);
    let q = q.mul_add(z, 2.837_869_3e-2).mul_add(z, 0.250_317_87).mul_add(z, 1.0);
    x.mul_add(p / q, 0.5)
}

/// The hyperbolic tangent, absolute error below 3e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let e = exp(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

/// Folds sixteen lanes into one, half upon half.
#[inline(always)]
fn fold(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of a slice, in sixteen lanes.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    fold(lanes, |a, b| a + b) + rest
}

/// The dot product of two slices of one length, in sixteen lanes.
#[inline(always)]
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (l, r) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = l.remainder().iter().zip(r.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in l.zip(r) {
        for lane in 0..LANES {
            lanes[lane] = a[lane].mul_add(b[lane], lanes[lane]);
        }
    }
    fold(lanes, |a, b| a + b) + rest
}

/// The greater of two numbers, in one instruction.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The greatest value of a slice.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = greater(chunk[lane], lanes[lane]);
        }
    }
    greater(rest, fold(lanes, greater))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_to_the_library_s() {
        for i in -8700..8800 {
            let x = i as f32 / 100.0;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - exact).abs() <= 3e-7 * exact, "exp({x}) = {ours}, not {exact}");
        }
    }

    #[test]
    fn tanh_is_close() {
        for i in -1000..1000 {
            let x = i as f32 / 100.0;
            assert!((f64::from(tanh(x)) - f64::from(x).tanh()).abs() < 3e-7);
        }
    }

    #[test]
    fn the_normal_distribution_is_close() {
        // A few points, from a table of 10 digits.
        let table = [(0.0, 0.5), (0.5, 0.691_462_461_3), (1.0, 0.841_344_746_1), (2.0, 0.977_249_868_1)];
        for (x, exact) in table {
            assert!((f64::from(normal_cumulative(x)) - exact).abs() < 2e-7);
        }
        // Between them by its series, 1/2 + density(x) (x + x^3/3 + x^5/15 + ...), in double precision.
        for i in -700..=700 {
            let x = f64::from(i) / 100.0;
            let (mut term, mut sum, mut n) = (x, x, 1.0);
            while f64::abs(term) > 1e-12 {
                n += 2.0;
                term *= x * x / n;
                sum += term;
            }
            let exact = 0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            assert!((f64::from(normal_cumulative(x as f32)) - exact).abs() < 2e-7, "at {x}");
        }
        for far in [10.0, 1e30, f32::INFINITY] {
            assert!((normal_cumulative(far) - 1.0).abs() < 2e-7 && normal_cumulative(-far).abs() < 2e-7);
        }
        assert!(normal_cumulative(f32::NAN).is_nan());
    }

    #[test]
    fn sums_take_every_element() {
        let values: Vec<f32> = (1..=37).map(|i| i as f32).collect();
        assert_eq!(sum(&values), 703.0);
        assert_eq!(dot(&values, &values), 17575.0);
        assert_eq!(max(&values), 37.0);
        assert_eq!(max(&values[..3]), 3.0);
    }
}
