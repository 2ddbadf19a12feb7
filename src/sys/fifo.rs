//! FIFOs: opening, writing without SIGPIPE, waiting.

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fd::status;

/// Opens a FIFO below `dir`. What is no FIFO (a hostile file of that name) is `ErrorKind::InvalidData`; writing to one
/// that nobody reads is `ENXIO`.
pub(crate) fn open(dir: BorrowedFd<'_>, path: &CStr, access: libc::c_int) -> io::Result<OwnedFd> {
    let flags = access | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let fd = loop {
        // SAFETY: the directory is borrowed and the path is NUL-terminated.
        let fd = unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags) };
        if fd >= 0 {
            // SAFETY: just opened, owned by nobody else.
            break unsafe { OwnedFd::from_raw_fd(fd) };
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if status(&fd)?.st_mode & libc::S_IFMT != libc::S_IFIFO {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a FIFO"));
    }
    Ok(fd)
}

/// Writes one entry (8 bytes, so all or nothing). `EAGAIN`: it is full; `EPIPE`: nobody reads it. Never raises SIGPIPE.
pub(crate) fn write_entry(fd: BorrowedFd<'_>, entry: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let Some(result) = write_without_signal(fd, entry) {
        return result;
    }
    without_sigpipe(|| write_raw(fd.as_raw_fd(), entry))
}

/// One system call instead of three, where the kernel has it (Linux 6.18). `None`: it has not, and nothing was written.
#[cfg(target_os = "linux")]
fn write_without_signal(fd: BorrowedFd<'_>, entry: u64) -> Option<io::Result<()>> {
    /// `EPIPE` without SIGPIPE. Not in the libc crate yet.
    const RWF_NOSIGNAL: libc::c_long = 0x100;
    static UNKNOWN: AtomicBool = AtomicBool::new(false);
    if UNKNOWN.load(Ordering::Relaxed) {
        return None;
    }
    let bytes = entry.to_be_bytes();
    let piece = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
    // As it is, and not through the C library, since not every C library has pwritev2. Every argument as wide as a register,
    // for the kernel gets the whole of it. The position is -1, "where the file stands", in the lower of two halves.
    let number = libc::c_long::from(fd.as_raw_fd());
    let (pieces, low, high): (libc::c_long, libc::c_long, libc::c_long) = (1, -1, 0);
    let result = written(|| {
        // SAFETY: one piece, valid for its length; writing does not change it. The arguments are those of pwritev2.
        unsafe { libc::syscall(libc::SYS_pwritev2, number, &raw const piece, pieces, low, high, RWF_NOSIGNAL) as _ }
    });
    match &result {
        // An older kernel, or a filter of system calls that does not know this one.
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::EPERM)) =>
        {
            UNKNOWN.store(true, Ordering::Relaxed);
            None
        }
        _ => Some(result),
    }
}

/// Like [`write_entry`], for a FIFO that this process reads itself, so that SIGPIPE cannot arise. Async-signal-safe.
pub(crate) fn write_own_entry(fd: BorrowedFd<'_>, entry: u64) -> io::Result<()> {
    write_raw(fd.as_raw_fd(), entry)
}

fn write_raw(fd: libc::c_int, entry: u64) -> io::Result<()> {
    let bytes = entry.to_be_bytes();
    // SAFETY: `bytes` is valid for 8 bytes.
    written(|| unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

/// Writes an entry by this system call, which answers how many bytes it wrote, or -1.
fn written(mut write: impl FnMut() -> libc::ssize_t) -> io::Result<()> {
    loop {
        let n = write();
        if n == size_of::<u64>() as libc::ssize_t {
            return Ok(());
        }
        if n >= 0 {
            // POSIX: writes of up to PIPE_BUF bytes to a FIFO are atomic.
            return Err(io::Error::other("a FIFO took part of an entry"));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Runs `write` with SIGPIPE blocked in this thread and takes the one that it may have raised.
fn without_sigpipe(write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: plain C structs, initialised by sigemptyset; every pointer is valid for the call.
    unsafe {
        let mut sigpipe: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut sigpipe);
        libc::sigaddset(&mut sigpipe, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe, &mut before);
        let was_pending = libc::sigismember(&before, libc::SIGPIPE) == 1 && {
            // Blocked by the program already: one that waits for the program must stay pending.
            let mut pending: libc::sigset_t = mem::zeroed();
            libc::sigpending(&mut pending);
            libc::sigismember(&pending, libc::SIGPIPE) == 1
        };
        let result = write();
        if !was_pending && result.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EPIPE)) {
            take_pending(&sigpipe);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
        result
    }
}

#[cfg(target_os = "linux")]
fn take_pending(signals: &libc::sigset_t) {
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: valid pointers; a NULL siginfo is allowed.
    unsafe {
        while libc::sigtimedwait(signals, ptr::null_mut(), &zero) < 0 && *libc::__errno_location() == libc::EINTR {}
    }
}

#[cfg(not(target_os = "linux"))]
fn take_pending(signals: &libc::sigset_t) {
    // SAFETY: valid pointers; only called while the signal is pending for this thread, so it does not wait.
    unsafe {
        let mut pending: libc::sigset_t = mem::zeroed();
        libc::sigpending(&mut pending);
        if libc::sigismember(&pending, libc::SIGPIPE) == 1 {
            let mut signal = 0;
            libc::sigwait(signals, &mut signal);
        }
    }
}

/// Reads what is there, up to the buffer's size; 0 when it is empty.
pub(crate) fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: `buffer` is valid for its length.
        let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::Interrupted => continue,
            io::ErrorKind::WouldBlock => return Ok(0),
            _ => return Err(error),
        }
    }
}

