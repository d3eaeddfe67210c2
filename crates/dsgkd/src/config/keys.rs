//! What is written about each key for people: its kind (for type errors) and its meaning (for the
//! commented file). Which keys exist is asked of the schema itself; tests hold the two together.

use super::known::keys_of;
use super::schema::{Config, TeacherConfig};
use toml::Value;

/// One key of the experiment file.
pub(super) struct Key {
    /// Dotted path; array positions are left out (`teachers.model`).
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) meaning: &'static str,
    /// What to show for a key that has no default.
    pub(super) example: &'static str,
}

/// What may stand behind a key.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Path,
    /// A model's folder, or its id on a hub.
    Model,
    Flag,
    Whole,
    Number,
    Choice(&'static [&'static str]),
    Choices(&'static [&'static str]),
    Texts,
    Paths,
    TextMap,
    TextMapMap,
    /// One of the names, or a list of `[teacher, student]` pairs.
    Pairs(&'static [&'static str]),
    /// One of the names, or a list of numbers.
    Numbers(&'static [&'static str]),
}

impl Kind {
    /// The expected type in words.
    pub(super) fn expected(self) -> String {
        let names = |names: &[&str]| names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
        match self {
            Kind::Text => "text in quotes".into(),
            Kind::Path => "a path in quotes".into(),
            Kind::Model => "a model folder in quotes, or an id like \"klue/bert-base\"".into(),
            Kind::Flag => "true or false".into(),
            Kind::Whole => "a whole number, 0 or more".into(),
            Kind::Number => "a number".into(),
            Kind::Choice(choices) => format!("one of {}", names(choices)),
            Kind::Choices(choices) => format!("a list of {}", names(choices)),
            Kind::Texts => "a list of texts, like [\"a\", \"b\"]".into(),
            Kind::Paths => "a list of paths, like [\"notes.csv\"]".into(),
            Kind::TextMap => "a table of texts, like { \"1\" = \"yes\" }".into(),
            Kind::TextMapMap => "a table of tables of texts, like { Sex = { M = \"male\" } }".into(),
            Kind::Pairs(choices) => {
                format!("{}, or a list of [teacher, student] pairs, like [[0, 0], [6, 12]]", names(choices))
            }
            Kind::Numbers(choices) => {
                format!("{}, or a list of numbers, like [1.0, 4.0]", names(choices))
            }
        }
    }

    /// Whether the value is of this kind.
    pub(super) fn accepts(self, value: &Value) -> bool {
        let is_name = |choices: &[&str], value: &Value| value.as_str().is_some_and(|text| choices.contains(&text));
        let all = |value: &Value, accepts: &dyn Fn(&Value) -> bool| {
            value.as_array().is_some_and(|items| items.iter().all(accepts))
        };
        let map = |value: &Value, accepts: &dyn Fn(&Value) -> bool| {
            value.as_table().is_some_and(|table| table.iter().all(|(_, value)| accepts(value)))
        };
        let whole = |value: &Value| value.as_integer().is_some_and(|number| number >= 0);
        let pair = |value: &Value| all(value, &whole) && value.as_array().is_some_and(|items| items.len() == 2);
        let number = |value: &Value| value.is_integer() || value.is_float();
        match self {
            Kind::Text | Kind::Path | Kind::Model => value.is_str(),
            Kind::Flag => value.is_bool(),
            Kind::Whole => whole(value),
            Kind::Number => number(value),
            Kind::Choice(choices) => is_name(choices, value),
            Kind::Choices(choices) => all(value, &|value| is_name(choices, value)),
            Kind::Texts | Kind::Paths => all(value, &Value::is_str),
            Kind::TextMap => map(value, &Value::is_str),
            Kind::TextMapMap => map(value, &|value| map(value, &Value::is_str)),
            Kind::Pairs(choices) => is_name(choices, value) || all(value, &pair),
            Kind::Numbers(choices) => is_name(choices, value) || all(value, &number),
        }
    }

    /// Whether an override's bare word is meant as text, even where it reads as a number or a date.
    pub(super) fn is_textual(self) -> bool {
        matches!(self, Kind::Text | Kind::Path | Kind::Model | Kind::Choice(_))
    }

