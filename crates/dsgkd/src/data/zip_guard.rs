//! Refuses zip archives that unpack to far more than they weigh, before a workbook reader takes them into memory.
//!
//! Both what the archive declares and what it really unpacks to are checked: a declaration can lie. And only an archive with one list of
//! entries is let through: of several, the reader might take another than the one checked here.

use crate::error::{Error, Result};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Unpacked bytes of one entry.
const MAX_ENTRY_BYTES: u64 = 200 << 20;
/// Unpacked bytes of all entries.
const MAX_TOTAL_BYTES: u64 = 400 << 20;
/// A workbook has tens of entries.
const MAX_ENTRIES: usize = 10_000;

/// Bytes of the list of entries, which is held whole.
const MAX_DIRECTORY_BYTES: u32 = 16 << 20;

const END_RECORD: usize = 22;
const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const ENTRY_SIGNATURE: &[u8] = b"PK\x01\x02";
/// Bytes at the archive's end in which end records are looked for: somewhat more than a comment can have, as the reader looks.
const TAIL_BYTES: u64 = 65_536 + 256;

struct Entry {
    method: u16,
    packed: u64,
    unpacked: u64,
    header: u64,
}

/// Checks every entry of the archive and leaves the source at its start.
pub(super) fn check_archive(file: &Path, source: &mut (impl Read + Seek)) -> Result<()> {
    let refuse = |why: &str| Err(Error::Data(format!("{}: {why}; save the workbook anew or as CSV", file.display())));
    let entries = match read_directory(source) {
        Ok(Some(entries)) => entries,
        Ok(None) => return refuse("is not an XLSX workbook, or is damaged or cut short"),
        Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            return Err(Error::Io { path: file.to_path_buf(), action: "read", source });
        }
        Err(_) => return refuse("is not an XLSX workbook, or is damaged or cut short"),
    };
    let declared: u64 = entries.iter().map(|entry| entry.unpacked).fold(0, u64::saturating_add);
    if entries.iter().any(|entry| entry.unpacked > MAX_ENTRY_BYTES) || declared > MAX_TOTAL_BYTES {
        return refuse("unpacks to more than 200 MiB");
    }
    let mut left = MAX_TOTAL_BYTES;
    for entry in &entries {
        match unpacked_size(source, entry, MAX_ENTRY_BYTES.min(left)) {
            Ok(Some(size)) => left = left.saturating_sub(size),
            Ok(None) => return refuse("unpacks to more than 200 MiB"),
            Err(_) => return refuse("is not an XLSX workbook, or is damaged or cut short"),
        }
    }
    source.seek(SeekFrom::Start(0)).map_err(Error::io(file, "read"))?;
    Ok(())
}

/// The archive's list of entries; `None` when there is none that a workbook could have, or when it is not clear which it is: the reader falls
/// back to an earlier end record where the last is of an archive on many disks, or does not stand where it should.
fn read_directory(source: &mut (impl Read + Seek)) -> io::Result<Option<Vec<Entry>>> {
    let length = source.seek(SeekFrom::End(0))?;
    let tail_start = length.saturating_sub(TAIL_BYTES);
    source.seek(SeekFrom::Start(tail_start))?;
    let mut tail = Vec::new();
    source.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let places = (0..(tail.len() + 1).saturating_sub(END_RECORD)).rev();
    let mut records = places.filter(|&at| tail[at..].starts_with(END_SIGNATURE));
    let Some(last) = records.next() else {
        return Ok(None);
    };
    let earlier: Vec<usize> = records.collect();

    let (end, position) = (&tail[last..], tail_start + last as u64);
    let is_on_one_disk = u16_at(end, 4) == 0 && u16_at(end, 6) == 0 && u16_at(end, 8) == u16_at(end, 10);
    let comment_ends = position + END_RECORD as u64 + u64::from(u16_at(end, 20));
    let (count, size, start) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
    if !is_on_one_disk || comment_ends != length || usize::from(count) > MAX_ENTRIES || size > MAX_DIRECTORY_BYTES {
        return Ok(None);
    }
    let (size, start) = (u64::from(size), u64::from(start));
    if start + size > position {
        return Ok(None);
    }
    // A 64-bit end record may stand between the list and its end record; entries that end there would be the reader's list.
    let is_apart = start + size < position;
    if is_apart && (!earlier.is_empty() || stands_at(source, position - size, ENTRY_SIGNATURE)?) {
        return Ok(None);
    }
    for at in earlier {
        if has_directory(source, &tail[at..], tail_start + at as u64)? {
            return Ok(None);
        }
    }

    source.seek(SeekFrom::Start(start))?;
    let mut directory = Vec::new();
    source.take(size).read_to_end(&mut directory)?;
    let mut entries = Vec::new();
    let mut rest = directory.as_slice();
    for _ in 0..count {
        if rest.len() < 46 || !rest.starts_with(ENTRY_SIGNATURE) {
            return Ok(None);
        }
        entries.push(Entry {
            method: u16_at(rest, 10),
            packed: u64::from(u32_at(rest, 20)),
            // The mark of a 64-bit size, 0xFFFFFFFF, is over the limit too.
            unpacked: u64::from(u32_at(rest, 24)),
            header: u64::from(u32_at(rest, 42)),
        });
        let entry_length = 46 + [28, 30, 32].map(|at| usize::from(u16_at(rest, at))).iter().sum::<usize>();
        rest = rest.get(entry_length..).unwrap_or_default();
    }
    Ok(Some(entries))
}

