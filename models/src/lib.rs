//! The ring of the library, under a model checker.
//!
//! The sources of `src/ring` are compiled in as they are, on loom's atomics, and run in every order of their steps (up to a
//! number of preemptions) with every value that the memory model lets a load see. `world` has the memory and the locks
//! that they run on: bytes are cells that notice unsynchronized access, pages that were not reserved may not be touched.
//! `models` has what must hold; each model also shows that it finds the faults that it is there for (`chaos::planted` in the
//! sources). Each runs in a process of its own: a failed execution cannot be cleaned up.

#![cfg(test)]
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;
mod sys {
    pub(crate) mod chaos;
    pub(crate) mod word;
}
mod models;
mod world;
