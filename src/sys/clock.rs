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

/// One moment of the wall clock, which is all that a publish asks for: a message says when it was published, and what else
/// depends on the time must bear a clock that is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// Nanoseconds since the Unix epoch.
    pub ns: u64,
}

impl Moment {
    #[inline]
    pub(crate) fn now() -> Moment {
        let now = read(libc::CLOCK_REALTIME);
        Moment { ns: now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 }
    }

    /// As [`wall_us`].
    #[inline]
    pub(crate) fn wall_us(self) -> u64 {
        self.ns / 1_000
    }

    /// Whether `past` lies so many nanoseconds back, or the clock was set back since.
    #[inline]
    pub(crate) fn is_since(self, past: u64, ns: u64) -> bool {
        self.ns.wrapping_sub(past) >= ns
    }
}

/// The wall clock, which the kernel is asked for once in a few microseconds only: what has passed since, the processor's
/// counter tells, where it can be trusted.
#[derive(Debug, Default)]
pub(crate) struct TickingClock {
    /// The last answer, and the counter then.
    asked_ns: u64,
    asked_ticks: u64,
    /// For so many ticks the counter tells what has passed since.
    good_for: u64,
    /// The last moment that was told, nanoseconds.
    told_ns: u64,
    /// Since when the counter's rate is measured.
    measured: Reading,
}

/// For so long the counter is believed.
const BELIEVED_NS: u64 = 4_000;
/// Readings that took no longer than this count as one moment.
const AT_ONCE_NS: u64 = 300;

impl TickingClock {
    #[inline]
    pub(crate) fn now(&mut self) -> Moment {
        let passed = ticks::now().wrapping_sub(self.asked_ticks);
        // No more than a few microseconds of ticks: the product fits.
        let ns = if passed < self.good_for { self.asked_ns + ((passed * ticks::rate()) >> 32) } else { self.ask() };
        // Asking again must not set the time back by what the counter was ahead; whoever sets the clock may.
        if self.told_ns.wrapping_sub(ns) > AT_ONCE_NS {
            self.told_ns = ns;
        }
        Moment { ns: self.told_ns }
    }

    #[cold]
    fn ask(&mut self) -> u64 {
        let before = ticks::now();
        let now = Moment::now();
        let between = ticks::now().wrapping_sub(before);
        // The clock was read about halfway. (Wrapping: 0 where there is no counter.)
        (self.asked_ns, self.asked_ticks) = (now.ns, before.wrapping_add(between / 2));
        let rate = ticks::rate();
        let in_ticks = |ns: u64| (u128::from(ns) << 32).checked_div(u128::from(rate)).unwrap_or(0) as u64;
        // Who loses the processor between the readings does not know which moment they belong to.
        self.good_for = if between < in_ticks(AT_ONCE_NS) { in_ticks(BELIEVED_NS) } else { 0 };
        self.measured.go_on(now.ns);
        now.ns
    }
}

/// Nanoseconds of the monotonic clock, never 0.
#[inline]
pub(crate) fn monotonic_ns() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64 + 1
}

/// Lets so much time pass, without giving up the processor.
pub(crate) fn spin_ns(ns: u64) {
    spin_until(monotonic_ns() + ns);
}

/// Waits for this time of the monotonic clock in the same way.
pub(crate) fn spin_until(end_ns: u64) {
    while monotonic_ns() < end_ns {
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
