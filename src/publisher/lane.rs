//! What a thread publishes with: the channels that match, open for sending; ids; clocks.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::LAST_REJECTED;
use super::sending::{Sending, Tally};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Delivery, Outbox};
use crate::history::{self, Appended, Appender, Entry};
use crate::message::v1;
use crate::ring::{Opened, Opening, Record, Sender};
use crate::store::{FRESH_NS, Holder, Ids, Managed, Store, Target};
use crate::sys::chaos;
use crate::sys::clock::{Moment, TickingClock};
use crate::sys::exclusive::Exclusive;

/// One thread's way to the channels that match a topic.
#[derive(Debug)]
pub(super) struct Lane {
    store: Arc<Store>,
    /// The registry's when `lines` was made.
    version: u64,
    lines: Vec<Line>,
    /// The topic's history, if it is managed.
    managed: Option<Managing>,
    ids: Ids,
    /// What the last message began with that went by it.
    opening: Option<Opening>,
    clock: TickingClock,
    /// When what is being published was, or a batch of it began to be.
    now: Moment,
    /// When it was last used, nanoseconds of the wall clock, give or take [`FRESH_NS`].
    used: u64,
    /// Whether it keeps publishers of rings for itself.
    keeps: bool,
    /// Whether the store knows that it does.
    is_held: bool,
}

/// How a publisher's messages are published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub full_timeout: Duration,
    /// Others follow before [`Lane::finish`].
    pub more: bool,
}

/// What became of a run of messages.
struct Run {
    handled: usize,
    /// The one behind those is in the history, and in no channel yet.
    appended: Option<Place>,
}

/// A message's place in its history.
struct Place {
    id: u64,
    epoch: u64,
    offset: u64,
    /// Whether every channel is known that could miss it.
    is_followed: bool,
}

/// One matching channel.
#[derive(Debug)]
pub(super) struct Line {
    pub target: Arc<Target>,
    pub kept: Option<Kept>,
    /// It wants nothing from publishers of this library: a recorder's.
    pub passed_by: bool,
}

/// The topic's history.
#[derive(Debug)]
struct Managing {
    managed: Arc<Managed>,
    /// Open, with a publisher of it that belongs to this lane.
    kept: Option<KeptHistory>,
}

#[derive(Debug)]
struct KeptHistory {
    appender: Arc<Appender>,
    sender: history::Sender,
    /// See [`Appender::openings`].
    openings: u64,
}

impl Drop for KeptHistory {
    fn drop(&mut self) {
        self.appender.retire(&mut self.sender);
    }
}

impl Managing {
    fn of(store: &Store, topic: &str) -> Option<Managing> {
        store.registry().managed(topic).map(|managed| Managing { managed, kept: None })
    }

    /// Appends a message by what is kept open: where it is, and whether every channel is known that could miss it. `None`: it
    /// must take another way.
    #[inline]
    fn append_now(&mut self, store: &Store, record: &Record<'_>, now_us: u64) -> Option<((u64, u64), bool)> {
        let KeptHistory { appender, sender, openings } = self.kept.as_mut()?;
        let entry = Entry::of(record);
        if appender.wants_file(&entry) {
            return None;
        }
        match appender.append_by(sender, store.base(), &entry, now_us) {
            Appended::At(offset) => {
                let before = std::mem::replace(openings, appender.openings());
                Some(((appender.epoch(), offset), *openings == before))
            }
            // Gone, or failed: found out again, slowly.
            _ => {
                self.kept = None;
                None
            }
        }
    }
}

/// A channel with a ring, and a publisher of that ring which belongs to this lane: no lock stands before a message.
#[derive(Debug)]
pub(super) struct Kept {
    pub outbox: Arc<Outbox>,
    pub sender: Sender,
    /// Messages are in the queue of which the receiver has not been told.
    unfinished: bool,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.outbox.retire(&mut self.sender);
    }
}

impl Line {
    pub(super) fn new(target: Arc<Target>) -> Line {
        Line { target, kept: None, passed_by: false }
    }

    /// Into the ring by what is kept open. `Err(None)`: it must take another way. `more`: others follow before the lane's
    /// [`finish`](Lane::finish).
    #[inline]
    pub(super) fn send_now(
        &mut self,
        store: &Store,
        record: &Record<'_>,
        now_us: u64,
        more: bool,
    ) -> std::result::Result<(), Option<Delivery>> {
        let Some(Kept { outbox, sender, unfinished }) = &mut self.kept else { return Err(None) };
        if outbox.wants_file(record) {
            return Err(None);
        }
        let delivery = outbox.deliver_by(sender, store.base(), record, now_us, more);
        let is_taken = matches!(delivery, Delivery::Taken);
        *unfinished = is_taken && more;
        if is_taken { Ok(()) } else { Err(Some(delivery)) }
    }

