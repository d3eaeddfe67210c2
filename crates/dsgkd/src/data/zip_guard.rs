//! Refuses zip archives that unpack to far more than they weigh, before a workbook reader takes them into memory.
//!
//! Both what the archive declares and what it really unpacks to are checked: a declaration can lie.

use crate::error::{Error, Result};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Unpacked bytes of one entry.
const MAX_ENTRY_BYTES: u64 = 200 << 20;
/// Unpacked bytes of all entries.
const MAX_TOTAL_BYTES: u64 = 400 << 20;
/// A workbook has tens of entries.
const MAX_ENTRIES: usize = 10_000;

const END_RECORD: usize = 22;
const MAX_COMMENT: u64 = 65_535;

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

/// The archive's list of entries; `None` when there is none that a workbook could have.
fn read_directory(source: &mut (impl Read + Seek)) -> io::Result<Option<Vec<Entry>>> {
    let length = source.seek(SeekFrom::End(0))?;
    let tail_length = length.min(END_RECORD as u64 + MAX_COMMENT);
    source.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    source.take(tail_length).read_to_end(&mut tail)?;
    let Some(end) =
        (0..(tail.len() + 1).saturating_sub(END_RECORD)).rev().find(|&at| tail[at..].starts_with(b"PK\x05\x06"))
    else {
        return Ok(None);
    };
    let end = &tail[end..];
    let (count, size, start) = (u16_at(end, 10), u32_at(end, 12), u32_at(end, 16));
    if usize::from(count) > MAX_ENTRIES || u64::from(start) + u64::from(size) > length {
        return Ok(None);
    }
    source.seek(SeekFrom::Start(u64::from(start)))?;
    let mut directory = Vec::new();
    source.take(u64::from(size)).read_to_end(&mut directory)?;
    let mut entries = Vec::new();
    let mut rest = directory.as_slice();
    for _ in 0..count {
        if rest.len() < 46 || !rest.starts_with(b"PK\x01\x02") {
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
