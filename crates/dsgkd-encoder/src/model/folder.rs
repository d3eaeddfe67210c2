//! Models in Hugging Face folders: `config.json` and the weights beside it, read and written.

use super::{Heads, Model, means_the_same, modeling};
use crate::architecture::Architecture;
use crate::classifier::HeadForm;
use crate::error::{Error, Result};
use crate::layout::TensorSpec;
use crate::weights::{self, WeightFiles, WeightFormat, Weights};
use serde_json::{Value, json};
use std::path::Path;

/// What a folder did not hold, or held for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that begin with fresh values.
    pub fresh: Vec<String>,
    /// Tensors of the folder that this model has no use for.
    pub surplus: Vec<String>,
}

impl Model {
    /// The sizes that a folder's `config.json` names; no weights are read.
    ///
    /// # Errors
    /// Names the file and the key at fault, or the folder that holds no weights that [`Model::open`] reads.
    pub fn architecture_of(folder: &Path) -> Result<Architecture> {
        WeightFiles::open(folder)?;
        let path = folder.join("config.json");
        Ok(Model::plan(&path, read_config(&path)?, &Heads::default())?.architecture)
    }

    /// Reads a folder (`config.json`, `model.safetensors` or shards). Tensors of heads that it lacks are fresh, from `seed`.
    ///
    /// # Errors
    /// Names the file and the key or tensors at fault: an unknown family, a missing or misshapen tensor, pickle weights.
    pub fn open(folder: &Path, heads: &Heads, seed: u64) -> Result<(Model, LoadReport)> {
        let files = WeightFiles::open(folder)?;
        let config_path = folder.join("config.json");
        let config = read_config(&config_path)?;
        let mut model = Model::plan(&config_path, config, heads)?;
        let weights = files.tensors()?;
        let prefix = format!("{}.", model.family.prefix());
        let same_form = model.config.get("dsgkd_head").and_then(Value::as_str) == heads.form.name();
        let fits = |spec: &&TensorSpec| means_the_same(&spec.name, same_form);
        let tensors = model.layout.tensors().iter();
        let found: Vec<Option<String>> =
            tensors.map(|spec| Some(spec).filter(fits).and_then(|spec| find(&weights, &spec.name, &prefix))).collect();
        let mut missing = vec![];
        let mut report = LoadReport::default();
        for (spec, found) in model.layout.tensors().iter().zip(&found) {
            let shape = found.as_ref().and_then(|name| weights.shape(name));
            match shape {
                Some(shape) if shape == spec.shape => {}
                Some(shape) if !spec.optional => {
                    let message = format!(
                        "tensor `{}` has shape {shape:?}, but config.json asks for {:?}",
                        spec.name, spec.shape
                    );
                    return Err(Error::folder(folder, message));
                }
                None if !spec.optional => missing.push(spec.name.as_str()),
                _ => report.fresh.push(spec.name.clone()),
            }
        }
        if !missing.is_empty() {
            let more = if missing.len() > 4 { format!(" and {} more", missing.len() - 4) } else { String::new() };
            missing.truncate(4);
            return Err(Error::folder(
                folder,
                format!("lacks tensor {}{more}; the weights do not belong to this config.json", missing.join(", ")),
            ));
        }
        report.surplus = model.surplus(&weights, &found);
        model.allocate(seed);
        let Model { layout, values, .. } = &mut model;
        for (spec, found) in layout.tensors().iter().zip(&found) {
            if let Some(name) = found.as_ref().filter(|name| weights.shape(name) == Some(&spec.shape)) {
                weights.copy(name, &mut values[spec.range.clone()])?;
            }
        }
        Ok((model, report))
    }

    /// Tensors of the folder that went nowhere, without buffers and tied copies that carry nothing of their own.
    fn surplus(&self, weights: &Weights, found: &[Option<String>]) -> Vec<String> {
        let tied = self.family.mlm().tied;
        weights
            .names()
            .filter(|name| !found.iter().flatten().any(|found| found == name))
            .filter(|name| !name.ends_with("position_ids") && !name.ends_with("token_type_ids") && !tied.contains(name))
            .map(str::to_string)
            .collect()
    }

