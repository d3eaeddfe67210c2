//! AdamW (Loshchilov and Hutter 2019) over an arena of parameters, and the norm of its gradients.

use crate::parallel::ELEMENTS_PER_TASK;
use multiversion::multiversion;
use rayon::prelude::*;
use std::ops::Range;

/// One step's numbers.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Factor of every gradient: of clipping and of accumulation.
    pub gradient_scale: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// The constants of one step, in the precision of the loop.
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    pub(crate) keep: f32,
    pub(crate) beta1: f32,
    pub(crate) one_minus_beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) one_minus_beta2: f32,
    pub(crate) scale: f32,
    pub(crate) step_size: f32,
    pub(crate) root_scale: f32,
    pub(crate) epsilon: f32,
}

impl Constants {
    pub(crate) fn new(settings: AdamW) -> Constants {
        let power = settings.step as f64;
        Constants {
            keep: (1.0 - settings.learning_rate * settings.weight_decay) as f32,
            beta1: settings.beta1 as f32,
            one_minus_beta1: (1.0 - settings.beta1) as f32,
            beta2: settings.beta2 as f32,
            one_minus_beta2: (1.0 - settings.beta2) as f32,
            scale: settings.gradient_scale as f32,
            step_size: (settings.learning_rate / (1.0 - settings.beta1.powf(power))) as f32,
            root_scale: (1.0 / (1.0 - settings.beta2.powf(power)).sqrt()) as f32,
            epsilon: settings.epsilon as f32,
        }
    }
}

/// Which rows of an embedding table a gradient has reached since the first step.
///
/// Of the others gradient and moments are zero, and an update leaves of them what decay leaves: so nothing else need be read or written, and the pages of
/// their gradient and moments never become memory. Of a vocabulary of 250,000 the notes of a hospital use a few thousand.
#[derive(Debug, Clone)]
pub struct TouchedRows {
    /// The table's place in the arena.
    table: Range<usize>,
    columns: usize,
    rows: Vec<bool>,
}

impl TouchedRows {
    /// Of an arena whose every element may have a gradient.
    pub fn everything() -> TouchedRows {
        TouchedRows { table: 0..0, columns: 1, rows: vec![] }
    }

    /// None yet, of the table `[rows, columns]` at this place of the arena.
    pub fn none(table: Range<usize>, columns: usize) -> TouchedRows {
        TouchedRows { rows: vec![false; table.len() / columns], table, columns }
    }

    /// Those whose gradient is added to.
    pub fn touch(&mut self, rows: &[u32]) {
        rows.iter().for_each(|row| self.rows[*row as usize] = true);
    }

    /// Those that have moments: what is known of a training that goes on. The moments are those of the arena.
    pub fn touch_moments(&mut self, exp_avg: &[f32], exp_avg_sq: &[f32]) {
        let (table, columns) = (self.table.clone(), self.columns);
        let moments = exp_avg[table.clone()].chunks_exact(columns).zip(exp_avg_sq[table].chunks_exact(columns));
        for (touched, (first, second)) in self.rows.iter_mut().zip(moments) {
            *touched |= first.iter().chain(second).any(|moment| *moment != 0.0);
        }
    }

    /// A range of the arena, cut where touched and untouched elements meet.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, bool)> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let start = at;
            if start >= range.end {
                return None;
            }
            let (end, touched) = match (start < self.table.start, start < self.table.end) {
                (true, _) => (self.table.start, true),
                (_, false) => (range.end, true),
                (false, true) => {
                    let row = (start - self.table.start) / self.columns;
                    let alike = self.rows[row..].iter().take_while(|touched| **touched == self.rows[row]).count();
                    (self.table.start + (row + alike) * self.columns, self.rows[row])
                }
            };
            at = end.min(range.end);
            Some((start..at, touched))
        })
    }
}

/// One pass over `parameters`, `gradients`, `exp_avg`, `exp_avg_sq`, all of one length; leaves the gradients at zero for the next
/// step's sums. The same bits whatever `touched` knows, as long as it is true of the arena that the slices begin.
pub fn step(
    settings: AdamW,
    touched: &TouchedRows,
    parameters: &mut [f32],
    gradients: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    assert!(parameters.len() == gradients.len() && parameters.len() == exp_avg.len());
    assert_eq!(parameters.len(), exp_avg_sq.len());
    let constants = Constants::new(settings);
    parameters
        .par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(gradients.par_chunks_mut(ELEMENTS_PER_TASK))
        .zip(exp_avg.par_chunks_mut(ELEMENTS_PER_TASK).zip(exp_avg_sq.par_chunks_mut(ELEMENTS_PER_TASK)))
        .enumerate()
        .for_each(|(task, ((parameters, gradients), (exp_avg, exp_avg_sq)))| {
            let start = task * ELEMENTS_PER_TASK;
            for (part, touched) in touched.parts(start..start + parameters.len()) {
                let part = part.start - start..part.end - start;
                let parameters = &mut parameters[part.clone()];
                if touched {
                    let (first, second) = (&mut exp_avg[part.clone()], &mut exp_avg_sq[part.clone()]);
                    step_chunk(constants, parameters, &mut gradients[part], first, second);
                } else if constants.keep != 1.0 {
                    decay_chunk(constants.keep, parameters);
                }
            }
        });
}

