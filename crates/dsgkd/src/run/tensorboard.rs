//! TensorBoard event files: scalars in TFRecord frames (length, masked CRC-32C, protocol buffer), written by hand, for
//! the format is small and fixed.

use crate::error::{Error, Result};
use crate::private::{create_private_folder, private_file};
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
        create_private_folder(folder).map_err(Error::io(folder, "create"))?;
        let path = folder.join(format!("events.out.tfevents.{:.6}.dsgkd", now()));
        let file = private_file().append(true).create(true).open(&path).map_err(Error::io(&path, "create"))?;
        let mut writer = EventWriter { path, file };
        let mut event = vec![];
        put_double(&mut event, 1, now());
        put_bytes(&mut event, 3, b"brain.Event:2");
        writer.write(&event)?;
        Ok(writer)
    }

    /// Says that the run goes on from `step`: TensorBoard then drops the later points of earlier event files, which will
    /// be computed again.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn restart(&mut self, step: u64) -> Result<()> {
        let mut event = vec![];
        put_double(&mut event, 1, now());
        put_varint(&mut event, 2 << 3);
        put_varint(&mut event, step + 1);
        // SessionLog { status: START }
        put_bytes(&mut event, 7, &[0x08, 1]);
        self.write(&event)
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

    /// A protobuf field: its number and its bytes (a varint as eight bytes).
    fn fields(mut message: &[u8]) -> Vec<(u8, Vec<u8>)> {
        fn number(message: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = message[0];
                *message = &message[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut fields = vec![];
        while !message.is_empty() {
            let key = number(&mut message) as u8;
            let length = match key & 7 {
                0 => {
                    fields.push((key >> 3, number(&mut message).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => number(&mut message) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, message[..length].to_vec()));
            message = &message[length..];
        }
        fields
    }

    fn events(path: &Path) -> Vec<Vec<(u8, Vec<u8>)>> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], vec![]);
        // The checksum of an independent source: CRC-32C bit by bit.
        let checksum =
            |bytes: &[u8]| {
                let crc =
                    !bytes.iter().fold(!0u32, |crc, byte| {
                        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                            if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 }
                        })
                    });
                crc.rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
            };
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], checksum(&rest[..8]));
            let message = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], checksum(message));
            events.push(fields(message));
            rest = &rest[16 + length..];
        }
        events
    }

    fn field(fields: &[(u8, Vec<u8>)], number: u8) -> &[u8] {
        &fields.iter().find(|field| field.0 == number).unwrap().1
    }

    #[test]
    fn written_scalars_are_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path()).unwrap();
        let far = u64::from(u32::MAX) + 7;
        writer.scalars(300, &[("train/loss", 0.25), ("검증/f1", -1.5)]).unwrap();
        writer.scalars(far, &[("train/loss", f64::NAN)]).unwrap();
        writer.restart(9).unwrap();
        let events = events(&writer.path);
        assert_eq!(events.len(), 4);
        assert_eq!(field(&events[0], 3), b"brain.Event:2");
        assert!(f64::from_le_bytes(field(&events[1], 1).try_into().unwrap()) > 1.7e9);
        assert_eq!(field(&events[1], 2), 300u64.to_le_bytes());
        assert_eq!(field(&events[2], 2), far.to_le_bytes());
        assert_eq!((field(&events[3], 2), field(&events[3], 7)), (&10u64.to_le_bytes()[..], &[8u8, 1][..]));
        let values: Vec<_> = fields(field(&events[1], 5)).iter().map(|(_, value)| fields(value)).collect();
        assert_eq!((field(&values[0], 1), field(&values[0], 2)), (&b"train/loss"[..], &0.25f32.to_le_bytes()[..]));
        assert_eq!((field(&values[1], 1), field(&values[1], 2)), ("검증/f1".as_bytes(), &(-1.5f32).to_le_bytes()[..]));
    }

    #[test]
    fn the_checksum_is_that_of_the_published_vector() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(crc32c::crc32c(&[0u8; 32]), 0x8A91_36AA);
    }
}
