//! The model card: what a trained model was made of, and how well it did.

use super::{DataSummary, PredictionSettings, RunMetrics};
use crate::config::{Config, DistillWhen, HeadKind, TermRule};
use crate::eval::Estimate;
use crate::eval::table::{drawn_by_group, number, range};
use crate::hub::model_name;
use dsgkd_encoder::Model;

/// The README of a run's model folder.
pub(super) fn model_card(config: &Config, student: &Model, summary: &DataSummary, test: Option<&RunMetrics>) -> String {
    let teachers: Vec<String> = config.teachers.iter().map(|teacher| model_name(&teacher.model)).collect();
    let method = if teachers.is_empty() {
        "fine-tuned without a teacher".to_string()
    } else {
        let when = match config.distill.when {
            DistillWhen::WithLabels => " with the labels",
            DistillWhen::BeforeLabels => " before the labels",
        };
        format!("distilled (DSG-KD, arXiv 2409.14904) from {}{when}", teachers.join(", "))
    };
    let adapted = match config.adapt.num_train_epochs {
        0 => "",
        _ => ", after masked-language-model training on the training notes",
    };
    let mut card = format!(
        "---\nlibrary_name: transformers\npipeline_tag: text-classification\n---\n\nA classifier of {}, made from {} by dsgkd {}: {method}{adapted}.\n\n\
         - training notes: {} ({}), and {} without labels\n- terms by the rule `{}`, at most {} tokens a note\n{}",
        student.classes.join(" / "),
        model_name(&config.student.model),
        env!("CARGO_PKG_VERSION"),
        summary.training,
        summary
            .classes
            .iter()
            .zip(&summary.class_counts)
            .map(|(class, count)| format!("{class}: {count}"))
            .collect::<Vec<_>>()
            .join(", "),
        summary.unlabeled,
        match config.text.terms {
            TermRule::Script => "script",
            TermRule::Reference => "reference",
            TermRule::Dictionary => "dictionary",
            TermRule::Regex => "regex",
        },
        config.text.max_length,
        if config.student.linear_probing == Some(true) {
            "- its classifier began as a logistic regression\n"
        } else {
            ""
        },
    );
    if let Some(test) = test {
        card += &format!(
            "\nOn {} test notes, with 95 % intervals of {} bootstrap samples{}, which tell of other notes of the same kind and place:\n\n\
             | measure | value | 95 % |\n|---|---|---|\n",
            test.notes,
            test.intervals.samples,
            drawn_by_group(test.intervals.units, test.notes),
        );
        for Estimate { metric, value, interval, .. } in &test.intervals.estimates {
            card += &format!("| {} | {} | {} |\n", metric.name(), number(*value), range(interval, number));
        }
    }
    let head = match config.student.head {
        Some(HeadKind::Reference) => "the published one (pooler, dropout, dense, GELU, dropout, linear)",
        Some(HeadKind::Mean) => "linear, on the mean of a note's last hidden states",
        Some(HeadKind::Family) | None => return card,
    };
    card += &format!(
        "\nIts head is {head}, which no class of `transformers` has; `modeling_dsgkd.py` beside this file is one:\n\n\
         ```python\n\
         from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\
         model = AutoModelForSequenceClassification.from_pretrained(FOLDER, trust_remote_code=True)\n\
         tokenizer = AutoTokenizer.from_pretrained(FOLDER, trust_remote_code=True)\n\
         logits = model.eval()(**tokenizer([NOTE], return_tensors=\"pt\")).logits\n```\n"
    );
    card
}

/// Begins the card's section on decisions.
const DECISIONS: &str = "\n## What predict decides\n\n";
/// Begins any section.
const SECTION: &str = "\n## ";
/// Where the threshold of a model comes from, unless one was chosen.
pub(crate) const OF_PREVALENCE: &str = "their share of the training notes";

/// The card with a section on what `predict` makes of the model's logits, in place of the one it had; what others have written after it stays.
/// `chosen` says where the threshold comes from.
pub(crate) fn with_decisions(card: &str, classes: &[String], settings: &PredictionSettings, chosen: &str) -> String {
    let (before, rest) = card.split_once(DECISIONS).unwrap_or((card, ""));
    let after = rest.find(SECTION).map_or("", |at| &rest[at..]);
    let temperature = settings.temperature.map_or(String::new(), |temperature| {
        format!(
            " Before that it divides the logits by the temperature {temperature:.3}, so that its probabilities are not those that `transformers` gives."
        )
    });
    let decides = match (settings.written_threshold(), classes) {
        (Some(threshold), [_, positive]) => {
            format!(
                "calls a note {positive} at a probability of {threshold:.3} or above: {chosen}. `transformers` by itself decides at one half."
            )
        }
        _ => "takes the most probable class.".to_string(),
    };
    format!("{before}{DECISIONS}`dsgkd predict` {decides}{temperature}\n{after}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataConfig, Truncation};

    #[test]
    fn the_section_on_decisions_is_that_of_the_last_one() {
        let settings = |threshold, temperature| PredictionSettings {
            data: DataConfig::default(),
            max_length: 8,
            truncation: Truncation::default(),
            prevalence: Some(0.2),
            threshold,
            temperature,
        };
        let classes = ["no", "yes"].map(str::to_string);
        let first = with_decisions("A card.\n", &classes, &settings(None, None), "their share");
        assert!(
            first.starts_with("A card.\n\n## ")
                && first.contains("yes at a probability of 0.200 or above: their share.")
        );
        let edited = format!("{first}\n## Where it is used\n\nWard 3.\n");
        let second = with_decisions(&edited, &classes, &settings(Some(0.125), Some(2.0)), "a choice");
        assert!(second.starts_with("A card.\n\n## ") && second.contains("0.125 or above: a choice."), "{second}");
        assert!(second.contains("temperature 2.000") && !second.contains("their share"), "{second}");
        assert!(second.ends_with("\n\n## Where it is used\n\nWard 3.\n"), "{second}");
        // Odds of 1 to 4, as a temperature of 2 writes them: 1 to 2.
        let scaled = with_decisions(&second, &classes, &settings(None, Some(2.0)), "their share");
        assert!(scaled.contains("0.333 or above") && scaled.matches("## ").count() == 2, "{scaled}");
        let three = ["a", "b", "c"].map(str::to_string);
        let many = with_decisions("", &three, &PredictionSettings { prevalence: None, ..settings(None, None) }, "");
        assert!(many.contains("predict` takes the most probable class.") && !many.contains("half"), "{many}");
    }
}
