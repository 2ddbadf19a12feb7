//! Waiting awake for peers that answer soon.
//!
//! To put a processor to sleep and to wake it takes some 30 us, more than a message's whole way through the gateway. So a thread of
//! the runtime that has nothing more to do, and is about to sleep, first looks for a moment whether a connection goes on that has
//! been quick all along. One thread at a time: this is to cost one processor at most, and nothing while nobody is quick.
//!
//! Other connections are not looked at meanwhile, hence it is a short moment. (To have the connection's task yield again and again
//! would look at them, but the runtime wakes a second thread for each yield.)

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// What comes within this time comes soon: in that of two sleepers who wake each other, and a little more.
const SOON: Duration = Duration::from_micros(100);
/// And it is no more than this: who sends many messages at once is served best by many at once, for which a nap is good.
const LITTLE: usize = 1 << 10;
/// So often in a row it must have come soon, and four times as often after each time that a thread was awake in vain, up to the
/// other: where programs compete for the processors, whoever lets them have one gets it back in a millisecond.
const QUICK: u32 = 16;
const QUICK_MAX: u32 = 1 << 16;
/// So many connections are waited for at most.
const WATCHED_MAX: usize = 16;

/// A connection that may go on soon.
struct Watched {
    socket: Weak<OwnedFd>,
    until: Instant,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static IS_AWAKE: AtomicBool = AtomicBool::new(false);

fn watched() -> MutexGuard<'static, Vec<Watched>> {
    // Nothing here panics between two states that belong together.
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How quick a connection's peer is.
pub struct Pace {
    since: Instant,
    /// How often in a row it was.
    quick: u32,
    /// How often it must have been for a thread to be awake for it.
    wanted: u32,
    /// A duplicate, as long as it is quick: the connection may be closed while a thread looks.
    socket: Option<Arc<OwnedFd>>,
}

impl Pace {
    /// Not known yet.
    pub fn new() -> Pace {
        Pace { since: Instant::now(), quick: 0, wanted: QUICK, socket: None }
    }

    /// From now on the connection waits for what comes.
    pub fn waits(&mut self, socket: &impl AsFd) {
        self.since = Instant::now();
        if self.quick < self.wanted {
            return;
        }
        if self.socket.is_none() {
            // Without a descriptor to spare it sleeps, as others do.
            self.socket = socket.as_fd().try_clone_to_owned().ok().map(Arc::new);
        }
        let Some(socket) = &self.socket else { return };
        let mut watched = watched();
        if watched.len() < WATCHED_MAX {
            watched.push(Watched { socket: Arc::downgrade(socket), until: self.since + SOON });
        }
    }

    /// So many bytes have come.
    pub fn came(&mut self, bytes: usize) {
        if let Some(socket) = &self.socket {
            watched().retain(|watched| watched.socket.as_ptr() != Arc::as_ptr(socket));
        }
        let (is_soon, was_watched) = (self.since.elapsed() < SOON, self.socket.is_some());
        match (is_soon, was_watched) {
            (true, true) => self.wanted = QUICK.max(self.wanted - 1),
            (false, true) => self.wanted = QUICK_MAX.min(self.wanted * 4),
            (_, false) => {}
        }
        if is_soon && bytes <= LITTLE {
            self.quick = QUICK_MAX.min(self.quick + 1);
        } else {
            (self.quick, self.socket) = (0, None);
        }
    }
}

/// Called by a thread of the runtime before it sleeps.
pub fn before_sleep() {
    let begin = Instant::now();
    let (sockets, until) = {
        let mut watched = watched();
        watched.retain(|watched| watched.until > begin);
        let sockets: Vec<Arc<OwnedFd>> = watched.iter().filter_map(|watched| watched.socket.upgrade()).collect();
        (sockets, watched.iter().map(|watched| watched.until).max())
    };
    let Some(until) = until.filter(|_| !sockets.is_empty()) else { return };
    // Acquire and Release: as a lock that is tried.
    if IS_AWAKE.swap(true, Acquire) {
        return;
    }
    let mut fds: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    // What is there, or wrong, the runtime finds.
    while poll(&mut fds, PollTimeout::ZERO) == Ok(0) && Instant::now() < until {
        // The peer may be on this processor.
        std::thread::yield_now();
    }
    IS_AWAKE.store(false, Release);
}
