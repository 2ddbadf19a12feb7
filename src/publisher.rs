//! The sending end: match, deliver, count.
//!
//! A publish looks for channels that came or went (at most once in 5 us), takes the matching ones, reserves room in each,
//! writes the message to one file, links it into each channel and rings it. No lock is held while it does, so no publisher
//! waits for another.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Delivery, FileMode, MessageFile, Outbox};
use crate::history::{Appended, Appender, Entry};
use crate::message::id::is_native;
use crate::message::{DELETED, Headers, Message, v1};
use crate::ring::Record;
use crate::store::{Managed, Store, Target};
use crate::sys::chaos;
use crate::sys::clock::{self, Deadline};
use crate::sys::fifo::{self, Wait};
use crate::sys::fork;
use crate::topic::validate_topic;

/// How to open a publisher.
#[derive(Debug, Clone, Default)]
pub struct PublisherOptions {
    /// How long a publish waits for room in channels that reject; zero: not at all.
    pub full_timeout: Duration,
    /// The store; `None`: [`home()`](crate::home).
    pub home: Option<PathBuf>,
}

/// One message of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// The content, up to 4 GiB - 1.
    pub data: &'a [u8],
    /// Its headers.
    pub headers: Option<&'a Headers>,
}

/// Publishes to one topic; faster than [`publish()`] for many messages. Any thread, several at once; each thread's messages
/// arrive in its order.
///
/// After `fork`, the child's inherited publishers answer [`ErrorKind::Closed`].
#[derive(Debug)]
pub struct Publisher {
    topic: String,
    home: Option<PathBuf>,
    full_timeout: Duration,
    generation: u64,
    route: Mutex<Route>,
}

/// The channels that match, as of a version of the registry.
#[derive(Debug, Clone)]
struct Route {
    store: Arc<Store>,
    version: u64,
    targets: Arc<[Arc<Target>]>,
    /// The topic's history, if it is managed.
    managed: Option<Arc<Managed>>,
}

