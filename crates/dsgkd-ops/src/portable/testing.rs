//! What the tests of the portable forms share: the device, random numbers, and comparisons with the CPU form.
//!
//! The tests run on Burn's CPU device, or on the one that `DSGKD_DEVICE` names (`cuda`, `vulkan`); a device that is not there fails them.

use super::{DeviceName, download, upload};
use burn_tensor::{Device, Gradients, Tensor};
use std::sync::OnceLock;

/// Largest error of a forward pass, relative to the largest value.
const FORWARD: f32 = 1e-5;
/// Largest error of a gradient, relative to the largest value.
const BACKWARD: f32 = 1e-4;

/// The device under test, with autodiff.
pub(crate) fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let open = || {
        let name = std::env::var("DSGKD_DEVICE").unwrap_or_else(|_| "cpu".to_string());
        let name: DeviceName = name.parse().unwrap_or_else(|error| panic!("DSGKD_DEVICE: {error}"));
        name.open().unwrap_or_else(|error| panic!("{error}")).autodiff()
    };
    DEVICE.get_or_init(open).clone()
}

/// Numbers between -1.5 and 1.5 that follow from `seed`.
pub(crate) fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 * 3.0 - 1.5
    };
    (0..count).map(|_| next()).collect()
}

/// A tensor that gets a gradient, and its numbers.
pub(crate) struct Leaf<const D: usize> {
    pub(crate) values: Vec<f32>,
    tensor: Tensor<D>,
}

impl<const D: usize> Leaf<D> {
    pub(crate) fn new(values: Vec<f32>, shape: [usize; D]) -> Leaf<D> {
        let tensor = upload(&values, shape, &device()).require_grad();
        Leaf { values, tensor }
    }

    pub(crate) fn tensor(&self) -> Tensor<D> {
        self.tensor.clone()
    }
}

pub(crate) fn numbers_of<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    download(tensor).expect("the device computes")
}

/// A scalar of a tensor: its dot product with `direction`, of which `direction` is the gradient.
pub(crate) fn directed<const D: usize>(tensor: Tensor<D>, direction: &[f32]) -> Tensor<1> {
    let (shape, device) = (tensor.dims(), tensor.device());
    tensor.mul(upload(direction, shape, &device)).sum()
}

fn check(what: &str, ours: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let greatest = expected.iter().fold(0f32, |greatest, value| greatest.max(value.abs())).max(1e-3);
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        let error = (ours - expected).abs() / greatest;
        assert!(error <= bound, "{what}, element {index}: {ours}, but {expected} on the CPU, of up to {greatest}");
    }
}

/// Holds a forward pass against the CPU form's.
pub(crate) fn check_forward<const D: usize>(what: &str, ours: &Tensor<D>, expected: &[f32]) {
    check(what, &numbers_of(ours), expected, FORWARD);
}

/// Holds the gradient of a leaf against the CPU form's.
pub(crate) fn check_gradients<const D: usize>(what: &str, leaf: &Leaf<D>, gradients: &Gradients, expected: &[f32]) {
    let gradient = leaf.tensor.grad(gradients).unwrap_or_else(|| panic!("{what} has no gradient"));
    check(&format!("gradient of {what}"), &numbers_of(&gradient), expected, BACKWARD);
}
