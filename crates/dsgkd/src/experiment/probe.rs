//! `student.linear_probing`: the head begins with what the encoder can tell the classes by already.
//!
//! A head that begins at random sends gradients of no meaning through the encoder until it has learned, which costs what the encoder
//! knew (Kumar et al., arXiv 2202.10054, section 3): here, what it has just heard of its teachers.

use super::RunObserver;
use crate::baseline::{Logistic, SparseRows};
use crate::distill::Example;
use crate::error::{Error, Result};
use crate::infer::Scorer;
use dsgkd_encoder::Model;

/// Strength of the data against the penalty on weights of standardised columns, scikit-learn's `C`.
const C: f64 = 0.1;
/// Notes that are enough for one number a hidden dimension; of more, every second, third, .. of each class.
const MOST_NOTES: usize = 10_000;
/// Notes that go through the encoder between two looks at whether to stop.
const NOTES_AT_ONCE: usize = 2048;

/// Sets the head of `student` to the logistic regression of the labels of `labelled` (all of which have one, and weigh alike) on the mean of
/// each note's last hidden states. A head that is more than one linear layer stays as it is.
///
/// # Errors
/// The notes are of one class; [`Error::Interrupted`], before anything was changed.
pub(super) fn probe(student: &mut Model, labelled: &[Example], observer: &mut dyn RunObserver) -> Result<()> {
    let Some((weight, bias)) = student.mean_classifier() else { return Ok(()) };
    let (hidden, classes) = (student.architecture.hidden_size, student.classes.len());
    let every = labelled.len().div_ceil(MOST_NOTES).max(1);
    let of_class = |class| labelled.iter().filter(move |example| example.label == Some(class as u32)).step_by(every);
    let taken = (0..classes).flat_map(|class| of_class(class).map(move |example| (class, &example.input_ids[..])));
    let (labels, texts): (Vec<usize>, Vec<&[u32]>) = taken.unzip();
    let (mut scorer, mut states) = (Scorer::default(), vec![]); // [notes, h]
    for part in texts.chunks(NOTES_AT_ONCE) {
        observer.probing(states.len() / hidden, texts.len());
        if observer.interrupted() {
            let message = "stopped before the labels were learned; go on with --resume";
            return Err(Error::Interrupted(message.to_string()));
        }
        states.append(&mut scorer.mean_hidden(student, part)?);
    }

    // Each column is scaled so that the regression's penalty (half the squared weights) is the sum of two: the standardised columns' own, and
    // what dropout will cost this head, which to second order is one too (Wager et al., arXiv 1307.1493). Without the second, the
    // regression lives on small differences of large numbers, and the first dropped number upsets it.
    let column = |index: usize| states.iter().skip(index).step_by(hidden).map(|value| f64::from(*value));
    let notes = texts.len() as f64;
    let means: Vec<f64> = (0..hidden).map(|index| column(index).sum::<f64>() / notes).collect();
    let dropped = f64::from(student.architecture.classifier_dropout);
    // Of a note of which nothing is known, the curvature of the loss: p (1 - p) of two classes' one score, 1 / classes of a score each.
    let undecided = if classes == 2 { 0.25 } else { 1.0 / classes as f64 };
    let of_dropout = notes * undecided * dropped / (1.0 - dropped);
    let scale = |index: usize| {
        let mean = means[index];
        let variance = column(index).map(|value| (value - mean).powi(2)).sum::<f64>() / notes;
        1.0 / (variance / C + of_dropout * (variance + mean * mean)).sqrt().max(1e-6)
    };
    let scales: Vec<f64> = (0..hidden).map(scale).collect();
    let standardised = |state: &[f32]| -> Vec<(u32, f64)> {
        let value = |index: usize| (f64::from(state[index]) - means[index]) * scales[index];
        (0..hidden).map(|index| (index as u32, value(index))).collect()
    };
    let rows = SparseRows { columns: hidden, rows: states.chunks_exact(hidden).map(standardised).collect() };
    let (weights, constants) = Logistic::fit(&rows, &labels, classes)?.linear(); // [classes, h], [classes]

    for (class, (weights, constant)) in weights.chunks_exact(hidden).zip(constants).enumerate() {
        let mut constant = constant;
        for (index, value) in weights.iter().enumerate() {
            let value = value * scales[index];
            student.values[weight.start + class * hidden + index] = value as f32;
            constant -= value * means[index];
        }
        student.values[bias.start + class] = constant as f32;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::DataSummary;
    use super::*;
    use crate::pretrain::PretrainLog;
    use crate::train::training::{EpochLog, StepLog, TrainObserver};
    use dsgkd_encoder::{HeadForm, Heads, LoadReport};
    use dsgkd_ops::loss::softmax;
    use serde_json::json;

    fn student(classes: usize, form: HeadForm) -> Model {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 16, "initializer_range": 0.3});
        let classes = (0..classes).map(|class| format!("class {class}")).collect();
        Model::fresh(config, &Heads { classes, form, ..Heads::default() }, 5).unwrap()
    }

    /// Says nothing; interrupted or not.
    struct Silent(bool);

    impl TrainObserver for Silent {
        fn step(&mut self, _: &StepLog) {}

        fn epoch(&mut self, _: &EpochLog) {}

        fn interrupted(&self) -> bool {
            self.0
        }
    }

    impl RunObserver for Silent {
        fn loaded(&mut self, _: &str, _: &LoadReport) {}

        fn prepared(&mut self, _: &DataSummary) {}

        fn adapting(&mut self, _: &PretrainLog) {}

        fn teaching(&mut self, _: &StepLog) {}

        fn prepared_elsewhere(&mut self, _: bool) {}

        fn probing(&mut self, _: usize, _: usize) {}
    }

    /// Notes of a class have a word in common.
    fn examples(classes: u32) -> Vec<Example> {
        let example = |note: u32| {
            let label = note % classes;
            let others = (0..3 + note % 5).map(|at| 10 + (note * 7 + at * 11) % 20);
            let input_ids = [1].into_iter().chain(others).chain([3 + label, 2]).collect();
            Example { input_ids, label: Some(label), views: vec![] }
        };
        (0..240).map(example).collect()
    }

    fn logits(student: &Model, examples: &[Example]) -> Vec<f32> {
        let texts: Vec<&[u32]> = examples.iter().map(|example| &example.input_ids[..]).collect();
        Scorer::default().logits(student, &texts).unwrap()
    }

    #[test]
    fn the_head_tells_the_classes_before_the_first_step() {
        for classes in [2, 3] {
            let (mut student, examples) = (student(classes, HeadForm::Mean), examples(classes as u32));
            let right = |student: &Model| {
                let logits = logits(student, &examples);
                let rows = logits.chunks_exact(classes);
                let picked = rows.map(|row| (0..classes).max_by(|a, b| row[*a].total_cmp(&row[*b])));
                let labels = examples.iter().map(|example| example.label.map(|label| label as usize));
                picked.zip(labels).filter(|(picked, label)| picked == label).count()
            };
            let (before, values) = (right(&student), student.values.clone());
            probe(&mut student, &examples, &mut Silent(false)).unwrap();
            let after = right(&student);
            assert!(after >= before + 50, "{classes}: {before}, then {after}");
            let changed = student.values.iter().zip(&values).filter(|(after, before)| after != before).count();
            assert_eq!(changed, classes * 33, "the encoder is as it was");
        }
    }

    #[test]
    fn probabilities_are_those_of_the_regression() {
        for classes in [2, 3] {
            let (mut student, examples) = (student(classes, HeadForm::Mean), examples(classes as u32));
            probe(&mut student, &examples, &mut Silent(false)).unwrap();
            // At the minimum the probabilities of a class sum to its notes: the constants are free.
            let probabilities = softmax(&logits(&student, &examples), classes);
            for class in 0..classes {
                let sum: f64 = probabilities.iter().skip(class).step_by(classes).sum();
                assert!((sum - 240.0 / classes as f64).abs() < 0.05, "{class} of {classes}: {sum}");
            }
        }
    }

    #[test]
    fn other_heads_stay_and_one_class_is_refused() {
        let mut family = student(2, HeadForm::Family);
        let before = family.values.clone();
        probe(&mut family, &examples(2), &mut Silent(false)).unwrap();
        assert!(family.values == before);
        let refused = probe(&mut student(2, HeadForm::Mean), &examples(1), &mut Silent(false)).unwrap_err();
        assert!(refused.to_string().contains("one class"));
    }

    #[test]
    fn it_stops_when_it_is_told_and_nothing_is_changed() {
        let mut mean = student(2, HeadForm::Mean);
        let before = mean.values.clone();
        let stopped = probe(&mut mean, &examples(2), &mut Silent(true)).unwrap_err();
        assert!(matches!(stopped, Error::Interrupted(_)) && mean.values == before, "{stopped}");
    }
}
