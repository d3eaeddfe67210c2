//! What an encoder must beat: TF-IDF of a note's character sequences and logistic regression (`baseline = "tf-idf"`).
//!
//! The numbers are those of scikit-learn's `TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4))` and
//! `LogisticRegression(C=1)`, which are what a reviewer runs first. Sequences of characters, not words: a Korean word and its
//! particle, or a term that is misspelt, share most of theirs.

mod logistic;
mod tf_idf;

use crate::error::Result;
pub use logistic::Logistic;
pub use tf_idf::{SparseRows, TfIdf};

/// Fits on the training notes (`labels` counts from 0, below `classes`) and gives the test notes' probabilities,
/// `[test notes, classes]`.
///
/// # Errors
/// The training notes are of one class.
pub fn probabilities(training: &[&str], labels: &[usize], classes: usize, test: &[&str]) -> Result<Vec<f64>> {
    let vectorizer = TfIdf::fit(training);
    let regression = Logistic::fit(&vectorizer.transform(training), labels, classes)?;
    Ok(regression.probabilities(&vectorizer.transform(test)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// `tests/fixtures/metrics/make_baseline.py`, with scikit-learn 1.9.
    #[test]
    fn probabilities_are_those_of_scikit_learn() {
        let fixture: Value = serde_json::from_str(include_str!("../../tests/fixtures/metrics/baseline.json")).unwrap();
        let texts = |name: &str| -> Vec<&str> {
            fixture[name].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
        };
        for (labels, expected, classes) in [("two", "of_two", 2), ("three", "of_three", 3)] {
            let labels: Vec<usize> =
                fixture[labels].as_array().unwrap().iter().map(|label| label.as_u64().unwrap() as usize).collect();
            let got = probabilities(&texts("training"), &labels, classes, &texts("test")).unwrap();
            let expected = fixture[expected].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
            let expected: Vec<f64> = expected.map(|value| value.as_f64().unwrap()).collect();
            assert_eq!(got.len(), expected.len());
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() < 1e-5, "{got} {expected}");
            }
        }
    }

    #[test]
    fn one_class_is_refused() {
        assert!(probabilities(&["a b", "c d"], &[1, 1], 2, &["a"]).unwrap_err().to_string().contains("of one class"));
    }
}
