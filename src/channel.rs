//! The receiving end: a channel is one subscription with a queue of its own.

#![forbid(unsafe_code)]

mod fetch;
mod making;
mod sources;

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};

use crate::control::{FullPolicy, Terms, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::files::Inbox;
use crate::history;
use crate::message::id::TOKEN;
use crate::monitor::Monitor;
use crate::order::Order;
use crate::replay::{Beginning, Replay};
use crate::ring::RingInbox;
use crate::store::{self, ChannelStats, Store};
use crate::sys::chaos;
use crate::sys::clock;
use crate::sys::fd::Fd;
use crate::sys::fifo;
use crate::sys::process;
use crate::topic::Pattern;
use crate::topics::Resume;

/// Default bound of the unread messages: twice what a formix-pubsub queue holds.
const CAPACITY_MESSAGES: u64 = 16_384;
/// Default bound of the unread bytes.
const CAPACITY_BYTES: u64 = 64 << 20;

/// How to open a channel. `ChannelOptions::default()` is right for most.
#[derive(Debug, Clone, Default)]
pub struct ChannelOptions {
    /// What happens when the queue is full.
    pub full_policy: FullPolicy,
    /// How messages travel.
    pub transport: Transport,
    /// Bound of the unread bytes (topic, headers and content as they are stored); 0: 64 MiB.
    pub capacity_bytes: u64,
    /// Bound of the unread messages; 0: 16,384.
    pub capacity_messages: u64,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
    /// Begin with the last so many messages of each managed topic that matches, oldest first; 0: none.
    pub replay_last: u32,
    /// Begin behind this message of the history (exact topics only): everything newer, or what is still there of it
    /// ([`Message::dropped_before`], or another [`Message::epoch`], tell). Instead of `replay_last`.
    pub resume: Option<Resume>,
}

/// One subscription: it receives what is published to topics that its pattern matches, from the moment
/// [`open`](Channel::open) returns until it is closed or dropped. What is unread then is gone.
///
/// Receiving takes `&mut self`: one thread at a time. To end another thread's wait, take an [`Interrupter`] first.
/// After `fork`, the child's inherited channels answer [`ErrorKind::Closed`], and dropping them does nothing to the
/// parent's.
///
/// ```
/// # let home = tempfile::tempdir()?;
/// use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};
///
/// let options = ChannelOptions { home: Some(home.path().into()), ..Default::default() };
/// let mut channel = Channel::open("news.=", &options)?;
///
/// let options = PublisherOptions { home: Some(home.path().into()), ..Default::default() };
/// let publisher = Publisher::open("news.sports", &options)?;
/// assert_eq!(publisher.publish(b"3:1", None)?, 1);
///
/// let message = channel.fetch()?.expect("it was published before");
/// assert_eq!((message.topic(), message.data()), ("news.sports", &b"3:1"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Channel {
    store: Arc<Store>,
    topic: String,
    path: PathBuf,
    /// Its directory's name in the store.
    name: String,
    inbox: Inbox,
    /// Where the messages of libpubsub publishers come from, unless they travel by files.
    ring: Option<RingInbox>,
    /// What comes from histories first.
    replay: Option<Box<Replay>>,
    /// In which order messages of managed topics are given.
    order: Order,
    /// Messages taken from the ring since the FIFO was looked at, and when that was, monotonic nanoseconds.
    turn: usize,
    looked: u64,
    interrupt: Arc<Interrupt>,
    monitor: Monitor,
    closed: bool,
}

#[derive(Debug)]
struct Interrupt {
    pending: AtomicBool,
    closed: AtomicBool,
    fifo: Arc<Fd>,
}

/// Ends a wait of the channel that it was taken from; any thread, and from a signal handler.
#[derive(Debug, Clone)]
pub struct Interrupter {
    interrupt: Arc<Interrupt>,
}

impl Interrupter {
    /// Ends the current wait with [`ErrorKind::Interrupted`], or if there is none the next one, once. Does nothing once the
    /// channel is closed, and in a forked child. Async-signal-safe; the caller keeps errno (one write(2) may change it).
    pub fn interrupt(&self) {
        if self.interrupt.closed.load(Relaxed) {
            return;
        }
        let Ok(fifo) = self.interrupt.fifo.get() else { return };
        // The flag before the wake-up: who wakes sees it. SeqCst keeps it before the system call's own effects.
        self.interrupt.pending.store(true, SeqCst);
        // A full FIFO wakes as well.
        let _ = fifo::write_own_entry(fifo, TOKEN);
    }
}

