//! Messages: ids, headers, the version-1 format. Pure.

#![forbid(unsafe_code)]

use crate::error::Result;

pub(crate) mod v1;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum MessageKind {
    /// Somebody published it.
    Data = 0,
    /// The managed topic that the channel is on was deleted.
    TopicDeleted = 1,
}

/// A received message. One heap block, laid out as the C ABI's `ps_message` with topic, headers and data behind it, so
/// that handing it to C costs nothing.
pub struct Message {
    block: Box<[u64]>,
}

/// The fields of a message that have a fixed size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageHead {
    pub id: u64,
    pub timestamp_us: i64,
    pub kind: MessageKind,
    pub dropped_before: u64,
    pub epoch: u64,
    pub offset: u64,
}

impl Message {
    /// A message with room for `data_len` bytes of data (zeros; fill with [`data_mut`](Message::data_mut)).
    /// Memory that cannot be had is an error (`TooLarge`), never an abort.
    pub(crate) fn new(head: MessageHead, topic: &str, headers_json: &str, data_len: usize) -> Result<Message> {
        let _ = (head, topic, headers_json, data_len);
        todo!()
    }

    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        todo!()
    }

    pub(crate) fn set_dropped_before(&mut self, dropped_before: u64) {
        let _ = dropped_before;
        todo!()
    }

    /// The block, for the C ABI: it begins with a `ps_message`.
    pub(crate) fn into_block(self) -> Box<[u64]> {
        self.block
    }

    /// The block that [`into_block`](Message::into_block) gave.
    pub(crate) fn from_block(block: Box<[u64]>) -> Message {
        Message { block }
    }

    /// The block, lent.
    pub(crate) fn block(&self) -> &[u64] {
        &self.block
    }

    /// Unique in the store.
    pub fn id(&self) -> u64 {
        todo!()
    }

    /// When it was published, microseconds since the Unix epoch.
    pub fn timestamp_us(&self) -> i64 {
        todo!()
    }

    /// The topic it was published to.
    pub fn topic(&self) -> &str {
        todo!()
    }

    /// The content.
    pub fn data(&self) -> &[u8] {
        todo!()
    }

    /// The headers' text as received, byte for byte; `{}` when there are none.
    pub fn headers_json(&self) -> &str {
        todo!()
    }

    /// The headers; empty when the text is not a JSON object.
    pub fn headers(&self) -> Headers {
        todo!()
    }

    /// What it is.
    pub fn kind(&self) -> MessageKind {
        todo!()
    }

    /// Messages that the channel lost (drop-oldest) just before this one.
    pub fn dropped_before(&self) -> u64 {
        todo!()
    }

    /// Managed topics: the history's epoch; else 0.
    pub fn epoch(&self) -> u64 {
        todo!()
    }

    /// Managed topics: the position in the history; else 0.
    pub fn offset(&self) -> u64 {
        todo!()
    }
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// Any other number, NaN and the infinities included.
    Double(f64),
    /// Text.
    String(String),
    /// JSON that is none of these (nested, an integer beyond 64 bits, text that UTF-8 cannot hold): its text.
    Other(String),
}

/// The headers of a message: names and values in the order in which they were set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers {
    entries: Vec<(String, HeaderValue)>,
}

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Parses a JSON object as Python's `json` reads it (NaN, Infinity and integers of any size included); of duplicate
    /// names the last counts. Anything else is [`ErrorKind::InvalidHeaders`](crate::ErrorKind::InvalidHeaders).
    pub fn parse(json: &str) -> Result<Headers> {
        let _ = json;
        todo!()
    }

    /// Sets a header; a name that is there keeps its place.
    pub fn set(&mut self, name: impl Into<String>, value: HeaderValue) -> &mut Headers {
        let _ = (name.into(), value);
        todo!()
    }

    /// A header's value.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        let _ = name;
        todo!()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// As JSON text, as formix-pubsub writes it.
    pub fn to_json(&self) -> String {
        todo!()
    }
}
