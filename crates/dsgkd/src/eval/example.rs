//! Predictions for tests.

use super::predictions::Predictions;
use super::random::Random;

/// Two-class predictions that know something of the label, for tests.
pub(super) fn example(notes: usize, seed: u64) -> Predictions {
    let mut random = Random::new(seed);
    let mut uniform = || random.below(1 << 20) as f64 / f64::from(1 << 20);
    let labels: Vec<usize> = (0..notes).map(|_| usize::from(uniform() < 0.35)).collect();
    let scores = labels.iter().map(|&label| 0.4 * label as f64 + 0.6 * uniform());
    Predictions {
        ids: (0..notes).map(|note| format!("note-{note}")).collect(),
        groups: vec![],
        probabilities: scores.flat_map(|score| [1.0 - score, score]).collect(),
        labels,
        classes: vec!["no".into(), "yes".into()],
        training_prevalence: Some(0.35),
    }
}
