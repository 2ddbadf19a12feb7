//! Publishing.

use std::ffi::{c_char, c_int, c_void};
use std::time::Duration;

use super::arguments::{self, MAX_PAYLOAD, Options, invalid, object, output};
use super::guard::{fallible, infallible};
use super::headers::ps_headers;
use crate::error::{Error, ErrorKind, Result};
use crate::{Headers, Payload, Publisher, PublisherOptions};

/// The sending end of one topic; faster than `ps_publish` for many messages. Any thread, several at once.
///
/// After fork, the child's inherited publishers answer `PS_ERR_CLOSED`; closing them frees memory.
pub struct ps_publisher {
    publisher: Publisher,
}

impl ps_publisher {
    pub(super) fn inner(&self) -> &Publisher {
        &self.publisher
    }
}

/// How to open a publisher. Begin with `PS_PUBLISHER_OPTIONS_INIT`.
#[repr(C)]
pub struct ps_publisher_options {
    /// `sizeof(ps_publisher_options)`.
    pub size: u32,
    /// How long a publish waits for room in channels that reject, in milliseconds; 0: not at all.
    pub full_timeout_ms: u32,
    /// The store's directory; NULL: `ps_home()`.
    pub home: *const c_char,
}

// SAFETY: integers and a pointer, which may be NULL.
unsafe impl Options for ps_publisher_options {
    const NAME: &'static str = "ps_publisher_options";
    const FIRST_SIZE: usize = 16;
}

/// One message of a batch. This struct never changes.
#[repr(C)]
pub struct ps_payload {
    /// The content; NULL with 0 is empty.
    pub data: *const c_void,
    /// Bytes of `data`, or `PS_NUL_TERMINATED`.
    pub len: usize,
    /// Its headers, or NULL.
    pub headers: *const ps_headers,
}

impl ps_payload {
    /// # Safety
    /// Data and headers are NULL or live and unchanging for `'a`.
    unsafe fn convert<'a>(&self) -> Result<Payload<'a>> {
        // SAFETY: the caller's promise is ours.
        unsafe { payload(self.data, self.len, self.headers) }
    }
}

/// # Safety
/// `data` is NULL or as long as `len` says, `headers` NULL or live; both unchanging for `'a`.
pub(super) unsafe fn payload<'a>(data: *const c_void, len: usize, headers: *const ps_headers) -> Result<Payload<'a>> {
    // SAFETY: the caller's promise is ours.
    unsafe { Ok(Payload { data: arguments::bytes("data", data, len, MAX_PAYLOAD)?, headers: inner(headers) }) }
}

/// # Safety
/// `headers` is NULL or live and unchanging for `'a`.
unsafe fn inner<'a>(headers: *const ps_headers) -> Option<&'a Headers> {
    // SAFETY: the caller's promise is ours.
    unsafe { headers.as_ref() }.map(ps_headers::inner)
}

/// Publishes one message to a topic of the default store. When this returns, the message is in the store and survives
/// the publisher's death.
///
/// `topic`: 1 to 200 of `[a-zA-Z0-9.-]`. `data`, `len`: the content, `len` bytes or `PS_NUL_TERMINATED`, at most
/// 4 GiB - 1; NULL with 0 is empty. `headers`: or NULL.
///
/// Answers how many channels took it; no matching channel is 0. When some took it and others refused, the answer is
/// those that did, and `ps_last_rejected()` those that did not. Errors: `PS_ERR_INVALID_TOPIC`;
/// `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE`; and when none took it `PS_ERR_STORE_FULL`, `PS_ERR_PERMISSION` or
/// `PS_ERR_IO`, else `PS_ERR_QUEUE_FULL`. Any thread; not from a signal handler.
///
/// ```c
/// if (ps_publish("news.sport", "one nil", PS_NUL_TERMINATED, NULL) < 0) {
///     fprintf(stderr, "%s\n", ps_last_error());
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publish(
    topic: *const c_char,
    data: *const c_void,
    len: usize,
    headers: *const ps_headers,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (topic, payload) = unsafe { (arguments::topic(topic)?, payload(data, len, headers)?) };
        Ok(small(crate::publish(topic, payload.data, payload.headers)?))
    })
}

/// Opens a publisher for one topic.
///
/// `topic`: 1 to 200 of `[a-zA-Z0-9.-]`, no wildcards. `options`: NULL: the defaults. `publisher`: to be closed with
/// `ps_publisher_close`.
///
/// Answers 0. Errors: `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_UNSUPPORTED` for options of a later
/// version; `PS_ERR_PERMISSION`, `PS_ERR_STORE_FULL` or `PS_ERR_IO` for the store. Any thread.
///
/// ```c
/// ps_publisher *publisher;
/// if (ps_publisher_open("lab.temperature", NULL, &publisher) == 0) {
///     for (int i = 0; i < 1000; i++) {
///         ps_publisher_publish(publisher, &i, sizeof i, NULL);
///     }
///     ps_publisher_close(publisher);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_open(
    topic: *const c_char,
    options: *const ps_publisher_options,
    publisher: *mut *mut ps_publisher,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (topic, given) = unsafe { (arguments::topic(topic)?, arguments::options(options)?) };
        let place = output("publisher", publisher)?;
        let mut options = PublisherOptions::default();
        if let Some(given) = given {
            options.full_timeout = Duration::from_millis(given.full_timeout_ms.into());
            // SAFETY: NULL or a string by the header's terms.
            options.home = unsafe { arguments::home_buf(given.home) }?;
        }
        let opened = Box::new(ps_publisher { publisher: Publisher::open(topic, &options)? });
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        unsafe { place.write(Box::into_raw(opened)) };
        Ok(0)
    })
}

