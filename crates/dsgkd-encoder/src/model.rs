//! A model: an encoder of a known family, its heads, and their parameters in one arena.

use crate::architecture::{Architecture, ConfigReader};
use crate::classifier::{ClassifierActivations, ClassifierSlots, HeadForm};
use crate::encoder::{
    Activations, Batch, DropoutSeed, Encoder, EncoderSlots, ForwardOptions, PackedLayers, PooledGradients,
};
use crate::error::{Error, Result};
use crate::family::{self, Family};
use crate::layout::{Group, Initial, Layout, TensorSpec, initialise};
use crate::mlm::{MlmActivations, MlmSlots};
use crate::weights::{self, WeightFiles, WeightFormat, Weights};
use dsgkd_ops::spans::{self, Span};
use dsgkd_ops::{Precision, WeightPrecision};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::Path;

/// Which heads a model shall have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Heads {
    /// Class names of a classification head.
    pub classes: Vec<String>,
    /// The form of that head.
    pub form: HeadForm,
    /// A masked-language-model head.
    pub mlm: bool,
    /// Extra `[out, in]` maps that are trained but no part of the exported model (projections of the distillation).
    pub projections: Vec<(String, [usize; 2])>,
    /// Hidden, attention and classifier dropout, where they shall differ from the folder's.
    pub dropout: [Option<f32>; 3],
}

/// What a folder did not hold, or held for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors that begin with fresh values.
    pub fresh: Vec<String>,
    /// Tensors of the folder that this model has no use for.
    pub surplus: Vec<String>,
}

/// See the module.
#[derive(Clone)]
pub struct Model {
    /// Sizes and settings.
    pub architecture: Architecture,
    /// All parameters, in the order of `layout`.
    pub values: Vec<f32>,
    /// Class names of the classification head; empty without one.
    pub classes: Vec<String>,
    family: &'static dyn Family,
    config: Value,
    layout: Layout,
    encoder: EncoderSlots,
    classifier: Option<ClassifierSlots>,
    mlm: Option<MlmSlots>,
    projections: Vec<(String, Range<usize>)>,
    form: HeadForm,
    precision: Precision,
    packed: Option<PackedLayers>,
}

impl Model {
    /// Lays out a model of a config, its parameters not yet set.
    fn plan(config_path: &Path, config: Value, heads: &Heads) -> Result<Model> {
        let reader = ConfigReader { path: config_path, json: &config };
        let family = family::of_config(&reader)?;
        let mut architecture = family.architecture(&reader)?;
        for (value, wanted) in [
            &mut architecture.hidden_dropout_prob,
            &mut architecture.attention_probs_dropout_prob,
            &mut architecture.classifier_dropout,
        ]
        .into_iter()
        .zip(heads.dropout)
        {
            *value = wanted.unwrap_or(*value);
        }
        architecture.check(config_path)?;
        let mut layout = Layout::default();
        let encoder = EncoderSlots::new(&mut layout, family, &architecture);
        let classifier = (!heads.classes.is_empty()).then(|| {
            let design = heads.form.design(family);
            ClassifierSlots::new(&mut layout, &design, family.prefix(), &architecture, heads.classes.len())
        });
        let mlm = heads.mlm.then(|| MlmSlots::new(&mut layout, &family.mlm(), &architecture));
        let projections = heads
            .projections
            .iter()
            .map(|(name, shape)| (name.clone(), layout.add(name, shape, Group::Head, Initial::Normal, true)))
            .collect();
        Ok(Model {
            architecture,
            values: vec![],
            classes: heads.classes.clone(),
            family,
            config,
            layout,
            encoder,
            classifier,
            mlm,
            projections,
            form: heads.form,
            precision: Precision::Float32,
            packed: None,
        })
    }

