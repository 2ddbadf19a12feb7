//! Packed records: messages written one behind the other into a buffer of the caller's.
//!
//! A record is the C ABI's `ps_packed_record` (9 words), then the topic, the headers' text, padding to 8 bytes, the data,
//! padding to 8 bytes. Its first word is its size in bytes.

#![forbid(unsafe_code)]

use crate::message::{Message, MessageKind};
use crate::sys::bytes::{self, pair};

/// Words of `ps_packed_record`.
const HEAD: usize = 9;
/// What stands in for headers that a message does not have; whoever writes a record sees to it.
pub(crate) const NO_HEADERS: &[u8] = b"{}";

/// Where in them what was lost before a message stands.
const DROPPED_BEFORE: usize = 3;

/// A message to be written: what stands before its texts and data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub id: u64,
    pub timestamp_us: i64,
    pub kind: MessageKind,
    pub dropped_before: u64,
    pub epoch: u64,
    pub offset: u64,
    pub topic_len: usize,
    /// 0: `{}`.
    pub headers_len: usize,
    pub data_len: usize,
}

impl Record {
    /// How many words it takes.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        HEAD + self.texts_len().div_ceil(8) + self.data_len.div_ceil(8)
    }

    fn texts_len(&self) -> usize {
        self.topic_len + if self.headers_len == 0 { NO_HEADERS.len() } else { self.headers_len }
    }

    /// What it begins with.
    #[inline]
    pub(crate) fn head(&self) -> [u64; HEAD] {
        [
            self.words() as u64 * 8,
            self.id,
            self.timestamp_us as u64,
            self.dropped_before,
            self.epoch,
            self.offset,
            self.data_len as u64,
            // Both come from message files or rings, whose lengths are 32 bits at most.
            pair(self.topic_len as u32, (self.texts_len() - self.topic_len) as u32),
            pair(self.kind as u32, 0),
        ]
    }

    /// Its place at the beginning of `buffer`: words for its head, its texts and its data. `None`: it does not fit.
    #[inline]
    pub(crate) fn place<'a>(&self, buffer: &'a mut [u64]) -> Option<(&'a mut [u64], &'a mut [u64], &'a mut [u64])> {
        let (head, rest) = buffer.get_mut(..self.words())?.split_at_mut(HEAD);
        let (texts, data) = rest.split_at_mut(self.texts_len().div_ceil(8));
        Some((head, texts, data))
    }
}

fn record_of(message: &Message) -> Record {
    Record {
        id: message.id(),
        timestamp_us: message.timestamp_us(),
        kind: message.kind(),
        dropped_before: message.dropped_before(),
        epoch: message.epoch(),
        offset: message.offset(),
        topic_len: message.topic().len(),
        headers_len: message.headers_json().len(),
        data_len: message.data().len(),
    }
}

/// How many words a message takes.
pub(crate) fn words(message: &Message) -> usize {
    record_of(message).words()
}

/// Writes a message at the beginning of `buffer` and answers how many words it took; `None`: it does not fit.
pub(crate) fn write(message: &Message, buffer: &mut [u64]) -> Option<usize> {
    let record = record_of(message);
    let (head, texts, data) = record.place(buffer)?;
    head.copy_from_slice(&record.head());
    put(texts, &[message.topic().as_bytes(), message.headers_json().as_bytes()]);
    put(data, &[message.data()]);
    Some(record.words())
}

/// Writes parts one behind the other, and zeros up to the end of the last word.
fn put(words: &mut [u64], parts: &[&[u8]]) {
    if let Some(last) = words.last_mut() {
        *last = 0;
    }
    let mut rest = bytes::of_mut(words);
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.len());
        place.copy_from_slice(part);
        rest = behind;
    }
}

/// Says what was lost before the record that begins here.
#[inline]
pub(crate) fn set_dropped_before(record: &mut [u64], dropped_before: u64) {
    record[DROPPED_BEFORE] = dropped_before;
}