thread_local! {
    static LAST_REJECTED: Cell<u32> = const { Cell::new(0) };
    /// What stands before the content, put together here.
    static PREFIX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A publisher that keeps a larger prefix than this gives the memory back.
const PREFIX_KEPT: usize = 64 << 10;

/// Lends the thread's prefix. What a program publishes while it ends (in the destructors of static objects) finds its
/// thread's storage gone, and has one of its own.
fn with_prefix<T>(body: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut prefix = PREFIX.try_with(RefCell::take).unwrap_or_default();
    let answer = body(&mut prefix);
    let _ = PREFIX.try_with(|kept| kept.replace(prefix));
    answer
}

/// Matching channels that refused this thread's last publish.
pub fn last_rejected() -> u32 {
    LAST_REJECTED.get()
}

/// Publishes one message to a topic of the default store; answers how many channels took it. Any thread.
///
/// Errors as [`Publisher::publish`]; [`InvalidTopic`](ErrorKind::InvalidTopic).
pub fn publish(topic: &str, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    validate_topic(topic)?;
    let route = Route::new(None, topic)?;
    let json = headers.filter(|headers| !headers.is_empty()).map(Headers::to_json);
    route.deliver(topic, data, json.as_deref().unwrap_or("{}"), Duration::ZERO)
}

impl Route {
    fn new(home: Option<&Path>, topic: &str) -> Result<Route> {
        // A store that was deleted while it was known is made anew, once.
        for last in [false, true] {
            let store = Store::at(home)?;
            match store.registry().refresh(&store) {
                Ok(version) => {
                    let targets = store.registry().matching(topic).into();
                    let managed = store.registry().managed(topic);
                    return Ok(Route { store, version, targets, managed });
                }
                Err(_) if store.is_gone() && !last => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Io, "the store is deleted again and again"))
    }
}

impl Publisher {
    /// A publisher for this topic (no wildcards).
    ///
    /// Errors: [`InvalidTopic`](ErrorKind::InvalidTopic), and what keeps the store from being opened.
    pub fn open(topic: &str, options: &PublisherOptions) -> Result<Publisher> {
        validate_topic(topic)?;
        // Whatever the home is relative to now.
        let home = options.home.as_ref().map(std::path::absolute).transpose();
        let home = home.map_err(|e| Error::os("finding the store", e))?;
        let route = Route::new(home.as_deref(), topic)?;
        Ok(Publisher {
            topic: topic.to_string(),
            home,
            full_timeout: options.full_timeout,
            generation: fork::generation(),
            route: Mutex::new(route),
        })
    }

    /// The topic that it publishes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The channels that match now.
    fn route(&self) -> Result<Route> {
        // Before the lock, which another thread of the parent may have held.
        if fork::generation() != self.generation {
            return Err(Error::new(
                ErrorKind::Closed,
                format_args!(
                    "the publisher on '{}' belongs to the process that forked this one; open one here",
                    self.topic
                ),
            ));
        }
        let mut route = self.route.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match route.store.registry().refresh(&route.store) {
            Ok(version) if version == route.version && !route.store.is_gone() => {}
            Ok(version) if !route.store.is_gone() => {
                route.targets = route.store.registry().matching(&self.topic).into();
                route.managed = route.store.registry().managed(&self.topic);
                route.version = version;
            }
            Err(error) if !route.store.is_gone() => return Err(error),
            _ => *route = Route::new(self.home.as_deref(), &self.topic)?,
        }
        Ok(route.clone())
    }

    /// Publishes one message; answers how many channels took it: 0 when none matches. When some refused it,
    /// [`last_rejected`] tells how many.
    ///
    /// Errors: when no channel took it and at least one refused it, the weightiest reason:
    /// [`StoreFull`](ErrorKind::StoreFull), [`Permission`](ErrorKind::Permission), [`Io`](ErrorKind::Io) and what else kept it
    /// out, before [`QueueFull`](ErrorKind::QueueFull). [`TooLarge`](ErrorKind::TooLarge): more than 4 GiB - 1.
    /// [`Interrupted`](ErrorKind::Interrupted): a signal was handled while it waited for room.
    pub fn publish(&self, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
        let json = headers.filter(|headers| !headers.is_empty()).map(Headers::to_json);
        self.route()?.deliver(&self.topic, data, json.as_deref().unwrap_or("{}"), self.full_timeout)
    }

    /// Publishes in order and stops before the first that would fail. Answers how many were handled; an error only
    /// when it is the first that fails.
    pub fn publish_batch(&self, payloads: &[Payload<'_>]) -> Result<usize> {
        // Many payloads share their headers: turn those into text once.
        let mut last: Option<(&Headers, String)> = None;
        self.publish_each(payloads.iter().map(|payload| {
            let Some(headers) = payload.headers.filter(|headers| !headers.is_empty()) else {
                return (payload.data, None);
            };
            if last.as_ref().is_none_or(|(seen, _)| !std::ptr::eq(*seen, headers)) {
                last = Some((headers, headers.to_json()));
            }
            (payload.data, last.as_ref().map(|(_, json)| json.clone()))
        }))
    }

    /// A batch whose payloads lie end to end in `data`, `lengths` bytes each, all with the same headers.
    ///
    /// [`InvalidArgument`](ErrorKind::InvalidArgument) when `lengths` sum up to something else than `data` has.
    pub fn publish_packed(&self, data: &[u8], lengths: &[u32], headers: Option<&Headers>) -> Result<usize> {
        let total: u64 = lengths.iter().map(|&len| u64::from(len)).sum();
        if total != data.len() as u64 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format_args!("the lengths of the payloads sum up to {total} bytes, but there are {}", data.len()),
            ));
        }
        let json = headers.filter(|headers| !headers.is_empty()).map(Headers::to_json);
        let mut rest = data;
        self.publish_each(lengths.iter().map(|&len| {
            let (payload, behind) = rest.split_at(len as usize);
            rest = behind;
            (payload, json.clone())
        }))
    }

    fn publish_each<'a>(&self, payloads: impl Iterator<Item = (&'a [u8], Option<String>)>) -> Result<usize> {
        let route = self.route()?;
        let mut handled = 0;
        for (data, json) in payloads {
            match route.deliver(&self.topic, data, json.as_deref().unwrap_or("{}"), self.full_timeout) {
                Ok(_) => handled += 1,
                Err(error) if handled == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(handled)
    }
}

/// How long the news that a topic was deleted waits for room in a channel that is full and rejects.
const NEWS_WAIT: Duration = Duration::from_millis(100);

/// Tells the channels on exactly this topic that it was deleted.
pub(crate) fn announce_deletion(store: &Arc<Store>, topic: &str, epoch: u64) -> Result<()> {
    store.registry().refresh(store)?;
    let mut targets = store.registry().matching(topic);
    targets.retain(|target| target.pattern.as_str() == topic);
    with_prefix(|prefix| {
        prefix.clear();
        let now = clock::wall_us();
        v1::write_prefix(prefix, store.next_id(now)?, now, topic, "{}", 0);
        let mut sending = Sending::new(store, prefix, now, topic, "{}", b"");
        (sending.place, sending.is_news) = (Some((epoch, DELETED)), true);
        let mut tally = Tally { topic, taken: 0, rejected: 0, reason: None };
        let result = sending.send_to_all(&targets, NEWS_WAIT, &mut tally);
        if let Some(file) = sending.file.take() {
            file.discard(store.base());
        }
        result
    })
}

/// Puts a message of another program into a history.
pub(crate) fn record(store: &Store, appender: &Appender, message: &Message) -> Result<Appended> {
    let (topic, headers, data) = (message.topic(), message.headers_json(), message.data());
    let len = v1::checked_data_len(topic, headers, data.len())?;
    with_prefix(|prefix| {
        prefix.clear();
        let published = message.timestamp_us().max(0) as u64;
        v1::write_prefix(prefix, message.id(), published, topic, headers, len);
        let mut sending = Sending::new(store, prefix, published, topic, headers, data);
        let appended = sending.keep(appender);
        if let Some(file) = sending.file.take() {
            file.discard(store.base());
        }
        Ok(appended)
    })
}

/// Who took one message, and who did not.
struct Tally<'a> {
    topic: &'a str,
    taken: usize,
    rejected: u32,
    /// The weightiest reason.
    reason: Option<Error>,
}

