//! Tensors in safetensors files: one file, or shards with an index.

use crate::error::{Error, Result};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Number format of written weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// 32 bits.
    F32,
    /// 16 bits, half precision.
    F16,
}

/// The files of a folder's weights, mapped into memory.
pub(crate) struct WeightFiles {
    files: Vec<(PathBuf, memmap2::Mmap)>,
}

/// All tensors of a folder, by name.
pub(crate) struct Weights<'a> {
    tensors: BTreeMap<String, (usize, TensorView<'a>)>,
    paths: Vec<&'a Path>,
}

/// Weights in one file.
pub const SINGLE: &str = "model.safetensors";
/// The index of weights in several.
pub const INDEX: &str = "model.safetensors.index.json";

impl WeightFiles {
    /// Maps `model.safetensors`, or the shards that its index names.
    pub(crate) fn open(folder: &Path) -> Result<WeightFiles> {
        let files = weight_files(folder)?.into_iter().map(|path| map(&path).map(|file| (path, file)));
        Ok(WeightFiles { files: files.collect::<Result<_>>()? })
    }

    /// Reads the headers.
    pub(crate) fn tensors(&self) -> Result<Weights<'_>> {
        let mut tensors = BTreeMap::new();
        for (index, (path, file)) in self.files.iter().enumerate() {
            let parsed = SafeTensors::deserialize(file).map_err(|error| {
                Error::folder(path, format!("is not a sound safetensors file ({error}); copy or download it again"))
            })?;
            for (name, view) in parsed.iter() {
                tensors.insert(name.to_string(), (index, view));
            }
        }
        Ok(Weights { tensors, paths: self.files.iter().map(|(path, _)| path.as_path()).collect() })
    }
}

/// `model.safetensors`, or the shards that the folder's index names, which need not be there.
///
/// # Errors
/// There is neither, or the index is broken.
pub fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
    if single.exists() {
        Ok(vec![single])
    } else if index.exists() {
        shards(folder, &index)
    } else {
        Err(no_weights(folder))
    }
}

fn map(path: &Path) -> Result<memmap2::Mmap> {
    let file = File::open(path).map_err(Error::io(path, "read"))?;
    // SAFETY: the mapping is read once while loading; a file that another process shortens meanwhile would end this
    // one with a signal, as it would any reader of a map.
    #[allow(unsafe_code)]
    unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path, "read"))
}

/// The files in `folder` that an index names.
///
/// # Errors
/// It cannot be read or is no index.
pub fn shards(folder: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string(index).map_err(Error::io(index, "read"))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| Error::folder(index, format!("is not JSON: {error}")))?;
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| Error::folder(index, "has no `weight_map`"))?;
    let mut names: Vec<&str> = map.values().filter_map(|name| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() || names.iter().any(|name| name.contains(['/', '\\']) || name.starts_with('.')) {
        return Err(Error::folder(index, "`weight_map` must name files of the same folder"));
    }
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// A model is a local folder; whoever takes hub ids has fetched them by now.
///
/// # Errors
/// There is no such folder (says how to get one), it may not be entered, or it is that of a run, whose model lies in it.
pub fn require_folder(folder: &Path) -> Result<()> {
    let config = std::fs::metadata(folder.join("config.json"));
    if let Err(error) = &config
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        return Err(Error::io(folder, "read")(error.kind().into()));
    }
    let model = folder.join("model");
    if config.is_err() && model.join("config.json").is_file() {
        return Err(Error::folder(folder, format!("this is a run folder; its model is {}", model.display())));
    }
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::folder(
        folder,
        "is not a folder; give a local Hugging Face model folder (a model of the hub is fetched by its id, owner/name, where \
         dsgkd is built with `--features hub`; or download it with another tool, `hf download NAME --local-dir FOLDER`, \
         and give that folder)",
    ))
}

