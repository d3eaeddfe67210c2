//! One record to one note: columns looked up once per file, every record mapped on its own.

use super::bad_row::{BadRow, Reason};
use super::columns::{find_column, nearest, short};
use super::notes::Note;
use super::reader::Record;
use super::template::{BoundTemplate, Template};
use crate::config::{DataConfig, Normalization};
use crate::error::{Error, Result};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;

/// Bytes of a note's text, beyond which its row is bad: tokens take many times the memory of their text, and are made of all of it
/// before truncation. Short clinical notes have a few hundred.
const MAX_NOTE_BYTES: usize = 1 << 20;

const NO_LABEL: &str =
    "has no label; move the row to a file of data.unlabeled, or set data.skip_bad_rows (or --skip-bad-rows)";

/// Makes notes of the records of one file, as `[data]` says.
#[derive(Debug, Clone)]
pub struct NoteMapper {
    file: Arc<Path>,
    file_index: usize,
    id_prefix: String,
    columns: Vec<String>,
    text: TextRule,
    label: Option<usize>,
    label_map: BTreeMap<String, String>,
    labels: Vec<String>,
    group: Option<usize>,
    group_needed: bool,
    id: Option<usize>,
    missing: HashSet<String>,
    normalization: Normalization,
}

#[derive(Debug, Clone)]
enum TextRule {
    Column(usize),
    Template(BoundTemplate),
}

impl NoteMapper {
    /// A mapper for the records of `file`, whose columns are `columns`.
    ///
    /// With `need_label` the label, group and id columns must be there and `data.labels` must hold the class names; without it (new
    /// notes, which need not have the training's columns) the label is not looked at, and group and id only where their columns are there.
    ///
    /// Errors when a column is not there (naming the nearest), when not exactly one of `text` and `template` is given, when the
    /// template does not parse, or when the label names contradict each other.
    pub fn new(config: &DataConfig, file: &Path, columns: &[String], need_label: bool) -> Result<NoteMapper> {
        if need_label && config.labels.is_empty() {
            return Err(Error::Config("data.labels: give the class names, in order".to_string()));
        }
        NoteMapper::build(config, file, columns, need_label, need_label)
    }

    /// As [`NoteMapper::new`], but the class names may still be unknown. `of_experiment`, labelled or not: columns of ids and groups that are named must be
    /// there, and a row without a group is bad, for nobody could tell whether it is of a patient who is tested on.
    pub(super) fn build(
        config: &DataConfig,
        file: &Path,
        columns: &[String],
        need_label: bool,
        of_experiment: bool,
    ) -> Result<NoteMapper> {
        let text = match (config.text.trim(), config.template.as_str()) {
            ("", "") => {
                return Err(Error::Config("data: give text (a column) or template (of columns)".to_string()));
            }
            (text, "") => TextRule::Column(find_column(file, columns, text, "data.text")?),
            ("", template) => TextRule::Template(Template::parse(template)?.bind(file, columns, &config.values)?),
            _ => {
                return Err(Error::Config("data: give either text or template, not both".to_string()));
            }
        };
        check_labels(config)?;
        let label = match config.label.trim() {
            _ if !need_label => None,
            "" => {
                return Err(Error::Config("data.label: name the column with the label".to_string()));
            }
            name => Some(find_column(file, columns, name, "data.label")?),
        };
        let optional = |name: &str, key: &str, is_needed: bool| match name.trim() {
            "" => Ok(None),
            name if is_needed => find_column(file, columns, name, key).map(Some),
            name => Ok(columns.iter().position(|column| column == name)),
        };
        let group = optional(&config.group, "data.group", of_experiment)?;
        let id = optional(&config.id, "data.id", of_experiment)?;
        Ok(NoteMapper {
            file: file.into(),
            file_index: 0,
            id_prefix: String::new(),
            columns: columns.to_vec(),
            text,
            label,
            label_map: config.label_map.iter().map(|(cell, name)| (cell.trim().into(), name.trim().into())).collect(),
            labels: config.labels.iter().map(|label| label.trim().to_string()).collect(),
            group,
            group_needed: of_experiment,
            id,
            missing: config.missing.iter().map(|value| value.trim().to_string()).collect(),
            normalization: config.normalization,
        })
    }