impl Tally<'_> {
    fn refused(&mut self, outbox: Option<&Outbox>, error: Error) {
        self.rejected = self.rejected.saturating_add(1);
        if let Some(outbox) = outbox {
            outbox.count_rejected();
        }
        self.weigh(error);
    }

    /// Notes a reason, to be told if no channel takes it.
    fn weigh(&mut self, error: Error) {
        let weight = |error: &Error| match error.kind() {
            ErrorKind::StoreFull => 3,
            ErrorKind::Permission => 2,
            ErrorKind::QueueFull => 0,
            _ => 1,
        };
        if self.reason.as_ref().is_none_or(|reason| weight(&error) > weight(reason)) {
            self.reason = Some(error);
        }
    }

    fn full(&mut self, outbox: &Outbox) {
        // Worded only if it is the answer.
        self.rejected = self.rejected.saturating_add(1);
        outbox.count_rejected();
    }

    fn answer(self) -> Result<usize> {
        LAST_REJECTED.set(self.rejected);
        if self.taken > 0 || (self.rejected == 0 && self.reason.is_none()) {
            return Ok(self.taken);
        }
        Err(self.reason.unwrap_or_else(|| {
            Error::new(
                ErrorKind::QueueFull,
                format_args!(
                    "every channel that matches '{}' is full ({} of them); fetch from them, open them with a larger \
                     capacity or to drop the oldest, or let the publisher wait (full_timeout)",
                    self.topic, self.rejected
                ),
            )
        }))
    }
}

impl Route {
    /// Publishes one message to the channels of this route.
    fn deliver(&self, topic: &str, data: &[u8], headers: &str, full_timeout: Duration) -> Result<usize> {
        LAST_REJECTED.set(0);
        let len = v1::checked_data_len(topic, headers, data.len())?;
        if self.targets.is_empty() && self.managed.is_none() {
            return Ok(0);
        }
        with_prefix(|prefix| {
            prefix.clear();
            let now = clock::wall_us();
            v1::write_prefix(prefix, self.store.next_id(now)?, now, topic, headers, len);
            let mut sending = Sending::new(&self.store, prefix, now, topic, headers, data);
            let mut tally = Tally { topic, taken: 0, rejected: 0, reason: None };
            // First: who opens a channel with a replay drops live messages that the history had by then.
            if let Some(managed) = &self.managed {
                sending.append(managed, &mut tally);
            }
            let result = sending.send_to_all(&self.targets, full_timeout, &mut tally);
            if let Some(file) = sending.file.take() {
                file.discard(self.store.base());
            }
            chaos::point("publish.done");
            if prefix.capacity() > PREFIX_KEPT {
                *prefix = Vec::new();
            }
            result?;
            tally.answer()
        })
    }
}

/// One message on its way.
struct Sending<'a> {
    store: &'a Store,
    prefix: &'a mut Vec<u8>,
    /// When it was published, microseconds since the epoch.
    now: u64,
    topic: &'a str,
    headers: &'a str,
    data: &'a [u8],
    /// The mode of its file, wide enough for the owners of the channels so far.
    mode: Option<FileMode>,
    /// The message in a file, once a channel has room for it.
    file: Option<MessageFile>,
    /// Its place in the topic's history (epoch, offset).
    place: Option<(u64, u64)>,
    /// Whether it is news of libpubsub's, which formix-pubsub channels would take for a message.
    is_news: bool,
}

/// What became of a message in one channel.
enum Outcome {
    Settled,
    Full(Arc<Outbox>),
}

