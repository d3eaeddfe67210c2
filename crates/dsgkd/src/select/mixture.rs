//! Principal components and a mixture of Gaussians, in `f64` on one thread: the same data and seed give the same bytes.
//!
//! Matrices hold a document a column, `[features, documents]`.

use crate::random::SplitMix64;
use nalgebra::{Cholesky, DMatrix, DVector, Dyn, SymmetricEigen};

/// What is added to every variance, as a share of the data's mean variance: a cluster of fewer documents than components has no
/// invertible covariance of its own.
const RIDGE: f64 = 1e-3;
/// Beginnings that k-means tries.
const RESTARTS: usize = 10;
/// Rounds of k-means and of expectation and maximisation at most.
const MOST_ROUNDS: usize = 200;
/// Expectation and maximisation end when the mean log-likelihood grows by less, in nats (scikit-learn's default).
const TOLERANCE: f64 = 1e-3;

/// The directions in which data vary most.
pub(super) struct Components {
    mean: DVector<f64>,
    /// `[features, components]`, the strongest first.
    directions: DMatrix<f64>,
}

impl Components {
    /// The strongest `wanted` directions of `data [features, documents]`, fewer where the data have fewer; `None` where they do not
    /// vary at all or are not finite.
    pub(super) fn of(data: &DMatrix<f64>, wanted: usize) -> Option<Components> {
        let mean = data.column_mean();
        let mut centred = data.clone();
        centred.column_iter_mut().for_each(|mut column| column -= &mean);
        let covariance = &centred * centred.transpose() / data.ncols() as f64;
        if covariance.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let eigen = SymmetricEigen::new(covariance);
        let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
        order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
        let strongest = eigen.eigenvalues[*order.first()?];
        let kept: Vec<DVector<f64>> = order
            .into_iter()
            .take(wanted)
            .filter(|at| eigen.eigenvalues[*at] > 1e-9 * strongest && eigen.eigenvalues[*at] > 0.0)
            .map(|at| eigen.eigenvectors.column(at).into_owned())
            .collect();
        (!kept.is_empty()).then(|| Components { mean, directions: DMatrix::from_columns(&kept) })
    }

    /// Number of directions.
    pub(super) fn len(&self) -> usize {
        self.directions.ncols()
    }

    /// `data [features, documents]` along the directions, `[components, documents]`.
    pub(super) fn project(&self, mut data: DMatrix<f64>) -> DMatrix<f64> {
        data.column_iter_mut().for_each(|mut column| column -= &self.mean);
        self.directions.tr_mul(&data)
    }
}

/// Gaussians with full covariances, and their weights.
pub(super) struct Mixture {
    gaussians: Vec<Gaussian>,
}

struct Gaussian {
    log_weight: f64,
    mean: DVector<f64>,
    /// Of the covariance.
    factor: Cholesky<f64, Dyn>,
}

impl Mixture {
    /// Fits `clusters` Gaussians to `data [features, documents]` by expectation and maximisation, from the best of several k-means
    /// clusterings. Data with fewer distinct documents than clusters have fewer Gaussians. `None` where there are no data.
    pub(super) fn fit(data: &DMatrix<f64>, clusters: usize, seed: u64) -> Option<Mixture> {
        let mut random = SplitMix64::new(seed);
        let starts = (0..RESTARTS).map(|_| k_means(data, clusters, &mut random));
        // The first of equals, so that the choice does not hang on anything else.
        let assigned = starts.min_by(|a, b| a.0.total_cmp(&b.0))?.1;
        let found = assigned.iter().max()? + 1;
        let mut posteriors = DMatrix::zeros(found, data.ncols());
        assigned.iter().enumerate().for_each(|(document, cluster)| posteriors[(*cluster, document)] = 1.0);
        let mean = data.column_mean();
        let variance = data.column_iter().map(|column| (column - &mean).norm_squared()).sum::<f64>();
        let ridge = (RIDGE * variance / (data.len() as f64)).max(f64::MIN_POSITIVE.sqrt());
        let mut likelihood = f64::NEG_INFINITY;
        let mut mixture = Mixture::maximise(data, &posteriors, ridge)?;
        for _ in 0..MOST_ROUNDS {
            let (now, expected) = mixture.posteriors(data);
            if (now - likelihood).abs() < TOLERANCE {
                break;
            }
            likelihood = now;
            posteriors = expected;
            mixture = Mixture::maximise(data, &posteriors, ridge)?;
        }
        Some(mixture)
    }

