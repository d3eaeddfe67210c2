//! Weights packed beforehand, for models that only answer.

use super::Matrix;
#[cfg(target_arch = "x86_64")]
use super::x86::{Int8Weight, PackedMatrix};
#[cfg(target_arch = "x86_64")]
use super::{Precision, has_avx512, has_bfloat16, x86};

/// How the weights of a model that only answers are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightPrecision {
    /// With all their bits: 4 bytes each, 6 as planes for matrix units.
    #[default]
    Float32,
    /// Rounded to `bf16`, and so are the activations.
    Bfloat16,
    /// In `int8`, one scale an output; the activations too, one scale a token.
    Int8,
}

/// A dense layer's weight `[outputs, inputs]`, packed once for many products `input * weight^T`. Where the library multiplies it is the plain weight.
#[derive(Clone)]
pub struct PackedWeight(Form);

#[derive(Clone)]
enum Form {
    Plain {
        weight: Vec<f32>,
        inputs: usize,
    },
    #[cfg(target_arch = "x86_64")]
    Matrix(PackedMatrix),
    #[cfg(target_arch = "x86_64")]
    Int8(Int8Weight),
}

impl WeightPrecision {
    /// What this processor makes of it: `int8` needs AVX2, with AVX-512 also VNNI, `bf16` what [`Precision::available`] asks for; elsewhere weights stay `f32`.
    pub fn available(self) -> WeightPrecision {
        #[cfg(target_arch = "x86_64")]
        match self {
            WeightPrecision::Int8 if x86::has_int8() => return self,
            WeightPrecision::Bfloat16 if has_bfloat16() => return self,
            _ => {}
        }
        WeightPrecision::Float32
    }
}

impl PackedWeight {
    /// Packs `weight [outputs, inputs]`, as [`WeightPrecision::available`] allows.
    pub fn new(weight: &[f32], inputs: usize, precision: WeightPrecision) -> PackedWeight {
        #[cfg(target_arch = "x86_64")]
        {
            let of_our_own = match precision.available() {
                WeightPrecision::Int8 => return PackedWeight::of_int8(Int8Weight::new(weight, inputs)),
                WeightPrecision::Bfloat16 => Some(Precision::Bfloat16),
                WeightPrecision::Float32 => has_avx512().then_some(Precision::Float32),
            };
            if let Some(precision) = of_our_own {
                let matrix = Matrix::new(weight, weight.len() / inputs, inputs, inputs).transposed();
                return PackedWeight(Form::Matrix(PackedMatrix::new(matrix, precision)));
            }
        }
        let _ = precision;
        PackedWeight(Form::Plain { weight: weight.to_vec(), inputs })
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn of_int8(weight: Int8Weight) -> PackedWeight {
        PackedWeight(Form::Int8(weight))
    }

    /// Whether our own products must multiply it, whatever else the library does.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn is_int8(&self) -> bool {
        matches!(self.0, Form::Int8(_))
    }

    pub(super) fn inputs(&self) -> usize {
        match &self.0 {
            Form::Plain { inputs, .. } => *inputs,
            #[cfg(target_arch = "x86_64")]
            Form::Matrix(matrix) => matrix.rows,
            #[cfg(target_arch = "x86_64")]
            Form::Int8(weight) => weight.inputs,
        }
    }

    pub(super) fn outputs(&self) -> usize {
        match &self.0 {
            Form::Plain { weight, inputs } => weight.len() / inputs,
            #[cfg(target_arch = "x86_64")]
            Form::Matrix(matrix) => matrix.columns,
            #[cfg(target_arch = "x86_64")]
            Form::Int8(weight) => weight.outputs,
        }
    }

    /// Bytes of the packed weight.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Form::Plain { weight, .. } => size_of_val(&weight[..]),
            #[cfg(target_arch = "x86_64")]
            Form::Matrix(matrix) => matrix.bytes(),
            #[cfg(target_arch = "x86_64")]
            Form::Int8(weight) => weight.bytes(),
        }
    }

    /// The plain weight as a right factor, `[inputs, outputs]`: what the library takes.
    pub(super) fn plain(&self) -> Matrix<'_> {
        match &self.0 {
            Form::Plain { weight, inputs } => Matrix::new(weight, weight.len() / inputs, *inputs, *inputs).transposed(),
            #[cfg(target_arch = "x86_64")]
            _ => unreachable!("weights are only packed where our own products run"),
        }
    }

    /// What our own products take.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn matrix(&self) -> Result<&PackedMatrix, &Int8Weight> {
        match &self.0 {
            Form::Matrix(matrix) => Ok(matrix),
            Form::Int8(weight) => Err(weight),
            Form::Plain { .. } => unreachable!("where our own products run, weights are packed"),
        }
    }
}