impl<'a> Sending<'a> {
    fn new(
        store: &'a Store,
        prefix: &'a mut Vec<u8>,
        now: u64,
        topic: &'a str,
        headers: &'a str,
        data: &'a [u8],
    ) -> Sending<'a> {
        Sending { store, prefix, now, topic, headers, data, mode: None, file: None, place: None, is_news: false }
    }

    /// Puts it into the topic's history.
    fn append(&mut self, managed: &Managed, tally: &mut Tally<'_>) {
        // A topic that was deleted may have been created again.
        for _ in 0..2 {
            let appended = match managed.appender(self.store, clock::monotonic_ns()) {
                Ok(Some(appender)) => self.keep(&appender),
                Ok(None) => return,
                Err(error) => Appended::Failed(error),
            };
            match appended {
                Appended::At(_) => return,
                Appended::Gone => managed.close(),
                Appended::Failed(error) => return tally.weigh(error),
            }
        }
    }

    /// Puts it into this history.
    fn keep(&mut self, appender: &Appender) -> Appended {
        let entry = Entry { id: self.id(), timestamp_us: self.now, headers_json: self.headers, data: self.data };
        let appended = if appender.wants_file(&entry) {
            match self.put_into_file(appender) {
                Ok(appended) => appended,
                Err(error) => Appended::Failed(appender.lacks(error)),
            }
        } else {
            appender.append(self.store.base(), &entry)
        };
        if let Appended::At(offset) = appended {
            self.place = Some((appender.epoch(), offset));
            // The channels get another file if this one cannot say where it is.
            let trailer = files::trailer(appender.epoch(), offset);
            if let Some(file) = self.file.take_if(|file| file.append(&trailer).is_err()) {
                file.discard(self.store.base());
            }
        }
        appended
    }

    fn put_into_file(&mut self, appender: &Appender) -> Result<Appended> {
        self.admit(appender.owner)?;
        // formix-pubsub's ids may be the same for several messages.
        let number = if is_native(self.id()) { self.id() } else { self.store.next_id(self.now)? };
        let (base, now) = (Arc::clone(self.store.base()), self.now);
        Ok(appender.append_file(&base, self.file()?, number, now))
    }

    fn bytes(&self) -> u64 {
        let trailer = if self.place.is_some() { files::TRAILER } else { 0 };
        (self.prefix.len() + self.data.len() + trailer) as u64
    }

    fn id(&self) -> u64 {
        let mut id = [0; 8];
        id.copy_from_slice(&self.prefix[v1::ID_OFFSET..][..8]);
        u64::from_be_bytes(id)
    }

    /// To every target; waits for room in the full ones up to `full_timeout`.
    fn send_to_all(&mut self, targets: &[Arc<Target>], full_timeout: Duration, tally: &mut Tally<'_>) -> Result<()> {
        // One after the other: each is open for sending only as long as it is its turn, unless the budget of descriptors has
        // room for it.
        let now = clock::monotonic_ns();
        let mut full = Vec::new();
        for target in targets {
            match self.send_to(target, now, tally) {
                Outcome::Settled => {}
                Outcome::Full(outbox) if full_timeout.is_zero() => tally.full(&outbox),
                Outcome::Full(_) => full.push(target),
            }
        }
        let interrupted = !full.is_empty() && self.wait_for_room(&mut full, full_timeout, tally);
        for target in full {
            match target.outbox(self.store, now) {
                Ok(Some(outbox)) => tally.full(&outbox),
                Ok(None) => {}
                Err(error) => tally.refused(None, error),
            }
        }
        if interrupted && tally.taken == 0 {
            LAST_REJECTED.set(tally.rejected);
            return Err(Error::new(
                ErrorKind::Interrupted,
                format_args!("a signal ended the wait for room in the channels that match '{}'", tally.topic),
            ));
        }
        Ok(())
    }

    fn send_to(&mut self, target: &Target, now: u64, tally: &mut Tally<'_>) -> Outcome {
        let outbox = match target.outbox(self.store, now) {
            Ok(Some(outbox)) => outbox,
            Ok(None) => return Outcome::Settled,
            Err(error) => {
                tally.refused(None, error);
                return Outcome::Settled;
            }
        };
        if if self.is_news { outbox.is_foreign() } else { outbox.is_for_foreign() } {
            return Outcome::Settled;
        }
        let bytes = self.bytes();
        if !outbox.is_ring() && !outbox.reserve(self.store.base(), bytes) {
            // A dead receiver makes no room.
            if outbox.is_abandoned() {
                target.close();
                return Outcome::Settled;
            }
            return Outcome::Full(outbox);
        }
        // Two ids cannot both be taken unless something else makes files here.
        for _ in 0..4 {
            let delivery = match self.try_send_to(&outbox) {
                Ok(delivery) => delivery,
                Err(error) => {
                    if !outbox.is_ring() {
                        outbox.release(bytes);
                    }
                    Delivery::Failed(error)
                }
            };
            match delivery {
                Delivery::Taken => {
                    tally.taken += 1;
                    return Outcome::Settled;
                }
                Delivery::Full => return Outcome::Full(outbox),
                Delivery::Gone => {
                    target.close();
                    return Outcome::Settled;
                }
                Delivery::Failed(error) => {
                    tally.refused(Some(&outbox), error);
                    return Outcome::Settled;
                }
                // Earlier receivers were faster than this publish: the others get the same message in a new file. Or it
                // takes one with a name.
                Delivery::FileSpent => self.file = None,
                Delivery::IdTaken => {
                    // The channels that have the file keep its id: the others get a file with a new one.
                    if let Err(error) = self.renumber() {
                        tally.refused(Some(&outbox), error);
                        return Outcome::Settled;
                    }
                }
            }
            if !outbox.is_ring() {
                outbox.reserve_anyway(bytes);
            }
        }
        if !outbox.is_ring() {
            outbox.release(bytes);
        }
        tally.refused(
            Some(&outbox),
            Error::new(ErrorKind::Corrupt, "message ids are taken again and again in a channel"),
        );
        Outcome::Settled
    }

    fn try_send_to(&mut self, outbox: &Outbox) -> Result<Delivery> {
        let id = self.id();
        if outbox.is_ring() {
            let record =
                Record { id, timestamp_us: self.now, topic: self.topic, headers_json: self.headers, data: self.data };
            if !outbox.wants_file(&record) {
                return Ok(outbox.deliver_record(self.store.base(), &record));
            }
        }
        let bytes = self.bytes();
        let base = Arc::clone(self.store.base());
        let now = self.now;
        self.admit(outbox.owner)?;
        let file = self.file()?;
        Ok(if outbox.is_ring() {
            outbox.deliver_file(&base, file, id, bytes, now)
        } else {
            outbox.deliver(&base, file, id, bytes)
        })
    }

    /// Lets a channel's owner read the file, besides those whose channels came before.
    fn admit(&mut self, owner: u32) -> Result<()> {
        let mode = self.store.message_file_mode(std::iter::once(owner));
        if self.mode.is_none_or(|before| mode.mode & !before.mode != 0) {
            if let Some(file) = &self.file {
                file.set_mode(mode).map_err(|e| Error::os("letting another user read a message", e))?;
            }
            self.mode = Some(mode);
        }
        Ok(())
    }

    /// The message in a file, written once.
    fn file(&mut self) -> Result<&MessageFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mode = self.mode.unwrap_or_else(|| self.store.message_file_mode(std::iter::empty()));
                let home = self.store.home();
                let failed = |e| Error::os(format_args!("writing a message in the store {}", home.display()), e);
                let file = MessageFile::write(self.store.base(), mode, self.prefix, self.data).map_err(failed)?;
                if let Some((epoch, offset)) = self.place {
                    file.append(&files::trailer(epoch, offset)).map_err(failed)?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn renumber(&mut self) -> Result<()> {
        let id = self.store.next_id(clock::wall_us())?;
        self.prefix[v1::ID_OFFSET..][..8].copy_from_slice(&id.to_be_bytes());
        if let Some(file) = self.file.take() {
            file.discard(self.store.base());
        }
        Ok(())
    }

    /// Tries the full channels again and again until they took it, are gone, or the time is over; whether a signal ended it.
    fn wait_for_room(&mut self, full: &mut Vec<&Arc<Target>>, timeout: Duration, tally: &mut Tally<'_>) -> bool {
        /// The first pause, doubled up to [`LONGEST`]: a receiver makes room every few microseconds.
        const FIRST: Duration = Duration::from_micros(20);
        const LONGEST: Duration = Duration::from_millis(1);
        let deadline = Deadline::after(Some(timeout));
        let mut pause = FIRST;
        loop {
            let remaining = deadline.remaining().unwrap_or(LONGEST);
            if full.is_empty() || remaining.is_zero() {
                return false;
            }
            if fifo::sleep(pause.min(remaining)) == Wait::Signal {
                return true;
            }
            pause = (pause * 2).min(LONGEST);
            let now = clock::monotonic_ns();
            full.retain(|target| matches!(self.send_to(target, now, tally), Outcome::Full(_)));
        }
    }
}
