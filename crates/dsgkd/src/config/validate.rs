//! Values that are of the right type and still cannot be meant.

use super::check::Problem;
use super::schema::{Baseline, ClassWeights, Config, DataConfig, HeadKind, HeadMap, LayerMap, TermRule, TrainConfig};
use crate::error::{Error, Result};
use std::collections::BTreeSet;

/// Plans, folds and threads are made before anything is trained: numbers beyond any use would fill the memory.
const MOST_EPOCHS: usize = 100_000;
const MOST_FOLDS: usize = 10_000;
const MOST_THREADS: usize = 1024;
pub(crate) const MOST_BOOTSTRAP_SAMPLES: usize = 1_000_000;

impl Config {
    /// Whether a training can start from this: values in their ranges, and files, columns and a student given.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key at fault.
    pub fn validate(&self) -> Result<()> {
        let mut problems = Problems::default();
        let data = &self.data;
        problems.check(!data.train.is_empty(), "data.train", "names no training file");
        problems.check(
            !(data.text.is_empty() && data.template.is_empty()),
            "data.text",
            "is empty and so is `data.template`; name the column with the notes, or give a template",
        );
        problems.check(!data.label.is_empty(), "data.label", "is empty; name the column with the labels");
        if self.baseline == Baseline::None {
            problems.check(
                !is_empty(&self.student.model),
                "student.model",
                "is empty; name the folder of the model to train",
            );
        } else {
            problems.check(
                !data.test.is_empty() || data.deals_test_notes(),
                "baseline",
                "leaves no model, only figures: give `data.test`, folds or a test_fraction",
            );
            let settings = [
                (!self.teachers.is_empty(), "--set teachers=[]"),
                (self.adapt.num_train_epochs > 0, "--set adapt.num_train_epochs=0"),
                (self.train.class_weights != ClassWeights::default(), "--set train.class_weights=none"),
            ];
            let settings: Vec<&str> = settings.iter().filter(|(is_there, _)| *is_there).map(|found| found.1).collect();
            let message = format!(
                "trains no encoder and weighs no class: take out `teachers`, `adapt` and `train.class_weights` (on the command line: {}), or set it to \"none\"",
                settings.join(" ")
            );
            problems.check(settings.is_empty(), "baseline", &message);
        }
        let mut all = self.impossible_values();
        all.append(&mut problems.0);
        match all.into_iter().next() {
            Some(first) => Err(Error::Config(first.message)),
            None => Ok(()),
        }
    }

    /// What no command could work with, in the order of the schema.
    pub(super) fn impossible_values(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.check_data(&mut problems);
        self.check_text(&mut problems);
        self.check_models(&mut problems);
        self.check_train(&mut problems);
        problems.check(self.threads <= MOST_THREADS, "threads", &format!("must be 0 (all cores) to {MOST_THREADS}"));
        problems.check(
            (1..=MOST_BOOTSTRAP_SAMPLES).contains(&self.evaluation.bootstrap_samples),
            "evaluation.bootstrap_samples",
            &format!("must be 1 to {MOST_BOOTSTRAP_SAMPLES}"),
        );
        problems.0
    }

    fn check_data(&self, problems: &mut Problems) {
        let data = &self.data;
        problems.check(
            data.text.is_empty() || data.template.is_empty(),
            "data.template",
            "and `data.text` are both given; keep one of them",
        );
        let formats = ["", "csv", "tsv", "jsonl", "json", "parquet", "xlsx"];
        problems.check(
            formats.contains(&data.format.as_str()),
            "data.format",
            "must be csv, tsv, jsonl, json, parquet or xlsx",
        );
        problems.check(data.separator.chars().count() <= 1, "data.separator", "must be one character");
        problems.check(data.labels.len() != 1, "data.labels", "must name two classes or more");
        problems.check(all_differ(&data.labels), "data.labels", "names a class twice");
        problems.check(
            data.labels.is_empty() || data.label_map.values().all(|name| data.labels.contains(name)),
            "data.label_map",
            "maps to a class that `data.labels` does not name",
        );
        let split = &data.split;
        let is_share = |share: f64| (0.0..1.0).contains(&share);
        problems.check(is_share(split.test_fraction), "data.split.test_fraction", "must be at least 0 and below 1");
        problems.check(
            is_share(split.validation_fraction),
            "data.split.validation_fraction",
            "must be at least 0 and below 1",
        );
        problems.check(
            split.folds != 1 && split.folds <= MOST_FOLDS,
            "data.split.folds",
            &format!("must be 0 (no cross-validation), or 2 to {MOST_FOLDS}"),
        );
        problems.check(
            split.fold < split.folds.max(1),
            "data.split.fold",
            "must be below `data.split.folds`; folds are counted from 0",
        );
    }

