//! Means over token spans (DSG-KD, step 2).

use super::Packing;
use burn_tensor::{IndexingUpdateOp, Tensor};

/// `[spans, hidden]`: the mean of `hidden_states [tokens, hidden]` over each of the packing's spans; nothing without spans.
pub fn mean_forward(hidden_states: Tensor<2>, packing: &Packing) -> Option<Tensor<2>> {
    let spans = packing.spans.as_ref()?;
    let ([_, hidden], device) = (hidden_states.dims(), hidden_states.device());
    let shares = hidden_states.select(0, spans.tokens.clone()).mul(spans.shares.clone());
    let sums = Tensor::zeros([spans.count, hidden], &device);
    Some(sums.select_assign(0, spans.owners.clone(), shares, IndexingUpdateOp::Add))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable::testing::{Leaf, check_forward, check_gradients, device, directed, random};
    use crate::spans::{self as cpu, Span};

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        let (cu_seqlens, hidden) = ([0, 5, 6, 23], 9);
        let spans = [
            Span { note: 0, start: 1, end: 3 },
            Span { note: 0, start: 2, end: 5 },
            Span { note: 2, start: 0, end: 17 },
            Span { note: 2, start: 16, end: 17 },
        ];
        let states = Leaf::new(random(23 * hidden, 1), [23, hidden]);
        let direction = random(spans.len() * hidden, 2);
        let packing = Packing::new(&cu_seqlens, &spans, &device());
        let portable = mean_forward(states.tensor(), &packing).expect("there are spans");
        let mut output = vec![0f32; spans.len() * hidden];
        cpu::mean_forward(&states.values, &cu_seqlens, &spans, &mut output, hidden);
        check_forward("means", &portable, &output);
        let mut d_states = vec![0f32; 23 * hidden];
        cpu::mean_backward(&direction, &cu_seqlens, &spans, &mut d_states, hidden);
        check_gradients("hidden states", &states, &directed(portable, &direction).backward(), &d_states);
        assert!(mean_forward(states.tensor(), &Packing::new(&cu_seqlens, &[], &device())).is_none());
    }
}
