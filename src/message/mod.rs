//! Messages: ids, headers, the version-1 format. Pure.
//!
//! A message is one heap block of 64-bit words:
//!
//! | words | what |
//! |---|---|
//! | 0..12 | the C ABI's `ps_message`: id, timestamp, topic, data, headers (pointer and length each), kind and flags, ... |
//! | 12 | private: the number of words in the block ([`BLOCK_WORDS_INDEX`]) |
//! | 13 | private: the store that it came from ([`HOME_INDEX`]) |
//! | 14.. | the topic, NUL, the headers' text, NUL, zeros up to a multiple of 8 bytes |
//! | behind | the data, zeros up to a multiple of 8 bytes; then whatever is there: blocks have a few sizes |
//!
//! The pointers are absolute addresses into the same block, so it can change its owner but not its place. Rust code
//! never follows them: it finds the parts by their lengths.

#![forbid(unsafe_code)]

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::bytes;

mod block;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod headers;
pub(crate) mod id;
mod json;
mod python_float;
pub(crate) mod v1;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod properties;

pub use headers::{HeaderValue, Headers};

#[cfg(not(target_pointer_width = "64"))]
compile_error!("pubsub needs a 64-bit system: a message begins with the C struct ps_message in 64-bit words");

/// Whether a message may have this text as its headers: any JSON, as formix-pubsub takes it.
pub(crate) fn check_json(text: &str) -> Result<()> {
    json::check(text)
        .map_err(|error| Error::new(ErrorKind::InvalidHeaders, format_args!("the headers are not JSON: {error}")))
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum MessageKind {
    /// Somebody published it.
    Data = 0,
    /// The managed topic that the channel is on was deleted.
    TopicDeleted = 1,
}

// The words of `ps_message`.
const ID: usize = 0;
const TIMESTAMP_US: usize = 1;
const TOPIC: usize = 2;
const TOPIC_LEN: usize = 3;
const DATA: usize = 4;
const DATA_LEN: usize = 5;
const HEADERS: usize = 6;
const HEADERS_LEN: usize = 7;
const KIND: usize = 8; // u32 kind, u32 flags
const DROPPED_BEFORE: usize = 9;
const EPOCH: usize = 10;
const OFFSET: usize = 11;

/// The word behind `ps_message` that holds the number of words in the whole block: with it, the block can be freed
/// from a bare pointer to it. To C it does not exist, so it may move when `ps_message` grows.
pub(crate) const BLOCK_WORDS_INDEX: usize = 12;

/// The word behind it: the number of the store's directory (`store::homes`) that a reply to this message goes to; 0 when
/// it came from no channel. A number and not a pointer, so that a message is plain memory whoever frees it.
pub(crate) const HOME_INDEX: usize = BLOCK_WORDS_INDEX + 1;

/// What stands for headers that a message does not have.
const NO_HEADERS: &[u8] = b"{}";

const FIXED_WORDS: usize = HOME_INDEX + 1;
const FIXED_BYTES: usize = FIXED_WORDS * 8;

/// A received message. One heap block, laid out as the C ABI's `ps_message` with topic, headers and data behind it, so
/// that handing it to C costs nothing.
///
/// It stays valid whatever happens to the channel that it came from, and can be sent to and shared with other threads.
pub struct Message {
    block: Box<[u64]>,
}

/// The fields of a message that have a fixed size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MessageHead {
    pub id: u64,
    pub timestamp_us: i64,
    pub kind: MessageKind,
    pub dropped_before: u64,
    pub epoch: u64,
    pub offset: u64,
}

impl MessageHead {
    /// Of a message that has this place in a history; epoch 0: in none. See [`DELETED`].
    pub(crate) fn of_history(id: u64, timestamp_us: u64, epoch: u64, offset: u64) -> MessageHead {
        let deleted = epoch != 0 && offset == DELETED;
        MessageHead {
            id,
            timestamp_us: i64::try_from(timestamp_us).unwrap_or(i64::MAX),
            kind: if deleted { MessageKind::TopicDeleted } else { MessageKind::Data },
            dropped_before: 0,
            epoch,
            offset: if deleted { 0 } else { offset },
        }
    }
}

/// On its way, the offset of a message that says that the topic was deleted.
pub(crate) const DELETED: u64 = u64::MAX;

