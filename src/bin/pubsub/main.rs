//! The `pubsub` command.
fn main() {}