    /// Writes `config.json` and `model.safetensors` into an existing folder, as Hugging Face's `save_pretrained` would. Projections
    /// stay behind. Heads that are no class of `transformers` are named in the folder's `dsgkd_head`, and their Python code (`modeling`) lies beside.
    pub fn save(&self, folder: &Path, format: WeightFormat) -> Result<()> {
        let exported = self.layout.tensors().iter().filter(|spec| self.projection(&spec.name).is_none());
        let tensors = exported.map(|spec| (spec.name.as_str(), &spec.shape[..], &self.values[spec.range.clone()]));
        weights::write(&folder.join("model.safetensors"), tensors, format)?;
        let path = folder.join("config.json");
        let text = serde_json::to_string_pretty(&self.exported_config(format))
            .map_err(|error| Error::folder(&path, error.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(Error::io(&path, "write"))?;
        let Some(code) = self.modeling_code() else { return Ok(()) };
        let path = folder.join(format!("{}.py", modeling::MODULE));
        std::fs::write(&path, code).map_err(Error::io(&path, "write"))
    }

    fn exported_config(&self, format: WeightFormat) -> Value {
        let mut config = self.config.clone();
        let dtype = match format {
            WeightFormat::F32 => "float32",
            WeightFormat::F16 => "float16",
        };
        config["torch_dtype"] = json!(dtype);
        if let Some(object) = config.as_object_mut() {
            object.remove("dtype");
            for key in modeling::KEYS {
                object.remove(key); // of what the folder held that was read
            }
        }
        let shares = [
            self.architecture.hidden_dropout_prob,
            self.architecture.attention_probs_dropout_prob,
            self.architecture.classifier_dropout,
        ];
        for (key, share) in self.family.dropout_keys().into_iter().zip(shares) {
            // Through the shortest decimal, so that 0.1 is written 0.1 and not as its nearest f32.
            config[key] = share.to_string().parse::<f64>().map_or(Value::Null, |share| json!(share));
        }
        if self.classifier.is_some() {
            config["architectures"] = json!([format!("{}ForSequenceClassification", self.python_name())]);
            config["problem_type"] = json!("single_label_classification");
            let numbered = self.classes.iter().enumerate();
            config["id2label"] = numbered.clone().map(|(id, name)| (id.to_string(), json!(name))).collect();
            config["label2id"] = numbered.map(|(id, name)| (name.clone(), json!(id))).collect();
            if let Some(object) = config.as_object_mut() {
                object.remove("num_labels");
            }
            self.name_code(&mut config);
        } else if self.mlm.is_some() {
            config["architectures"] = json!([format!("{}ForMaskedLM", self.python_name())]);
        }
        config
    }

    /// What the names of Python's classes begin with. One family serves several model types; XLM-RoBERTa's and CamemBERT's classes have names of their
    /// own.
    pub(super) fn python_name(&self) -> String {
        match self.config.get("model_type").and_then(Value::as_str) {
            Some("xlm-roberta") => "XLMRoberta".to_string(),
            Some("camembert") => "Camembert".to_string(),
            _ => self.family.python_name().to_string(),
        }
    }
}

/// The heads that a classifier's folder was written with: its class names and its form.
pub fn heads_of(folder: &Path) -> Result<Heads> {
    weights::require_folder(folder)?;
    let path = folder.join("config.json");
    let config = read_json(&path)?;
    let names = config.get("id2label").and_then(Value::as_object);
    let names = names.ok_or_else(|| Error::folder(&path, "has no `id2label`: it is not a trained classifier"))?;
    let mut classes = vec![None; names.len()];
    for (id, name) in names {
        let slot = id.parse::<usize>().ok().and_then(|id| classes.get_mut(id));
        let slot = slot.ok_or_else(|| Error::folder(&path, "`id2label` must be numbered from 0 without gaps"))?;
        *slot = name.as_str().map(str::to_string);
    }
    let classes: Option<Vec<String>> = classes.into_iter().collect();
    let classes = classes.filter(|classes| classes.len() >= 2);
    let classes = classes.ok_or_else(|| Error::folder(&path, "`id2label` must name two or more classes"))?;
    let named = config.get("dsgkd_head").and_then(Value::as_str);
    let form = [HeadForm::Family, HeadForm::Reference, HeadForm::Mean].into_iter().find(|form| form.name() == named);
    let form = form.ok_or_else(|| Error::folder(&path, "`dsgkd_head` names a head that this dsgkd does not know"))?;
    Ok(Heads { classes, form, ..Heads::default() })
}

/// A `config.json`, with the encoder's own `model_type`.
fn read_config(path: &Path) -> Result<Value> {
    let mut config = read_json(path)?;
    if let Some(own) = config.as_object_mut().and_then(|object| object.remove(modeling::MODEL_TYPE)) {
        config["model_type"] = own;
    }
    Ok(config)
}

fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    serde_json::from_str(&text).map_err(|error| Error::folder(path, format!("is not JSON: {error}")))
}

/// A tensor under its full name, without the encoder's prefix (a bare encoder's folder), or with the old names of a
/// LayerNorm's parameters.
fn find(weights: &Weights, name: &str, prefix: &str) -> Option<String> {
    let bare = name.strip_prefix(prefix).unwrap_or(name);
    [name, bare].into_iter().find_map(|name| {
        let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        [name.to_string(), old].into_iter().find(|name| weights.shape(name).is_some())
    })
}
