//! A channel's ends: what libpubsub publishers send by a ring goes through here into it (see `ring`). All else travels by the
//! files transport: a file a message, hard-linked into the channels' directories, and a FIFO of ids, as
//! formix-pubsub does it, without its losses.
//!
//! **The directory is the truth, the FIFO an index of it that also wakes.** A message is in the queue from the moment in
//! which its file has its name there; it is out when somebody has removed that name, and whoever removes it, the receiver
//! or a publisher that drops the oldest, has it. An id in the FIFO whose file is gone means nothing. So:
//!
//! - *An id that does not fit into the FIFO is not lost*: the publisher leaves the file, raises the overflow mark on the
//!   control page, and tries the FIFO once more. The receiver looks at the mark before it reads from the FIFO; when it is
//!   up, it empties the FIFO, lists the directory and sorts what it found by id (ids rise along each publisher's
//!   messages, so each publisher's order holds). It does the same when it finds the FIFO full, for formix publishers do
//!   not know the mark and leave files behind when it is full, and when an id had no file, for stray bytes in the FIFO
//!   shift everything behind them.
//! - *No wake-up is lost*: the mark is up before the last attempt to write, and the receiver looks at the mark after it
//!   has emptied the FIFO. If that attempt failed, the FIFO was full after the mark was up, so it is not empty and the
//!   receiver will look again.
//! - *A publisher killed between linking and ringing* leaves a whole message without an id. The queue's figures tell: the
//!   receiver that finds the queue empty but its figure not, for [`SETTLE`], lists the directory.
//!
//! Towards a formix channel a publisher does as formix expects: the file goes again when its id does not fit.

#![forbid(unsafe_code)]

mod figures;
mod inbox;
mod outbox;
mod spool;
mod trailer;

pub(crate) use figures::{Figures, unread};
pub(crate) use inbox::{FIRST_READ, Inbox, read_message};
pub(crate) use outbox::{Delivery, Outbox, message_id};
pub(crate) use spool::{FORMIX_TMP_AGE, FileMode, MessageFile, NEW, TMP};
pub(crate) use trailer::{TRAILER, bytes as trailer};

use std::time::Duration;

/// The FIFO's name in a channel's directory.
pub(crate) const QUEUE: &[u8] = b"queue";

/// For how long a queue's figure must disagree with an empty directory before it counts as left by the dead: longer than a
/// living publisher is kept from the processor on a busy machine. One that is slower still loses nothing by it: its message is
/// delivered, and the figure is off by one until the next healing.
const SETTLE: Duration = Duration::from_millis(200);
