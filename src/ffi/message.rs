//! Messages, handed out without a copy.

use std::ffi::{c_char, c_int};

use super::arguments::{object, output};
use super::guard::{fallible, infallible};
use super::headers::{hand_out, ps_headers};
use crate::error::Result;
use crate::message::{Headers, Message};
use crate::rpc::Origin;

/// Somebody published it.
#[allow(dead_code, reason = "for C programs, as is the next; a test compares them with the Rust API")]
pub const PS_MESSAGE_DATA: u32 = 0;
/// The managed topic that the channel is on was deleted.
#[allow(dead_code, reason = "as above")]
pub const PS_MESSAGE_TOPIC_DELETED: u32 = 1;

/// A received message. The library allocates it, `ps_message_free` frees it; it stays valid after later fetches and
/// after its channel is closed. Fields are only ever appended. To be read, not written; by any thread.
#[repr(C)]
pub struct ps_message {
    /// Unique in its store, rising along each publisher's messages.
    pub id: u64,
    /// When it was published: microseconds since the Unix epoch.
    pub timestamp_us: i64,
    /// The topic it was published to; ends in NUL.
    pub topic: *const c_char,
    /// Bytes of `topic` before the NUL.
    pub topic_len: usize,
    /// The content, 8-byte aligned; not NULL, even when it is empty.
    pub data: *const u8,
    /// Bytes of `data`.
    pub data_len: usize,
    /// The headers' text as received, byte for byte; "{}" when there are none; ends in NUL.
    pub headers_json: *const c_char,
    /// Bytes of `headers_json` before the NUL.
    pub headers_json_len: usize,
    /// One of `PS_MESSAGE_*`. Ignore a message of a kind you do not know.
    pub kind: u32,
    /// 0.
    pub flags: u32,
    /// Messages that the channel lost (`PS_FULL_DROP_OLDEST`) just before this one.
    pub dropped_before: u64,
    /// Managed topics: which history it is in; else 0.
    pub epoch: u64,
    /// Managed topics: its position in the history; else 0.
    pub offset: u64,
}

/// A message's block as C sees it. Ownership goes along; [`take_back`] returns it.
pub(super) fn give(message: Message) -> *mut ps_message {
    let block: *mut u64 = Box::into_raw(message.into_block()).cast();
    // The pointers inside it are addresses into the same block.
    block.expose_provenance();
    block.cast()
}

/// A message's block as C sees it, lent for as long as `message` is.
pub(super) fn lend(message: &Message) -> *const ps_message {
    message.block().as_ptr().cast()
}

/// # Safety
/// `message` came from [`give`] and was not taken back yet.
unsafe fn take_back(message: *mut ps_message) -> Message {
    let words = message.cast::<u64>();
    // SAFETY: the block holds its own length, in words, behind the `ps_message` that it begins with.
    let len = unsafe { words.add(crate::message::BLOCK_WORDS_INDEX).read() };
    // SAFETY: with that length it is the slice that `give` took apart.
    Message::from_block(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(words, len as usize)) })
}

/// # Safety
/// `message` is one of ours.
unsafe fn parsed(message: &ps_message) -> Headers {
    // SAFETY: its headers lie in its block, which is live.
    let json = unsafe { std::slice::from_raw_parts(message.headers_json.cast::<u8>(), message.headers_json_len) };
    std::str::from_utf8(json).ok().and_then(|json| Headers::parse(json).ok()).unwrap_or_default()
}

/// What a reply needs to know of a message.
///
/// # Safety
/// `message` is NULL or one of ours, live for `'a`.
pub(super) unsafe fn origin<'a>(what: &str, message: *const ps_message) -> Result<Origin<'a>> {
    // SAFETY: the caller's promise is ours.
    let seen = unsafe { object(what, message) }?;
    // SAFETY: its topic lies in its block, which is live.
    let topic = unsafe { std::slice::from_raw_parts(seen.topic.cast::<u8>(), seen.topic_len) };
    Ok(Origin {
        topic: std::str::from_utf8(topic).unwrap_or_default(),
        // SAFETY: a message of ours.
        headers: unsafe { parsed(seen) },
        // SAFETY: the block holds the word behind the `ps_message` that it begins with.
        home: unsafe { message.cast::<u64>().add(crate::message::HOME_INDEX).read() },
    })
}

