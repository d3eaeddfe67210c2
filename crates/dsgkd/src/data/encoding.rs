//! Bytes of any encoding, gzipped or not, to UTF-8, as they stream by.
//!
//! Bytes that the encoding does not allow are not replaced: each such sequence becomes one byte 0xFF, which no valid UTF-8
//! holds, so that the row it stands in fails its UTF-8 check and is reported with its file and line.

use super::columns::nearest;
use crate::error::{Error, Result};
use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// A source of bytes.
pub(super) type Source = Box<dyn Read + Send>;
/// A source of UTF-8, but for 0xFF bytes where the input was malformed.
pub(super) type Utf8Source = Box<dyn BufRead + Send>;

const BUFFER_BYTES: usize = 64 * 1024;
const MALFORMED: u8 = 0xFF;

/// The encoding of a name; `None` for the empty name.
///
/// Knows every label of the WHATWG encoding standard and the names Python and Windows use for them.
pub(super) fn encoding_by_name(name: &str) -> Result<Option<&'static Encoding>> {
    let name = name.trim();
    if name.is_empty() {
        return Ok(None);
    }
    let plain: String = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let standard = match plain.as_str() {
        // The standard's EUC-KR is CP949, the superset that Korean Windows writes.
        "cp949" | "ms949" | "uhc" | "windows949" | "949" => "euc-kr",
        "utf-8-sig" => "utf-8",
        "latin-1" | "iso8859-1" => "latin1",
        "utf-16-le" | "utf16" | "utf16le" => "utf-16le",
        "utf-16-be" | "utf16be" => "utf-16be",
        "cp932" => "shift_jis",
        "cp936" => "gbk",
        "cp950" => "big5",
        _ => name,
    };
    if let Some(encoding) = Encoding::for_label_no_replacement(standard.as_bytes()) {
        return Ok(Some(encoding));
    }
    let known = ["utf-8", "utf-16le", "utf-16be", "euc-kr", "cp949", "latin1", "windows-1252", "shift_jis", "euc-jp"];
    let near = nearest(&plain, known).map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
    Err(Error::Config(format!("data.encoding: \"{name}\" is no encoding known to the WHATWG standard{near}")))
}

/// Opens a source of text: gunzipped if it is gzipped, without its byte-order mark, decoded to UTF-8.
///
/// A byte-order mark wins over `encoding`, as the standard has it. Errors when the name is unknown, when the source cannot be
/// read, or when the file is named `.gz` and is not gzipped.
pub(super) fn open_text(mut source: Source, path: &Path, encoding: &str) -> Result<Utf8Source> {
    let asked = encoding_by_name(encoding)?;
    let start = peek(&mut source, 2).map_err(|error| read_error(path, error))?;
    let named_gzip = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let gzipped = start == [0x1f, 0x8b];
    if named_gzip && !gzipped && !start.is_empty() {
        return Err(Error::Data(format!("{}: is named .gz and is not gzipped; rename it", path.display())));
    }
    let whole = Cursor::new(start).chain(source);
    let mut source: Source = if gzipped {
        // Concatenated gzip members are one file, as gunzip has it.
        Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole)))
    } else {
        Box::new(whole)
    };

    let mut start = peek(&mut source, 3).map_err(|error| read_error(path, error))?;
    let encoding = match Encoding::for_bom(&start) {
        Some((marked, length)) => {
            start.drain(..length);
            marked
        }
        None => asked.unwrap_or(UTF_8),
    };
    let source: Source = Box::new(Cursor::new(start).chain(source));
    if encoding == UTF_8 {
        // Nothing to decode: a malformed byte stays malformed, and its row is found by the same check.
        return Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, source)));
    }
    Ok(Box::new(Utf8Decoder::new(source, encoding)))
}

/// What to tell the user about bytes that are not text in `encoding` (the empty name: the default).
pub(super) fn encoding_advice(encoding: &str) -> String {
    let name = match encoding_by_name(encoding).ok().flatten() {
        Some(encoding) => encoding.name(),
        None => "UTF-8",
    };
    let other = if name == "UTF-8" { "euc-kr or latin1" } else { "utf-8" };
    format!(
        "has bytes that are not {name}; set `encoding` (or --encoding) to the file's own (such as {other}), or repair the row"
    )
}

/// The encodings whose text is full of zero bytes when it is read as something else.
pub(super) fn looks_like_utf16(encoding: &str, text: &[u8]) -> bool {
    let asked = encoding_by_name(encoding).ok().flatten();
    asked != Some(UTF_16LE) && asked != Some(UTF_16BE) && text.contains(&0)
}

/// An error of reading `path`: damage inside a compressed file is the data's fault, the rest the system's.
pub(super) fn read_error(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
            Error::Data(format!("{}: the compressed file is damaged or cut short; copy it anew", path.display()))
        }
        _ => Error::Io { path: path.to_path_buf(), action: "read", source },
    }
}

