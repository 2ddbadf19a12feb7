//! Watching a directory for entries that come and go (inotify).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::fd::Fd;

/// What happened in the directory since the last look.
pub(crate) enum Event<'a> {
    Came(&'a [u8]),
    Went(&'a [u8]),
    /// Events were lost: look at everything.
    Overflow,
    /// The directory itself is gone.
    Gone,
}

/// One inotify instance on one directory. A user has few of them (fs.inotify.max_user_instances, 128 by default), so
/// that not having one is no error.
#[derive(Debug)]
pub(crate) struct Watch {
    fd: Fd,
}

impl Watch {
    #[cfg(target_os = "linux")]
    pub(crate) fn new(directory: &Path) -> io::Result<Watch> {
        let path = std::ffi::CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: takes flags only.
        let fd = unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = libc::IN_CREATE
            | libc::IN_MOVED_TO
            | libc::IN_MOVED_FROM
            | libc::IN_DELETE
            | libc::IN_DELETE_SELF
            | libc::IN_MOVE_SELF
            | libc::IN_ONLYDIR;
        // SAFETY: the path is NUL-terminated.
        if unsafe { libc::inotify_add_watch(fd.as_raw_fd(), path.as_ptr(), events) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Watch { fd: Fd::new(fd) })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new(_directory: &Path) -> io::Result<Watch> {
        Err(io::Error::from_raw_os_error(libc::ENOSYS))
    }

    /// Calls `each` with what happened since the last call, in order.
    #[cfg(target_os = "linux")]
    pub(crate) fn drain(&self, mut each: impl FnMut(Event<'_>)) -> io::Result<()> {
        const HEAD: usize = size_of::<libc::inotify_event>();
        let fd = self.fd.get()?.as_raw_fd();
        // Every few microseconds, mostly for nothing: to ask takes two thirds of what a read takes that finds nothing.
        let mut waiting: libc::c_int = 0;
        // SAFETY: `waiting` is valid to write to, which is all that FIONREAD does. Where it fails, the read tells.
        if unsafe { libc::ioctl(fd, libc::FIONREAD, &mut waiting) } == 0 && waiting == 0 {
            return Ok(());
        }
        let mut buffer = [const { MaybeUninit::<u8>::uninit() }; 8192];
        loop {
            // SAFETY: `buffer` is valid to write to for its length.
            let n = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
            if n < 0 {
                let error = io::Error::last_os_error();
                match error.kind() {
                    io::ErrorKind::WouldBlock => return Ok(()),
                    io::ErrorKind::Interrupted => continue,
                    _ => return Err(error),
                }
            }
            let n = n as usize;
            // SAFETY: the kernel has written that many bytes.
            let mut rest = unsafe { std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), n) };
            while rest.len() >= HEAD {
                // SAFETY: HEAD bytes are there; read_unaligned asks for no alignment; any bits are a valid event.
                let event = unsafe { rest.as_ptr().cast::<libc::inotify_event>().read_unaligned() };
                let end = (HEAD + event.len as usize).min(rest.len());
                let name = &rest[HEAD..end];
                let name = &name[..name.iter().position(|&b| b == 0).unwrap_or(name.len())];
                rest = &rest[end..];
                if event.mask & libc::IN_Q_OVERFLOW != 0 {
                    each(Event::Overflow);
                } else if event.mask & (libc::IN_DELETE_SELF | libc::IN_MOVE_SELF | libc::IN_IGNORED) != 0 {
                    each(Event::Gone);
                } else if event.mask & (libc::IN_CREATE | libc::IN_MOVED_TO) != 0 {
                    each(Event::Came(name));
                } else if event.mask & (libc::IN_DELETE | libc::IN_MOVED_FROM) != 0 {
                    each(Event::Went(name));
                }
            }
            // A read that left room has taken everything: the longest event is HEAD + 256 bytes.
            if n + HEAD + 256 < buffer.len() {
                return Ok(());
            }
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn drain(&self, _each: impl FnMut(Event<'_>)) -> io::Result<()> {
        Ok(())
    }
}
