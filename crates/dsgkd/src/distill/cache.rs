//! What a frozen teacher said of notes so far, in memory or in a file, within a budget of bytes.
//!
//! Whether a note is kept never changes a number: what is kept is what the teacher says again, and numbers that are kept in half
//! precision are rounded before they are used for the first time.

use super::Example;
use super::feature_file::{FeatureFile, Key};
use super::teacher::{Teacher, TeacherFeatures};
use crate::config::TeacherCacheDtype;
use crate::error::Result;
use crate::text::TeacherView;
use half::f16;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What one teacher said of notes so far; notes beyond the budget are asked about again.
#[derive(Default)]
pub struct TeacherCache {
    dtype: TeacherCacheDtype,
    store: Store,
}

#[derive(Default)]
enum Store {
    #[default]
    Nothing,
    /// By the notes' places in the training set.
    Memory { budget: usize, used: usize, notes: Vec<Option<Kept>> },
    /// By a hash of what the teacher reads, under the hash of the teacher.
    File { file: FeatureFile, teacher: [u8; 32] },
}

#[derive(Clone)]
enum Kept {
    Exact(Arc<TeacherFeatures>),
    Encoded(Box<[u8]>),
}

impl Kept {
    fn bytes(&self) -> usize {
        size_of::<Kept>()
            + match self {
                Kept::Exact(features) => {
                    size_of::<TeacherFeatures>() + (features.hidden.len() + features.rows.len()) * size_of::<f32>()
                }
                Kept::Encoded(bytes) => bytes.len(),
            }
    }
}

impl TeacherCache {
    /// Keeps nothing.
    pub fn nothing() -> TeacherCache {
        TeacherCache::default()
    }

    /// Keeps up to `budget` bytes for `notes` notes in memory.
    pub fn in_memory(dtype: TeacherCacheDtype, budget: usize, notes: usize) -> TeacherCache {
        TeacherCache { dtype, store: Store::Memory { budget, used: 0, notes: vec![None; notes] } }
    }

    /// Keeps what fits into `file`, which was opened with the teacher's [`fingerprint`].
    pub fn in_file(dtype: TeacherCacheDtype, file: FeatureFile, fingerprint: [u8; 32]) -> TeacherCache {
        TeacherCache { dtype, store: Store::File { file, teacher: fingerprint } }
    }

