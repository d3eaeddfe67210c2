//! The layer as a graph of Burn's autodiff whose nodes are the CPU operations, forward and backward: what the graph alone costs.
//!
//! A node's output and the gradients of its parents are tensors of Burn's CPU device, allocated anew each time, as Burn wants them.

use super::{HEADS, HIDDEN, LENGTH, TOKENS};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_backend::{AutodiffBackend, TensorData};
use burn_flex::{Flex, FlexTensor};
use dsgkd_encoder::{Batch, Model};
use dsgkd_ops::activation::{self, Activation};
use dsgkd_ops::attention::{self, Attention, probabilities_len};
use dsgkd_ops::layer_norm::{self, Addends, LayerNorm, LayerNormGradients};
use dsgkd_ops::linear::{self, Output, Weight};
use dsgkd_ops::{Dropout, Precision, embedding};
use std::error::Error;
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

/// A node of the graph.
type Node = FloatTensor<Autodiff<Flex>>;

/// Gradients of a node's parents from its own.
type ParentGradients<const N: usize> = dyn Fn(&[f32]) -> [Vec<f32>; N] + Send + Sync;

/// What a node keeps for its backward.
#[derive(Clone)]
struct Kept<const N: usize>(Arc<ParentGradients<N>>);

impl<const N: usize> Debug for Kept<N> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Kept")
    }
}

#[derive(Debug)]
struct Operation<const N: usize>;

impl<const N: usize> Backward<Flex, N> for Operation<N> {
    type State = Kept<N>;

    fn backward(self, ops: Ops<Kept<N>, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let of_parents = (ops.state.0)(gradient.storage());
        for (parent, gradient) in ops.parents.iter().zip(of_parents) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, tensor(gradient));
            }
        }
    }
}

/// All tensors are flat: shapes are the operations' affair.
fn tensor(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    FlexTensor::from_data(TensorData::new(values, [length]))
}

fn node<const N: usize>(
    parents: [&Node; N],
    output: Vec<f32>,
    backward: impl Fn(&[f32]) -> [Vec<f32>; N] + Send + Sync + 'static,
) -> Node {
    let operation = Operation.prepare::<NoCheckpointing>(parents.map(|parent| parent.node())).compute_bound();
    match operation.stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(Kept(Arc::new(backward)), tensor(output)),
        OpsKind::UnTracked(prepared) => prepared.finish(tensor(output)),
    }
}

fn values(node: &Node) -> FlexTensor {
    node.primitive().clone()
}

fn dense(input: &Node, weight: &Node) -> Node {
    let (x, w) = (values(input), values(weight));
    let outputs = w.storage::<f32>().len() * TOKENS / x.storage::<f32>().len();
    let mut output = vec![0f32; TOKENS * outputs];
    linear::forward(x.storage(), Weight::Plain(w.storage(), Precision::Float32), &mut output, TOKENS);
    node([input, weight], output, move |d_output| {
        let (x, w) = (x.storage::<f32>(), w.storage::<f32>());
        let (mut d_x, mut d_w) = (vec![0f32; x.len()], vec![0f32; w.len()]);
        linear::backward_input(d_output, w, Precision::Float32, &mut d_x, TOKENS, false);
        linear::backward_weight(d_output, x, Precision::Float32, &mut d_w, TOKENS);
        [d_x, d_w]
    })
}

fn dense_gelu(input: &Node, weight: &Node, bias: &Node) -> Node {
    let (x, w, b) = (values(input), values(weight), values(bias));
    let columns = b.storage::<f32>().len();
    let (mut before, mut output) = (vec![0f32; TOKENS * columns], vec![0f32; TOKENS * columns]);
    let plain = Weight::Plain(w.storage(), Precision::Float32);
    let gelu = Activation::Gelu;
    activation::dense_forward(
        gelu,
        x.storage(),
        plain,
        b.storage(),
        Some(&mut before),
        Output::Plain(&mut output),
        TOKENS,
    );
    node([input, weight, bias], output, move |d_output| {
        let (x, w) = (x.storage::<f32>(), w.storage::<f32>());
        // The graph's own: a node may not change what it kept or was given.
        let (mut before, mut gradient) = (before.clone(), d_output.to_vec());
        let (mut d_x, mut d_w, mut d_b) = (vec![0f32; x.len()], vec![0f32; w.len()], vec![0f32; columns]);
        activation::backward(gelu, &mut before, &mut gradient, &mut d_b);
        linear::backward_input(&gradient, w, Precision::Float32, &mut d_x, TOKENS, false);
        linear::backward_weight(&gradient, x, Precision::Float32, &mut d_w, TOKENS);
        [d_x, d_w, d_b]
    })
}