    fn check_text(&self, problems: &mut Problems) {
        let text = &self.text;
        problems.check(text.max_length >= 3, "text.max_length", "must be 3 or more: two tokens are special");
        problems.check(text.max_terms >= 1, "text.max_terms", "must be 1 or more");
        problems.check(text.min_student_tokens != Some(0), "text.min_student_tokens", "must be 1 or more");
        problems.check(text.min_term_length >= 1, "text.min_term_length", "must be 1 or more");
        match text.terms {
            TermRule::Script => {
                problems.check(!text.term_scripts.is_empty(), "text.term_scripts", "names no script");
                let known = text.term_scripts.iter().all(|name| unicode_script::Script::from_full_name(name).is_some());
                problems.check(
                    known,
                    "text.term_scripts",
                    "has a name that is no Unicode script, like \"Latin\" or \"Hangul\"",
                );
            }
            TermRule::Dictionary => {
                problems.check(
                    !is_empty(&text.dictionary),
                    "text.dictionary",
                    "is empty, and `text.terms` is \"dictionary\"",
                );
            }
            TermRule::Regex => {
                problems.check(!text.pattern.is_empty(), "text.pattern", "is empty, and `text.terms` is \"regex\"");
                problems.check(
                    regex::Regex::new(&text.pattern).is_ok(),
                    "text.pattern",
                    "is not a valid regular expression",
                );
            }
            TermRule::Reference => {}
        }
    }

    fn check_models(&self, problems: &mut Problems) {
        let student = &self.student;
        problems.check(
            student.linear_probing != Some(true) || self.resolved().student.head == Some(HeadKind::Mean),
            "student.linear_probing",
            "needs `student.head = \"mean\"`: other heads are more than a regression",
        );
        for (key, dropout) in [
            ("student.hidden_dropout_prob", student.hidden_dropout_prob),
            ("student.attention_probs_dropout_prob", student.attention_probs_dropout_prob),
            ("student.classifier_dropout", student.classifier_dropout),
        ] {
            problems.check(
                dropout.is_none_or(|share| (0.0..1.0).contains(&share)),
                key,
                "must be at least 0 and below 1",
            );
        }
        for (index, teacher) in self.teachers.iter().enumerate() {
            let key = |name: &str| format!("teachers.{index}.{name}");
            problems.check(!is_empty(&teacher.model), &key("model"), "is empty; name the teacher's model folder");
            problems.check(is_positive(teacher.weight), &key("weight"), "must be above 0");
            let layers = !matches!(&teacher.layer_map, LayerMap::Pairs(pairs) if pairs.is_empty());
            problems.check(layers, &key("layer_map"), "is an empty list; pair at least one layer");
            let heads = !matches!(&teacher.head_map, Some(HeadMap::Pairs(pairs)) if pairs.is_empty());
            problems.check(heads, &key("head_map"), "is an empty list; pair at least one head");
        }
        let adapt = &self.adapt;
        problems.check(is_positive(adapt.learning_rate), "adapt.learning_rate", "must be a finite number above 0");
        problems.check(
            adapt.num_train_epochs <= MOST_EPOCHS,
            "adapt.num_train_epochs",
            &format!("must be 0 to {MOST_EPOCHS}"),
        );
        problems.check(adapt.batch_tokens >= 1, "adapt.batch_tokens", "must be 1 or more");
        let distill = &self.distill;
        problems.check(is_not_negative(distill.alpha), "distill.alpha", "must be 0 or more");
        problems.check(is_not_negative(distill.beta), "distill.beta", "must be 0 or more");
        problems.check(
            !(distill.whole_notes && distill.beta > 0.0),
            "distill.whole_notes",
            "needs distill.beta = 0, for attention rows are compared over aligned words",
        );
        let epochs = 1..=MOST_EPOCHS;
        problems.check(
            epochs.contains(&distill.num_train_epochs),
            "distill.num_train_epochs",
            &format!("must be 1 to {MOST_EPOCHS}"),
        );
        problems.check(
            distill.learning_rate.is_none_or(is_positive),
            "distill.learning_rate",
            "must be a finite number above 0",
        );
    }

    fn check_train(&self, problems: &mut Problems) {
        let train = &self.train;
        let epochs = 1..=MOST_EPOCHS;
        problems.check(
            epochs.contains(&train.num_train_epochs),
            "train.num_train_epochs",
            &format!("must be 1 to {MOST_EPOCHS}"),
        );
        problems.check(train.batch_size >= 1, "train.batch_size", "must be 1 or more");
        problems.check(
            train.gradient_accumulation_steps >= 1,
            "train.gradient_accumulation_steps",
            "must be 1 or more",
        );
        problems.check(
            train.learning_rate.is_none_or(is_positive),
            "train.learning_rate",
            "must be a finite number above 0",
        );
        problems.check(
            is_positive(train.classifier_learning_rate),
            "train.classifier_learning_rate",
            "must be a finite number above 0",
        );
        problems.check(is_not_negative(train.weight_decay), "train.weight_decay", "must be 0 or more");
        problems.check((0.0..1.0).contains(&train.adam_beta1), "train.adam_beta1", "must be at least 0 and below 1");
        problems.check((0.0..1.0).contains(&train.adam_beta2), "train.adam_beta2", "must be at least 0 and below 1");
        problems.check(is_positive(train.adam_epsilon), "train.adam_epsilon", "must be above 0");
        problems.check(
            train.warmup_ratio.is_none_or(|share| (0.0..=1.0).contains(&share)),
            "train.warmup_ratio",
            "must be between 0 and 1",
        );
        problems.check(is_not_negative(train.max_grad_norm), "train.max_grad_norm", "must be 0 (never cut) or more");
        if let ClassWeights::Values(weights) = &train.class_weights {
            problems.check(
                weights.iter().all(|weight| is_positive(*weight)),
                "train.class_weights",
                "must all be above 0",
            );
            problems.check(weights.len() >= 2, "train.class_weights", "needs one weight for each class");
            let classes = self.data.labels.len();
            problems.check(
                classes == 0 || classes == weights.len(),
                "train.class_weights",
                "needs one weight for each class of `data.labels`",
            );
        }
        problems.check(all_differ(&train.early_stopping), "train.early_stopping", "names a measure twice");
    }
}

