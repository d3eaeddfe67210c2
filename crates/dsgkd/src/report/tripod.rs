//! The items of TRIPOD+AI (Collins et al., BMJ 385, 2024, e078378) that a tool can fill; the others are its reader's.

use super::gather::{Arm, Gathered};
use super::made_from::classifier;
use super::page::{counted, drawn, temperatures_text};
use crate::config::{Baseline, ClassWeights, ClassWeightsName, Config, DataConfig, DistillWhen, Monitor};
use serde_json::Value as Json;

/// `(item, what it asks for, what this report can say, in lines)`.
pub(super) fn items(gathered: &Gathered) -> Vec<(&'static str, &'static str, String)> {
    let arms = &gathered.arms;
    if arms.is_empty() {
        return vec![];
    }
    let each = |say: &dyn Fn(&Arm) -> String| of_arms(arms.iter().map(|arm| (arm.name.as_str(), say(arm))));
    let each_config = |say: &dyn Fn(&Config, &Arm) -> String| {
        each(&|arm| arm.config.as_ref().map_or_else(|| "unknown".to_string(), |config| say(config, arm)))
    };
    let is_known = arms.iter().any(|arm| arm.config.is_some());
    let of_sizes = each(&|arm| sizes(&arm.environments, arm.intervals.notes));
    let mut items = vec![("10, 21", "Sample size: notes and events in each analysis", of_sizes)];
    if is_known {
        let of_building = each_config(&|config, arm| building(config, validated(arm)));
        items.push(("11", "Missing data", each_config(&missing)));
        items.push(("12a", "How the data were used", each_config(&split)));
        items.push(("12c", "Model, its building and internal validation", of_building));
    }
    items.push(("12e", "Measures of performance", measures(gathered)));
    items.push(("12f", "Recalibration", each(&recalibration)));
    if is_known {
        items.push(("13", "Class imbalance", each_config(&imbalance)));
    }
    items.push(("14", "Fairness: parts of the notes", fairness(gathered)));
    items.push(("15", "Output and thresholds", output(gathered)));
    let of_model = each(&|arm| model(arm.config.as_ref()).to_string());
    items.push(("22", "The model, to be used by others", of_model));
    items.push(("23a", "Performance with intervals", performance(gathered)));
    items
}

