//! Any bytes as a version-1 message: read or refused, and what is read is written as it was.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pubsub::fuzzing::message(bytes));