/// Whether a list of entries stands where an end record at `position` says, or right before it.
fn has_directory(source: &mut (impl Read + Seek), record: &[u8], position: u64) -> io::Result<bool> {
    let (size, start) = (u64::from(u32_at(record, 12)), u64::from(u32_at(record, 16)));
    for place in [start, position.saturating_sub(size)] {
        if place < position && stands_at(source, place, ENTRY_SIGNATURE)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn stands_at(source: &mut (impl Read + Seek), place: u64, signature: &[u8]) -> io::Result<bool> {
    source.seek(SeekFrom::Start(place))?;
    let mut bytes = Vec::new();
    source.take(signature.len() as u64).read_to_end(&mut bytes)?;
    Ok(bytes == signature)
}

/// What an entry really unpacks to; `None` when that is more than `limit` bytes.
fn unpacked_size(source: &mut (impl Read + Seek), entry: &Entry, limit: u64) -> io::Result<Option<u64>> {
    source.seek(SeekFrom::Start(entry.header))?;
    let mut header = [0; 30];
    source.read_exact(&mut header)?;
    let skip = i64::from(u16_at(&header, 26)) + i64::from(u16_at(&header, 28));
    source.seek(SeekFrom::Current(skip))?;
    let packed = source.take(entry.packed);
    let size = match entry.method {
        8 => io::copy(&mut flate2::read::DeflateDecoder::new(packed).take(limit + 1), &mut io::sink())?,
        _ => entry.packed,
    };
    Ok((size <= limit).then_some(size))
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// `before` and, after it, an archive of one entry that is stored as it is.
    fn archive(before: &[u8], content: &[u8]) -> Vec<u8> {
        // Version, flags, method, time, date, CRC, sizes, length of the name: the same in both headers.
        let length = (content.len() as u32).to_le_bytes();
        let common = [&[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0][..], &length, &length, &[1, 0]].concat();
        let place = (before.len() as u32).to_le_bytes();
        let mut archive = [before, b"PK\x03\x04", &common, &[0, 0], b"a", content].concat();
        let directory = [ENTRY_SIGNATURE, &[20, 0], &common, &[0; 12], &place, b"a"].concat();
        let (start, size) = ((archive.len() as u32).to_le_bytes(), (directory.len() as u32).to_le_bytes());
        archive.extend(directory);
        archive.extend([END_SIGNATURE, &[0, 0, 0, 0, 1, 0, 1, 0], &size, &start, &[0, 0]].concat());
        archive
    }

    fn is_refused(bytes: &[u8]) -> bool {
        match check_archive(Path::new("a.xlsx"), &mut Cursor::new(bytes)) {
            Ok(()) => false,
            Err(Error::Data(_)) => true,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_archive_is_on_one_disk_and_ends_with_its_record() {
        let whole = archive(b"", b"sheet");
        assert!(!is_refused(&whole));
        let end = whole.len() - END_RECORD;
        // The disk, the disk of the list, the entries on this disk and in all, the length of the comment.
        for field in [4, 6, 8, 10, 20] {
            let mut changed = whole.clone();
            changed[end + field] += 1;
            assert!(is_refused(&changed), "field {field}");
        }
        let with_more = [&whole[..], b"x"].concat();
        assert!(is_refused(&with_more));
        let mut with_comment = with_more;
        with_comment[end + 20] = 1;
        assert!(!is_refused(&with_comment));
    }

    #[test]
    fn of_several_lists_of_entries_none_is_trusted() {
        let first = archive(b"", b"what the reader would take");
        let both = archive(&first, b"what was checked");
        assert!(is_refused(&both));
        let mut many_disks = both.clone();
        many_disks[both.len() - END_RECORD + 4] = 1;
        assert!(is_refused(&many_disks));
        // A signature by chance is no list.
        let chance = [END_SIGNATURE, &[0xFF; 30]].concat();
        assert!(!is_refused(&archive(b"", &chance)));
    }

    #[test]
    fn a_list_apart_from_its_record_is_the_only_one() {
        let whole = archive(b"", b"sheet");
        let end = whole.len() - END_RECORD;
        let with = |between: &[u8]| [&whole[..end], between, &whole[end..]].concat();
        assert!(!is_refused(&with(&[0; 20])));
        let list = whole.windows(4).position(|bytes| bytes == ENTRY_SIGNATURE).unwrap_or(end);
        assert!(is_refused(&with(&whole[list..end])));
        assert!(is_refused(&with(&whole[end..])));
    }
}
