//! The ring's atomics: the standard ones, or the model checker's (`models`).

#![forbid(unsafe_code)]

#[cfg(loom)]
pub(crate) use crate::sys::word::AtomicU64;
#[cfg(loom)]
pub(crate) use loom::sync::atomic::fence;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU64, fence};

/// Stands between a store and a load, both SeqCst, whose order matters: the two say it all by themselves. The model checker,
/// which takes SeqCst accesses for weaker than they are, needs the fence that they amount to.
#[inline(always)]
pub(crate) fn sequential() {
    #[cfg(loom)]
    loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}
