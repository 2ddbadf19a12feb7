//! Shared memory as atomic words.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// The beginning of a file, mapped and shared. Other processes write to it at any time: every access is atomic, and what
/// is read is checked by whoever reads it.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping lives until drop, and all access is through atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `words` words of a file that is at least that long and whose pages are reserved: touching a page
    /// for which there is no memory would be SIGBUS.
    pub(crate) fn new(fd: impl AsFd, words: usize) -> io::Result<Mapping> {
        // SAFETY: a shared mapping at an address of the kernel's choice overlaps nothing of ours.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                words * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_fd().as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(address.cast::<AtomicU64>()) {
            Some(address) => Ok(Mapping { address, words }),
            None => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        }
    }

    /// One word.
    #[inline]
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.words, "word {index} of a mapping of {}", self.words);
        // SAFETY: within the mapping, which is page-aligned and lives as long as `self`.
        unsafe { self.address.add(index).as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; no reference into it outlives `self`.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.words * 8) };
    }
}

/// Reserves the pages of the first `len` bytes of a file and makes it that long, so that touching them through a mapping
/// cannot fail.
pub(crate) fn reserve(fd: impl AsFd, len: usize) -> io::Result<()> {
    loop {
        // posix_fallocate answers the error instead of setting errno.
        // SAFETY: the descriptor is borrowed.
        match unsafe { libc::posix_fallocate(fd.as_fd().as_raw_fd(), 0, len as libc::off_t) } {
            0 => return Ok(()),
            libc::EINTR => continue,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}
