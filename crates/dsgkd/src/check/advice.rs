//! What is allowed and hardly meant, a line each.

use super::PartReport;
use crate::config::{Baseline, Config};
use crate::eval::predictions::is_same_number;

/// A class with fewer notes is taken for a typo where the classes are found in the files, and for one that cannot be measured where they are named.
const LEAST_NOTES: usize = 5;
/// Encoders learn at rates between these, classifiers on them up to [`HIGHEST_CLASSIFIER_RATE`].
const ENCODER_RATES: std::ops::RangeInclusive<f64> = 1e-7..=5e-3;
const HIGHEST_CLASSIFIER_RATE: f64 = 0.1;

/// About classes that hardly have a note; `are_named`: the experiment lists its classes.
pub(super) fn rare_classes(labels: &[(String, usize)], are_named: bool) -> Vec<String> {
    let rare = labels.iter().filter(|(_, count)| *count < LEAST_NOTES).map(|(class, count)| {
        let notes = if *count == 1 { "note" } else { "notes" };
        let what = match are_named {
            false => "a typo? name the classes in data.labels, or map them in data.label_map",
            true => "too few to learn it, or to measure; merge it with another in data.label_map, or add notes",
        };
        format!("class `{class}` has {count} {notes}: {what}")
    });
    rare.collect()
}

/// About parts of the split that lack a class, unless it has hardly a note anywhere.
pub(super) fn parts_without_a_class(labels: &[(String, usize)], parts: &[PartReport; 3]) -> Vec<String> {
    let mut lines = vec![];
    for part in parts.iter().filter(|part| part.notes > 0) {
        let what = match part.part.as_str() {
            "training" => "it cannot be learned",
            "validation" => "they have no AUROC to stop a training by, and `dsgkd calibrate` may find nothing in them",
            _ => "AUROC and sensitivity, or specificity, are undefined",
        };
        for ((class, _), _) in
            labels.iter().zip(&part.classes).filter(|((_, all), here)| *all >= LEAST_NOTES && **here == 0)
        {
            lines.push(format!("no {} note is of class `{class}`: {what}", part.part));
        }
    }
    lines
}

/// About classes that are written in several ways.
pub(super) fn same_classes(labels: &[(String, usize)]) -> Vec<String> {
    let is_same = |one: &str, other: &str| is_same_number(one, other) || one.to_lowercase() == other.to_lowercase();
    let mut lines = vec![];
    for (number, (class, _)) in labels.iter().enumerate() {
        if let Some((earlier, _)) = labels[..number].iter().find(|(earlier, _)| is_same(earlier, class)) {
            lines.push(format!(
                "classes `{earlier}` and `{class}`: one class in two spellings? map one to the other in data.label_map"
            ));
        }
    }
    lines
}

/// About equal notes of different classes; `contradicted` are their texts.
pub(super) fn contradictions(contradicted: usize) -> Option<String> {
    let texts = if contradicted == 1 { "1 text stands".to_string() } else { format!("{contradicted} texts stand") };
    (contradicted > 0).then(|| format!("{texts} under more than one class: which is right?"))
}

/// About notes that have no id where the others have; `rows` go by their row numbers.
pub(super) fn without_ids(rows: usize) -> Option<String> {
    let notes = if rows == 1 { "1 note has".to_string() } else { format!("{rows} notes have") };
    (rows > 0).then(|| {
        format!("{notes} no id in data.id: they go by their row numbers, which name other notes in another file")
    })
}

/// About notes without labels that nobody reads.
pub(super) fn idle_notes(config: &Config, unlabeled: usize) -> Option<String> {
    let is_read = !config.teachers.is_empty() || config.adapt.num_train_epochs > 0;
    let why = match config.baseline {
        Baseline::TfIdf => "the baseline learns of labels alone",
        Baseline::None if is_read => return None,
        Baseline::None => "[[teachers]] or [adapt] would read them",
    };
    (unlabeled > 0).then(|| format!("the notes without labels are not used: {why}"))
}

