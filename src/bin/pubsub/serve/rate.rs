//! How often something may be done.

#![forbid(unsafe_code)]

use std::time::Instant;

/// A bucket that holds one second's worth, and fills all the time.
pub struct Rate {
    per_second: u32,
    tokens: f64,
    filled: Instant,
}

impl Rate {
    /// So often a second; 0: as often as one likes.
    pub fn new(per_second: u32) -> Rate {
        Rate { per_second, tokens: f64::from(per_second), filled: Instant::now() }
    }

    /// Whether it may be done now.
    pub fn take(&mut self) -> bool {
        if self.per_second == 0 {
            return true;
        }
        self.take_at(Instant::now())
    }

    fn take_at(&mut self, now: Instant) -> bool {
        let most = f64::from(self.per_second);
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * most).min(most);
        self.filled = now;
        let may = self.tokens >= 1.0;
        if may {
            self.tokens -= 1.0;
        }
        may
    }

    /// How often.
    pub fn per_second(&self) -> u32 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_s_worth_at_once_and_then_as_time_goes_by() {
        let mut rate = Rate::new(10);
        let start = rate.filled;
        assert_eq!((0..20).filter(|_| rate.take_at(start)).count(), 10);
        assert_eq!((0..20).filter(|_| rate.take_at(start + Duration::from_millis(501))).count(), 5);
        assert_eq!((0..20).filter(|_| rate.take_at(start + Duration::from_secs(60))).count(), 10);
        let mut unlimited = Rate::new(0);
        assert!((0..1000).all(|_| unlimited.take()));
    }
}
