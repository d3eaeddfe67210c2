//! `[data]`, `[data.split]` and `[text]`: what the notes are and how they are read.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[data]`: files, columns, the note's template, splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Training files (CSV, TSV, JSONL, JSON, Parquet or XLSX; `.gz` of the text formats too).
    pub train: Vec<PathBuf>,
    /// Validation files; empty: split off the training notes by `[data.split]`.
    pub validation: Vec<PathBuf>,
    /// Test files; empty: split off the training notes by `[data.split]`.
    pub test: Vec<PathBuf>,
    /// Notes without labels that only distil; the same columns as `train`, without the label.
    pub unlabeled: Vec<PathBuf>,
    /// `csv`, `tsv`, `jsonl`, `json`, `parquet` or `xlsx`; empty: by the file's extension.
    pub format: String,
    /// Any name that the WHATWG encoding standard knows (`utf-8`, `euc-kr`, `latin1`, `utf-16le`); CP949 is `euc-kr` there.
    /// Empty: UTF-8, or what the byte-order mark says.
    pub encoding: String,
    /// One character; empty: by extension (`,` for csv, tab for tsv).
    pub separator: String,
    /// Sheet of an XLSX file; empty: the first.
    pub sheet: String,
    /// Column with the note's text. Exactly one of `text` and `template` is given.
    pub text: String,
    /// A note made of columns: `{Age}세 {Sex} 환자[ BT {BT}]`; the part in `[ ]` is left out when a column in it is missing.
    /// `\{`, `\}`, `\[`, `\]` and `\\` stand for themselves.
    pub template: String,
    /// Column with the label.
    pub label: String,
    /// Class names in order; the second of two is the positive class. Empty: the sorted values found in the training file.
    pub labels: Vec<String>,
    /// Cell value -> class name, for labels that must be merged or renamed.
    pub label_map: BTreeMap<String, String>,
    /// Column whose equal values must stay on one side of a split (patient id).
    pub group: String,
    /// Column that names a note in outputs and errors; empty: the row number.
    pub id: String,
    /// Cell values that mean "missing", beside the empty cell.
    pub missing: Vec<String>,
    /// Column -> (cell value -> words) used by the template.
    pub values: BTreeMap<String, BTreeMap<String, String>>,
    /// The Unicode form that notes are brought to before anything is looked for in them.
    pub normalization: Normalization,
    /// Go on past bad rows and count them, instead of stopping at the first.
    pub skip_bad_rows: bool,
    /// What to do with equal notes on both sides of a split: `error` (the default), `same-side` (equal notes are kept
    /// together, as a group is), or `allow`.
    pub duplicates: DuplicatePolicy,
    /// How validation and test notes are split off.
    pub split: SplitConfig,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig {
            train: vec![],
            validation: vec![],
            test: vec![],
            unlabeled: vec![],
            format: String::new(),
            encoding: String::new(),
            separator: String::new(),
            sheet: String::new(),
            text: String::new(),
            template: String::new(),
            label: String::new(),
            labels: vec![],
            label_map: BTreeMap::new(),
            group: String::new(),
            id: String::new(),
            missing: vec![],
            values: BTreeMap::new(),
            normalization: Normalization::Nfc,
            skip_bad_rows: false,
            duplicates: DuplicatePolicy::Error,
            split: SplitConfig::default(),
        }
    }
}

/// Unicode normal forms of notes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// Characters composed; nothing else changes.
    #[default]
    Nfc,
    /// Also full-width letters and digits, half-width kana and compound signs in their plain form: `ＣＴ` is `CT`, `㎎` is `mg`.
    Nfkc,
}

/// What equal notes on both sides of a split mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicatePolicy {
    /// Stop, and count them.
    #[default]
    Error,
    /// Keep equal notes on one side when splitting here.
    SameSide,
    /// Take them as they are; they are counted all the same.
    Allow,
}

/// `[data.split]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// Keep each class's share in every part.
    pub stratified: bool,
    /// Share of notes held out for the test, 0..1; ignored with `folds`.
    pub test_fraction: f64,
    /// Share of the remaining notes held out for validation, 0..1.
    pub validation_fraction: f64,
    /// Number of cross-validation folds; 0: no cross-validation.
    pub folds: usize,
    /// Which fold is the test part, from 0.
    pub fold: usize,
    /// Train on the labels of so many of the training notes, each class with its share; 0: of all. A larger budget holds the notes of a
    /// smaller one.
    pub label_budget: usize,
    /// Keep the training notes beyond the budget, without their labels, to distil alone.
    pub rest_unlabeled: bool,
    /// Seed of the split alone; absent: the experiment's `seed`. Keep it fixed to compare seeds on the same folds.
    pub seed: Option<u64>,
}

impl Default for SplitConfig {
    fn default() -> Self {
        SplitConfig {
            stratified: true,
            test_fraction: 0.2,
            validation_fraction: 0.1,
            folds: 0,
            fold: 0,
            label_budget: 0,
            rest_unlabeled: false,
            seed: None,
        }
    }
}

/// `[text]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Tokens per note, special tokens included, in every model; also the width of positional attention rows.
    pub max_length: usize,
    /// Which end of a long note is kept.
    pub truncation: Truncation,
    /// Rule that finds the terms.
    pub terms: TermRule,
    /// Terms per note at most, in order.
    pub max_terms: usize,
    /// Terms that the student has in fewer tokens are not distilled: what it has as one token, it knows already; absent:
    /// [`TermRule::min_student_tokens`].
    pub min_student_tokens: Option<usize>,
    /// `script` rule: Unicode script names whose runs are terms.
    pub term_scripts: Vec<String>,
    /// `script` rule: shortest term, in characters.
    pub min_term_length: usize,
    /// `dictionary` rule: a file with one term a line, matched without case.
    pub dictionary: PathBuf,
    /// `regex` rule: every match (or its first group) is a term.
    pub pattern: String,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            max_length: 128,
            truncation: Truncation::Head,
            terms: TermRule::Script,
            max_terms: 32,
            min_student_tokens: None,
            term_scripts: vec!["Latin".into()],
            min_term_length: 2,
            dictionary: PathBuf::new(),
            pattern: String::new(),
        }
    }
}

/// Which end of a long note is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Truncation {
    /// The beginning.
    #[default]
    Head,
    /// The end.
    Tail,
    /// Half of each.
    Both,
}

/// Rule that finds the terms of a note.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TermRule {
    /// Runs of letters of `term_scripts`, wherever they stand (`fever가`, `BT38.5C`, `N/V/D`).
    #[default]
    Script,
    /// DSG-KD's own: words between spaces made of ASCII letters only.
    Reference,
    /// Words and phrases of a user's file.
    Dictionary,
    /// Matches of a user's pattern.
    Regex,
}

impl TermRule {
    /// The default of `text.min_student_tokens`.
    ///
    /// Differs from the paper: published is to teach every term, as the reference rule does; being taught words that it has whole costs a student that
    /// knows them (docs/results.md).
    pub fn min_student_tokens(self) -> usize {
        match self {
            TermRule::Reference => 1,
            TermRule::Script | TermRule::Dictionary | TermRule::Regex => 2,
        }
    }
}
