//! Fresh small models of every family.
#![allow(unreachable_pub)]

use dsgkd_encoder::{HeadForm, Heads, Model};
use serde_json::json;

/// Every family, and every form of head.
pub const MODELS: [(&str, HeadForm); 7] = [
    ("bert", HeadForm::Family),
    ("bert", HeadForm::Reference),
    ("bert", HeadForm::Mean),
    ("roberta", HeadForm::Family),
    ("distilbert", HeadForm::Family),
    ("electra", HeadForm::Family),
    ("electra", HeadForm::Mean),
];

/// A model with both heads, none of whose tensors is zero; `form` is its classifier's.
pub fn model(model_type: &str, layers: usize, form: HeadForm) -> Model {
    let mut config = json!({
        "model_type": model_type, "vocab_size": 31, "hidden_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
        "intermediate_size": 24, "max_position_embeddings": 20, "type_vocab_size": 2, "initializer_range": 0.3,
        "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "layer_norm_eps": 1e-6,
    });
    match model_type {
        "electra" => config["embedding_size"] = json!(12),
        "roberta" => config["hidden_act"] = json!("gelu_new"),
        "distilbert" => {
            for (key, value) in [("dim", 16), ("n_layers", layers), ("n_heads", 2), ("hidden_dim", 24)] {
                config[key] = json!(value);
            }
        }
        _ => {}
    }
    let heads = Heads { classes: ["a", "b", "c"].map(String::from).to_vec(), form, mlm: true, ..Heads::default() };
    let mut model = Model::fresh(config, &heads, 3).expect("a sound config");
    // Biases that are zero would hide a forgotten one.
    for (index, value) in model.values.iter_mut().enumerate() {
        *value += ((index * 7919) % 101) as f32 / 1000.0 - 0.05;
    }
    model
}
