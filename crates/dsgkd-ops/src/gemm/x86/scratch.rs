//! Buffers of a thread, kept from product to product.

use std::arch::x86_64::__m512;
use std::cell::RefCell;

thread_local! {
    /// Packed panels: of the whole product (its caller's thread), and of one task's left (or its rows) and right factor; and sums that are not kept.
    static SCRATCH: RefCell<[Vec<__m512>; 4]> = const { RefCell::new([vec![], vec![], vec![], vec![]]) };
}

/// Lends one of this thread's buffers. Taken out while in use, so that a nested call gets a buffer of its own.
pub(super) fn with_scratch<T>(which: usize, work: impl FnOnce(&mut Vec<__m512>) -> T) -> T {
    let mut buffer = SCRATCH.with(|scratch| std::mem::take(&mut scratch.borrow_mut()[which]));
    let result = work(&mut buffer);
    SCRATCH.with(|scratch| scratch.borrow_mut()[which] = buffer);
    result
}

/// At least `lanes` lanes of a buffer, at a multiple of 64 bytes.
pub(super) fn room(buffer: &mut Vec<__m512>, lanes: usize) -> *mut f32 {
    let registers = lanes.div_ceil(16);
    if buffer.len() < registers {
        // SAFETY: zero bits are a register of zeros.
        buffer.resize(registers, unsafe { std::mem::zeroed() });
    }
    buffer.as_mut_ptr().cast()
}
