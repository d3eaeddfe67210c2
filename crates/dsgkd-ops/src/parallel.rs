//! The two ways in which an operation is spread over the cores.

use rayon::prelude::*;
use std::cell::RefCell;

/// Rows that one task of a row-wise operation takes. Fixed, so that partial sums do not depend on the
/// number of threads.
pub(crate) const ROWS_PER_TASK: usize = 32;

/// Elements that one task of an element-wise operation takes.
pub(crate) const ELEMENTS_PER_TASK: usize = 1 << 14;

/// A pointer that tasks share when they write disjoint parts that no slice split can express (the
/// columns of one head).
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(pub(crate) *mut f32);

// SAFETY: whoever dereferences it promises that tasks write disjoint elements.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    /// The pointer; a method, so that closures capture the whole (`Send`) struct and not its field.
    pub(crate) fn pointer(self) -> *mut f32 {
        self.0
    }

    /// The `length` elements from `at` on.
    ///
    /// # Safety
    /// They lie in the buffer, nobody else touches them meanwhile, and the buffer outlives the slice.
    pub(crate) unsafe fn slice<'a>(self, at: usize, length: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), length) }
    }
}

/// Runs `work` on a thread of the pool, so that the operations in it need not wake one each.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    rayon::scope(|_| work())
}

thread_local! {
    /// Scratch of one task.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends this thread's scratch, `length` elements of anything. Taken out while in use, so that a nested call (rayon may
/// run another task inside this one) gets scratch of its own.
pub(crate) fn with_scratch(length: usize, work: impl FnOnce(&mut [f32])) {
    let mut scratch = SCRATCH.with(RefCell::take);
    if scratch.len() < length {
        scratch.resize(length, 0.0);
    }
    work(&mut scratch[..length]);
    SCRATCH.with(|place| place.replace(scratch));
}

/// Sums `partials [tasks, columns]` over tasks, in order, into `total [columns]`.
pub(crate) fn add_partials(partials: &[f32], total: &mut [f32]) {
    for partial in partials.chunks_exact(total.len()) {
        for (sum, value) in total.iter_mut().zip(partial) {
            *sum += value;
        }
    }
}

/// Adds the column sums of `matrix [rows, columns]` to `total [columns]`: a bias' gradient.
pub fn add_column_sums(matrix: &[f32], total: &mut [f32]) {
    let columns = total.len();
    assert_eq!(matrix.len() % columns, 0);
    let tasks = matrix.len().div_ceil(columns * ROWS_PER_TASK);
    let mut partials = vec![0f32; tasks * columns];
    partials.par_chunks_exact_mut(columns).zip(matrix.par_chunks(columns * ROWS_PER_TASK)).for_each(
        |(partial, rows)| {
            for row in rows.chunks_exact(columns) {
                for (sum, value) in partial.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        },
    );
    add_partials(&partials, total);
}
