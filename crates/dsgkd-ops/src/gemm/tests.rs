use super::*;
use crate::parallel::SharedMut;

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
        self.run_of(self.factor(0).into(), right, before, scale, accumulate, cores)
    }

    fn run_of(&self, left: Left, right: Right, before: f32, scale: f32, accumulate: bool, cores: Cores) -> Vec<f32> {
        let [rows, _, columns] = self.sizes;
        let stride = columns + 3;
        let mut out = vec![before; rows * stride];
        let product = Product { left, right, scale, accumulate, finish: None };
        unsafe { product.run(out.as_mut_ptr(), stride, cores) };
        let gaps = out.chunks_exact(stride).flat_map(|row| &row[columns..]);
        assert!(gaps.into_iter().all(|value| *value == before), "wrote beyond the columns");
        out.chunks_exact(stride).flat_map(|row| &row[..columns]).copied().collect()
    }
}

/// Sizes around the edges of tiles, registers, groups of panels, and blocks of K, larger and smaller than what is split.
const SIZES: [[usize; 3]; 13] = [
    [1, 1, 1],
    [5, 3, 7],
    [6, 16, 64],
    [7, 17, 65],
    [13, 31, 127],
    [37, 21, 50],
    [64, 768, 193],
    [100, 769, 70],
    [3, 1600, 300],
    [100, 1601, 70],
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
                (Precision::Bfloat16, case.exact(|value| if has_bfloat16() { bf16(value) } else { value })),
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

/// Whatever multiplies, `f32` has all its bits: the greatest error is no larger than that of sums in `f32`, one product after the other. Numbers of
/// all sizes, so that no bit of them is a round one.
#[test]
fn products_in_f32_are_as_exact_as_sums_in_f32() {
    let mut state = 7u32;
    let mut number = |scale: i32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 24) as f32 - 0.5) * 2f32.powi(scale * (state % 9) as i32 - 4 * scale)
    };
    for [rows, steps, columns] in [[33, 768, 65], [16, 64, 40], [70, 1000, 32]] {
        let left: Vec<f32> = (0..rows * steps).map(|_| number(3)).collect();
        let right: Vec<f32> = (0..steps * columns).map(|_| number(1)).collect();
        let mut out = vec![0f32; rows * columns];
        let product = Product {
            left: Matrix::new(&left, rows, steps, steps).into(),
            right: Right::Matrix(Matrix::new(&right, steps, columns, columns), Precision::Float32),
            scale: 1.0,
            accumulate: false,
            finish: None,
        };
        unsafe { product.run(out.as_mut_ptr(), columns, Cores::All) };
        let (mut ours, mut sums) = (0f64, 0f64);
        for (i, value) in out.iter().enumerate() {
            let factors = || (0..steps).map(|k| (left[i / columns * steps + k], right[k * columns + i % columns]));
            let exact: f64 = factors().map(|(a, b)| f64::from(a) * f64::from(b)).sum();
            // What rounding once more or less means depends on the size of the products.
            let size: f64 = factors().map(|(a, b)| (f64::from(a) * f64::from(b)).abs()).sum();
            let plain = factors().fold(0f32, |sum, (a, b)| a.mul_add(b, sum));
            ours = ours.max((f64::from(*value) - exact).abs() / size);
            sums = sums.max((f64::from(plain) - exact).abs() / size);
        }
        assert!(ours <= sums, "{rows} x {steps} x {columns}: {ours:e}, sums in f32 {sums:e}");
    }
}