    /// Computes the encoder's products in `precision` from now on, as far as the processor can; parameters and sums stay `f32`.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision.available();
    }

    /// Packs the layers' weights once, for a model that only answers: its parameters must not change any more.
    pub fn pack(&mut self, precision: WeightPrecision) {
        self.packed = Some(PackedLayers::new(&self.encoder, &self.values, &self.architecture, precision));
    }

    /// Bytes of the packed weights.
    pub fn packed_bytes(&self) -> usize {
        self.packed.as_ref().map_or(0, PackedLayers::bytes)
    }

    /// A model with fresh weights, from the content of a `config.json`.
    pub fn fresh(config: Value, heads: &Heads, seed: u64) -> Result<Model> {
        let mut model = Model::plan(Path::new("config.json"), config, heads)?;
        model.allocate(seed);
        Ok(model)
    }

    fn allocate(&mut self, seed: u64) {
        self.values = vec![0f32; self.layout.len()];
        for spec in self.layout.tensors() {
            let values = &mut self.values[spec.range.clone()];
            initialise(spec, self.architecture.initializer_range, seed, values);
        }
    }

    /// The sizes that a folder's `config.json` names; no weights are read.
    ///
    /// # Errors
    /// Names the file and the key at fault, or the folder that holds no weights that [`Model::open`] reads.
    pub fn architecture_of(folder: &Path) -> Result<Architecture> {
        WeightFiles::open(folder)?;
        let path = folder.join("config.json");
        Ok(Model::plan(&path, read_json(&path)?, &Heads::default())?.architecture)
    }

    /// Reads a folder (`config.json`, `model.safetensors` or shards). Tensors of heads that it lacks are fresh, from `seed`.
    ///
    /// # Errors
    /// Names the file and the key or tensors at fault: an unknown family, a missing or misshapen tensor, pickle weights.
    pub fn open(folder: &Path, heads: &Heads, seed: u64) -> Result<(Model, LoadReport)> {
        let files = WeightFiles::open(folder)?;
        let config_path = folder.join("config.json");
        let config = read_json(&config_path)?;
        let mut model = Model::plan(&config_path, config, heads)?;
        let weights = files.tensors()?;
        let prefix = format!("{}.", model.family.prefix());
        // A classifier of another form read something else, though its last layer has the same name and shape.
        let same_form = model.config.get("dsgkd_head").and_then(Value::as_str) == heads.form.name();
        let fits = |spec: &&TensorSpec| same_form || !spec.name.contains("classifier");
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

    /// This model with more words: the word with id `first + i` begins as the mean of the words `pieces[i]`, in the word embeddings and in
    /// the bias of a masked-language-model head (whose weights are the embeddings). Ids from `first` on must not be in use yet.
    ///
    /// # Errors
    /// Two vocabularies cannot be told from each other; this never happens with a folder that [`Model::open`] read.
    pub fn with_words(&self, first: usize, pieces: &[Vec<u32>]) -> Result<Model> {
        let words = self.architecture.vocab_size.max(first + pieces.len());
        let mut config = self.config.clone();
        config["vocab_size"] = json!(words);
        let a = &self.architecture;
        let heads = Heads {
            classes: self.classes.clone(),
            form: self.form,
            mlm: self.mlm.is_some(),
            projections: vec![],
            dropout: [a.hidden_dropout_prob, a.attention_probs_dropout_prob, a.classifier_dropout].map(Some),
        };
        let mut model = Model::plan(Path::new("config.json"), config, &heads)?;
        model.values = vec![0f32; model.layout.len()];
        model.precision = self.precision;
        let Model { layout, values, encoder, .. } = &mut model;
        for spec in layout.tensors() {
            let path = Path::new("config.json");
            let old = self.layout.find(&spec.name);
            let old = old.ok_or_else(|| Error::folder(path, format!("`{}` is in one model only", spec.name)))?;
            let new = &mut values[spec.range.clone()];
            let old_values = &self.values[old.range.clone()];
            new[..old_values.len()].copy_from_slice(old_values);
            let bias = self.mlm.as_ref().is_some_and(|mlm| mlm.bias() == old.range);
            if spec.range != encoder.word && !bias {
                continue;
            }
            let width = old_values.len() / a.vocab_size;
            for (word, pieces) in pieces.iter().enumerate() {
                for column in 0..width {
                    let sum: f32 = pieces.iter().map(|piece| old_values[*piece as usize * width + column]).sum();
                    new[(first + word) * width + column] = sum / pieces.len() as f32;
                }
            }
        }
        Ok(model)
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

    /// The arena's tensors.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The parameters, to be overwritten, and where each tensor lies among them.
    pub fn arena_mut(&mut self) -> (&Layout, &mut [f32]) {
        (&self.layout, &mut self.values)
    }

    /// A projection's weights, `[out, in]`, by the name given in [`Heads`].
    pub fn projection(&self, name: &str) -> Option<Range<usize>> {
        self.projections.iter().find(|(known, _)| known == name).map(|(_, range)| range.clone())
    }

    #[cfg(feature = "portable")]
    pub(crate) fn encoder_slots(&self) -> &EncoderSlots {
        &self.encoder
    }

    /// # Panics
    /// The model was opened without classes.
    #[cfg(feature = "portable")]
    pub(crate) fn classifier_slots(&self) -> &ClassifierSlots {
        self.classifier.as_ref().expect("the model was opened with classes")
    }

    /// # Panics
    /// The model was opened without a masked-language-model head.
    #[cfg(feature = "portable")]
    pub(crate) fn mlm_slots(&self) -> &MlmSlots {
        self.mlm.as_ref().expect("the model was opened with a masked-language-model head")
    }

    fn run(&self) -> Encoder<'_> {
        let Model { architecture, encoder: slots, values, precision, packed, .. } = self;
        Encoder { architecture, slots, values, precision: *precision, packed: packed.as_ref() }
    }

    /// Runs the encoder; see [`Activations`] for what comes out.
    pub fn forward(&self, batch: &Batch, options: &ForwardOptions, act: &mut Activations) {
        self.run().forward(batch, options, act);
    }

    /// Adds the gradients of all encoder parameters to `gradients` (an arena of this layout).
    pub fn backward(
        &self,
        batch: &Batch,
        options: &ForwardOptions,
        pooled: &PooledGradients,
        act: &mut Activations,
        gradients: &mut [f32],
    ) {
        self.run().backward(batch, options, pooled, act, gradients);
    }

    /// Rows of `act.hidden_states`, `[rows, hidden]`.
    fn gather(&self, rows: impl Iterator<Item = usize>, act: &Activations) -> Vec<f32> {
        let h = self.architecture.hidden_size;
        rows.flat_map(|row| &act.hidden_states[row * h..(row + 1) * h]).copied().collect()
    }

    /// Adds `gradient [rows, hidden]` to rows of `act.d_hidden_states`, which must have been set.
    fn scatter(&self, rows: impl Iterator<Item = usize>, gradient: &[f32], act: &mut Activations) {
        let h = self.architecture.hidden_size;
        for (row, gradient) in rows.zip(gradient.chunks_exact(h)) {
            let target = &mut act.d_hidden_states[row * h..(row + 1) * h];
            target.iter_mut().zip(gradient).for_each(|(sum, value)| *sum += value);
        }
    }

    /// Zeroes `act.d_hidden_states`, before the heads add to it.
    pub fn clear_gradient(&self, batch: &Batch, act: &mut Activations) {
        act.d_hidden_states.clear();
        act.d_hidden_states.resize(batch.tokens() * self.architecture.hidden_size, 0.0);
    }

    /// The tokens that the classification head reads of `notes` (indices): of each the first, or all of them. It sees their mean.
    pub fn classified_tokens(&self, batch: &Batch, notes: impl IntoIterator<Item = usize>) -> Vec<Span> {
        let length = |note: usize| match self.form {
            HeadForm::Family | HeadForm::Reference => 1,
            HeadForm::Mean => batch.cu_seqlens[note + 1] - batch.cu_seqlens[note],
        };
        notes.into_iter().map(|note| Span { note: note as u32, start: 0, end: length(note) }).collect()
    }

    /// Of the head [`HeadForm::Mean`], which is one linear layer: its weights `[classes, hidden]` and its bias `[classes]`, in the arena.
    pub fn mean_classifier(&self) -> Option<(Range<usize>, Range<usize>)> {
        let slots = self.classifier.as_ref().filter(|_| self.form == HeadForm::Mean)?;
        Some((slots.output.weight.clone(), slots.output.bias.clone()))
    }

    /// Logits `[notes, classes]` of the batch whose hidden states `act` holds, for the notes of `which` (indices).
    pub fn classify(
        &self,
        batch: &Batch,
        which: &[usize],
        dropout: Option<DropoutSeed>,
        act: &Activations,
        head: &mut ClassifierActivations,
    ) {
        let slots = self.classifier.as_ref().expect("the model was opened with classes");
        let (h, read) = (self.architecture.hidden_size, self.classified_tokens(batch, which.iter().copied()));
        let mut pooled = vec![0f32; which.len() * h];
        spans::mean_forward(&act.hidden_states, &batch.cu_seqlens, &read, &mut pooled, h);
        slots.forward(&self.values, pooled, which.len(), self.architecture.classifier_dropout, dropout, head);
    }

    /// The backward of [`Model::classify`]: `head.logits` holds the gradient of the logits by now.
    pub fn classify_backward(
        &self,
        batch: &Batch,
        which: &[usize],
        dropout: Option<DropoutSeed>,
        act: &mut Activations,
        head: &mut ClassifierActivations,
        gradients: &mut [f32],
    ) {
        let slots = self.classifier.as_ref().expect("the model was opened with classes");
        let probability = self.architecture.classifier_dropout;
        let gradient = slots.backward(&self.values, which.len(), probability, dropout, head, gradients);
        let read = self.classified_tokens(batch, which.iter().copied());
        let h = self.architecture.hidden_size;
        spans::mean_backward(&gradient, &batch.cu_seqlens, &read, &mut act.d_hidden_states, h);
    }

    /// Masked-language-model logits `[rows.len(), vocab]` at packed token positions `rows`.
    pub fn predict_masked(&self, rows: &[usize], act: &Activations, head: &mut MlmActivations) {
        let slots = self.mlm.as_ref().expect("the model was opened with a masked-language-model head");
        let masked = self.gather(rows.iter().copied(), act);
        slots.forward(&self.values, &self.encoder.word, &self.architecture, masked, head);
    }

    /// The backward of [`Model::predict_masked`]: `head.logits` holds the gradient of the logits by now.
    pub fn predict_masked_backward(
        &self,
        rows: &[usize],
        act: &mut Activations,
        head: &mut MlmActivations,
        gradients: &mut [f32],
    ) {
        let slots = self.mlm.as_ref().expect("the model was opened with a masked-language-model head");
        let gradient = slots.backward(&self.values, &self.encoder.word, &self.architecture, head, gradients);
        self.scatter(rows.iter().copied(), &gradient, act);
    }

    /// Writes `config.json` and `model.safetensors` into an existing folder, as Hugging Face's `save_pretrained` would. Projections
    /// stay behind. Heads that are no class of `transformers` are named in the folder's `dsgkd_head`.
    pub fn save(&self, folder: &Path, format: WeightFormat) -> Result<()> {
        let exported = self.layout.tensors().iter().filter(|spec| self.projection(&spec.name).is_none());
        let tensors = exported.map(|spec| (spec.name.as_str(), &spec.shape[..], &self.values[spec.range.clone()]));
        weights::write(&folder.join("model.safetensors"), tensors, format)?;
        let path = folder.join("config.json");
        let text = serde_json::to_string_pretty(&self.exported_config(format))
            .map_err(|error| Error::folder(&path, error.to_string()))?;
        std::fs::write(&path, text + "\n").map_err(Error::io(&path, "write"))
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
            object.remove("dsgkd_head");
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
            config["architectures"] = json!([self.classification_class()]);
            config["problem_type"] = json!("single_label_classification");
            let numbered = self.classes.iter().enumerate();
            config["id2label"] = numbered.clone().map(|(id, name)| (id.to_string(), json!(name))).collect();
            config["label2id"] = numbered.map(|(id, name)| (name.clone(), json!(id))).collect();
            if let Some(object) = config.as_object_mut() {
                object.remove("num_labels");
            }
            if let Some(name) = self.form.name() {
                config["dsgkd_head"] = json!(name);
                // Its class would take what it knows by name and begin the rest at random.
                if let Some(object) = config.as_object_mut() {
                    object.remove("architectures");
                }
            }
        } else if self.mlm.is_some() {
            config["architectures"] = json!([self.family.mlm_class()]);
        }
        config
    }

    fn classification_class(&self) -> String {
        // One family serves several model types; XLM-RoBERTa's and CamemBERT's classes have their own names.
        let class = self.family.classification_class();
        match self.config.get("model_type").and_then(Value::as_str) {
            Some("xlm-roberta") => class.replace("Roberta", "XLMRoberta"),
            Some("camembert") => class.replace("Roberta", "Camembert"),
            _ => class.to_string(),
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