/// The words that `topic` and `headers` take, each with its NUL. Saturates; such a sum is never had from the allocator.
fn text_words(topic_len: usize, headers_len: usize) -> usize {
    topic_len.saturating_add(headers_len).saturating_add(2).div_ceil(8)
}

impl Message {
    /// A message with room for `data_len` bytes of data, to be filled with [`data_mut`](Message::data_mut) before anybody sees
    /// it. Headers without text are `{}`; whether they are JSON is for the caller to know.
    /// Memory that cannot be had is an error (`TooLarge`), never an abort.
    pub(crate) fn new(head: MessageHead, topic: &str, headers_json: &str, data_len: usize) -> Result<Message> {
        let lengths = (topic.len(), headers_json.len(), data_len);
        let mut message = Message::with_room(head, lengths).ok_or_else(|| no_memory(topic, lengths.1, data_len))?;
        let (topic_room, headers_room) = message.texts_mut();
        topic_room.copy_from_slice(topic.as_bytes());
        if !headers_json.is_empty() {
            headers_room.copy_from_slice(headers_json.as_bytes());
        }
        Ok(message)
    }

    /// A message with room for texts and data of these lengths (topic, headers, data), filled by `fill`; `None`: the texts are
    /// not UTF-8. Headers of no length are `{}`. As [`new`](Message::new) otherwise, for texts that are nowhere else yet.
    #[inline]
    pub(crate) fn filled(
        head: MessageHead,
        lengths: (usize, usize, usize),
        fill: impl FnOnce(&mut [u8], &mut [u8], &mut [u8]),
    ) -> Result<Option<Message>> {
        let (topic_len, headers_len, data_len) = lengths;
        let Some(mut message) = Message::with_room(head, lengths) else {
            return Err(no_memory("of a record", headers_len, data_len));
        };
        let start = message.data_start();
        let (texts, data) = bytes::of_mut(&mut message.block)[FIXED_BYTES..].split_at_mut(start - FIXED_BYTES);
        let (topic, rest) = texts.split_at_mut(topic_len);
        fill(topic, &mut rest[1..=headers_len], &mut data[..data_len]);
        // The zeros between and behind them are ASCII.
        let valid = texts.is_ascii()
            || (std::str::from_utf8(&texts[..topic_len]).is_ok()
                && std::str::from_utf8(&texts[topic_len + 1..=topic_len + headers_len]).is_ok());
        Ok(valid.then_some(message))
    }

    /// Everything but texts and data: those are whatever the memory holds, but for `{}` where there are no headers.
    #[inline]
    fn with_room(head: MessageHead, (topic_len, headers_len, data_len): (usize, usize, usize)) -> Option<Message> {
        let headers_room = if headers_len == 0 { NO_HEADERS.len() } else { headers_len };
        let data_word = FIXED_WORDS.saturating_add(text_words(topic_len, headers_room));
        let words = data_word.saturating_add(data_len.div_ceil(8));
        let mut message = Message { block: block::take(words)? };
        let block = &mut message.block[..];
        let base = block.as_mut_ptr().expose_provenance();
        // The NULs behind the texts, and the padding.
        block[data_word - 1] = 0;
        if let Some(last) = block.get_mut(words - 1) {
            *last = 0;
        }
        let headers_at = FIXED_BYTES + topic_len + 1;
        let len = block.len();
        block[..FIXED_WORDS].copy_from_slice(&[
            head.id,
            head.timestamp_us as u64,
            (base + FIXED_BYTES) as u64,
            topic_len as u64,
            (base + data_word * 8) as u64,
            data_len as u64,
            (base + headers_at) as u64,
            headers_room as u64,
            kind_word(head.kind),
            head.dropped_before,
            head.epoch,
            head.offset,
            len as u64,
            0,
        ]);
        let texts = bytes::of_mut(block);
        texts[headers_at - 1] = 0;
        texts[headers_at + headers_room] = 0;
        if headers_len == 0 {
            texts[headers_at..headers_at + headers_room].copy_from_slice(NO_HEADERS);
        }
        Some(message)
    }

