//! The portable forms: the operations of this crate composed of Burn's tensor operations, for any device that Burn knows.
//!
//! They take and give what the CPU forms do (packed tokens, `[tokens, hidden]`; dense weights `[out, in]`; dropout masks
//! hashed from the same positions), and a test holds each against its CPU form, forward and backward. Burn's autodiff
//! derives the backward: tensors that shall get a gradient are made on `device.autodiff()` and marked `require_grad`.
//!
//! Shapes are checked by Burn: a mismatch is a bug of the caller, not an input error.

pub mod activation;
pub mod adamw;
pub mod attention;
mod device;
mod dropout;
pub mod embedding;
pub mod layer_norm;
pub mod linear;
pub mod loss;
mod packing;
pub mod spans;
#[cfg(test)]
mod testing;

pub use burn_tensor as burn;
pub use burn_tensor::{Device, Tensor};
pub use device::{DeviceName, MissingDevice};
pub use dropout::drop_rows;
pub use packing::Packing;

use burn_tensor::{Int, TensorData};

/// Numbers as a tensor of `shape` on `device`.
pub fn upload<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Indices as a tensor on `device`.
pub fn upload_indices(indices: &[u32], device: &Device) -> Tensor<1, Int> {
    let indices: Vec<i32> = indices.iter().map(|index| *index as i32).collect();
    let length = indices.len();
    Tensor::from_data(TensorData::new(indices, [length]), device)
}

/// The numbers of a tensor, row-major. Waits for the device.
///
/// # Errors
/// Of the device.
pub fn download<const D: usize>(tensor: &Tensor<D>) -> Result<Vec<f32>, DeviceError> {
    tensor.try_to_vec_as::<f32>().map_err(|error| DeviceError(error.to_string()))
}

/// What a device says of a computation that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceError(String);

impl std::fmt::Display for DeviceError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the device failed: {}", self.0)
    }
}

impl std::error::Error for DeviceError {}
