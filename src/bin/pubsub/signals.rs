//! SIGINT, SIGTERM and SIGHUP end a subscription in good order. The library installs no handlers, so the command does.
//!
//! The handlers write into a socket pair, whose other end stands in every poll(2) of the command beside the channels'
//! descriptors: a signal between the last look and the wait cannot be missed.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// The signals that came since they were caught.
pub struct Signals {
    /// The number of the last one; 0: none came. One thread and its handlers use it, so `Relaxed` does.
    last: Arc<AtomicUsize>,
    /// A byte for each that came and is not yet counted.
    pipe: UnixStream,
    count: usize,
}

impl Signals {
    /// Catches them from now on.
    pub fn catch() -> io::Result<Signals> {
        let (pipe, writer) = UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        let last = Arc::new(AtomicUsize::new(0));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal == SIGHUP && is_ignored(signal) {
                continue; // nohup
            }
            // In this order, so that whoever is woken by the byte finds the number.
            flag::register_usize(signal, Arc::clone(&last), signal as usize)?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Signals { last, pipe, count: 0 })
    }

    /// The signal that asked for an end.
    pub fn caught(&self) -> Option<i32> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal as i32),
        }
    }

    /// Counts what came; afterwards [`fd`](Signals::fd) is readable only when another one comes.
    pub fn count(&mut self) {
        let mut bytes = [0; 16];
        while let Ok(n @ 1..) = (&self.pipe).read(&mut bytes) {
            self.count += n;
        }
    }

    /// Whether somebody asked more than once, as far as was [counted](Signals::count).
    pub fn are_insistent(&self) -> bool {
        self.count > 1
    }

    /// Readable when a signal came.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// Whether this process was started with the signal ignored. Where /proc does not tell: no.
fn is_ignored(signal: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (signal - 1)) != 0
}

/// Dies of the signal, as if it had not been caught: shells, make and systemd tell this from an exit.
pub fn die_of(signal: i32) -> ! {
    let _ = low_level::emulate_default_handler(signal);
    process::exit(128 + signal)
}
