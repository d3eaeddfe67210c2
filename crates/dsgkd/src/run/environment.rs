//! What a run was computed with, for those who must explain or repeat it.

pub use dsgkd_ops::Instructions;

/// Instruction sets of this processor that change how fast, and in the last digits how, it computes.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub fn cpu_features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let features = detected!(
        "sse4.2",
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512bf16",
        "avx512vnni"
    );
    features.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_string()).collect()
}

/// Instruction sets of this processor that change how fast, and in the last digits how, it computes.
#[cfg(target_arch = "aarch64")]
pub fn cpu_features() -> Vec<String> {
    macro_rules! detected {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),*]
        };
    }
    let features = detected!("neon", "fp16", "bf16", "i8mm", "sve", "sve2");
    features.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name.to_string()).collect()
}

/// Instruction sets of this processor that change how fast, and in the last digits how, it computes.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
pub fn cpu_features() -> Vec<String> {
    vec![]
}
