//! Gradients of the whole encoder and its heads against finite differences, on fresh small models of every family.

mod common;

use common::{MODELS, model};
use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, HeadForm, Model, PooledGradients};
use dsgkd_ops::Precision;
use dsgkd_ops::loss::cross_entropy;
use dsgkd_ops::spans::Span;

struct Case {
    batch: Batch,
    spans: Vec<Span>,
    masked: Vec<usize>,
    checkpointing: bool,
    wanted: Option<Vec<u32>>,
}

fn case() -> Case {
    let notes: [&[u32]; 3] = [&[2, 5, 9, 11, 3], &[2, 3], &[2, 7, 7, 30, 21, 8, 3]];
    Case {
        batch: Batch::pack(notes),
        spans: vec![
            Span { note: 0, start: 1, end: 3 },
            Span { note: 2, start: 2, end: 3 },
            Span { note: 2, start: 3, end: 6 },
        ],
        masked: vec![2, 8, 10],
        checkpointing: false,
        wanted: None,
    }
}

/// A loss that every output takes part in, and its gradient over all parameters.
fn loss(model: &Model, case: &Case, dropout: Option<u64>, gradients: Option<&mut [f32]>) -> f64 {
    let options = ForwardOptions {
        dropout,
        for_backward: true,
        checkpointing: case.checkpointing,
        spans: &case.spans,
        rows_after_dropout: true,
        layers: None,
        wanted: case.wanted.as_deref(),
    };
    let (mut act, mut head, mut mlm) =
        (Activations::default(), ClassifierActivations::default(), MlmActivations::default());
    model.forward(&case.batch, &options, &mut act);
    let notes = [0, 2];
    model.classify(&case.batch, &notes, dropout, &act, &mut head);
    model.predict_masked(&case.masked, &act, &mut mlm);
    let mut total = cross_entropy(&mut head.logits, &[2, 0], 3, &[]);
    total += cross_entropy(&mut mlm.logits, &[4, 1, 30], 31, &[]);
    // Half the squared distance of every pooled value from a number of its own.
    let mut pooled = PooledGradients::default();
    let mut squares = |values: &Vec<Vec<f32>>, scale: f32| -> Vec<Vec<f32>> {
        let gradient = values.iter().enumerate().map(|(level, values)| {
            values
                .iter()
                .enumerate()
                .map(|(index, value)| {
                    let difference = value - ((index * 31 + level) % 7) as f32 / 7.0;
                    total += f64::from(scale * difference * difference) / 2.0;
                    scale * difference
                })
                .collect()
        });
        gradient.collect()
    };
    pooled.hidden = squares(&act.pooled_hidden, 0.02);
    pooled.rows = squares(&act.pooled_rows, 0.3);
    if let Some(gradients) = gradients {
        model.clear_gradient(&case.batch, &mut act);
        model.classify_backward(&case.batch, &notes, dropout, &mut act, &mut head, gradients);
        model.predict_masked_backward(&case.masked, &mut act, &mut mlm, gradients);
        model.backward(&case.batch, &options, &pooled, &mut act, gradients);
    }
    total
}

#[test]
fn every_tensor_of_every_family_has_the_gradient_of_finite_differences() {
    for (model_type, form) in MODELS {
        for dropout in [None, Some(77)] {
            let mut model = model(model_type, 2, form);
            let case = case();
            let mut gradients = vec![0f32; model.values.len()];
            loss(&model, &case, dropout, Some(&mut gradients));
            for spec in model.layout().tensors().to_vec() {
                let norm: f32 = gradients[spec.range.clone()].iter().map(|g| g * g).sum::<f32>().sqrt();
                let is_key_bias = is_key_bias(&spec.name);
                assert!(norm > 0.0 || is_key_bias, "{model_type}: {} has no gradient", spec.name);
                // Along the gradient, the loss rises by its norm.
                if is_key_bias || norm < 1e-4 {
                    continue;
                }
                let kept = model.values[spec.range.clone()].to_vec();
                let mut at = |step: f32| {
                    for (offset, index) in spec.range.clone().enumerate() {
                        model.values[index] = kept[offset] + step * gradients[index] / norm;
                    }
                    loss(&model, &case, dropout, None)
                };
                let step = 4e-3;
                let difference = (at(step) - at(-step)) / f64::from(2.0 * step);
                at(0.0);
                let error = (difference - f64::from(norm)).abs() / f64::from(norm);
                let close = error < 2e-2 || (difference - f64::from(norm)).abs() < 2e-3;
                assert!(close, "{model_type}, {}: {difference} along the gradient, whose norm is {norm}", spec.name);
            }
        }
    }
}

/// A key's bias moves all scores of a row alike, which softmax does not see: its gradient is what rounding leaves of zero.
fn is_key_bias(tensor: &str) -> bool {
    tensor.contains("key.bias") || tensor.contains("k_lin.bias")
}

#[test]
fn checkpointing_changes_no_bit() {
    for model_type in ["bert", "roberta", "distilbert", "electra"] {
        for precision in [Precision::Float32, Precision::Bfloat16] {
            let mut model = model(model_type, 2, HeadForm::Family);
            model.set_precision(precision);
            let gradients = |checkpointing| {
                let mut gradients = vec![0f32; model.values.len()];
                let loss = loss(&model, &Case { checkpointing, ..case() }, Some(77), Some(&mut gradients));
                (loss, gradients)
            };
            assert!(gradients(false) == gradients(true), "{model_type} {precision:?}");
        }
    }
}

