//! Bus errors: a page of a mapping that is not in its file any more.
//!
//! Nothing of this library shortens a file that somebody may have mapped, so this is the work of another program that may
//! write to the store. Memory cannot be had back in its place; a program that owns its process can end with a reason
//! instead of a core dump. The library itself installs no handlers: a program has to ask for this one.

use std::io;

/// Says what happened and ends the process. Only what is async-signal-safe.
extern "C" fn explain(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    const WORDS: &[u8] = b"pubsub: bus error: another program has cut short a file of the store that was in use here; \
        run 'pubsub doctor' to see what is left, and look who may write there\n";
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    if code != libc::BUS_ADRERR {
        // Something else; the next one, or this one when it is repeated, ends the process as if there were no handler.
        // SAFETY: resetting a signal's action is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    // SAFETY: `WORDS` is valid for its length; write and _exit are async-signal-safe.
    unsafe {
        libc::write(libc::STDERR_FILENO, WORDS.as_ptr().cast(), WORDS.len());
        libc::_exit(1);
    }
}

/// From now on a bus error ends this process with a reason on standard error and the exit code 1.
pub(crate) fn end_on_bus_error() -> io::Result<()> {
    // SAFETY: an all-zero sigaction is a valid value of the plain C struct.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = explain as extern "C" fn(_, _, _) as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: `action` is complete, and its handler is async-signal-safe.
    if unsafe { libc::sigaction(libc::SIGBUS, &action, std::ptr::null_mut()) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
