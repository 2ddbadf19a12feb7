//! Noticing fork.
//!
//! A child inherits our descriptors and with them our locks: were it to keep them, the parent's death would go unseen.
//! So the child closes them, as early as it can: in a `pthread_atfork` handler, and where `fork` was called without its
//! handlers (a raw system call), at its first call into the library, which finds a page wiped that the kernel wipes on
//! fork (`MADV_WIPEONFORK`, Linux 4.14).
//!
//! Everything here that the handler reaches is async-signal-safe: atomics and `close`.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use once_cell::sync::Lazy;

use super::{clock, fd};

/// Counts the forks between the first process that used the library and this one.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A word that reads 1, and 0 after a fork until the child has taken note.
struct Marker(*const AtomicU64);
// SAFETY: it points to an AtomicU64 that is never unmapped.
unsafe impl Send for Marker {}
// SAFETY: as above; all access is atomic.
unsafe impl Sync for Marker {}

static MARKER: Lazy<Marker> = Lazy::new(|| {
    let size = 4096;
    // SAFETY: an anonymous private mapping at an address of the kernel's choice overlaps nothing.
    let page = unsafe {
        libc::mmap(
            ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let word: &'static AtomicU64 = if page == libc::MAP_FAILED {
        // Out of address space: the atfork handler alone must do.
        Box::leak(Box::new(AtomicU64::new(0)))
    } else {
        // SAFETY: the mapping was just made, is aligned to a page and is never unmapped.
        unsafe {
            #[cfg(target_os = "linux")]
            libc::madvise(page, size, libc::MADV_WIPEONFORK);
            &*page.cast::<AtomicU64>()
        }
    };
    word.store(1, Ordering::Release);
    // SAFETY: the handlers are plain functions that live as long as the library; glibc drops the registration when the
    // library is unloaded.
    unsafe { libc::pthread_atfork(Some(before), Some(after), Some(in_child)) };
    Marker(word)
});

/// Forks under way.
static FORKING: AtomicUsize = AtomicUsize::new(0);
/// Threads between opening a descriptor and marking it as ours.
static OPENING: AtomicUsize = AtomicUsize::new(0);
/// For how long a fork yields to threads that open something, in nanoseconds. Each needs microseconds, and on a busy machine
/// its turn of the processor; a fork in a signal handler that interrupted one of them would wait for itself.
const PATIENCE: u64 = 1_000_000_000;

/// Opens something that a forked child must not keep, and marks it as ours; no other thread forks in between. (A fork
/// without its handlers may: its child then keeps what is opened at that moment.)
pub(crate) fn not_amid_fork<T>(open: impl FnOnce() -> T) -> T {
    struct Opening;
    impl Drop for Opening {
        fn drop(&mut self) {
            OPENING.fetch_sub(1, Ordering::SeqCst);
        }
    }
    generation();
    loop {
        // SeqCst, here and in `before`: of a fork and an opening that begin together, one sees the other.
        OPENING.fetch_add(1, Ordering::SeqCst);
        let opening = Opening;
        if FORKING.load(Ordering::SeqCst) == 0 {
            let opened = open();
            drop(opening);
            return opened;
        }
        drop(opening);
        std::thread::yield_now();
    }
}

extern "C" fn before() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let end = clock::monotonic_ns() + PATIENCE;
    while OPENING.load(Ordering::SeqCst) != 0 && clock::monotonic_ns() < end {
        std::thread::yield_now();
    }
}

extern "C" fn after() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    if let Some(marker) = Lazy::get(&MARKER) {
        // SAFETY: see Marker.
        let word = unsafe { &*marker.0 };
        // Where the kernel wipes the page it reads 0 already.
        word.store(0, Ordering::Relaxed);
        note(word);
    }
}

fn note(word: &AtomicU64) {
    // One thread of the child does it; a child begins with one thread, so none can run ahead of it unnoticed.
    if word.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        GENERATION.fetch_add(1, Ordering::AcqRel);
        FORKING.store(0, Ordering::SeqCst);
        OPENING.store(0, Ordering::SeqCst);
        fd::close_inherited();
    }
}

/// A number that differs between a process and the children it forks. Cheap: one load.
#[inline]
pub(crate) fn generation() -> u64 {
    // SAFETY: see Marker.
    let word = unsafe { &*MARKER.0 };
    if word.load(Ordering::Acquire) == 0 {
        note(word);
    }
    GENERATION.load(Ordering::Acquire)
}

/// A value of the process, made at first use and made anew in a child after fork, without touching what the parent's
/// other threads may have left locked.
pub(crate) struct PerProcess<T: 'static> {
    current: AtomicPtr<Made<T>>,
    make: fn() -> T,
}

struct Made<T> {
    generation: u64,
    value: T,
    /// The parent's, for leak checkers: it is kept, not lost.
    _before: *mut Made<T>,
}

impl<T: Send + Sync> PerProcess<T> {
    pub(crate) const fn new(make: fn() -> T) -> PerProcess<T> {
        PerProcess { current: AtomicPtr::new(ptr::null_mut()), make }
    }

    pub(crate) fn get(&self) -> &'static T {
        let generation = generation();
        let seen = self.current.load(Ordering::Acquire);
        if !seen.is_null() {
            // SAFETY: whatever is stored in `current` came from Box::leak below and is never freed.
            let made = unsafe { &*seen };
            if made.generation == generation {
                return &made.value;
            }
        }
        let fresh = Box::into_raw(Box::new(Made { generation, value: (self.make)(), _before: seen }));
        match self.current.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: `fresh` is published and from now on never freed; the parent's value is left alone (kept in the
            // child, one for each fork).
            Ok(_) => unsafe { &(*fresh).value },
            Err(_) => {
                // SAFETY: `fresh` was not published; nobody else knows it.
                drop(unsafe { Box::from_raw(fresh) });
                self.get()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static COUNTER: AtomicU64 = AtomicU64::new(0);
    static VALUE: PerProcess<u64> = PerProcess::new(|| COUNTER.fetch_add(1, Ordering::SeqCst));

    /// Forks, runs `child` there and answers its exit code. The child must not panic or allocate much.
    fn in_fork(raw: bool, child: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child calls only `child` and _exit.
        let pid = unsafe { if raw { libc::syscall(libc::SYS_fork) as libc::pid_t } else { libc::fork() } };
        if pid == 0 {
            let ok = child();
            // SAFETY: ends the child without running the test harness's exit handlers.
            unsafe { libc::_exit(if ok { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: waits for the child just made.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        status == 0
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_child_is_another_generation_and_gets_values_of_its_own() {
        let here = generation();
        let value = *VALUE.get();
        for raw in [false, true] {
            assert!(in_fork(raw, || generation() != here && *VALUE.get() != value), "raw fork: {raw}");
        }
        assert_eq!(generation(), here);
        assert_eq!(*VALUE.get(), value);
    }
}
