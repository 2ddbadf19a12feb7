//! A value for one thread at a time, where nobody ever waits for it.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

/// Like a mutex that can only be tried, at half the cost: giving it back is a plain store, since nobody sleeps for it.
#[derive(Debug)]
pub(crate) struct Exclusive<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: whoever swaps `taken` from false to true is the only one to reach the value until it stores false again, as with a
// mutex: so a value that may be sent to another thread may be shared this way.
unsafe impl<T: Send> Sync for Exclusive<T> {}

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Exclusive<T> {
        Exclusive { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// The value; `None` while somebody else has it, be it the calling thread.
    #[inline]
    pub(crate) fn try_take(&self) -> Option<Taken<'_, T>> {
        // Acquire pairs with the Release of the one who had it before.
        if self.taken.swap(true, Ordering::Acquire) { None } else { Some(Taken(self)) }
    }
}

/// The right to the value, given back when it is dropped (also by a panic: what that leaves half done is the owner's affair).
#[derive(Debug)]
pub(crate) struct Taken<'a, T>(&'a Exclusive<T>);

impl<T> Deref for Taken<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: `taken` was false and is true because of this guard, so there is no other reference.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Taken<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above; the guard is borrowed mutably.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Taken<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_has_it_and_nobody_waits() {
        let value = Exclusive::new(0u64);
        let mut first = value.try_take().expect("free");
        *first += 1;
        assert!(value.try_take().is_none());
        drop(first);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut done = 0;
                    while done < 10_000 {
                        if let Some(mut value) = value.try_take() {
                            *value += 1;
                            done += 1;
                        }
                    }
                });
            }
        });
        assert_eq!(*value.try_take().expect("free"), 40_001);
    }
}