/// Up to `count` bytes; fewer only at the end.
fn peek(source: &mut Source, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

struct Utf8Decoder {
    source: Source,
    decoder: Decoder,
    input: Vec<u8>,
    input_start: usize,
    input_end: usize,
    at_end: bool,
    finished: bool,
    output: Vec<u8>,
    output_start: usize,
    output_end: usize,
}

impl Utf8Decoder {
    fn new(source: Source, encoding: &'static Encoding) -> Utf8Decoder {
        Utf8Decoder {
            source,
            decoder: encoding.new_decoder_without_bom_handling(),
            input: vec![0; BUFFER_BYTES],
            input_start: 0,
            input_end: 0,
            at_end: false,
            finished: false,
            output: vec![0; BUFFER_BYTES],
            output_start: 0,
            output_end: 0,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.output_start = 0;
        self.output_end = 0;
        while self.output_end == 0 && !self.finished {
            if self.input_start == self.input_end && !self.at_end {
                let read = match self.source.read(&mut self.input) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result?,
                };
                self.input_start = 0;
                self.input_end = read;
                self.at_end = read == 0;
            }
            // One byte of the output is kept for the mark of a malformed sequence.
            let room = self.output.len() - 1;
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
                &self.input[self.input_start..self.input_end],
                &mut self.output[..room],
                self.at_end,
            );
            self.input_start += read;
            self.output_end = written;
            match result {
                DecoderResult::InputEmpty => self.finished = self.at_end,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(_, _) => {
                    self.output[written] = MALFORMED;
                    self.output_end = written + 1;
                }
            }
        }
        Ok(())
    }
}

impl BufRead for Utf8Decoder {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.output_start == self.output_end {
            self.refill()?;
        }
        Ok(&self.output[self.output_start..self.output_end])
    }

    fn consume(&mut self, count: usize) {
        self.output_start = (self.output_start + count).min(self.output_end);
    }
}

impl Read for Utf8Decoder {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;

    fn decode(bytes: &[u8], encoding: &str) -> Vec<u8> {
        let mut text = Vec::new();
        let source: Source = Box::new(Cursor::new(bytes.to_vec()));
        open_text(source, Path::new("a.csv"), encoding).unwrap().read_to_end(&mut text).unwrap();
        text
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn decodes_encodings_marks_and_gzip() {
        assert_eq!(decode(b"\xEF\xBB\xBFa", ""), b"a");
        assert_eq!(decode(b"\xFF\xFEa\0\xAC\x20", ""), "a€".as_bytes());
        assert_eq!(decode(b"\xFE\xFF\0a", "latin1"), b"a", "a byte-order mark wins");
        assert_eq!(decode(b"caf\xE9", "latin1"), "café".as_bytes());
        // 0x8C 0x63 is a syllable that only CP949 has.
        assert_eq!(decode(b"\xB9\xDF\xBF\xAD", "cp949"), "발열".as_bytes());
        assert_eq!(decode(b"\x8C\x63", "CP949"), "똠".as_bytes());
        assert_eq!(decode(&gzip(b"caf\xE9"), "latin1"), "café".as_bytes());
        let two_members = [gzip(b"a\n"), gzip(b"b\n")].concat();
        assert_eq!(decode(&two_members, ""), b"a\nb\n");
        assert_eq!(decode(b"", "utf-16le"), b"");
    }

    #[test]
    fn malformed_bytes_are_marked_not_replaced() {
        assert_eq!(decode(b"a\xB9", "euc-kr"), b"a\xFF");
        assert_eq!(decode(b"a\0\x00\xD8b\0", "utf-16le"), b"a\xFFb");
        assert_eq!(decode(b"a\xE9", "utf-8"), b"a\xE9");
        assert_eq!(decode(b"a\0b", "utf-16le").last(), Some(&0xFF), "half a code unit");
    }

    #[test]
    fn long_text_crosses_the_buffers() {
        let text = "발열 fever ".repeat(30_000);
        let (bytes, _, _) = encoding_rs::EUC_KR.encode(&text);
        assert_eq!(decode(&bytes, "euc-kr"), text.as_bytes());
    }

    #[test]
    fn unknown_names_and_false_gzip_are_errors() {
        let error = encoding_by_name("ecu-kr").unwrap_err().to_string();
        assert!(error.contains("did you mean \"euc-kr\""), "{error}");
        let source: Source = Box::new(Cursor::new(b"a,b".to_vec()));
        assert!(open_text(source, Path::new("a.csv.gz"), "").is_err());
    }

    #[test]
    fn a_cut_gzip_file_is_an_error_of_the_data() {
        let mut bytes = gzip("fever\n".repeat(1000).as_bytes());
        bytes.truncate(bytes.len() / 2);
        let source: Source = Box::new(Cursor::new(bytes));
        let mut reader = open_text(source, Path::new("a.csv.gz"), "").unwrap();
        let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(read_error(Path::new("a.csv.gz"), error), Error::Data(_)));
    }
}