/// Attention of `product + bias`, where `product` is that of the fused query, key and value.
fn attend(product: &Node, bias: &Node, cu_seqlens: &[u32], dropout: Dropout) -> Node {
    let (x, b) = (values(product), values(bias));
    let mut qkv = x.storage::<f32>().to_vec();
    for row in qkv.chunks_exact_mut(3 * HIDDEN) {
        row.iter_mut().zip(b.storage::<f32>()).for_each(|(value, bias)| *value += bias);
    }
    let cu_seqlens = cu_seqlens.to_vec();
    let mut probabilities = vec![0f32; probabilities_len(&cu_seqlens, HEADS)];
    let mut context = vec![0f32; TOKENS * HIDDEN];
    fn operation<'a>(qkv: &'a [f32], cu_seqlens: &'a [u32], dropout: Dropout) -> Attention<'a> {
        let precision = Precision::Float32;
        Attention { heads: HEADS, qkv, cu_seqlens, dropout, spans: &[], rows_after_dropout: false, precision }
    }
    attention::forward(operation(&qkv, &cu_seqlens, dropout), &mut context, Some(&mut probabilities), &mut []);
    node([product, bias], context, move |d_context| {
        let (mut d_qkv, mut d_bias) = (vec![0f32; qkv.len()], vec![0f32; 3 * HIDDEN]);
        let operation = operation(&qkv, &cu_seqlens, dropout);
        attention::backward(operation, &probabilities, d_context, &[], &mut d_qkv, &mut d_bias);
        [d_qkv, d_bias]
    })
}

/// `norm(residual + dropout(input + bias))`; without `add`, `norm(input)`.
fn normalise(input: &Node, norm: [&Node; 2], add: Option<(&Node, &Node, Dropout)>) -> Node {
    let (weight, beta) = (values(norm[0]), values(norm[1]));
    let (mut rows, mut inverse) = (values(input).storage::<f32>().to_vec(), vec![0f32; TOKENS]);
    let mut output = vec![0f32; rows.len()];
    let settings = LayerNorm { weight: weight.storage(), bias: beta.storage(), epsilon: 1e-12 };
    let dropout = add.map_or(Dropout::NONE, |(_, _, dropout)| dropout);
    let addends = add.map(|(bias, residual, _)| (values(bias), values(residual)));
    let added = addends.as_ref().map(|(bias, residual)| Addends {
        bias: bias.storage(),
        residual: residual.storage(),
        dropout,
    });
    layer_norm::forward(settings, &mut rows, added, &mut inverse, &mut output, None);
    let backward = move |d_output: &[f32]| {
        let settings = LayerNorm { weight: weight.storage(), bias: beta.storage(), epsilon: 1e-12 };
        let (mut d_residual, mut d_input) = (vec![0f32; rows.len()], vec![0f32; rows.len()]);
        let [mut d_weight, mut d_beta, mut d_bias] = [(); 3].map(|()| vec![0f32; HIDDEN]);
        let gradients = LayerNormGradients { weight: &mut d_weight, bias: &mut d_beta, input_bias: Some(&mut d_bias) };
        layer_norm::backward(settings, d_output, &rows, &inverse, dropout, &mut d_residual, &mut d_input, gradients);
        [d_input, d_weight, d_beta, d_bias, d_residual]
    };
    match add {
        Some((bias, residual, _)) => node([input, norm[0], norm[1], bias, residual], output, backward),
        None => node([input, norm[0], norm[1]], output, move |d_output| {
            let [d_input, d_weight, d_beta, _, _] = backward(d_output);
            [d_input, d_weight, d_beta]
        }),
    }
}

