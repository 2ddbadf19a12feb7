//! Packed records: messages written one behind the other into a buffer of the caller's.
//!
//! A record is the C ABI's `ps_packed_record` (10 words), then the topic, the headers' text, padding to 8 bytes, the data,
//! padding to 8 bytes. Its first word is its size in bytes.

#![forbid(unsafe_code)]

use crate::message::Message;
use crate::sys::bytes;

/// Words of `ps_packed_record`.
const HEAD: usize = 10;

fn text_words(message: &Message) -> usize {
    (message.topic_len() + message.headers_json_len()).div_ceil(8)
}

/// How many words a message takes.
pub(crate) fn words(message: &Message) -> usize {
    HEAD + text_words(message) + message.data().len().div_ceil(8)
}

/// Writes a message at the beginning of `buffer` and answers how many words it took; `None`: it does not fit.
pub(crate) fn write(message: &Message, buffer: &mut [u64]) -> Option<usize> {
    let words = words(message);
    let record = buffer.get_mut(..words)?;
    let (topic, headers, data) = (message.topic_bytes(), message.headers_json_bytes(), message.data());
    let pair = |low: u32, high: u32| {
        let (low, high) = (low.to_ne_bytes(), high.to_ne_bytes());
        u64::from_ne_bytes([low[0], low[1], low[2], low[3], high[0], high[1], high[2], high[3]])
    };
    record[..HEAD].copy_from_slice(&[
        words as u64 * 8,
        message.id(),
        message.timestamp_us() as u64,
        message.dropped_before(),
        message.epoch(),
        message.offset(),
        data.len() as u64,
        // Both come from message files, whose lengths are 32 bits.
        pair(topic.len() as u32, headers.len() as u32),
        pair(message.kind() as u32, 0),
        0,
    ]);
    let _ = bytes::of_words_mut(record);
    todo!()
}