    /// Tells the receiver of what was sent with more to follow.
    fn finish(&mut self, now_us: u64) {
        if let Some(Kept { outbox, sender, unfinished }) = &mut self.kept {
            if std::mem::replace(unfinished, false) && matches!(outbox.finish(sender, now_us), Delivery::Gone) {
                self.close();
            }
        }
    }

    /// Its receiver is gone.
    pub(super) fn close(&mut self) {
        self.kept = None;
        self.target.close();
    }

    /// Keeps a publisher of the channel's ring, if there is room for it in the budget of descriptors.
    pub(super) fn keep(&mut self, outbox: &Arc<Outbox>, store: &Store, now: u64) -> bool {
        let sender = if store.may_keep_open(now) { outbox.lend(store.base()) } else { None };
        self.kept = sender.map(|sender| Kept { outbox: Arc::clone(outbox), sender, unfinished: false });
        self.kept.is_some()
    }
}

impl Lane {
    /// For the channels that match now.
    pub(super) fn new(home: Option<&Path>, topic: &str) -> Result<Lane> {
        // A store that was deleted while it was known is made anew, once.
        for last in [false, true] {
            let store = Store::at(home)?;
            let now = Moment::now();
            match store.registry().refresh(&store, now) {
                Ok(version) => {
                    let targets = store.registry().matching(topic);
                    return Ok(Lane {
                        version,
                        lines: targets.into_iter().map(Line::new).collect(),
                        managed: Managing::of(&store, topic),
                        ids: Ids::default(),
                        opening: None,
                        clock: TickingClock::default(),
                        now,
                        used: now.ns,
                        keeps: false,
                        is_held: false,
                        store,
                    });
                }
                Err(_) if store.is_gone() && !last => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::new(ErrorKind::Io, "the store is deleted again and again"))
    }

    /// From now on it keeps publishers of rings for itself.
    pub(super) fn keeps_open(&mut self) {
        self.keeps = true;
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether the store has yet to be told of it; it is told now.
    #[inline]
    pub(super) fn needs_holder(&mut self) -> bool {
        !std::mem::replace(&mut self.is_held, true)
    }

    /// Begins a publish: reads the clock, and learns which channels match.
    #[inline]
    pub(super) fn begin(&mut self, topic: &str, home: Option<&Path>) -> Result<()> {
        self.read_clock();
        match self.store.registry().refresh(&self.store, self.now) {
            Ok(version) if version == self.version && !self.store.is_gone() => {}
            looked => self.follow(looked, topic, home)?,
        }
        if self.now.is_since(self.used, FRESH_NS) {
            let now = self.now.ns;
            // Not with every message: the figure is shared, and nobody asks before it is much older.
            self.used = now;
            for kept in self.lines.iter().filter_map(|line| line.kept.as_ref()) {
                kept.outbox.touch(now);
            }
            if let Some(kept) = self.managed.as_ref().and_then(|managing| managing.kept.as_ref()) {
                kept.appender.touch(now);
            }
        }
        Ok(())
    }

    /// It is later than the last message of a batch may say.
    #[inline]
    pub(super) fn read_clock(&mut self) {
        self.now = self.clock.now();
    }

    /// The store has changed.
    #[cold]
    fn follow(&mut self, looked: Result<u64>, topic: &str, home: Option<&Path>) -> Result<()> {
        match looked {
            Ok(version) if !self.store.is_gone() => {
                let targets = self.store.registry().matching(topic);
                let mut before = std::mem::take(&mut self.lines);
                self.lines = targets
                    .into_iter()
                    .map(|target| {
                        let at = before.iter().position(|line| Arc::ptr_eq(&line.target, &target));
                        at.map_or_else(|| Line::new(target), |at| before.swap_remove(at))
                    })
                    .collect();
                let managed = Managing::of(&self.store, topic);
                let is_same = |before: &Managing| {
                    managed.as_ref().is_some_and(|managed| Arc::ptr_eq(&managed.managed, &before.managed))
                };
                if !self.managed.as_ref().is_some_and(is_same) {
                    self.managed = managed;
                }
                self.version = version;
            }
            Err(error) if !self.store.is_gone() => return Err(error),
            _ => *self = Lane { keeps: self.keeps, ..Lane::new(home, topic)? },
        }
        Ok(())
    }

    /// Publishes one message, which `begin` began, to the channels of this lane. `more`: others follow before
    /// [`finish`](Lane::finish).
    #[inline]
    pub(super) fn deliver(&mut self, topic: &str, data: &[u8], headers: &str, terms: Terms) -> Result<usize> {
        LAST_REJECTED.set(0);
        v1::checked_data_len(topic, headers, data.len())?;
        if self.lines.is_empty() && self.managed.is_none() {
            return Ok(0);
        }
        let id = self.ids.next(self.now, &self.store)?;
        let mut record =
            Record { id, timestamp_us: self.now.wall_us(), topic, headers_json: headers, data, managed: None };
        if let ([Line { kept: Some(kept), .. }], None, false) = (&mut self.lines[..], &self.managed, terms.more) {
            // The usual case, with everything that does not change from one message to the next done before.
            if let Some(opening) = opening(&mut self.opening, topic, headers, None) {
                let message = Opened { opening, id, timestamp_us: record.timestamp_us, offset: None, data };
                match kept.outbox.deliver_one_opened_by(&mut kept.sender, self.store.base(), &message) {
                    Some(Delivery::Taken) => {
                        chaos::point("publish.done");
                        return Ok(1);
                    }
                    Some(refused) => return self.deliver_otherwise(0, Some(refused), record, terms),
                    None => {}
                }
            }
        }
        if let Some(managing) = &mut self.managed {
            // First: a channel that opens with a replay drops the live messages that the history had by then.
            match managing.append_now(&self.store, &record, self.now.wall_us()) {
                Some((place, is_followed)) => {
                    record.managed = Some(place);
                    if !is_followed {
                        self.look_again(topic);
                    }
                }
                None => return self.deliver_managed(record, terms),
            }
        }
        self.deliver_to_all(record, terms)
    }

    /// To the channels that match.
    #[inline]
    fn deliver_to_all(&mut self, record: Record<'_>, terms: Terms) -> Result<usize> {
        for at in 0..self.lines.len() {
            let first = match self.lines[at].send_now(&self.store, &record, self.now.wall_us(), terms.more) {
                Ok(()) => continue,
                Err(first) => first,
            };
            return self.deliver_otherwise(at, first, record, terms);
        }
        chaos::point("publish.done");
        Ok(self.lines.len())
    }

    /// Publishes many messages with the same headers in order, as [`deliver`](Lane::deliver) does with more to follow, up to
    /// the first that fails. Answers how many were handled, and why it was not all.
    pub(super) fn deliver_run(
        &mut self,
        topic: &str,
        payloads: &[&[u8]],
        headers: &str,
        terms: Terms,
    ) -> (usize, Result<()>) {
        let mut handled = 0;
        loop {
            let run = self.deliver_run_now(topic, &payloads[handled..], headers);
            handled += run.handled;
            chaos::point("publish.done");
            let Some(data) = payloads.get(handled) else { return (handled, Ok(())) };
            let result = match run.appended {
                Some(Place { id, epoch, offset, is_followed }) => {
                    if !is_followed {
                        self.look_again(topic);
                    }
                    let (timestamp_us, managed) = (self.now.wall_us(), Some((epoch, offset)));
                    let record = Record { id, timestamp_us, topic, headers_json: headers, data, managed };
                    self.deliver_to_all(record, terms)
                }
                None => self.deliver(topic, data, headers, terms),
            };
            match result {
                Ok(_) => handled += 1,
                Err(error) => return (handled, Err(error)),
            }
        }
    }

    /// By what is kept open, where one ring matches, or the topic has a history and no more than that: up to the first message
    /// that must take another way.
    fn deliver_run_now(&mut self, topic: &str, payloads: &[&[u8]], headers: &str) -> Run {
        let nothing = Run { handled: 0, appended: None };
        if payloads.is_empty() {
            return nothing;
        }
        let history = match &mut self.managed {
            None => None,
            Some(Managing { kept: Some(history), .. }) => Some(history),
            Some(_) => return nothing,
        };
        let mut line = match (&mut self.lines[..], &history) {
            ([], Some(_)) => None,
            ([Line { kept: Some(kept), .. }], _) => Some(kept),
            _ => return nothing,
        };
        let now_us = self.now.wall_us();
        let epoch = history.as_ref().map(|history| history.appender.epoch());
        let Some(opening) = opening(&mut self.opening, topic, headers, epoch) else { return nothing };
        if line.as_mut().is_some_and(|kept| !kept.outbox.begin_run(&mut kept.sender, payloads.len(), now_us)) {
            return nothing;
        }
        let Ok(first) = self.ids.next_run(self.now, &self.store, payloads.len()) else { return nothing };
        LAST_REJECTED.set(0);
        let base = self.store.base();
        let mut send = |id: u64, offset: Option<u64>, data: &[u8]| match &mut line {
            None => true,
            Some(Kept { outbox, sender, .. }) => {
                outbox.deliver_opened_by(sender, base, &Opened { opening, id, timestamp_us: now_us, offset, data })
            }
        };
        let run = match history {
            None => {
                let taken = |(id, data): &(u64, &&[u8])| send(*id, None, data);
                Run { handled: (first..).zip(payloads).take_while(taken).count(), appended: None }
            }
            Some(KeptHistory { appender, sender, openings }) => {
                let mut stopped = None;
                let entry = Entry::new(first, now_us, headers, b"");
                let appended = appender.append_run_by(sender, base, (entry, payloads), now_us, |i, offset| {
                    // In this order, for each message: see `deliver`.
                    let now = appender.openings();
                    let is_followed = now == *openings;
                    *openings = now;
                    let id = first + i as u64;
                    if is_followed && send(id, Some(offset), payloads[i]) {
                        return true;
                    }
                    stopped = Some(Place { id, epoch: appender.epoch(), offset, is_followed });
                    false
                });
                Run { handled: appended - usize::from(stopped.is_some()), appended: stopped }
            }
        };
        if let Some(kept) = line {
            kept.unfinished |= run.handled > 0;
        }
        run
    }

    /// What the history had not by then, such a channel gets live: it must be known.
    #[cold]
    fn look_again(&mut self, topic: &str) {
        let looked = self.store.registry().look_now(&self.store);
        // What cannot be looked at is told to the next publish.
        let is_new = looked.as_ref().is_ok_and(|version| *version != self.version);
        if is_new && !self.store.is_gone() && !chaos::planted("no look behind an append") {
            let _ = self.follow(looked, topic, None);
        }
    }

    /// To a topic whose history is not open yet, or is deleted, or cannot be written to, or keeps the message in a file.
    #[cold]
    fn deliver_managed(&mut self, record: Record<'_>, terms: Terms) -> Result<usize> {
        // It may take a while.
        self.finish();
        let topic = record.topic;
        let mut tally = Tally::new(topic, 0);
        let store = Arc::clone(&self.store);
        let mut sending = Sending::new(&store, record, self.now, self.keeps);
        // A topic that was deleted may have been created again.
        for _ in 0..2 {
            let Some(managing) = &mut self.managed else { break };
            let appended = match managing.managed.appender(&store, self.now.ns) {
                Ok(Some(appender)) => {
                    let appended = sending.append(&appender);
                    // A publisher of its own, if there is room for it in the budget of descriptors.
                    if self.keeps && managing.kept.is_none() && store.may_keep_open(self.now.ns) {
                        let sender = appender.lend(store.base()).ok();
                        managing.kept = sender.map(|sender| KeptHistory { appender, sender, openings: 0 });
                    }
                    appended
                }
                Ok(None) => break,
                Err(error) => Appended::Failed(error),
            };
            match appended {
                Appended::At(_) | Appended::NoSpace => break,
                Appended::Gone => {
                    managing.kept = None;
                    managing.managed.close();
                }
                Appended::Failed(error) => {
                    tally.weigh(error);
                    break;
                }
            }
        }
        self.look_again(topic);
        let result = sending.send_to_all(&mut self.lines, None, terms.full_timeout, &mut tally);
        self.now = sending.finish();
        self.lines.retain(|line| !line.passed_by);
        chaos::point("publish.done");
        result?;
        tally.answer()
    }

    /// The channels before this one took the message, and `first` is what this one said to it.
    #[cold]
    fn deliver_otherwise(
        &mut self,
        at: usize,
        first: Option<Delivery>,
        record: Record<'_>,
        terms: Terms,
    ) -> Result<usize> {
        // It may take a while.
        self.finish();
        let mut tally = Tally::new(record.topic, at);
        let mut sending = Sending::new(&self.store, record, self.now, self.keeps);
        let result = sending.send_to_all(&mut self.lines[at..], first, terms.full_timeout, &mut tally);
        self.now = sending.finish();
        self.lines.retain(|line| !line.passed_by);
        chaos::point("publish.done");
        result?;
        tally.answer()
    }

    /// Ends a run of messages: every receiver knows of them when this returns.
    pub(super) fn finish(&mut self) {
        for line in &mut self.lines {
            line.finish(self.now.wall_us());
        }
    }

    /// Closes what it keeps open; answers how many.
    pub(super) fn let_go(&mut self) -> usize {
        let history = self.managed.as_mut().and_then(|managing| managing.kept.take());
        self.lines.iter_mut().filter_map(|line| line.kept.take()).count() + usize::from(history.is_some())
    }
}

/// What messages to this topic, with these headers, begin with: what is kept, if it is that. `None`: it is too long.
#[inline]
fn opening<'a>(kept: &'a mut Option<Opening>, topic: &str, headers: &str, epoch: Option<u64>) -> Option<&'a Opening> {
    if !kept.as_ref().is_some_and(|kept| kept.is_of(topic, headers, epoch)) {
        *kept = Opening::new(topic, headers, epoch);
    }
    kept.as_ref()
}

impl Holder for Exclusive<Lane> {
    fn close_idle(&self, before: u64) -> usize {
        // One that is in use is not idle.
        let Some(mut lane) = self.try_take() else { return 0 };
        if lane.used < before { lane.let_go() } else { 0 }
    }
}
