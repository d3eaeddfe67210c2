//! The numbers of a page as JSON, for other programs.

use super::gather::{Arm, Gathered, Reliability};
use crate::eval::curves::{decision_thresholds, net_benefit, precision_recall_curve, roc_curve};
use serde_json::{Value as Json, json};

/// What was measured of each arm, and the differences to the first; not what was run on what, nor how it learned, which its folder says.
pub(super) fn figures(gathered: &Gathered) -> Json {
    let differences = gathered.comparisons.iter();
    json!({
        "arms": gathered.arms.iter().map(arm).collect::<Vec<Json>>(),
        "differences": differences.map(|(name, found)| json!({ "name": name, "comparison": found })).collect::<Vec<Json>>(),
    })
}

fn arm(arm: &Arm) -> Json {
    let reliability = |found: &Reliability| json!({ "scores": found.scores, "bins": found.bins });
    let binary = arm.binary.as_ref();
    json!({
        "name": arm.name,
        "seeds": arm.seeds,
        "folds": arm.folds,
        "classes": arm.pooled.classes,
        "metrics": arm.intervals,
        "auroc_delong": binary.and_then(|binary| binary.delong),
        "thresholds": binary.map(|binary| &binary.thresholds),
        "confusion": arm.confusion,
        "calibration": reliability(&arm.calibration),
        "temperature_scaled": arm.scaled.as_ref().map(|(temperatures, found)| json!({
            "temperatures": temperatures, "calibration": reliability(found),
        })),
        "parts": arm.subgroups,
        "curves": binary.map(|binary| {
            let benefit = |threshold| Some((threshold, net_benefit(&binary.positive, &binary.scores, threshold)?));
            json!({
                "roc": roc_curve(&binary.positive, &binary.scores),
                "precision_recall": precision_recall_curve(&binary.positive, &binary.scores),
                "net_benefit": decision_thresholds().filter_map(benefit).collect::<Vec<(f64, f64)>>(),
            })
        }),
    })
}
