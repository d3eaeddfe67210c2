//! The Python code of a head that `transformers` has no class for: it lies in the model's folder, and by it
//! `AutoModelForSequenceClassification` opens the folder where it is trusted.

use super::Model;
use crate::classifier::HeadForm;
use serde_json::{Value, json};

/// The key of the encoder's own `model_type` where a folder has another.
pub(super) const MODEL_TYPE: &str = "dsgkd_model_type";
/// The keys that [`Model::name_code`] writes.
pub(super) const KEYS: [&str; 3] = ["dsgkd_head", MODEL_TYPE, "auto_map"];
/// The Python module.
pub(super) const MODULE: &str = "modeling_dsgkd";

/// What is told of a head in Python.
struct HeadCode {
    /// Its name in those of classes.
    name: &'static str,
    what: &'static str,
    /// Lines of the class's `__init__`.
    layers: &'static str,
    /// Lines from `states`, `[notes, length, hidden]`, to `logits`.
    logits: &'static str,
}

fn code_of(form: HeadForm) -> Option<HeadCode> {
    match form {
        HeadForm::Family => None,
        HeadForm::Reference => Some(HeadCode {
            name: "Reference",
            what: "the head that DSG-KD published (arXiv 2409.14904, step 4)",
            layers: include_str!("reference_layers.py.in"),
            logits: include_str!("reference_logits.py.in"),
        }),
        HeadForm::Mean => Some(HeadCode {
            name: "Mean",
            what: "a linear head on the mean of a note's tokens",
            layers: include_str!("mean_layers.py.in"),
            logits: include_str!("mean_logits.py.in"),
        }),
    }
}

impl Model {
    fn head_code(&self) -> Option<HeadCode> {
        self.classifier.as_ref().and_then(|_| code_of(self.form))
    }

    /// The Python module; `None` where `transformers` has a class for the head, or there is none.
    pub(super) fn modeling_code(&self) -> Option<String> {
        let head = self.head_code()?;
        let pooler = if self.family.takes_add_pooling_layer() { ", add_pooling_layer=False" } else { "" };
        let values = [
            ("{layers}\n", head.layers),
            ("{logits}\n", head.logits),
            ("{what}", head.what),
            ("{Head}", head.name),
            ("{Name}", &self.python_name()),
            ("{prefix}", self.family.prefix()),
            ("{pooler}", pooler),
            ("{dropout}", self.family.dropout_keys()[2]),
            ("{model_type}", &self.type_of_its_own(&head)),
        ];
        let template = include_str!("modeling_dsgkd.py.in").to_string();
        Some(values.into_iter().fold(template, |code, (place, value)| code.replace(place, value)))
    }

    /// Names the module and its classes in a `config.json`.
    pub(super) fn name_code(&self, config: &mut Value) {
        let Some(head) = self.head_code() else { return };
        let (name, kind) = (self.python_name(), head.name);
        let class = format!("{name}For{kind}Classification");
        config["dsgkd_head"] = json!(self.form.name());
        config["auto_map"] = json!({
            "AutoConfig": format!("{MODULE}.{name}{kind}Config"),
            "AutoModelForSequenceClassification": format!("{MODULE}.{class}"),
        });
        config["architectures"] = json!([class]);
        config[MODEL_TYPE] = config["model_type"].clone();
        config["model_type"] = json!(self.type_of_its_own(&head));
    }

    /// A `model_type` that `transformers` lacks. Under the encoder's own the folder would open, without its code, as a class whose head begins at random,
    /// and answer.
    fn type_of_its_own(&self, head: &HeadCode) -> String {
        let own = self.config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        format!("dsgkd-{}-{own}", head.name.to_lowercase())
    }
}
