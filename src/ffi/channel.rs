//! Receiving.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

use super::arguments::{self, Options, invalid, object, output};
use super::guard::{self, fallible, infallible};
use super::message::{give, lend, ps_message};
use super::stats::ps_channel_stats;
use super::text::Text;
use crate::error::{Error, ErrorKind, Result};
use crate::{Channel, ChannelOptions, FullPolicy, Interrupter, Message, Monitor, PackError, Resume, Transport};

/// A full channel refuses the next message: the publisher is told, the channel counts it.
pub const PS_FULL_REJECT: u32 = 0;
/// A full channel drops the oldest to make room; the receiver sees how many went (`dropped_before`).
pub const PS_FULL_DROP_OLDEST: u32 = 1;
/// What the environment's PUBSUB_TRANSPORT says ("ring" or "files"), else the ring.
pub const PS_TRANSPORT_DEFAULT: u32 = 0;
/// Shared memory.
pub const PS_TRANSPORT_RING: u32 = 1;
/// A file for each message and a FIFO, as formix-pubsub does it.
pub const PS_TRANSPORT_FILES: u32 = 2;

/// The receiving end: one subscription with a queue of its own.
///
/// Its receiving functions (fetch, subscribe, fd, feed, close) are for one thread at a time, which need not be always
/// the same; a call while another is under way, be it from another thread or from a callback of `ps_subscribe`, is
/// `PS_ERR_INVALID_ARGUMENT`. After fork, the child's inherited channels answer `PS_ERR_CLOSED`; closing them frees
/// memory, and the parent notices nothing.
pub struct ps_channel {
    /// Whether a thread is inside a receiving function. Whoever swaps it from false to true owns `receiver` until it
    /// stores false again; the store's Release pairs with the next swap's Acquire.
    busy: AtomicBool,
    receiver: UnsafeCell<Receiver>,
    /// Beside the receiver, not in it, as is the next: used while another thread, or the interrupted code of this one,
    /// is inside.
    interrupter: Interrupter,
    monitor: Monitor,
    topic: Text,
    path: Text,
}

struct Receiver {
    channel: Channel,
    /// Empty between calls; kept for its memory.
    batch: Vec<Message>,
}

/// How to open a channel. Begin with `PS_CHANNEL_OPTIONS_INIT`.
#[repr(C)]
pub struct ps_channel_options {
    /// `sizeof(ps_channel_options)`.
    pub size: u32,
    /// What happens when the queue is full: one of `PS_FULL_*`.
    pub full_policy: u32,
    /// How messages travel: one of `PS_TRANSPORT_*`.
    pub transport: u32,
    /// 0.
    pub reserved: u32,
    /// Bound of the unread bytes; 0: 64 MiB. A larger message is taken only into an empty queue.
    pub capacity_bytes: u64,
    /// Bound of the unread messages; 0: 16384.
    pub capacity_messages: u64,
    /// The store's directory; NULL: `ps_home()`.
    pub home: *const c_char,
    /// Begin with the last so many messages of each managed topic that matches, oldest first, before what is new; 0: none.
    pub replay_last: u32,
    /// Not 0: begin behind the message that `resume_epoch` and `resume_offset` name (exact topics only): everything newer, or
    /// what is still there of it, which `dropped_before` or another `epoch` tell. Instead of `replay_last`.
    pub resume: u32,
    /// The `epoch` of the last message had.
    pub resume_epoch: u64,
    /// The `offset` of the last message had; 0: before the first.
    pub resume_offset: u64,
}

// SAFETY: integers and a pointer, which may be NULL.
unsafe impl Options for ps_channel_options {
    const NAME: &'static str = "ps_channel_options";
    /// Up to `home`: what follows came with managed topics.
    const FIRST_SIZE: usize = 40;
}

impl ps_channel_options {
    /// # Safety
    /// `home` is NULL or ends in NUL.
    unsafe fn convert(&self) -> Result<ChannelOptions> {
        let full_policy = match self.full_policy {
            PS_FULL_REJECT => FullPolicy::Reject,
            PS_FULL_DROP_OLDEST => FullPolicy::DropOldest,
            other => return Err(invalid(format!("full_policy is {other}; it must be one of PS_FULL_*"))),
        };
        let transport = match self.transport {
            PS_TRANSPORT_DEFAULT => Transport::Default,
            PS_TRANSPORT_RING => Transport::Ring,
            PS_TRANSPORT_FILES => Transport::Files,
            other => return Err(invalid(format!("transport is {other}; it must be one of PS_TRANSPORT_*"))),
        };
        if self.reserved != 0 {
            return Err(invalid(format!("reserved is {}; it must be 0", self.reserved)));
        }
        Ok(ChannelOptions {
            full_policy,
            transport,
            capacity_bytes: self.capacity_bytes,
            capacity_messages: self.capacity_messages,
            // SAFETY: the caller's promise is ours.
            home: unsafe { arguments::home_buf(self.home) }?,
            replay_last: self.replay_last,
            resume: (self.resume != 0).then_some(Resume { epoch: self.resume_epoch, offset: self.resume_offset }),
        })
    }
}

