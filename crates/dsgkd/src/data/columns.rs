//! Names of columns: cleaned, looked up, and the nearest one offered when a name is not there.

use crate::error::{Error, Result};
use std::collections::HashSet;
use std::path::Path;

/// Columns that a table may have; beyond it a file is no table of notes, and every row, however short, would take its place in each.
pub(super) const MAX_COLUMNS: usize = 10_000;

/// Names longer than this are cut in messages.
const SHOWN_CHARACTERS: usize = 40;

/// A column's name as a message shows it, cut to 40 characters and without control characters.
pub(super) fn short(name: &str) -> String {
    let mut shown: String = name.chars().take(SHOWN_CHARACTERS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if name.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

/// Header names without the whitespace and byte-order mark around them; a nameless column becomes `column_3` (from 1).
///
/// Errors when two columns have the same name, or when there are more than 10,000.
pub(super) fn clean_header(file: &Path, names: impl IntoIterator<Item = String>) -> Result<Vec<String>> {
    let mut cleaned = Vec::new();
    let mut seen = HashSet::new();
    for (position, name) in names.into_iter().enumerate() {
        if position == MAX_COLUMNS {
            return Err(too_many_columns(file));
        }
        let mut name = clean_name(&name).to_string();
        if name.is_empty() {
            name = format!("column_{}", position + 1);
        }
        if !seen.insert(name.clone()) {
            // By number: without a header row the name would be a cell.
            return Err(Error::Data(format!(
                "{}: column {} has the name of one before it; rename one of them",
                file.display(),
                position + 1
            )));
        }
        cleaned.push(name);
    }
    Ok(cleaned)
}

/// A name without what surrounds it: spaces, and the mark that files begin with.
pub(super) fn clean_name(name: &str) -> &str {
    name.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The error of a header with more columns than a table may have.
pub(super) fn too_many_columns(file: &Path) -> Error {
    Error::Data(format!("{}: the header has more than {MAX_COLUMNS} columns; is this a table?", file.display()))
}

/// Where `name` stands in `columns`; `key` is the option that names it (`data.text`).
///
/// # Errors
/// Names the nearest column, where one is nearly named so. The others are not listed: in a file without a header row they are a patient's cells.
pub fn find_column(file: &Path, columns: &[String], name: &str, key: &str) -> Result<usize> {
    let name = name.trim();
    if let Some(position) = columns.iter().position(|column| column == name) {
        return Ok(position);
    }
    let mut message = format!("{}: {key} names column \"{}\", which is not there", file.display(), short(name));
    let found = [';', '\t', ',', '|'].into_iter().find(|&c| columns.len() == 1 && columns[0].contains(c));
    let near = nearest(name, columns.iter().map(String::as_str)).filter(|near| is_near(name, near));
    if let Some(nearest) = near.filter(|_| !holds_cells(columns)) {
        message += &format!("; did you mean \"{}\"?", short(nearest));
    } else if let Some(found) = found {
        message +=
            &format!("; its first line is a single name that holds {found:?}: set `separator` (or --separator) to it");
    } else {
        message +=
            &format!("; it has {} columns, which the first line of a table names, or JSON's keys", columns.len());
    }
    Err(Error::Data(message))
}

/// Whether `column` may be shown to whoever asked for `name`: it is the name but for a slip of two letters at most, and of a third of the shorter,
/// and so no cell.
fn is_near(name: &str, column: &str) -> bool {
    let distance = strsim::damerau_levenshtein(&name.to_lowercase(), &column.to_lowercase());
    let shorter = name.chars().count().min(column.chars().count());
    name.chars().count() >= 4 && distance <= 2 && 3 * distance <= shorter
}

/// Whether the first line seems to hold cells in place of names, as in a file without a header row: one begins with a digit (an age, a date, a number),
/// or is longer than a name is shown.
fn holds_cells(columns: &[String]) -> bool {
    let is_cell = |column: &String| {
        column.starts_with(|first: char| first.is_numeric()) || column.chars().count() > SHOWN_CHARACTERS
    };
    columns.iter().any(is_cell)
}

/// The candidate most like `name`, if any is like it at all.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        // A name of thousands of characters is never a near miss, and comparing costs the product of both lengths.
        .filter(|candidate| candidate.len() <= 200 && lower.len() <= 200)
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn header_names_are_cleaned_and_must_differ() {
        let file = Path::new("a.csv");
        let cleaned = clean_header(file, names(&["\u{feff} Age ", "", "Sex"])).unwrap();
        assert_eq!(cleaned, ["Age", "column_2", "Sex"]);
        let error = clean_header(file, names(&["Age", " Age"])).unwrap_err().to_string();
        assert_eq!(error, "a.csv: column 2 has the name of one before it; rename one of them");
    }

    #[test]
    fn a_table_of_too_many_columns_is_an_error() {
        let header = |count: usize| clean_header(Path::new("a.csv"), (0..count).map(|column| column.to_string()));
        assert_eq!(header(MAX_COLUMNS).unwrap().len(), MAX_COLUMNS);
        let error = header(MAX_COLUMNS + 1).unwrap_err().to_string();
        assert_eq!(error, "a.csv: the header has more than 10000 columns; is this a table?");
    }

    #[test]
    fn a_missing_column_names_the_nearest_and_no_cell() {
        let missing = |columns: &[&str], name: &str| {
            find_column(Path::new("a.csv"), &names(columns), name, "data.text").unwrap_err().to_string()
        };
        assert_eq!(
            missing(&["Age", "Chief_complain"], "chief_complaint"),
            "a.csv: data.text names column \"chief_complaint\", which is not there; did you mean \"Chief_complain\"?"
        );
        // Without a header row the first note stands there.
        assert_eq!(
            missing(&["P1", "3", "noted fever, vomiting", "diagnosed with hiv"], "diagnosis"),
            "a.csv: data.text names column \"diagnosis\", which is not there; it has 4 columns, which the first line of a table names, or JSON's keys"
        );
        // Neither what is half of a name, nor what is nearly one where other cells stand: a long one, or one that begins with a digit.
        let long = "fever for three days, vomiting, no known allergies";
        for columns in [&["fever", "no", "P1"][..], &["fever", "none", "71"], &[long, "none", "P1"]] {
            let error = missing(columns, "note");
            assert!(error.ends_with("which the first line of a table names, or JSON's keys"), "{error}");
        }
        assert!(missing(&["patient", "notes", "p1"], "note").ends_with("did you mean \"notes\"?"));
        let error = missing(&["Age;Sex"], "Sex");
        assert!(error.ends_with("a single name that holds ';': set `separator` (or --separator) to it"), "{error}");
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(short(&"x".repeat(50)).chars().count(), SHOWN_CHARACTERS + 1);
    }
}