    /// The room for topic and headers.
    fn texts_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let (topic_len, headers_len) = (self.length(TOPIC_LEN), self.length(HEADERS_LEN));
        let (topic, rest) = bytes::of_mut(&mut self.block)[FIXED_BYTES..].split_at_mut(topic_len);
        (topic, &mut rest[1..=headers_len])
    }

    /// Makes the pointers of `ps_message` point into this block.
    fn set_pointers(&mut self) {
        let (headers, data) = (self.headers_start(), self.data_start());
        let base = self.block.as_mut_ptr().expose_provenance();
        self.block[TOPIC] = (base + FIXED_BYTES) as u64;
        self.block[HEADERS] = (base + headers) as u64;
        self.block[DATA] = (base + data) as u64;
    }

    fn length(&self, word: usize) -> usize {
        self.block[word] as usize
    }

    fn headers_start(&self) -> usize {
        FIXED_BYTES + self.length(TOPIC_LEN) + 1
    }

    fn data_start(&self) -> usize {
        (FIXED_WORDS + text_words(self.length(TOPIC_LEN), self.length(HEADERS_LEN))) * 8
    }

    fn part(&self, start: usize, len: usize) -> &[u8] {
        &bytes::of(&self.block)[start..start + len]
    }

    /// A part that `new` took from a `&str`. Checked again, because to skip that would take `unsafe`; the C ABI
    /// hands out pointers and never comes here.
    fn text(&self, start: usize, len: usize) -> &str {
        std::str::from_utf8(self.part(start, len)).unwrap_or_default()
    }

    /// The content, to be filled before anybody else sees the message.
    pub(crate) fn data_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.data_start(), self.length(DATA_LEN));
        &mut bytes::of_mut(&mut self.block)[start..start + len]
    }

    /// Says how many messages the channel lost just before this one.
    pub(crate) fn set_dropped_before(&mut self, dropped_before: u64) {
        self.block[DROPPED_BEFORE] = dropped_before;
    }

    /// Says where in a history it is.
    pub(crate) fn set_place(&mut self, epoch: u64, offset: u64) {
        self.block[EPOCH] = epoch;
        self.block[OFFSET] = offset;
    }

    /// Says which store it came from.
    pub(crate) fn set_home(&mut self, number: u64) {
        self.block[HOME_INDEX] = number;
    }

    /// The number of the store that it came from, 0: none.
    pub(crate) fn home(&self) -> u64 {
        self.block[HOME_INDEX]
    }

    /// The block, for the C ABI: it begins with a `ps_message`. Whoever makes a raw pointer of it exposes that
    /// pointer's provenance, since the pointers inside are addresses only.
    #[inline]
    pub(crate) fn into_block(mut self) -> Box<[u64]> {
        std::mem::take(&mut self.block)
    }

    /// The block that [`into_block`](Message::into_block) gave.
    pub(crate) fn from_block(block: Box<[u64]>) -> Message {
        debug_assert_eq!(block.len() as u64, block[BLOCK_WORDS_INDEX]);
        Message { block }
    }

    /// The block, lent.
    pub(crate) fn block(&self) -> &[u64] {
        &self.block
    }

    /// Unique in the store.
    pub fn id(&self) -> u64 {
        self.block[ID]
    }

    /// When it was published, microseconds since the Unix epoch.
    pub fn timestamp_us(&self) -> i64 {
        self.block[TIMESTAMP_US] as i64
    }

    /// The topic it was published to. Other programs may have published to what is no valid topic here; it is any text.
    pub fn topic(&self) -> &str {
        self.text(FIXED_BYTES, self.length(TOPIC_LEN))
    }

    /// The content; its address is a multiple of 8.
    pub fn data(&self) -> &[u8] {
        self.part(self.data_start(), self.length(DATA_LEN))
    }

    /// The headers' text as received, byte for byte; `{}` when there are none.
    pub fn headers_json(&self) -> &str {
        self.text(self.headers_start(), self.length(HEADERS_LEN))
    }

    /// The headers; empty when the text is not a JSON object. Parsed anew by each call.
    pub fn headers(&self) -> Headers {
        Headers::parse(self.headers_json()).unwrap_or_default()
    }

    /// What it is.
    pub fn kind(&self) -> MessageKind {
        if self.block[KIND] == kind_word(MessageKind::TopicDeleted) {
            MessageKind::TopicDeleted
        } else {
            MessageKind::Data
        }
    }

    /// Messages that the channel lost (drop-oldest) just before this one.
    pub fn dropped_before(&self) -> u64 {
        self.block[DROPPED_BEFORE]
    }

    /// Managed topics: the history's epoch; else 0.
    pub fn epoch(&self) -> u64 {
        self.block[EPOCH]
    }

    /// Managed topics: the position in the history; else 0.
    pub fn offset(&self) -> u64 {
        self.block[OFFSET]
    }
}