    /// Whether the key holds a list or table whose items are all text.
    pub(super) fn holds_text(self) -> bool {
        matches!(self, Kind::Texts | Kind::Paths | Kind::Choices(_) | Kind::TextMap)
    }

    /// Whether the key holds a list, for overrides that count into it.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Kind::Texts | Kind::Paths | Kind::Choices(_) | Kind::Pairs(_) | Kind::Numbers(_))
    }
}

/// Other spellings that the schema takes, and the key each stands for.
pub(super) const ALIASES: [(&str, &str); 1] = [("train.per_device_train_batch_size", "train.batch_size")];

/// Keys that a training cannot do without; the commented file shows them ready to be filled in.
pub(super) const REQUIRED: [&str; 5] = ["output_dir", "data.train", "data.text", "data.label", "student.model"];

/// What each section is about, for the commented file.
pub(super) const SECTIONS: [(&str, &str); 9] = [
    ("data", "Files, columns, the note's template."),
    ("data.split", "How validation and test notes are split off."),
    ("text", "Tokens and terms."),
    ("student", "The model that is trained."),
    ("adapt", "Masked-language-model training of the student on the training notes, before it sees their labels."),
    ("teachers", "The frozen domain models, one [[teachers]] block each; none means plain fine-tuning."),
    ("distill", "The distillation losses."),
    ("train", "The training itself."),
    ("evaluation", "What is measured after training."),
];

const MONITORS: &[&str] = &["f1", "brier", "loss", "auroc"];

const fn key(path: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { path, kind, meaning, example: "" }
}

const fn absent(path: &'static str, kind: Kind, example: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, meaning, example }
}

