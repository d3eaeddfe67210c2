//! All notes of an experiment: every file read, every record mapped, class names found.

use super::bad_row::{BadRows, RowError};
use super::columns::short;
use super::format::{ReadOptions, row_unit};
use super::mapper::NoteMapper;
use super::reader::Records;
use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::path_names::end_that_tells_apart;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Classes that a label column may have; beyond it the wrong column was named.
pub const MAX_CLASSES: usize = 1000;

/// With fewer notes a value on average, or a value that stands once, a column of more than a few values is taken for text or an identifier, which is
/// not to be printed, unless `data.labels` lists the classes.
const LEAST_NOTES_A_CLASS: usize = 3;
const FEW_CLASSES: usize = 5;

/// One short clinical note.
#[derive(Clone, PartialEq, Eq)]
pub struct Note {
    /// Line of the file where its row starts, from 1.
    pub row: u64,
    /// Its file, as an index into [`Notes::files`]; 0 from a lone [`NoteMapper`].
    pub file: usize,
    /// Its name in outputs: the id column's cell, or the row number (`file name:row` with several files; `no id (row 7)` where other rows have ids).
    pub id: String,
    /// Its text: Unicode normal form C, lines ended by line feeds.
    pub text: String,
    /// Its class, as an index into the class names.
    pub label: Option<usize>,
    /// What must stay on one side of a split (patient id).
    pub group: Option<String>,
}

/// Leaves out the text, which must not reach a log by way of a debug print.
impl std::fmt::Debug for Note {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Note(file {}, row {}, label {:?})", self.file, self.row, self.label)
    }
}

/// The notes of an experiment.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Labelled notes: those of the training files, then of the validation files, then of the test files.
    pub notes: Vec<Note>,
    /// Which of `notes` came from the training files.
    pub train: Range<usize>,
    /// Which came from validation files; empty when none were given.
    pub validation: Range<usize>,
    /// Which came from test files; empty when none were given.
    pub test: Range<usize>,
    /// Notes without labels.
    pub unlabeled: Vec<Note>,
    /// Class names in order; the second of two is the positive class.
    pub labels: Vec<String>,
    /// The files, in the order training, validation, test, unlabelled.
    pub files: Vec<PathBuf>,
    /// Rows that were skipped; empty unless `data.skip_bad_rows` is set.
    pub bad_rows: BadRows,
}

impl Notes {
    /// How many of the notes at `indices` belong to each class.
    pub fn class_counts(&self, indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for label in indices.iter().filter_map(|&index| self.notes[index].label) {
            counts[label] += 1;
        }
        counts
    }
}

/// Reads all files of `[data]`.
///
/// Errors at the first bad row (unless `data.skip_bad_rows` is set: then they are counted), when a file cannot be read or lacks
/// a column, when a list of files holds no note, when there are fewer than two classes, or when notes that are tested share an id.
pub fn read_notes(config: &DataConfig) -> Result<Notes> {
    if config.train.is_empty() {
        return Err(Error::Config("data.train: name at least one file".to_string()));
    }
    let mut reading = Reading { config: config.clone(), notes: Notes::default() };
    reading.config.labels = config.labels.iter().map(|label| label.trim().to_string()).collect();

    let mut notes =
        if config.labels.is_empty() { reading.discover_labels()? } else { reading.read(&config.train, true)? };
    reading.notes.train = 0..notes.len();
    for (files, test) in [(&config.validation, false), (&config.test, true)] {
        let start = notes.len();
        notes.extend(reading.read(files, true)?);
        *(if test { &mut reading.notes.test } else { &mut reading.notes.validation }) = start..notes.len();
    }
    if !config.test.is_empty() {
        check_ids(config, &notes[reading.notes.test.clone()], &reading.notes.files)?;
    } else if config.deals_test_notes() {
        check_ids(config, &notes[reading.notes.train.clone()], &reading.notes.files)?;
    }
    let unlabeled = reading.read(&config.unlabeled, false)?;
    Ok(Notes { notes, unlabeled, labels: reading.config.labels, ..reading.notes })
}

