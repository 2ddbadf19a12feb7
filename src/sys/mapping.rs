//! Shared memory as atomic words.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use crate::sys::chaos;

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

    /// Words that follow each other.
    #[inline]
    pub(crate) fn words(&self, index: usize, count: usize) -> &[AtomicU64] {
        assert!(index <= self.words && count <= self.words - index, "words {index}.. of a mapping of {}", self.words);
        // SAFETY: within the mapping, which is page-aligned and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.address.add(index).as_ptr(), count) }
    }
}

impl Mapping {
    /// Compares and swaps the pair of words from `index` on, as one, SeqCst; whether it did.
    #[inline]
    pub(crate) fn compare_swap_pair(&self, index: usize, from: (u64, u64), to: (u64, u64)) -> bool {
        assert!(index % 2 == 0 && index + 1 < self.words, "pair {index} of a mapping of {}", self.words);
        // SAFETY: within the mapping; 16-aligned, since the mapping is page-aligned and `index` is even.
        unsafe { compare_swap_16(self.address.add(index).as_ptr(), from, to) }
    }

    /// Copies bytes into the mapping.
    #[inline]
    pub(crate) fn copy_in(&self, offset: usize, bytes: &[u8]) {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.words * 8));
        // SAFETY: the range is within the mapping, and `bytes` is memory of ours, which does not overlap it. No reference
        // to the range exists anywhere in the process; other processes' accesses are outside of the language.
        unsafe {
            let to = self.address.as_ptr().cast::<u8>().add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
    }

    /// Copies bytes out of the mapping.
    #[inline]
    pub(crate) fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset.checked_add(bytes.len()).is_some_and(|end| end <= self.words * 8));
        // SAFETY: as in copy_in.
        unsafe {
            let from = self.address.as_ptr().cast::<u8>().add(offset);
            ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len());
        }
    }

    /// Fetches a range into the cache, to be written to; a hint, also beyond the end.
    #[inline]
    pub(crate) fn prefetch(&self, offset: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        for at in (0..len).step_by(64) {
            let address = self.address.as_ptr().cast::<i8>().wrapping_add(offset + at);
            // By hand: without a target feature that the baseline lacks, the intrinsic fetches lines to be read, which are
            // fetched once more when they are written to. Every x86-64 processor takes prefetchw, at worst for a no-op.
            // SAFETY: a prefetch of any address is allowed and touches nothing.
            unsafe { std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (offset, len);
    }
}

impl Mapping {
    /// Fetches a range into the cache, to be read; a hint, also beyond the end.
    #[inline]
    pub(crate) fn prefetch_to_read(&self, offset: usize, len: usize) {
        #[cfg(target_arch = "x86_64")]
        for at in (0..len).step_by(64) {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let address = self.address.as_ptr().cast::<i8>().wrapping_add(offset + at);
            // SAFETY: a prefetch of any address is allowed and touches nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (offset, len);
    }
}

/// # Safety
/// `address` is valid, 16-aligned and only accessed atomically.
#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn compare_swap_16(address: *mut AtomicU64, from: (u64, u64), to: (u64, u64)) -> bool {
    let swapped: u8;
    // SAFETY: by the contract. Every x86-64 processor that runs a current Linux distribution has cmpxchg16b; the
    // ring refuses to open without it. rbx is the compiler's own, so it is saved by hand; it may still choose rbx for an
    // operand of any class, so those that are used while rbx holds `to.0` name their registers.
    unsafe {
        std::arch::asm!(
            "xchg {low}, rbx",
            "lock cmpxchg16b [rdi]",
            "sete r8b",
            "mov rbx, {low}",
            in("rdi") address,
            low = inout(reg) to.0 => _,
            out("r8b") swapped,
            in("rcx") to.1,
            inout("rax") from.0 => _,
            inout("rdx") from.1 => _,
            options(nostack),
        );
    }
    swapped != 0
}

/// # Safety
/// `address` is valid, 16-aligned and only accessed atomically.
#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn compare_swap_16(address: *mut AtomicU64, from: (u64, u64), to: (u64, u64)) -> bool {
    let (mut low, mut high, mut failed): (u64, u64, u32);
    loop {
        // SAFETY: by the contract. An exclusive pair load and store, acquire and release; the barrier makes it SeqCst with
        // the loads that follow.
        unsafe {
            std::arch::asm!(
                "ldaxp {low}, {high}, [{address}]",
                "cmp {low}, {from_low}",
                "ccmp {high}, {from_high}, #0, eq",
                "b.ne 2f",
                "stlxp {failed:w}, {to_low}, {to_high}, [{address}]",
                "b 3f",
                "2: mov {failed:w}, #2",
                "clrex",
                "3: dmb ish",
                address = in(reg) address,
                low = out(reg) low,
                high = out(reg) high,
                failed = out(reg) failed,
                from_low = in(reg) from.0,
                from_high = in(reg) from.1,
                to_low = in(reg) to.0,
                to_high = in(reg) to.1,
                options(nostack),
            );
        }
        let _ = (low, high);
        match failed {
            0 => return true,
            1 => continue,
            _ => return false,
        }
    }
}

/// Whether this processor can do what [`Mapping::compare_swap_pair`] needs.
pub(crate) fn has_pair_swap() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("cmpxchg16b");
    #[cfg(target_arch = "aarch64")]
    return true;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// Makes a file this long; what is new reads as zeros and has no pages yet.
pub(crate) fn set_len(fd: impl AsFd, len: usize) -> io::Result<()> {
    // SAFETY: the descriptor is borrowed.
    if unsafe { libc::ftruncate(fd.as_fd().as_raw_fd(), len as libc::off_t) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reserves the pages of a range of a file without changing its size.
pub(crate) fn reserve_range(fd: impl AsFd, offset: usize, len: usize) -> io::Result<()> {
    if chaos::is_full("reserve") {
        return Err(io::Error::from_raw_os_error(libc::ENOSPC));
    }
    range_operation(fd, libc::FALLOC_FL_KEEP_SIZE, offset, len)
}

/// Gives the pages of a range of a file back; they read as zeros.
pub(crate) fn give_back_range(fd: impl AsFd, offset: usize, len: usize) -> io::Result<()> {
    range_operation(fd, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, len)
}

fn range_operation(fd: impl AsFd, mode: libc::c_int, offset: usize, len: usize) -> io::Result<()> {
    loop {
        // SAFETY: the descriptor is borrowed.
        if unsafe { libc::fallocate(fd.as_fd().as_raw_fd(), mode, offset as libc::off_t, len as libc::off_t) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
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
