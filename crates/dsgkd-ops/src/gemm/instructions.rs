//! What multiplies matrices here: what the processor has, or less where the environment asks for less.

use std::sync::LazyLock;

/// What multiplies matrices, from what every processor has to what few have. Each rounds in its own way, in the last digits. The same instructions give the
/// same digits, but for `bf16`, which Intel's registers are too slow in, and the library, which orders sums as the caches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// The `gemm` crate, in `f32`: AVX2 or NEON; `int8` by AVX2 as it is everywhere.
    Library,
    /// Our own products in AVX-512 registers.
    Avx512,
    /// Our own products in Intel's matrix units.
    Amx,
}

impl Instructions {
    /// The environment variable that limits them, for who must repeat another processor's result or find out what one is worth.
    pub const VARIABLE: &str = "DSGKD_PRODUCTS";

    const ALL: [Instructions; 3] = [Instructions::Library, Instructions::Avx512, Instructions::Amx];

    /// Their name in the variable and in what runs record.
    pub fn name(self) -> &'static str {
        match self {
            Instructions::Library => "library",
            Instructions::Avx512 => "avx512",
            Instructions::Amx => "amx",
        }
    }

    /// Those that the environment allows; none where it says nothing.
    ///
    /// # Errors
    /// What the variable says is no name, or names what this processor lacks: the result would not be what was asked for.
    pub fn asked_for() -> Result<Option<Instructions>, String> {
        let Some(value) = std::env::var_os(Self::VARIABLE) else { return Ok(None) };
        let known = Self::ALL.into_iter().find(|instructions| value == instructions.name());
        match known {
            Some(instructions) if instructions.are_there() => Ok(Some(instructions)),
            Some(instructions) => Err(format!("{}: this processor has no {}", Self::VARIABLE, instructions.name())),
            None => Err(format!("{}: library, avx512 or amx", Self::VARIABLE)),
        }
    }

    /// Those that are used: decided once.
    pub fn used() -> Instructions {
        static USED: LazyLock<Instructions> = LazyLock::new(|| {
            let best = || Instructions::ALL.into_iter().rfind(|instructions| instructions.are_there());
            // Whoever starts a program asks and tells of the error.
            Instructions::asked_for().ok().flatten().or_else(best).unwrap_or(Instructions::Library)
        });
        *USED
    }

    fn are_there(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return super::x86::has_instructions(self);
        #[cfg(not(target_arch = "x86_64"))]
        return self == Instructions::Library;
    }
}
