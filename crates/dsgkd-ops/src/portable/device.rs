//! Devices by name.

use burn_tensor::Device;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Where the portable forms compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// Burn's own CPU backend.
    Cpu,
    /// The first CUDA device.
    Cuda,
    /// The first Vulkan device, a software driver where there is no other.
    Vulkan,
}

/// Why there is no such device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingDevice {
    /// This build lacks the feature of the device's name.
    Feature(DeviceName),
    /// The machine has none.
    Hardware(DeviceName),
}

impl DeviceName {
    /// The device itself.
    ///
    /// # Errors
    /// This build lacks the feature, or the machine the device.
    pub fn open(self) -> Result<Device, MissingDevice> {
        match self {
            DeviceName::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            DeviceName::Cuda => cuda().ok_or(MissingDevice::Hardware(self)),
            #[cfg(feature = "vulkan")]
            DeviceName::Vulkan => vulkan().ok_or(MissingDevice::Hardware(self)),
            #[allow(unreachable_patterns)] // with both features on
            missing => Err(MissingDevice::Feature(missing)),
        }
    }
}

/// The first CUDA device; Burn's own constructor panics at the first tensor where there is none.
#[cfg(feature = "cuda")]
fn cuda() -> Option<Device> {
    Device::enumerate(burn_tensor::DeviceType::Cuda).into_vec().into_iter().next()
}

/// The best Vulkan device, as Burn's WebGPU backend drives it (kernels in WGSL): the SPIR-V of Burn's own Vulkan backend ends
/// Mesa's software driver (22.3 and 25.0) with a segmentation fault wherever a kernel has shared memory.
#[cfg(feature = "vulkan")]
fn vulkan() -> Option<Device> {
    use burn_tensor::wgpu::WgpuBackend;
    use std::sync::OnceLock;

    // Burn sets a device up once a process, and refuses a second time.
    static DEVICE: OnceLock<Option<Device>> = OnceLock::new();
    DEVICE.get_or_init(|| Device::wgpu_options().graphics_api(WgpuBackend::Vulkan).init().ok()).clone()
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(name: &str) -> Result<DeviceName, String> {
        match name {
            "cpu" => Ok(DeviceName::Cpu),
            "cuda" => Ok(DeviceName::Cuda),
            "vulkan" => Ok(DeviceName::Vulkan),
            _ => Err(format!("no device is called \"{name}\"; there are cpu, cuda and vulkan")),
        }
    }
}

impl Display for DeviceName {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            DeviceName::Cpu => "cpu",
            DeviceName::Cuda => "cuda",
            DeviceName::Vulkan => "vulkan",
        })
    }
}

impl Display for MissingDevice {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            MissingDevice::Feature(name) => {
                write!(formatter, "device \"{name}\": this build lacks it; build with the feature `{name}`")
            }
            MissingDevice::Hardware(name) => {
                write!(formatter, "device \"{name}\": this machine has none, or no driver")
            }
        }
    }
}

impl std::error::Error for MissingDevice {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_a_missing_device_is_said() {
        for name in [DeviceName::Cpu, DeviceName::Cuda, DeviceName::Vulkan] {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert!("gpu".parse::<DeviceName>().is_err());
        assert!(DeviceName::Cpu.open().is_ok());
        #[cfg(not(feature = "cuda"))]
        assert_eq!(DeviceName::Cuda.open().err(), Some(MissingDevice::Feature(DeviceName::Cuda)));
    }
}