/// The error for a folder without safetensors: what is there instead decides what to do.
fn no_weights(folder: &Path) -> Error {
    if let Err(error) = require_folder(folder) {
        return error;
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    match entries.map(|entry| entry.path()).find(|path| is_pickle(path)) {
        Some(pickle) => refuse_pickle(&pickle),
        None => Error::folder(folder, format!("holds neither {SINGLE} nor {INDEX}")),
    }
}

/// Whether weights of this name would be a pickle.
pub fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|e| ["bin", "pt", "pth", "ckpt", "pkl"].iter().any(|p| e.eq_ignore_ascii_case(p)))
}

/// The error for pickled weights, which says how to convert them.
pub fn refuse_pickle(path: &Path) -> Error {
    Error::folder(
        path,
        "is a pickle, which can run code when opened, and is refused; convert it once where you trust it: python -c \"from \
         transformers import AutoModel; AutoModel.from_pretrained('IN').save_pretrained('OUT', safe_serialization=True)\"",
    )
}

impl Weights<'_> {
    /// Names of all tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is such a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(_, view)| view.shape())
    }

    /// Copies a tensor as `f32`; the shape has been compared.
    pub(crate) fn copy(&self, name: &str, values: &mut [f32]) -> Result<()> {
        let Some((file, view)) = self.tensors.get(name) else { return Ok(()) };
        let data = view.data();
        let path = self.paths[*file];
        macro_rules! convert {
            ($size:literal, $from:expr) => {
                for (value, bytes) in values.iter_mut().zip(data.as_chunks::<$size>().0) {
                    *value = $from(*bytes);
                }
            };
        }
        match view.dtype() {
            Dtype::F32 => convert!(4, f32::from_le_bytes),
            Dtype::F16 => convert!(2, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => convert!(2, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => convert!(8, |bytes| f64::from_le_bytes(bytes) as f32),
            other => {
                let message = format!("tensor `{name}` has numbers of type {other:?}; expected F32, F16 or BF16");
                return Err(Error::folder(path, message));
            }
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Error::folder(path, format!("tensor `{name}` holds a value that is not finite")));
        }
        Ok(())
    }
}

/// Writes tensors `(name, shape, values)` to one safetensors file, with the metadata that Hugging Face expects.
pub fn write<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize], &'a [f32])>,
    format: WeightFormat,
) -> Result<()> {
    let encoded: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = match format {
                WeightFormat::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
                WeightFormat::F16 => values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect(),
            };
            (name, shape, bytes)
        })
        .collect();
    let dtype = match format {
        WeightFormat::F32 => Dtype::F32,
        WeightFormat::F16 => Dtype::F16,
    };
    let mut views = Vec::with_capacity(encoded.len());
    for (name, shape, bytes) in &encoded {
        let view = TensorView::new(dtype, shape.to_vec(), bytes)
            .map_err(|error| Error::folder(path, format!("tensor `{name}`: {error}")))?;
        views.push((*name, view));
    }
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata))
        .map_err(|error| Error::folder(path, format!("cannot be encoded: {error}")))?;
    std::fs::write(path, bytes).map_err(Error::io(path, "write"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_folder_is_told_from_a_model_and_from_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let model = run.join("model");
        let said = |path: &Path| require_folder(path).map_err(|error| error.to_string());
        assert!(said(&run).unwrap_err().contains("is not a folder"));
        std::fs::create_dir_all(&model).unwrap();
        assert_eq!(said(&run), Ok(()));
        std::fs::write(model.join("config.json"), "{}").unwrap();
        assert_eq!(said(&model), Ok(()));
        assert!(said(&model.join("config.json")).unwrap_err().contains("is not a folder"));
        let expected = format!("{}: this is a run folder; its model is {}", run.display(), model.display());
        assert_eq!(said(&run), Err(expected.clone()));
        assert_eq!(weight_files(&run).unwrap_err().to_string(), expected);
        // What is a model itself may hold others.
        std::fs::write(run.join("config.json"), "{}").unwrap();
        assert_eq!(said(&run), Ok(()));
    }
}
