//! `train.device`: who computes the steps.

use super::learner::Learner;
#[cfg(feature = "portable")]
use super::portable::DeviceLearner;
use super::step::{Learn, StepSettings};
use crate::config::{Device, Dtype, TrainConfig};
use crate::distill::cache::TeacherCache;
use crate::distill::teacher::Teacher;
use crate::error::{Error, Result};
use dsgkd_encoder::Model;
#[cfg(feature = "portable")]
use dsgkd_ops::portable::{self, DeviceName};

/// Whether the device does what is asked of it, and this build and this machine have it.
///
/// # Errors
/// Names the key, or says who lacks the device.
pub fn check(train: &TrainConfig) -> Result<()> {
    if train.device == Device::Cpu {
        return Ok(());
    }
    let unknown = [
        ("train.dtype", train.dtype != Dtype::Float32),
        ("train.gradient_checkpointing", train.gradient_checkpointing),
    ];
    if let Some((key, _)) = unknown.into_iter().find(|(_, is_asked)| *is_asked) {
        let message = format!("`{key}` is for the CPU alone; leave it out, or set `train.device` to \"cpu\"");
        return Err(Error::Config(message));
    }
    open(train.device).map(|_| ())
}

/// A student at step 0 of its training on `device`.
///
/// # Errors
/// This build or this machine lacks the device.
pub fn learner(
    device: Device,
    student: Model,
    teachers: Vec<Teacher>,
    caches: Vec<TeacherCache>,
    settings: StepSettings,
) -> Result<Box<dyn Learn>> {
    match device {
        Device::Cpu => Ok(Box::new(Learner::new(student, teachers, caches, settings))),
        #[cfg(feature = "portable")]
        other => Ok(Box::new(DeviceLearner::new(student, teachers, caches, settings, &open(other)?))),
        #[cfg(not(feature = "portable"))]
        other => match open(other)? {},
    }
}

#[cfg(feature = "portable")]
fn open(device: Device) -> Result<portable::Device> {
    let name = match device {
        Device::Cpu => DeviceName::Cpu,
        Device::Cuda => DeviceName::Cuda,
        Device::Vulkan => DeviceName::Vulkan,
    };
    name.open().map_err(|missing| Error::Config(format!("`train.device`: {missing}; or set it to \"cpu\"")))
}

#[cfg(not(feature = "portable"))]
fn open(device: Device) -> Result<std::convert::Infallible> {
    let name = format!("{device:?}").to_lowercase();
    Err(Error::Config(format!(
        "`train.device`: device \"{name}\": this build lacks it; build with the feature `{name}`, or set it to \"cpu\""
    )))
}
