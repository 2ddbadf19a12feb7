//! Packed records: messages written one behind the other into a buffer of the caller's.
//!
//! A record is the C ABI's `ps_packed_record` (9 words), then the topic, the headers' text, padding to 8 bytes, the data,
//! padding to 8 bytes. Its first word is its size in bytes.

#![forbid(unsafe_code)]

use crate::message::{Message, MessageKind};
use crate::sys::bytes;

/// Words of `ps_packed_record`.
const HEAD: usize = 9;
/// What stands in for headers that a message does not have.
const NO_HEADERS: &[u8] = b"{}";

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

    /// Writes it at the beginning of `buffer`, but for its texts and data, whose places are in the answer, behind how many
    /// words it takes: topic and headers, of which missing headers are written, and data. `None`: it does not fit.
    #[inline]
    pub(crate) fn write<'a>(&self, buffer: &'a mut [u64]) -> Option<(usize, &'a mut [u8], &'a mut [u8])> {
        let (words, texts_len) = (self.words(), self.texts_len());
        let record = buffer.get_mut(..words)?;
        let (head, rest) = record.split_at_mut(HEAD);
        head.copy_from_slice(&[
            words as u64 * 8,
            self.id,
            self.timestamp_us as u64,
            self.dropped_before,
            self.epoch,
            self.offset,
            self.data_len as u64,
            // Both come from message files or rings, whose lengths are 32 bits at most.
            pair(self.topic_len as u32, (texts_len - self.topic_len) as u32),
            pair(self.kind as u32, 0),
        ]);
        let (texts, data) = rest.split_at_mut(texts_len.div_ceil(8));
        // The padding.
        if let Some(last) = texts.last_mut() {
            *last = 0;
        }
        if let Some(last) = data.last_mut() {
            *last = 0;
        }
        let texts = &mut bytes::of_mut(texts)[..texts_len];
        if self.headers_len == 0 {
            texts[self.topic_len..].copy_from_slice(NO_HEADERS);
        }
        Some((words, texts, &mut bytes::of_mut(data)[..self.data_len]))
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
    let (words, texts, data) = record_of(message).write(buffer)?;
    let (topic, headers) = texts.split_at_mut(message.topic().len());
    topic.copy_from_slice(message.topic().as_bytes());
    headers.copy_from_slice(message.headers_json().as_bytes());
    data.copy_from_slice(message.data());
    Some(words)
}

/// Says what was lost before the record that begins here.
#[inline]
pub(crate) fn set_dropped_before(record: &mut [u64], dropped_before: u64) {
    record[DROPPED_BEFORE] = dropped_before;
}

/// Two u32 as they lie behind each other in memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&first.to_ne_bytes());
    both[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(both)
}