/// What `ps_subscribe` calls with each message: it is lent until the callback returns. `context`: as given to
/// `ps_subscribe`. A non-zero return ends the subscription. It must return: neither longjmp nor an exception may leave
/// it.
pub type ps_callback = Option<unsafe extern "C" fn(message: *const ps_message, context: *mut c_void) -> c_int>;

/// What `ps_fetch_packed` writes. Behind it lie the topic, the headers, padding to 8, the data, padding to 8; neither
/// text ends in NUL. This struct never changes.
#[repr(C)]
#[allow(dead_code, reason = "for C programs: the core writes its words")]
pub struct ps_packed_record {
    /// Bytes of the whole record, a multiple of 8: the next one begins there.
    pub size: u64,
    /// As in `ps_message`.
    pub id: u64,
    /// As in `ps_message`.
    pub timestamp_us: i64,
    /// As in `ps_message`.
    pub dropped_before: u64,
    /// As in `ps_message`.
    pub epoch: u64,
    /// As in `ps_message`.
    pub offset: u64,
    /// Bytes of the data.
    pub data_len: u64,
    /// Bytes of the topic.
    pub topic_len: u32,
    /// Bytes of the headers' text.
    pub headers_json_len: u32,
    /// As in `ps_message`.
    pub kind: u32,
    /// As in `ps_message`.
    pub flags: u32,
}

/// The right to use a channel's receiver; given back when dropped.
struct Turn<'a>(&'a ps_channel);

impl<'a> Turn<'a> {
    /// # Safety
    /// `channel` is NULL or a live channel.
    unsafe fn take(channel: *const ps_channel) -> Result<Turn<'a>> {
        // SAFETY: the caller's promise is ours.
        let channel = unsafe { object("channel", channel) }?;
        if channel.busy.swap(true, Ordering::Acquire) {
            return Err(invalid(format!(
                "the channel on '{}' is in use: another thread is inside one of its receiving functions, or this is \
                 a callback of its ps_subscribe",
                channel.topic.lossy()
            )));
        }
        Ok(Turn(channel))
    }

    fn receiver(&mut self) -> &mut Receiver {
        // SAFETY: `busy` was false and is true because of this turn, so no other reference exists; the borrow of the
        // turn keeps a second one from being made through it.
        unsafe { &mut *self.0.receiver.get() }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// Opens a channel on a topic or pattern: it receives what is published to matching topics from now on, whoever
/// publishes, formix-pubsub included.
///
/// `topic`: words of `[a-zA-Z0-9-]` between dots, at most 200 bytes; `=` stands for one word or a part of it, `+` for
/// one or more words (`logs.=.error`, `logs.+`). `options`: NULL: the defaults. `channel`: to be closed with
/// `ps_channel_close`.
///
/// Answers 0. Errors: `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_UNSUPPORTED` for options of a later
/// version, or for a ring where memory cannot be shared (a network file system, a processor without 16-byte
/// compare-and-swap); `PS_ERR_NOT_FOUND` when there is no history to resume from, `PS_ERR_CORRUPT` when it is damaged;
/// `PS_ERR_PERMISSION`, `PS_ERR_STORE_FULL` or `PS_ERR_IO` for the store. Any thread.
///
/// ```c
/// ps_channel_options options = PS_CHANNEL_OPTIONS_INIT;
/// options.full_policy = PS_FULL_DROP_OLDEST;
/// ps_channel *channel;
/// if (ps_channel_open("lab.+", &options, &channel) == 0) {
///     ps_message *message;
///     while (ps_fetch_wait(channel, 1000, &message) == 1) {
///         printf("%s: %zu bytes\n", message->topic, message->data_len);
///         ps_message_free(message);
///     }
///     ps_channel_close(channel);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_open(
    topic: *const c_char,
    options: *const ps_channel_options,
    channel: *mut *mut ps_channel,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (topic, given) = unsafe { (arguments::topic(topic)?, arguments::options(options)?) };
        let place = output("channel", channel)?;
        let options = match given {
            // SAFETY: its home is NULL or a string by the header's terms.
            Some(given) => unsafe { given.convert() }?,
            None => ChannelOptions::default(),
        };
        let opened = Channel::open(topic, &options)?;
        let opened = Box::new(ps_channel {
            busy: AtomicBool::new(false),
            interrupter: opened.interrupter(),
            monitor: opened.monitor(),
            topic: Text::new(opened.topic()),
            path: Text::new(opened.path().as_os_str().as_bytes()),
            receiver: UnsafeCell::new(Receiver { channel: opened, batch: Vec::new() }),
        });
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        unsafe { place.write(Box::into_raw(opened)) };
        Ok(0)
    })
}