/// [`step_chunk`] where gradient and moments are zero.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn decay_chunk(keep: f32, parameters: &mut [f32]) {
    parameters.iter_mut().for_each(|parameter| *parameter *= keep);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn step_chunk(
    c: Constants,
    parameters: &mut [f32],
    gradients: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    let values = parameters.iter_mut().zip(gradients).zip(exp_avg.iter_mut().zip(exp_avg_sq.iter_mut()));
    for ((parameter, gradient), (first, second)) in values {
        let gradient = std::mem::take(gradient) * c.scale;
        *first = c.beta1 * *first + c.one_minus_beta1 * gradient;
        *second = c.beta2 * *second + c.one_minus_beta2 * gradient * gradient;
        let root = second.sqrt() * c.root_scale + c.epsilon;
        *parameter = *parameter * c.keep - c.step_size * *first / root;
    }
}

/// The sum of squares of an arena's gradients, in double precision, chunk by chunk in order; chunks of untouched rows are not read.
pub fn sum_of_squares(gradients: &[f32], touched: &TouchedRows) -> f64 {
    let of_chunk = |(task, chunk): (usize, &[f32])| {
        let start = task * ELEMENTS_PER_TASK;
        let any = touched.parts(start..start + chunk.len()).any(|(_, touched)| touched);
        if any { sum_of_squares_chunk(chunk) } else { 0.0 }
    };
    let partials: Vec<f64> = gradients.par_chunks(ELEMENTS_PER_TASK).enumerate().map(of_chunk).collect();
    partials.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn sum_of_squares_chunk(gradients: &[f32]) -> f64 {
    f64::from(crate::math::dot(gradients, gradients))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_are_those_of_the_formula() {
        let (mut parameter, mut m, mut v) = ([0.5f32, -2.0], [0f32; 2], [0f32; 2]);
        let (mut exact, mut em, mut ev) = ([0.5f64, -2.0], [0f64; 2], [0f64; 2]);
        for number in 1..=3u64 {
            let gradient = [0.3f32 * number as f32, -0.1];
            let mut sums = gradient;
            let settings = AdamW {
                learning_rate: 0.01 * number as f64,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.1,
                gradient_scale: 0.5,
                step: number,
            };
            step(settings, &TouchedRows::everything(), &mut parameter, &mut sums, &mut m, &mut v);
            assert_eq!(sums, [0.0; 2]);
            for i in 0..2 {
                let g = f64::from(gradient[i]) * 0.5;
                exact[i] *= 1.0 - settings.learning_rate * 0.1;
                em[i] = 0.9 * em[i] + 0.1 * g;
                ev[i] = 0.999 * ev[i] + 0.001 * g * g;
                let (c1, c2) = (1.0 - 0.9f64.powi(number as i32), 1.0 - 0.999f64.powi(number as i32));
                exact[i] -= settings.learning_rate * (em[i] / c1) / ((ev[i] / c2).sqrt() + 1e-8);
                assert!(
                    (f64::from(parameter[i]) - exact[i]).abs() < 1e-6,
                    "step {number}: {parameter:?}, not {exact:?}"
                );
            }
        }
    }

    #[test]
    fn the_norm_takes_every_element() {
        let gradients = vec![2f32; 3 * ELEMENTS_PER_TASK + 5];
        assert_eq!(sum_of_squares(&gradients, &TouchedRows::everything()), 4.0 * gradients.len() as f64);
    }

    /// An arena of more than a task, in which a table of rows of 7 begins and ends within tasks.
    #[test]
    fn untouched_rows_are_what_a_pass_over_everything_makes_of_them() {
        const COLUMNS: usize = 7;
        let (table, length) = (5..5 + 4000 * COLUMNS, 3 * ELEMENTS_PER_TASK + 11);
        let mut touched = TouchedRows::none(table.clone(), COLUMNS);
        let everything = TouchedRows::everything();
        let values = |seed: usize| (0..length).map(move |at| ((at * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0);
        let parameters: Vec<f32> = values(1).collect();
        let zeros = || vec![0f32; length];
        let mut one = (parameters.clone(), zeros(), zeros(), zeros());
        let mut all = (parameters, zeros(), zeros(), zeros());
        for number in 1..=4u64 {
            // Some rows for the first time, some again; the last step touches none.
            let rows: Vec<u32> = if number < 4 { vec![0, 17, 18, 1000 * number as u32 - 1, 3999] } else { vec![] };
            touched.touch(&rows);
            let is_reached = |at: usize| !table.contains(&at) || rows.contains(&(((at - 5) / COLUMNS) as u32));
            for (at, value) in values(number as usize + 1).enumerate().filter(|(at, _)| is_reached(*at)) {
                (one.1[at], all.1[at]) = (value, value);
            }
            assert_eq!(sum_of_squares(&one.1, &touched).to_bits(), sum_of_squares(&all.1, &everything).to_bits());
            let settings = AdamW {
                learning_rate: 0.01 * number as f64,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                // A step without decay, too.
                weight_decay: if number == 2 { 0.0 } else { 0.1 },
                gradient_scale: 0.5,
                step: number,
            };
            step(settings, &touched, &mut one.0, &mut one.1, &mut one.2, &mut one.3);
            step(settings, &everything, &mut all.0, &mut all.1, &mut all.2, &mut all.3);
            assert!(one == all, "step {number}");
        }
        // What is known from the moments alone is what was known.
        let mut again = TouchedRows::none(table, COLUMNS);
        again.touch_moments(&one.2, &one.3);
        assert_eq!(again.rows, touched.rows);
        assert_eq!(again.rows.iter().filter(|row| **row).count(), 7);
    }
}