    /// The Gaussians that the posteriors `[clusters, documents]` make likeliest.
    fn maximise(data: &DMatrix<f64>, posteriors: &DMatrix<f64>, ridge: f64) -> Option<Mixture> {
        let documents = data.ncols() as f64;
        let gaussian = |cluster: usize| {
            let posterior = posteriors.row(cluster);
            // A cluster that lost all its documents keeps a weight that nothing divides by zero.
            let weight = posterior.sum() + 10.0 * f64::EPSILON;
            let mean = data * posterior.transpose() / weight;
            let mut weighted = data.clone();
            for (mut column, posterior) in weighted.column_iter_mut().zip(posterior.iter()) {
                column -= &mean;
                column *= posterior.sqrt();
            }
            let mut covariance = &weighted * weighted.transpose() / weight;
            covariance.column_iter_mut().enumerate().for_each(|(at, mut column)| column[at] += ridge);
            Some(Gaussian { log_weight: (weight / documents).ln(), mean, factor: Cholesky::new(covariance)? })
        };
        Some(Mixture { gaussians: (0..posteriors.nrows()).map(gaussian).collect::<Option<_>>()? })
    }

    /// Mean log-likelihood of the documents, and each cluster's posterior probability, `[clusters, documents]`.
    pub(super) fn posteriors(&self, data: &DMatrix<f64>) -> (f64, DMatrix<f64>) {
        let mut logs = DMatrix::zeros(self.gaussians.len(), data.ncols());
        for (cluster, gaussian) in self.gaussians.iter().enumerate() {
            let lower = gaussian.factor.l();
            let mut distance = data.clone();
            distance.column_iter_mut().for_each(|mut column| column -= &gaussian.mean);
            lower.solve_lower_triangular_mut(&mut distance);
            let constant = gaussian.log_weight
                - 0.5 * data.nrows() as f64 * std::f64::consts::TAU.ln()
                - lower.diagonal().iter().map(|value| value.ln()).sum::<f64>();
            for (document, column) in distance.column_iter().enumerate() {
                logs[(cluster, document)] = constant - 0.5 * column.norm_squared();
            }
        }
        let mut likelihood = 0.0;
        for mut column in logs.column_iter_mut() {
            // Densities in 50 dimensions are far outside of what a number can hold; only their ratios are not.
            let most = column.max();
            let total = most + column.iter().map(|log| (log - most).exp()).sum::<f64>().ln();
            likelihood += total;
            column.apply(|log| *log = (*log - total).exp());
        }
        (likelihood / data.ncols().max(1) as f64, logs)
    }
}

