//! The library's named points and planted faults, for models: a thread can be made to die at its n-th point.

use std::cell::Cell;

/// What a thread that dies unwinds with.
pub(crate) struct Death;

loom::thread_local! {
    static REMAINING: Cell<Option<u32>> = Cell::new(None);
}

std::thread_local! {
    // Of the thread that runs a model, which runs all of the model's threads.
    static PLANTED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

pub(crate) fn point(_name: &'static str) {
    let dies = REMAINING.with(|remaining| match remaining.get() {
        None => false,
        Some(0) => true,
        Some(n) => {
            remaining.set(Some(n - 1));
            false
        }
    });
    if dies {
        REMAINING.with(|remaining| remaining.set(None));
        std::panic::resume_unwind(Box::new(Death));
    }
}

pub(crate) fn planted(name: &'static str) -> bool {
    PLANTED.with(Cell::get) == Some(name)
}

pub(crate) fn plant(name: Option<&'static str>) {
    PLANTED.with(|planted| planted.set(name));
}

/// Runs `work`, which dies at point `nth` (from 0); whether it lived to its end.
pub(crate) fn dying_at(nth: u32, work: impl FnOnce()) -> bool {
    REMAINING.with(|remaining| remaining.set(Some(nth)));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    REMAINING.with(|remaining| remaining.set(None));
    match result {
        Ok(()) => true,
        Err(payload) if payload.is::<Death>() => false,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}
