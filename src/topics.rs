//! Managed topics: topics that keep a history.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::files;
use crate::history::{self, Appender, Kept, Reader, Terms};
use crate::message::Message;
use crate::publisher;
use crate::store::{self, FRESH_NS, Store};
use crate::sys::clock::{self, Moment};
use crate::sys::directory::{self, Directory, Kind};
use crate::sys::fd::Fd;
use crate::sys::mapping::has_pair_swap;
use crate::sys::{chaos, fork, lock};
use crate::topic::{Pattern, validate_topic};

/// What a managed topic keeps. `TopicOptions::default()` keeps the last 100 messages.
#[derive(Debug, Clone, Default)]
pub struct TopicOptions {
    /// The most messages kept; 0: 100.
    pub history_messages: u32,
    /// The most bytes kept (topics, headers and contents); 0: 64 MiB. A message larger than that is kept alone.
    pub history_bytes: u64,
    /// What is older is never returned; `None`: no limit of age.
    pub history_ttl: Option<Duration>,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
}

/// A place in the history of a managed topic: behind the message that has this epoch and offset. Offset 0: before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resume {
    /// [`Message::epoch`] of the last message had.
    pub epoch: u64,
    /// [`Message::offset`] of the last message had.
    pub offset: u64,
}

/// A managed topic at one moment.
#[derive(Debug, Clone)]
pub struct TopicStats {
    /// Its name.
    pub topic: String,
    /// Live channels that match it, wildcards included; a gateway's channel counts for as many as it serves.
    pub subscribers: u64,
    /// Messages that entered its history since it was created.
    pub messages_published: u64,
    /// Messages in its history now.
    pub messages_in_history: u64,
    /// Their bytes: topics, headers and contents.
    pub bytes_in_history: u64,
    /// Tells this history from those of topics of the same name that were deleted before.
    pub epoch: u64,
    /// The offset that the next message gets. Offsets begin at 1.
    pub next_offset: u64,
    /// When it was created, microseconds since the Unix epoch.
    pub created_us: i64,
}

/// Messages of a history that follow each other.
#[derive(Debug, Clone)]
pub struct HistorySlice {
    /// The history's epoch.
    pub epoch: u64,
    /// The offset to go on from.
    pub next_offset: u64,
    /// Messages at or behind the offset asked for that the history does not have any more.
    pub missed: u64,
    /// Oldest first.
    pub messages: Vec<Message>,
}

/// Default bound of the messages kept.
const HISTORY_MESSAGES: u64 = 100;
/// Default bound of the bytes kept.
const HISTORY_BYTES: u64 = 64 << 20;
/// How often making a topic begins anew when a cleaner takes what is half made for rubbish.
const ATTEMPTS: usize = 16;
/// Bytes of messages read at a time.
const PIECE: usize = 1 << 20;

/// Makes a topic that keeps a history. What is published to it from now on is kept, by every program that uses this library;
/// for formix-pubsub's, see [`Recorder`](crate::Recorder).
///
/// Errors: [`Exists`](ErrorKind::Exists) when it is managed already; [`InvalidTopic`](ErrorKind::InvalidTopic);
/// [`InvalidArgument`](ErrorKind::InvalidArgument) for bounds that no history can have;
/// [`StoreFull`](ErrorKind::StoreFull), [`Permission`](ErrorKind::Permission), [`Io`](ErrorKind::Io); on a network file system, and
/// where the processor has no 16-byte compare-and-swap, [`Unsupported`](ErrorKind::Unsupported).
///
/// ```
/// # let home = tempfile::tempdir()?;
/// # let home = Some(home.path().to_path_buf());
/// use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions, TopicOptions, create_topic};
///
/// create_topic("news.sports", &TopicOptions { home: home.clone(), ..Default::default() })?;
/// let publisher = Publisher::open("news.sports", &PublisherOptions { home: home.clone(), ..Default::default() })?;
/// for score in ["0:0", "0:1", "1:1"] {
///     publisher.publish(score.as_bytes(), None)?;
/// }
///
/// // Who comes late gets the last two, then whatever is new.
/// let mut channel = Channel::open("news.=", &ChannelOptions { replay_last: 2, home, ..Default::default() })?;
/// publisher.publish(b"2:1", None)?;
/// for (score, offset) in [("0:1", 2), ("1:1", 3), ("2:1", 4)] {
///     let message = channel.fetch()?.expect("it is there");
///     assert_eq!((message.data(), message.offset()), (score.as_bytes(), offset));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn create_topic(topic: &str, options: &TopicOptions) -> Result<()> {
    validate_topic(topic)?;
    if !has_pair_swap() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "this processor has no 16-byte compare-and-swap, which histories need",
        ));
    }
    let or_default = |value, default| if value == 0 { default } else { value };
    let messages = or_default(u64::from(options.history_messages), HISTORY_MESSAGES);
    let bytes = or_default(options.history_bytes, HISTORY_BYTES);
    let invalid =
        |what: &str| Error::new(ErrorKind::InvalidArgument, format_args!("the topic '{topic}' cannot {what}"));
    let ttl_us = match options.history_ttl.map(|ttl| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX)) {
        Some(0) => return Err(invalid("keep messages for no time; leave 'history_ttl' out for no limit of age")),
        ttl => ttl.unwrap_or(0),
    };
    let layout = history::layout(messages, bytes)
        .ok_or_else(|| invalid(&format!("keep {messages} messages and {bytes} bytes: at most 2^26 and 64 GiB")))?;
    let store = Store::at(options.home.as_deref())?;
    if store.base().is_remote() {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format_args!(
                "the store {} is on a network file system, which shares no memory: histories need one of this machine",
                store.home().display()
            ),
        ));
    }
    let now = Moment::now();
    let epoch = store.next_ids(now, 1)?;
    let terms = Terms {
        topic: topic.to_string(),
        messages,
        ttl_us,
        epoch,
        created_us: now.wall_us(),
        sums: !store.base().is_in_memory(),
        layout,
    };
    let mut attempt = 0;
    loop {
        match make(&store, &terms) {
            // A cleaner took the half-made directory for rubbish, or somebody removed `tmp`.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                let ensured = directory::ensure(store.base(), files::TMP);
                ensured.map_err(|e| Error::os("making 'tmp' in the store", e))?;
                attempt += 1;
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::ENOTEMPTY)) => {
                return Err(Error::new(ErrorKind::Exists, format_args!("the topic '{topic}' is managed already")));
            }
            result => {
                let home = store.home().display();
                return result.map_err(|e| Error::os(format_args!("creating the topic '{topic}' in {home}"), e));
            }
        }
    }
}