/// Bytes that wait in it. Asked of either end.
pub(crate) fn waiting(fd: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int.
    if unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &mut bytes) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(bytes as usize)
}

/// Bytes that it can hold.
pub(crate) fn capacity(fd: impl AsFd) -> usize {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes no further argument.
        let size = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETPIPE_SZ) };
        if size > 0 {
            return size as usize;
        }
    }
    let _ = fd;
    65_536
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Ready,
    TimedOut,
    /// A signal was handled in this thread.
    Signal,
}

/// Waits until something can be read; `None`: without end.
pub(crate) fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<Wait> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    #[cfg(target_os = "linux")]
    let n = {
        let limit = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i32::MAX as u64) as _,
            tv_nsec: timeout.subsec_nanos() as _,
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: one valid pollfd; the time is valid or NULL; no signal mask.
        unsafe { libc::ppoll(&mut entry, 1, limit, ptr::null()) }
    };
    #[cfg(not(target_os = "linux"))]
    let n = {
        // Rounded up, so that a wait never ends early; one of more than 24 days ends early and is begun again.
        let millis = timeout.map_or(-1, |t| t.as_micros().div_ceil(1_000).min(i32::MAX as u128) as libc::c_int);
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut entry, 1, millis) }
    };
    match n {
        0 => Ok(Wait::TimedOut),
        n if n > 0 => Ok(Wait::Ready),
        _ => {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted { Ok(Wait::Signal) } else { Err(error) }
        }
    }
}

/// Whether nobody reads it any more, asked of the writing end.
pub(crate) fn is_abandoned(fd: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut entry, 1, 0) > 0 && entry.revents & libc::POLLERR != 0 }
}

/// Sleeps; whether a signal was handled meanwhile.
pub(crate) fn sleep(duration: Duration) -> Wait {
    let request = libc::timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ };
    // SAFETY: a valid timespec; a NULL remainder is allowed.
    if unsafe { libc::nanosleep(&request, ptr::null_mut()) } == 0 { Wait::TimedOut } else { Wait::Signal }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        let mut ends = [0; 2];
        // SAFETY: room for two descriptors, which nobody else owns.
        unsafe {
            assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
            (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
        }
    }

    /// Whether `write` leaves a SIGPIPE behind. This thread has it blocked meanwhile, for a blocked signal is kept even
    /// where it is ignored.
    fn raises_sigpipe(write: impl FnOnce()) -> bool {
        // SAFETY: plain C structs, initialised by the calls; every pointer is valid. The mask is this thread's alone.
        unsafe {
            let mut sigpipe: libc::sigset_t = mem::zeroed();
            let mut before: libc::sigset_t = mem::zeroed();
            let mut pending: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut sigpipe);
            libc::sigaddset(&mut sigpipe, libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, &sigpipe, &mut before);
            write();
            libc::sigpending(&mut pending);
            let raised = libc::sigismember(&pending, libc::SIGPIPE) == 1;
            if raised {
                take_pending(&sigpipe);
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            raised
        }
    }

    #[test]
    fn an_entry_for_a_fifo_that_nobody_reads_is_epipe_and_no_signal() {
        let (reader, writer) = pipe();
        drop(reader);
        let is_epipe = |result: io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EPIPE));
        let fd = writer.as_fd();
        assert!(raises_sigpipe(|| is_epipe(write_own_entry(fd, 7))), "the test sees a signal");
        assert!(!raises_sigpipe(|| is_epipe(write_entry(fd, 7))));
        assert!(!raises_sigpipe(|| is_epipe(without_sigpipe(|| write_raw(fd.as_raw_fd(), 7)))), "on any kernel");
    }

    #[test]
    fn an_entry_is_eight_bytes_most_significant_first() {
        let (reader, writer) = pipe();
        write_entry(writer.as_fd(), 0x0102_0304_0506_0708).unwrap();
        let mut bytes = [0; 16];
        assert_eq!(read(reader.as_fd(), &mut bytes).unwrap(), 8);
        assert_eq!(bytes[..8], [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
