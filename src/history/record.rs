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

const HEAD: usize = 32;
/// Tags that a file may have: two files have the same sum once in 2^32 pairs.
const TAGS: u32 = 4;

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

    /// Of one that was read from a file.
    pub(super) fn of_message(message: &'a Message) -> Entry<'a> {
        Entry {
            id: message.id(),
            timestamp_us: message.timestamp_us() as u64,
            headers_json: message.headers_json(),
            data: message.data(),
        }
    }

    /// The tags that the file of this message may have; `None`: any.
    pub(super) fn tags(&self, terms: &Terms) -> Option<impl Iterator<Item = u32> + use<>> {
        if !terms.sums {
            return None;
        }
        let sum = self.head(terms).first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        let tag = (sum ^ sum >> 32) as u32;
        Some((0..TAGS).map(move |more| tag.wrapping_add(more)))
    }

    fn headers(&self) -> &[u8] {
        if self.headers_json == "{}" { b"" } else { self.headers_json.as_bytes() }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        HEAD + self.headers().len() + self.data.len()
    }

    /// What stands before headers and content.
    #[inline]
    pub(super) fn head(&self, terms: &Terms) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[8..16].copy_from_slice(&self.id.to_ne_bytes());
        head[16..24].copy_from_slice(&self.timestamp_us.to_ne_bytes());
        head[24..28].copy_from_slice(&(self.headers().len() as u32).to_ne_bytes());
        head[28..].copy_from_slice(&(self.data.len() as u32).to_ne_bytes());
        let sum = sum(terms, &head[8..], self.headers(), self.data);
        head[..8].copy_from_slice(&sum.to_ne_bytes());
        head
    }

    #[inline]
    pub(super) fn write(&self, head: &[u8; HEAD], memory: &impl Memory, at: usize) {
        memory.copy_in(at, head);
        if !self.headers().is_empty() {
            memory.copy_in(at + HEAD, self.headers());
        }
        memory.copy_in(at + HEAD + self.headers().len(), self.data);
    }
}

/// `head`: what stands between the sum and the headers. What is in memory is whole or gone: that it is of this history, and a
/// record at all, is told for next to nothing.
#[inline]
fn sum(terms: &Terms, head: &[u8], headers: &[u8], data: &[u8]) -> u64 {
    if terms.sums {
        return sum_of_content(terms, head, headers, data);
    }
    let long = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[from..from + 8]);
        u64::from_ne_bytes(word)
    };
    terms.epoch ^ long(0) ^ long(16)
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
    let Some((headers, data)) = rest.split_at_checked(short(24) as usize) else { return Ok(None) };
    if data.len() != short(28) as usize || long(0) != sum(terms, &head[8..], headers, data) {
        return Ok(None);
    }
    let Ok(headers) = std::str::from_utf8(headers) else { return Ok(None) };
    let fixed = MessageHead::of_history(long(8), long(16), terms.epoch, offset);
    let mut message = Message::new(fixed, &terms.topic, headers, data.len())?;
    message.data_mut().copy_from_slice(data);
    Ok(Some(message))
}
