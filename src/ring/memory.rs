//! What a ring needs of its memory and of the locks of its file. The model tests have their own.

#![forbid(unsafe_code)]

use std::io;
use std::sync::atomic::Ordering::Relaxed;

use super::sync::AtomicU64;

/// Shared memory of words and bytes.
pub(crate) trait Memory {
    /// A word; panics beyond the end.
    fn word(&self, index: usize) -> &AtomicU64;

    /// Stores words that follow each other, Relaxed; panics beyond the end.
    fn store_words(&self, index: usize, values: &[u64]) {
        values.iter().enumerate().for_each(|(i, &value)| self.word(index + i).store(value, Relaxed));
    }

    /// Compares and swaps the two words from `index` (even) on, as one; SeqCst.
    fn swap_pair(&self, index: usize, from: (u64, u64), to: (u64, u64)) -> bool;

    /// Two words from `index` (even) on, of which the first never has the same value twice, as they were together; Acquire.
    /// `None`: they changed meanwhile.
    fn load_pair(&self, index: usize) -> Option<(u64, u64)>;

    /// Copies bytes into the memory.
    fn copy_in(&self, offset: usize, bytes: &[u8]);

    /// Copies bytes out of the memory. Others may write to them meanwhile: what is copied is checked afterwards.
    fn copy_out(&self, offset: usize, bytes: &mut [u8]);

    /// Fetches `len` bytes into the cache, to be written to.
    fn prefetch(&self, offset: usize, len: usize);

    /// Fetches `len` bytes into the cache, to be read.
    fn prefetch_to_read(&self, offset: usize, len: usize);

    /// Makes sure that the pages of a range can be touched.
    fn reserve(&self, offset: usize, len: usize) -> io::Result<()>;

    /// Gives the pages of a range back; they read as zeros.
    fn give_back(&self, offset: usize, len: usize) -> io::Result<()>;
}

/// The lock bytes of publishers, as one open file sees them.
pub(crate) trait Locks {
    /// Takes the lock of an id; false when somebody else has it, or cannot tell.
    fn try_lock(&self, id: u32) -> bool;

    /// Whether somebody else has it. In doubt yes.
    fn is_locked(&self, id: u32) -> bool;

    fn unlock(&self, id: u32);
}
