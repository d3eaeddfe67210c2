//! The model card of a pretraining.

use super::{HeldOut, PretrainSummary, PseudoPerplexity};
use crate::config::{CorpusConfig, PretrainConfig};
use crate::hub::model_name;

/// Text for `README.md`.
pub(super) fn model_card(config: &PretrainConfig, summary: &PretrainSummary) -> String {
    let license = match &config.license[..] {
        "" => String::new(),
        license => format!("license: {license}\n"),
    };
    let from = match config.model.as_os_str().is_empty() {
        true => "from scratch".to_string(),
        false => format!("from {}", model_name(&config.model)),
    };
    let texts: String = config.corpus.iter().map(|corpus| format!("- text: {}\n", text(corpus))).collect();
    let HeldOut { loss, perplexity, accuracy } = summary.held_out;
    let pseudo = summary.pseudo_perplexity.map_or(String::new(), |PseudoPerplexity { value, texts, tokens }| {
        format!(
            "- pseudo-perplexity {value:.2}: {texts} held-out texts, {tokens} of their tokens hidden one at a time\n"
        )
    });
    format!(
        "---\nlibrary_name: transformers\npipeline_tag: fill-mask\n{license}---\n\n\
         A masked language model trained {from} by `dsgkd pretrain` {}.\n\n{texts}\
         - documents: {}, {} of them with the text of an earlier one; {} different texts held out; {} rows could not be read\n\
         - tokens seen: {} in {} steps, seed {}\n- parameters: {}\n\
         - held-out texts, single tokens behind one random mask on a share of {} of them: cross-entropy {loss:.4} nats \
         (its exponential {perplexity:.2}), accuracy {accuracy:.4}; before training {:.4} nats\n{pseudo}",
        env!("CARGO_PKG_VERSION"),
        summary.documents,
        summary.repeated_documents,
        summary.held_out_documents,
        summary.bad_rows,
        summary.tokens,
        summary.steps,
        config.seed,
        summary.parameters,
        config.train.mlm_probability,
        summary.held_out_before.loss,
    )
}

/// The names of the files, and where they come from.
fn text(corpus: &CorpusConfig) -> String {
    let names = corpus.files.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().to_string());
    let files = names.collect::<Vec<_>>().join(", ");
    if corpus.source.is_empty() { files } else { format!("{files}: {}", corpus.source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_says_what_it_is_made_of_and_under_which_licence() {
        let held_out = HeldOut { loss: 2.0, perplexity: 7.389, accuracy: 0.5 };
        let summary = PretrainSummary {
            documents: 401,
            repeated_documents: 30,
            held_out_documents: 3,
            bad_rows: 7,
            parameters: 9,
            tokens: 77,
            steps: 3,
            held_out_before: HeldOut { loss: 4.5, ..held_out },
            held_out,
            pseudo_perplexity: Some(PseudoPerplexity { value: 12.345, texts: 2, tokens: 40 }),
        };
        let corpus = |source: &str| CorpusConfig {
            files: vec!["a/notes.csv".into(), "b/more.csv".into()],
            source: source.to_string(),
            ..CorpusConfig::default()
        };
        let corpus = vec![corpus("ward notes, CC0"), corpus("")];
        let mut config = PretrainConfig { corpus, license: "cc0-1.0".to_string(), ..PretrainConfig::default() };
        let card = model_card(&config, &summary);
        assert!(
            card.starts_with("---\nlibrary_name: transformers\npipeline_tag: fill-mask\nlicense: cc0-1.0\n---\n\n")
        );
        assert!(card.contains("trained from scratch by"));
        assert!(card.contains("- text: notes.csv, more.csv: ward notes, CC0\n- text: notes.csv, more.csv\n"), "{card}");
        let documents = "- documents: 401, 30 of them with the text of an earlier one; 3 different texts held out; 7 rows could not be read\n";
        assert!(card.contains(&format!("{documents}- tokens seen: 77 in 3 steps, seed 1\n")), "{card}");
        let measured = "one random mask on a share of 0.15 of them: cross-entropy 2.0000 nats (its exponential 7.39), accuracy 0.5000; \
                        before training 4.5000 nats\n- pseudo-perplexity 12.35: 2 held-out texts, 40 of their tokens hidden one at a time\n";
        assert!(card.contains(measured), "{card}");
        (config.model, config.license) = ("models/general".into(), String::new());
        let card = model_card(&config, &summary);
        assert!(card.contains("trained from general by") && !card.contains("license"), "{card}");
    }
}
