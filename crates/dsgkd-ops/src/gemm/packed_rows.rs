//! Activations packed by the operation that makes them, for the product that reads them next.

#[cfg(target_arch = "x86_64")]
use super::x86::PackedLeft;
use super::{Piece, Weight};

/// Rows `[rows, columns]` in the order and the type in which a product reads its left factor, written while they are in the cache; the product would
/// otherwise read and round them once more, with the same result.
#[derive(Default)]
pub struct PackedRows {
    rows: usize,
    columns: usize,
    #[cfg(target_arch = "x86_64")]
    left: Option<PackedLeft>,
}

/// A dense layer's input, `[rows, columns]`.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// As it is.
    Plain(&'a [f32]),
    /// Packed by whoever made it.
    Packed(&'a PackedRows),
}

/// Where an operation puts what the next dense layer reads, `[rows, columns]`.
pub enum Output<'a> {
    /// As it is.
    Plain(&'a mut [f32]),
    /// Packed, and not kept otherwise.
    Packed(&'a mut PackedRows),
}

impl<'a> From<&'a [f32]> for Input<'a> {
    fn from(rows: &'a [f32]) -> Input<'a> {
        Input::Plain(rows)
    }
}

impl<'a> From<&'a Vec<f32>> for Input<'a> {
    fn from(rows: &'a Vec<f32>) -> Input<'a> {
        Input::Plain(rows)
    }
}

impl PackedRows {
    /// Makes room for `[rows, columns]` as products with `weight` read them. There is no room, and nothing is packed, where these read plain rows:
    /// in `f32` where they lie, or to quantise each by its greatest element.
    pub fn make_room(&mut self, rows: usize, columns: usize, weight: Weight) {
        (self.rows, self.columns) = (rows, columns);
        #[cfg(target_arch = "x86_64")]
        PackedLeft::make_room(&mut self.left, rows, columns, weight);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = weight;
    }

    /// The packed rows, or `plain` where there was no room for them. Both must have been written.
    pub fn or<'a>(&'a self, plain: &'a [f32]) -> Input<'a> {
        if self.panel_rows().is_some() { Input::Packed(self) } else { Input::Plain(plain) }
    }

    /// Whether there is room for just these rows.
    pub(crate) fn has_room(&self, rows: usize, columns: usize) -> bool {
        self.panel_rows().is_some() && (self.rows, self.columns) == (rows, columns)
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// To write these rows, or `plain` where there is no room for them: it is given the size they have.
    pub fn or_mut<'a>(&'a mut self, plain: &'a mut Vec<f32>) -> Output<'a> {
        if self.panel_rows().is_some() {
            return Output::Packed(self);
        }
        plain.resize(self.rows * self.columns, 0.0);
        Output::Plain(plain)
    }

    /// The rows of a panel, where there is room: pieces begin at a multiple of it.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn panel_rows(&self) -> Option<usize> {
        self.left.as_ref().map(PackedLeft::panel_rows)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn panel_rows(&self) -> Option<usize> {
        None
    }

    /// Packs a piece of the rows, of whole panels (but the last) and of columns that begin at a multiple of 32, if there is room.
    ///
    /// # Safety
    /// Nobody else writes or reads these rows and columns meanwhile.
    pub(crate) unsafe fn write(&self, piece: &Piece) {
        #[cfg(target_arch = "x86_64")]
        if let Some(left) = &self.left {
            assert!(piece.rows.end <= self.rows && piece.columns.end <= self.columns);
            // SAFETY: the caller's promise.
            unsafe { left.write(piece) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = piece;
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn left(&self) -> &PackedLeft {
        self.left.as_ref().expect("`or` gives packed rows where there are any")
    }
}
