//! What is to be done when the process exits.

use super::fork;

/// Has `exit(3)`, or the unloading of this library, call this. Without memory for it, nothing does.
///
/// It is called while other threads still run, and perhaps from a signal handler: it must not wait for a lock.
pub(crate) fn at_exit(run: extern "C" fn()) {
    // SAFETY: a plain function that is there as long as the library is: where that is unloaded, glibc calls it then.
    fork::not_amid_fork(|| unsafe { libc::atexit(run) });
}