    /// Sets what notes say of their file: its index, and what stands before a row number used as an id.
    pub(super) fn with_file_index(mut self, file_index: usize, id_prefix: String) -> NoteMapper {
        self.file_index = file_index;
        self.id_prefix = id_prefix;
        self
    }

    /// The note of a record, or why there is none.
    pub fn map(&self, record: &Record) -> Result<Note, BadRow> {
        self.map_label(record, &mut |name| self.labels.iter().position(|label| label == name))
    }

    /// As [`NoteMapper::map`], with the class found by `class_of`, which may learn new names.
    pub(super) fn map_label(
        &self,
        record: &Record,
        class_of: &mut dyn FnMut(&str) -> Option<usize>,
    ) -> Result<Note, BadRow> {
        let cell = |column: usize| record.fields.get(column).and_then(Option::as_deref);
        let text = match &self.text {
            TextRule::Column(column) => match cell(*column) {
                Some(_) if record.holds_list(*column) => {
                    let message = "holds a list or an object, and a note is text; put one text in it, or set data.skip_bad_rows (or --skip-bad-rows)";
                    return Err(self.bad(record, Some(*column), Reason::MissingText, message));
                }
                Some(text) if !self.is_missing(Some(text)) => text.to_string(),
                _ => {
                    let message = "has no text; remove the row or set data.skip_bad_rows (or --skip-bad-rows)";
                    return Err(self.bad(record, Some(*column), Reason::MissingText, message));
                }
            },
            TextRule::Template(template) => {
                template.render(&record.fields, &|cell| self.is_missing(cell)).map_err(|column| {
                    let message =
                        "is missing and the template needs it; put it in [ ] there, or set data.skip_bad_rows (or --skip-bad-rows)";
                    self.bad(record, Some(column), Reason::MissingValue, message)
                })?
            }
        };
        let too_long = || {
            let column = match self.text {
                TextRule::Column(column) => Some(column),
                TextRule::Template(_) => None,
            };
            let message = "the note is longer than 1 MiB; is the column the right one? If so, shorten the note or set \
                           data.skip_bad_rows (or --skip-bad-rows)";
            self.bad(record, column, Reason::TooLong, message)
        };
        if text.len() > MAX_NOTE_BYTES {
            return Err(too_long());
        }
        let text = normalise(&text, self.normalization);
        // Once more: what is put in place of a compatibility character can be ten times as long.
        if text.len() > MAX_NOTE_BYTES {
            return Err(too_long());
        }
        if text.trim().is_empty() {
            return Err(self.bad(record, None, Reason::MissingText, "the template makes an empty note of it"));
        }

        let label = match self.label {
            None => None,
            Some(column) => Some(self.class(record, column, cell(column), class_of)?),
        };
        let group = self.group.and_then(cell).filter(|group| !self.is_missing(Some(group)));
        if let (Some(column), None, true) = (self.group, group, self.group_needed) {
            let message = "has no group, so it could stand on both sides of a split; fill it in or set data.skip_bad_rows (or --skip-bad-rows)";
            return Err(self.bad(record, Some(column), Reason::MissingGroup, message));
        }
        let id = match self.id.and_then(cell).map(str::trim).filter(|id| !self.is_missing(Some(id))) {
            Some(id) => id.to_string(),
            // Among ids, which may be numbers too, a bare one could be another note's.
            None if self.id.is_some() => format!("{}{NO_ID}{})", self.id_prefix, record.line),
            None => format!("{}{}", self.id_prefix, record.line),
        };
        Ok(Note {
            row: record.line,
            file: self.file_index,
            id,
            text,
            label,
            group: group.map(|group| group.trim().to_string()),
        })
    }