#[test]
fn tokens_that_nobody_asks_for_change_nothing() {
    let families = ["bert", "roberta", "distilbert", "electra"].map(|model_type| (model_type, HeadForm::Family));
    for (model_type, form) in families.into_iter().chain([("bert", HeadForm::Mean)]) {
        for (layers, checkpointing, dropout) in
            [(1, false, Some(77)), (2, false, None), (2, false, Some(77)), (2, true, Some(77))]
        {
            let model = model(model_type, layers, form);
            let classified = model.classified_tokens(&case().batch, [0, 2]);
            let mut wanted = case().batch.wanted(classified.iter().chain(&case().spans));
            wanted.extend(case().masked.iter().map(|row| *row as u32));
            wanted.sort_unstable();
            wanted.dedup();
            assert!(wanted.len() < case().batch.tokens());
            let gradients = |wanted| {
                let mut gradients = vec![0f32; model.values.len()];
                let case = Case { checkpointing, wanted, ..case() };
                (loss(&model, &case, dropout, Some(&mut gradients)), gradients)
            };
            let ((all, of_all), (few, of_few)) = (gradients(None), gradients(Some(wanted)));
            assert!((all - few).abs() < 1e-5 * all, "{model_type}: {all} {few}");
            for spec in model.layout().tensors() {
                let norm =
                    |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
                let all = norm(&mut of_all[spec.range.clone()].iter().copied());
                let apart = norm(&mut spec.range.clone().map(|index| of_all[index] - of_few[index]));
                let rounding = if is_key_bias(&spec.name) { 1e-6 } else { 1e-8 };
                assert!(
                    apart <= 1e-5 * all + rounding,
                    "{model_type}, {layers} layers, {}: {apart} of {all}",
                    spec.name
                );
            }
        }
    }
}

#[test]
fn a_layer_goes_on_with_the_tokens_that_are_wanted() {
    let (model, case) = (model("bert", 2, HeadForm::Family), case());
    let states = |wanted: Option<&[u32]>| {
        let mut act = Activations::default();
        model.forward(&case.batch, &ForwardOptions { wanted, ..ForwardOptions::default() }, &mut act);
        act.hidden_states
    };
    let hidden = model.architecture.hidden_size;
    let all = states(None);
    for wanted in [&[][..], &[0, 5, 7], &[13]] {
        for (row, (few, all)) in states(Some(wanted)).chunks(hidden).zip(all.chunks(hidden)).enumerate() {
            if wanted.contains(&(row as u32)) {
                assert!(few.iter().zip(all).all(|(few, all)| (few - all).abs() < 1e-5));
            } else {
                assert!(few.iter().all(|value| *value == 0.0), "{row} of {wanted:?}");
            }
        }
    }
}

#[test]
fn a_batch_of_which_nothing_is_read_has_no_gradient() {
    let (model, case) = (model("bert", 2, HeadForm::Family), case());
    for checkpointing in [false, true] {
        let options =
            ForwardOptions { for_backward: true, checkpointing, wanted: Some(&[]), ..ForwardOptions::default() };
        let (mut act, mut gradients) = (Activations::default(), vec![0f32; model.values.len()]);
        model.forward(&case.batch, &options, &mut act);
        model.clear_gradient(&case.batch, &mut act);
        model.backward(&case.batch, &options, &PooledGradients::default(), &mut act, &mut gradients);
        assert!(gradients.iter().all(|gradient| *gradient == 0.0));
    }
}

#[test]
fn of_a_teacher_s_layers_the_last_that_runs_finishes_the_tokens_of_terms() {
    let (model, case) = (model("bert", 3, HeadForm::Family), case());
    let wanted = case.batch.wanted(&case.spans);
    let pooled = |wanted: Option<&[u32]>| {
        let mut act = Activations::default();
        let options = ForwardOptions { spans: &case.spans, layers: Some(2), wanted, ..ForwardOptions::default() };
        model.forward(&case.batch, &options, &mut act);
        (act.pooled_hidden, act.pooled_rows)
    };
    let ((all, all_rows), (few, few_rows)) = (pooled(None), pooled(Some(&wanted)));
    assert_eq!((few.len(), &few_rows), (3, &all_rows));
    for (all, few) in all.iter().flatten().zip(few.iter().flatten()) {
        assert!((all - few).abs() < 1e-5);
    }
}

#[test]
fn a_packed_batch_gives_what_each_note_gives_alone() {
    let model = model("bert", 2, HeadForm::Family);
    let case = case();
    let options = ForwardOptions { spans: &case.spans, ..ForwardOptions::default() };
    let (mut act, mut head) = (Activations::default(), ClassifierActivations::default());
    model.forward(&case.batch, &options, &mut act);
    model.classify(&case.batch, &[0, 1, 2], None, &act, &mut head);
    for note in 0..3 {
        let range = case.batch.cu_seqlens[note] as usize..case.batch.cu_seqlens[note + 1] as usize;
        let alone = Batch::pack([&case.batch.input_ids[range]]);
        let (mut single, mut single_head) = (Activations::default(), ClassifierActivations::default());
        model.forward(&alone, &ForwardOptions::default(), &mut single);
        model.classify(&alone, &[0], None, &single, &mut single_head);
        for class in 0..3 {
            assert!((head.logits[note * 3 + class] - single_head.logits[class]).abs() < 1e-5);
        }
    }
}

#[test]
fn gradients_are_added_so_that_batches_accumulate() {
    let (model, case) = (model("electra", 2, HeadForm::Family), case());
    let (mut once, mut twice) = (vec![0f32; model.values.len()], vec![0f32; model.values.len()]);
    loss(&model, &case, Some(5), Some(&mut once));
    loss(&model, &case, Some(5), Some(&mut twice));
    loss(&model, &case, Some(5), Some(&mut twice));
    for (once, twice) in once.iter().zip(&twice) {
        assert!((2.0 * once - twice).abs() < 1e-5 * (1.0 + once.abs()));
    }
}
