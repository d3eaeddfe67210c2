//! The items of TRIPOD+AI (Collins et al., BMJ 385, 2024, e078378) that a tool can fill; the others are its reader's.

use super::gather::{Arm, Gathered};
use super::made_from::classifier;
use super::page::drawn;
use crate::config::{Baseline, ClassWeights, ClassWeightsName, Config, DistillWhen, Monitor};

/// `(item, what it asks for, what this report can say)`.
pub(super) fn items(gathered: &Gathered) -> Vec<(&'static str, &'static str, String)> {
    let Some(arm) = gathered.arms.first() else { return vec![] };
    let mut items = vec![];
    if let Some(config) = &arm.config {
        items.push(("12a", "How the data were used", split(config, arm)));
        items.push(("12c", "Model, its building and internal validation", building(config, validated(arm))));
        items.push(("13", "Class imbalance", imbalance(config, arm)));
        items.push(("11", "Missing data", missing(config, arm)));
    }
    items.push(("10, 21", "Sample size: notes and events in each analysis", sizes(arm)));
    items.push(("12e", "Measures of performance", measures(gathered)));
    items.push(("12f", "Recalibration", recalibration(arm)));
    items.push(("14", "Fairness: parts of the notes", fairness(gathered)));
    items.push(("15", "Output and thresholds", output(gathered)));
    items.push(("22", "The model, to be used by others", model(arm.config.as_ref()).into()));
    items.push(("23a", "Performance with intervals", performance(gathered)));
    items
}

/// What no tool can know.
pub(super) const FOR_THE_AUTHORS: &str = "Title and abstract (1, 2), background and objectives (3, 4), where and when the notes were written and who was \
    eligible (5, 6), how the outcome was judged (8), ethics, funding, protocol and registration (17, 18), involvement of patients (19), \
    interpretation, limitations and use in practice (25 to 27).";

fn split(config: &Config, arm: &Arm) -> String {
    let split = &config.data.split;
    let test = match (config.data.test.is_empty(), split.folds) {
        (false, _) => "test notes from files of their own".to_string(),
        (true, 0) => format!("a share of {} of the notes held out as test notes", split.test_fraction),
        (true, folds) => format!("{folds}-fold cross-validation, {} folds in this report", arm.environments.len()),
    };
    let group = match config.data.group.as_str() {
        "" => "notes divided one by one".to_string(),
        group => format!("all notes of one {group} on one side"),
    };
    let stratified = if split.stratified { ", classes in equal shares" } else { "" };
    let validation = match (config.data.validation.is_empty(), validated(arm)) {
        (false, _) => "validation notes from files of their own".to_string(),
        (true, true) => format!("a share of {} of the rest held out as validation notes", split.validation_fraction),
        (true, false) => "no validation notes".to_string(),
    };
    format!("{test}; {group}{stratified}; {validation}")
}

/// Whether there were validation notes.
pub(super) fn validated(arm: &Arm) -> bool {
    arm.environments.iter().any(|run| run["notes"]["validation"].as_u64() > Some(0))
}

fn building(config: &Config, validated: bool) -> String {
    if config.baseline == Baseline::TfIdf {
        return "TF-IDF of character sequences and logistic regression, without an encoder".to_string();
    }
    let (train, distill) = (&config.train, &config.distill);
    let rate = |rate: Option<f64>| rate.map_or("unknown".to_string(), |rate| format!("{rate:e}"));
    let mut method = match config.teachers.len() {
        0 => "an encoder fine-tuned without a teacher".to_string(),
        teachers => {
            format!("an encoder fine-tuned and distilled (DSG-KD, arXiv 2409.14904) from {teachers} frozen teacher(s)")
        }
    };
    if !config.teachers.is_empty() {
        method += &match distill.when {
            DistillWhen::WithLabels => ", heard with the labels".to_string(),
            DistillWhen::BeforeLabels => {
                let at = rate(distill.learning_rate.or(train.learning_rate));
                format!(", heard for {} epochs before the labels, learning rate {at}", distill.num_train_epochs)
            }
        };
    }
    if config.adapt.num_train_epochs > 0 {
        let (epochs, at) = (config.adapt.num_train_epochs, rate(Some(config.adapt.learning_rate)));
        method +=
            &format!(", after {epochs} epochs of masked-language-model training on the notes, learning rate {at}");
    }
    let kept = match validated {
        true => format!("the weights of the best validation {} kept", monitor_name(train.metric_for_best_model)),
        false => "the last weights kept".to_string(),
    };
    format!(
        "{method}; classifier: {}; {} epochs of labels, batches of {}, learning rates {} (encoder) and {} (classifier), {kept}",
        classifier(config),
        train.num_train_epochs,
        train.batch_size,
        rate(train.learning_rate),
        rate(Some(train.classifier_learning_rate)),
    )
}

fn imbalance(config: &Config, arm: &Arm) -> String {
    let counts: Vec<String> = (0..arm.pooled.classes.len())
        .map(|class| {
            let notes = arm.pooled.labels.iter().filter(|label| **label == class).count();
            format!("{}: {notes}", arm.pooled.classes[class])
        })
        .collect();
    let weights = match &config.train.class_weights {
        ClassWeights::Named(ClassWeightsName::None) => "none".to_string(),
        ClassWeights::Named(ClassWeightsName::Balanced) => "balanced".to_string(),
        ClassWeights::Values(values) => format!("{values:?}"),
    };
    format!("Test rows {}; class weights in the loss: {weights}", counts.join(", "))
}

