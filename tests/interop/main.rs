//! With the published formix-pubsub 1.0.0, unmodified: both directions and mixed, in one store.
//!
//! Each test has a store of its own. See `support` for where the Python with formix-pubsub comes from.

mod histories;
mod lifecycle;
mod messages;
mod opening;
mod peer;
mod queues;
mod request;
mod support;
#[path = "../common/transports.rs"]
mod transports;
mod users;
mod wildcards;
