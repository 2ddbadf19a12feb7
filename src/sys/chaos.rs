//! Named points at which a test may kill or stop the process, and planted faults for the tests to find.
//!
//! Without the feature `chaos` all of it compiles to nothing. With it, the environment decides:
//!
//! - `PUBSUB_CHAOS=ACTION:POINT:WHEN[:SEED]`, several separated by commas. ACTION is `kill`, `stop` (both by a signal to
//!   the process itself), `pause` (a millisecond's sleep, so that others run between two steps), or `full`: what is asked for
//!   there has no space. POINT is a name, or `*` for all (but not for `full`). WHEN is the number of the passing, from 1, or `p` and a probability; SEED makes the latter repeatable.
//! - `PUBSUB_PLANT=NAME`: the fault to commit.

#[cfg(not(feature = "chaos"))]
mod off {
    /// A place where a test may kill the process.
    #[inline(always)]
    pub(crate) fn point(_name: &'static str) {}

    /// Whether the test wants no space to be left here.
    #[inline(always)]
    pub(crate) fn is_full(_name: &'static str) -> bool {
        false
    }

    /// Whether the test asked for this fault.
    #[inline(always)]
    pub(crate) fn planted(_name: &'static str) -> bool {
        false
    }
}
#[cfg(not(feature = "chaos"))]
pub(crate) use off::{is_full, planted, point};

#[cfg(feature = "chaos")]
mod on {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use once_cell::sync::Lazy;

    enum Action {
        Signal(libc::c_int),
        Pause,
        Full,
    }

    enum When {
        Nth(u64),
        /// The probability in 2^-32, and the seed.
        Often(u64, u64),
    }

    struct Plan {
        action: Action,
        point: String,
        when: When,
        passed: AtomicU64,
    }

    static PLANS: Lazy<Vec<Plan>> = Lazy::new(|| {
        let text = std::env::var("PUBSUB_CHAOS").unwrap_or_default();
        let plans = text.split(',').filter(|plan| !plan.is_empty());
        plans.map(|plan| parse(plan).unwrap_or_else(|| refuse(plan))).collect()
    });
    static PLANTED: Lazy<Option<String>> = Lazy::new(|| std::env::var("PUBSUB_PLANT").ok());

    /// A test that does not do what it says must not pass.
    fn refuse(plan: &str) -> Plan {
        eprintln!("PUBSUB_CHAOS: '{plan}' is not ACTION:POINT:WHEN[:SEED]");
        std::process::abort();
    }

    fn parse(plan: &str) -> Option<Plan> {
        let mut parts = plan.split(':');
        let action = match parts.next()? {
            "kill" => Action::Signal(libc::SIGKILL),
            "stop" => Action::Signal(libc::SIGSTOP),
            "pause" => Action::Pause,
            "full" => Action::Full,
            _ => return None,
        };
        let point = parts.next()?.to_string();
        let when = parts.next()?;
        let when = match when.strip_prefix('p') {
            Some(often) => {
                let often: f64 = often.parse().ok()?;
                When::Often((often * 2f64.powi(32)) as u64, parts.next().unwrap_or("1").parse().ok()?)
            }
            None => When::Nth(when.parse().ok()?),
        };
        Some(Plan { action, point, when, passed: AtomicU64::new(0) })
    }

    /// A place where a test may kill the process.
    pub(crate) fn point(name: &'static str) {
        for plan in PLANS.iter().filter(|plan| plan.point == "*" || plan.point == name) {
            let now = plan.is_due();
            match plan.action {
                // To this thread: a signal to the process may be taken by another while this one goes on for a moment.
                // SAFETY: raise takes a valid signal number and touches no memory of ours.
                Action::Signal(signal) if now => unsafe {
                    libc::raise(signal);
                },
                Action::Pause if now => std::thread::sleep(Duration::from_millis(1)),
                _ => {}
            }
        }
    }

    impl Plan {
        /// Counts a passing; whether it is one of those that were meant.
        fn is_due(&self) -> bool {
            let nth = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
            match self.when {
                When::Nth(n) => n == nth,
                When::Often(often, seed) => (mix(seed ^ mix(nth)) >> 32) < often,
            }
        }
    }

    /// Whether the test wants no space to be left here.
    pub(crate) fn is_full(name: &'static str) -> bool {
        PLANS.iter().any(|plan| matches!(plan.action, Action::Full) && plan.point == name && plan.is_due())
    }

    /// splitmix64's finish.
    fn mix(n: u64) -> u64 {
        let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// Whether the test asked for this fault.
    pub(crate) fn planted(name: &'static str) -> bool {
        PLANTED.as_deref() == Some(name)
    }
}
#[cfg(feature = "chaos")]
pub(crate) use on::{is_full, planted, point};
