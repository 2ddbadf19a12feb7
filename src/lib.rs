//! Serverless publish/subscribe for the programs of one machine.

mod channel;
mod control;
mod error;
mod ffi;
mod files;
mod message;
mod monitor;
mod packed;
mod publisher;
mod ring;
mod store;
mod sys;
mod topic;

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
pub use store::{ChannelStats, StoreOptions, cleanup, create_store, home, list_channels};
pub use topic::{Pattern, validate_topic};