fn embed(tables: [&Node; 3], rows: [Vec<u32>; 3]) -> Node {
    let numbers = tables.map(values);
    let lookups = [0, 1, 2].map(|table| embedding::Lookup { table: numbers[table].storage(), rows: &rows[table] });
    let mut output = vec![0f32; TOKENS * HIDDEN];
    embedding::forward(&lookups, &mut output, HIDDEN);
    let lengths = numbers.map(|numbers| numbers.storage::<f32>().len());
    node(tables, output, move |d_output| {
        [0, 1, 2].map(|table| {
            let mut gradient = vec![0f32; lengths[table]];
            embedding::backward(d_output, &rows[table], &mut gradient, HIDDEN);
            gradient
        })
    })
}

fn drop_embedding(input: &Node, dropout: Dropout) -> Node {
    let mut output = values(input).storage::<f32>().to_vec();
    dropout.apply(&mut output, HIDDEN);
    node([input], output, move |d_output| {
        let mut gradient = d_output.to_vec();
        dropout.apply(&mut gradient, HIDDEN);
        [gradient]
    })
}

/// The parameters of a model of one layer, by their places in [`step`].
pub(crate) fn tensors(model: &Model) -> Result<Vec<FlexTensor>, Box<dyn Error>> {
    let find = |name: &&str| {
        let found = model.layout().tensors().iter().find(|spec| spec.name.ends_with(*name));
        found.map(|spec| spec.range.clone()).ok_or(format!("no tensor {name}"))
    };
    let places: [&[&str]; 17] = [
        &["word_embeddings.weight"],
        &["position_embeddings.weight"],
        &["token_type_embeddings.weight"],
        &["embeddings.LayerNorm.weight"],
        &["embeddings.LayerNorm.bias"],
        &["query.weight", "key.weight", "value.weight"],
        &["query.bias", "key.bias", "value.bias"],
        &["attention.output.dense.weight"],
        &["attention.output.dense.bias"],
        &["attention.output.LayerNorm.weight"],
        &["attention.output.LayerNorm.bias"],
        &["intermediate.dense.weight"],
        &["intermediate.dense.bias"],
        &["0.output.dense.weight"],
        &["0.output.dense.bias"],
        &["0.output.LayerNorm.weight"],
        &["0.output.LayerNorm.bias"],
    ];
    let of_place = |names: &&[&str]| -> Result<FlexTensor, Box<dyn Error>> {
        let ranges = names.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        Ok(tensor(model.values[ranges[0].start..ranges[ranges.len() - 1].end].to_vec()))
    };
    places.iter().map(of_place).collect()
}

/// Forward and backward of the model whose `parameters` are those of [`tensors`], along `direction`, with the dropouts of the embedding,
/// of attention and of the two residuals: the parameters' gradients.
pub(crate) fn step(
    parameters: &[FlexTensor],
    batch: &Batch,
    direction: &[f32],
    dropout: [Dropout; 4],
) -> Vec<FlexTensor> {
    let leaf = |numbers: &FlexTensor| {
        Autodiff::<Flex>::float_set_require_grad(Autodiff::<Flex>::from_inner(numbers.clone()), true)
    };
    let p: Vec<Node> = parameters.iter().map(leaf).collect();
    let positions = (0..TOKENS as u32).map(|token| token % LENGTH as u32).collect();
    let embedded = embed([&p[0], &p[1], &p[2]], [batch.input_ids.clone(), positions, vec![0; TOKENS]]);
    let input = drop_embedding(&normalise(&embedded, [&p[3], &p[4]], None), dropout[0]);
    let context = attend(&dense(&input, &p[5]), &p[6], &batch.cu_seqlens, dropout[1]);
    let projected = dense(&context, &p[7]);
    let attended = normalise(&projected, [&p[9], &p[10]], Some((&p[8], &input, dropout[2])));
    let activated = dense_gelu(&attended, &p[11], &p[12]);
    let projected = dense(&activated, &p[13]);
    let hidden = normalise(&projected, [&p[15], &p[16]], Some((&p[14], &attended, dropout[3])));
    let along = direction.to_vec();
    let objective = values(&hidden).storage::<f32>().iter().zip(&along).map(|(value, along)| value * along).sum();
    let objective = node([&hidden], vec![objective], move |_| [along.clone()]);
    let gradients = Autodiff::<Flex>::backward(objective);
    p.iter().filter_map(|leaf| Autodiff::<Flex>::grad(leaf, &gradients)).collect()
}