/// Closes a channel: what is unread is gone, and the handle is, whatever the answer, unless that is
/// `PS_ERR_INVALID_ARGUMENT`. NULL is ignored.
///
/// Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT` while a receiving function is under way (then it stays open);
/// `PS_ERR_PERMISSION` or `PS_ERR_IO` when its directory cannot be removed. Any thread, once no other uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_close(channel: *mut ps_channel) -> c_int {
    fallible(|| {
        if channel.is_null() {
            return Ok(0);
        }
        // SAFETY: not NULL, so a live channel by the header's terms. The turn is kept for ever.
        std::mem::forget(unsafe { Turn::take(channel) }?);
        // SAFETY: what `ps_channel_open` gave, and with the turn nobody is inside it.
        let owned = unsafe { Box::from_raw(channel) };
        owned.receiver.into_inner().channel.close()?;
        Ok(0)
    })
}

/// The topic or pattern that the channel was opened with; NULL for NULL. Valid until it is closed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_topic(channel: *const ps_channel) -> *const c_char {
    // SAFETY: NULL or a live channel by the header's terms.
    infallible(std::ptr::null(), || unsafe { channel.as_ref() }.map_or(std::ptr::null(), |c| c.topic.as_ptr()))
}

/// The channel's directory; NULL for NULL. Valid until it is closed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_path(channel: *const ps_channel) -> *const c_char {
    // SAFETY: NULL or a live channel by the header's terms.
    infallible(std::ptr::null(), || unsafe { channel.as_ref() }.map_or(std::ptr::null(), |c| c.path.as_ptr()))
}

/// A descriptor that is readable as long as a message waits, for poll, epoll and event loops. When it is readable,
/// `ps_fetch` until that answers 0. Never read, write or close it; a runtime that can only wait by reading hands what
/// it read back with `ps_channel_feed`.
///
/// Answers the descriptor, 0 or more, the same each time; it belongs to the channel. Errors: `PS_ERR_CLOSED`;
/// `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_IO`. A receiving function: one thread at a time.
///
/// ```c
/// #include <poll.h>
/// void drain_when_ready(ps_channel *channel) {
///     struct pollfd ready = {ps_channel_fd(channel), POLLIN, 0};
///     while (poll(&ready, 1, -1) == 1) {
///         ps_message *message;
///         while (ps_fetch(channel, &message) == 1) {
///             ps_message_free(message);
///         }
///     }
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_fd(channel: *mut ps_channel) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        turn.receiver().channel.fd()
    })
}

/// Takes back what a runtime that can only wait by reading has read from the descriptor. Call it before the next fetch.
///
/// `bytes`, `len`: all that was read, in order; NULL with 0 is nothing.
///
/// Answers 0. Errors: `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`. A receiving function: one thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_feed(channel: *mut ps_channel, bytes: *const c_void, len: usize) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        if len > isize::MAX as usize {
            return Err(invalid(format!("len is {len}, more than memory can hold; what was read ends in no NUL")));
        }
        // SAFETY: NULL or `len` bytes by the header's terms.
        let bytes = unsafe { arguments::bytes("bytes", bytes, len, isize::MAX as usize) }?;
        turn.receiver().channel.feed(bytes)?;
        Ok(0)
    })
}

/// Ends the channel's current wait with `PS_ERR_INTERRUPTED`, or if there is none the next one, once. `ps_fetch` neither
/// notices nor clears it.
///
/// Answers 0, or `PS_ERR_INVALID_ARGUMENT` for NULL. Any thread, and from a signal handler: it leaves errno and the last
/// error alone. Not during or after `ps_channel_close`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_interrupt(channel: *mut ps_channel) -> c_int {
    // Not through the guard: that may allocate, and a signal handler must not. Neither touches it the receiver or
    // `busy`, whatever the code that it interrupted was doing with them.
    // SAFETY: NULL or a live channel by the header's terms.
    let Some(channel) = (unsafe { channel.as_ref() }) else { return ErrorKind::InvalidArgument.code() };
    let errno = Errno::last_raw();
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| channel.interrupter.interrupt()));
    Errno::set_raw(errno);
    result.map_or(ErrorKind::Internal.code(), |()| 0)
}