impl TrainConfig {
    /// Whether `class_weights` fit the classes, which only the notes tell where `data.labels` does not name them.
    pub(crate) fn check_class_weights(&self, classes: usize) -> Result<()> {
        match &self.class_weights {
            ClassWeights::Values(weights) if weights.len() != classes => Err(Error::Config(format!(
                "`train.class_weights` has {} weights for {classes} classes; give one for each, in the order of `data.labels` (without it, of the sorted labels)",
                weights.len()
            ))),
            ClassWeights::Values(_) | ClassWeights::Named(_) => Ok(()),
        }
    }
}

impl DataConfig {
    /// Whether there will be validation notes: from files of their own, or dealt.
    pub fn has_validation_notes(&self) -> bool {
        !self.validation.is_empty() || self.split.validation_fraction > 0.0
    }

    /// Whether notes of the training files are dealt out to a part that has no files of its own.
    pub fn deals_notes(&self) -> bool {
        self.deals_test_notes() || (self.validation.is_empty() && self.split.validation_fraction > 0.0)
    }

    /// Whether another seed of the split makes other parts.
    pub fn is_dealt_by_seed(&self) -> bool {
        self.deals_notes() || self.split.label_budget > 0
    }

    /// Whether test notes are dealt from those of the training files.
    pub fn deals_test_notes(&self) -> bool {
        self.test.is_empty() && (self.split.folds > 0 || self.split.test_fraction > 0.0)
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn check(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.0.push(Problem { path: path.to_string(), message: format!("`{path}` {message}"), unknown: None });
        }
    }
}

fn is_empty(path: &std::path::Path) -> bool {
    path.as_os_str().is_empty()
}

fn is_positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

fn is_not_negative(number: f64) -> bool {
    number.is_finite() && number >= 0.0
}

fn all_differ<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() == items.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ClassWeightsName, SplitConfig, TeacherConfig};

    #[test]
    fn what_a_baseline_does_not_heed_is_taken_out_by_what_is_typed() {
        let refused = |teachers: usize, epochs: usize, weights: ClassWeights| {
            let mut config = Config { baseline: Baseline::TfIdf, ..Config::default() };
            config.train.class_weights = weights;
            (config.data.train, config.data.text, config.data.label) = (vec!["a".into()], "t".into(), "l".into());
            config.teachers = vec![TeacherConfig { model: "m".into(), ..TeacherConfig::default() }; teachers];
            config.adapt.num_train_epochs = epochs;
            config.validate().err().map(|error| error.to_string()).unwrap_or_default()
        };
        let (teachers, adapt) = ("--set teachers=[]", "--set adapt.num_train_epochs=0");
        let (same, balanced) = (ClassWeights::default(), ClassWeights::Named(ClassWeightsName::Balanced));
        for (teacher_count, epochs, weights, typed) in [
            (1, 0, &same, teachers.to_string()),
            (0, 3, &same, adapt.to_string()),
            (2, 3, &same, format!("{teachers} {adapt}")),
            (0, 0, &balanced, "--set train.class_weights=none".to_string()),
        ] {
            let said = refused(teacher_count, epochs, weights.clone());
            assert!(said.contains(&format!("(on the command line: {typed})")), "{said}");
        }
        assert_eq!(refused(0, 0, same), "");
    }

    #[test]
    fn parts_of_files_of_their_own_do_not_hang_on_a_seed() {
        let given = DataConfig { test: vec!["t".into()], validation: vec!["v".into()], ..DataConfig::default() };
        assert!(given.has_validation_notes() && !given.is_dealt_by_seed());
        let none = SplitConfig { validation_fraction: 0.0, ..SplitConfig::default() };
        let tested = DataConfig { test: vec!["t".into()], split: none.clone(), ..DataConfig::default() };
        assert!(!tested.has_validation_notes() && !tested.is_dealt_by_seed());
        let few = SplitConfig { label_budget: 50, ..none.clone() };
        assert!(DataConfig { split: few, ..tested.clone() }.is_dealt_by_seed());
        let watched = DataConfig { split: SplitConfig::default(), ..tested };
        assert!(watched.has_validation_notes() && watched.is_dealt_by_seed());
        assert!(DataConfig { split: none, ..DataConfig::default() }.is_dealt_by_seed());
    }
}
