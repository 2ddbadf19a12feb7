//! The checker's atomic word, with two ways to load it.

use std::cell::Cell;
use std::sync::atomic::Ordering;

std::thread_local! {
    // Of the thread that runs a model.
    static NEWEST: Cell<bool> = const { Cell::new(false) };
}

/// Has loads see the newest value, by an exchange that changes nothing. The checker then tries every order of them and of
/// stores; as loads they see old values, too, but it misses orders: those in which a store comes before another thread's
/// load, when the storing thread itself has loaded the word in between.
pub(crate) fn see_newest(newest: bool) {
    NEWEST.with(|cell| cell.set(newest));
}

#[derive(Debug)]
pub(crate) struct AtomicU64(loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub(crate) fn new(value: u64) -> AtomicU64 {
        AtomicU64(loom::sync::atomic::AtomicU64::new(value))
    }
    pub(crate) fn load(&self, ordering: Ordering) -> u64 {
        if NEWEST.with(Cell::get) { self.0.fetch_or(0, ordering) } else { self.0.load(ordering) }
    }
    pub(crate) fn store(&self, value: u64, ordering: Ordering) {
        if NEWEST.with(Cell::get) {
            // The checker may order a store before an exchange that did not see it.
            self.0.swap(value, ordering);
        } else {
            self.0.store(value, ordering);
        }
    }
    pub(crate) fn swap(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.swap(value, ordering)
    }
    pub(crate) fn compare_exchange(&self, from: u64, to: u64, ok: Ordering, not: Ordering) -> Result<u64, u64> {
        self.0.compare_exchange(from, to, ok, not)
    }
    pub(crate) fn fetch_or(&self, bits: u64, ordering: Ordering) -> u64 {
        self.0.fetch_or(bits, ordering)
    }
    pub(crate) fn fetch_and(&self, bits: u64, ordering: Ordering) -> u64 {
        self.0.fetch_and(bits, ordering)
    }
    pub(crate) fn fetch_max(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_max(value, ordering)
    }
    pub(crate) fn fetch_add(&self, value: u64, ordering: Ordering) -> u64 {
        self.0.fetch_add(value, ordering)
    }
}