/// Counters and bounds, now.
///
/// `stats`: set its `size` to `sizeof(ps_channel_stats)` first; that many bytes are written, or as many as the library
/// knows, and `size` says how many. Its `topic` and `path` belong to the channel.
///
/// Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_CLOSED`; `PS_ERR_IO`. Any thread, also while another receives, and
/// in a callback of `ps_subscribe`.
///
/// ```c
/// void show(const ps_channel *channel) {
///     ps_channel_stats stats;
///     stats.size = sizeof stats;
///     if (ps_channel_stats_get(channel, &stats) == 0) {
///         printf("%s: %llu unread\n", stats.topic, (unsigned long long)stats.unread_messages);
///     }
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_stats_get(channel: *const ps_channel, stats: *mut ps_channel_stats) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel, NULL or a struct with a size, by the header's terms.
        let (channel, size) = unsafe { (object("channel", channel)?, ps_channel_stats::size_wanted(stats)?) };
        let found = channel.monitor.stats()?;
        let (topic, path) = (channel.topic.as_ptr(), channel.path.as_ptr());
        // SAFETY: `stats` has room for `size` bytes by the header's terms.
        unsafe { ps_channel_stats::from(&found, topic, path).write_to(stats, size) };
        Ok(0)
    })
}

/// Takes the next message. Never waits.
///
/// `message`: the message, to be freed with `ps_message_free`; NULL when there is none.
///
/// Answers 1, or 0 when there is none. Errors: `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE` when memory
/// for it cannot be had; `PS_ERR_CORRUPT` when the channel's directory was deleted; `PS_ERR_IO`. A receiving function: one
/// thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_fetch(channel: *mut ps_channel, message: *mut *mut ps_message) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        let place = output("message", message)?;
        let fetched = turn.receiver().channel.fetch()?;
        // SAFETY: a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(fetched, place) })
    })
}

/// Takes the next message; waits for one.
///
/// `timeout_ms`: how long in milliseconds; `PS_FOREVER`, 0 or more. `message`: the message, to be freed with
/// `ps_message_free`; NULL when there is none.
///
/// Answers 1, or 0 when the time is up. Errors: `PS_ERR_INTERRUPTED` after a signal that this thread handled, or
/// `ps_channel_interrupt`; `PS_ERR_CLOSED`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE`; `PS_ERR_CORRUPT`; `PS_ERR_IO`.
/// A receiving function: one thread at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_fetch_wait(
    channel: *mut ps_channel,
    timeout_ms: i64,
    message: *mut *mut ps_message,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        let (timeout, place) = (arguments::timeout(timeout_ms)?, output("message", message)?);
        let fetched = turn.receiver().channel.fetch_wait(timeout)?;
        // SAFETY: a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(fetched, place) })
    })
}

/// # Safety
/// `place` is valid for a write.
unsafe fn hand_out(message: Option<Message>, place: *mut *mut ps_message) -> c_int {
    let (message, count) = message.map_or((std::ptr::null_mut(), 0), |message| (give(message), 1));
    // SAFETY: the caller's promise is ours.
    unsafe { place.write(message) };
    count
}

/// Takes many messages: waits for the first, then takes what is there.
///
/// `messages`, `max`: an array, of which the first `max` entries may be written. Free each with `ps_message_free`, or all
/// with `ps_message_free_batch`. `timeout_ms`: how long to wait for the first, in milliseconds; `PS_FOREVER`, 0 or more.
///
/// Answers how many; 0 when the time is up, and at once when `max` is 0. Errors: as `ps_fetch_wait`. A receiving
/// function: one thread at a time.
///
/// ```c
/// void drain(ps_channel *channel) {
///     ps_message *messages[64];
///     int count;
///     while ((count = ps_fetch_batch(channel, messages, 64, 0)) > 0) {
///         for (int i = 0; i < count; i++) {
///             printf("%s\n", messages[i]->topic);
///         }
///         ps_message_free_batch(messages, (size_t)count);
///     }
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_fetch_batch(
    channel: *mut ps_channel,
    messages: *mut *mut ps_message,
    max: usize,
    timeout_ms: i64,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        let timeout = arguments::timeout(timeout_ms)?;
        if max == 0 {
            return Ok(0);
        }
        let place = output("messages", messages)?;
        let Receiver { channel, batch } = turn.receiver();
        let result = channel.fetch_batch(batch, max.min(c_int::MAX as usize), timeout);
        if let (Err(error), true) = (result, batch.is_empty()) {
            return Err(error);
        }
        // What was fetched is out of the queue, so it goes to the caller even when something failed after it.
        let mut count = 0;
        for message in batch.drain(..) {
            // SAFETY: no more than `max` were fetched, and the array has as many entries by the header's terms.
            unsafe { place.add(count as usize).write(give(message)) };
            count += 1;
        }
        Ok(count)
    })
}

