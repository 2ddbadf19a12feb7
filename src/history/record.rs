//! A message as it lies in a history.
//!
//! | bytes | |
//! |---|---|
//! | 0..4 | CRC-32 of the history's epoch and of all that follows |
//! | 4..8 | length of the headers' text (0: `{}`) |
//! | 8..16 | id |
//! | 16..24 | timestamp, microseconds since the epoch |
//! | 24..28 | length of the content |
//! | 28..32 | 0 |
//! | 32.. | headers, content |
//!
//! Native byte order. The topic is the history's.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::message::{Message, MessageHead};
use crate::ring::{Memory, Record};

const HEAD: usize = 32;

/// A message to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub id: u64,
    pub timestamp_us: u64,
    pub headers_json: &'a str,
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    /// Of a message as channels get it.
    #[inline]
    pub(crate) fn of(record: &Record<'a>) -> Entry<'a> {
        let Record { id, timestamp_us, headers_json, data, .. } = *record;
        Entry { id, timestamp_us, headers_json, data }
    }

    fn headers(&self) -> &[u8] {
        if self.headers_json == "{}" { b"" } else { self.headers_json.as_bytes() }
    }

    pub(super) fn len(&self) -> usize {
        HEAD + self.headers().len() + self.data.len()
    }

    /// What stands before headers and content. The content must have been found to fit into a chunk.
    pub(super) fn head(&self, epoch: u64) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[4..8].copy_from_slice(&(self.headers().len() as u32).to_ne_bytes());
        head[8..16].copy_from_slice(&self.id.to_ne_bytes());
        head[16..24].copy_from_slice(&self.timestamp_us.to_ne_bytes());
        head[24..28].copy_from_slice(&(self.data.len() as u32).to_ne_bytes());
        let sum = sum(epoch, &head[4..], self.headers(), self.data);
        head[..4].copy_from_slice(&sum.to_ne_bytes());
        head
    }

    pub(super) fn write(&self, head: &[u8; HEAD], memory: &impl Memory, at: usize) {
        memory.copy_in(at, head);
        memory.copy_in(at + HEAD, self.headers());
        memory.copy_in(at + HEAD + self.headers().len(), self.data);
    }
}

fn sum(epoch: u64, head: &[u8], headers: &[u8], data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&epoch.to_ne_bytes());
    hasher.update(head);
    hasher.update(headers);
    hasher.update(data);
    hasher.finalize()
}

/// The bytes of a record as a message; `Ok(None)`: they are none.
pub(super) fn parse(bytes: &[u8], epoch: u64, offset: u64, topic: &str) -> Result<Option<Message>> {
    let Some((head, rest)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
    let long = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[from..from + 8]);
        u64::from_ne_bytes(word)
    };
    let short = |from: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&head[from..from + 4]);
        u32::from_ne_bytes(word)
    };
    let Some((headers, data)) = rest.split_at_checked(short(4) as usize) else { return Ok(None) };
    if data.len() != short(24) as usize || short(0) != sum(epoch, &head[4..], headers, data) {
        return Ok(None);
    }
    let Ok(headers) = std::str::from_utf8(headers) else { return Ok(None) };
    let fixed = MessageHead::of_history(long(8), long(16), epoch, offset);
    let mut message = Message::new(fixed, topic, headers, data.len())?;
    message.data_mut().copy_from_slice(data);
    Ok(Some(message))
}
