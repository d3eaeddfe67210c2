//! The model card: what a trained model was made of, and how well it did.

use super::{DataSummary, RunMetrics};
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
