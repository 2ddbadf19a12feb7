//! Histories: what a managed topic keeps of its messages.
//!
//! A managed topic is the directory `.topic.{topic}` in the store. It holds one file, `history`, and a file for each message
//! that is too large for it. The file is a page that says what it is (see [`page`]), and behind that the same queue as a channel's
//! ring that drops the oldest (see [`crate::ring`]), with nobody who consumes:
//!
//! - *Appending* is publishing to that ring: a record is written into a chunk that the publisher owns, and one 16-byte
//!   compare-and-swap puts it into the first empty slot. The slot's position, counted from 1, is the message's **offset**. So
//!   all messages of a topic have one order, a publisher that is killed or stopped at any point harms nobody, and when there are
//!   more messages or bytes than are kept, `head` moves on.
//! - *Reading* takes nothing and writes nothing: slots and records are copied by `pread`, and `head` is looked at afterwards
//!   (see [`crate::ring::Look`]). What `head` has passed by then counts as gone.
//! - *The file outlives its publishers*, and on a disk the machine. Lock bytes are gone with their holders, so a chunk that a
//!   dead publisher owned is taken from it as in any ring. On a disk a record has a check sum of its content: after a power
//!   failure a slot may be on the disk whose record is not. Such a position counts as gone.
//! - *An append that fails* (no memory, even after older messages made room) loses nobody a live message. The page notes where
//!   it was ([`page::W_LOST`]), so that who resumes from before it is told that not all can be had.

#![forbid(unsafe_code)]

mod append;
mod page;
mod read;
mod record;

pub(crate) use append::{Appended, Appender, Sender};
pub(crate) use page::{FILE, RECORDER, Terms, create, directory_name, layout, note_opening, topic_of};
pub(crate) use read::{Kept, Reader, end, stray_files};
pub(crate) use record::Entry;

use crate::control::Unusable;
use crate::error::{Error, ErrorKind};

/// What kept a topic's history from being used.
pub(crate) fn unusable(unusable: Unusable, topic: &str) -> Error {
    match unusable {
        Unusable::Version(version) => Error::new(
            ErrorKind::Unsupported,
            format_args!("the history of '{topic}' has format {version}, made by another version of libpubsub"),
        ),
        Unusable::Corrupt(what) => Error::new(
            ErrorKind::Corrupt,
            format_args!("the history of '{topic}' is corrupt ({what}); delete the topic and create it again"),
        ),
        // A link (which is never followed), a socket, a directory: whoever may write to the store can leave one there.
        Unusable::Io(error)
            if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO | libc::ENODEV | libc::EISDIR)) =>
        {
            self::unusable(Unusable::Corrupt("it is not a file"), topic)
        }
        Unusable::Io(error) => Error::os(format_args!("opening the history of '{topic}'"), error),
    }
}