    /// Features of the notes `indices` (of the whole training set) as `teacher` number `number` sees them, kept or
    /// asked for. Notes without terms are never run.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] of the file.
    pub fn features(
        &mut self,
        teacher: &Teacher,
        number: usize,
        indices: &[usize],
        examples: &[&Example],
    ) -> Result<Vec<Arc<TeacherFeatures>>> {
        let mut found = Vec::with_capacity(indices.len());
        for (index, example) in indices.iter().zip(examples) {
            let view = &example.views[number];
            found.push(if view.terms.is_empty() { Some(Arc::default()) } else { self.kept(*index, view)? });
        }
        let unknown: Vec<usize> = (0..found.len()).filter(|at| found[*at].is_none()).collect();
        let said: Vec<TeacherFeatures> =
            unknown.par_iter().map(|at| self.rounded(teacher.features(&examples[*at].views[number]))).collect();
        for (at, features) in unknown.into_iter().zip(said) {
            let features = Arc::new(features);
            self.keep(indices[at], &examples[at].views[number], &features)?;
            found[at] = Some(features);
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn rounded(&self, features: TeacherFeatures) -> TeacherFeatures {
        match (&self.store, self.dtype) {
            (Store::Nothing, _) | (_, TeacherCacheDtype::Float32) => features,
            (_, TeacherCacheDtype::Float16) => decode(&encode(&features, self.dtype), self.dtype).unwrap_or(features),
        }
    }

    fn kept(&mut self, index: usize, view: &TeacherView) -> Result<Option<Arc<TeacherFeatures>>> {
        let dtype = self.dtype;
        Ok(match &mut self.store {
            Store::Nothing => None,
            Store::Memory { notes, .. } => match &notes[index] {
                Some(Kept::Exact(features)) => Some(features.clone()),
                Some(Kept::Encoded(bytes)) => decode(bytes, dtype).map(Arc::new),
                None => None,
            },
            Store::File { file, teacher } => {
                file.get(&key(teacher, view))?.and_then(|bytes| decode(&bytes, dtype)).map(Arc::new)
            }
        })
    }

    fn keep(&mut self, index: usize, view: &TeacherView, features: &Arc<TeacherFeatures>) -> Result<()> {
        match &mut self.store {
            Store::Nothing => {}
            Store::Memory { budget, used, notes } => {
                let kept = match self.dtype {
                    TeacherCacheDtype::Float32 => Kept::Exact(features.clone()),
                    TeacherCacheDtype::Float16 => Kept::Encoded(encode(features, self.dtype).into()),
                };
                if *used + kept.bytes() <= *budget {
                    *used += kept.bytes();
                    notes[index] = Some(kept);
                }
            }
            Store::File { file, teacher } => file.put(key(teacher, view), &encode(features, self.dtype))?,
        }
        Ok(())
    }
}

/// The hash of a teacher's cache: of the teacher, of how numbers are kept, and of `computed_by`, what else their last bits depend on.
pub fn fingerprint(teacher: &Teacher, dtype: TeacherCacheDtype, computed_by: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(teacher.fingerprint());
    hash.update(format!("{dtype:?} {computed_by}"));
    hash.finalize().into()
}

/// The hash of all that the teacher reads of a note: its tokens (of text and tokenizer), terms and words (of the rules that find
/// and align them).
fn key(teacher: &[u8; 32], view: &TeacherView) -> Key {
    let mut hash = Sha256::new();
    hash.update(teacher);
    let mut part = |numbers: &[u32]| {
        hash.update((numbers.len() as u64).to_le_bytes());
        numbers.iter().for_each(|number| hash.update(number.to_le_bytes()));
    };
    part(&view.input_ids);
    for spans in [&view.terms, &view.words] {
        part(&spans.iter().flat_map(|span| [span.teacher.0, span.teacher.1]).collect::<Vec<u32>>());
    }
    hash.finalize().into()
}

/// `[columns, number of hidden, hidden.., rows..]`, little-endian.
fn encode(features: &TeacherFeatures, dtype: TeacherCacheDtype) -> Vec<u8> {
    let values = features.hidden.iter().chain(&features.rows);
    let mut bytes = Vec::with_capacity(16 + (features.hidden.len() + features.rows.len()) * dtype.bytes());
    bytes.extend((features.columns as u64).to_le_bytes());
    bytes.extend((features.hidden.len() as u64).to_le_bytes());
    match dtype {
        TeacherCacheDtype::Float32 => values.for_each(|value| bytes.extend(value.to_le_bytes())),
        // What is too large for a half is the largest half: an infinity would spoil the loss.
        TeacherCacheDtype::Float16 => values.for_each(|value| {
            let largest = f16::MAX.to_f32();
            bytes.extend(f16::from_f32(value.clamp(-largest, largest)).to_le_bytes());
        }),
    }
    bytes
}

/// What [`encode`] wrote; `None` for anything else.
fn decode(bytes: &[u8], dtype: TeacherCacheDtype) -> Option<TeacherFeatures> {
    let (columns, bytes) = bytes.split_first_chunk::<8>()?;
    let (split, bytes) = bytes.split_first_chunk::<8>()?;
    let mut hidden: Vec<f32> = match dtype {
        TeacherCacheDtype::Float32 => bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        TeacherCacheDtype::Float16 => {
            bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
        }
    };
    let split = usize::try_from(u64::from_le_bytes(*split)).ok().filter(|split| *split <= hidden.len())?;
    let rows = hidden.split_off(split);
    Some(TeacherFeatures { hidden, rows, columns: usize::try_from(u64::from_le_bytes(*columns)).ok()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{AttentionRows, TeacherConfig};
    use crate::text::SpanPair;
    use dsgkd_encoder::{Heads, Model};
    use serde_json::json;

    fn teacher(seed: u64) -> Teacher {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16});
        let model = Model::fresh(config, &Heads::default(), seed).unwrap();
        let student = model.architecture.clone();
        Teacher::new(model, &TeacherConfig::default(), AttentionRows::Aligned, &student).unwrap()
    }

    fn examples() -> Vec<Example> {
        let example = |note: u32| {
            let span = |start: u32, end: u32| SpanPair { student: (start, end), teacher: (start, end) };
            let terms = if note == 2 { vec![] } else { vec![span(1, 3), span(3, 4 + note % 2)] };
            let view = TeacherView {
                input_ids: (0..6 + note).map(|at| (at * 7 + note) % 30).collect(),
                words: vec![span(1, 3), span(3, 5)],
                terms,
                ..TeacherView::default()
            };
            Example { input_ids: vec![1], label: None, views: vec![view] }
        };
        (0..5).map(example).collect()
    }

    fn all(cache: &mut TeacherCache, teacher: &Teacher, examples: &[Example]) -> Vec<TeacherFeatures> {
        let (indices, examples): (Vec<usize>, Vec<&Example>) = examples.iter().enumerate().unzip();
        let found = cache.features(teacher, 0, &indices, &examples).unwrap();
        found.iter().map(|features| TeacherFeatures::clone(features)).collect()
    }

    fn in_file(dtype: TeacherCacheDtype, path: &std::path::Path, teacher: &Teacher, budget: u64) -> TeacherCache {
        let mark = fingerprint(teacher, dtype, "here");
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        TeacherCache::in_file(dtype, FeatureFile::open(file, path, &mark, budget).unwrap(), mark)
    }

    /// Notes whose features would be read and not computed.
    fn kept(cache: &mut TeacherCache, examples: &[Example]) -> Vec<usize> {
        let is_kept = |index: &usize| cache.kept(*index, &examples[*index].views[0]).unwrap().is_some();
        (0..examples.len()).filter(is_kept).collect()
    }

    #[test]
    fn whatever_is_kept_the_numbers_are_the_same() {
        let (teacher, examples) = (teacher(1), examples());
        let live = all(&mut TeacherCache::nothing(), &teacher, &examples);
        assert!(live[2] == TeacherFeatures::default() && live[0].hidden.len() == 3 * 2 * 8);
        let folder = tempfile::tempdir().unwrap();
        let one = 16 + (live[0].hidden.len() + live[0].rows.len()) * 4 + 200;
        for (number, budget) in [0, one, 1 << 20].into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            let dtype = TeacherCacheDtype::Float32;
            for mut cache in [
                TeacherCache::in_memory(dtype, budget, examples.len()),
                in_file(dtype, &path, &teacher, budget as u64),
                in_file(dtype, &path, &teacher, budget as u64), // what the one before wrote
            ] {
                for _ in 0..3 {
                    assert_eq!(all(&mut cache, &teacher, &examples), live);
                }
                assert_eq!(kept(&mut cache, &examples), [&[][..], &[0], &[0, 1, 3, 4]][number]);
            }
        }
    }

    #[test]
    fn halves_are_rounded_before_their_first_use_whether_they_fit_or_not() {
        let (teacher, examples) = (teacher(1), examples());
        let live = all(&mut TeacherCache::nothing(), &teacher, &examples);
        let dtype = TeacherCacheDtype::Float16;
        let folder = tempfile::tempdir().unwrap();
        let mut first = TeacherCache::in_memory(dtype, 0, examples.len());
        let rounded = all(&mut first, &teacher, &examples);
        assert_ne!(rounded, live);
        for (a, b) in rounded.iter().flat_map(|f| &f.hidden).zip(live.iter().flat_map(|f| &f.hidden)) {
            assert!((a - b).abs() <= b.abs() / 1024.0);
        }
        for mut cache in [
            TeacherCache::in_memory(dtype, 1 << 20, examples.len()),
            in_file(dtype, &folder.path().join("a"), &teacher, 1 << 20),
        ] {
            for _ in 0..2 {
                assert_eq!(all(&mut cache, &teacher, &examples), rounded);
            }
            assert_eq!(kept(&mut cache, &examples), [0, 1, 3, 4]);
        }
        let huge = TeacherFeatures { hidden: vec![1e9, -1e9], rows: vec![], columns: 0 };
        assert_eq!(decode(&encode(&huge, dtype), dtype).unwrap().hidden, [65504.0, -65504.0]);
    }

    #[test]
    fn what_another_teacher_or_another_text_said_is_never_used() {
        let (teacher, mut examples) = (teacher(1), examples());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let dtype = TeacherCacheDtype::Float32;
        all(&mut in_file(dtype, &path, &teacher, 1 << 20), &teacher, &examples);
        assert_eq!(kept(&mut in_file(dtype, &path, &teacher, 1 << 20), &examples), [0, 1, 3, 4]);
        // Other tokens (of another text or tokenizer), other terms, other words.
        examples[0].views[0].input_ids[1] += 1;
        examples[1].views[0].terms[0].teacher = (1, 2);
        examples[3].views[0].words[0].teacher = (1, 2);
        assert_eq!(kept(&mut in_file(dtype, &path, &teacher, 1 << 20), &examples), [4]);
        let other = self::teacher(2);
        assert!(kept(&mut in_file(dtype, &path, &other, 1 << 20), &examples).is_empty());
        // The file is the other teacher's now.
        assert!(kept(&mut in_file(dtype, &path, &teacher, 1 << 20), &examples).is_empty());
        let mut moved = self::teacher(1);
        moved.heads = crate::distill::maps::HeadPairs::Mean;
        assert_ne!(fingerprint(&moved, dtype, ""), fingerprint(&teacher, dtype, ""));
        assert_ne!(fingerprint(&teacher, dtype, "a"), fingerprint(&teacher, dtype, "b"));
        assert_ne!(fingerprint(&teacher, TeacherCacheDtype::Float16, ""), fingerprint(&teacher, dtype, ""));
    }
}
