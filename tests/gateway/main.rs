//! The gateway as its clients meet it: `pubsub serve` as a process, a store each test.

#![forbid(unsafe_code)]

mod access;
mod beyond;
mod client;
mod crowd;
mod fleet;
mod formix;
mod full;
mod history;
mod hostile;
mod http;
mod seed;
mod server;
mod slow;
