//! Which channels there are, as a publishing process knows it: an index of their patterns, kept up to date by watching
//! the store's directory.
//!
//! **A channel whose open call returned before a publish began receives it.** A look at the directory costs a system call,
//! so a process that looked less than [`FRESH_NS`] ago does not look again, and in exchange opening a channel takes at
//! least that long after the channel can be seen. formix-pubsub channels appear with their `mkdir`; their queue is made and
//! opened after it, which takes longer than that.
//!
//! Where no watch is to be had, the directory's modification time is compared. It has the grain of the kernel's coarse
//! clock: a listing is trusted only if the time found before it is older than that clock was before the time was read,
//! for only then can no later change carry the same time.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use std::sync::{Arc, Mutex};

use super::Store;
use super::layout::{self, ChannelName};
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::files::Outbox;
use crate::history::{self, Appender};
use crate::sys::clock::{self, Moment};
use crate::sys::directory::{EntryPath, Kind};
use crate::sys::watch::{Event, Watch};
use crate::topic::{Index, Pattern};

/// For how long a look at the directory is good.
pub(crate) const FRESH_NS: u64 = 5_000;
/// After so long publishers look again: less, because their clocks ([`clock::TickingClock`]) are exact to a 64th only.
const LOOK_NS: u64 = FRESH_NS - FRESH_NS / 16;

/// A channel as publishers see it.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its directory.
    pub name: Vec<u8>,
    pub pattern: Pattern,
    /// Open for sending, or not yet.
    pub outbox: Mutex<Option<Arc<Outbox>>>,
}

/// A managed topic as publishers see it.
#[derive(Debug)]
pub(crate) struct Managed {
    pub topic: String,
    /// Its history, open for appending, or not yet.
    appender: Mutex<Option<Arc<Appender>>>,
}

impl PartialEq for Target {
    fn eq(&self, other: &Target) -> bool {
        self.name == other.name
    }
}

#[derive(Debug)]
pub(crate) struct Registry {
    /// When the last look began, on the wall clock, in nanoseconds.
    looked: AtomicU64,
    /// Rises with every change.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    watching: Watching,
    /// The directory must be listed: also after a listing that failed.
    list_due: bool,
    /// The store lacks its private part. It is then perhaps being deleted, or was: a directory that this process has open tells no
    /// watch of its own end, but is empty before.
    is_bare: bool,
    targets: HashMap<Vec<u8>, Arc<Target>>,
    topics: HashMap<String, Arc<Managed>>,
    index: Index<Arc<Target>>,
}

#[derive(Debug)]
enum Watching {
    NotYet,
    Events(Watch),
    /// The directory's modification time before the last listing, if it can be trusted.
    Times(Option<(i64, i64)>),
}

impl Registry {
    pub(crate) fn new() -> Registry {
        Registry {
            looked: AtomicU64::new(0),
            version: AtomicU64::new(0),
            state: Mutex::new(State {
                watching: Watching::NotYet,
                list_due: true,
                is_bare: true,
                targets: HashMap::new(),
                topics: HashMap::new(),
                index: Index::new(),
            }),
        }
    }

    /// Learns what has changed, and answers the version of what is known: the same version, the same channels.
    /// `now`: read since the publish began.
    #[inline]
    pub(crate) fn refresh(&self, store: &Store, now: Moment) -> Result<u64> {
        // Acquire pairs with the Release below: who skips the look sees the version that the look led to.
        if now.is_since(self.looked.load(Acquire), LOOK_NS) {
            self.look(store, now.ns)?;
        }
        Ok(self.version.load(Acquire))
    }

    /// The same, however lately this process looked.
    pub(crate) fn look_now(&self, store: &Store) -> Result<u64> {
        self.look(store, Moment::now().ns)?;
        Ok(self.version.load(Acquire))
    }

    #[cold]
    fn look(&self, store: &Store, now: u64) -> Result<()> {
        let mut state = lock(&self.state);
        let looked = state.look(store);
        // A look that failed may have learned something before.
        if !matches!(looked, Ok(false)) {
            self.version.fetch_add(1, AcqRel);
        }
        looked?;
        // The time at which the look began, not at which it ended.
        self.looked.store(now, Release);
        Ok(())
    }