/// Every key, in the order of the schema; one a line, as a table is read.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("preset", Kind::Choice(&["default", "reference"]), "\"reference\" computes what the published code does; any key written here wins over it."),
    key("output_dir", Kind::Path, "The run folder."),
    key("threads", Kind::Whole, "Threads to compute with; 0: all cores."),
    key("seed", Kind::Whole, "Seed of splits, initial heads, order of notes and dropout."),
    key("cache_dir", Kind::Path, "Folder where students that were adapted or taught before the labels stay for other runs of the same student, notes and settings; empty: none stays."),
    key("baseline", Kind::Choice(&["none", "tf-idf"]), "\"tf-idf\": TF-IDF and logistic regression instead of an encoder, the floor that one must beat."),
    key("data.train", Kind::Paths, "Training files: CSV, TSV, JSONL, JSON (each also .gz), Parquet or XLSX; relative to this file."),
    key("data.validation", Kind::Paths, "Validation files; empty: split off the training notes."),
    key("data.test", Kind::Paths, "Test files; empty: split off the training notes."),
    key("data.unlabeled", Kind::Paths, "Notes without labels that only distil; the columns of `train` without the label."),
    key("data.format", Kind::Text, "csv, tsv, jsonl, json, parquet or xlsx; empty: by the file's extension."),
    key("data.encoding", Kind::Text, "A name of the WHATWG standard, like euc-kr (also for CP949); empty: UTF-8, or what the byte-order mark says. JSONL and JSON are UTF-8 whatever stands here."),
    key("data.separator", Kind::Text, "One character; empty: by the extension."),
    key("data.sheet", Kind::Text, "Sheet of an XLSX file; empty: the first."),
    key("data.text", Kind::Text, "Column with the note's text; give this or `template`."),
    key("data.template", Kind::Text, "A note made of columns: \"{Age}세 {Sex} 환자[ BT {BT}]\"; a part in [ ] is left out where its column is missing."),
    key("data.label", Kind::Text, "Column with the label."),
    key("data.labels", Kind::Texts, "Class names in order; of two the second is the positive class. Empty: the sorted values found."),
    key("data.label_map", Kind::TextMap, "Cell value = class name, for labels to merge or rename: { \"1\" = \"admitted\" }."),
    key("data.group", Kind::Text, "Column whose equal values stay on one side of a split (patient id)."),
    key("data.id", Kind::Text, "Column that names a note in outputs and errors; empty: the row number."),
    key("data.missing", Kind::Texts, "Cell values that mean \"missing\", beside the empty cell."),
    key("data.values", Kind::TextMapMap, "Words for cell values in the template: { Sex = { M = \"male\", F = \"female\" } }."),
    key("data.normalization", Kind::Choice(&["nfc", "nfkc"]), "Unicode form of the notes: \"nfkc\" also makes plain letters of full-width ones (ＣＴ: CT), which Japanese notes are full of and few encoders know."),
    key("data.skip_bad_rows", Kind::Flag, "Count bad rows and go on, instead of stopping at the first."),
    key("data.duplicates", Kind::Choice(&["error", "same-side", "allow"]), "Equal notes on both sides of a split: \"error\", \"same-side\" (kept together) or \"allow\"."),
    key("data.split.stratified", Kind::Flag, "Keep each class's share in every part."),
    key("data.split.test_fraction", Kind::Number, "Share of notes held out for the test; not used with `folds`."),
    key("data.split.validation_fraction", Kind::Number, "Share of the remaining notes held out for validation."),
    key("data.split.folds", Kind::Whole, "Number of cross-validation folds; 0: no cross-validation."),
    key("data.split.fold", Kind::Whole, "Which fold is the test part, from 0."),
    key("data.split.label_budget", Kind::Whole, "Labels of the training part that are used, each class with its share; 0: all. To see what fewer labels would give."),
    key("data.split.rest_unlabeled", Kind::Flag, "Keep the training notes beyond the budget, without their labels, to distil alone."),
    absent("data.split.seed", Kind::Whole, "0", "Seed of the split alone. Absent: the experiment's `seed`."),
    key("text.max_length", Kind::Whole, "Tokens per note, special tokens included, in every model."),
    key("text.truncation", Kind::Choice(&["head", "tail", "both"]), "Which end of a long note is kept: \"head\", \"tail\", or \"both\" (half of each)."),
    key("text.terms", Kind::Choice(&["script", "reference", "dictionary", "regex"]), "Rule that finds the terms: \"script\", \"reference\" (words of ASCII letters only), \"dictionary\" or \"regex\"."),
    key("text.max_terms", Kind::Whole, "Terms per note at most, in order."),
    absent("text.min_student_tokens", Kind::Whole, "2", "Terms that the student has in fewer tokens are not distilled: what it has as one token, it knows already. 1: all. Absent: 2, with `terms = \"reference\"` 1."),
    key("text.term_scripts", Kind::Texts, "`script`: Unicode script names whose runs are terms."),
    key("text.min_term_length", Kind::Whole, "`script`: shortest term, in characters."),
    key("text.dictionary", Kind::Path, "`dictionary`: a file with one term a line, matched without case and in the form of `data.normalization`."),
    key("text.pattern", Kind::Text, "`regex`: every match (or its first group) is a term."),
    key("student.model", Kind::Model, "A Hugging Face model folder; with a build of `--features hub` also a model's id, like \"klue/bert-base\"."),
    absent("student.head", Kind::Choice(&["family", "reference", "mean"]), "\"mean\"", "Classification head: \"family\", \"reference\" (the published one) or \"mean\" (linear, on the mean of a note's hidden states). Absent: \"mean\" after teachers that are heard before the labels, else \"family\", or by preset."),
    absent("student.linear_probing", Kind::Flag, "true", "Begin the head \"mean\" as the logistic regression of the labels on the encoder's states (all notes weigh alike), instead of at random. Absent: after teachers that are heard before the labels."),
    absent("student.hidden_dropout_prob", Kind::Number, "0.1", "Dropout of hidden states. Absent: the model's own."),
    absent("student.attention_probs_dropout_prob", Kind::Number, "0.1", "Dropout of attention probabilities. Absent: the model's own."),
    absent("student.classifier_dropout", Kind::Number, "0.1", "Dropout before the classifier. Absent: the model's own."),
    key("adapt.num_train_epochs", Kind::Whole, "Passes over the training notes and those without labels; 0: none of this."),
    key("adapt.learning_rate", Kind::Number, "Peak learning rate."),
    key("adapt.batch_tokens", Kind::Whole, "Tokens of a batch at most."),
    key("adapt.whole_word_masking", Kind::Flag, "Hide all tokens of a word together."),
    key("teachers.model", Kind::Model, "A Hugging Face model folder; with a build of `--features hub` also a model's id, like \"klue/bert-base\"."),
    key("teachers.weight", Kind::Number, "Weight of this teacher in the mean of the teachers' losses."),
    key("teachers.layer_map", Kind::Pairs(&["uniform", "last-k"]), "\"uniform\", \"last-k\", or [teacher, student] pairs of layers; 0 is the embedding output."),
    absent("teachers.head_map", Kind::Pairs(&["same", "mean"]), "\"same\"", "\"same\", \"mean\", or [teacher, student] pairs of heads, from 0. Absent: \"same\" where the numbers of heads agree, else \"mean\"."),
    key("distill.when", Kind::Choice(&["before-labels", "with-labels"]), "Hear the teachers first, on all notes, and then learn the labels alone (\"before-labels\"), or while the labels are learned, as published (\"with-labels\")."),
    key("distill.num_train_epochs", Kind::Whole, "Of \"before-labels\": passes over the training notes and those without labels in which the teachers are heard."),
    absent("distill.learning_rate", Kind::Number, "3e-4", "Of \"before-labels\": peak learning rate while the teachers are heard. Absent: train.learning_rate."),
    key("distill.alpha", Kind::Number, "Weight of the hidden-state loss."),
    key("distill.beta", Kind::Number, "Weight of the attention loss."),
    key("distill.attention", Kind::Choice(&["aligned", "positional"]), "Compare attention rows over aligned words (\"aligned\"), or column by column as published (\"positional\")."),
    key("distill.attention_after_dropout", Kind::Flag, "Take the student's rows after attention dropout, as published."),
    key("distill.projection", Kind::Choice(&["always", "where-widths-differ"]), "Compare the student's hidden states with the teacher's through a learned linear map: \"always\", or \"where-widths-differ\" (else number by number, as published)."),
    key("distill.shuffle_terms", Kind::Flag, "A control: each term meets what the teacher said of another word of its note."),
    key("distill.whole_notes", Kind::Flag, "A control: each note is one term, and no word is aligned; with beta = 0."),
    key("distill.teacher_cache", Kind::Choice(&["none", "memory", "file"]), "Where to keep what the frozen teacher says of a note: \"none\" (it runs again every epoch), \"memory\", or \"file\" (in the run folder, until the run is done)."),
    key("distill.teacher_cache_dtype", Kind::Choice(&["float32", "float16"]), "How to keep it: \"float16\" takes half the room and rounds."),
    key("distill.teacher_cache_mib", Kind::Whole, "MiB that the caches of all teachers may take; notes beyond it are run again."),
    key("train.device", Kind::Choice(&["cpu", "cuda", "vulkan"]), "Where the student is trained: \"cuda\" and \"vulkan\" need a build with the feature of that name, and round differently. Teachers and scoring stay on the CPU."),
    key("train.dtype", Kind::Choice(&["float32", "bfloat16"]), "What the student's products are computed in; \"bfloat16\" where the processor is faster in it (AMD's AVX-512 with BF16, Intel's AMX), else float32. Weights and sums stay float32."),
    key("train.num_train_epochs", Kind::Whole, "Passes over the training notes."),
    key("train.batch_size", Kind::Whole, "Notes per batch (`per_device_train_batch_size` is taken too)."),
    absent("train.unlabeled_batch_size", Kind::Whole, "16", "Of \"with-labels\": notes without labels beside them in each batch, to distil alone. Absent: as many as `batch_size`."),
    key("train.max_tokens_per_batch", Kind::Whole, "Tokens per batch at most, beside `batch_size`: long notes then come in smaller batches; 0: any number."),
    key("train.gradient_checkpointing", Kind::Flag, "Keep only each layer's input for the backward pass and compute the rest again: less memory, more time, the same numbers."),
    key("train.gradient_accumulation_steps", Kind::Whole, "Batches per optimiser step."),
    absent("train.learning_rate", Kind::Number, "1e-4", "Peak learning rate of the encoder. Absent: 1e-4 with a teacher, 1e-5 without."),
    key("train.classifier_learning_rate", Kind::Number, "Peak learning rate of the classifier and the projections."),
    key("train.weight_decay", Kind::Number, "AdamW's decoupled weight decay, on every parameter."),
    key("train.adam_beta1", Kind::Number, "AdamW's first decay."),
    key("train.adam_beta2", Kind::Number, "AdamW's second decay."),
    key("train.adam_epsilon", Kind::Number, "AdamW's epsilon."),
    absent("train.warmup_ratio", Kind::Number, "0.25", "Share of all steps in which the learning rate rises. Absent: 0.25 with a teacher, 0.15 without."),
    key("train.max_grad_norm", Kind::Number, "The gradient's norm is cut to this; 0: never."),
    key("train.shuffle", Kind::Flag, "Take the notes in a new order each epoch."),
    key("train.class_weights", Kind::Numbers(&["none", "balanced"]), "\"none\", \"balanced\", or one weight a class in the order of the labels."),
    key("train.early_stopping", Kind::Choices(MONITORS), "Measures that early stopping watches on the validation notes: f1, brier, loss, auroc; each keeps its own best checkpoint."),
    key("train.early_stopping_patience", Kind::Whole, "Evaluations without a better value before a measure gives up; training stops when all have. 0: never."),
    key("train.metric_for_best_model", Kind::Choice(MONITORS), "The measure whose best checkpoint becomes the run's model."),
    key("train.save_steps", Kind::Whole, "Steps between checkpoints, beside those at an epoch's end, once the last is a minute old; 0: only those."),
    key("evaluation.bootstrap_samples", Kind::Whole, "Bootstrap samples of the 95 % intervals and paired tests."),
    key("evaluation.reference_subsamples", Kind::Flag, "Also report the reference's ten subsamples of 75 % as mean ± sd."),
];

