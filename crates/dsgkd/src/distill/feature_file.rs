//! A file of records under 256-bit keys, to which is only ever added: what a teacher said of notes.
//!
//! A head with the owner's fingerprint, then records of key, length, checksum and bytes. A process may be killed while it writes: a record
//! that is cut off is overwritten, one whose checksum does not hold is as if it were not there. Records are read at their places and
//! not through a memory map, which would end the process, without a word, when another one cuts the file or the disk fails.

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Name of a record.
pub type Key = [u8; 32];

const MAGIC: &[u8; 24] = b"dsgkd teacher features 1";
const HEAD: u64 = MAGIC.len() as u64 + 32;
/// Key, length, checksum.
const RECORD_HEAD: u64 = 32 + 4 + 4;

/// An open file of records.
pub struct FeatureFile {
    file: File,
    path: PathBuf,
    budget: u64,
    end: u64,
    places: HashMap<Key, Place>,
}

#[derive(Clone, Copy)]
struct Place {
    at: u64,
    length: u32,
    checksum: u32,
}

fn checksum(key: &Key, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), bytes)
}

impl FeatureFile {
    /// Finds the records of `file` (open to read and write, at `path`), or empties it when it is not `fingerprint`'s. It will not grow
    /// beyond `budget` bytes.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn open(file: File, path: &Path, fingerprint: &[u8; 32], budget: u64) -> Result<FeatureFile> {
        let mut opened = FeatureFile { file, path: path.to_path_buf(), budget, end: HEAD, places: HashMap::new() };
        opened.read_places(fingerprint).map_err(Error::io(path, "read"))?;
        Ok(opened)
    }

    fn read_places(&mut self, fingerprint: &[u8; 32]) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        let mut head = [0u8; HEAD as usize];
        self.file.rewind()?;
        let whole = size >= HEAD && self.file.read_exact(&mut head).is_ok();
        let expected: Vec<u8> = MAGIC.iter().chain(fingerprint).copied().collect();
        if !whole || head[..] != expected[..] {
            self.file.set_len(0)?;
            self.file.rewind()?;
            return self.file.write_all(&expected);
        }
        let mut reader = BufReader::new(&self.file);
        while self.end + RECORD_HEAD <= size {
            let (mut key, mut length, mut sum) = ([0u8; 32], [0u8; 4], [0u8; 4]);
            reader.read_exact(&mut key)?;
            reader.read_exact(&mut length)?;
            reader.read_exact(&mut sum)?;
            let place = Place {
                at: self.end + RECORD_HEAD,
                length: u32::from_le_bytes(length),
                checksum: u32::from_le_bytes(sum),
            };
            let end = place.at + u64::from(place.length);
            if end > size {
                break;
            }
            reader.seek_relative(i64::from(place.length))?;
            self.places.insert(key, place);
            self.end = end;
        }
        self.file.set_len(self.end)
    }

    /// The bytes under a key; `None` when there are none, or none that are whole.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file.
    pub fn get(&mut self, key: &Key) -> Result<Option<Vec<u8>>> {
        let Some(place) = self.places.get(key).copied() else { return Ok(None) };
        let mut bytes = vec![0u8; place.length as usize];
        let read = self.file.seek(SeekFrom::Start(place.at)).and_then(|_| self.file.read_exact(&mut bytes));
        match read {
            // Somebody cut the file.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(Error::io(&self.path, "read")(error)),
            Ok(()) if checksum(key, &bytes) == place.checksum => return Ok(Some(bytes)),
            Ok(()) => {}
        }
        self.places.remove(key);
        Ok(None)
    }

    /// Adds a record, if it still fits.
    ///
    /// # Errors
    /// [`Error::Io`] naming the file: the disk is full.
    pub fn put(&mut self, key: Key, bytes: &[u8]) -> Result<()> {
        let end = self.end + RECORD_HEAD + bytes.len() as u64;
        let Some(length) = u32::try_from(bytes.len()).ok().filter(|_| end <= self.budget) else { return Ok(()) };
        let place = Place { at: self.end + RECORD_HEAD, length, checksum: checksum(&key, bytes) };
        let record = [&key[..], &length.to_le_bytes(), &place.checksum.to_le_bytes(), bytes].concat();
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&record));
        written.map_err(Error::io(&self.path, "write"))?;
        self.places.insert(key, place);
        self.end = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MARK: [u8; 32] = [7; 32];

    fn open(path: &Path, mark: &[u8; 32]) -> FeatureFile {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        FeatureFile::open(file, path, mark, 1 << 20).unwrap()
    }

    fn key(number: u8) -> Key {
        [number; 32]
    }

    /// Three records, of 5, 0 and 300 bytes.
    fn written(path: &Path) -> Vec<Vec<u8>> {
        let records = vec![vec![1u8; 5], vec![], vec![9u8; 300]];
        let mut file = open(path, &MARK);
        for (number, bytes) in records.iter().enumerate() {
            file.put(key(number as u8), bytes).unwrap();
        }
        records
    }

    #[test]
    fn records_are_found_again_and_another_owner_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let records = written(&path);
        let mut file = open(&path, &MARK);
        for (number, bytes) in records.iter().enumerate() {
            assert_eq!(file.get(&key(number as u8)).unwrap().as_ref(), Some(bytes));
        }
        assert_eq!(file.get(&key(9)).unwrap(), None);
        assert_eq!(open(&path, &[8; 32]).get(&key(0)).unwrap(), None);
        assert_eq!(open(&path, &MARK).get(&key(0)).unwrap(), None, "the other owner emptied it");
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_records_and_takes_new_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let records = written(&path);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut file = open(&path, &MARK);
            let mut end = HEAD as usize;
            for (number, bytes) in records.iter().enumerate() {
                end += RECORD_HEAD as usize + bytes.len();
                assert_eq!(file.get(&key(number as u8)).unwrap().as_ref(), Some(bytes).filter(|_| end <= length));
            }
            file.put(key(5), b"new").unwrap();
            assert_eq!(open(&path, &MARK).get(&key(5)).unwrap().unwrap(), b"new");
        }
        // Cut while it is open.
        std::fs::write(&path, &whole).unwrap();
        let mut file = open(&path, &MARK);
        File::options().write(true).open(&path).unwrap().set_len(HEAD + 50).unwrap();
        assert_eq!(file.get(&key(2)).unwrap(), None);
    }

    proptest! {
        #[test]
        fn no_damage_gives_other_bytes_than_were_written(at in 0usize..500, byte: u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("f");
            let records = written(&path);
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            std::fs::write(&path, &bytes).unwrap();
            let mut file = open(&path, &MARK);
            for (number, record) in records.iter().enumerate() {
                let found = file.get(&key(number as u8)).unwrap();
                prop_assert!(found.is_none() || found.as_ref() == Some(record));
            }
        }
    }
}
