//! Any text as headers: read or refused, and what is read survives being written.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| pubsub::fuzzing::headers(text));