/// The headers of a message, parsed; empty when it has none or they are no JSON object.
///
/// `headers`: to be freed with `ps_headers_free`; they are valid longer than the message.
///
/// Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_message_headers(message: *const ps_message, headers: *mut *mut ps_headers) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a message of ours by the header's terms.
        let message = unsafe { object("message", message) }?;
        let place = output("headers", headers)?;
        // SAFETY: a message of ours.
        let parsed = unsafe { parsed(message) };
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        unsafe { hand_out(parsed, place) };
        Ok(0)
    })
}

/// Frees a message. NULL is ignored. Not for a message that a callback was lent. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_message_free(message: *mut ps_message) {
    infallible((), || {
        if !message.is_null() {
            // SAFETY: not NULL, so what `give` gave, not yet freed by the header's terms.
            drop(unsafe { take_back(message) });
        }
    })
}

/// Frees the messages of an array that `ps_fetch_batch` filled, and makes its entries NULL; the array itself stays the
/// caller's. NULL, for the array or in it, is ignored. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_message_free_batch(messages: *mut *mut ps_message, count: usize) {
    infallible((), || {
        if messages.is_null() {
            return;
        }
        for at in 0..count {
            // SAFETY: an array of `count` entries by the header's terms, each NULL or a message not yet freed.
            unsafe {
                let message = messages.add(at).replace(std::ptr::null_mut());
                if !message.is_null() {
                    drop(take_back(message));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::mem::offset_of;

    use super::*;
    use crate::message::{MessageHead, MessageKind};

    const HEAD: MessageHead = MessageHead {
        id: 0x0102_0304_0506_0708,
        timestamp_us: -9,
        kind: MessageKind::TopicDeleted,
        dropped_before: 11,
        epoch: 12,
        offset: 13,
    };

    #[test]
    fn a_message_s_block_is_a_ps_message() {
        let mut message = Message::new(HEAD, "a.topic", "{\"a\": 1}", 5).expect("a message");
        message.data_mut().copy_from_slice(b"hello");
        let (topic, data) = (message.topic().as_ptr(), message.data().as_ptr());
        let headers = message.headers_json().as_ptr();
        let block = message.block().to_vec();
        let word = |offset: usize| block[offset / 8];
        assert_eq!(word(offset_of!(ps_message, id)), HEAD.id);
        assert_eq!(word(offset_of!(ps_message, timestamp_us)), -9i64 as u64);
        assert_eq!(word(offset_of!(ps_message, topic)), topic as u64);
        assert_eq!(word(offset_of!(ps_message, topic_len)), 7);
        assert_eq!(word(offset_of!(ps_message, data)), data as u64);
        assert_eq!(word(offset_of!(ps_message, data_len)), 5);
        assert_eq!(word(offset_of!(ps_message, headers_json)), headers as u64);
        assert_eq!(word(offset_of!(ps_message, headers_json_len)), 8);
        assert_eq!(offset_of!(ps_message, flags), offset_of!(ps_message, kind) + 4);
        assert_eq!(word(offset_of!(ps_message, dropped_before)), 11);
        assert_eq!(word(offset_of!(ps_message, epoch)), 12);
        assert_eq!(word(offset_of!(ps_message, offset)), 13);
        assert!(crate::message::BLOCK_WORDS_INDEX * 8 >= size_of::<ps_message>());
        assert_eq!(block[crate::message::BLOCK_WORDS_INDEX], block.len() as u64);

        let given = give(message);
        // SAFETY: `give` gave a live message.
        let seen = unsafe { &*given };
        assert_eq!((seen.kind, seen.flags), (PS_MESSAGE_TOPIC_DELETED, 0));
        assert_eq!(seen.data as usize % 8, 0);
        // SAFETY: both end in NUL, inside the block.
        let (topic, json) = unsafe { (CStr::from_ptr(seen.topic), CStr::from_ptr(seen.headers_json)) };
        assert_eq!((topic, json), (c"a.topic", c"{\"a\": 1}"));
        // SAFETY: not yet taken back.
        let back = unsafe { take_back(given) };
        assert_eq!((back.topic(), back.data(), back.offset()), ("a.topic", &b"hello"[..], 13));
    }

    #[test]
    fn kinds_are_those_of_the_rust_api() {
        assert_eq!(PS_MESSAGE_DATA, MessageKind::Data as u32);
        assert_eq!(PS_MESSAGE_TOPIC_DELETED, MessageKind::TopicDeleted as u32);
    }
}