/// What is said of the arms: once where it is the same of all, else a line for those of which it is the same.
fn of_arms<'a>(said: impl Iterator<Item = (&'a str, String)>) -> String {
    let said = each_once(said);
    if let [(_, text)] = &said[..] {
        return text.clone();
    }
    let lines = said.iter().map(|(names, text)| format!("{}: {text}", names.join(", ")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Each text once, in the order of first mention, with all of whom it is said.
fn each_once<T>(said: impl Iterator<Item = (T, String)>) -> Vec<(Vec<T>, String)> {
    let mut once: Vec<(Vec<T>, String)> = vec![];
    for (of, text) in said {
        match once.iter().position(|(_, other)| *other == text) {
            Some(place) => once[place].0.push(of),
            None => once.push((vec![of], text)),
        }
    }
    once
}

/// What no tool can know.
pub(super) const FOR_THE_AUTHORS: &str = "Title and abstract (1, 2), background and objectives (3, 4), where and when the notes were written and who was \
    eligible (5, 6), how the outcome was judged (8), ethics, funding, protocol and registration (17, 18), involvement of patients (19), \
    interpretation, limitations and use in practice (25 to 27).";

fn split(config: &Config, arm: &Arm) -> String {
    let test = tested_on(config, arm.environments.len(), arm.intervals.seeds);
    let validation = match (config.data.validation.is_empty(), validated(arm)) {
        (false, _) => "validation notes from files of their own".to_string(),
        (true, true) => {
            format!("a share of {} of the rest held out as validation notes", config.data.split.validation_fraction)
        }
        (true, false) => "no validation notes".to_string(),
    };
    [Some(test), divided(&config.data), Some(validation)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// How notes were kept together and dealt out; of files that are parts as they were given, what was held against them.
fn divided(data: &DataConfig) -> Option<String> {
    let stratified = if data.split.stratified { ", classes in equal shares" } else { "" };
    match (data.group.as_str(), data.deals_notes()) {
        ("", false) => None,
        ("", true) => Some(format!("notes divided one by one{stratified}")),
        (group, false) => Some(format!("all notes of one {group} on one side")),
        (group, true) => Some(format!("all notes of one {group} on one side{stratified}")),
    }
}

/// What the test notes are, and of how many trainings.
fn tested_on(config: &Config, runs: usize, seeds: usize) -> String {
    let split = &config.data.split;
    let of_runs = counted(runs, "run");
    let with_seeds = if seeds > 1 { format!(" with {seeds} seeds") } else { String::new() };
    let held_out = match (config.data.test.is_empty(), split.folds) {
        (false, _) => "test notes from files of their own".to_string(),
        (true, 0) => format!("a share of {} of the notes held out as test notes", split.test_fraction),
        (true, folds) => {
            return format!("{folds}-fold cross-validation{with_seeds}, {of_runs} in this report");
        }
    };
    if runs == 1 { held_out } else { format!("{held_out}, {of_runs}{with_seeds} in this report") }
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
            let teachers = counted(teachers, "frozen teacher");
            format!("an encoder fine-tuned and distilled (DSG-KD, arXiv 2409.14904) from {teachers}")
        }
    };
    if !config.teachers.is_empty() {
        method += &match distill.when {
            DistillWhen::WithLabels => ", heard with the labels".to_string(),
            DistillWhen::BeforeLabels => {
                let at = rate(distill.learning_rate.or(train.learning_rate));
                let epochs = counted(distill.num_train_epochs, "epoch");
                format!(", heard for {epochs} before the labels, learning rate {at}")
            }
        };
    }
    if config.adapt.num_train_epochs > 0 {
        let (epochs, at) = (counted(config.adapt.num_train_epochs, "epoch"), rate(Some(config.adapt.learning_rate)));
        method += &format!(", after {epochs} of masked-language-model training on the notes, learning rate {at}");
    }
    let kept = match validated {
        true => format!("the weights of the best validation {} kept", monitor_name(train.metric_for_best_model)),
        false => "the last weights kept".to_string(),
    };
    format!(
        "{method}; classifier: {}; {} of labels, batches of {}, learning rates {} (encoder) and {} (classifier), {kept}",
        classifier(config),
        counted(train.num_train_epochs, "epoch"),
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
    let skipped = counted(skipped as usize, "row");
    format!("Rows without text or label are {rule} ({skipped}); {absent}; optional parts of a template are left out")
}

/// Of each run, of those with the same numbers once; `all` is how many notes were tested by any.
fn sizes(runs: &[Json], all: usize) -> String {
    let of_run = |run: &Json| {
        let notes = &run["notes"];
        let count = |key: &str| notes[key].as_u64().unwrap_or(0);
        format!(
            "{} training{}, {} unlabelled, {} validation{}, {} test{}",
            count("training"),
            events(notes, "class_counts"),
            count("unlabeled"),
            count("validation"),
            events(notes, "validation_class_counts"),
            count("test"),
            events(notes, "test_class_counts")
        )
    };
    let said = each_once(runs.iter().map(|run| (run, of_run(run))));
    let said = match &said[..] {
        [(of, text)] if of.len() == 1 => return text.clone(),
        [(of, text)] => format!("{text} in each of {} runs", of.len()),
        _ => {
            let said = said.iter().map(|(of, text)| format!("{text} in {}", counted(of.len(), "run")));
            said.collect::<Vec<_>>().join("; ")
        }
    };
    format!("{said}; {} in all", counted(all, "test note"))
}

/// How many of a part's notes are of each class, of two of the positive one; nothing where a run of an older dsgkd does not say, or the part has no note.
fn events(notes: &Json, counts: &str) -> String {
    let list = |key: &str| notes[key].as_array().map_or(&[][..], Vec::as_slice);
    let (classes, counts) = (list("classes"), list(counts));
    if counts.len() != classes.len() || counts.iter().all(|count| count.as_u64() == Some(0)) {
        return String::new();
    }
    let of_class = classes.iter().zip(counts).skip(usize::from(classes.len() == 2));
    let said: Vec<String> =
        of_class.map(|(class, count)| format!("{count} {}", class.as_str().unwrap_or(""))).collect();
    format!(" ({})", said.join(", "))
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
    let chosen = |arm: &Arm| match &arm.chosen {
        Some(chosen) => format!("predict decides at: {chosen}"),
        None => "predict decides at the training prevalence".to_string(),
    };
    let arms = &gathered.arms;
    let chosen = match arms.iter().any(|arm| arm.chosen.is_some()) {
        true => format!("\n{}", of_arms(arms.iter().map(|arm| (arm.name.as_str(), chosen(arm))))),
        false => String::new(),
    };
    format!("A probability of each class; {decided}.{chosen}")
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
            format!("Temperature scaling fitted on validation notes: {}", temperatures_text(temperatures))
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
                "from 1 frozen teacher, heard for 20 epochs before the labels, learning rate 3e-4, after 5 epochs of"
            ),
            "{said}"
        );
        assert!(said.contains("learning rates 1e-4 (encoder)") && said.ends_with("the last weights kept"), "{said}");
        config.distill.when = DistillWhen::WithLabels;
        assert!(building(&config, false).contains("heard with the labels"));
        config.train.num_train_epochs = 1;
        config.teachers.push(TeacherConfig::default());
        let said = building(&config, false);
        assert!(said.contains("from 2 frozen teachers") && said.contains("; 1 epoch of labels"), "{said}");
        config.baseline = Baseline::TfIdf;
        assert!(building(&config, false).starts_with("TF-IDF"));
    }

    #[test]
    fn what_is_the_same_of_all_arms_is_said_once() {
        let of = |said: &[(&str, &str)]| of_arms(said.iter().map(|(name, text)| (*name, text.to_string())));
        assert_eq!(of(&[("alone", "one way"), ("taught", "one way")]), "one way");
        let said = of(&[("alone", "one way"), ("taught", "another"), ("again", "one way")]);
        assert_eq!(said, "alone, again: one way\ntaught: another");
    }

    #[test]
    fn runs_of_several_seeds_and_folds_are_counted() {
        let mut config = Config::default();
        config.data.split.folds = 3;
        assert_eq!(tested_on(&config, 6, 2), "3-fold cross-validation with 2 seeds, 6 runs in this report");
        assert_eq!(tested_on(&config, 1, 1), "3-fold cross-validation, 1 run in this report");
        config.data.split.folds = 0;
        let held_out = "a share of 0.2 of the notes held out as test notes";
        assert_eq!(tested_on(&config, 1, 1), held_out);
        assert_eq!(tested_on(&config, 2, 2), format!("{held_out}, 2 runs with 2 seeds in this report"));

        let run = |test: usize| serde_json::json!({"notes": {"training": 350, "validation": 50, "test": test}});
        let of_run = |test: usize| format!("350 training, 0 unlabelled, 50 validation, {test} test");
        assert_eq!(sizes(&[run(200)], 200), of_run(200));
        let same = format!("{} in each of 3 runs; 600 test notes in all", of_run(200));
        assert_eq!(sizes(&[run(200), run(200), run(200)], 600), same);
        let other = format!("{} in 2 runs; {} in 1 run; 599 test notes in all", of_run(200), of_run(199));
        assert_eq!(sizes(&[run(200), run(199), run(200)], 599), other);
    }

    #[test]
    fn events_are_told_where_they_are_known() {
        let notes = |classes: &[&str], counts: [&[u64]; 3]| {
            serde_json::json!({"notes": {"training": 350, "validation": 0, "test": 200, "classes": classes, "class_counts": counts[0],
                                         "validation_class_counts": counts[1], "test_class_counts": counts[2]}})
        };
        let two = notes(&["no", "yes"], [&[250, 100], &[0, 0], &[150, 50]]);
        assert_eq!(
            sizes(&[two], 200),
            "350 training (100 yes), 0 unlabelled, 0 validation, 200 test (50 yes)",
            "of two classes one is the event"
        );
        let three = notes(&["a", "b", "c"], [&[50, 100, 200], &[0; 3], &[20, 80, 100]]);
        let said = "350 training (50 a, 100 b, 200 c), 0 unlabelled, 0 validation, 200 test (20 a, 80 b, 100 c)";
        assert_eq!(sizes(&[three], 200), said);
        // Runs of before wrote those of the training alone.
        let older =
            serde_json::json!({"notes": {"training": 9, "test": 3, "classes": ["no", "yes"], "class_counts": [5, 4]}});
        assert_eq!(sizes(&[older], 3), "9 training (4 yes), 0 unlabelled, 0 validation, 3 test");
    }

    #[test]
    fn what_was_given_in_parts_was_not_dealt() {
        let dealt = DataConfig::default();
        let mut given = DataConfig { validation: vec!["v".into()], test: vec!["t".into()], ..DataConfig::default() };
        assert_eq!(divided(&dealt).as_deref(), Some("notes divided one by one, classes in equal shares"));
        assert_eq!(divided(&given), None);
        given.group = "patient".to_string();
        assert_eq!(divided(&given).as_deref(), Some("all notes of one patient on one side"));
        given.validation.clear();
        assert_eq!(divided(&given).as_deref(), Some("all notes of one patient on one side, classes in equal shares"));
    }

    #[test]
    fn measures_are_named_as_the_experiment_file_names_them() {
        for monitor in [Monitor::F1, Monitor::Brier, Monitor::Loss, Monitor::Auroc] {
            assert_eq!(serde_json::json!(monitor), monitor_name(monitor));
        }
    }
}
