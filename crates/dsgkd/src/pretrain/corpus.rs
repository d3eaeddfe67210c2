//! Documents out of text files and tables.

use crate::config::CorpusConfig;
use crate::data::{ReadOptions, Records, RowError};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use unicode_normalization::UnicodeNormalization;

/// Calls `take` with every document of a corpus (NFC, no line breaks inside), as it is read; constant memory.
///
/// A line of a text file is a document, and so is a non-empty cell of the named columns of a table. Rows that cannot be read are
/// passed over and counted: returns the number of documents and of bad rows.
pub(super) fn for_each_document(
    corpus: &CorpusConfig,
    mut take: impl FnMut(&str) -> Result<()>,
) -> Result<(usize, usize)> {
    let (mut documents, mut bad) = (0, 0);
    let limit = if corpus.max_documents == 0 { usize::MAX } else { corpus.max_documents };
    let mut one = |text: &str| -> Result<bool> {
        let text: String = text.split_whitespace().collect::<Vec<_>>().join(" ").nfc().collect();
        if !text.is_empty() {
            take(&text)?;
            documents += 1;
        }
        Ok(documents < limit)
    };
    for path in &corpus.files {
        let more = if corpus.columns.is_empty() {
            for_each_line(path, &mut one)?
        } else {
            for_each_cell(path, corpus, &mut one, &mut bad)?
        };
        if !more {
            break;
        }
    }
    Ok((documents, bad))
}

/// `false` when the documents wanted are complete.
fn for_each_line(path: &Path, one: &mut impl FnMut(&str) -> Result<bool>) -> Result<bool> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let source: Box<dyn Read> = if packed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut source = BufReader::new(source);
    let mut line = vec![];
    loop {
        line.clear();
        if source.read_until(b'\n', &mut line).map_err(Error::io(path, "read"))? == 0 {
            return Ok(true);
        }
        if !one(&String::from_utf8_lossy(&line))? {
            return Ok(false);
        }
    }
}

fn for_each_cell(
    path: &Path,
    corpus: &CorpusConfig,
    one: &mut impl FnMut(&str) -> Result<bool>,
    bad: &mut usize,
) -> Result<bool> {
    let options = ReadOptions {
        format: corpus.format.clone(),
        encoding: corpus.encoding.clone(),
        separator: corpus.separator.clone(),
        sheet: String::new(),
    };
    let records = Records::open(path, &options)?;
    let place = |name: &String| {
        records.columns().iter().position(|column| column == name).ok_or_else(|| {
            Error::Config(format!(
                "{}: has no column \"{name}\"; it has {}",
                path.display(),
                records.columns().join(", ")
            ))
        })
    };
    let columns = corpus.columns.iter().map(place).collect::<Result<Vec<usize>>>()?;
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(RowError::Bad(_)) => {
                *bad += 1;
                continue;
            }
            Err(RowError::Stop(error)) => return Err(error),
        };
        for column in &columns {
            if let Some(Some(text)) = record.fields.get(*column)
                && !one(text)?
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
