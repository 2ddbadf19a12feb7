//! Taking many messages at once.

#![forbid(unsafe_code)]

use super::super::record::{self, Parts};
use super::super::words::Ref;
use super::super::{Memory, Taken};
use super::RingInbox;
use crate::error::Result;
use crate::message::{Message, MessageHead};
use crate::packed::{self, Record};

/// What came of taking messages into a buffer.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// Messages written, and the words that they take.
    pub records: usize,
    pub words: usize,
    /// A message that was taken and does not fit behind them, or that lies in a file.
    pub left: Option<Message>,
}

/// What became of one message.
enum Step {
    Written(usize),
    Whole(Message),
    File(u32),
    Malformed,
}

impl RingInbox {
    /// Takes the messages that are there, up to `max`, onto the end of `messages`; answers how many.
    pub(crate) fn next_batch(&mut self, messages: &mut Vec<Message>, max: usize) -> Result<usize> {
        let max = usize::from(self.waiting.is_some()) + self.consumer.waiting(&self.ring, max);
        let mut count = 0;
        let mut failed = None;
        while count < max {
            match self.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            count += 1;
        }
        self.settle(count);
        // What was taken goes to the caller, whatever came after it.
        failed.filter(|_| count == 0).map_or(Ok(count), Err)
    }

    /// Writes the messages that are there into a buffer, up to `max` and until the next does not fit.
    pub(crate) fn next_packed(&mut self, buffer: &mut [u64], max: usize) -> Result<Packed> {
        let mut packed = Packed::default();
        if self.waiting.is_some() {
            packed.left = self.take()?;
            self.settle(usize::from(packed.left.is_some()));
            return Ok(packed);
        }
        let max = self.consumer.waiting(&self.ring, max);
        let result = loop {
            if packed.records == max {
                break Ok(());
            }
            let free = &mut buffer[packed.words..];
            let taken = self.consumer.next(&self.ring, |memory, place, at| match place {
                Ref::Record { len, .. } => pack(memory, at, len, free),
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

    /// So many messages have been taken.
    fn settle(&mut self, count: usize) {
        self.consumer.publish_head(&self.ring);
        self.control.count_received(count as u64);
    }
}

/// Writes a record of `len` bytes into the buffer, or copies it where there is no room.
#[inline]
fn pack(memory: &impl Memory, at: usize, len: u32, buffer: &mut [u64]) -> Result<Step> {
    let Some(parts) = Parts::read(memory, at, len) else { return Ok(Step::Malformed) };
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
    let Some((words, texts, data)) = record.write(buffer) else {
        let message = record::read(memory, at, len)?;
        return Ok(message.map_or(Step::Malformed, Step::Whole));
    };
    let stored = parts.topic_len + parts.headers_len;
    memory.copy_out(parts.at, &mut texts[..stored]);
    memory.copy_out(parts.at + stored, data);
    if !texts.is_ascii() {
        let (topic, headers) = texts.split_at(parts.topic_len);
        if std::str::from_utf8(topic).is_err() || std::str::from_utf8(headers).is_err() {
            return Ok(Step::Malformed);
        }
    }
    Ok(Step::Written(words))
}