/// Hands the notes of the test files (or, without any, of the training files, from which the test part is dealt) to `visit`, each with
/// its file's columns and its record's cells: for what is asked of notes beside text and label. Bad rows are passed over.
///
/// # Errors
/// As [`read_notes`], but for bad rows.
pub fn visit_tested_files(
    config: &DataConfig,
    visit: &mut dyn FnMut(&Note, &[String], &[Option<String>]),
) -> Result<()> {
    let files = if config.test.is_empty() { &config.train } else { &config.test };
    for (index, path) in files.iter().enumerate() {
        let records = Records::open(path, &ReadOptions::from(config))?;
        let columns = records.columns().to_vec();
        let mapper =
            NoteMapper::build(config, path, &columns, false, true)?.with_file_index(index, id_prefix(files, path));
        for record in records {
            match record {
                Ok(record) => {
                    if let Ok(note) = mapper.map(&record) {
                        visit(&note, &columns, &record.fields);
                    }
                }
                Err(RowError::Bad(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// The evaluation counts, draws and pairs tested notes by their ids: what shares one is taken for one note there. Nowhere else are notes put
/// together by ids, so that a note that is only trained on may have another's.
///
/// # Errors
/// Values of `data.id` that repeat among `notes`; names the place of the first.
fn check_ids(config: &DataConfig, notes: &[Note], files: &[PathBuf]) -> Result<()> {
    let column = config.id.trim();
    if column.is_empty() {
        return Ok(());
    }
    let mut seen: HashMap<&str, (&Note, bool)> = HashMap::new();
    let (mut repeated, mut example) = (0, None);
    for note in notes {
        match seen.entry(&note.id) {
            Entry::Vacant(entry) => {
                entry.insert((note, false));
            }
            Entry::Occupied(mut entry) => {
                let (first, is_counted) = entry.get_mut();
                repeated += usize::from(!*is_counted);
                *is_counted = true;
                example.get_or_insert((*first, note));
            }
        }
    }
    let Some((first, second)) = example else { return Ok(()) };
    let file = |note: &Note| files[note.file].display();
    let unit = row_unit(&files[first.file]);
    let between = if first.file == second.file { String::new() } else { format!("{}, ", file(second)) };
    Err(Error::Data(format!(
        "data.id: column \"{}\" repeats {repeated} of its values (first: {}, {unit} {} and {between}{unit} {}); an id names one note. \
         If it names a patient, set data.group; without data.id, notes go by their row numbers",
        short(column),
        file(first),
        first.row,
        second.row
    )))
}

/// What stands before a note's row number where several files are read.
fn id_prefix(files: &[PathBuf], path: &Path) -> String {
    if files.len() < 2 {
        return String::new();
    }
    format!("{}:", end_that_tells_apart(path, files).display())
}

struct Reading {
    config: DataConfig,
    notes: Notes,
}

impl Reading {
    fn read(&mut self, files: &[PathBuf], need_label: bool) -> Result<Vec<Note>> {
        let labels: HashMap<String, usize> =
            self.config.labels.iter().enumerate().map(|(class, label)| (label.clone(), class)).collect();
        self.read_with(files, need_label, &mut |name| labels.get(name).copied())
    }

    /// Reads the training files while learning the class names, then puts these in order.
    fn discover_labels(&mut self) -> Result<Vec<Note>> {
        let files = self.config.train.clone();
        let mut found: HashMap<String, usize> = HashMap::new();
        let mut class_of = |name: &str| {
            if let Some(&class) = found.get(name) {
                return Some(class);
            }
            let class = found.len();
            // What lies beyond the limit is not kept; the count alone tells that the column is wrong.
            if class <= MAX_CLASSES {
                found.insert(name.to_string(), class);
            }
            Some(class)
        };
        let mut notes = self.read_with(&files, true, &mut class_of)?;
        let column = &self.config.label;
        if found.len() > MAX_CLASSES {
            return Err(Error::Data(format!(
                "data.label: column \"{column}\" has more than {MAX_CLASSES} different values; is it the label? \
                 If so, list the classes in data.labels"
            )));
        }
        let mut counts = vec![0; found.len()];
        notes.iter().filter_map(|note| note.label).for_each(|class| counts[class] += 1);
        let is_seldom_repeated = found.len() * LEAST_NOTES_A_CLASS > notes.len() || counts.contains(&1);
        if found.len() > FEW_CLASSES && is_seldom_repeated {
            return Err(Error::Data(format!(
                "data.label: column \"{column}\" has {} different values in {} notes; is it the label? If so, list the classes in data.labels",
                found.len(),
                notes.len()
            )));
        }
        if found.len() < 2 {
            return Err(Error::Data(format!(
                "data.label: column \"{column}\" has only {} class; there is nothing to tell apart",
                found.len()
            )));
        }
        let mut order: Vec<(String, usize)> = found.into_iter().collect();
        sort_labels(&mut order);
        let mut class = vec![0; order.len()];
        for (position, (_, old)) in order.iter().enumerate() {
            class[*old] = position;
        }
        for note in &mut notes {
            note.label = note.label.map(|old| class[old]);
        }
        self.config.labels = order.into_iter().map(|(label, _)| label).collect();
        Ok(notes)
    }

    fn read_with(
        &mut self,
        files: &[PathBuf],
        need_label: bool,
        class_of: &mut dyn FnMut(&str) -> Option<usize>,
    ) -> Result<Vec<Note>> {
        let mut notes = Vec::new();
        for path in files {
            let records = Records::open(path, &ReadOptions::from(&self.config))?;
            let prefix = id_prefix(files, path);
            let mapper = NoteMapper::build(&self.config, path, records.columns(), need_label, true)?
                .with_file_index(self.notes.files.len(), prefix);
            self.notes.files.push(path.clone());
            for record in records {
                let note = record.and_then(|record| mapper.map_label(&record, class_of).map_err(RowError::Bad));
                match note {
                    Ok(note) => notes.push(note),
                    Err(RowError::Bad(row)) if self.config.skip_bad_rows => self.notes.bad_rows.add(row),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if let (Some(first), true) = (files.first(), notes.is_empty()) {
            let skipped = &self.notes.bad_rows;
            let why = skipped.first.first().map(|row| format!(" ({skipped}; the first: {row})")).unwrap_or_default();
            return Err(Error::Data(format!("{}: holds no note{why}", first.display())));
        }
        Ok(notes)
    }
}

/// By number where all are numbers (so that 10 follows 9), else by name.
fn sort_labels(labels: &mut [(String, usize)]) {
    let numeric = labels.iter().all(|(label, _)| label.parse::<f64>().is_ok());
    labels.sort_by(|a, b| match (a.0.parse::<f64>(), b.0.parse::<f64>()) {
        (Ok(x), Ok(y)) if numeric => x.total_cmp(&y).then_with(|| a.0.cmp(&b.0)),
        _ => a.0.cmp(&b.0),
    });
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
