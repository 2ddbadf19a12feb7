//! Clocks.

use std::time::{Duration, Instant};

fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec to write to; the clocks used here exist on every system that we build for.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now
}

/// Wall-clock microseconds since the Unix epoch.
pub(crate) fn wall_us() -> u64 {
    let now = read(libc::CLOCK_REALTIME);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// One moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// As [`monotonic_ns`].
    pub monotonic_ns: u64,
    /// As [`wall_us`].
    pub wall_us: u64,
}

impl Moment {
    pub(crate) fn now() -> Moment {
        Moment { monotonic_ns: monotonic_ns(), wall_us: wall_us() }
    }
}

/// Tells both clocks by reading one: how far they lie apart is measured once in a few microseconds.
#[derive(Debug, Default)]
pub(crate) struct TwoClocks {
    /// The wall clock's nanoseconds less the monotonic clock's, wrapping.
    apart: u64,
    /// When that was measured, on the monotonic clock.
    measured_ns: u64,
}

impl TwoClocks {
    /// Now, with a wall clock that was read at most `fresh_ns` ago. Whether it was read just now.
    #[inline]
    pub(crate) fn now(&mut self, fresh_ns: u64) -> (Moment, bool) {
        let monotonic_ns = monotonic_ns();
        let stale = monotonic_ns.wrapping_sub(self.measured_ns) >= fresh_ns;
        if stale {
            self.measure(monotonic_ns);
        }
        (Moment { monotonic_ns, wall_us: monotonic_ns.wrapping_add(self.apart) / 1_000 }, stale)
    }

    #[cold]
    fn measure(&mut self, mut before: u64) {
        // Whoever loses the processor between the two clocks' readings would take them for as far apart as that lasted.
        for _ in 0..4 {
            let wall = read(libc::CLOCK_REALTIME);
            let after = monotonic_ns();
            self.apart = (wall.tv_sec as u64 * 1_000_000_000 + wall.tv_nsec as u64).wrapping_sub(before);
            self.measured_ns = before;
            if after - before < 1_000 {
                break;
            }
            before = after;
        }
    }
}

/// Nanoseconds of the monotonic clock, never 0.
pub(crate) fn monotonic_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 + 1
}

/// Lets so much time pass, without giving up the processor.
pub(crate) fn spin_ns(ns: u64) {
    let end = monotonic_ns() + ns;
    while monotonic_ns() < end {
        std::hint::spin_loop();
    }
}

/// The wall clock as file systems stamp it (seconds, nanoseconds): never ahead of a time stamp made later.
pub(crate) fn file_clock() -> (i64, i64) {
    #[cfg(target_os = "linux")]
    let now = read(libc::CLOCK_REALTIME_COARSE);
    #[cfg(not(target_os = "linux"))]
    let now = read(libc::CLOCK_REALTIME);
    (now.tv_sec, now.tv_nsec)
}

/// When a wait ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// After this long; `None`, and what no clock can express: never.
    pub(crate) fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// What is left; `None`: no end.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    pub(crate) fn passed(&self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }
}