/// Why [`Channel::fetch_packed`] wrote nothing.
#[derive(Debug)]
pub enum PackError {
    /// The next record alone needs a buffer of this many bytes; it stays in the queue.
    TooSmall(usize),
    /// Anything else.
    Failed(Error),
}

impl From<Error> for PackError {
    fn from(error: Error) -> PackError {
        PackError::Failed(error)
    }
}

impl Channel {
    /// Opens a channel on a topic or pattern (`news.=`, `logs.+`).
    ///
    /// Errors: [`InvalidTopic`](ErrorKind::InvalidTopic); [`StoreFull`](ErrorKind::StoreFull),
    /// [`Permission`](ErrorKind::Permission) and [`Io`](ErrorKind::Io) from the store;
    /// [`Unsupported`](ErrorKind::Unsupported) for a ring where memory cannot be shared (a network file system, a
    /// processor without 16-byte compare-and-swap).
    /// With [`resume`](ChannelOptions::resume): [`InvalidArgument`](ErrorKind::InvalidArgument) for a pattern with wildcards,
    /// [`NotFound`](ErrorKind::NotFound) for a topic that is not managed.
    pub fn open(topic: &str, options: &ChannelOptions) -> Result<Channel> {
        Channel::open_for(topic, options, false)
    }

    /// A channel that libpubsub publishers pass by: a recorder's.
    pub(crate) fn open_for_foreign(topic: &str, options: &ChannelOptions) -> Result<Channel> {
        Channel::open_for(topic, options, true)
    }

