//! Standard output of a subscription: gathered, and written without ever losing sight of signals.
//!
//! A reader that stopped reading must not keep the command from ending, so each write first waits until poll(2) says
//! that there is room, with the signals in the same poll, and is then no larger than what a pipe with room takes whole.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::context::Failure;
use crate::signals::Signals;

/// PIPE_BUF on Linux: a pipe that is writable takes so much without blocking.
const CHUNK: usize = 4096;
/// So much is gathered before it is written, while more messages wait.
const GATHER: usize = 64 * 1024;

/// Standard output.
pub struct Output {
    file: File,
    buffer: Vec<u8>,
}

impl Output {
    /// Takes standard output past the standard library's line buffer.
    pub fn new() -> io::Result<Output> {
        Ok(Output { file: File::from(io::stdout().as_fd().try_clone_to_owned()?), buffer: Vec::with_capacity(GATHER) })
    }

    /// For poll(2): an error or a hang-up there means that nobody will read any more.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Where the next message goes.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what was gathered if it is much.
    pub fn flush_if_large(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        if self.buffer.len() < GATHER { Ok(()) } else { self.flush(signals) }
    }

    /// Writes what was gathered. A signal ends it only when it is the second one: what was received shall be printed,
    /// but not at any price.
    pub fn flush(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let mut written = 0;
        while written < self.buffer.len() && !signals.are_insistent() {
            let mut fds =
                [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT), PollFd::new(signals.fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Failure::io("waiting for standard output", &errno.into())),
            }
            let [output, signal] = fds.map(|fd| fd.any().unwrap_or(false));
            if signal {
                signals.count();
            }
            if output {
                let end = self.buffer.len().min(written + CHUNK);
                match self.file.write(&self.buffer[written..end]) {
                    Ok(n) => written += n,
                    Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                    Err(error) => return Err(Failure::output(&error)),
                }
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

/// Writes all of a short answer to standard output.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}