impl Drop for Message {
    #[inline]
    fn drop(&mut self) {
        block::give(std::mem::take(&mut self.block));
    }
}

impl Clone for Message {
    fn clone(&self) -> Message {
        let mut message = Message { block: self.block.clone() };
        message.set_pointers();
        message
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id())
            .field("timestamp_us", &self.timestamp_us())
            .field("topic", &self.topic())
            .field("data_len", &self.length(DATA_LEN))
            .finish_non_exhaustive()
    }
}

/// `kind` and `flags` (0), as the two u32 lie in memory.
fn kind_word(kind: MessageKind) -> u64 {
    let mut both = [0; 8];
    both[..4].copy_from_slice(&(kind as u32).to_ne_bytes());
    u64::from_ne_bytes(both)
}

#[cold]
fn no_memory(topic: &str, headers_len: usize, data_len: usize) -> Error {
    let shown: String = topic.chars().take(200).collect();
    Error::new(
        ErrorKind::TooLarge,
        format_args!(
            "a message on topic {shown:?} with {data_len} bytes of data and {headers_len} of headers does not fit \
             into this process's memory"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// `ps_message` of the C ABI, written down once more.
    #[repr(C)]
    struct PsMessage {
        id: u64,
        timestamp_us: i64,
        topic: *const std::ffi::c_char,
        topic_len: usize,
        data: *const u8,
        data_len: usize,
        headers_json: *const std::ffi::c_char,
        headers_json_len: usize,
        kind: u32,
        flags: u32,
        dropped_before: u64,
        epoch: u64,
        offset: u64,
    }

    const HEAD: MessageHead = MessageHead {
        id: u64::MAX - 1,
        timestamp_us: -5,
        kind: MessageKind::TopicDeleted,
        dropped_before: 3,
        epoch: 4,
        offset: 5,
    };

    fn message(topic: &str, headers: &str, data: &[u8]) -> Message {
        let mut message = Message::new(HEAD, topic, headers, data.len()).unwrap();
        message.data_mut().copy_from_slice(data);
        message
    }

    #[test]
    fn words_lie_where_c_expects_them() {
        for (word, offset) in [
            (ID, offset_of!(PsMessage, id)),
            (TIMESTAMP_US, offset_of!(PsMessage, timestamp_us)),
            (TOPIC, offset_of!(PsMessage, topic)),
            (TOPIC_LEN, offset_of!(PsMessage, topic_len)),
            (DATA, offset_of!(PsMessage, data)),
            (DATA_LEN, offset_of!(PsMessage, data_len)),
            (HEADERS, offset_of!(PsMessage, headers_json)),
            (HEADERS_LEN, offset_of!(PsMessage, headers_json_len)),
            (KIND, offset_of!(PsMessage, kind)),
            (DROPPED_BEFORE, offset_of!(PsMessage, dropped_before)),
            (EPOCH, offset_of!(PsMessage, epoch)),
            (OFFSET, offset_of!(PsMessage, offset)),
            (BLOCK_WORDS_INDEX, size_of::<PsMessage>()),
        ] {
            assert_eq!(word * 8, offset);
        }
        assert_eq!(offset_of!(PsMessage, flags), KIND * 8 + 4);
        let block = message("t", "{}", b"").into_block();
        let kind = block[KIND].to_ne_bytes();
        assert_eq!(kind, *[1u32.to_ne_bytes(), 0u32.to_ne_bytes()].as_flattened());
    }

    /// What a C program sees: every pointer leads to its part of the block, with a NUL behind text.
    fn assert_c_view(message: &Message, topic: &str, headers: &str, data: &[u8]) {
        let block = message.block();
        assert_eq!(block[BLOCK_WORDS_INDEX], block.len() as u64);
        let base = block.as_ptr().addr() as u64;
        let view = bytes::of(block);
        let part = |pointer: usize, len: usize| {
            let start = (block[pointer] - base) as usize;
            (start, &view[start..start + block[len] as usize])
        };
        let (topic_at, topic_part) = part(TOPIC, TOPIC_LEN);
        assert_eq!(topic_part, topic.as_bytes());
        assert_eq!(view[topic_at + topic.len()], 0);
        let (headers_at, headers_part) = part(HEADERS, HEADERS_LEN);
        assert_eq!(headers_part, headers.as_bytes());
        assert_eq!(view[headers_at + headers.len()], 0);
        let (data_at, data_part) = part(DATA, DATA_LEN);
        assert_eq!(data_part, data);
        assert_eq!(block[DATA] % 8, 0);
        assert!(headers_at > topic_at + topic.len() && data_at > headers_at + headers.len());
    }

    #[test]
    fn a_message_keeps_what_it_is_given_at_every_alignment() {
        for topic in ["", "a", "abcdefg", "host.x.cpu.0", "nul\0inside\n", "тест.🚀"] {
            for headers in ["{}", "{\"a\": 1}", "[1]", "\"é\""] {
                for len in [0usize, 1, 7, 8, 9, 64, 1000] {
                    let data: Vec<u8> = (0..len).map(|i| (i * 7 + 1) as u8).collect();
                    let m = message(topic, headers, &data);
                    assert_eq!((m.topic(), m.headers_json(), m.data()), (topic, headers, &data[..]));
                    assert_eq!((m.id(), m.timestamp_us(), m.kind()), (HEAD.id, HEAD.timestamp_us, HEAD.kind));
                    assert_eq!((m.dropped_before(), m.epoch(), m.offset()), (3, 4, 5));
                    assert_c_view(&m, topic, headers, &data);
                    let copy = m.clone();
                    drop(m);
                    assert_c_view(&copy, topic, headers, &data);
                    let again = Message::from_block(copy.into_block());
                    assert_c_view(&again, topic, headers, &data);
                }
            }
        }
    }

    #[test]
    fn headers_may_be_missing_and_dropped_before_can_be_set() {
        let mut m = Message::new(HEAD, "t", "", 13).unwrap();
        assert_eq!((m.data().len(), m.headers_json()), (13, "{}"));
        m.set_dropped_before(77);
        assert_eq!(m.dropped_before(), 77);
        assert!(m.headers().is_empty());
    }

    #[test]
    fn what_is_filled_is_what_was_copied_if_that_is_text() {
        let filled = |topic: &[u8], headers: &[u8], data: &[u8]| {
            // A block that held something else before.
            drop(message("zzzzzzzzzzzzzzzzzzzzzz", "{\"zzz\": 1}", &[0xff; 40]));
            Message::filled(HEAD, (topic.len(), headers.len(), data.len()), |to_topic, to_headers, to_data| {
                to_topic.copy_from_slice(topic);
                to_headers.copy_from_slice(headers);
                to_data.copy_from_slice(data);
            })
            .unwrap()
        };
        for (topic, headers) in [("a", ""), ("a.b", "{\"a\": 1}"), ("тест", "{\"é\": \"ü\"}"), ("", "")] {
            for data in [&b""[..], b"1", b"12345678", &[7; 100]] {
                let m = filled(topic.as_bytes(), headers.as_bytes(), data).unwrap();
                assert_c_view(&m, topic, if headers.is_empty() { "{}" } else { headers }, data);
                assert_eq!((m.topic(), m.data()), (topic, data));
            }
        }
        assert!(filled(b"\xff", b"", b"").is_none() && filled(b"a", b"\xd1", b"").is_none());
        // Two halves of a character, one in each text.
        assert!(filled(b"a\xd1", b"\x82", b"").is_none());
    }

    #[test]
    fn headers_that_are_no_object_read_as_empty() {
        for headers in ["[1, 2]", "\"abc\"", "false", "{\"a\": ", "{}x"] {
            assert!(message("t", headers, b"").headers().is_empty(), "{headers}");
        }
        assert_eq!(message("t", "{\"a\": 1}", b"").headers().get("a"), Some(&HeaderValue::Int(1)));
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        for len in [usize::MAX, usize::MAX - 7, isize::MAX as usize, 1 << 60] {
            let error = Message::new(HEAD, "news.sports", "{}", len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge);
            let text = error.to_string();
            assert!(text.contains("news.sports") && text.contains(&len.to_string()), "{text}");
        }
    }

    #[test]
    fn messages_go_between_threads_and_their_debug_text_is_short() {
        fn shared<T: Send + Sync + 'static>(_: &T) {}
        let m = message("a.b", "{}", &[7; 100_000]);
        shared(&m);
        let text = format!("{m:?}");
        assert!(text.contains("\"a.b\"") && text.contains("100000") && text.len() < 200, "{text}");
    }
}
