//! Documents out of text files and tables.

use super::bad_row::RowError;
use super::columns::find_column;
use super::format::ReadOptions;
use super::reader::Records;
use crate::config::CorpusConfig;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use unicode_normalization::UnicodeNormalization;

/// A document and where it stands.
pub(crate) struct Document<'a> {
    /// Its text: NFC, no line breaks inside.
    pub(crate) text: &'a str,
    /// Its file, an index into the corpus' files.
    pub(crate) file: usize,
    /// Its line or row in the file, from 1.
    pub(crate) line: u64,
    /// What the row says its domain is.
    pub(crate) domain: Option<&'a str>,
}

/// What is called with each document.
type Take<'a> = dyn FnMut(Document) -> Result<bool> + 'a;

/// Calls `take` with every document of a corpus, as it is read; constant memory.
///
/// A line of a text file is a document, and so is a non-empty cell of the named columns of a table, whose column `domain` (empty:
/// none) goes with it. Rows that cannot be read are passed over and counted: returns the number of documents and of bad rows.
pub(crate) fn for_each_document(
    corpus: &CorpusConfig,
    domain: &str,
    mut take: impl FnMut(Document) -> Result<()>,
) -> Result<(usize, usize)> {
    let (mut documents, mut bad) = (0, 0);
    let limit = if corpus.max_documents == 0 { usize::MAX } else { corpus.max_documents };
    let mut one = |document: Document| -> Result<bool> {
        let text: String = document.text.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect();
        if !text.is_empty() {
            take(Document { text: &text, ..document })?;
            documents += 1;
        }
        Ok(documents < limit)
    };
    for file in 0..corpus.files.len() {
        let more = if corpus.columns.is_empty() {
            for_each_line(corpus, file, &mut one)?
        } else {
            for_each_cell(corpus, file, domain, &mut one, &mut bad)?
        };
        if !more {
            break;
        }
    }
    Ok((documents, bad))
}

/// `false` when the documents wanted are complete.
fn for_each_line(corpus: &CorpusConfig, file: usize, one: &mut Take) -> Result<bool> {
    let path = &corpus.files[file];
    let opened = File::open(path).map_err(Error::io(path, "read"))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let source: Box<dyn Read> =
        if packed { Box::new(flate2::read::MultiGzDecoder::new(opened)) } else { Box::new(opened) };
    let mut source = BufReader::new(source);
    let mut bytes = vec![];
    for line in 1.. {
        bytes.clear();
        if source.read_until(b'\n', &mut bytes).map_err(Error::io(path, "read"))? == 0 {
            break;
        }
        if !one(Document { text: &String::from_utf8_lossy(&bytes), file, line, domain: None })? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn for_each_cell(corpus: &CorpusConfig, file: usize, domain: &str, one: &mut Take, bad: &mut usize) -> Result<bool> {
    let path = &corpus.files[file];
    let options = ReadOptions {
        format: corpus.format.clone(),
        encoding: corpus.encoding.clone(),
        separator: corpus.separator.clone(),
        sheet: String::new(),
    };
    let records = Records::open(path, &options)?;
    let place = |name: &str, key: &str| find_column(path, records.columns(), name, key);
    let columns = corpus.columns.iter().map(|name| place(name, "corpus.columns")).collect::<Result<Vec<usize>>>()?;
    let domain = if domain.is_empty() { None } else { Some(place(domain, "corpus.domain")?) };
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(RowError::Bad(_)) => {
                *bad += 1;
                continue;
            }
            Err(RowError::Stop(error)) => return Err(error),
        };
        let cell = |column: usize| record.fields.get(column).and_then(Option::as_deref);
        for column in &columns {
            if let Some(text) = cell(*column)
                && !one(Document { text, file, line: record.line, domain: domain.and_then(cell) })?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