/// One k-means clustering (Lloyd) from centres that are far apart (k-means++, Arthur and Vassilvitskii 2007): the sum of squared
/// distances, and each document's cluster, numbered without gaps.
fn k_means(data: &DMatrix<f64>, clusters: usize, random: &mut SplitMix64) -> (f64, Vec<usize>) {
    let documents = data.ncols();
    if documents == 0 {
        return (0.0, vec![]);
    }
    let mut centres = vec![data.column(random.below(documents as u64) as usize).into_owned()];
    let mut squares = vec![f64::INFINITY; documents];
    while centres.len() < clusters {
        let newest = &centres[centres.len() - 1];
        for (square, column) in squares.iter_mut().zip(data.column_iter()) {
            *square = square.min((column - newest).norm_squared());
        }
        let total: f64 = squares.iter().sum();
        if total <= 0.0 {
            break;
        }
        let mut left = random.unit() * total;
        let chosen = squares.iter().position(|square| {
            left -= square;
            left < 0.0
        });
        centres.push(data.column(chosen.unwrap_or(documents - 1)).into_owned());
    }
    let mut assigned = vec![usize::MAX; documents];
    let mut spread = 0.0;
    for _ in 0..MOST_ROUNDS {
        let mut changed = false;
        spread = 0.0;
        for (document, column) in data.column_iter().enumerate() {
            let distances = centres.iter().map(|centre| (column - centre).norm_squared()).enumerate();
            let nearest = distances.min_by(|a, b| a.1.total_cmp(&b.1));
            let (cluster, square) = nearest.unwrap_or((0, 0.0));
            changed |= assigned[document] != cluster;
            assigned[document] = cluster;
            spread += square;
        }
        if !changed {
            break;
        }
        let mut sums = vec![(DVector::zeros(data.nrows()), 0.0); centres.len()];
        for (cluster, column) in assigned.iter().zip(data.column_iter()) {
            sums[*cluster].0 += column;
            sums[*cluster].1 += 1.0;
        }
        for (centre, (sum, count)) in centres.iter_mut().zip(sums).filter(|(_, (_, count))| *count > 0.0) {
            *centre = sum / count;
        }
    }
    let mut used: Vec<usize> = assigned.clone();
    used.sort_unstable();
    used.dedup();
    let numbered = assigned.iter().map(|cluster| used.partition_point(|other| other < cluster)).collect();
    (spread, numbered)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Three clouds of 100 points in 6 dimensions, of different width; the point's cloud is its index modulo 3.
    fn clouds() -> DMatrix<f64> {
        let mut random = SplitMix64::new(5);
        let mut normal = || (0..12).map(|_| random.unit()).sum::<f64>() - 6.0;
        DMatrix::from_fn(6, 300, |feature, document| {
            let (cloud, centre) = (document % 3, [0.0, 10.0, -10.0][document % 3]);
            // The last features say nothing and vary little.
            if feature < 2 {
                centre * (feature as f64 + 1.0) + normal() * (cloud as f64 + 1.0)
            } else {
                0.01 * normal()
            }
        })
    }

    #[test]
    fn components_are_orthonormal_and_keep_what_varies() {
        let data = clouds();
        let components = Components::of(&data, 2).unwrap();
        let product = components.directions.tr_mul(&components.directions);
        assert!((product - DMatrix::identity(2, 2)).norm() < 1e-10);
        assert!(components.directions.rows(2, 4).norm() < 0.01);
        let projected = components.project(data.clone());
        let variance =
            |data: &DMatrix<f64>| data.column_iter().map(|c| (c - data.column_mean()).norm_squared()).sum::<f64>();
        assert!((variance(&projected) / variance(&data) - 1.0).abs() < 1e-4);
        assert_eq!(Components::of(&data, 50).unwrap().len(), 6);
        assert!(Components::of(&DMatrix::from_element(3, 5, 1.0), 2).is_none());
        assert!(Components::of(&DMatrix::from_element(3, 5, f64::NAN), 2).is_none());
    }

    #[test]
    fn the_mixture_finds_the_clouds_and_the_same_seed_the_same_numbers() {
        let data = clouds();
        let mixture = Mixture::fit(&data, 3, 1).unwrap();
        let (likelihood, posteriors) = mixture.posteriors(&data);
        let cluster = |document: usize| posteriors.column(document).imax();
        assert!((0..300).filter(|document| cluster(*document) == cluster(document % 3)).count() >= 297);
        assert!(posteriors.column_iter().all(|column| (column.sum() - 1.0).abs() < 1e-9));
        let again = Mixture::fit(&data, 3, 1).unwrap().posteriors(&data);
        assert_eq!((likelihood, posteriors), again);
        // A document far from every cluster still has probabilities.
        let far = mixture.posteriors(&DMatrix::from_element(6, 1, 1e6)).1;
        assert!((far.sum() - 1.0).abs() < 1e-9, "{far}");
        // Fewer distinct documents than clusters, and fewer documents than features.
        assert_eq!(
            Mixture::fit(&DMatrix::from_fn(6, 4, |_, document| (document % 2) as f64), 3, 1).unwrap().gaussians.len(),
            2
        );
    }

    #[test]
    fn posteriors_are_those_of_the_densities() {
        // Two one-dimensional Gaussians at -1 and 1 with variance 1 and equal weights: p(1 | x) = 1 / (1 + exp(-2x)).
        let data = DMatrix::from_row_slice(1, 4, &[-2.0, 0.0, 0.0, 2.0]);
        let posteriors = DMatrix::from_row_slice(2, 4, &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]);
        let mixture = Mixture::maximise(&data, &posteriors, 0.0).unwrap();
        let (likelihood, found) = mixture.posteriors(&DMatrix::from_row_slice(1, 2, &[0.0, 0.7]));
        let density = |x: f64| {
            let normal = |mean: f64| (-0.5 * (x - mean) * (x - mean)).exp() / std::f64::consts::TAU.sqrt();
            0.5 * normal(-1.0) + 0.5 * normal(1.0)
        };
        assert!((likelihood - 0.5 * (density(0.0).ln() + density(0.7).ln())).abs() < 1e-12);
        assert!((found[(1, 0)] - 0.5).abs() < 1e-12);
        assert!((found[(1, 1)] - 1.0 / (1.0 + (-1.4f64).exp())).abs() < 1e-12);
    }
}
