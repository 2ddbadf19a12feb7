//! A message as it lies in a chunk.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | id |
//! | 8..16 | timestamp, microseconds since the epoch |
//! | 16..18 | length of the topic |
//! | 18..20 | flags: 1, the topic keeps a history, and the message's place in it follows; the others are 0 |
//! | 20..24 | length of the headers' text (0: `{}`) |
//! | | with flag 1: epoch, offset |
//! | then | topic, headers, content; the content's length is what the ref leaves |
//!
//! Native byte order: a ring never leaves its machine.

#![forbid(unsafe_code)]

use super::Memory;
use crate::error::Result;
use crate::message::{Message, MessageHead};

const HEAD: usize = 24;
/// Bytes of a cache line.
const LINE: usize = 64;

/// The message of a managed topic: epoch and offset follow the head.
const MANAGED: u16 = 1;
const PLACE: usize = 16;

/// A message to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub id: u64,
    pub timestamp_us: u64,
    pub topic: &'a str,
    pub headers_json: &'a str,
    pub data: &'a [u8],
    /// A managed topic's epoch and the message's offset in its history.
    pub managed: Option<(u64, u64)>,
}

impl Record<'_> {
    fn headers(&self) -> &[u8] {
        if self.headers_json == "{}" { b"" } else { self.headers_json.as_bytes() }
    }

    /// Its length; more than a chunk may be.
    pub(crate) fn len(&self) -> usize {
        let place = if self.managed.is_some() { PLACE } else { 0 };
        HEAD + place + self.topic.len() + self.headers().len() + self.data.len()
    }

    #[inline]
    pub(crate) fn write(&self, memory: &impl Memory, at: usize) {
        let (topic, headers) = (self.topic.as_bytes(), self.headers());
        let mut head = [0; HEAD + PLACE];
        head[..8].copy_from_slice(&self.id.to_ne_bytes());
        head[8..16].copy_from_slice(&self.timestamp_us.to_ne_bytes());
        // A topic has at most 200 bytes, and what fits into a chunk fits into 32 bits.
        head[16..18].copy_from_slice(&(topic.len() as u16).to_ne_bytes());
        head[20..24].copy_from_slice(&(headers.len() as u32).to_ne_bytes());
        let mut at = at;
        let mut put = |bytes: &[u8]| {
            memory.copy_in(at, bytes);
            at += bytes.len();
        };
        if let Some((epoch, offset)) = self.managed {
            head[18..20].copy_from_slice(&MANAGED.to_ne_bytes());
            head[24..32].copy_from_slice(&epoch.to_ne_bytes());
            head[32..].copy_from_slice(&offset.to_ne_bytes());
            put(&head);
        } else {
            put(&head[..HEAD]);
        }
        put(topic);
        put(headers);
        put(self.data);
    }
}

/// Where the parts of a record lie, checked against its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub id: u64,
    pub timestamp_us: i64,
    /// 0 where the topic is not managed.
    pub epoch: u64,
    pub offset: u64,
    /// Where the topic begins; the headers and the content follow.
    pub at: usize,
    pub topic_len: usize,
    pub headers_len: usize,
    pub data_len: usize,
}

impl Parts {
    /// Of the record of `len` bytes at `at`; `None`: it is none.
    #[inline]
    pub(crate) fn read(memory: &impl Memory, at: usize, len: u32) -> Option<Parts> {
        let len = len as usize;
        if len < HEAD {
            return None;
        }
        // Where its parts lie is read from its first line: the second is on its way meanwhile.
        memory.prefetch(at + LINE, 1);
        let mut head = [0; HEAD + PLACE];
        memory.copy_out(at, &mut head[..HEAD]);
        let flags = u16::from_ne_bytes([head[18], head[19]]);
        let start = match flags {
            0 => HEAD,
            MANAGED if len >= HEAD + PLACE => {
                memory.copy_out(at + HEAD, &mut head[HEAD..]);
                HEAD + PLACE
            }
            _ => return None,
        };
        let long = |from: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&head[from..from + 8]);
            u64::from_ne_bytes(word)
        };
        let topic_len = usize::from(u16::from_ne_bytes([head[16], head[17]]));
        let headers_len = u32::from_ne_bytes([head[20], head[21], head[22], head[23]]) as usize;
        let data_len = len.checked_sub(start)?.checked_sub(topic_len)?.checked_sub(headers_len)?;
        Some(Parts {
            id: long(0),
            timestamp_us: i64::try_from(long(8)).unwrap_or(i64::MAX),
            epoch: long(24),
            offset: long(32),
            at: at + start,
            topic_len,
            headers_len,
            data_len,
        })
    }
}

/// Copies a record of `len` bytes out of the memory; `Ok(None)`: it is none.
pub(crate) fn read(memory: &impl Memory, at: usize, len: u32) -> Result<Option<Message>> {
    let Some(parts) = Parts::read(memory, at, len) else { return Ok(None) };
    let head = MessageHead::of_history(parts.id, parts.timestamp_us as u64, parts.epoch, parts.offset);
    let lengths = (parts.topic_len, parts.headers_len, parts.data_len);
    Message::filled(head, lengths, |topic, headers, data| {
        memory.copy_out(parts.at, topic);
        if !headers.is_empty() {
            memory.copy_out(parts.at + topic.len(), headers);
        }
        memory.copy_out(parts.at + parts.topic_len + parts.headers_len, data);
    })
}