    fn class(
        &self,
        record: &Record,
        column: usize,
        cell: Option<&str>,
        class_of: &mut dyn FnMut(&str) -> Option<usize>,
    ) -> Result<usize, BadRow> {
        let value = cell.unwrap_or_default().trim();
        // A label that is mapped is one, even where its value means "missing" elsewhere.
        let mapped = self.label_map.get(value).map(String::as_str);
        if mapped.is_none() && self.is_missing(cell) {
            return Err(self.bad(record, Some(column), Reason::MissingLabel, NO_LABEL));
        }
        let is_list = mapped.is_none() && record.holds_list(column);
        // Annotation programs write the one answer to a question as a list, too.
        let alone = if is_list { the_one_of(value) } else { None };
        let value = match &alone {
            Some(name) if self.is_missing(Some(name)) && !self.label_map.contains_key(name.trim()) => {
                return Err(self.bad(record, Some(column), Reason::MissingLabel, NO_LABEL));
            }
            Some(name) => self.label_map.get(name.trim()).map_or(name.trim(), String::as_str),
            None if is_list => {
                let message = "has several labels or none in a list, or an object; a note is of one class: name another column in data.label, map \
                               the cell in data.label_map, or set data.skip_bad_rows (or --skip-bad-rows)";
                return Err(self.bad(record, Some(column), Reason::UnknownLabel, message));
            }
            None => mapped.unwrap_or(value),
        };
        class_of(value).ok_or_else(|| {
            let known: Vec<String> = self.labels.iter().take(10).map(|label| format!("\"{}\"", short(label))).collect();
            let message = format!(
                "has a label that is none of {}{}; map it in data.label_map, or set data.skip_bad_rows (or --skip-bad-rows)",
                known.join(", "),
                if self.labels.len() > 10 { ", ..." } else { "" }
            );
            self.bad(record, Some(column), Reason::UnknownLabel, &message)
        })
    }

    fn is_missing(&self, cell: Option<&str>) -> bool {
        let value = cell.unwrap_or_default().trim();
        value.is_empty() || self.missing.contains(value)
    }

    fn bad(&self, record: &Record, column: Option<usize>, reason: Reason, message: &str) -> BadRow {
        BadRow {
            file: self.file.clone(),
            line: record.line,
            column: column.and_then(|column| self.columns.get(column)).cloned(),
            reason,
            message: message.to_string(),
        }
    }
}

/// The text or number of a list that holds one.
fn the_one_of(list: &str) -> Option<String> {
    match serde_json::from_str::<[Value; 1]>(list).ok()? {
        [Value::String(text)] => Some(text),
        [value @ (Value::Number(_) | Value::Bool(_))] => Some(value.to_string()),
        _ => None,
    }
}

/// What a note without an id is called where others have one, before its row's number and `)`; no id looks so.
const NO_ID: &str = "no id (row ";

/// Whether a note was called so, behind its file's name where there are several.
pub fn is_name_of_a_row(id: &str) -> bool {
    id.ends_with(')') && (id.starts_with(NO_ID) || id.contains(&format!(":{NO_ID}")))
}

/// A note's text in the one form that all offsets refer to: one Unicode normal form, and line feeds alone. So a note means the same whichever
/// machine it was typed on, and tokenizers that would normalise decomposed text (macOS writes Hangul so) and report wrong offsets need not.
pub fn normalise(text: &str, form: Normalization) -> String {
    let text: String = match form {
        Normalization::Nfc => text.nfc().collect(),
        Normalization::Nfkc => text.nfkc().collect(),
    };
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text }
}

