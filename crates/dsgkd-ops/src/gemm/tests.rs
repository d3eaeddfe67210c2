use super::*;

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
}

/// A case's factors, row-major, and whether each is given transposed.
struct Case {
    sizes: [usize; 3],
    transposed: [bool; 2],
    factors: [Vec<f32>; 2],
}

impl Case {
    fn new(sizes: [usize; 3], transposed: [bool; 2]) -> Case {
        let [rows, steps, columns] = sizes;
        Case { sizes, transposed, factors: [numbers(rows * steps, rows), numbers(steps * columns, columns)] }
    }

    fn factor(&self, which: usize) -> Matrix<'_> {
        let (rows, columns) = (self.sizes[which], self.sizes[which + 1]);
        let data = &self.factors[which];
        if self.transposed[which] {
            Matrix::new(data, columns, rows, rows).transposed()
        } else {
            Matrix::new(data, rows, columns, columns)
        }
    }

    /// The product in double precision, its factors mapped first.
    fn exact(&self, map: impl Fn(f32) -> f32) -> Vec<f64> {
        let (left, right) = (self.factor(0), self.factor(1));
        let at = |m: &Matrix, row: usize, column: usize| {
            f64::from(map(m.data[row * m.row_stride + column * m.column_stride]))
        };
        let [rows, steps, columns] = self.sizes;
        let element =
            |i: usize| (0..steps).map(|k| at(&left, i / columns, k) * at(&right, k, i % columns)).sum::<f64>();
        (0..rows * columns).map(element).collect()
    }

    fn run(&self, right: Right, before: f32, scale: f32, accumulate: bool, cores: Cores) -> Vec<f32> {
        let [rows, _, columns] = self.sizes;
        let stride = columns + 3;
        let mut out = vec![before; rows * stride];
        let product = Product { left: self.factor(0), right, scale, accumulate, finish: None };
        unsafe { product.run(out.as_mut_ptr(), stride, cores) };
        let gaps = out.chunks_exact(stride).flat_map(|row| &row[columns..]);
        assert!(gaps.into_iter().all(|value| *value == before), "wrote beyond the columns");
        out.chunks_exact(stride).flat_map(|row| &row[..columns]).copied().collect()
    }
}

/// Sizes around the edges of tiles, registers, groups of panels, and blocks of K, larger and smaller than what is split.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [5, 3, 7],
    [6, 16, 64],
    [7, 17, 65],
    [13, 31, 127],
    [37, 21, 50],
    [64, 768, 193],
    [100, 769, 70],
    [3, 1600, 300],
    [200, 129, 16],
    [130, 64, 129],
    [2, 100, 1000],
];
const LAYOUTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// A `bf16` value by the definition of rounding to nearest even.
fn bf16(value: f32) -> f32 {
    let (bits, odd) = (value.to_bits(), (value.to_bits() >> 16) & 1);
    f32::from_bits((bits + 0x7FFF + odd) & 0xFFFF_0000)
}