/// About learning rates that no encoder learns at.
pub(super) fn learning_rates(config: &Config) -> Vec<String> {
    let adapt = (config.adapt.num_train_epochs > 0).then_some(config.adapt.learning_rate);
    let distill = config.distill.learning_rate.filter(|_| !config.teachers.is_empty());
    let encoder = [
        ("train.learning_rate", config.train.learning_rate),
        ("distill.learning_rate", distill),
        ("adapt.learning_rate", adapt),
    ];
    let mut lines = vec![];
    for (key, rate) in encoder {
        if let Some(rate) = rate.filter(|rate| *rate > 0.0 && !ENCODER_RATES.contains(rate)) {
            lines.push(format!("{key} = {rate:e}: encoders are trained at 1e-5 to 1e-3"));
        }
    }
    let rate = config.train.classifier_learning_rate;
    if rate > HIGHEST_CLASSIFIER_RATE {
        lines.push(format!("train.classifier_learning_rate = {rate:e}: classifiers are trained at 1e-4 to 1e-2"));
    }
    if config.baseline == Baseline::None { lines } else { vec![] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TeacherConfig;

    fn named(counts: &[(&str, usize)]) -> Vec<(String, usize)> {
        counts.iter().map(|(class, count)| (class.to_string(), *count)).collect()
    }

    #[test]
    fn only_classes_of_hardly_a_note_are_advised_about() {
        let labels = named(&[("no", 90), ("si", 5), ("sii", 1), ("none", 0)]);
        let typo = "a typo? name the classes in data.labels, or map them in data.label_map";
        assert_eq!(
            rare_classes(&labels, false),
            [format!("class `sii` has 1 note: {typo}"), format!("class `none` has 0 notes: {typo}")]
        );
        let advised = rare_classes(&labels, true);
        assert!(advised.len() == 2 && advised.iter().all(|line| line.contains("too few") && !line.contains("typo")));
    }

    #[test]
    fn a_part_that_lacks_a_class_is_told_of_unless_it_is_empty_or_nobody_has_the_class() {
        let part = |part: &str, classes: [usize; 3]| PartReport {
            part: part.to_string(),
            notes: classes.iter().sum(),
            classes: classes.to_vec(),
            groups: None,
        };
        let labels = named(&[("no", 90), ("yes", 9), ("never", 4)]);
        let parts = [part("training", [80, 9, 0]), part("validation", [0; 3]), part("test", [10, 0, 0])];
        let advised = parts_without_a_class(&labels, &parts);
        assert_eq!(advised, ["no test note is of class `yes`: AUROC and sensitivity, or specificity, are undefined"]);
        let parts = [part("training", [80, 0, 0]), part("validation", [5, 0, 0]), part("test", [5, 9, 0])];
        assert_eq!(parts_without_a_class(&labels, &parts).len(), 2);
    }

    #[test]
    fn one_class_in_two_spellings_is_asked_about() {
        let lines = same_classes(&named(&[("1", 40), ("Yes", 9), ("1.0", 30), ("yes", 7), ("no", 50)]));
        assert!(
            lines.len() == 2 && lines[0].contains("`1` and `1.0`") && lines[1].contains("`Yes` and `yes`"),
            "{lines:?}"
        );
    }

    #[test]
    fn notes_without_labels_are_idle_where_neither_a_teacher_nor_adaptation_reads_them() {
        let mut config = Config::default();
        assert!(idle_notes(&config, 5).is_some() && idle_notes(&config, 0).is_none());
        config.adapt.num_train_epochs = 1;
        assert!(idle_notes(&config, 5).is_none());
        config = Config { teachers: vec![TeacherConfig::default()], ..Config::default() };
        assert!(idle_notes(&config, 5).is_none());
        config.baseline = Baseline::TfIdf;
        assert!(idle_notes(&config, 5).is_some_and(|line| line.ends_with("of labels alone")));
    }

    #[test]
    fn rates_are_advised_about_where_they_are_used_and_no_encoder_learns_at_them() {
        let mut config = Config::default().resolved();
        assert_eq!(learning_rates(&config), Vec::<String>::new());
        // Nobody adapts here, and nobody is heard.
        (config.adapt.learning_rate, config.distill.learning_rate) = (5.0, Some(5.0));
        assert_eq!(learning_rates(&config), Vec::<String>::new());
        (config.train.learning_rate, config.train.classifier_learning_rate) = (Some(0.05), 1.0);
        let lines = learning_rates(&config);
        assert!(lines.len() == 2 && lines[0].starts_with("train.learning_rate = 5e-2: "), "{lines:?}");
        config.adapt.num_train_epochs = 1;
        assert_eq!(learning_rates(&config).len(), 3);
        config.train.learning_rate = Some(0.0);
        assert_eq!(learning_rates(&config).len(), 2, "a frozen encoder is meant");
    }
}