/// Makes the topic's directory under `tmp` and renames it into the store. Returns no sooner than every publisher sees it.
fn make(store: &Store, terms: &Terms) -> io::Result<()> {
    let (base, access) = (store.base(), store.access());
    let draft = CString::new(store::new_directory_name(&store::random_part()))?;
    // Publishers remove each other's large messages.
    base.make_directory(&draft, access.channel_directory(true))?;
    chaos::point("topic.directory");
    let made = (|| {
        let inside = CString::new([draft.as_bytes(), b"/", history::FILE].concat())?;
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let file = fork::not_amid_fork(|| base.open_at(&inside, flags, access.file()).map(Fd::new))?;
        chaos::point("topic.unlocked");
        lock::try_lock(file.get()?, history::RECORDER)?;
        directory::set_mode(file.get()?, access.file())?;
        history::create(file.get()?, terms)?;
        // On a disk: a topic that is there is whole.
        directory::sync(file.get()?)?;
        chaos::point("topic.locked");
        base.rename(&draft, &CString::new(history::directory_name(&terms.topic))?)?;
        chaos::point("topic.renamed");
        Ok(())
    })();
    if made.is_err() {
        let _ = store::remove_channel(base, draft.as_bytes());
    } else {
        clock::spin_ns(FRESH_NS);
    }
    made
}

fn not_managed(topic: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("the topic '{topic}' is not managed: it keeps no history; create it first"),
    )
}

/// Deletes a managed topic and its history, and gives the channels on exactly that topic (not those whose wildcards match) a
/// message of kind [`TopicDeleted`](crate::MessageKind::TopicDeleted); a channel that stays full for 100 ms does without.
/// Publishing to the topic goes on as to any other.
///
/// Errors: [`NotFound`](ErrorKind::NotFound) when it is not managed; [`InvalidTopic`](ErrorKind::InvalidTopic);
/// [`Permission`](ErrorKind::Permission), [`Io`](ErrorKind::Io).
pub fn delete_topic(topic: &str, home: Option<&Path>) -> Result<()> {
    validate_topic(topic)?;
    let store = Store::at(home)?;
    let base = store.base();
    let nothing_to_delete = || {
        Error::new(ErrorKind::NotFound, format_args!("the topic '{topic}' is not managed: there is nothing to delete"))
    };
    let appender = match Appender::open(base, topic, store.outboxes()) {
        Ok(Some(appender)) => Some(appender),
        Ok(None) => return Err(nothing_to_delete()),
        // A damaged one can be deleted, too.
        Err(_) => None,
    };
    let failed = |e: io::Error| Error::os(format_args!("deleting the topic '{topic}'"), e);
    let name = CString::new(history::directory_name(topic)).map_err(|e| failed(e.into()))?;
    // From here on it is not managed. Of two that delete it, one succeeds.
    let dead = match store::move_to_dead(base, &name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(nothing_to_delete()),
        result => result.map_err(failed)?,
    };
    chaos::point("topic.deleted");
    // Publishers that have not noticed.
    let epoch = match &appender {
        Some(appender) => {
            appender.close();
            appender.epoch()
        }
        None => store.next_ids(Moment::now(), 1)?,
    };
    let told = publisher::announce_deletion(&store, topic, epoch);
    store::delete(base, dead);
    told
}

