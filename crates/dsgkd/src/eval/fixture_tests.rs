//! Every metric against scikit-learn's number (`tests/fixtures/metrics/make_fixtures.py`), to 1e-12.

#![allow(clippy::unwrap_used)]

use super::calibration::expected_calibration_error;
use super::curves::{net_benefit, precision_recall_curve, roc_curve};
use super::delong::{delong_difference, delong_interval};
use super::predictions::Predictions;
use super::proportion::wilson_interval;
use super::temperature::fit_temperature;
use super::{BootstrapOptions, Metric, bootstrap, compare, evaluate};
use serde_json::Value;

const TOLERANCE: f64 = 1e-12;

/// The generator of `make_fixtures.py`: Knuth's MMIX constants, the top 53 bits.
struct Lcg(u64);

impl Lcg {
    fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn generated(rows: usize, seed: u64) -> (Vec<usize>, Vec<f64>) {
    let mut random = Lcg(seed);
    (0..rows)
        .map(|row| {
            let draw = random.draw();
            let score = if row % 2 == 0 { (draw * 64.0).floor() / 64.0 } else { draw };
            (usize::from(random.draw() < score * score), score)
        })
        .unzip()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// The case as predictions, whatever way the file holds it.
fn predictions_of(case: &Value) -> Predictions {
    let classes = case["classes"].as_u64().unwrap() as usize;
    let both_columns = |scores: Vec<f64>| scores.iter().flat_map(|score| [1.0 - score, *score]).collect();
    let (labels, probabilities) = if let Some(rows) = case["generated_rows"].as_u64() {
        let (labels, scores) = generated(rows as usize, case["generator_seed"].as_u64().unwrap());
        (labels, both_columns(scores))
    } else {
        let labels = case["labels"].as_array().unwrap().iter().map(|label| label.as_u64().unwrap() as usize).collect();
        let stored = &case["probabilities"];
        (labels, if stored.is_null() { both_columns(numbers(&case["scores"])) } else { numbers(stored) })
    };
    Predictions {
        groups: vec![],
        ids: (0..labels.len()).map(|row| row.to_string()).collect(),
        labels,
        probabilities,
        classes: (0..classes).map(|class| class.to_string()).collect(),
        training_prevalence: case["training_prevalence"].as_f64(),
    }
}

/// `make_report_fixtures.py`: scikit-learn, statsmodels, dcurves, scipy.
#[test]
fn curves_shares_and_temperatures_are_those_of_other_programs() {
    let file: Value = serde_json::from_str(include_str!("../../tests/fixtures/metrics/report.json")).unwrap();
    let (labels, scores) = generated(file["rows"].as_u64().unwrap() as usize, file["seed"].as_u64().unwrap());
    let positive: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
    let points = |name: &str| -> Vec<Vec<f64>> { file[name].as_array().unwrap().iter().map(numbers).collect() };
    for (name, ours) in
        [("roc", roc_curve(&positive, &scores)), ("precision_recall", precision_recall_curve(&positive, &scores))]
    {
        let theirs = points(name);
        // scikit-learn leaves out what comes after full recall.
        assert!(theirs.len() > 100 && theirs.len() <= ours.len(), "{name}: {} and {}", theirs.len(), ours.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert!((ours.0 - theirs[0]).abs() < TOLERANCE && (ours.1 - theirs[1]).abs() < TOLERANCE, "{name}");
        }
    }
    for point in points("net_benefit") {
        let ours = net_benefit(&positive, &scores, point[0]).unwrap();
        assert!((ours - point[1]).abs() < TOLERANCE, "{ours} at {point:?}");
    }
    for row in points("wilson") {
        let ours = wilson_interval(row[0], row[1]).unwrap();
        assert!((ours.low - row[2]).abs() < TOLERANCE && (ours.high - row[3]).abs() < TOLERANCE, "{ours:?}, {row:?}");
    }
    let probabilities: Vec<f64> =
        scores.iter().map(|score| score.clamp(1e-3, 1.0 - 1e-3)).flat_map(|score| [1.0 - score, score]).collect();
    let (ours, theirs) = (fit_temperature(&labels, &probabilities, 2).unwrap(), file["temperature"].as_f64().unwrap());
    // Where a loss is flat its minimum is known to half the digits.
    assert!((ours / theirs - 1.0).abs() < 1e-6, "{ours}, not {theirs}");
}

/// `make_delong_and_ece.py`: R's pROC, torchmetrics.
#[test]
fn delong_and_calibration_error_are_those_of_other_programs() {
    let file: Value = serde_json::from_str(include_str!("../../tests/fixtures/metrics/delong_and_ece.json")).unwrap();
    let whole = |name: &str| file[name].as_u64().unwrap();
    let rows = whole("rows") as usize;
    let (labels, baseline) = generated(rows, whole("seed"));
    let noise = generated(rows, whole("other_seed")).1;
    let candidate: Vec<f64> = baseline.iter().zip(noise).map(|(score, other)| (score + other) / 2.0).collect();
    let positive: Vec<bool> = labels.iter().map(|label| *label == 1).collect();
    let interval = serde_json::to_value(delong_interval(&positive, &baseline).unwrap()).unwrap();
    let difference = serde_json::to_value(delong_difference(&positive, &baseline, &candidate).unwrap()).unwrap();
    for (name, ours) in [("interval", interval), ("difference", difference)] {
        for (part, theirs) in file[name].as_object().unwrap() {
            let (ours, theirs) = (ours[part].as_f64().unwrap(), theirs.as_f64().unwrap());
            // The complementary error function is less exact than the rest.
            assert!((ours - theirs).abs() < 1e-10, "{name}, {part}: {ours}, and pROC says {theirs}");
        }
    }

    // Away from the edges of the bins, which torchmetrics counts to the bin below.
    let scores = baseline.iter().map(|score| if (score * 10.0).fract() == 0.0 { score + 1e-6 } else { *score });
    let error_of = |classes: usize, probabilities: Vec<f64>| {
        let predictions = Predictions {
            ids: (0..rows).map(|row| row.to_string()).collect(),
            groups: vec![],
            labels: labels.clone(),
            probabilities,
            classes: (0..classes).map(|class| class.to_string()).collect(),
            training_prevalence: None,
        };
        expected_calibration_error(&predictions.reliability(10).unwrap()).unwrap()
    };
    let two: Vec<f64> = scores.clone().flat_map(|score| [1.0 - score, score]).collect();
    let three: Vec<f64> = scores.flat_map(|score| [(1.0 - score) / 3.0, score, 2.0 * ((1.0 - score) / 3.0)]).collect();
    for (name, ours, tolerance) in [
        ("calibration_error", error_of(2, two), TOLERANCE),
        // Of several classes torchmetrics computes in float32.
        ("calibration_error_of_three", error_of(3, three), 1e-6),
    ] {
        let theirs = file[name].as_f64().unwrap();
        assert!((ours - theirs).abs() < tolerance, "{name}: {ours}, and torchmetrics says {theirs}");
    }
}

fn file() -> Value {
    serde_json::from_str(include_str!("../../tests/fixtures/metrics/metrics.json")).unwrap()
}

fn cases() -> Vec<Value> {
    file()["cases"].as_array().unwrap().clone()
}

#[track_caller]
fn assert_same(found: Option<f64>, expected: &Value, what: &str) {
    match (found, expected.as_f64()) {
        (None, None) => {}
        (Some(found), Some(expected)) if (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0) => {}
        (found, expected) => panic!("{what}: {found:?}, and scikit-learn says {expected:?}"),
    }
}

#[test]
fn every_metric_equals_scikit_learn() {
    let cases = cases();
    assert!(cases.len() >= 17);
    for case in &cases {
        let predictions = predictions_of(case);
        let metrics = predictions.evaluate().unwrap();
        let prevalence = predictions.training_prevalence.unwrap();
        let direct = evaluate(&predictions.labels, &predictions.probabilities, predictions.classes.len(), prevalence);
        assert_eq!(direct.unwrap(), metrics);
        let expected = case["expected"].as_object().unwrap();
        assert_eq!(expected.len(), Metric::of_classes(metrics.classes).count(), "{}", case["name"]);
        for (name, value) in metrics.iter() {
            assert_same(value, &expected[name], &format!("{}, {name}", case["name"]));
        }
    }
}

#[test]
fn calibration_and_delong_equal_their_definitions() {
    let mut intervals = 0;
    for case in &cases() {
        let predictions = predictions_of(case);
        let error = expected_calibration_error(&predictions.reliability(10).unwrap());
        assert_same(error, &case["calibration_error"], &format!("{}, calibration error", case["name"]));
        if predictions.classes.len() > 2 {
            continue;
        }
        let positive: Vec<bool> = predictions.labels.iter().map(|&label| label == 1).collect();
        let scores: Vec<f64> = predictions.class_probabilities(1).collect();
        let interval = delong_interval(&positive, &scores);
        assert_eq!(interval.is_none(), case["delong"].is_null(), "{}", case["name"]);
        if let Some(interval) = interval {
            intervals += 1;
            let found = serde_json::to_value(interval).unwrap();
            for part in ["auroc", "standard_error", "low", "high"] {
                assert_same(found[part].as_f64(), &case["delong"][part], &format!("{}, {part}", case["name"]));
            }
        }
    }
    assert!(intervals >= 5);
}

/// The same draws, made and measured by an independent program that copies rows: pins the generator, the streams, the
/// quantiles, the pairing and the p-value, so that a published interval stays what it was.
#[test]
fn intervals_and_p_values_equal_an_independent_computation() {
    let case = &file()["bootstrap"];
    let labels: Vec<usize> = numbers(&case["labels"]).iter().map(|label| *label as usize).collect();
    let run = |column: &str| Predictions {
        // Zeros in front, because notes are numbered in the order of their ids.
        ids: (0..labels.len()).map(|row| format!("{row:04}")).collect(),
        groups: vec![],
        labels: labels.clone(),
        probabilities: numbers(&case[column]).iter().flat_map(|score| [1.0 - score, *score]).collect(),
        classes: vec!["0".into(), "1".into()],
        training_prevalence: None,
    };
    let options =
        BootstrapOptions { samples: case["samples"].as_u64().unwrap() as usize, seed: case["seed"].as_u64().unwrap() };
    let intervals = bootstrap(&[vec![run("scores")]], options).unwrap();
    let comparison = compare(&[vec![run("scores")]], &[vec![run("other")]], options).unwrap();
    for (name, expected) in case["expected"].as_object().unwrap() {
        let estimate = intervals.estimates.iter().find(|estimate| estimate.metric.name() == name).unwrap();
        let interval = estimate.interval.unwrap();
        assert_same(Some(interval.low), &expected["interval"][0], name);
        assert_same(Some(interval.high), &expected["interval"][1], name);
        let difference = comparison.differences.iter().find(|difference| difference.metric.name() == name).unwrap();
        let interval = difference.interval.unwrap();
        assert_same(Some(interval.low), &expected["difference"][0], name);
        assert_same(Some(interval.high), &expected["difference"][1], name);
        assert_same(difference.p_value, &expected["p_value"], name);
    }
    let test = serde_json::to_value(comparison.delong.unwrap()).unwrap();
    for (part, expected) in case["delong_difference"].as_object().unwrap() {
        match part.as_str() {
            // The complementary error function is a few times less exact.
            "p_value" => assert!((test[part].as_f64().unwrap() - expected.as_f64().unwrap()).abs() < 1e-10),
            _ => assert_same(test[part].as_f64(), expected, part),
        }
    }
    // Several rows of a note are not independent, nor are notes of one patient.
    let mut grouped = run("scores");
    grouped.groups = vec!["p".to_string(); 2].into_iter().chain(vec![String::new(); labels.len() - 2]).collect();
    let of_groups = compare(&[vec![grouped]], &[vec![run("other")]], options).unwrap();
    assert_eq!((of_groups.delong, of_groups.units), (None, labels.len() - 1));
    let twice = [vec![run("scores")], vec![run("scores")]];
    assert_eq!(compare(&twice, &twice, options).unwrap().delong, None);
}
