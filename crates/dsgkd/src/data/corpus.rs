//! Documents out of text files and tables.

use super::bad_row::{BadRow, BadRows, Reason, RowError};
use super::columns::find_column;
use super::encoding::{encoding_advice, open_text, read_error};
use super::format::ReadOptions;
use super::reader::{MAX_ROW_BYTES, Records};
use crate::config::CorpusConfig;
use crate::error::{Error, Result};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, Read};
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

/// Calls `take` with every document of a corpus, as it is read; constant memory but for what a reader holds whole.
///
/// A line of a text file is a document, and so is a non-empty cell of the named columns of a table (each text of a list in JSON), whose column
/// `domain` (empty: none) goes with it. Rows and lines that cannot be read are passed over: returns the number of documents, and these bad rows.
pub(crate) fn for_each_document(
    corpus: &CorpusConfig,
    domain: &str,
    mut take: impl FnMut(Document) -> Result<()>,
) -> Result<(usize, BadRows)> {
    let (mut documents, mut bad) = (0, BadRows::default());
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
            for_each_line(corpus, file, MAX_ROW_BYTES, &mut one, &mut bad)?
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
fn for_each_line(
    corpus: &CorpusConfig,
    file: usize,
    max_bytes: usize,
    one: &mut Take,
    bad: &mut BadRows,
) -> Result<bool> {
    let path = &corpus.files[file];
    let opened = File::open(path).map_err(Error::io(path, "read"))?;
    let mut source = open_text(Box::new(opened), path, &corpus.encoding)?;
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
        let Ok(text) = std::str::from_utf8(&bytes) else {
            let message = encoding_advice(&corpus.encoding);
            bad.add(BadRow { file: path.as_path().into(), line, column: None, reason: Reason::Encoding, message });
            continue;
        };
        if !one(Document { text, file, line, domain: None })? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn for_each_cell(corpus: &CorpusConfig, file: usize, domain: &str, one: &mut Take, bad: &mut BadRows) -> Result<bool> {
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
            Err(RowError::Bad(row)) => {
                bad.add(row);
                continue;
            }
            Err(RowError::Stop(error)) => return Err(error),
        };
        let cell = |column: usize| record.fields.get(column).and_then(Option::as_deref);
        for column in &columns {
            let Some(text) = cell(*column) else { continue };
            // A list of texts in a JSON row (the sections of an abstract) is a document each.
            let is_json = record.json.get(*column).copied().unwrap_or(false);
            let list: Vec<Value> = if is_json { serde_json::from_str(text).unwrap_or_default() } else { vec![] };
            let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
            for text in if texts.is_empty() { vec![text] } else { texts } {
                if !one(Document { text, file, line: record.line, domain: domain.and_then(cell) })? {
                    return Ok(false);
                }
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
        for_each_line(&corpus, 0, 5, &mut take, &mut BadRows::default())?;
        Ok(lines)
    }

    #[test]
    fn text_files_are_read_in_the_encoding_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &[u8], encoding: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let corpus = CorpusConfig { files: vec![path], encoding: encoding.to_string(), ..CorpusConfig::default() };
            let mut texts = vec![];
            let (documents, bad) = for_each_document(&corpus, "", |document| {
                texts.push(format!("{} {}", document.line, document.text));
                Ok(())
            })?;
            assert_eq!(documents, texts.len());
            Ok::<_, Error>((texts.join(", "), bad))
        };
        // 0x8C 0x63 is a syllable of CP949 alone.
        let (texts, bad) = read("a.txt", b"\xB9\xDF\xBF\xAD\n\n\x8C\x63", "euc-kr").unwrap();
        assert_eq!((texts.as_str(), bad.total()), ("1 발열, 3 똠", 0));
        assert_eq!(read("a.txt", b"\xFF\xFEa\0\n\0b\0", "").unwrap().0, "1 a, 2 b");
        assert!(read("a.txt", b"fever", "ecu-kr").unwrap_err().to_string().contains("did you mean \"euc-kr\""));
        // In another encoding than the file's, lines are bad and no text.
        let (texts, bad) = read("a.txt", b"fever\n\xB9\xDF\xBF\xAD\ncough\n", "").unwrap();
        assert_eq!((texts.as_str(), bad.total()), ("1 fever, 3 cough", 1));
        let said = bad.first[0].to_string();
        assert!(said.contains("a.txt, line 2: has bytes that are not UTF-8; set `encoding`"), "{said}");
    }

    #[test]
    fn each_text_of_a_list_in_json_is_a_document() {
        let folder = tempfile::tempdir().unwrap();
        let rows =
            r#"{"1":{"q":"why","context":["fever  rose",null,"then fell"]},"2":{"q":"[\"no list\"]","context":[1]}}"#;
        let path = folder.path().join("a.json");
        std::fs::write(&path, rows).unwrap();
        let columns = ["q", "context"].map(str::to_string).to_vec();
        let corpus = CorpusConfig { files: vec![path], columns, ..CorpusConfig::default() };
        let mut texts = vec![];
        for_each_document(&corpus, "", |document| {
            texts.push(format!("{} {}", document.line, document.text));
            Ok(())
        })
        .unwrap();
        // What is text is no list, whatever it looks like; a list of numbers is no list of texts.
        assert_eq!(texts, ["1 why", "1 fever rose", "1 then fell", "2 [\"no list\"]", "2 [1]"]);
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
