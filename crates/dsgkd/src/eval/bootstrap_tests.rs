#![allow(clippy::unwrap_used)]

use super::super::example::example;
use super::*;

const OPTIONS: BootstrapOptions = BootstrapOptions { samples: 400, seed: 11 };

#[test]
fn any_number_of_threads_gives_the_same_intervals() {
    let seeds = [vec![example(150, 1)]];
    let with_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bootstrap(&seeds, OPTIONS).unwrap())
    };
    let one = with_threads(1);
    assert_eq!(one, with_threads(5));
    assert_eq!(one, with_threads(2));
    assert_ne!(one, bootstrap(&seeds, BootstrapOptions { seed: 12, ..OPTIONS }).unwrap());
    assert_eq!(serde_json::from_str::<Intervals>(&serde_json::to_string(&one).unwrap()).unwrap(), one);
}

#[test]
fn a_resample_counted_equals_a_resample_copied() {
    let predictions = example(60, 2);
    let arm = Seeds::new(&[vec![predictions.clone()]], &Default::default()).unwrap();
    // Ids sort as text, so note numbers are not row numbers here.
    let drawn = draw_sample(arm.units, 3, 0);
    let mut names: Vec<&String> = predictions.ids.iter().collect();
    names.sort();
    let mut copied = Predictions { ids: vec![], labels: vec![], probabilities: vec![], ..predictions.clone() };
    for row in 0..60 {
        for _ in 0..drawn[names.binary_search(&&predictions.ids[row]).unwrap()] {
            copied.ids.push(copied.ids.len().to_string());
            copied.labels.push(predictions.labels[row]);
            copied.probabilities.extend_from_slice(&predictions.probabilities[2 * row..2 * row + 2]);
        }
    }
    let (counted, copied) = (arm.measure(&drawn), copied.evaluate().unwrap());
    assert_eq!(counted.notes, 60);
    for (name, value) in counted.iter() {
        let other = copied.iter().find(|(other, _)| *other == name).unwrap().1;
        assert!((value.unwrap() - other.unwrap()).abs() < 1e-12, "{name}");
    }
}

#[test]
fn seeds_of_one_note_are_drawn_together() {
    let run = example(100, 4);
    let once = bootstrap(&[vec![run.clone()]], OPTIONS).unwrap();
    let thrice = bootstrap(&[vec![run.clone()], vec![run.clone()], vec![run]], OPTIONS).unwrap();
    assert_eq!((thrice.notes, thrice.rows, thrice.seeds), (100, 300, 3));
    for (one, three) in once.estimates.iter().zip(&thrice.estimates) {
        let (one, three) = (one.interval.unwrap(), three.interval.unwrap());
        assert!((one.low - three.low).abs() < 1e-12 && (one.high - three.high).abs() < 1e-12);
    }
}

#[test]
fn undefined_samples_are_dropped_and_counted() {
    let mut predictions = example(12, 5);
    predictions.labels = vec![0; 12];
    predictions.labels[3] = 1;
    let intervals = bootstrap(&[vec![predictions.clone()]], OPTIONS).unwrap();
    let auroc = &intervals.estimates[0];
    // One positive in twelve is missed by (11/12)^12 = 35 % of the samples.
    assert!((100..180).contains(&auroc.undefined_samples), "{}", auroc.undefined_samples);
    assert!(auroc.interval.unwrap().low >= 0.0);
    predictions.labels[3] = 0;
    let never = bootstrap(&[vec![predictions]], OPTIONS).unwrap();
    assert_eq!((never.estimates[0].interval, never.estimates[0].undefined_samples), (None, 400));
}

#[test]
fn quantiles_are_interpolated() {
    assert_eq!(quantile(&[1.0], 0.975), 1.0);
    assert_eq!(quantile(&[0.0, 10.0], 0.025), 0.25);
    assert_eq!(interval_of([Some(2.0), None, Some(1.0)].into_iter()), (Some(Interval { low: 1.025, high: 1.975 }), 1));
}

#[test]
fn runs_of_other_classes_are_refused() {
    let (first, mut second) = (example(10, 1), example(10, 2));
    second.classes.reverse();
    assert!(bootstrap(&[vec![first.clone(), second.clone()]], OPTIONS).unwrap_err().to_string().contains("run 2"));
    second.classes.reverse();
    second.probabilities[7] = f64::NAN;
    let message = bootstrap(&[vec![first.clone()], vec![second]], OPTIONS).unwrap_err().to_string();
    assert!(message.contains("run 2: row 4"), "{message}");
    assert!(bootstrap(&[], OPTIONS).is_err() && bootstrap(&[vec![first.clone()], vec![]], OPTIONS).is_err());
    assert!(matches!(bootstrap(&[vec![first]], BootstrapOptions { samples: 0, seed: 0 }), Err(Error::Config(_))));
}

/// A patient's notes are copies of one: their intervals are those of the patients, not of ten times as many notes.
#[test]
fn notes_of_a_group_are_drawn_together() {
    let patients = example(80, 6);
    let once = bootstrap(&[vec![patients.clone()]], OPTIONS).unwrap();
    let copies = |of_group: bool| {
        let mut run =
            Predictions { ids: vec![], groups: vec![], labels: vec![], probabilities: vec![], ..patients.clone() };
        for (row, id) in patients.ids.iter().enumerate() {
            for copy in 0..5 {
                run.ids.push(format!("{id}/{copy}"));
                run.labels.push(patients.labels[row]);
                run.probabilities.extend_from_slice(&patients.probabilities[2 * row..2 * row + 2]);
                if of_group {
                    run.groups.push(id.clone());
                }
            }
        }
        run
    };
    let (grouped, apart) = (copies(true), copies(false));
    let of_groups = bootstrap(&[vec![grouped.clone()]], OPTIONS).unwrap();
    assert_eq!((of_groups.notes, of_groups.units, of_groups.rows), (400, 80, 400));
    let of_notes = bootstrap(&[vec![apart]], OPTIONS).unwrap();
    let width = |found: &Intervals| {
        let auroc = found.estimates.iter().find(|estimate| estimate.metric == Metric::Auroc).unwrap();
        auroc.interval.map(|interval| interval.high - interval.low).unwrap()
    };
    assert_eq!(width(&of_groups), width(&once));
    assert!(width(&of_notes) < 0.6 * width(&once));

    // The same patient in two runs is one; a note of two patients is none.
    let twice = bootstrap(&[vec![grouped.clone()], vec![grouped.clone()]], OPTIONS).unwrap();
    assert_eq!((twice.units, twice.rows), (80, 800));
    let mut torn = grouped.clone();
    torn.groups[0] = "another".to_string();
    assert!(
        bootstrap(&[vec![grouped.clone(), torn]], OPTIONS).unwrap_err().to_string().contains("1 ids lie in two groups")
    );
    let mut short = grouped.clone();
    short.groups.pop();
    assert!(bootstrap(&[vec![short]], OPTIONS).unwrap_err().to_string().contains("399 groups for 400 ids"));
    let mut partly = grouped;
    partly.groups[..10].fill(String::new());
    assert_eq!(bootstrap(&[vec![partly]], OPTIONS).unwrap().units, 78 + 10);
}
