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

use std::sync::atomic::Ordering::Relaxed;

use super::Memory;
use super::words::STEP;
use crate::error::Result;
use crate::message::{Message, MessageHead};

const HEAD: usize = 24;

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
        let mut at = at;
        let mut put = |bytes: &[u8]| {
            memory.copy_in(at, bytes);
            at += bytes.len();
        };
        let head = self.head();
        match self.managed {
            Some(_) => put(&head),
            None => put(&head[..HEAD]),
        }
        put(self.topic.as_bytes());
        put(self.headers());
        put(self.data);
    }

    /// What it begins with; the last [`PLACE`] bytes only if it is managed.
    #[inline]
    fn head(&self) -> [u8; HEAD + PLACE] {
        let mut head = [0; HEAD + PLACE];
        head[..8].copy_from_slice(&self.id.to_ne_bytes());
        head[8..16].copy_from_slice(&self.timestamp_us.to_ne_bytes());
        // A topic has at most 200 bytes, and what fits into a chunk fits into 32 bits.
        head[16..18].copy_from_slice(&(self.topic.len() as u16).to_ne_bytes());
        head[20..24].copy_from_slice(&(self.headers().len() as u32).to_ne_bytes());
        if let Some((epoch, offset)) = self.managed {
            head[18..20].copy_from_slice(&MANAGED.to_ne_bytes());
            head[24..32].copy_from_slice(&epoch.to_ne_bytes());
            head[32..].copy_from_slice(&offset.to_ne_bytes());
        }
        head
    }
}

/// What the records of a run have in common: everything before the content, but for the id. Put together once for many.
#[derive(Debug)]
pub(crate) struct Opening {
    bytes: [u8; OPENING_MAX],
    len: usize,
}

/// A topic has at most 200 bytes; longer headers go the longer way.
const OPENING_MAX: usize = 320;

impl Opening {
    /// `None`: it is longer than what is kept.
    pub(crate) fn new(timestamp_us: u64, topic: &str, headers_json: &str) -> Option<Opening> {
        let record = Record { id: 0, timestamp_us, topic, headers_json, data: b"", managed: None };
        let mut opening = Opening { bytes: [0; OPENING_MAX], len: record.len() };
        let head = record.head();
        let mut rest = opening.bytes.get_mut(..opening.len)?;
        for part in [&head[..HEAD], topic.as_bytes(), record.headers()] {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        Some(opening)
    }

    /// The length of a record with this content.
    #[inline]
    pub(crate) fn record_len(&self, data: &[u8]) -> usize {
        self.len + data.len()
    }

    /// Writes a record.
    #[inline]
    pub(crate) fn write(&self, id: u64, data: &[u8], memory: &impl Memory, at: usize) {
        // Whole steps, which the compiler knows how to copy: what they write behind the opening is the content's place, or
        // nobody's.
        let steps = self.bytes[..self.len.next_multiple_of(STEP as usize)].chunks_exact(STEP as usize);
        steps.enumerate().for_each(|(i, step)| memory.copy_in(at + i * STEP as usize, step));
        memory.copy_in(at, &id.to_ne_bytes());
        memory.copy_in(at + self.len, data);
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
    #[inline(always)]
    pub(crate) fn read(memory: &impl Memory, at: usize, len: u32) -> Option<Parts> {
        let len = len as usize;
        if len < HEAD {
            return None;
        }
        let word = |index: usize| memory.word(at / 8 + index).load(Relaxed);
        let lengths = word(2).to_ne_bytes();
        let topic_len = usize::from(u16::from_ne_bytes([lengths[0], lengths[1]]));
        let headers_len = u32::from_ne_bytes([lengths[4], lengths[5], lengths[6], lengths[7]]) as usize;
        let (start, epoch, offset) = match u16::from_ne_bytes([lengths[2], lengths[3]]) {
            0 => (HEAD, 0, 0),
            MANAGED if len >= HEAD + PLACE => (HEAD + PLACE, word(3), word(4)),
            _ => return None,
        };
        let data_len = len.checked_sub(start)?.checked_sub(topic_len)?.checked_sub(headers_len)?;
        Some(Parts {
            id: word(0),
            timestamp_us: i64::try_from(word(1)).unwrap_or(i64::MAX),
            epoch,
            offset,
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
