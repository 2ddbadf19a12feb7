//! Serverless publish/subscribe for the programs of one machine.
//!
//! A program that wants to receive opens a [`Channel`] on a topic or a pattern of topics; it has a queue of its own. A program
//! that wants to send calls [`publish()`], or keeps a [`Publisher`] for many messages on one topic. Between them is a
//! directory, the *store*: no server, and no thread of this library's. Any of the processes may be killed at any time
//! without harming the others. Programs in C use the same store through the C ABI of this library (`pubsub.h`), and
//! unmodified formix-pubsub programs in Python take part.
//!
//! ```
//! use pubsub::{Channel, ChannelOptions, HeaderValue, Headers, Publisher, PublisherOptions};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let home = Some(directory.path().to_path_buf());
//! // Receive what is published to host.alpha.cpu.0, host.beta.mem and the like, from now on.
//! let mut channel = Channel::open("host.=.+", &ChannelOptions { home: home.clone(), ..Default::default() })?;
//!
//! // Usually another program does this.
//! let publisher = Publisher::open("host.alpha.cpu.0", &PublisherOptions { home, ..Default::default() })?;
//! let mut headers = Headers::new();
//! headers.set("unit", HeaderValue::String("percent".into()));
//! let taken = publisher.publish(b"12.5", Some(&headers))?;
//! assert_eq!(taken, 1);
//!
//! // `None` would mean that nothing came within a second.
//! let message = channel.fetch_wait(Some(Duration::from_secs(1)))?.expect("it was published above");
//! assert_eq!(message.topic(), "host.alpha.cpu.0");
//! assert_eq!(message.data(), b"12.5");
//! assert_eq!(message.headers_json(), r#"{"unit": "percent"}"#);
//! channel.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! With `home: None`, the default, the store is [`home()`]: `PUBSUB_HOME`, else `/dev/shm/pubsub`.
//!
//! # Topics and patterns
//!
//! A topic is 1 to 200 of `[a-zA-Z0-9.-]`; words are what stands between dots. In a [`Pattern`], `=` stands for one word (or
//! a part of one) and `+` for one or more words: `logs.=.error` matches `logs.app.error`, `logs.+` matches `logs.error`
//! and `logs.app.error`.
//!
//! # What is promised
//!
//! - A channel that was open before a publish began receives it; one thread's messages arrive in order, whole, and at most once.
//! - What a queue has no room for is refused and counted, or the oldest is dropped and counted ([`FullPolicy`]); a
//!   publisher may also wait for room ([`PublisherOptions::full_timeout`]).
//! - A publisher waits for nobody unless it asked to.
//! - Unread messages go with their channel. A managed topic ([`create_topic`]) keeps a history, which outlives every process.
//!
//! The whole of it, with the test for each promise, is in `docs/semantics.md`; the store's bytes and algorithms are in
//! `docs/store-format.md`.
//!
//! # Request and reply
//!
//! [`request`] publishes a message and waits for the reply that somebody sends with [`reply`]; nobody listening is an error at
//! once. See there for an example.
//!
//! # Waiting, event loops, threads
//!
//! [`Channel::fetch`] never waits, [`Channel::fetch_wait`] does, [`Channel::fetch_batch`] takes many at once,
//! [`Channel::subscribe`] calls back. [`Channel::fd`] is a descriptor for poll, epoll and their like. Receiving
//! takes `&mut Channel`: one thread at a time; an [`Interrupter`] ends its waits from elsewhere. A [`Publisher`]
//! may be shared by threads. After `fork`, a child opens its own.
//!
//! # Errors
//!
//! An [`Error`] has a [kind](ErrorKind), whose code is that of the C ABI, and a sentence that names the topic, path or value at
//! fault and what to do.
//!
//! # Features
//!
//! `cli` builds the `pubsub` command. `chaos` compiles in the points at which tests kill processes, never for a release.

mod channel;
mod control;
mod error;
mod ffi;
mod files;
mod history;
mod message;
mod monitor;
mod order;
mod packed;
mod publisher;
mod recorder;
mod replay;
mod ring;
mod rpc;
mod store;
mod sys;
mod topic;
mod topics;

/// What the fuzz targets call; built for them only.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::message::fuzzing::{headers, message};
}

pub use channel::{Channel, ChannelOptions, Interrupter, PackError};
pub use control::{FullPolicy, Transport};
pub use error::{Error, ErrorKind, Result};
pub use message::{HeaderValue, Headers, Message, MessageKind};
pub use monitor::Monitor;
pub use publisher::{Payload, Publisher, PublisherOptions, last_rejected, publish};
pub use recorder::Recorder;
pub use rpc::{reply, request};
pub use store::{ChannelStats, StoreOptions, cleanup, create_store, home, list_channels};
#[doc(hidden)] // for `pubsub doctor`
pub use store::{Fault, Finding, examine};
pub use topic::{Pattern, validate_topic};
pub use topics::{
    HistorySlice, Resume, TopicOptions, TopicStats, create_topic, delete_topic, topic_history, topic_history_from,
    topic_stats, topics,
};

/// For programs that own their process, such as the `pubsub` command: installs a handler of SIGBUS, so that a file of the store
/// which another program has cut short ends this one with a sentence on standard error and the exit code 1.
///
/// Errors: [`Io`](ErrorKind::Io).
#[doc(hidden)]
pub fn end_on_bus_error() -> Result<()> {
    sys::bus::end_on_bus_error().map_err(|e| Error::os("installing a handler of SIGBUS", e))
}

/// The Rust programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeCompiles;