/// What is written about a key; `path` has no array positions.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The dotted paths of every key of the schema, in its order.
pub(super) fn schema_keys() -> Vec<String> {
    // JSON, unlike TOML, keeps absent options as null: their names count too.
    let mut sample = serde_json::to_value(Config::default()).unwrap_or_default();
    sample["teachers"] = serde_json::to_value(TeacherConfig::default()).unwrap_or_default();
    keys_of(&sample).into_iter().map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_schema_key_is_described_and_no_other() {
        let described: Vec<_> = KEYS.iter().map(|key| key.path.to_string()).collect();
        assert_eq!(schema_keys(), described);
    }

    #[test]
    fn the_schema_finds_its_own_defaults_of_the_described_kind() {
        let table = toml::Table::try_from(Config::default()).unwrap();
        for key in KEYS.iter().filter(|key| key.example.is_empty() && !key.path.starts_with("teachers")) {
            let value = key.path.split('.').fold(Value::Table(table.clone()), |value, name| value[name].clone());
            assert!(key.kind.accepts(&value), "{} = {value}", key.path);
        }
    }

    /// serde's own message lists the names it takes: they must be the ones that are described.
    #[test]
    fn described_choices_are_the_schema_s() {
        for key in KEYS {
            let (text, choices) = match key.kind {
                Kind::Choice(choices) => ("\"zz\"", choices),
                Kind::Choices(choices) => ("[\"zz\"]", choices),
                _ => continue,
            };
            let (section, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
            let header = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
            let error = toml::from_str::<Config>(&format!("{header}{name} = {text}")).unwrap_err();
            let mut listed: Vec<_> =
                error.message().split('`').skip(1).step_by(2).filter(|name| *name != "zz").collect();
            let mut choices = choices.to_vec();
            listed.sort_unstable();
            choices.sort_unstable();
            assert_eq!(listed, choices, "{}: {}", key.path, error.message());
        }
    }

    #[test]
    fn described_names_beside_lists_are_the_schema_s() {
        for key in KEYS {
            let (Kind::Pairs(choices) | Kind::Numbers(choices)) = key.kind else {
                continue;
            };
            for choice in choices.iter().chain(&["zz"]) {
                let (section, name) = key.path.rsplit_once('.').unwrap();
                let header = if section == "teachers" { "[[teachers]]".into() } else { format!("[{section}]") };
                let parsed = toml::from_str::<Config>(&format!("{header}\n{name} = \"{choice}\""));
                assert_eq!(parsed.is_ok(), *choice != "zz", "{} = {choice}", key.path);
            }
        }
    }

    #[test]
    fn aliases_and_required_keys_exist() {
        for (alias, path) in ALIASES {
            let (section, name) = alias.rsplit_once('.').unwrap();
            assert!(toml::from_str::<Config>(&format!("[{section}]\n{name} = 1")).is_ok(), "{alias}");
            assert!(find(path).is_some(), "{path}");
        }
        assert!(REQUIRED.iter().all(|path| find(path).is_some()));
    }
}
