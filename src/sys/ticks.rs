//! The processor's time stamp counter as a clock for a few microseconds.
//!
//! `clock_gettime` takes 20 ns or more, a quarter of what publishing a small message may take; the counter alone takes a third
//! of that. It is used only where the kernel itself keeps the time with it, so that it runs at one rate and alike on all
//! processors, and only to tell how long ago something was that was timed by `clock_gettime`, at most some microseconds
//! before. Everything else is the kernel's time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use once_cell::sync::Lazy;

/// Nanoseconds in a tick, in 2^-32; 0: not known (yet, or for good).
static RATE: AtomicU64 = AtomicU64::new(0);
/// Whether the rate has been found to change: then no more is made of the counter.
static DISTRUSTED: AtomicU32 = AtomicU32::new(0);
/// The rate is measured over at least this long: the clocks' readings are a few dozen nanoseconds apart.
const MEASURED_NS: u64 = 2_000_000;
/// Later measurements that differ by more than this part of it show that the counter is no clock.
const TOLERATED: u64 = 64;

/// The counter; always 0 where there is none.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // Not ordered with the instructions around it: a few nanoseconds early or late is what any clock may be.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction. (Where a system forbids it, programs do not start: the loader uses it.)
    return unsafe { std::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    return 0;
}

/// Nanoseconds in a tick, in 2^-32; 0: the counter tells nothing.
#[inline(always)]
pub(crate) fn rate() -> u64 {
    RATE.load(Relaxed)
}

/// A reading of both the counter and the monotonic clock, with which the rate is measured.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    pub ticks: u64,
    pub monotonic_ns: u64,
}

impl Reading {
    /// Measures the rate by the time that has passed since `self`; the reading from which to measure the next time.
    pub(crate) fn measure(self, now: Reading) -> Reading {
        static IS_CLOCK: Lazy<bool> = Lazy::new(is_the_kernels_clock);
        if self.monotonic_ns == 0 {
            return now;
        }
        let passed_ns = now.monotonic_ns.wrapping_sub(self.monotonic_ns);
        if passed_ns < MEASURED_NS {
            return self;
        }
        let ticks = now.ticks.wrapping_sub(self.ticks);
        let measured = (u128::from(passed_ns) << 32).checked_div(u128::from(ticks)).unwrap_or(0);
        // From 250 MHz to 64 GHz.
        let measured = u64::try_from(measured).ok().filter(|rate| (1 << 26..1 << 34).contains(rate));
        let before = RATE.load(Relaxed);
        let agrees = measured.is_some_and(|measured| before == 0 || measured.abs_diff(before) <= before / TOLERATED);
        if !agrees || !*IS_CLOCK {
            // Perhaps the program was moved to another machine.
            DISTRUSTED.store(1, Relaxed);
            RATE.store(0, Relaxed);
        } else if before == 0 && DISTRUSTED.load(Relaxed) == 0 {
            RATE.store(measured.unwrap_or(0), Relaxed);
        }
        now
    }
}

fn is_the_kernels_clock() -> bool {
    cfg!(target_arch = "x86_64")
        && std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .is_ok_and(|name| name.trim_ascii() == b"tsc")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::monotonic_ns;

    #[test]
    fn ticks_tell_how_long_ago_something_was() {
        let reading = || Reading { ticks: now(), monotonic_ns: monotonic_ns() };
        let first = reading();
        while monotonic_ns() < first.monotonic_ns + 2 * MEASURED_NS {
            std::hint::spin_loop();
        }
        let second = first.measure(reading());
        if is_the_kernels_clock() && rate() > 0 {
            let told = (u128::from(second.ticks - first.ticks) * u128::from(rate()) >> 32) as u64;
            let passed = second.monotonic_ns - first.monotonic_ns;
            assert!(told.abs_diff(passed) < passed / TOLERATED, "{told} {passed}");
        }
    }
}
