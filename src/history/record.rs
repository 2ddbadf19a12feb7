//! A message as it lies in a history.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | check sum: XXH3-64, seeded with the history's epoch, of the 24 bytes that follow and of the XXH3-64s of headers and content; where the history is in memory, epoch xor id xor bytes 24..32 |
//! | 8..16 | id |
//! | 16..24 | timestamp, microseconds since the epoch |
//! | 24..28 | length of the headers' text (0: `{}`) |
//! | 28..32 | length of the content |
//! | 32.. | headers, content |
//!
//! Native byte order. The topic is the history's.
//!
//! A message that is too large for a chunk lies in a file, named by a tag in its slot. Where records have check sums, the tag is
//! one: the two halves of the sum that its record would have, xor, and up to [`TAGS`] more where that tag was taken.

#![forbid(unsafe_code)]

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::page::Terms;
use crate::error::Result;
use crate::message::{Message, MessageHead};
use crate::ring::{Memory, Record};
use crate::sys::bytes::{self, pair, unpair};

const HEAD: usize = 32;
/// Tags that a file may have: two files have the same sum once in 2^32 pairs.
const TAGS: u32 = 4;

/// A message to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub id: u64,
    pub timestamp_us: u64,
    /// As they are stored: nothing for `{}`.
    pub headers: &'a [u8],
    pub data: &'a [u8],
}

impl<'a> Entry<'a> {
    #[inline]
    pub(crate) fn new(id: u64, timestamp_us: u64, headers_json: &'a str, data: &'a [u8]) -> Entry<'a> {
        let headers = if headers_json == "{}" { b"" } else { headers_json.as_bytes() };
        Entry { id, timestamp_us, headers, data }
    }

    /// Of a message as channels get it.
    #[inline]
    pub(crate) fn of(record: &Record<'a>) -> Entry<'a> {
        Entry::new(record.id, record.timestamp_us, record.headers_json, record.data)
    }

    /// Of one that was read from a file.
    pub(super) fn of_message(message: &'a Message) -> Entry<'a> {
        Entry::new(message.id(), message.timestamp_us() as u64, message.headers_json(), message.data())
    }

    /// The tags that the file of this message may have; `None`: any.
    pub(super) fn tags(&self, terms: &Terms) -> Option<impl Iterator<Item = u32> + use<>> {
        if !terms.sums {
            return None;
        }
        let [sum, ..] = self.head(terms);
        let tag = (sum ^ sum >> 32) as u32;
        Some((0..TAGS).map(move |more| tag.wrapping_add(more)))
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        HEAD + self.headers.len() + self.data.len()
    }

    /// What stands before headers and content.
    #[inline]
    pub(super) fn head(&self, terms: &Terms) -> [u64; HEAD / 8] {
        let lengths = pair(self.headers.len() as u32, self.data.len() as u32);
        let rest = [self.id, self.timestamp_us, lengths];
        [sum(terms, rest, self.headers, self.data), rest[0], rest[1], rest[2]]
    }

    #[inline(always)]
    pub(super) fn write(&self, head: &[u64; HEAD / 8], memory: &impl Memory, at: usize) {
        // By words: what was just stored by parts is slow to be copied whole. Records begin at multiples of 16 bytes.
        memory.store_words(at / 8, head);
        if !self.headers.is_empty() {
            memory.copy_in(at + HEAD, self.headers);
        }
        memory.copy_in(at + HEAD + self.headers.len(), self.data);
    }
}

/// `head`: what stands between the sum and the headers. What is in memory is whole or gone: that it is of this history, and a
/// record at all, is told for next to nothing.
#[inline]
fn sum(terms: &Terms, head: [u64; HEAD / 8 - 1], headers: &[u8], data: &[u8]) -> u64 {
    if terms.sums { sum_of_content(terms, bytes::of(&head), headers, data) } else { terms.epoch ^ head[0] ^ head[2] }
}

/// In pieces, each in one go: a hash that is fed piece by piece costs more than a short message.
fn sum_of_content(terms: &Terms, head: &[u8], headers: &[u8], data: &[u8]) -> u64 {
    let mut pieces = [0; HEAD + 8];
    pieces[..HEAD - 8].copy_from_slice(head);
    pieces[HEAD - 8..HEAD].copy_from_slice(&xxh3_64(headers).to_ne_bytes());
    pieces[HEAD..].copy_from_slice(&xxh3_64(data).to_ne_bytes());
    xxh3_64_with_seed(&pieces, terms.epoch)
}

/// The bytes of a record as a message; `Ok(None)`: they are none.
pub(super) fn parse(bytes: &[u8], terms: &Terms, offset: u64) -> Result<Option<Message>> {
    let Some((start, rest)) = bytes.split_at_checked(HEAD) else { return Ok(None) };
    let mut head = [0; HEAD / 8];
    bytes::of_mut(&mut head).copy_from_slice(start);
    let [found, rest_of_head @ ..] = head;
    let (headers_len, data_len) = unpair(head[3]);
    let Some((headers, data)) = rest.split_at_checked(headers_len as usize) else { return Ok(None) };
    if data.len() != data_len as usize || found != sum(terms, rest_of_head, headers, data) {
        return Ok(None);
    }
    let Ok(headers) = std::str::from_utf8(headers) else { return Ok(None) };
    let fixed = MessageHead::of_history(head[1], head[2], terms.epoch, offset);
    let mut message = Message::new(fixed, &terms.topic, headers, data.len())?;
    message.data_mut().copy_from_slice(data);
    Ok(Some(message))
}