/// Class names must differ, and what `label_map` maps to must be among them.
fn check_labels(config: &DataConfig) -> Result<()> {
    let mut seen = HashSet::new();
    for label in &config.labels {
        if label.trim().is_empty() || !seen.insert(label.trim()) {
            return Err(Error::Config(format!(
                "data.labels: \"{}\" is empty or stands twice; name each class once",
                short(label)
            )));
        }
    }
    if seen.len() == 1 {
        return Err(Error::Config("data.labels: one class is nothing to learn; name at least two".to_string()));
    }
    for name in config.label_map.values() {
        if !seen.is_empty() && !seen.contains(name.trim()) {
            let near = nearest(name, config.labels.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean \"{}\"?", short(near))).unwrap_or_default();
            return Err(Error::Config(format!("data.label_map: \"{}\" is not in data.labels{near}", short(name))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn config() -> DataConfig {
        DataConfig {
            text: "Note".into(),
            label: "Level".into(),
            labels: vec!["other".into(), "emergency".into()],
            label_map: BTreeMap::from([("1".into(), "emergency".into()), ("5".into(), "other".into())]),
            group: "Patient".into(),
            missing: vec!["??".into()],
            ..DataConfig::default()
        }
    }

    fn map(config: &DataConfig, need_label: bool, cells: [&str; 3]) -> Result<Note, BadRow> {
        let columns = ["Note", "Level", "Patient"].map(str::to_string);
        let mapper = NoteMapper::new(config, Path::new("a.csv"), &columns, need_label).unwrap();
        mapper.map(&Record::of_text(7, cells.iter().map(|cell| Some(cell.to_string())).collect()))
    }

    #[test]
    fn a_note_is_normalised_and_labelled() {
        let note = map(&config(), true, ["e\u{301}toux\r\nfever\r", " 1 ", " p1 "]).unwrap();
        let expected = Note {
            row: 7,
            file: 0,
            id: "7".into(),
            text: "étoux\nfever\n".into(),
            label: Some(1),
            group: Some("p1".into()),
        };
        assert_eq!(note, expected);
        assert_eq!(map(&config(), true, ["fever", "other", "p1"]).unwrap().label, Some(0), "a name stands for itself");
        assert_eq!(map(&config(), false, ["fever", "secret", ""]).unwrap().label, None);
    }

    #[test]
    fn new_notes_without_the_ids_of_the_training_go_by_their_rows() {
        let config = |id: &str| DataConfig { id: id.into(), ..config() };
        assert_eq!(map(&config("Patient"), false, ["fever", "", " p1 "]).unwrap().id, "p1");
        assert_eq!(
            map(&config("Patient"), false, ["fever", "", ""]).unwrap().id,
            "no id (row 7)",
            "7 may be another's id"
        );
        assert_eq!(map(&config("Visit"), false, ["fever", "", ""]).unwrap().id, "7");
        let columns = ["Note", "Level", "Patient"].map(str::to_string);
        let (visit, file) = (config("Visit"), Path::new("a.csv"));
        // Those of an experiment, labelled or not.
        for mapper in
            [NoteMapper::new(&visit, file, &columns, true), NoteMapper::build(&visit, file, &columns, false, true)]
        {
            let error = mapper.unwrap_err().to_string();
            assert!(error.contains("data.id names column \"Visit\", which is not there"), "{error}");
        }
    }

    #[test]
    fn notes_of_an_experiment_have_groups_labelled_or_not() {
        let file = Path::new("a.csv");
        let unlabelled = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|column| column.to_string()).collect();
            NoteMapper::build(&config(), file, &columns, false, true)
        };
        let error = unlabelled(&["Note"]).unwrap_err().to_string();
        assert!(error.contains("a.csv: data.group names column \"Patient\", which is not there"), "{error}");
        let mapper = unlabelled(&["Note", "Patient"]).unwrap();
        let map = |patient: &str| mapper.map(&Record::of_text(7, vec![Some("fever".into()), Some(patient.into())]));
        assert_eq!(map("p1").unwrap().group.as_deref(), Some("p1"));
        for missing in ["", "??"] {
            let row = map(missing).unwrap_err();
            assert_eq!((row.reason, row.column.as_deref()), (Reason::MissingGroup, Some("Patient")));
        }
    }

    #[test]
    fn a_note_without_an_id_is_told_by_it() {
        for name in ["no id (row 7)", "a.csv:no id (row 12)"] {
            assert!(is_name_of_a_row(name), "{name}");
        }
        for id in ["7", "a.csv:7", "row 7", "no id", "has no id (row 7)"] {
            assert!(!is_name_of_a_row(id), "{id}");
        }
    }

    #[test]
    fn full_width_letters_become_plain_where_that_is_asked_for() {
        let text = |config: &DataConfig| map(config, false, ["ＣＴで５㎎ ｶﾞﾝ e\u{301}", "", ""]).unwrap().text;
        assert_eq!(text(&config()), "ＣＴで５㎎ ｶﾞﾝ é");
        assert_eq!(text(&DataConfig { normalization: Normalization::Nfkc, ..config() }), "CTで5mg ガン é");
    }

    #[test]
    fn bad_rows_say_where_and_never_what() {
        for (cells, reason, column) in [
            (["", "1", "p"], Reason::MissingText, Some("Note")),
            ([" ?? ", "1", "p"], Reason::MissingText, Some("Note")),
            (["secret", "??", "p"], Reason::MissingLabel, Some("Level")),
            (["secret", "secret", "p"], Reason::UnknownLabel, Some("Level")),
            (["secret", "1", " "], Reason::MissingGroup, Some("Patient")),
        ] {
            let row = map(&config(), true, cells).unwrap_err();
            assert_eq!((row.line, row.reason, row.column.as_deref()), (7, reason, column));
            assert!(!row.to_string().contains("secret"), "{row}");
        }
        let config = DataConfig { text: String::new(), template: "{Note}".into(), ..config() };
        assert_eq!(map(&config, true, ["??", "1", "p"]).unwrap_err().reason, Reason::MissingValue);
        let config = DataConfig { template: " [{Note}]".into(), ..config };
        assert_eq!(map(&config, true, ["??", "1", "p"]).unwrap_err().reason, Reason::MissingText);
    }

    #[test]
    fn a_list_of_labels_is_no_class_unless_it_holds_one() {
        let file = Path::new("a.jsonl");
        let columns = ["Note", "Level", "Patient"].map(str::to_string);
        let mapper = NoteMapper::new(&config(), file, &columns, true).unwrap();
        let map = |label: &str, json: bool| {
            let fields = ["fever", label, "p"].map(|cell| Some(cell.to_string())).to_vec();
            mapper.map(&Record { line: 7, fields, json: vec![false, json, false] })
        };
        let plain = map("1", true).unwrap().label;
        assert!(plain.is_some());
        assert_eq!(map(r#"[" 1 "]"#, true).unwrap().label, plain);
        assert_eq!(map("[1]", true).unwrap().label, plain);
        for missing in [r#"[""]"#, r#"["??"]"#] {
            assert_eq!(map(missing, true).unwrap_err().reason, Reason::MissingLabel);
        }
        for wrong in [r#"["1","secret"]"#, "[]", r#"{"1":true}"#, r#"[["1"]]"#] {
            let row = map(wrong, true).unwrap_err();
            assert_eq!((row.reason, row.column.as_deref()), (Reason::UnknownLabel, Some("Level")));
            assert!(row.message.contains("a note is of one class") && !row.message.contains("secret"), "{row}");
        }
        let listed = Record {
            line: 7,
            fields: vec![Some(r#"["secret"]"#.into()), Some("1".into()), Some("p".into())],
            json: vec![true, false, false],
        };
        let row = mapper.map(&listed).unwrap_err();
        assert_eq!((row.reason, row.column.as_deref()), (Reason::MissingText, Some("Note")));
        assert!(!row.message.contains("secret"));
        // Of a table the cell is text, and the class may be called so.
        assert!(map(r#"["1"]"#, false).unwrap_err().message.contains("none of"));
    }

    #[test]
    fn a_note_beyond_the_limit_is_a_bad_row() {
        let longest = "x".repeat(MAX_NOTE_BYTES);
        assert_eq!(map(&config(), false, [&longest, "", ""]).unwrap().text.len(), MAX_NOTE_BYTES);
        let row = map(&config(), false, [&format!("{longest}x"), "", ""]).unwrap_err();
        assert_eq!((row.line, row.reason, row.column.as_deref()), (7, Reason::TooLong, Some("Note")));
        assert!(row.message.starts_with("the note is longer than 1 MiB; is the column the right one?"), "{row}");
        // A template can make one of cells that are shorter, and so can the normal form.
        let template = DataConfig { text: String::new(), template: "{Note} {Level}".into(), ..config() };
        let row = map(&template, false, [&longest, "1", ""]).unwrap_err();
        assert_eq!((row.reason, row.column), (Reason::TooLong, None));
        let nfkc = DataConfig { normalization: Normalization::Nfkc, ..config() };
        let row = map(&nfkc, false, [&"\u{fdfa}".repeat(MAX_NOTE_BYTES / 10), "", ""]).unwrap_err();
        assert_eq!(row.reason, Reason::TooLong);
    }

    #[test]
    fn contradicting_options_are_errors() {
        let columns = ["Note", "Level", "Patient"].map(str::to_string);
        let error = |config: DataConfig| {
            NoteMapper::new(&config, Path::new("a.csv"), &columns, true).map(|_| ()).unwrap_err().to_string()
        };
        assert!(error(DataConfig { text: "note".into(), ..config() }).contains("did you mean \"Note\""));
        assert!(error(DataConfig { template: "{Note}".into(), ..config() }).contains("not both"));
        assert!(error(DataConfig { text: String::new(), ..config() }).contains("give text"));
        assert!(error(DataConfig { label: String::new(), ..config() }).contains("data.label"));
        assert!(error(DataConfig { labels: vec!["a".into(), "a".into()], ..config() }).contains("stands twice"));
        assert!(
            error(DataConfig { labels: vec!["emergencies".into(), "other".into()], ..config() })
                .contains("did you mean \"emergencies\"")
        );
    }
}
