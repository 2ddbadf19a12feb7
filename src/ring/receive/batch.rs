//! Taking many messages at once.

#![forbid(unsafe_code)]

use std::sync::atomic::Ordering::Relaxed;

use super::super::record::{self, Parts};
use super::super::words::Ref;
use super::super::{Memory, Taken};
use super::RingInbox;
use crate::error::Result;
use crate::message::{Message, MessageHead};
use crate::order::Place;
use crate::packed::{self, NO_HEADERS, Record};
use crate::sys::bytes;

/// Behind a message of this size the next ones are fetched into the cache; for smaller ones the processor sees to that.
const LARGE: usize = 256;

/// What came of taking messages into a buffer.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// Messages written, and the words that they take.
    pub records: usize,
    pub words: usize,
    /// A message that was taken and does not fit behind them, lies in a file, or is not the next of its history.
    pub left: Option<Message>,
}

/// What became of one message.
enum Step {
    Written(usize),
    Whole(Message),
    File(u32),
    Malformed,
}

/// What became of a record that was to be written into a buffer.
enum Written {
    /// It takes so many words.
    Words(usize),
    NoRoom,
    /// It is not the next of its history.
    Astray,
    Malformed,
}

impl RingInbox {
    /// Takes the messages that are there, up to `max`, onto the end of `messages`; answers how many, and one behind them, if there
    /// is one, that is not the next of its history.
    pub(crate) fn next_batch(
        &mut self,
        messages: &mut Vec<Message>,
        max: usize,
        place: &mut Place,
    ) -> Result<(usize, Option<Message>)> {
        let there = self.consumer.waiting(&self.ring, max);
        let end = self.consumer.taken().wrapping_add(there as u64);
        let max = usize::from(self.waiting.is_some()) + there;
        let mut count = 0;
        let mut failed = None;
        let mut astray = None;
        while count < max {
            match self.take() {
                Ok(Some(message)) if !place.takes_message(&message) => {
                    astray = Some(message);
                    break;
                }
                Ok(Some(message)) => {
                    if message.data().len() >= LARGE && !self.ring.layout.drop_oldest {
                        self.consumer.fetch_ahead(&self.ring, end);
                    }
                    messages.push(message);
                }
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            count += 1;
        }
        self.settle(count + usize::from(astray.is_some()));
        // What was taken goes to the caller, whatever came after it.
        failed.filter(|_| count == 0).map_or(Ok((count, astray)), Err)
    }

    /// Writes the messages that are there into a buffer, up to `max` and until the next does not fit or is not the next of its
    /// history.
    pub(crate) fn next_packed(&mut self, buffer: &mut [u64], max: usize, place: &mut Place) -> Result<Packed> {
        let mut packed = Packed::default();
        if self.waiting.is_some() {
            packed.left = self.take()?;
            self.settle(usize::from(packed.left.is_some()));
            return Ok(packed);
        }
        let max = self.consumer.waiting(&self.ring, max);
        let is_full = self.pack_records(buffer, max, place, &mut packed);
        let result = loop {
            if packed.records == max || is_full {
                break Ok(());
            }
            let free = &mut buffer[packed.words..];
            let taken = self.consumer.next(&self.ring, |memory, found, at| match found {
                Ref::Record { len, .. } => match pack_one(memory, at, len, free, place) {
                    Written::Words(words) => Ok(Step::Written(words)),
                    Written::NoRoom | Written::Astray => {
                        Ok(record::read(memory, at, len)?.map_or(Step::Malformed, Step::Whole))
                    }
                    Written::Malformed => Ok(Step::Malformed),
                },
                Ref::File { tag, .. } => Ok(Step::File(tag)),
            });
            let step = match taken {
                None => break Ok(()),
                Some(Taken::Malformed) => Ok(Step::Malformed),
                Some(Taken::Message(step)) => step,
            };
            // What was lost before something malformed is told with the next message.
            let whole = match step {
                Ok(Step::Written(words)) => {
                    packed::set_dropped_before(&mut buffer[packed.words..], self.consumer.take_lost());
                    packed.words += words;
                    packed.records += 1;
                    continue;
                }
                Ok(Step::Whole(message)) => Some(message),
                Ok(Step::File(tag)) => match self.take_file(tag) {
                    Ok(Some(message)) => Some(message),
                    Ok(None) => continue,
                    Err(error) => break Err(error),
                },
                Ok(Step::Malformed) => None,
                Err(error) => break Err(error),
            };
            match whole {
                Some(mut message) => {
                    message.set_dropped_before(self.consumer.take_lost());
                    packed.left = Some(message);
                    break Ok(());
                }
                None => self.control.count_malformed(),
            }
        };
        self.settle(packed.records + usize::from(packed.left.is_some()));
        // As above.
        if packed.records == 0 { result.map(|()| packed) } else { Ok(packed) }
    }

    /// The quick way of [`next_packed`](RingInbox::next_packed): records, as long as nothing else is among them. Whether the
    /// next does not fit behind them, and stays.
    #[inline]
    fn pack_records(&mut self, buffer: &mut [u64], max: usize, place: &mut Place, packed: &mut Packed) -> bool {
        let end = self.consumer.taken().wrapping_add(max as u64);
        while packed.records < max && !self.ring.layout.drop_oldest {
            let Some((at, len)) = self.consumer.peek(&self.ring) else { return false };
            if len as usize >= LARGE {
                self.consumer.fetch_ahead(&self.ring, end);
            }
            match pack(&self.ring.memory, at, len, &mut buffer[packed.words..], place) {
                Written::Words(words) => packed.words += words,
                Written::NoRoom => return packed.records > 0,
                Written::Malformed | Written::Astray => return false,
            }
            self.consumer.advance(&self.ring, len);
            packed.records += 1;
        }
        false
    }

    /// So many messages have been taken.
    fn settle(&mut self, count: usize) {
        self.consumer.publish_head(&self.ring);
        self.control.count_received(count as u64);
    }
}

#[inline(never)]
fn pack_one(memory: &impl Memory, at: usize, len: u32, buffer: &mut [u64], place: &mut Place) -> Written {
    pack(memory, at, len, buffer, place)
}

/// Writes a record of `len` bytes into the buffer, if there is room.
#[inline(always)]
fn pack(memory: &impl Memory, at: usize, len: u32, buffer: &mut [u64], place: &mut Place) -> Written {
    let Some(parts) = Parts::read(memory, at, len) else { return Written::Malformed };
    let head = MessageHead::of_history(parts.id, parts.timestamp_us as u64, parts.epoch, parts.offset);
    let record = Record {
        id: head.id,
        timestamp_us: head.timestamp_us,
        kind: head.kind,
        dropped_before: 0,
        epoch: head.epoch,
        offset: head.offset,
        topic_len: parts.topic_len,
        headers_len: parts.headers_len,
        data_len: parts.data_len,
    };
    let Some((head, texts, data)) = record.place(buffer) else { return Written::NoRoom };
    if !place.takes(record.epoch, record.offset) {
        return Written::Astray;
    }
    head.copy_from_slice(&record.head());
    if let Some(last) = data.last_mut() {
        *last = 0;
    }
    let stored = parts.topic_len + parts.headers_len;
    memory.copy_out(parts.at + stored, &mut bytes::of_mut(data)[..parts.data_len]);
    let is_ascii = copy_texts(memory, parts.at, stored, texts);
    if parts.headers_len == 0 {
        bytes::of_mut(texts)[stored..stored + NO_HEADERS.len()].copy_from_slice(NO_HEADERS);
    }
    if !is_ascii && !are_texts(&bytes::of(texts)[..stored], parts.topic_len) {
        return Written::Malformed;
    }
    Written::Words(record.words())
}

/// Copies `len` bytes of texts by words, zeros behind them; whether all are ASCII. What was judged is what was copied: read back
/// from the copy, as bytes were just written to it, it would cost more than all this.
#[inline]
fn copy_texts(memory: &impl Memory, at: usize, len: usize, texts: &mut [u64]) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    let mut bits = 0;
    let mut left = len;
    for (i, place) in texts.iter_mut().enumerate() {
        // Records begin at multiples of 16 bytes and have a multiple of 8 before their texts; so do chunks end.
        let word = if left == 0 { 0 } else { memory.word(at / 8 + i).load(Relaxed) };
        let word = if left < 8 { first_bytes(word, left) } else { word };
        left = left.saturating_sub(8);
        bits |= word;
        *place = word;
    }
    bits & HIGH_BITS == 0
}

/// A word as it lies in memory, with zeros behind its first `count` bytes, fewer than 8.
#[inline]
fn first_bytes(word: u64, count: usize) -> u64 {
    if cfg!(target_endian = "little") { word & !(u64::MAX << (8 * count)) } else { word & !(u64::MAX >> (8 * count)) }
}

#[cold]
fn are_texts(texts: &[u8], topic_len: usize) -> bool {
    let (topic, headers) = texts.split_at(topic_len);
    std::str::from_utf8(topic).is_ok() && std::str::from_utf8(headers).is_ok()
}
