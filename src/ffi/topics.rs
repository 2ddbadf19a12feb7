//! Managed topics.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use super::arguments::{self, Options, invalid, output};
use super::guard::{fallible, infallible};
use super::message::{give, ps_message, ps_message_free};
use super::text::Text;
use crate::error::Result;
use crate::{TopicOptions, TopicStats};

/// What a managed topic keeps. Begin with `PS_TOPIC_OPTIONS_INIT`.
#[repr(C)]
pub struct ps_topic_options {
    /// `sizeof(ps_topic_options)`.
    pub size: u32,
    /// The most messages kept; 0: 100.
    pub history_messages: u32,
    /// The most bytes kept; 0: 64 MiB. A message larger than that is kept alone.
    pub history_bytes: u64,
    /// What is older than this is never returned; 0: no limit of age.
    pub history_ttl_ms: i64,
    /// The store's directory; NULL: `ps_home()`.
    pub home: *const c_char,
}

// SAFETY: integers and a pointer, which may be NULL.
unsafe impl Options for ps_topic_options {
    const NAME: &'static str = "ps_topic_options";
    const FIRST_SIZE: usize = 32;
}

/// A managed topic at one moment. Fields are only ever appended.
#[repr(C)]
pub struct ps_topic_stats {
    /// `sizeof(ps_topic_stats)`.
    pub size: u32,
    /// 0.
    pub reserved: u32,
    /// Its name; owned by the list.
    pub topic: *const c_char,
    /// Live channels that match it, wildcards included; a gateway's channel counts for as many as it serves.
    pub subscribers: u64,
    /// Messages that entered its history since it was created.
    pub messages_published: u64,
    /// Messages in its history now.
    pub messages_in_history: u64,
    /// Bytes in its history now, as they are stored: headers and contents and 32 for each message.
    pub bytes_in_history: u64,
    /// Tells this history from those of topics of the same name that were deleted before.
    pub epoch: u64,
    /// The offset that the next message gets. Offsets begin at 1.
    pub next_offset: u64,
    /// When it was created: microseconds since the Unix epoch.
    pub created_us: i64,
}

/// Makes a topic that keeps a history: of what is published to it from now on, by every program that uses this library.
/// Messages of formix-pubsub programs enter it through the topic's recorder (`pubsub topics keep`).
///
/// `topic`: no wildcards. `options`: NULL: the last 100 messages, in the default store.
///
/// Answers 0. Errors: `PS_ERR_EXISTS` when it is managed already; `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT` for bounds
/// that no history can have; `PS_ERR_UNSUPPORTED` for options of a later version, or where the processor has no 16-byte
/// compare-and-swap; `PS_ERR_STORE_FULL`; `PS_ERR_PERMISSION`; `PS_ERR_IO`. Any thread.
///
/// ```c
/// ps_topic_options options = PS_TOPIC_OPTIONS_INIT;
/// options.history_messages = 1000;
/// if (ps_topic_create("news.sports", &options) < 0) {
///     fprintf(stderr, "%s\n", ps_last_error());
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_topic_create(topic: *const c_char, options: *const ps_topic_options) -> c_int {
    fallible(|| {
        // SAFETY: the caller passes NULL or what the header asks for, in each place.
        let (topic, given) = unsafe { (arguments::topic(topic)?, arguments::options(options)?) };
        let mut options = TopicOptions::default();
        if let Some(given) = given {
            let ttl = u64::try_from(given.history_ttl_ms).map_err(|_| {
                invalid(format!("history_ttl_ms is {}; it must be 0 (no limit) or more", given.history_ttl_ms))
            })?;
            options.history_messages = given.history_messages;
            options.history_bytes = given.history_bytes;
            options.history_ttl = (ttl > 0).then(|| Duration::from_millis(ttl));
            // SAFETY: NULL or a string by the header's terms.
            options.home = unsafe { arguments::home_buf(given.home) }?;
        }
        crate::create_topic(topic, &options)?;
        Ok(0)
    })
}

/// Deletes a managed topic and its history, and gives the channels on exactly that topic (not those whose wildcards match) a
/// message of kind `PS_MESSAGE_TOPIC_DELETED`; a channel that stays full for 100 ms does without. Publishing to the topic goes
/// on as to any other.
///
/// `home`: the store; NULL: the default one.
///
/// Answers 0. Errors: `PS_ERR_NOT_FOUND` when it is not managed; `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`;
/// `PS_ERR_PERMISSION`; `PS_ERR_IO`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_topic_delete(topic: *const c_char, home: *const c_char) -> c_int {
    fallible(|| {
        // SAFETY: NULL or strings by the header's terms.
        let (topic, home) = unsafe { (arguments::topic(topic)?, arguments::home(home)?) };
        crate::delete_topic(topic, home)?;
        Ok(0)
    })
}

/// One of a list: what C sees, and what its pointer points to.
#[repr(C)]
struct Entry {
    /// First, so that a pointer to it is one to the entry.
    stats: ps_topic_stats,
    topic: Text,
}

