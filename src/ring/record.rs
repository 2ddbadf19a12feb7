//! A message as it lies in a chunk.
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | id |
//! | 8..16 | timestamp, microseconds since the epoch |
//! | 16..20, 20..24 | length of the topic, of the headers' text (0: `{}`) |
//! | 24.. | topic, headers, content; the content's length is what the ref leaves |
//!
//! Native byte order: a ring never leaves its machine.

#![forbid(unsafe_code)]

use super::Memory;
use crate::error::Result;
use crate::message::{Message, MessageHead, MessageKind};

const HEAD: usize = 24;
/// Topics and headers of up to this many bytes are copied to the stack.
const SHORT: usize = 512;

/// A message to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub id: u64,
    pub timestamp_us: u64,
    pub topic: &'a str,
    pub headers_json: &'a str,
    pub data: &'a [u8],
}

impl Record<'_> {
    fn headers(&self) -> &[u8] {
        if self.headers_json == "{}" { b"" } else { self.headers_json.as_bytes() }
    }

    /// Its length; more than a chunk may be.
    pub(crate) fn len(&self) -> usize {
        HEAD + self.topic.len() + self.headers().len() + self.data.len()
    }

    pub(crate) fn write(&self, memory: &impl Memory, at: usize) {
        let (topic, headers) = (self.topic.as_bytes(), self.headers());
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.id.to_ne_bytes());
        head[8..16].copy_from_slice(&self.timestamp_us.to_ne_bytes());
        // It fits into a chunk, so into 32 bits.
        head[16..20].copy_from_slice(&(topic.len() as u32).to_ne_bytes());
        head[20..].copy_from_slice(&(headers.len() as u32).to_ne_bytes());
        memory.copy_in(at, &head);
        memory.copy_in(at + HEAD, topic);
        memory.copy_in(at + HEAD + topic.len(), headers);
        memory.copy_in(at + HEAD + topic.len() + headers.len(), self.data);
    }
}

/// Copies a record of `len` bytes out of the memory; `Ok(None)`: it is none.
pub(crate) fn read(memory: &impl Memory, at: usize, len: u32) -> Result<Option<Message>> {
    let Some(rest) = (len as usize).checked_sub(HEAD) else { return Ok(None) };
    let mut head = [0; HEAD];
    memory.copy_out(at, &mut head);
    let long = |from: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[from..from + 8]);
        u64::from_ne_bytes(word)
    };
    let short = |from: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&head[from..from + 4]);
        u32::from_ne_bytes(word) as usize
    };
    let (topic_len, headers_len) = (short(16), short(20));
    let Some(data_len) = rest.checked_sub(topic_len + headers_len) else { return Ok(None) };
    let text_len = topic_len + headers_len;
    let (mut on_stack, mut on_heap);
    let text: &mut [u8] = if text_len <= SHORT {
        on_stack = [0; SHORT];
        &mut on_stack[..text_len]
    } else {
        // A record is no longer than a chunk.
        on_heap = vec![0; text_len];
        &mut on_heap
    };
    memory.copy_out(at + HEAD, text);
    let (topic, headers) = text.split_at(topic_len);
    let (Ok(topic), Ok(headers)) = (std::str::from_utf8(topic), std::str::from_utf8(headers)) else {
        return Ok(None);
    };
    let head = MessageHead {
        id: long(0),
        timestamp_us: i64::try_from(long(8)).unwrap_or(i64::MAX),
        kind: MessageKind::Data,
        dropped_before: 0,
        epoch: 0,
        offset: 0,
    };
    let mut message = Message::new(head, topic, headers, data_len)?;
    memory.copy_out(at + HEAD + text_len, message.data_mut());
    Ok(Some(message))
}
