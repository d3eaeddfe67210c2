//! Documents out of text files and tables.

use super::bad_row::RowError;
use super::columns::find_column;
use super::encoding::read_error;
use super::format::ReadOptions;
use super::reader::{MAX_ROW_BYTES, Records};
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
            for_each_line(corpus, file, MAX_ROW_BYTES, &mut one)?
        } else {
            for_each_cell(corpus, file, domain, &mut one, &mut bad)?
        };
        if !more {
            break;
        }
    }
    Ok((documents, bad))
}

/// `false` when the documents wanted are complete. A line of more than `max_bytes` is an error: it is no document, and would be held whole.
fn for_each_line(corpus: &CorpusConfig, file: usize, max_bytes: usize, one: &mut Take) -> Result<bool> {
    let path = &corpus.files[file];
    let opened = File::open(path).map_err(Error::io(path, "read"))?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let source: Box<dyn Read> =
        if packed { Box::new(flate2::read::MultiGzDecoder::new(opened)) } else { Box::new(opened) };
    let mut source = BufReader::new(source);
    let mut bytes = vec![];
    for line in 1.. {
        bytes.clear();
        // Room for the line's end, which is none of its text.
        let mut line_source = source.by_ref().take(max_bytes as u64 + 1);
        if line_source.read_until(b'\n', &mut bytes).map_err(|error| read_error(path, error))? == 0 {
            break;
        }
        if bytes.len() > max_bytes && !bytes.ends_with(b"\n") {
            return Err(Error::Data(format!(
                "{}, line {line}: the line is longer than {} MiB, too long to be text; write one document a line, \
                 or, if the file is a table, name its `columns`",
                path.display(),
                max_bytes >> 20
            )));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::path::Path;

    /// The documents of a text file whose lines may have five bytes.
    fn lines(path: &Path) -> Result<Vec<(u64, String)>> {
        let corpus = CorpusConfig { files: vec![path.to_path_buf()], ..CorpusConfig::default() };
        let mut lines = vec![];
        let mut take = |document: Document| -> Result<bool> {
            lines.push((document.line, document.text.trim_end().to_string()));
            Ok(true)
        };
        for_each_line(&corpus, 0, 5, &mut take)?;
        Ok(lines)
    }

    #[test]
    fn a_line_beyond_the_limit_is_an_error_of_the_data() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "fever\n\ncough").unwrap();
        let expected = [(1, "fever"), (2, ""), (3, "cough")].map(|(line, text)| (line, text.to_string()));
        assert_eq!(lines(&path).unwrap(), expected);
        for text in ["a\nsecret\nb\n", "a\nsecret"] {
            std::fs::write(&path, text).unwrap();
            let error = lines(&path).unwrap_err();
            let message = error.to_string();
            assert!(matches!(error, Error::Data(_)) && !message.contains("secret"), "{message}");
            assert!(message.contains("a.txt, line 2: the line is longer than"), "{message}");
        }
    }

    #[test]
    fn a_cut_gzip_file_is_an_error_of_the_data() {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all("pain\n".repeat(1000).as_bytes()).unwrap();
        let packed = packer.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt.gz");
        std::fs::write(&path, &packed).unwrap();
        assert_eq!(lines(&path).unwrap().len(), 1000);
        std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        let error = lines(&path).unwrap_err();
        assert!(matches!(error, Error::Data(_)) && error.to_string().contains("damaged or cut short"), "{error}");
    }
}