impl Entry {
    fn into_raw(stats: &TopicStats) -> *mut ps_topic_stats {
        let topic = Text::new(&stats.topic);
        let seen = ps_topic_stats {
            size: size_of::<ps_topic_stats>() as u32,
            reserved: 0,
            topic: topic.as_ptr(),
            subscribers: stats.subscribers,
            messages_published: stats.messages_published,
            messages_in_history: stats.messages_in_history,
            bytes_in_history: stats.bytes_in_history,
            epoch: stats.epoch,
            next_offset: stats.next_offset,
            created_us: stats.created_us,
        };
        Box::into_raw(Box::new(Entry { stats: seen, topic })).cast()
    }
}

/// Makes an array of pointers for C; NULL when there are none. Answers how many.
///
/// # Safety
/// `place` is a place for a pointer.
unsafe fn hand_out<T>(entries: Box<[*mut T]>, place: *mut *mut *mut T) -> i64 {
    let count = entries.len();
    let first = if count == 0 { std::ptr::null_mut() } else { Box::into_raw(entries).cast() };
    // SAFETY: the caller's promise.
    unsafe { place.write(first) };
    count as i64
}

/// # Safety
/// `list` and `count` are what [`hand_out`] gave, not yet taken back.
unsafe fn take_back<T>(list: *mut *mut T, count: usize) -> Box<[*mut T]> {
    // SAFETY: with that count it is the array that `hand_out` took apart.
    unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(list, count)) }
}

/// The managed topics of a store, sorted by name. A topic whose history is damaged, or not for this user to read,
/// is left out.
///
/// `home`: the store; NULL: the default one. `list`: an array of pointers, to be freed with `ps_topic_list_free`; NULL when
/// there are none.
///
/// Answers how many. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any thread.
///
/// ```c
/// ps_topic_stats **list;
/// int64_t count = ps_topic_list(NULL, &list);
/// if (count >= 0) {
///     for (int64_t i = 0; i < count; i++) {
///         printf("%s %llu\n", list[i]->topic, (unsigned long long)list[i]->messages_in_history);
///     }
///     ps_topic_list_free(list, (size_t)count);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_topic_list(home: *const c_char, list: *mut *mut *mut ps_topic_stats) -> i64 {
    fallible(|| {
        // SAFETY: NULL or a string by the header's terms.
        let home = unsafe { arguments::home(home) }?;
        let place = output("list", list)?;
        let entries = crate::topics(home)?.iter().map(Entry::into_raw).collect();
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(entries, place) })
    })
}

/// Frees a list of `ps_topic_list`, its entries and their texts.
///
/// `list`: NULL is ignored. `count`: what `ps_topic_list` answered. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_topic_list_free(list: *mut *mut ps_topic_stats, count: usize) {
    infallible((), || {
        if list.is_null() {
            return;
        }
        // SAFETY: what `ps_topic_list` gave, by the header's terms.
        for &entry in &unsafe { take_back(list, count) } {
            // SAFETY: each is what `Entry::into_raw` gave, and its first field.
            drop(unsafe { Box::from_raw(entry.cast::<Entry>()) });
        }
    })
}

/// The last messages of a managed topic, at most `last`, oldest first. Nobody's queue is touched.
///
/// `home`: the store; NULL: the default one. `messages`: an array of pointers, to be freed with `ps_message_list_free`; NULL
/// when there are none.
///
/// Answers how many. Errors: `PS_ERR_NOT_FOUND` when it is not managed; `PS_ERR_CORRUPT` for a damaged history;
/// `PS_ERR_INVALID_TOPIC`; `PS_ERR_INVALID_ARGUMENT`; `PS_ERR_TOO_LARGE` when memory is short; `PS_ERR_PERMISSION`;
/// `PS_ERR_IO`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_topic_history(
    topic: *const c_char,
    home: *const c_char,
    last: u32,
    messages: *mut *mut *mut ps_message,
) -> i64 {
    fallible(|| {
        // SAFETY: NULL or strings by the header's terms.
        let (topic, home) = unsafe { (arguments::topic(topic)?, arguments::home(home)?) };
        let place = output("messages", messages)?;
        let found: Result<Vec<_>> = crate::topic_history(topic, home, last);
        let given = found?.into_iter().map(give).collect();
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        Ok(unsafe { hand_out(given, place) })
    })
}

/// Frees an array that `ps_topic_history` made, and its messages.
///
/// `messages`: NULL is ignored; an entry that is NULL (a message that was kept), too. `count`: what `ps_topic_history`
/// answered. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_message_list_free(messages: *mut *mut ps_message, count: usize) {
    infallible((), || {
        if messages.is_null() {
            return;
        }
        // SAFETY: what `ps_topic_history` gave, by the header's terms.
        for &message in &unsafe { take_back(messages, count) } {
            // SAFETY: NULL or a message that was not yet freed, by the header's terms.
            unsafe { ps_message_free(message) };
        }
    })
}
