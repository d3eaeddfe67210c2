//! TensorBoard event files: scalars in TFRecord frames (length, masked CRC-32C, protocol buffer), written by hand, for
//! the format is small and fixed.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file that is open for writing.
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Begins a new event file in `folder`; TensorBoard reads several of one folder as one run.
    pub fn create(folder: &Path) -> Result<EventWriter> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder, "create"))?;
        let path = folder.join(format!("events.out.tfevents.{:.6}.dsgkd", now()));
        let file = File::create(&path).map_err(Error::io(&path, "create"))?;
        let mut writer = EventWriter { path, file };
        let mut event = vec![];
        put_double(&mut event, 1, now());
        put_bytes(&mut event, 3, b"brain.Event:2");
        writer.write(&event)?;
        Ok(writer)
    }

    /// Appends named values at a step.
    pub fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = vec![];
        for (tag, value) in values {
            let mut entry = vec![];
            put_bytes(&mut entry, 1, tag.as_bytes());
            put_varint(&mut entry, 2 << 3 | 5);
            entry.extend_from_slice(&(*value as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &entry);
        }
        let mut event = vec![];
        put_double(&mut event, 1, now());
        put_varint(&mut event, 2 << 3);
        put_varint(&mut event, step);
        put_bytes(&mut event, 5, &summary);
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let frame = [&length[..], &masked_crc(&length), event, &masked_crc(event)].concat();
        self.file.write_all(&frame).map_err(Error::io(&self.path, "write"))
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    let crc = crc32c::crc32c(bytes);
    crc.rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_varint(out, field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn frames_hold_sound_checksums_and_the_values() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        writer.scalars(300, &[("train/loss", 0.5), ("b", 2.0)]).unwrap();
        let mut rest = &std::fs::read(&writer.path).unwrap()[..];
        let mut events = vec![];
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], masked_crc(&rest[..8]));
            assert_eq!(rest[12 + length..16 + length], masked_crc(&rest[12..12 + length]));
            events.push(&rest[12..12 + length]);
            rest = &rest[16 + length..];
        }
        assert!(events[0].ends_with(b"brain.Event:2"));
        // After the time: step (field 2, 300 = 0xAC 0x02), then the summary.
        assert_eq!(events[1][9..12], [0x10, 0xAC, 0x02]);
        let text = b"\x0a\x0atrain/loss\x15\x00\x00\x00\x3f";
        assert!(events[1].windows(text.len()).any(|window| window == text));
    }

    #[test]
    fn the_checksum_is_that_of_the_published_vector() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0u8; 32]), 0x8A91_36AA);
    }
}