/// The managed topics of a store (`None`: the default one), sorted by name. A store that is not there has none; looking does
/// not make it. A topic whose history is damaged, or not for this user to read, is left out: [`topic_stats`] says what is wrong.
pub fn topics(home: Option<&Path>) -> Result<Vec<TopicStats>> {
    let Some((home, base)) = look(home)? else { return Ok(Vec::new()) };
    let failed = |e| Error::os(format_args!("listing the store {}", home.display()), e);
    let mut names = Vec::new();
    base.list(c".", |entry| {
        names.extend(history::topic_of(entry.name).filter(|_| entry.kind == Kind::Directory).map(str::to_owned));
        true
    })
    .map_err(failed)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    names.sort_unstable();
    let subscriptions = store::subscriptions(&base).map_err(failed)?;
    let mut found = Vec::new();
    for name in names {
        match stats(&base, &name, &subscriptions) {
            Ok(stats) => found.extend(stats),
            // What one member of a group leaves in the store does not keep the others from their list.
            Err(error)
                if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported | ErrorKind::Permission) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// One managed topic.
///
/// Errors: [`NotFound`](ErrorKind::NotFound) when it is not managed; [`Corrupt`](ErrorKind::Corrupt) for a damaged history.
pub fn topic_stats(topic: &str, home: Option<&Path>) -> Result<TopicStats> {
    validate_topic(topic)?;
    let Some((home, base)) = look(home)? else { return Err(not_managed(topic)) };
    let subscriptions = store::subscriptions(&base);
    let subscriptions =
        subscriptions.map_err(|e| Error::os(format_args!("listing the store {}", home.display()), e))?;
    stats(&base, topic, &subscriptions)?.ok_or_else(|| not_managed(topic))
}

/// The store's directory, if there is one.
fn look(home: Option<&Path>) -> Result<Option<(&Path, Directory)>> {
    let home = home.unwrap_or_else(|| store::home());
    match Directory::open(home) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::os(format_args!("opening the store {}", home.display()), error)),
        Ok(base) => Ok(Some((home, base))),
    }
}

fn stats(base: &Directory, topic: &str, subscriptions: &[(Pattern, u64)]) -> Result<Option<TopicStats>> {
    let Some(mut reader) = Reader::open(base, topic)? else { return Ok(None) };
    let (first, end) = reader.range()?;
    let first = reader.first_fresh(first, end)?;
    let (messages_in_history, bytes_in_history) = reader.contents(first, end)?;
    let matching = subscriptions.iter().filter(|(pattern, _)| pattern.matches(topic));
    let terms = reader.terms();
    Ok(Some(TopicStats {
        topic: topic.to_string(),
        subscribers: matching.fold(0, |sum, (_, count)| sum.saturating_add(*count)),
        messages_published: end - 1,
        messages_in_history,
        bytes_in_history,
        epoch: terms.epoch,
        next_offset: end,
        created_us: i64::try_from(terms.created_us).unwrap_or(i64::MAX),
    }))
}

/// The last messages of a managed topic, at most `last`, oldest first.
///
/// Errors: [`NotFound`](ErrorKind::NotFound) when it is not managed; [`Corrupt`](ErrorKind::Corrupt) for a damaged history.
pub fn topic_history(topic: &str, home: Option<&Path>, last: u32) -> Result<Vec<Message>> {
    with_history(topic, home, |reader| {
        let (first, end) = reader.range()?;
        let first = first.max(end.saturating_sub(u64::from(last)));
        Ok(read(reader, first, first, end, usize::MAX)?.messages)
    })
}

/// Messages of a managed topic from an offset on (0: from the oldest that there is), at most `max`, oldest first.
///
/// Errors as [`topic_history`].
pub fn topic_history_from(topic: &str, home: Option<&Path>, offset: u64, max: usize) -> Result<HistorySlice> {
    with_history(topic, home, |reader| {
        let (first, end) = reader.range()?;
        let asked = if offset == 0 { first } else { offset.min(end) };
        read(reader, asked, asked.max(first), end, max)
    })
}

fn with_history<T>(topic: &str, home: Option<&Path>, read: impl FnOnce(&mut Reader<'_>) -> Result<T>) -> Result<T> {
    validate_topic(topic)?;
    let Some((_, base)) = look(home)? else { return Err(not_managed(topic)) };
    let mut reader = Reader::open(&base, topic)?.ok_or_else(|| not_managed(topic))?;
    read(&mut reader)
}

/// From `from` on; `asked` is where the caller has got to.
fn read(reader: &mut Reader<'_>, asked: u64, from: u64, end: u64, max: usize) -> Result<HistorySlice> {
    let mut slice = HistorySlice { epoch: reader.terms().epoch, next_offset: asked, missed: 0, messages: Vec::new() };
    let mut next = from;
    'read: while next < end {
        let batch = reader.batch(next, end, PIECE)?;
        next = batch.next;
        for (offset, kept) in batch.kept {
            if slice.messages.len() >= max {
                break 'read;
            }
            if let Kept::Message(message) = kept {
                slice.missed += offset - slice.next_offset;
                slice.next_offset = offset + 1;
                slice.messages.push(message);
            }
        }
    }
    if slice.messages.len() < max {
        slice.missed += end - slice.next_offset;
        slice.next_offset = end;
    }
    Ok(slice)
}
