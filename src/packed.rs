//! Packed records: messages written one behind the other into a buffer of the caller's.
//!
//! A record is the C ABI's `ps_packed_record` (9 words), then the topic, the headers' text, padding to 8 bytes, the data,
//! padding to 8 bytes. Its first word is its size in bytes.

#![forbid(unsafe_code)]

use crate::message::Message;
use crate::sys::bytes;

/// Words of `ps_packed_record`.
const HEAD: usize = 9;

/// How many words a message takes.
pub(crate) fn words(message: &Message) -> usize {
    let text = message.topic().len() + message.headers_json().len();
    HEAD + text.div_ceil(8) + message.data().len().div_ceil(8)
}

/// Writes a message at the beginning of `buffer` and answers how many words it took; `None`: it does not fit.
pub(crate) fn write(message: &Message, buffer: &mut [u64]) -> Option<usize> {
    let words = words(message);
    let record = buffer.get_mut(..words)?;
    let (topic, headers, data) = (message.topic(), message.headers_json(), message.data());
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
    ]);
    let (text, content) = record[HEAD..].split_at_mut((topic.len() + headers.len()).div_ceil(8));
    fill(text, &[topic.as_bytes(), headers.as_bytes()]);
    fill(content, &[data]);
    Some(words)
}

/// Two u32 as they lie behind each other in memory.
fn pair(first: u32, second: u32) -> u64 {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&first.to_ne_bytes());
    both[4..].copy_from_slice(&second.to_ne_bytes());
    u64::from_ne_bytes(both)
}

/// Writes the pieces one behind the other, and zeros behind them.
fn fill(words: &mut [u64], pieces: &[&[u8]]) {
    if let Some(last) = words.last_mut() {
        *last = 0;
    }
    let mut rest = bytes::of_mut(words);
    for piece in pieces {
        let (here, behind) = rest.split_at_mut(piece.len());
        here.copy_from_slice(piece);
        rest = behind;
    }
}
