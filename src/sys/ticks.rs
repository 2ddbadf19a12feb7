//! The processor's time stamp counter as a clock for a few microseconds.
//!
//! `clock_gettime` takes 20 ns or more, a quarter of what publishing a small message may take; the counter alone takes a third
//! of that. It is used only where the kernel itself keeps the time with it, so that it runs at one rate and alike on all
//! processors, and only to tell how long ago something was that was timed by `clock_gettime`, at most some microseconds
//! before. Everything else is the kernel's time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use once_cell::sync::Lazy;

use super::clock;

/// Nanoseconds in a tick, in 2^-32; 0: not known (yet, or for good).
static RATE: AtomicU64 = AtomicU64::new(0);
/// Whether the rate has been found to change: then no more is made of the counter.
static DISTRUSTED: AtomicU32 = AtomicU32::new(0);
/// The rate is measured over at least this long: the clocks' readings are a few dozen nanoseconds apart.
const MEASURED_NS: u64 = 2_000_000;
/// Readings that took no longer than this count as one moment.
const AT_ONCE_NS: u64 = 500;
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
    ticks: u64,
    monotonic_ns: u64,
    /// When it was taken, nanoseconds of the wall clock.
    wall_ns: u64,
}

impl Reading {
    /// `None`: the processor was lost between the two.
    fn now(wall_ns: u64) -> Option<Reading> {
        let before = clock::monotonic_ns();
        let ticks = now();
        let passed = clock::monotonic_ns() - before;
        (passed < AT_ONCE_NS).then_some(Reading { ticks, monotonic_ns: before + passed / 2, wall_ns })
    }

    /// Measures the rate once in a while, by the time that has passed since this reading was taken.
    #[inline]
    pub(crate) fn go_on(&mut self, wall_ns: u64) {
        if wall_ns.wrapping_sub(self.wall_ns) >= MEASURED_NS && DISTRUSTED.load(Relaxed) == 0 {
            if let Some(now) = Reading::now(wall_ns) {
                let before = std::mem::replace(self, now);
                if before.monotonic_ns > 0 {
                    measure(before, now);
                }
            }
        }
    }
}

#[cold]
fn measure(from: Reading, to: Reading) {
    static IS_CLOCK: Lazy<bool> = Lazy::new(is_the_kernels_clock);
    let passed_ns = to.monotonic_ns.wrapping_sub(from.monotonic_ns);
    if passed_ns < MEASURED_NS / 2 {
        // The wall clock was set.
        return;
    }
    let measured = (u128::from(passed_ns) << 32).checked_div(u128::from(to.ticks.wrapping_sub(from.ticks)));
    // From 250 MHz to 64 GHz.
    let measured = measured.and_then(|rate| u64::try_from(rate).ok()).filter(|rate| (1 << 26..1 << 34).contains(rate));
    let before = RATE.load(Relaxed);
    match measured {
        Some(rate) if *IS_CLOCK && before == 0 => RATE.store(rate, Relaxed),
        Some(rate) if *IS_CLOCK && rate.abs_diff(before) <= before / TOLERATED => {}
        // No clock, or the program was moved to another machine.
        _ => {
            DISTRUSTED.store(1, Relaxed);
            RATE.store(0, Relaxed);
        }
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

    #[test]
    fn ticks_tell_how_long_ago_something_was() {
        let mut first = Reading::default();
        while first.monotonic_ns == 0 {
            first.go_on(MEASURED_NS);
        }
        while clock::monotonic_ns() < first.monotonic_ns + 2 * MEASURED_NS {
            std::hint::spin_loop();
        }
        let mut second = first;
        while second.monotonic_ns == first.monotonic_ns && DISTRUSTED.load(Relaxed) == 0 {
            second.go_on(2 * MEASURED_NS);
        }
        let rate = rate();
        if rate > 0 {
            let told = ((u128::from(second.ticks - first.ticks) * u128::from(rate)) >> 32) as u64;
            let passed = second.monotonic_ns - first.monotonic_ns;
            assert!(told.abs_diff(passed) <= passed / TOLERATED, "{told} {passed}");
        } else {
            assert!(!is_the_kernels_clock() || DISTRUSTED.load(Relaxed) == 1);
        }
    }
}