/// `ps_fetch_batch` without allocation, for interpreters: waits for the first message, then writes what is there into
/// a buffer, as many as fit.
///
/// `buffer`, `size`: 8-byte aligned; a `ps_packed_record` for each message goes there, with its texts and data behind it.
/// `timeout_ms`: how long to wait for the first, in milliseconds; `PS_FOREVER`, 0 or more. `used`: how many bytes were
/// written.
///
/// Answers how many messages; 0 when the time is up. Errors: `PS_ERR_TOO_LARGE` when the first does not fit: it stays
/// in the queue, and `*used` says how many bytes it needs; else as `ps_fetch_wait`. A receiving function: one thread at
/// a time.
///
/// ```c
/// int first_id(ps_channel *channel, uint64_t *id) {
///     uint64_t buffer[512];
///     size_t used;
///     int count = ps_fetch_packed(channel, buffer, sizeof buffer, 0, &used);
///     if (count > 0) {
///         *id = ((const ps_packed_record *)buffer)->id;
///     }
///     return count;
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_fetch_packed(
    channel: *mut ps_channel,
    buffer: *mut c_void,
    size: usize,
    timeout_ms: i64,
    used: *mut usize,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        let timeout = arguments::timeout(timeout_ms)?;
        let (buffer, used) = (output("buffer", buffer)?.cast::<u64>(), output("used", used)?);
        if !buffer.is_aligned() {
            return Err(invalid(format!("the buffer at {buffer:p} is not 8-byte aligned")));
        }
        if size > isize::MAX as usize {
            return Err(invalid(format!("size is {size}, more than memory can hold")));
        }
        // SAFETY: aligned, not NULL, and `size` bytes that nobody else uses, by the header's terms. What a C program left
        // in them is a value for all that the compiler knows, and only written to.
        let words = unsafe { std::slice::from_raw_parts_mut(buffer, size / size_of::<u64>()) };
        match turn.receiver().channel.fetch_packed(words, timeout) {
            Ok((records, bytes)) => {
                // SAFETY: a place for a size by the header's terms.
                unsafe { used.write(bytes) };
                Ok(c_int::try_from(records).unwrap_or(c_int::MAX))
            }
            Err(PackError::TooSmall(needed)) => {
                // SAFETY: as above.
                unsafe { used.write(needed) };
                let message = format!("the next record needs {needed} bytes, and the buffer has {size}");
                Err(Error::new(ErrorKind::TooLarge, message))
            }
            Err(PackError::Failed(error)) => Err(error),
        }
    })
}

/// Calls back with each message, on the calling thread only, until the callback returns non-zero (that message counts) or
/// the time is up.
///
/// `callback`: may publish and open channels, not fetch from or close this one. `context`: handed to it. `timeout_ms`:
/// how long in all, in milliseconds; `PS_FOREVER`, 0 (what is there) or more.
///
/// Answers how many messages were handled. Errors: as `ps_fetch_wait`. A receiving function: one thread at a time.
///
/// ```c
/// int print_topic(const ps_message *message, void *context) {
///     (void)context;
///     printf("%s\n", message->topic);
///     return 0;
/// }
/// int64_t print_for_a_second(ps_channel *channel) {
///     return ps_subscribe(channel, print_topic, NULL, 1000);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_subscribe(
    channel: *mut ps_channel,
    callback: ps_callback,
    context: *mut c_void,
    timeout_ms: i64,
) -> i64 {
    fallible(|| {
        // SAFETY: NULL or a live channel by the header's terms.
        let mut turn = unsafe { Turn::take(channel) }?;
        let callback = callback.ok_or_else(|| invalid("the argument 'callback' is NULL"))?;
        let timeout = arguments::timeout(timeout_ms)?;
        let call = |message: &Message| {
            // SAFETY: a function by the header's terms; the message outlives the call. It may use all of the library but
            // this channel's receiver, which the turn keeps.
            match guard::outside(|| unsafe { callback(lend(message), context) }) {
                0 => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        };
        let handled = turn.receiver().channel.subscribe(call, timeout)?;
        Ok(i64::try_from(handled).unwrap_or(i64::MAX))
    })
}