/// Publishes one message, as `ps_publish` does; with `full_timeout_ms` it waits that long for room in channels that
/// reject.
///
/// Answers how many channels took it. Errors: as `ps_publish`; `PS_ERR_CLOSED` in a forked child;
/// `PS_ERR_INTERRUPTED` when a signal ended the wait. Any thread; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_publish(
    publisher: *mut ps_publisher,
    data: *const c_void,
    len: usize,
    headers: *const ps_headers,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (publisher, payload) = unsafe { (object("publisher", publisher)?, payload(data, len, headers)?) };
        Ok(small(publisher.publisher.publish(payload.data, payload.headers)?))
    })
}

/// Publishes many messages in order, exactly as that many calls of `ps_publisher_publish`, but faster.
///
/// `payloads`, `count`: the messages; NULL with 0 is none.
///
/// Answers how many were handled, from the first: it stops before the first that would fail, and answers an error only
/// when that is the first. Errors: as `ps_publisher_publish`. Any thread; not from a signal handler.
///
/// ```c
/// int publish_two(ps_publisher *publisher) {
///     ps_payload payloads[2] = {{"one", PS_NUL_TERMINATED, NULL}, {"two", 3, NULL}};
///     return ps_publisher_publish_batch(publisher, payloads, 2) == 2;
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_publish_batch(
    publisher: *mut ps_publisher,
    payloads: *const ps_payload,
    count: usize,
) -> i64 {
    fallible(|| {
        // SAFETY: NULL or a live publisher by the header's terms.
        let publisher = unsafe { object("publisher", publisher) }?;
        // SAFETY: NULL or `count` payloads by the header's terms.
        let given = unsafe { array("payloads", payloads, count) }?;
        // SAFETY: each payload holds what the header asks for.
        let payloads = given.iter().map(|one| unsafe { one.convert() });
        Ok(publisher.publisher.publish_all(payloads)? as i64)
    })
}

/// Publishes many messages that lie end to end in one buffer, all with the same headers: `ps_publisher_publish_batch`
/// for interpreters.
///
/// `data`: the contents. `lengths`, `count`: how many bytes of it each message has. `headers`: or NULL.
///
/// Answers how many were handled, as `ps_publisher_publish_batch` does. Errors: as there. Any thread; not from a signal
/// handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_publish_packed(
    publisher: *mut ps_publisher,
    data: *const c_void,
    lengths: *const u32,
    count: usize,
    headers: *const ps_headers,
) -> i64 {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (publisher, headers) = unsafe { (object("publisher", publisher)?, inner(headers)) };
        // SAFETY: NULL or `count` lengths by the header's terms.
        let lengths = unsafe { array("lengths", lengths, count) }?;
        // 2^32 lengths of 2^32 and more do not fit into the address space, nor their sum into 64 bits.
        let total = lengths.iter().try_fold(0usize, |sum, &len| sum.checked_add(len as usize));
        let total = total.filter(|&total| total <= isize::MAX as usize).ok_or_else(|| no_room("lengths", count))?;
        // SAFETY: NULL or as many bytes as the lengths add up to, by the header's terms.
        let data = unsafe { arguments::bytes("data", data, total, isize::MAX as usize) }?;
        Ok(publisher.publisher.publish_packed(data, lengths, headers)? as i64)
    })
}

/// Closes a publisher. NULL is ignored. Any thread, once no other uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_close(publisher: *mut ps_publisher) {
    infallible((), || {
        if !publisher.is_null() {
            // SAFETY: not NULL, so what `ps_publisher_open` gave, not yet closed by the header's terms.
            drop(unsafe { Box::from_raw(publisher) });
        }
    })
}

/// # Safety
/// `start` is NULL or points to `count` elements that nobody changes for `'a`.
unsafe fn array<'a, T>(what: &str, start: *const T, count: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(invalid(format!("the argument '{what}' is NULL, with a count of {count}")));
    }
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(invalid(format!("the count of '{what}' is {count}, more than memory can hold")));
    }
    // SAFETY: not NULL, `count` elements by the caller's promise, and no more than a slice may have.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

fn no_room(what: &str, count: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("{count} '{what}' are more than memory can hold; publish fewer at a time"))
}

/// A number of channels as C's `int`.
pub(super) fn small(count: usize) -> c_int {
    c_int::try_from(count).unwrap_or(c_int::MAX)
}
