//! A ring's memory and locks as processes share them: a mapped file and its lock bytes.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};

use super::{Locks, Memory, Source};
use crate::sys::directory::read_at;
use crate::sys::fd::Fd;
use crate::sys::lock;
use crate::sys::mapping::{Mapping, give_back_range, reserve_range};

/// A mapped file, as processes share it.
#[derive(Debug)]
pub(crate) struct SharedMemory {
    map: Arc<Mapping>,
    file: Arc<Fd>,
}

impl SharedMemory {
    pub(crate) fn new(map: Arc<Mapping>, file: Arc<Fd>) -> SharedMemory {
        SharedMemory { map, file }
    }
}

impl Source for BorrowedFd<'_> {
    fn read(self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        read_at(self, bytes, offset)
    }
}

impl Memory for SharedMemory {
    #[inline]
    fn word(&self, index: usize) -> &AtomicU64 {
        self.map.word(index)
    }

    #[inline]
    fn store_words(&self, index: usize, values: &[u64]) {
        let words = self.map.words(index, values.len());
        words.iter().zip(values).for_each(|(word, &value)| word.store(value, Relaxed));
    }

    #[inline]
    fn swap_pair(&self, index: usize, from: (u64, u64), to: (u64, u64)) -> bool {
        self.map.compare_swap_pair(index, from, to)
    }

    #[inline]
    fn load_pair(&self, index: usize) -> Option<(u64, u64)> {
        // The first word has no value twice, so the second is from the time of the first if that is there before and after.
        let first = self.word(index).load(Acquire);
        let second = self.word(index + 1).load(Acquire);
        (self.word(index).load(Acquire) == first).then_some((first, second))
    }

    #[inline]
    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.map.copy_in(offset, bytes);
    }

    #[inline]
    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.map.copy_out(offset, bytes);
    }

    #[inline]
    fn prefetch(&self, offset: usize, len: usize) {
        self.map.prefetch(offset, len);
    }

    #[inline]
    fn prefetch_to_read(&self, offset: usize, len: usize) {
        self.map.prefetch_to_read(offset, len);
    }

    fn reserve(&self, offset: usize, len: usize) -> io::Result<()> {
        reserve_range(self.file.get()?, offset, len)
    }

    fn give_back(&self, offset: usize, len: usize) -> io::Result<()> {
        give_back_range(self.file.get()?, offset, len)
    }
}

/// The lock bytes of a ring's file behind the receiver's, through one open file description: a second holder of the same id
/// needs a second one.
#[derive(Debug)]
pub(crate) struct FileLocks {
    file: Arc<Fd>,
}

impl FileLocks {
    pub(crate) fn new(file: Arc<Fd>) -> FileLocks {
        FileLocks { file }
    }

    fn byte(id: u32) -> i64 {
        i64::from(id) + 1
    }
}

impl Locks for FileLocks {
    fn try_lock(&self, id: u32) -> bool {
        self.file.get().and_then(|file| lock::try_lock(file, FileLocks::byte(id))).unwrap_or(false)
    }

    fn is_locked(&self, id: u32) -> bool {
        self.file.get().and_then(|file| lock::is_locked(file, FileLocks::byte(id))).unwrap_or(true)
    }

    fn unlock(&self, id: u32) {
        // What cannot be unlocked is unlocked with the file.
        let _ = self.file.get().and_then(|file| lock::unlock(file, FileLocks::byte(id)));
    }
}
