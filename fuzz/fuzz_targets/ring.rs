//! A ring that somebody else writes into, and operations on it.

#![no_main]

#[path = "../ring.rs"]
mod ring;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let home = std::path::PathBuf::from(format!("/dev/shm/pubsub-fuzz-{}", std::process::id()));
    ring::attach(&home, bytes);
});