    /// The channels that match a topic.
    pub(crate) fn matching(&self, topic: &str) -> Vec<Arc<Target>> {
        let mut found = Vec::new();
        lock(&self.state).index.for_each_match(topic, |target| found.push(Arc::clone(target)));
        // One order for everybody who publishes to several.
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// A topic, if it is managed.
    pub(crate) fn managed(&self, topic: &str) -> Option<Arc<Managed>> {
        lock(&self.state).topics.get(topic).cloned()
    }

    /// Closes what was last used for sending before this time; answers how many.
    pub(crate) fn close_idle(&self, before: u64) -> usize {
        let (targets, topics): (Vec<_>, Vec<_>) = {
            let state = lock(&self.state);
            (state.targets.values().cloned().collect(), state.topics.values().cloned().collect())
        };
        targets.iter().filter(|target| target.close_if_idle(before)).count()
            + topics.iter().filter(|managed| managed.close_if_idle(before)).count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while it was held is a defect that its own caller was told of; the state itself is rebuilt by looking.
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl State {
    /// Whether anything changed.
    fn look(&mut self, store: &Store) -> Result<bool> {
        let mut changed = false;
        // Unless this look ends well.
        let mut list = std::mem::replace(&mut self.list_due, true);
        match &self.watching {
            Watching::NotYet => {
                // The watch before the listing, so that nothing falls between them.
                self.watching = match Watch::new(store.home()) {
                    Ok(watch) => Watching::Events(watch),
                    Err(_) => Watching::Times(None),
                };
            }
            Watching::Events(watch) => {
                let (mut events, mut gone) = (Vec::new(), false);
                watch
                    .drain(|event| match event {
                        Event::Came(name) => events.push((true, name.to_vec())),
                        Event::Went(name) => events.push((false, name.to_vec())),
                        Event::Overflow => list = true,
                        Event::Gone => gone = true,
                    })
                    .map_err(|e| Error::os(format_args!("watching the store {}", store.home().display()), e))?;
                if gone {
                    return Err(store.gone());
                }
                for (came, name) in events {
                    if name == layout::PRIVATE.to_bytes() {
                        self.is_bare = !came;
                    }
                    changed |= if came { self.insert(store, &name)? } else { self.remove(&name) };
                }
            }
            Watching::Times(_) => {}
        }
        let status = || store.base().own_status().map_err(|e| Error::os("looking at the store", e));
        if let Watching::Times(known) = &mut self.watching {
            let clock = clock::file_clock();
            let stat = status()?;
            if stat.st_nlink == 0 {
                return Err(store.gone());
            }
            let time = (stat.st_mtime, stat.st_mtime_nsec);
            list |= *known != Some(time);
            *known = (time < clock).then_some(time);
        }
        if list {
            changed |= self.relist(store)?;
        }
        if self.is_bare && status()?.st_nlink == 0 {
            return Err(store.gone());
        }
        self.list_due = false;
        Ok(changed)
    }

    fn relist(&mut self, store: &Store) -> Result<bool> {
        let (mut there, mut is_bare) = (Vec::new(), true);
        store
            .base()
            .list(c".", |entry| {
                let known = || layout::parse(entry.name).is_some() || history::topic_of(entry.name).is_some();
                is_bare &= entry.name != layout::PRIVATE.to_bytes();
                if entry.kind == Kind::Directory && known() {
                    there.push(entry.name.to_vec());
                }
                true
            })
            .map_err(|e| Error::os(format_args!("listing the store {}", store.home().display()), e))?;
        self.is_bare = is_bare;
        let known: std::collections::HashSet<&[u8]> = there.iter().map(Vec::as_slice).collect();
        let topics = self.topics.keys().map(|topic| history::directory_name(topic));
        let names = self.targets.keys().cloned().chain(topics);
        let went: Vec<Vec<u8>> = names.filter(|name| !known.contains(name.as_slice())).collect();
        let mut changed = !went.is_empty();
        for name in went {
            self.remove(&name);
        }
        for name in there {
            changed |= self.insert(store, &name)?;
        }
        Ok(changed)
    }

    fn insert(&mut self, store: &Store, name: &[u8]) -> Result<bool> {
        if self.targets.contains_key(name) {
            return Ok(false);
        }
        if let Some(topic) = history::topic_of(name) {
            if self.topics.contains_key(topic) {
                return Ok(false);
            }
            let managed = Managed { topic: topic.to_string(), appender: Mutex::new(None) };
            self.topics.insert(topic.to_string(), Arc::new(managed));
            return Ok(true);
        }
        let Some(pattern) = pattern_of(store, name)? else { return Ok(false) };
        let target = Arc::new(Target { name: name.to_vec(), pattern, outbox: Mutex::new(None) });
        self.index.insert(&target.pattern, Arc::clone(&target));
        self.targets.insert(name.to_vec(), target);
        Ok(true)
    }

    fn remove(&mut self, name: &[u8]) -> bool {
        if let Some(topic) = history::topic_of(name) {
            return self.topics.remove(topic).is_some();
        }
        let Some(target) = self.targets.remove(name) else { return false };
        self.index.remove(&target.pattern, &target);
        true
    }
}

/// The pattern of the channel in this directory; `None`: it is no channel. An error when its control page could not be
/// opened for lack of descriptors or memory: guessing would be for good.
pub(crate) fn pattern_of(store: &Store, name: &[u8]) -> Result<Option<Pattern>> {
    let Some(ChannelName { spelled, .. }) = layout::parse(name) else { return Ok(None) };
    if layout::is_ambiguous(spelled) {
        let page = EntryPath::new(name, control::FILE);
        match store.base().open_at(page.as_c_str(), libc::O_RDONLY, 0) {
            Ok(file) => {
                if let Ok((terms, _)) = control::inspect(file.as_fd()) {
                    return Ok(Pattern::foreign(&terms.pattern));
                }
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                return Err(Error::os(format_args!("looking at channel '{}'", String::from_utf8_lossy(name)), error));
            }
            // A formix channel has none.
            Err(_) => {}
        }
    }
    Ok(Pattern::foreign(spelled))
}

impl Target {
    /// The channel opened for sending; `Ok(None)`: nobody receives there.
    pub(crate) fn outbox(&self, store: &Store, now: u64) -> Result<Option<Arc<Outbox>>> {
        let mut slot = lock(&self.outbox);
        if let Some(outbox) = &*slot {
            outbox.touch(now);
            return Ok(Some(Arc::clone(outbox)));
        }
        let opened = match Outbox::open(store.base(), &self.name, store.outboxes()) {
            // Out of descriptors, it may be: what is open for sending can be opened again.
            Err(error) if error.kind() == ErrorKind::Io && store.close_idle(u64::MAX) > 0 => {
                Outbox::open(store.base(), &self.name, store.outboxes())
            }
            result => result,
        }?;
        let Some(outbox) = opened else { return Ok(None) };
        outbox.touch(now);
        let outbox = Arc::new(outbox);
        if store.may_keep_open(now) {
            *slot = Some(Arc::clone(&outbox));
        }
        Ok(Some(outbox))
    }

    /// Lets go of an end whose receiver is gone.
    pub(crate) fn close(&self) {
        lock(&self.outbox).take();
    }

    /// Lets go of it if it was last used before `before` and nobody holds its lock.
    pub(crate) fn close_if_idle(&self, before: u64) -> bool {
        let Ok(mut slot) = self.outbox.try_lock() else { return false };
        let idle = slot.as_ref().is_some_and(|outbox| outbox.used.load(Acquire) < before);
        if idle {
            *slot = None;
        }
        idle
    }
}

impl Managed {
    /// Its history opened for appending; `Ok(None)`: it was deleted.
    pub(crate) fn appender(&self, store: &Store, now: u64) -> Result<Option<Arc<Appender>>> {
        let mut slot = lock(&self.appender);
        if let Some(appender) = &*slot {
            appender.touch(now);
            return Ok(Some(Arc::clone(appender)));
        }
        let opened = match Appender::open(store.base(), &self.topic, store.outboxes()) {
            // As with channels.
            Err(error) if error.kind() == ErrorKind::Io && store.close_idle(u64::MAX) > 0 => {
                Appender::open(store.base(), &self.topic, store.outboxes())
            }
            result => result,
        }?;
        let Some(appender) = opened else { return Ok(None) };
        appender.touch(now);
        let appender = Arc::new(appender);
        if store.may_keep_open(now) {
            *slot = Some(Arc::clone(&appender));
        }
        Ok(Some(appender))
    }

    /// Lets go of a history that was deleted.
    pub(crate) fn close(&self) {
        lock(&self.appender).take();
    }

    fn close_if_idle(&self, before: u64) -> bool {
        let Ok(mut slot) = self.appender.try_lock() else { return false };
        let idle = slot.as_ref().is_some_and(|appender| appender.used() < before);
        if idle {
            *slot = None;
        }
        idle
    }
}
