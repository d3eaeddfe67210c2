//! Logistic regression with an L2 penalty on sparse rows.

use super::SparseRows;
use crate::error::{Error, Result};
use argmin::core::{CostFunction, Executor, Gradient, State};
use argmin::solver::linesearch::MoreThuenteLineSearch;
use argmin::solver::quasinewton::LBFGS;

/// Strength of the data against the penalty, scikit-learn's `C`.
const C: f64 = 1.0;

/// Steps that L-BFGS remembers.
const MEMORY: usize = 10;
/// And how many it takes at most.
const MOST_STEPS: u64 = 1000;

/// Weights of the classes: one set of two classes (that of the second), else one each.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    classes: usize,
    columns: usize,
    /// `[sets, columns + 1]`, the last column the constant.
    weights: Vec<f64>,
}

/// `C * cross-entropy + |weights|^2 / 2`, constants free.
struct Objective<'a> {
    rows: &'a SparseRows,
    labels: &'a [usize],
    classes: usize,
}

impl Logistic {
    /// Minimises by L-BFGS.
    ///
    /// # Errors
    /// The rows are of one class.
    pub fn fit(rows: &SparseRows, labels: &[usize], classes: usize) -> Result<Logistic> {
        if labels.iter().all(|label| Some(label) == labels.first()) {
            return Err(Error::Data("the labelled training notes are of one class, or there are none".to_string()));
        }
        let failed =
            |error: argmin::core::Error| Error::Data(format!("the logistic regression did not converge: {error}"));
        let start = vec![0f64; sets(classes) * (rows.columns + 1)];
        let line_search = MoreThuenteLineSearch::new();
        let solver = LBFGS::new(line_search, MEMORY).with_tolerance_grad(1e-6).map_err(failed)?;
        let fitted = Executor::new(Objective { rows, labels, classes }, solver)
            .configure(|state| state.param(start).max_iters(MOST_STEPS))
            .run()
            .map_err(failed)?;
        let weights = fitted.state().get_best_param().cloned().unwrap_or_default();
        Ok(Logistic { classes, columns: rows.columns, weights })
    }

    /// The same as scores before a softmax: weights `[classes, columns]` and constants `[classes]`. Of two classes, each has half of what lies between
    /// them.
    pub fn linear(&self) -> (Vec<f64>, Vec<f64>) {
        let halves: Vec<f64> = match self.classes {
            2 => [-0.5, 0.5].iter().flat_map(|half| self.weights.iter().map(move |weight| half * weight)).collect(),
            _ => self.weights.clone(),
        };
        let sets = halves.chunks_exact(self.columns + 1);
        (
            sets.clone().flat_map(|set| &set[..self.columns]).copied().collect(),
            sets.map(|set| set[self.columns]).collect(),
        )
    }

    /// `[rows, classes]`
    pub fn probabilities(&self, rows: &SparseRows) -> Vec<f64> {
        rows.rows.iter().flat_map(|row| probabilities(&self.weights, row, self.columns, self.classes)).collect()
    }
}

fn sets(classes: usize) -> usize {
    if classes == 2 { 1 } else { classes }
}

/// The classes' probabilities of one row.
fn probabilities(weights: &[f64], row: &[(u32, f64)], columns: usize, classes: usize) -> Vec<f64> {
    let score =
        |set: &[f64]| set[columns] + row.iter().map(|(column, value)| set[*column as usize] * value).sum::<f64>();
    let scores: Vec<f64> = weights.chunks_exact(columns + 1).map(score).collect();
    let scores = if classes == 2 { vec![0.0, scores[0]] } else { scores };
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

impl CostFunction for Objective<'_> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, weights: &Vec<f64>) -> Result<f64, argmin::core::Error> {
        let rows = self.rows.rows.iter().zip(self.labels);
        let losses = rows.map(|(row, label)| {
            -probabilities(weights, row, self.rows.columns, self.classes)[*label].max(f64::MIN_POSITIVE).ln()
        });
        let squares = weights.chunks_exact(self.rows.columns + 1).flat_map(|set| &set[..self.rows.columns]);
        Ok(C * losses.sum::<f64>() + squares.map(|weight| weight * weight).sum::<f64>() / 2.0)
    }
}

impl Gradient for Objective<'_> {
    type Param = Vec<f64>;
    type Gradient = Vec<f64>;

    fn gradient(&self, weights: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        let columns = self.rows.columns;
        let mut gradient = weights.clone(); // of the penalty
        gradient.chunks_exact_mut(columns + 1).for_each(|set| set[columns] = 0.0);
        for (row, label) in self.rows.rows.iter().zip(self.labels) {
            let probabilities = probabilities(weights, row, columns, self.classes);
            let first = self.classes - sets(self.classes); // the class of the first set
            for (set, gradient) in gradient.chunks_exact_mut(columns + 1).enumerate() {
                let error = C * (probabilities[first + set] - f64::from(u8::from(*label == first + set)));
                row.iter().for_each(|(column, value)| gradient[*column as usize] += error * value);
                gradient[columns] += error;
            }
        }
        Ok(gradient)
    }
}