fn missing(config: &Config, arm: &Arm) -> String {
    let skipped: u64 = arm.environments.iter().filter_map(|run| run["notes"]["bad_rows"].as_u64()).max().unwrap_or(0);
    let rule = if config.data.skip_bad_rows { "passed over" } else { "refused" };
    let absent = match &config.data.missing[..] {
        [] => "empty cells count as missing".to_string(),
        values => format!("empty cells and {} count as missing", values.join(", ")),
    };
    format!(
        "Rows without text or label are {rule} ({skipped} rows); {absent}; optional parts of a template are left out"
    )
}

fn sizes(arm: &Arm) -> String {
    let runs = arm.environments.iter().map(|run| {
        let notes = &run["notes"];
        let count = |key: &str| notes[key].as_u64().unwrap_or(0);
        format!(
            "{} training, {} unlabelled, {} validation, {} test",
            count("training"),
            count("unlabeled"),
            count("validation"),
            count("test")
        )
    });
    runs.collect::<Vec<_>>().join("; ")
}

/// As the experiment file has it.
fn monitor_name(monitor: Monitor) -> &'static str {
    match monitor {
        Monitor::F1 => "f1",
        Monitor::Brier => "brier",
        Monitor::Loss => "loss",
        Monitor::Auroc => "auroc",
    }
}

/// Whether the page has curves and a table of thresholds, which more than two classes have not.
fn has_thresholds(gathered: &Gathered) -> bool {
    gathered.arms.iter().any(|arm| arm.binary.is_some())
}

/// Whether the page has a section on parts of the notes.
fn has_parts(gathered: &Gathered) -> bool {
    gathered.arms.iter().any(|arm| !arm.subgroups.is_empty())
}

fn measures(gathered: &Gathered) -> String {
    let (decisions, more) = match has_thresholds(gathered) {
        true => ("decisions at thresholds", ", net benefit"),
        false => ("decisions for the most probable class (accuracy, recall, precision, F1)", ""),
    };
    format!(
        "Discrimination (AUROC, AUPRC), {decisions}, calibration (Brier, log loss, calibration error, diagram){more}; 95 % intervals of {} \
         bootstrap samples{}",
        gathered.bootstrap.samples,
        drawn(&gathered.arms)
    )
}

fn fairness(gathered: &Gathered) -> String {
    let said = match has_parts(gathered) {
        true => "The section on parts of the notes. Which parts matter is for the authors to say.",
        false => "No part was measured: the notes were not found again.",
    };
    said.to_string()
}

fn output(gathered: &Gathered) -> String {
    let decided = match has_thresholds(gathered) {
        true => "thresholds in the table of thresholds",
        false => "the most probable one is predicted, without a threshold",
    };
    format!("A probability of each class; {decided}.")
}

fn model(config: Option<&Config>) -> &'static str {
    match config.map(|config| config.baseline) {
        Some(Baseline::TfIdf) => "None is kept; RUN/config.toml repeats the fit.",
        Some(Baseline::None) | None => "RUN/model is a Hugging Face folder; RUN/config.toml repeats the training.",
    }
}

fn performance(gathered: &Gathered) -> String {
    let sections =
        [("metrics", true), ("curves", has_thresholds(gathered)), ("parts of the notes", has_parts(gathered))];
    let there: Vec<&str> = sections.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    format!("Sections: {}.", there.join(", "))
}

fn recalibration(arm: &Arm) -> String {
    match &arm.scaled {
        Some((temperatures, _)) => {
            let numbers: Vec<String> = temperatures.iter().map(|temperature| format!("{temperature:.3}")).collect();
            format!("Temperature scaling fitted on validation notes: {}", numbers.join(", "))
        }
        None => "None".to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TeacherConfig;

    #[test]
    fn the_building_names_what_was_done_and_at_which_rates() {
        let mut config = Config::default().resolved();
        assert_eq!(
            building(&config, true),
            "an encoder fine-tuned without a teacher; classifier: the model family's, on the first token; 10 epochs of labels, batches of 16, learning rates 1e-5 (encoder) and 1e-3 (classifier), \
             the weights of the best validation loss kept"
        );
        config = Config { teachers: vec![TeacherConfig::default()], ..Config::default() }.resolved();
        config.adapt.num_train_epochs = 5;
        config.distill.learning_rate = Some(3e-4);
        let said = building(&config, false);
        assert!(
            said.contains(
                "1 frozen teacher(s), heard for 20 epochs before the labels, learning rate 3e-4, after 5 epochs"
            ),
            "{said}"
        );
        assert!(said.contains("learning rates 1e-4 (encoder)") && said.ends_with("the last weights kept"), "{said}");
        config.distill.when = DistillWhen::WithLabels;
        assert!(building(&config, false).contains("heard with the labels"));
        config.baseline = Baseline::TfIdf;
        assert!(building(&config, false).starts_with("TF-IDF"));
    }

    #[test]
    fn measures_are_named_as_the_experiment_file_names_them() {
        for monitor in [Monitor::F1, Monitor::Brier, Monitor::Loss, Monitor::Auroc] {
            assert_eq!(serde_json::json!(monitor), monitor_name(monitor));
        }
    }
}
