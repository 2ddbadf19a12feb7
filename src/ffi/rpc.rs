//! Request and reply.

use std::ffi::{c_char, c_int, c_void};

use super::arguments::{self, object, output};
use super::guard::fallible;
use super::headers::ps_headers;
use super::message::{give, origin, ps_message};
use super::publisher::{payload, ps_publisher, small};
use crate::Message;
use crate::rpc;

/// Publishes a request to a topic of the default store and waits for its reply. It carries the headers `response-topic`
/// and `correlation-id`, in place of any by these names in `headers`; whoever receives it answers with `ps_reply`, or as
/// formix-pubsub programs do. When several answer, the first reply is it. A late one is dropped.
///
/// `topic`: 1 to 200 of `[a-zA-Z0-9.-]`. `data`, `len`, `headers`: as for `ps_publish`. `timeout_ms`: `PS_FOREVER`, 0 or
/// more. `reply`: to be freed with `ps_message_free`; NULL on 0.
///
/// Answers 1: a reply; 0: timed out. Errors: `PS_ERR_NOT_FOUND` at once when nobody listens on the topic;
/// `PS_ERR_INTERRUPTED` when a signal was handled in this thread; those of `ps_publish` and `ps_channel_open`. Any
/// thread; not from a signal handler. Each thread keeps a channel for its replies until it ends: two descriptors.
///
/// ```c
/// ps_message *reply;
/// int answer = ps_request("math.double", "21", PS_NUL_TERMINATED, NULL, 1000, &reply);
/// if (answer == 1) {
///     printf("%.*s\n", (int)reply->data_len, (const char *)reply->data);
///     ps_message_free(reply);
/// } else {
///     fprintf(stderr, "%s\n", answer == 0 ? "no reply within a second" : ps_last_error());
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_request(
    topic: *const c_char,
    data: *const c_void,
    len: usize,
    headers: *const ps_headers,
    timeout_ms: i64,
    reply: *mut *mut ps_message,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (topic, payload) = unsafe { (arguments::topic(topic)?, payload(data, len, headers)?) };
        let (timeout, place) = (arguments::timeout(timeout_ms)?, output("reply", reply)?);
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(rpc::request(topic, payload.data, payload.headers, timeout)?, place) })
    })
}

/// Publishes a request to the publisher's topic, in its store, and waits for its reply, as `ps_request` does. With
/// `full_timeout_ms` it may last that much longer.
///
/// Answers 1: a reply; 0: timed out. Errors: as `ps_request`; `PS_ERR_CLOSED` in a forked child. Any thread; not from a
/// signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_publisher_request(
    publisher: *mut ps_publisher,
    data: *const c_void,
    len: usize,
    headers: *const ps_headers,
    timeout_ms: i64,
    reply: *mut *mut ps_message,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (publisher, payload) = unsafe { (object("publisher", publisher)?, payload(data, len, headers)?) };
        let (timeout, place) = (arguments::timeout(timeout_ms)?, output("reply", reply)?);
        let answer = publisher.inner().request(payload.data, payload.headers, timeout)?;
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(answer, place) })
    })
}

/// Answers a request: publishes to its `response-topic`, in the store that it came from, with its `correlation-id` in place
/// of any in `headers`. The channel that it came from may be closed already.
///
/// `request`: a message that the library gave or lent, not a copy of its struct. `data`, `len`, `headers`: as for
/// `ps_publish`.
///
/// Answers how many channels took it; 0 when whoever asked waits no more. Errors: `PS_ERR_INVALID_ARGUMENT`, also when
/// the message asks for no reply; `PS_ERR_INVALID_TOPIC` when it asks for one on what is no topic; those of `ps_publish`.
/// Any thread; not from a signal handler.
///
/// ```c
/// int measure(const ps_message *request, void *context) {
///     char text[32];
///     snprintf(text, sizeof text, "%zu bytes", request->data_len);
///     (void)context;
///     return ps_reply(request, text, PS_NUL_TERMINATED, NULL) < 0; // ends the subscription when it fails
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_reply(
    request: *const ps_message,
    data: *const c_void,
    len: usize,
    headers: *const ps_headers,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (request, payload) = unsafe { (origin("request", request)?, payload(data, len, headers)?) };
        Ok(small(rpc::reply_to(request, payload.data, payload.headers)?))
    })
}

/// # Safety
/// `place` can be written to.
unsafe fn hand_out(reply: Option<Message>, place: *mut *mut ps_message) -> c_int {
    let (answer, message) = reply.map_or((0, std::ptr::null_mut()), |reply| (1, give(reply)));
    // SAFETY: the caller's promise is ours.
    unsafe { place.write(message) };
    answer
}
