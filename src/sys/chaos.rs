//! Named points at which a test may kill or stop the process, and planted faults for the tests to find.
//!
//! Without the feature `chaos` all of it compiles to nothing. With it, the environment decides:
//! `PUBSUB_CHAOS=ACTION:POINT:N` (action `kill` or `stop`; the N-th passing of the point, from 1; `*` for any point) and
//! `PUBSUB_PLANT=NAME` (the fault to commit).

#[cfg(not(feature = "chaos"))]
mod off {
    /// A place where a test may kill the process.
    #[inline(always)]
    pub(crate) fn point(_name: &'static str) {}

    /// Whether the test asked for this fault.
    #[inline(always)]
    pub(crate) fn planted(_name: &'static str) -> bool {
        false
    }
}
#[cfg(not(feature = "chaos"))]
pub(crate) use off::{planted, point};

#[cfg(feature = "chaos")]
mod on {
    use std::sync::atomic::{AtomicU64, Ordering};

    use once_cell::sync::Lazy;

    struct Plan {
        signal: libc::c_int,
        point: String,
        nth: u64,
        passed: AtomicU64,
    }

    static PLAN: Lazy<Option<Plan>> = Lazy::new(|| {
        let text = std::env::var("PUBSUB_CHAOS").ok()?;
        let mut parts = text.split(':');
        let signal = match parts.next()? {
            "kill" => libc::SIGKILL,
            "stop" => libc::SIGSTOP,
            _ => return None,
        };
        let point = parts.next()?.to_string();
        let nth = parts.next()?.parse().ok()?;
        Some(Plan { signal, point, nth, passed: AtomicU64::new(0) })
    });
    static PLANTED: Lazy<Option<String>> = Lazy::new(|| std::env::var("PUBSUB_PLANT").ok());

    /// A place where a test may kill the process.
    pub(crate) fn point(name: &'static str) {
        let Some(plan) = PLAN.as_ref() else { return };
        if plan.point != "*" && plan.point != name {
            return;
        }
        if plan.passed.fetch_add(1, Ordering::Relaxed) + 1 == plan.nth {
            // SAFETY: raise takes a valid signal number and touches no memory of ours.
            unsafe { libc::raise(plan.signal) };
        }
    }

    /// Whether the test asked for this fault.
    pub(crate) fn planted(name: &'static str) -> bool {
        PLANTED.as_deref() == Some(name)
    }
}
#[cfg(feature = "chaos")]
pub(crate) use on::{planted, point};
