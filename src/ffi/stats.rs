//! What is known about channels: of one's own, and of a store's.

use std::ffi::c_char;
use std::os::unix::ffi::OsStrExt;

use super::arguments::{self, invalid, output};
use super::channel::{PS_TRANSPORT_DEFAULT, PS_TRANSPORT_FILES, PS_TRANSPORT_RING};
use super::guard::{fallible, infallible};
use super::text::Text;
use crate::error::Result;
use crate::{ChannelStats, Transport};

/// A channel as its receiver or a monitor sees it. Fields are only ever appended.
#[repr(C)]
pub struct ps_channel_stats {
    /// `sizeof(ps_channel_stats)`.
    pub size: u32,
    /// How messages travel to it: `PS_TRANSPORT_RING` or `PS_TRANSPORT_FILES`.
    pub transport: u32,
    /// Whether its receiver lives.
    pub alive: bool,
    /// Whether it is a formix-pubsub channel. Then only topic, path, pid, alive and the unread figures mean anything.
    pub foreign: bool,
    /// The receiver's process id, as the receiver's own namespace knows it.
    pub pid: i64,
    /// Messages waiting.
    pub unread_messages: u64,
    /// Bytes waiting.
    pub unread_bytes: u64,
    /// The bound of messages.
    pub capacity_messages: u64,
    /// The bound of bytes.
    pub capacity_bytes: u64,
    /// Messages fetched so far.
    pub received: u64,
    /// Messages refused because it was full.
    pub rejected: u64,
    /// Messages dropped to make room.
    pub dropped: u64,
    /// Entries that could not be parsed.
    pub malformed: u64,
    /// The topic or pattern it was opened with. Owned by the stats (`ps_channel_list`) or by the channel
    /// (`ps_channel_stats_get`).
    pub topic: *const c_char,
    /// Its directory; owned as `topic` is.
    pub path: *const c_char,
}

/// The struct's size in the first version.
const FIRST_SIZE: usize = 104;

impl ps_channel_stats {
    pub(super) fn from(stats: &ChannelStats, topic: *const c_char, path: *const c_char) -> ps_channel_stats {
        ps_channel_stats {
            size: size_of::<ps_channel_stats>() as u32,
            transport: match stats.transport {
                Transport::Default => PS_TRANSPORT_DEFAULT,
                Transport::Ring => PS_TRANSPORT_RING,
                Transport::Files => PS_TRANSPORT_FILES,
            },
            alive: stats.alive,
            foreign: stats.foreign,
            pid: stats.pid,
            unread_messages: stats.unread_messages,
            unread_bytes: stats.unread_bytes,
            capacity_messages: stats.capacity_messages,
            capacity_bytes: stats.capacity_bytes,
            received: stats.received,
            rejected: stats.rejected,
            dropped: stats.dropped,
            malformed: stats.malformed,
            topic,
            path,
        }
    }

    /// How many bytes to write to a caller's struct: what it has room for, at most what we know.
    ///
    /// # Safety
    /// `stats` is NULL or has a `size` that can be read.
    pub(super) unsafe fn size_wanted(stats: *const ps_channel_stats) -> Result<usize> {
        let stats = output("stats", stats.cast_mut())?;
        // SAFETY: not NULL, and it has a size by the caller's promise; the rest may be anything yet.
        let size = unsafe { (&raw const (*stats).size).read() } as usize;
        if size < FIRST_SIZE {
            return Err(invalid(format!(
                "ps_channel_stats.size is {size}, less than {FIRST_SIZE}; set it to sizeof(ps_channel_stats)"
            )));
        }
        Ok(size.min(size_of::<ps_channel_stats>()))
    }

    /// Writes the first `size` bytes, and says so in the `size` there.
    ///
    /// # Safety
    /// `stats` has room for `size` bytes, and [`size_wanted`](Self::size_wanted) gave that size.
    pub(super) unsafe fn write_to(mut self, stats: *mut ps_channel_stats, size: usize) {
        self.size = size as u32;
        // SAFETY: the caller's promise is ours, and ours has at least that many bytes.
        unsafe { std::ptr::copy_nonoverlapping((&raw const self).cast::<u8>(), stats.cast::<u8>(), size) };
    }
}

/// One of a list: what C sees, and what its pointers point to.
#[repr(C)]
struct Entry {
    /// First, so that a pointer to it is one to the entry.
    stats: ps_channel_stats,
    topic: Text,
    path: Text,
}

impl Entry {
    fn into_raw(stats: &ChannelStats) -> *mut ps_channel_stats {
        let (topic, path) = (Text::new(&stats.topic), Text::new(stats.path.as_os_str().as_bytes()));
        let seen = ps_channel_stats::from(stats, topic.as_ptr(), path.as_ptr());
        Box::into_raw(Box::new(Entry { stats: seen, topic, path })).cast()
    }
}

/// The channels of a store, formix-pubsub's included, dead ones marked.
///
/// `home`: the store; NULL: the default one. `list`: an array of pointers, to be freed with `ps_channel_list_free`; NULL
/// when there are none.
///
/// Answers how many. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any thread.
///
/// ```c
/// ps_channel_stats **list;
/// int64_t count = ps_channel_list(NULL, &list);
/// if (count >= 0) {
///     for (int64_t i = 0; i < count; i++) {
///         printf("%s %s\n", list[i]->topic, list[i]->alive ? "alive" : "dead");
///     }
///     ps_channel_list_free(list, (size_t)count);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_list(home: *const c_char, list: *mut *mut *mut ps_channel_stats) -> i64 {
    fallible(|| {
        // SAFETY: NULL or a string by the header's terms.
        let home = unsafe { arguments::home(home) }?;
        let place = output("list", list)?;
        let entries: Box<[_]> = crate::list_channels(home)?.iter().map(Entry::into_raw).collect();
        let count = entries.len();
        let first = if count == 0 { std::ptr::null_mut() } else { Box::into_raw(entries).cast() };
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        unsafe { place.write(first) };
        Ok(count as i64)
    })
}

/// Frees a list of `ps_channel_list`, its entries and their texts.
///
/// `list`: NULL is ignored. `count`: what `ps_channel_list` answered. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_channel_list_free(list: *mut *mut ps_channel_stats, count: usize) {
    infallible((), || {
        if list.is_null() {
            return;
        }
        // SAFETY: with that count it is the array that `ps_channel_list` took apart, by the header's terms.
        let entries = unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(list, count)) };
        for &entry in &entries {
            // SAFETY: each is what `Entry::into_raw` gave, and its first field.
            drop(unsafe { Box::from_raw(entry.cast::<Entry>()) });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_s_size_is_that_of_its_fields() {
        assert_eq!(FIRST_SIZE, std::mem::offset_of!(ps_channel_stats, path) + size_of::<*const c_char>());
    }
}
