//! The `pubsub` command as its users meet it: real processes, one store each test.

#![forbid(unsafe_code)]

mod bench;
mod doctor;
mod lists;
mod publish;
mod record;
mod request;
mod signals;
mod stores;
mod subscribe;
mod support;
mod top;
mod topics;
mod usage;
