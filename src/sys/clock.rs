//! Clocks.

use std::time::{Duration, Instant};

use super::ticks::{self, Reading};

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

/// Tells both clocks, and asks the kernel for them once in a few microseconds only.
#[derive(Debug, Default)]
pub(crate) struct TwoClocks {
    /// When they were asked, and their answers: nanoseconds.
    asked: Reading,
    wall_ns: u64,
    /// For so many ticks the counter tells what has passed since.
    good_for: u64,
    /// Since when the counter's rate is measured.
    measured: Reading,
    /// The wall clock's last answer.
    wall_us: u64,
}

/// Readings that took no longer than this count as one moment.
const AT_ONCE_NS: u64 = 300;
/// Two answers about the wall clock differ by less than this unless somebody sets it.
const JITTER_US: u64 = 10;

impl TwoClocks {
    /// Now, by a wall clock that was read at most `fresh_ns` ago; whether it was read just now.
    #[inline]
    pub(crate) fn now(&mut self, fresh_ns: u64) -> (Moment, bool) {
        let passed = ticks::now().wrapping_sub(self.asked.ticks);
        if passed < self.good_for {
            // No more than a few microseconds of ticks: the product fits.
            (self.after((passed * ticks::rate()) >> 32), false)
        } else {
            self.ask(fresh_ns)
        }
    }

    /// The moment that lies so far behind the last one that was asked for.
    #[inline]
    fn after(&mut self, passed_ns: u64) -> Moment {
        let wall_us = (self.wall_ns + passed_ns) / 1_000;
        // Asking again must not set the time back.
        if self.wall_us.wrapping_sub(wall_us) > JITTER_US {
            self.wall_us = wall_us;
        }
        Moment { monotonic_ns: self.asked.monotonic_ns + passed_ns, wall_us: self.wall_us }
    }

    #[cold]
    fn ask(&mut self, fresh_ns: u64) -> (Moment, bool) {
        if ticks::rate() == 0 {
            // No counter that can be trusted, or its rate is not known yet.
            let passed_ns = monotonic_ns().wrapping_sub(self.asked.monotonic_ns);
            if passed_ns < fresh_ns {
                return (self.after(passed_ns), false);
            }
        }
        self.good_for = 0;
        // Who loses the processor between the readings would take them for one moment. What is left of that makes the wall
        // clock late, never early.
        for _ in 0..4 {
            self.asked = Reading { ticks: ticks::now(), monotonic_ns: monotonic_ns() };
            let wall = read(libc::CLOCK_REALTIME);
            let (after, ticks_after) = (monotonic_ns(), ticks::now());
            let passed_ns = after - self.asked.monotonic_ns;
            self.wall_ns = (wall.tv_sec as u64 * 1_000_000_000 + wall.tv_nsec as u64).saturating_sub(passed_ns);
            let by_ticks_ns =
                (u128::from(ticks_after.wrapping_sub(self.asked.ticks)) * u128::from(ticks::rate())) >> 32;
            if passed_ns < AT_ONCE_NS && by_ticks_ns < u128::from(AT_ONCE_NS) {
                self.measured = self.measured.measure(self.asked);
                // An eighth less, whatever the counter's faults.
                let fresh_ns = u128::from(fresh_ns - fresh_ns / 8);
                self.good_for = (fresh_ns << 32).checked_div(u128::from(ticks::rate())).unwrap_or(0) as u64;
                break;
            }
        }
        (self.after(0), true)
    }
}

/// Nanoseconds of the monotonic clock, never 0.
pub(crate) fn monotonic_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 + 1
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