/// What a note's tokens come to must not depend on the other notes of a batch: neither on which tile a row falls into nor on whether it is a whole one.
#[test]
fn an_element_does_not_depend_on_other_rows_and_columns() {
    if !has_avx512() {
        return; // The library promises less.
    }
    let (rows, steps, columns) = (70, 1700, 70); // Two blocks of K in every precision.
    let (left, right) = (numbers(rows * steps, 1), numbers(steps * columns, 2));
    let run = |from: usize, rows: usize, columns_here: usize, precision, scale| {
        let mut out = vec![0.3f32; rows * columns_here];
        let product = Product {
            left: Matrix::new(&left[from * steps..], rows, steps, steps).into(),
            right: Right::Matrix(Matrix::new(&right, steps, columns_here, columns), precision),
            scale,
            accumulate: true,
            finish: None,
        };
        unsafe { product.run(out.as_mut_ptr(), columns_here, Cores::One) };
        out
    };
    let right_columns: Vec<f32> = (0..columns * steps).map(|i| right[i % steps * columns + i / steps]).collect();
    for precision in [WeightPrecision::Float32, WeightPrecision::Bfloat16, WeightPrecision::Int8] {
        let weight = PackedWeight::new(&right_columns, steps, precision);
        let run = |from: usize, rows: usize| {
            let (mut out, left) = (vec![7f32; rows * columns], Matrix::new(&left[from * steps..], rows, steps, steps));
            let right = Right::Packed(&weight);
            let product = Product { left: left.into(), right, scale: 1.0, accumulate: false, finish: None };
            unsafe { product.run(out.as_mut_ptr(), columns, Cores::One) };
            out
        };
        let whole = run(0, rows);
        for (from, some) in [(0, 32), (3, 40), (17, 16), (50, 1)] {
            assert_eq!(run(from, some), whole[from * columns..(from + some) * columns], "{precision:?} from {from}");
        }
    }
    for precision in [Precision::Float32, Precision::Bfloat16] {
        for scale in [1.0, 0.5] {
            let whole = run(0, rows, columns, precision, scale);
            for (from, some, columns_here) in [(0, 32, 32), (3, 40, 33), (17, 16, 70), (50, 1, 64)] {
                let part = run(from, some, columns_here, precision, scale);
                for (row, part) in part.chunks_exact(columns_here).enumerate() {
                    let at = (from + row) * columns;
                    assert_eq!(part, &whole[at..at + columns_here], "{precision:?} {scale} from {from}, row {row}");
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
            let product = Product { left: case.factor(0).into(), right, scale: 1.0, accumulate: false, finish: None };
            unsafe { library::run(product, out.as_mut_ptr(), sizes[2], Cores::All) };
            for (a, b) in ours.iter().zip(&out) {
                assert!((a - b).abs() < 1e-6 * sizes[1] as f32 + 1e-5);
            }
        }
    }
}

#[test]
fn a_sum_of_nothing_is_zero() {
    for precision in [Precision::Float32, Precision::Bfloat16] {
        for (rows, columns) in [(3, 5), (32, 32)] {
            for (accumulate, expected) in [(false, 0.0), (true, 7.0)] {
                let mut out = vec![7f32; rows * columns];
                let right = Right::Matrix(Matrix::new(&[], 0, columns, columns), precision);
                let product =
                    Product { left: Matrix::new(&[], rows, 0, 0).into(), right, scale: 1.0, accumulate, finish: None };
                unsafe { product.run(out.as_mut_ptr(), columns, Cores::One) };
                assert!(out.iter().all(|value| *value == expected), "{precision:?} {accumulate}: {out:?}");
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

/// Rows that were packed by whoever made them, piece by piece, are those that the product would have packed.
#[test]
fn packed_rows_give_the_same_as_plain_ones() {
    let mut packed = PackedRows::default(); // What the case before left in it must not matter.
    for sizes in SIZES {
        let case = Case::new(sizes, [false, true]);
        let [rows, steps, _] = sizes;
        for (weights, precision) in
            [(WeightPrecision::Float32, Precision::Float32), (WeightPrecision::Bfloat16, Precision::Bfloat16)]
        {
            let weight = PackedWeight::new(&case.factors[1], steps, weights);
            for (weight, right) in [
                (Weight::Packed(&weight), Right::Packed(&weight)),
                (Weight::Plain(&case.factors[1], precision), Right::Matrix(case.factor(1), precision)),
            ] {
                packed.make_room(rows, steps, weight);
                let mut plain = case.factors[0].clone();
                let high = 2 * packed.panel_rows().unwrap_or(1);
                for (row, column) in
                    (0..rows).step_by(high).flat_map(|row| (0..steps).step_by(64).map(move |c| (row, c)))
                {
                    let (rows, columns) = (row..(row + high).min(rows), column..(column + 64).min(steps));
                    // SAFETY: the piece lies in the matrix, and there is one at a time.
                    unsafe { packed.write(&Piece::of(plain.as_mut_ptr(), steps, 0, rows, columns)) };
                }
                let left = match packed.or(&plain) {
                    Input::Packed(packed) => Left::Packed(packed),
                    Input::Plain(_) => continue,
                };
                for cores in [Cores::One, Cores::All] {
                    let of_packed = case.run_of(left, right, 1.0, 0.5, true, cores);
                    assert_eq!(of_packed, case.run(right, 1.0, 0.5, true, cores), "{sizes:?} {precision:?}");
                }
            }
        }
    }
    if has_bfloat16() {
        let weight = [0f32; 64];
        packed.make_room(2, 8, Weight::Plain(&weight, Precision::Bfloat16));
        assert!(packed.panel_rows().is_some(), "`bf16` is packed wherever it is multiplied");
    }
}

/// A result that is not kept is handed over whole, every element once, with the same bits.
#[test]
fn what_is_handed_over_is_what_would_be_kept() {
    if !has_avx512() {
        return; // Rows are only packed where our own products run, and results only then not kept.
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("a small pool");
    for sizes in SIZES {
        let case = Case::new(sizes, [false, true]);
        let [rows, _, columns] = sizes;
        for precision in [Precision::Float32, Precision::Bfloat16] {
            let right = Right::Matrix(case.factor(1), precision);
            let mut handed = vec![0f32; rows * columns];
            let target = SharedMut(handed.as_mut_ptr());
            let finish: Finish = &|piece| {
                // SAFETY: pieces are disjoint and lie inside the result.
                let mut to =
                    unsafe { Piece::of(target.pointer(), columns, 0, piece.rows.clone(), piece.columns.clone()) };
                for row in piece.rows.clone() {
                    to.row(row).iter_mut().zip(piece.row(row)).for_each(|(to, from)| *to += *from);
                }
            };
            let left = case.factor(0).into();
            let product = Product { left, right, scale: 1.0, accumulate: false, finish: Some(finish) };
            pool.install(|| product.hand_over());
            assert_eq!(handed, case.run(right, 0.0, 1.0, false, Cores::All), "{sizes:?} {precision:?}");
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
        left: Matrix::new(&left, 3, 4, 4).into(),
        right: Right::Packed(&weight),
        scale: 1.0,
        accumulate: false,
        finish: None,
    };
    unsafe { product.run(out.as_mut_ptr(), 2, Cores::All) };
    assert_eq!(out, [0.0; 6]);
}
