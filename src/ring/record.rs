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
use crate::sys::bytes::{self, pair, unpair};

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
        // By words: what was just stored by parts is slow to be copied whole. Records begin at multiples of 16 bytes.
        let head = self.head();
        let words = if self.managed.is_some() { &head[..] } else { &head[..HEAD / 8] };
        memory.store_words(at / 8, words);
        let mut at = at + words.len() * 8;
        for part in [self.topic.as_bytes(), self.headers(), self.data] {
            memory.copy_in(at, part);
            at += part.len();
        }
    }

    /// What it begins with; the last two words only if it is managed.
    #[inline]
    fn head(&self) -> [u64; (HEAD + PLACE) / 8] {
        let flags = if self.managed.is_some() { MANAGED } else { 0 };
        let (epoch, offset) = self.managed.unwrap_or_default();
        // A topic has at most 200 bytes, and what fits into a chunk fits into 32 bits.
        let mut short = [0; 4];
        short[..2].copy_from_slice(&(self.topic.len() as u16).to_ne_bytes());
        short[2..].copy_from_slice(&flags.to_ne_bytes());
        let lengths = pair(u32::from_ne_bytes(short), self.headers().len() as u32);
        [self.id, self.timestamp_us, lengths, epoch, offset]
    }
}

/// What a publisher's records have in common: everything before the content, but for the id, the time and the offset. Put
/// together once for many.
#[derive(Debug)]
pub(crate) struct Opening {
    bytes: [u8; OPENING_MAX],
    len: usize,
    epoch: Option<u64>,
}

/// A topic has at most 200 bytes; longer headers go the longer way.
const OPENING_MAX: usize = 320;
/// The id and the time.
const OWN: usize = 16;

impl Opening {
    /// `epoch`: the history's, if the topic is managed. `None`: it is longer than what is kept.
    pub(crate) fn new(topic: &str, headers_json: &str, epoch: Option<u64>) -> Option<Opening> {
        let managed = epoch.map(|epoch| (epoch, 0));
        let record = Record { id: 0, timestamp_us: 0, topic, headers_json, data: b"", managed };
        let mut opening = Opening { bytes: [0; OPENING_MAX], len: record.len(), epoch };
        let head = record.head();
        let head = if managed.is_some() { &head[..] } else { &head[..HEAD / 8] };
        let mut rest = opening.bytes.get_mut(..opening.len)?;
        for part in [bytes::of(head), topic.as_bytes(), record.headers()] {
            let (place, behind) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = behind;
        }
        Some(opening)
    }

    /// Whether it is that of messages with these headers, to the same topic.
    #[inline]
    pub(crate) fn is_of(&self, topic: &str, headers_json: &str, epoch: Option<u64>) -> bool {
        let start = HEAD + if self.epoch.is_some() { PLACE } else { 0 } + topic.len();
        // Without a comparison where there is nothing to compare: of nothing at no address it takes 100 ns on some processors.
        let is_same = || match headers_json {
            "{}" => start == self.len,
            _ => self.bytes.get(start..self.len) == Some(headers_json.as_bytes()),
        };
        self.epoch == epoch && is_same()
    }
}

/// A message behind an opening.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opened<'a> {
    pub opening: &'a Opening,
    pub id: u64,
    pub timestamp_us: u64,
    /// Its offset in the history, if the topic is managed.
    pub offset: Option<u64>,
    pub data: &'a [u8],
}

impl Opened<'_> {
    /// The length of its record.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.opening.len + self.data.len()
    }

    #[inline]
    pub(crate) fn write(&self, memory: &impl Memory, at: usize) {
        let Opening { bytes, len, .. } = self.opening;
        memory.store_words(at / 8, &[self.id, self.timestamp_us]);
        // Whole steps, which the compiler knows how to copy: what they write behind the opening is the content's place, or
        // nobody's.
        let steps = bytes[OWN..len.next_multiple_of(STEP as usize)].chunks_exact(STEP as usize);
        steps.enumerate().for_each(|(i, step)| memory.copy_in(at + OWN + i * STEP as usize, step));
        if let Some(offset) = self.offset {
            memory.store_words((at + HEAD) / 8 + 1, &[offset]);
        }
        memory.copy_in(at + len, self.data);
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
        let (short, headers_len) = unpair(word(2));
        let [low, high, flags_low, flags_high] = short.to_ne_bytes();
        let (topic_len, headers_len) = (usize::from(u16::from_ne_bytes([low, high])), headers_len as usize);
        let (start, epoch, offset) = match u16::from_ne_bytes([flags_low, flags_high]) {
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
