//! A model: an encoder of a known family, its heads, and their parameters in one arena.

mod folder;
mod modeling;

pub use folder::{LoadReport, heads_of};

use crate::architecture::{Architecture, ConfigReader};
use crate::classifier::{ClassifierActivations, ClassifierSlots, HeadForm};
use crate::encoder::{
    Activations, Batch, DropoutSeed, Encoder, EncoderSlots, ForwardOptions, PackedLayers, PooledGradients,
};
use crate::error::{Error, Result};
use crate::family::{self, Family};
use crate::layout::{Group, Initial, Layout, TensorSpec, initialise};
use crate::mlm::{MlmActivations, MlmSlots};
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

/// Sizes that are allowed one by one may be beyond any memory together.
const MOST_PARAMETERS: usize = 4_000_000_000;

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
        if layout.len() > MOST_PARAMETERS {
            let message =
                format!("its sizes make {} parameters; more than {MOST_PARAMETERS} are no encoder's", layout.len());
            return Err(Error::folder(config_path, message));
        }
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

    /// The heads that this model has.
    pub fn heads(&self) -> Heads {
        let a = &self.architecture;
        let shape = |name: &str| self.layout.find(name).map(|spec| [spec.shape[0], spec.shape[1]]);
        let projections = self.projections.iter().filter_map(|(name, _)| Some((name.clone(), shape(name)?)));
        Heads {
            classes: self.classes.clone(),
            form: self.form,
            mlm: self.mlm.is_some(),
            projections: projections.collect(),
            dropout: [a.hidden_dropout_prob, a.attention_probs_dropout_prob, a.classifier_dropout].map(Some),
        }
    }

    /// This model with other heads; what they have in common keeps its values, the rest is fresh, from `seed`.
    ///
    /// # Errors
    /// A share of dropout that is not below 1.
    pub fn with_heads(&self, heads: &Heads, seed: u64) -> Result<Model> {
        let mut model = Model::plan(Path::new("config.json"), self.config.clone(), heads)?;
        model.allocate(seed);
        model.precision = self.precision;
        model.take_over(self);
        Ok(model)
    }

    /// Takes the values of all tensors that `other` has too, by the same name and shape; of a classifier only those of the same form.
    pub fn take_over(&mut self, other: &Model) {
        let same_form = self.form == other.form;
        for spec in self.layout.tensors() {
            let is_same = |found: &&TensorSpec| found.shape == spec.shape && means_the_same(&spec.name, same_form);
            if let Some(found) = other.layout.find(&spec.name).filter(is_same) {
                self.values[spec.range.clone()].copy_from_slice(&other.values[found.range.clone()]);
            }
        }
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
        let heads = Heads { projections: vec![], ..self.heads() };
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
            let width = old_values.len() / self.architecture.vocab_size;
            for (word, pieces) in pieces.iter().enumerate() {
                for column in 0..width {
                    let sum: f32 = pieces.iter().map(|piece| old_values[*piece as usize * width + column]).sum();
                    new[(first + word) * width + column] = sum / pieces.len() as f32;
                }
            }
        }
        Ok(model)
    }

    /// The arena's tensors.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Where the word embeddings lie in the arena, `[vocabulary, columns]`, and their columns.
    pub fn word_embeddings(&self) -> (Range<usize>, usize) {
        (self.encoder.word.clone(), self.architecture.embedding_size)
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
}

/// Whether a tensor that two models have by one name means the same in both: a classifier of another form read something else, though its last
/// layer has the same name and shape.
fn means_the_same(name: &str, same_form: bool) -> bool {
    same_form || !name.contains("classifier")
}
