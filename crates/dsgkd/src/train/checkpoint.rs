//! Checkpoints: parameters, moments and progress of a training in one file that is there whole or not at all.
//!
//! A safetensors file with the arenas `parameters`, `exp_avg` and `exp_avg_sq` and, in its metadata, the progress as JSON and a
//! fingerprint of the layout, so that a checkpoint of another model is refused.

use crate::data::hexadecimal;
use crate::error::{Error, Result};
use crate::run::atomic::write_file;
use dsgkd_encoder::Layout;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;

/// The arenas of a training; a file of best weights holds `parameters` alone.
pub struct Arenas<'a> {
    /// Names and shapes.
    pub layout: &'a Layout,
    /// `[len]`
    pub parameters: &'a [f32],
    /// AdamW's moments, `[len]` each.
    pub moments: Option<(&'a [f32], &'a [f32])>,
}

/// The arenas to read into.
pub struct ArenasMut<'a> {
    /// Names and shapes.
    pub layout: &'a Layout,
    /// `[len]`
    pub parameters: &'a mut [f32],
    /// AdamW's moments, `[len]` each; `None`: not wanted.
    pub moments: Option<(&'a mut [f32], &'a mut [f32])>,
}

fn fingerprint(layout: &Layout) -> String {
    let mut hash = Sha256::new();
    for spec in layout.tensors() {
        hash.update(format!("{}{:?}\n", spec.name, spec.shape));
    }
    hexadecimal(hash)
}

/// Writes a checkpoint aside and renames it.
pub fn save(path: &Path, arenas: &Arenas, progress: &impl Serialize) -> Result<()> {
    let broken = |error: String| Error::Model(format!("{}: cannot be encoded: {error}", path.display()));
    let mut tensors = vec![("parameters", arenas.parameters)];
    if let Some((exp_avg, exp_avg_sq)) = arenas.moments {
        tensors.extend([("exp_avg", exp_avg), ("exp_avg_sq", exp_avg_sq)]);
    }
    let mut views = vec![];
    for (name, values) in tensors {
        let view = TensorView::new(Dtype::F32, vec![values.len()], bytemuck::cast_slice(values));
        views.push((name, view.map_err(|error| broken(error.to_string()))?));
    }
    let progress = serde_json::to_string(progress).map_err(|error| broken(error.to_string()))?;
    let metadata = HashMap::from([
        ("layout".to_string(), fingerprint(arenas.layout)),
        ("progress".to_string(), progress),
        ("checksum".to_string(), checksum(views.iter().map(|(_, view)| view.data()))),
    ]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| broken(error.to_string()))?;
    write_file(path, |out| out.write_all(&bytes))
}

fn checksum<'a>(parts: impl Iterator<Item = &'a [u8]>) -> String {
    let mut sum = 0u32;
    for part in parts {
        sum = crc32c::crc32c_append(sum, part);
    }
    format!("{sum:08x}")
}

/// Reads a checkpoint back, and returns the progress.
///
/// # Errors
/// Names the file when it is damaged or belongs to another model.
pub fn load<P: DeserializeOwned>(path: &Path, arenas: ArenasMut) -> Result<P> {
    let bytes = std::fs::read(path).map_err(Error::io(path, "read"))?;
    let damaged = || Error::Model(format!("{}: is damaged; delete it to resume from the one before", path.display()));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged())?;
    let metadata = header.metadata().clone().unwrap_or_default();
    if metadata.get("layout") != Some(&fingerprint(arenas.layout)) {
        return Err(Error::Model(format!(
            "{}: belongs to another model than the one that this configuration makes",
            path.display()
        )));
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
    let mut names = vec!["parameters"];
    let mut targets = vec![arenas.parameters];
    if let Some((exp_avg, exp_avg_sq)) = arenas.moments {
        names.extend(["exp_avg", "exp_avg_sq"]);
        targets.extend([exp_avg, exp_avg_sq]);
    }
    let all = ["parameters", "exp_avg", "exp_avg_sq"].iter().filter_map(|name| tensors.tensor(name).ok());
    if metadata.get("checksum") != Some(&checksum(all.map(|view| view.data()))) {
        return Err(damaged());
    }
    for (name, target) in names.into_iter().zip(targets) {
        let view = tensors.tensor(name).map_err(|_| damaged())?;
        let values = view.data().as_chunks::<4>().0;
        if view.dtype() != Dtype::F32 || values.len() != target.len() {
            return Err(damaged());
        }
        target.iter_mut().zip(values).for_each(|(value, bytes)| *value = f32::from_le_bytes(*bytes));
    }
    metadata.get("progress").and_then(|text| serde_json::from_str(text).ok()).ok_or_else(damaged)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use dsgkd_encoder::{Heads, Model};
    use serde_json::json;

    fn model(hidden: usize) -> Model {
        let config = json!({"model_type": "bert", "vocab_size": 9, "hidden_size": hidden, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 8});
        Model::fresh(config, &Heads::default(), 1).unwrap()
    }

    #[test]
    fn what_was_saved_is_loaded_and_damage_or_another_model_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint-000001.safetensors");
        let model = model(4);
        let len = model.values.len();
        let (first, second) = (vec![1f32; len], vec![2f32; len]);
        let arenas = Arenas { layout: model.layout(), parameters: &model.values, moments: Some((&first, &second)) };
        save(&path, &arenas, &json!({"step": 1})).unwrap();
        let read = |model: &Model| {
            let len = model.values.len();
            let (mut p, mut m, mut v) = (vec![0f32; len], vec![0f32; len], vec![0f32; len]);
            let target = ArenasMut { layout: model.layout(), parameters: &mut p, moments: Some((&mut m, &mut v)) };
            load::<serde_json::Value>(&path, target).map(|progress| (p, m, v, progress))
        };
        let (p, m, v, progress) = read(&model).unwrap();
        assert!(p == model.values && m == first && v == second && progress["step"] == 1);
        assert!(read(&self::model(6)).unwrap_err().to_string().contains("another model"));
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(read(&model).unwrap_err().to_string().contains("damaged"));
        for keep in [0, 5, 40, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..keep]).unwrap();
            assert!(read(&model).is_err());
        }
    }
}
