//! Dropout masks hashed on the device from the elements' positions: the same masks as the CPU form's, to the bit.

use crate::Dropout;
use crate::dropout::{FIRST_FACTOR, POSITION_FACTOR, SECOND_FACTOR};
use burn_tensor::{DType, Device, Int, Tensor, TensorData};

/// Whole numbers of 32 bits on `device`, whatever its default type of whole number.
pub(crate) fn upload_u32<const D: usize>(values: Vec<u32>, shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::U32))
}

/// A position as [`factors`] takes it.
pub(crate) fn scrambled(position: usize) -> u32 {
    (position as u32).wrapping_mul(POSITION_FACTOR)
}

/// `values * factor` modulo 2^32. In two halves of the factor, because a backend may compute in 64 bits with a sign and
/// look for overflows there.
fn times<const D: usize>(values: Tensor<D, Int>, factor: u32) -> Tensor<D, Int> {
    let low = values.clone().mul_scalar(factor & 0xFFFF);
    let high = values.mul_scalar(factor >> 16).bitwise_left_shift_scalar(16u32);
    low.add(high)
}

fn xor_shifted<const D: usize>(values: Tensor<D, Int>, bits: u32) -> Tensor<D, Int> {
    values.clone().bitwise_xor(values.bitwise_right_shift_scalar(bits))
}

/// The factors of elements: 0 where one is dropped. `positions` (see [`scrambled`]) and `seeds` (of each part of the tensor)
/// are broadcast against each other.
pub(crate) fn factors<const D: usize>(dropout: Dropout, positions: Tensor<D, Int>, seeds: Tensor<D, Int>) -> Tensor<D> {
    let hash = xor_shifted(positions.bitwise_xor(seeds), 16);
    let hash = xor_shifted(times(hash, FIRST_FACTOR), 13);
    let hash = xor_shifted(times(hash, SECOND_FACTOR), 16);
    hash.greater_equal_scalar(dropout.threshold).float().mul_scalar(dropout.scale)
}

/// Multiplies every element of `values [rows, columns]` by its factor, as [`Dropout::apply`] does.
pub fn drop_rows(dropout: Dropout, values: Tensor<2>) -> Tensor<2> {
    if !dropout.is_active() {
        return values;
    }
    let ([rows, columns], device) = (values.dims(), values.device());
    let positions = upload_u32((0..columns).map(scrambled).collect(), [1, columns], &device);
    let seeds = upload_u32((0..rows).map(|row| dropout.part(row).seed).collect(), [rows, 1], &device);
    values.mul(factors(dropout, positions, seeds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portable::testing::{device, numbers_of};
    use crate::portable::upload;

    #[test]
    fn masks_are_those_of_the_cpu_form_to_the_bit() {
        for probability in [0.1f32, 0.6] {
            let (rows, columns) = (37, 91);
            let dropout = Dropout::new(probability, 12345);
            let mut expected = vec![1f32; rows * columns];
            dropout.apply(&mut expected, columns);
            let ones = upload(&vec![1f32; rows * columns], [rows, columns], &device());
            assert_eq!(numbers_of(&drop_rows(dropout, ones)), expected);
        }
    }
}
