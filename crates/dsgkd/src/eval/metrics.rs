//! The list of metrics, in the order in which every table shows them, and [`evaluate`].

use super::scored::{Part, Scored};
use crate::config::Monitor;
use crate::error::{Error, Result};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// Which numbers of classes a metric is reported for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Any,
    Binary,
    MultiClass,
}

/// Declares the metrics once: an enum variant, a field of [`Metrics`] and the name, which are then always the same list
/// in the same order.
macro_rules! declare_metrics {
    ($($variant:ident $field:ident $scope:ident $higher:literal $doc:literal,)*) => {
        /// A metric, by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric {
            $(#[doc = $doc] $variant,)*
        }

        /// All metrics of one set of predictions. A field is `None` when the metric is undefined for these notes or does
        /// not apply to their number of classes; [`Metrics::iter`] and JSON leave the latter out.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        pub struct Metrics {
            /// Notes measured (rows of predictions).
            pub notes: usize,
            /// Classes of the classifier.
            pub classes: usize,
            $(#[doc = $doc] #[serde(default)] pub $field: Option<f64>,)*
        }

        impl Metric {
            /// Every metric, in the order of tables.
            pub const ALL: &'static [Metric] = &[$(Metric::$variant,)*];

            /// The name in tables, JSON and arguments: the field of [`Metrics`].
            pub fn name(self) -> &'static str {
                match self { $(Metric::$variant => stringify!($field),)* }
            }

            /// Whether a larger value is a better one.
            pub fn higher_is_better(self) -> bool {
                match self { $(Metric::$variant => $higher,)* }
            }

            fn scope(self) -> Scope {
                match self { $(Metric::$variant => Scope::$scope,)* }
            }
        }

        impl Metrics {
            /// The value of a metric; `None` when undefined.
            pub fn get(&self, metric: Metric) -> Option<f64> {
                match metric { $(Metric::$variant => self.$field,)* }
            }

            /// Each metric's mean over several measurements of one classifier, `None` where it is undefined in one of them; `notes` are those of all.
            pub(super) fn mean(all: &[Metrics]) -> Metrics {
                let mean = |values: Option<f64>| values.map(|sum| sum / all.len() as f64);
                Metrics {
                    notes: all.iter().map(|one| one.notes).sum(),
                    classes: all.first().map_or(0, |one| one.classes),
                    $($field: mean(all.iter().map(|one| one.$field).sum()),)*
                }
            }
        }
    };
}

declare_metrics! {
    Auroc auroc Any true "Area under the ROC curve; with more than two classes the mean of one-against-the-rest, undefined unless every class occurs.",
    AurocMicro auroc_micro MultiClass true "Area under the ROC curve of all (note, class) pairs pooled.",
    Auprc auprc Any true "Average precision; with more than two classes the mean of one-against-the-rest, undefined unless every class occurs.",
    AuprcMicro auprc_micro MultiClass true "Average precision of all (note, class) pairs pooled.",
    AccuracyAtHalf accuracy_at_half Binary true "Share of notes right at threshold 0.5.",
    RecallAtHalf recall_at_half Binary true "Recall (sensitivity) at threshold 0.5.",
    SpecificityAtHalf specificity_at_half Binary true "Specificity at threshold 0.5.",
    PrecisionAtHalf precision_at_half Binary true "Precision (positive predictive value) at threshold 0.5.",
    F1AtHalf f1_at_half Binary true "F1 of the positive class at threshold 0.5.",
    AccuracyAtPrevalence accuracy_at_prevalence Binary true "Share of notes right at a threshold equal to the training prevalence.",
    RecallAtPrevalence recall_at_prevalence Binary true "Recall (sensitivity) at the training prevalence.",
    SpecificityAtPrevalence specificity_at_prevalence Binary true "Specificity at the training prevalence.",
    PrecisionAtPrevalence precision_at_prevalence Binary true "Precision (positive predictive value) at the training prevalence.",
    F1AtPrevalence f1_at_prevalence Binary true "F1 of the positive class at the training prevalence.",
    Accuracy accuracy MultiClass true "Share of notes whose most probable class is right.",
    RecallMacro recall_macro MultiClass true "Recall of the most probable class, mean over classes.",
    PrecisionMacro precision_macro MultiClass true "Precision of the most probable class, mean over classes.",
    F1Macro f1_macro MultiClass true "F1 of the most probable class, mean over classes.",
    F1Micro f1_micro MultiClass true "F1 of the most probable class, classes pooled; with one label a note it equals accuracy, micro recall and micro precision.",
    Brier brier Any false "Brier score: two classes 0..1, more 0..2 (see `scoring::brier_of_note`).",
    LogLoss log_loss Any false "Mean log loss in nats.",
}

