//! What the products' factors are packed as, and what that decides: who multiplies them and in which pieces.

use super::kernel::{self, Left, MR, Multiply, NR, Right, Store};
use super::{PANELS, amx, pairs};

/// What a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// An `f32`.
    Float32,
    /// Two `bf16`.
    Bfloat16Pairs,
    /// Two `bf16`, in blocks for [`amx`].
    Bfloat16Tiles,
    /// Two `f32` as three planes of two `bf16`, in blocks for [`amx`].
    Float32Tiles,
    /// Four `int8`.
    Int8Quads,
    /// Four `int8`, in blocks for [`amx`].
    Int8Tiles,
    /// Two `int8` in 16 bits each, for [`pairs`].
    Int8Pairs,
}

/// What multiplies a format.
enum Units {
    Registers(Multiply),
    Tiles(amx::Numbers),
    Pairs,
}

impl Format {
    fn units(self) -> Units {
        match self {
            Format::Float32 => Units::Registers(Multiply::Float32),
            Format::Bfloat16Pairs => Units::Registers(Multiply::Bfloat16Pairs),
            Format::Bfloat16Tiles => Units::Tiles(amx::Numbers::Bfloat16),
            Format::Float32Tiles => Units::Tiles(amx::Numbers::Float32),
            Format::Int8Quads => Units::Registers(Multiply::Int8Quads),
            Format::Int8Tiles => Units::Tiles(amx::Numbers::Int8),
            Format::Int8Pairs => Units::Pairs,
        }
    }

    pub(super) fn has_tiles(self) -> bool {
        matches!(self.units(), Units::Tiles(_))
    }

    /// Whether the tiles read the lanes of left factors row by row, unless the steps of a row are no neighbours.
    pub(super) fn reads_rows(self) -> bool {
        matches!(self.units(), Units::Registers(_))
    }

    /// Steps of K in a lane.
    pub(super) fn steps(self) -> usize {
        match self {
            Format::Float32 => 1,
            Format::Bfloat16Pairs | Format::Bfloat16Tiles | Format::Float32Tiles | Format::Int8Pairs => 2,
            Format::Int8Quads | Format::Int8Tiles => 4,
        }
    }

    /// Lanes that `steps` of K take, in whole blocks.
    pub(super) fn lanes(self, steps: usize) -> usize {
        let lanes = steps.div_ceil(self.steps());
        if self.has_tiles() { lanes.next_multiple_of(amx::BLOCK) } else { lanes }
    }

    /// Planes of a number: 32-bit words of a lane.
    pub(super) fn planes(self) -> usize {
        if self == Format::Float32Tiles { 3 } else { 1 }
    }

    /// Rows of a tile, and of a left factor's panel.
    pub(super) fn rows(self) -> usize {
        if self.has_tiles() { amx::ROWS } else { MR }
    }

    /// Columns that [`Format::tile`] takes at a time: those of one panel of the right factor, or of two, where loading less often is faster
    /// (docs/performance.md). The bits are the same.
    pub(super) fn columns(self) -> usize {
        match self {
            Format::Float32 | Format::Int8Quads => 2 * NR,
            Format::Bfloat16Pairs | Format::Bfloat16Tiles | Format::Float32Tiles => NR,
            Format::Int8Tiles | Format::Int8Pairs => NR,
        }
    }

    /// Lanes of K that a tile runs over before it is stored, and panels of the right factor that are packed, then used by all rows: that many
    /// panels stay in the second cache.
    pub(super) fn blocking(self) -> (usize, usize) {
        match self {
            Format::Float32 | Format::Bfloat16Pairs => (768, PANELS),
            Format::Bfloat16Tiles => (768, 2 * PANELS),
            Format::Float32Tiles => (384, PANELS),
            Format::Int8Quads | Format::Int8Tiles => (usize::MAX, PANELS),
            Format::Int8Pairs => (usize::MAX, PANELS / 3), // twice the room of quads, half the second cache
        }
    }

    /// What a thread must hold while it calls [`Format::tile`].
    ///
    /// # Safety
    /// The processor must have what the format needs.
    pub(super) unsafe fn hold_tiles(self) -> Option<amx::Tiles> {
        // SAFETY: the caller's promise.
        self.has_tiles().then(|| unsafe { amx::Tiles::new() })
    }

    /// One tile of `rows` by `columns`, up to [`Format::rows`] by [`Format::columns`], over `lanes` lanes of K.
    ///
    /// # Safety
    /// As for [`kernel::tile`], [`amx::tile`] or [`pairs::tile`]; this thread must hold what [`Format::hold_tiles`] gives.
    pub(super) unsafe fn tile(
        self,
        lanes: usize,
        left: Left,
        right: Right,
        rows: usize,
        columns: usize,
        store: &Store,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            match (self.units(), left) {
                (Units::Registers(multiply), left) => kernel::tile(multiply, lanes, left, right, rows, columns, store),
                (Units::Tiles(numbers), Left::Packed(left)) => {
                    amx::tile(numbers, lanes, left, right.data, rows, columns, store)
                }
                (Units::Pairs, Left::Packed(left)) => pairs::tile(lanes, left, right.data, rows, columns, store),
                (Units::Tiles(_) | Units::Pairs, Left::Rows { .. }) => unreachable!("these read packed factors"),
            }
        }
    }
}