    fn open_for(topic: &str, options: &ChannelOptions, for_foreign: bool) -> Result<Channel> {
        let pattern = Pattern::parse(topic)?;
        let beginning = beginning(&pattern, options)?;
        let transport = making::transport(options.transport)?;
        let store = Store::at(options.home.as_deref())?;
        let or_default = |value, default| if value == 0 { default } else { value };
        let terms = Terms {
            pattern: topic.to_string(),
            transport,
            policy: options.full_policy,
            capacity_messages: or_default(options.capacity_messages, CAPACITY_MESSAGES),
            capacity_bytes: or_default(options.capacity_bytes, CAPACITY_BYTES),
            pid: process::pid(),
            opened_us: clock::wall_us(),
            for_foreign,
            ring: None,
        };
        let mut terms = terms;
        if transport == Transport::Ring {
            if store.base().is_remote() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format_args!(
                        "the store {} is on a network file system, where memory cannot be shared; use a local one, or \
                         files (PUBSUB_TRANSPORT=files) on one host",
                        store.home().display()
                    ),
                ));
            }
            terms.ring = Some(making::layout(&terms)?);
        }
        let failed = |e| Error::os(format_args!("opening a channel on '{topic}' in {}", store.home().display()), e);
        let begun_us = clock::wall_us();
        let made = match making::make(&store, &pattern, &terms).map_err(failed) {
            // It may be the dead who fill it.
            Err(error) if error.kind() == ErrorKind::StoreFull => {
                store::make_space(&store);
                making::make(&store, &pattern, &terms).map_err(failed)
            }
            result => result,
        }?;
        let (name, inbox) = (made.name, made.inbox);
        let interrupt = Interrupt {
            pending: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            fifo: Arc::clone(inbox.fifo()),
        };
        let path = store.home().join(&name);
        let (control, held) = inbox.shared();
        let ring = control.terms().ring.map(|layout| {
            RingInbox::new(layout, Arc::clone(&control), held, Arc::clone(store.base()), name.as_bytes())
        });
        let mut channel = Channel {
            ring,
            replay: None,
            order: Order::new((pattern.is_exact() || beginning.is_some()).then_some(begun_us)),
            turn: 0,
            looked: 0,
            topic: topic.to_string(),
            monitor: Monitor::new(topic.to_string(), path.clone(), Arc::new(inbox.figures())),
            path,
            store,
            name,
            inbox,
            interrupt: Arc::new(interrupt),
            closed: false,
        };
        // While the channel settles anyway.
        store::clean_step(&channel.store);
        made.settling.end();
        // Now that what is new waits in its queue.
        if let Some(beginning) = beginning {
            let joined_us = clock::wall_us();
            channel.inbox.shared().0.set_joined(joined_us);
            channel.replay = Replay::open(&channel.store, &pattern, beginning, begun_us..joined_us)?;
            let ends = channel.replay.iter().flat_map(|replay| replay.ends());
            ends.for_each(|(epoch, offset)| channel.order.begin(epoch, offset));
        } else if pattern.is_exact() && !for_foreign {
            // A damaged history is no matter of who reads none of it.
            if let Some((epoch, end)) = history::end(channel.store.base(), topic) {
                channel.order.begin(epoch, end);
            }
        }
        Ok(channel)
    }

    /// The pattern it was opened with.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its store.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Its directory's name in the store.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it can still receive: this process opened it, and nobody has deleted its directory.
    pub(crate) fn is_usable(&self) -> bool {
        self.interrupt.fifo.is_here() && self.inbox.is_there()
    }

    /// An error in a forked child.
    fn here(&self) -> Result<()> {
        if self.interrupt.fifo.is_here() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            format_args!("the channel on '{}' belongs to the process that forked this one; open one here", self.topic),
        ))
    }

    /// A descriptor that is readable as long as a message waits; valid until the channel is closed. For poll, epoll and
    /// their like: never read, write or close it. When it is readable, fetch until there is nothing.
    pub fn fd(&mut self) -> Result<RawFd> {
        self.here()?;
        self.inbox.use_fd()?;
        self.stay_readable()?;
        Ok(self.interrupt.fifo.raw())
    }

    /// The [descriptor](Channel::fd), lent: for callers that poll without unsafe code.
    pub fn as_fd(&mut self) -> Result<BorrowedFd<'_>> {
        self.fd()?;
        self.interrupt.fifo.get().map_err(|e| Error::os(format_args!("using the descriptor of '{}'", self.topic), e))
    }

    /// Until a fetch finds nothing, the [descriptor](Channel::fd) need not become readable: for an event loop that is about to publish
    /// to its own channel and fetches until there is nothing before it waits again. That saves a few system calls, and may save
    /// waking another thread. Who waits without that fetch may wait for ever.
    ///
    /// ```
    /// # let home = tempfile::tempdir_in("/dev/shm")?;
    /// # let options = pubsub::ChannelOptions { home: Some(home.path().into()), ..Default::default() };
    /// # let publisher_options = pubsub::PublisherOptions { home: Some(home.path().into()), ..Default::default() };
    /// let mut channel = pubsub::Channel::open("a.b", &options)?;
    /// let mut publisher = pubsub::Publisher::open("a.b", &publisher_options)?;
    /// let fd = channel.fd()?; // in an event loop
    /// channel.disarm();
    /// publisher.publish(b"x", None)?;
    /// while let Some(message) = channel.fetch()? {
    ///     assert_eq!(message.data(), b"x");
    /// }
    /// // Now wait for `fd` again.
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disarm(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.disarm();
        }
    }

    /// Takes back what a runtime that can only wait by reading (Node) has read from the [descriptor](Channel::fd). To be
    /// called before the next fetch.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<()> {
        self.here()?;
        self.inbox.feed(bytes)?;
        self.stay_readable()
    }

    /// A handle that can end this channel's waits from elsewhere.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { interrupt: Arc::clone(&self.interrupt) }
    }

    /// Says for how many subscribers this channel stands (1 when nobody says), for [`TopicStats`](crate::TopicStats): a gateway
    /// serves many with one.
    pub fn set_subscribers(&self, subscribers: u64) {
        self.inbox.shared().0.set_subscribers(subscribers);
    }

    /// Counters and bounds, now.
    pub fn stats(&self) -> Result<ChannelStats> {
        self.monitor.stats()
    }

    /// Reads [`stats`](Channel::stats) from elsewhere, also while this channel receives.
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// Closes it: what is unread is gone. Dropping a channel does the same and ignores errors.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.closed, true) {
            return Ok(());
        }
        self.interrupt.closed.store(true, Relaxed);
        if !self.interrupt.fifo.is_here() {
            return Ok(());
        }
        if let Some(ring) = &self.ring {
            ring.close();
        }
        chaos::point("close.begin");
        match store::remove_own_channel(self.store.base(), self.name.as_bytes()) {
            // Somebody deleted it: that is what was wanted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|e| Error::os(format_args!("closing the channel on '{}'", self.topic), e)),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let _ = self.shut();
    }
}

/// Where to begin.
fn beginning(pattern: &Pattern, options: &ChannelOptions) -> Result<Option<Beginning>> {
    match (options.resume, options.replay_last) {
        (Some(_), _) if !pattern.is_exact() => Err(Error::new(
            ErrorKind::InvalidArgument,
            format_args!(
                "a channel on '{}' cannot resume: each topic has a history of its own; open a channel on one topic",
                pattern.as_str()
            ),
        )),
        (Some(resume), _) => Ok(Some(Beginning::Behind(resume))),
        (None, 0) => Ok(None),
        (None, last) => Ok(Some(Beginning::Last(last))),
    }
}
