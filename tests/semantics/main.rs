//! The promises of `docs/semantics.md`, a test each. The comment at a test's head is the promise.

#[path = "../common/mod.rs"]
mod common;

mod bounds;
mod delivery;
mod descriptor;
mod drop_oldest;
mod environment;
mod liveness;
mod request;
mod topics;
#[path = "../common/transports.rs"]
mod transports;
mod waiting;
