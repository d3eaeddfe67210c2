//! The model card: what a trained model was made of, and how well it did.

use super::{DataSummary, PredictionSettings, RunMetrics};
use crate::config::{Config, DistillWhen, HeadKind, TermRule};
use crate::eval::Estimate;
use crate::eval::table::{drawn_by_group, left_out, number, range};
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
            "\nOn {} test notes, with 95 % intervals of {} bootstrap samples{}, which tell of other notes of the same kind and place.{}\n\n\
             | measure | value | 95 % |\n|---|---|---|\n",
            test.notes,
            test.intervals.samples,
            drawn_by_group(test.intervals.units, test.notes),
            left_out([&test.intervals]),
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

/// Around the card's section on decisions, which is ours; everything else is for its readers to edit.
const BEGIN: &str = "<!-- dsgkd writes what predict decides -->";
const END: &str = "<!-- to here -->";

/// The card with what `predict` makes of the model's logits, in place of what it said of it before. `chosen` says where the threshold comes from, unless it is
/// the share of positives among the training notes.
pub(crate) fn with_decisions(
    card: &str,
    classes: &[String],
    settings: &PredictionSettings,
    chosen: Option<&str>,
) -> String {
    let decided = format!("{BEGIN}\n\n## What predict decides\n\n{}\n\n{END}", decisions(classes, settings, chosen));
    let ours = card.find(BEGIN).and_then(|begin| Some((begin, begin + card[begin..].find(END)? + END.len())));
    match ours {
        Some((begin, end)) => format!("{}{decided}{}", &card[..begin], &card[end..]),
        None => format!("{}\n\n{decided}\n", card.trim_end()),
    }
}

fn decisions(classes: &[String], settings: &PredictionSettings, chosen: Option<&str>) -> String {
    let scales = settings.temperature.map_or(String::new(), |temperature| {
        format!("divides the logits by the temperature {temperature:.3}, so that its probabilities are not those of `transformers`, and ")
    });
    let decides = match (settings.written_threshold(), classes) {
        (Some(threshold), [_, positive]) => {
            let of_training = || {
                let scaled = match (settings.temperature, settings.prevalence) {
                    (Some(_), Some(prevalence)) => format!(", {prevalence}, after the temperature"),
                    _ => String::new(),
                };
                format!("the share of `{positive}` among the training notes{scaled}")
            };
            format!(
                "calls a note `{positive}` at a probability of {threshold} or above: {}. `transformers` by itself calls it so at one half.",
                chosen.map_or_else(of_training, str::to_string)
            )
        }
        _ => "takes the most probable class.".to_string(),
    };
    format!("`dsgkd predict` {scales}{decides}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{DataConfig, Truncation};

    fn settings(threshold: Option<f64>, temperature: Option<f64>) -> PredictionSettings {
        PredictionSettings {
            data: DataConfig::default(),
            max_length: 8,
            truncation: Truncation::default(),
            prevalence: Some(0.2),
            threshold,
            temperature,
        }
    }

    #[test]
    fn a_card_says_what_was_decided_last_and_keeps_what_others_wrote() {
        let classes = ["no", "yes"].map(str::to_string);
        let first = with_decisions("A card.\n", &classes, &settings(None, None), None);
        let by_share =
            "`yes` at a probability of 0.2 or above: the share of `yes` among the training notes. `transformers`";
        assert!(first.starts_with("A card.\n\n<!-- ") && first.contains(by_share), "{first}");
        // As an editor leaves it that ends lines as Windows does, and with words behind.
        let edited = format!("{first}\nWard 3 uses it.\n# Licence\nNone.\n").replace('\n', "\r\n");
        let second = with_decisions(&edited, &classes, &settings(Some(0.0003), Some(2.0)), Some("a choice"));
        assert!(
            second.contains("probability of 0.0003 or above: a choice.") && !second.contains("the share"),
            "{second}"
        );
        assert!(second.contains("predict` divides the logits by the temperature 2.000,"), "{second}");
        assert!(
            second.starts_with("A card.\r\n") && second.ends_with("\r\nWard 3 uses it.\r\n# Licence\r\nNone.\r\n"),
            "{second}"
        );
        // Odds of 1 to 4, as a temperature of 2 writes them: 1 to 2.
        let third = with_decisions(&second, &classes, &settings(None, Some(2.0)), None);
        assert!(
            third.contains("among the training notes, 0.2, after the temperature.")
                && third.contains(" of 0.333333333"),
            "{third}"
        );
        assert_eq!(third.matches("## What").count(), 1);
    }

    #[test]
    fn of_many_classes_the_most_probable_is_taken() {
        let classes = ["a", "b", "c"].map(str::to_string);
        let card = with_decisions("", &classes, &PredictionSettings { prevalence: None, ..settings(None, None) }, None);
        assert!(card.contains("predict` takes the most probable class.\n") && !card.contains("half"), "{card}");
    }
}