#[test]
fn products_of_every_layout_are_those_of_the_definition() {
    for sizes in SIZES {
        for transposed in LAYOUTS {
            let case = Case::new(sizes, transposed);
            for (precision, exact) in [
                (Precision::Float32, case.exact(|value| value)),
                (Precision::Bfloat16, case.exact(|value| if has_avx512() { bf16(value) } else { value })),
            ] {
                for (cores, accumulate) in [(Cores::One, false), (Cores::All, true)] {
                    let right = Right::Matrix(case.factor(1), precision);
                    let out = case.run(right, 2.0, 0.5, accumulate, cores);
                    for (value, exact) in out.iter().zip(&exact) {
                        let exact = 0.5 * exact + if accumulate { 2.0 } else { 0.0 };
                        let error = (f64::from(*value) - exact).abs();
                        assert!(
                            error < 1e-5 * (sizes[1] as f64).sqrt() + 1e-6,
                            "{sizes:?} {transposed:?} {precision:?}: {error}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_result_does_not_depend_on_the_number_of_threads() {
    for sizes in SIZES {
        for transposed in LAYOUTS {
            let case = Case::new(sizes, transposed);
            let run = |threads: usize, precision| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a small pool");
                pool.install(|| case.run(Right::Matrix(case.factor(1), precision), 0.0, 1.0, false, Cores::All))
            };
            for precision in [Precision::Float32, Precision::Bfloat16] {
                // The library promises less than our own products.
                if has_avx512() {
                    assert_eq!(run(1, precision), run(3, precision));
                }
                assert_eq!(run(2, precision), run(2, precision));
            }
        }
    }
}

/// The library's products and ours are two computations of the same thing.
#[test]
fn our_products_agree_with_the_library_s() {
    for sizes in SIZES {
        for transposed in LAYOUTS {
            let case = Case::new(sizes, transposed);
            let right = Right::Matrix(case.factor(1), Precision::Float32);
            let ours = case.run(right, 0.0, 1.0, false, Cores::All);
            let mut out = vec![0f32; sizes[0] * sizes[2]];
            let product = Product { left: case.factor(0), right, scale: 1.0, accumulate: false, finish: None };
            unsafe { library::run(product, out.as_mut_ptr(), sizes[2], Cores::All) };
            for (a, b) in ours.iter().zip(&out) {
                assert!((a - b).abs() < 1e-6 * sizes[1] as f32 + 1e-5);
            }
        }
    }
}

#[test]
fn packed_weights_give_the_same_as_plain_ones() {
    for sizes in SIZES {
        let case = Case::new(sizes, [false, true]);
        for (packed, plain) in
            [(WeightPrecision::Float32, Precision::Float32), (WeightPrecision::Bfloat16, Precision::Bfloat16)]
        {
            let weight = PackedWeight::new(&case.factors[1], sizes[1], packed);
            for cores in [Cores::One, Cores::All] {
                let of_packed = case.run(Right::Packed(&weight), 1.0, 1.0, false, cores);
                let of_plain = case.run(Right::Matrix(case.factor(1), plain), 1.0, 1.0, false, cores);
                assert_eq!(of_packed, of_plain);
            }
        }
    }
}

#[test]
fn int8_products_are_those_of_the_quantised_factors() {
    let quantised = |row: &[f32]| -> (f64, Vec<f64>) {
        let scale = row.iter().fold(0f32, |max, value| max.max(value.abs())) / 127.0;
        (f64::from(scale), row.iter().map(|value| f64::from((value / scale).round_ties_even())).collect())
    };
    for sizes in SIZES {
        let case = Case::new(sizes, [false, true]);
        let weight = PackedWeight::new(&case.factors[1], sizes[1], WeightPrecision::Int8);
        let rows = |which: usize| case.factors[which].chunks_exact(sizes[1]).map(quantised).collect::<Vec<_>>();
        let (left, right) = (rows(0), rows(1));
        let results = [Cores::One, Cores::All].map(|cores| case.run(Right::Packed(&weight), 1.0, 1.0, false, cores));
        assert_eq!(results[0], results[1]);
        let exact = case.exact(|value| value);
        for (i, value) in results[0].iter().enumerate() {
            let ((row_scale, row), (column_scale, column)) = (&left[i / sizes[2]], &right[i % sizes[2]]);
            let sum: f64 = row.iter().zip(column).map(|(a, b)| a * b).sum();
            let expected = if WeightPrecision::Int8.available() == WeightPrecision::Int8 {
                row_scale * column_scale * sum
            } else {
                exact[i]
            };
            // One step of a quantised value may fall to the other side: 1 / scale is rounded.
            let step = row_scale * column_scale * 127.0;
            assert!((f64::from(*value) - expected).abs() < 1.5 * step + 1e-4, "{sizes:?}");
        }
    }
}

#[test]
fn a_row_of_zeros_stays_zero_in_int8() {
    let weight = PackedWeight::new(&[0.0; 8], 4, WeightPrecision::Int8);
    let left = [0f32; 12];
    let mut out = [7f32; 6];
    let product = Product {
        left: Matrix::new(&left, 3, 4, 4),
        right: Right::Packed(&weight),
        scale: 1.0,
        accumulate: false,
        finish: None,
    };
    unsafe { product.run(out.as_mut_ptr(), 2, Cores::All) };
    assert_eq!(out, [0.0; 6]);
}