impl Metric {
    /// The metrics reported for a number of classes, in the order of tables.
    pub fn of_classes(classes: usize) -> impl Iterator<Item = Metric> {
        let other = if classes > 2 { Scope::Binary } else { Scope::MultiClass };
        Metric::ALL.iter().copied().filter(move |metric| metric.scope() != other)
    }

    /// What early stopping watches under this name. [`Monitor::Loss`] is the log loss, which differs from the
    /// cross-entropy of the logits only where a probability is clipped.
    pub fn of_monitor(monitor: Monitor, classes: usize) -> Metric {
        match monitor {
            Monitor::F1 if classes > 2 => Metric::F1Macro,
            Monitor::F1 => Metric::F1AtPrevalence,
            Monitor::Brier => Metric::Brier,
            Monitor::Loss => Metric::LogLoss,
            Monitor::Auroc => Metric::Auroc,
        }
    }
}

impl std::fmt::Display for Metric {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Metric::ALL.iter().copied().find(|metric| metric.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
            Error::Config(format!("no metric is called {name:?}; there are: {}", names.join(", ")))
        })
    }
}

impl Metrics {
    /// `(name, value)` of every metric that applies to this number of classes, in the order of tables.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Option<f64>)> + '_ {
        Metric::of_classes(self.classes).map(|metric| (metric.name(), self.get(metric)))
    }
}

impl Serialize for Metrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("notes", &self.notes)?;
        map.serialize_entry("classes", &self.classes)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

/// Measures a classifier.
///
/// `labels` holds the class of each note, `probabilities` is row-major `[notes, classes]`, and `training_prevalence` is the
/// share of positives (class 1) among the training notes, 0..=1. With two classes, class 1 is predicted when its
/// probability is at or above the threshold (0.5 or the prevalence); with more, the most probable class is, the first of
/// equals, and the prevalence is not used.
///
/// # Errors
/// [`Error::Data`] naming the row (counted from 1) when a probability is NaN or outside 0..=1, a row does not sum to 1, or a
/// label is not a class; also when the lengths do not fit, when there are no notes, or fewer than two classes.
pub fn evaluate(labels: &[usize], probabilities: &[f64], classes: usize, training_prevalence: f64) -> Result<Metrics> {
    let part = Part { labels, probabilities, training_prevalence: Some(training_prevalence) };
    Ok(Scored::new(&[part], classes)?.measure_all())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_everywhere() {
        for &metric in Metric::ALL {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
            assert_eq!(metric.name().parse::<Metric>().unwrap(), metric);
        }
        assert!("auc".parse::<Metric>().unwrap_err().to_string().contains("auroc"));
    }

    #[test]
    fn undefined_is_null_and_comes_back() {
        let metrics = evaluate(&[0, 0], &[0.9, 0.1, 0.8, 0.2], 2, 0.3).unwrap();
        assert_eq!((metrics.auroc, metrics.auprc, metrics.recall_at_half), (None, None, None));
        let text = serde_json::to_string(&metrics).unwrap();
        assert!(text.contains("\"auroc\":null") && !text.contains("macro"), "{text}");
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), metrics);
    }

    #[test]
    fn errors_name_the_row() {
        let message =
            |labels: &[usize], probabilities: &[f64]| evaluate(labels, probabilities, 2, 0.5).unwrap_err().to_string();
        assert!(message(&[0, 1], &[0.5, 0.5, f64::NAN, 0.5]).contains("row 2"));
        assert!(message(&[0, 1], &[0.5, 0.5, -0.1, 1.1]).contains("row 2"));
        assert!(message(&[0, 1], &[0.5, 0.5, 0.2, 0.2]).contains("row 2"));
        assert!(message(&[0, 2], &[0.5, 0.5, 0.5, 0.5]).contains("row 2"));
        assert!(message(&[0, 1, 1], &[0.5, 0.5, 0.5, 0.5]).contains("row 3"));
        assert!(message(&[0], &[0.5, 0.5, 0.5, 0.5]).contains("row 2"));
        assert!(message(&[0, 1], &[0.5, 0.5, 0.5]).contains("row 2"));
        assert!(message(&[], &[]).contains("no notes"));
        assert!(evaluate(&[0], &[1.0], 1, 0.5).is_err());
        assert!(evaluate(&[0], &[0.5, 0.5], 2, f64::NAN).is_err());
    }

    #[test]
    fn early_stopping_knows_its_metric() {
        assert_eq!(Metric::of_monitor(Monitor::F1, 2), Metric::F1AtPrevalence);
        assert_eq!(Metric::of_monitor(Monitor::F1, 3), Metric::F1Macro);
        assert_eq!(Metric::of_monitor(Monitor::Loss, 2), Metric::LogLoss);
        assert!(!Metric::LogLoss.higher_is_better() && Metric::Auroc.higher_is_better());
    }
}
