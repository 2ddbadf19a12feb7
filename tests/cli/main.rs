//! The `pubsub` command as its users meet it: real processes, one store each test.

#![forbid(unsafe_code)]

mod lists;
mod publish;
mod request;
mod signals;
mod stores;
mod subscribe;
mod support;
mod usage;
