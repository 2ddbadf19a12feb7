//! What each process did, in a file that survives it: one write(2) a record, before and after each step.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// One event. Times are nanoseconds of the monotonic clock, the same for all processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A publish was called.
    Begun {
        seq: u64,
        topic: u64,
    },
    /// It returned: so many channels took it, so many refused. `taken` is [`NONE_TOOK`] for an error.
    Answered {
        seq: u64,
        taken: u64,
        rejected: u64,
    },
    /// A channel's open call returned.
    Opened {
        session: u64,
        pattern: u64,
        drop_oldest: u64,
        ring: u64,
    },
    Got {
        session: u64,
        publisher: u64,
        seq: u64,
        id: u64,
        dropped_before: u64,
    },
    /// A fetch that was called at this time found nothing; the counters as they were after it.
    Drained {
        session: u64,
        dropped: u64,
        rejected: u64,
    },
    Closed {
        session: u64,
    },
}

pub const NONE_TOOK: u64 = u64::MAX;
const WORDS: usize = 8;

pub fn now() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

pub struct Journal {
    file: File,
}

impl Journal {
    pub fn create(path: &Path) -> Journal {
        Journal { file: OpenOptions::new().create(true).append(true).open(path).unwrap() }
    }

    pub fn note(&mut self, time: u64, event: Event) {
        let words: [u64; WORDS] = match event {
            Event::Begun { seq, topic } => [1, time, seq, topic, 0, 0, 0, 0],
            Event::Answered { seq, taken, rejected } => [2, time, seq, taken, rejected, 0, 0, 0],
            Event::Opened { session, pattern, drop_oldest, ring } => {
                [3, time, session, pattern, drop_oldest, ring, 0, 0]
            }
            Event::Got { session, publisher, seq, id, dropped_before } => {
                [4, time, session, publisher, seq, id, dropped_before, 0]
            }
            Event::Drained { session, dropped, rejected } => [5, time, session, dropped, rejected, 0, 0, 0],
            Event::Closed { session } => [6, time, session, 0, 0, 0, 0, 0],
        };
        let mut bytes = [0; WORDS * 8];
        for (piece, word) in bytes.chunks_exact_mut(8).zip(words) {
            piece.copy_from_slice(&word.to_be_bytes());
        }
        self.file.write_all(&bytes).unwrap();
    }
}

/// Reads a journal: when, and what. A record that its writer's death cut short is left out.
pub fn read(path: &Path) -> Vec<(u64, Event)> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    let parse = |record: &[u8]| {
        let w = |i: usize| u64::from_be_bytes(record[i * 8..i * 8 + 8].try_into().unwrap());
        let event = match w(0) {
            1 => Event::Begun { seq: w(2), topic: w(3) },
            2 => Event::Answered { seq: w(2), taken: w(3), rejected: w(4) },
            3 => Event::Opened { session: w(2), pattern: w(3), drop_oldest: w(4), ring: w(5) },
            4 => Event::Got { session: w(2), publisher: w(3), seq: w(4), id: w(5), dropped_before: w(6) },
            5 => Event::Drained { session: w(2), dropped: w(3), rejected: w(4) },
            6 => Event::Closed { session: w(2) },
            kind => panic!("{}: a record of kind {kind}", path.display()),
        };
        (w(1), event)
    };
    bytes.chunks_exact(WORDS * 8).map(parse).collect()
}

/// The journals of a run, with the number of the process that wrote each.
pub fn all(directory: &Path) -> Vec<(u64, PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            found.push((path.file_stem().unwrap().to_str().unwrap().parse().unwrap(), path));
        }
    }
    found.sort();
    found
}
