//! How a subscriber joins a feed: what the history has, then everything newer; no gap, none twice.
//!
//! 1. The member joins the feed, which from here on holds back every message for it. Then the ends of the histories are looked
//!    up: what lies before them is to be sent from there, and what lies behind comes live, since it stands in its history before any
//!    channel hears of it. Only what formix-pubsub programs publish comes live first, and is put into the history by a recorder a
//!    moment later: what came so just before is held back, too, unless the history has it by now.
//! 2. It is answered, and the histories are sent up to those ends, page by page, each when there is room in its queue.
//! 3. Where that is much, the feed holds back only what no history has, until little is missing; then it holds back
//!    everything again, and the ends are looked up anew.
//! 4. The feed hands over what it held back and everything from then on, except what lies before those ends, and what
//!    formix-pubsub programs published and was replayed: that comes live without a position, and is known by id and time.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

#[allow(unused_imports, reason = "for the documentation")]
use pubsub::ErrorKind;
use pubsub::{HistorySlice, Pattern, TopicStats};

use super::feed::{Delivery, Feed, FeedPattern, Replayed};
use super::frames::{self, Begin, Position, Subscribe};
use super::hub::Hub;
use super::managed::{self, blocking};
use super::queue::{Member, Outgoing, Queue};

/// How much a new subscriber gets of the past unless it says.
const REPLAY_DEFAULT: u32 = 100;

/// What formix-pubsub programs published within this time may still come live when it was replayed.
const FOREIGN_US: u128 = 60_000_000;

/// So few messages are read while the feed holds back everything.
const NEAR: u64 = 256;

/// A subscription of a connection; it ends when this is dropped.
pub struct Subscription {
    hub: Arc<Hub>,
    feed: Arc<Feed>,
    member: Member,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.feed, self.member);
    }
}

/// A subscription that is answered next, and then [sent](Joining::replay) its past.
pub struct Joining {
    subscription: Subscription,
    queue: Arc<Queue>,
    pattern: Pattern,
    replayed: Replayed,
    /// Where the histories end, if the feed has held back everything since before that was looked up.
    ends: Option<Vec<End>>,
    /// What its answer says.
    pub begin: Begin,
}

/// A topic's name, the last offset of its history, and the position reached.
type End = (Arc<str>, u64, u64);

/// What to do where there is no such topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Make it.
    Make,
    /// Fail.
    Fail,
}

/// Joins a feed.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such topic and none is to be made; what the store says.
pub async fn join(hub: &Arc<Hub>, queue: &Arc<Queue>, request: Subscribe, missing: Missing) -> pubsub::Result<Joining> {
    let pattern = Pattern::parse(&request.topic)?;
    let (hub, queue, home) = (Arc::clone(hub), Arc::clone(queue), hub.home());
    blocking(move || {
        if pattern.is_exact() {
            match missing {
                Missing::Make => hub.ensure(pattern.as_str())?,
                Missing::Fail => drop(pubsub::topic_stats(pattern.as_str(), home.as_deref())?),
            }
        }
        let (feed, member, early) = hub.enter(&pattern, &queue, request.overflow)?;
        let subscription = Subscription { hub, feed, member };
        let replay = request.replay_last.unwrap_or(REPLAY_DEFAULT);
        let (mut replayed, mut begin) = (Replayed::default(), Begin { position: None, recovered: None });
        let (mut behind, mut ends) = (0_u64, Vec::new());
        // Who wants nothing of the past gets none of it that may never have a place in the history.
        let wants_past = replay > 0 || request.since.is_some();
        replayed.foreign.extend(early.iter().filter(|_| !wants_past).map(|delivery| delivery.identity));
        let mut early: Vec<_> = if wants_past { early } else { Vec::new() };
        for stats in managed::matching(&pattern, home.as_deref())? {
            let mut from = managed::before_last(&stats, replay);
            if pattern.is_exact() {
                if let Some(since) = request.since {
                    let last = stats.next_offset.saturating_sub(1);
                    let kept = last.saturating_sub(stats.messages_in_history);
                    let is_here = since.epoch == stats.epoch && since.offset <= last;
                    begin.recovered = Some(is_here && since.offset >= kept);
                    if is_here {
                        from.offset = since.offset.max(kept);
                    }
                }
                begin.position = Some(from);
            }
            let last = stats.next_offset.saturating_sub(1);
            behind = behind.saturating_add(last.saturating_sub(from.offset));
            let topic: Arc<str> = if pattern.is_exact() { Arc::default() } else { stats.topic.as_str().into() };
            let (here, elsewhere) = early.into_iter().partition(|delivery| delivery.topic == topic);
            early = elsewhere;
            replayed.foreign.extend(managed::recorded(&stats, home.as_deref(), here)?);
            ends.push((Arc::clone(&topic), last, from.offset));
            replayed.floors.insert(topic, from);
        }
        // No history has a past of the others.
        replayed.foreign.extend(early.iter().map(|delivery| delivery.identity));
        let ends = Some(ends).filter(|_| behind <= NEAR);
        if ends.is_none() {
            subscription.feed.hold_unmanaged(subscription.member);
        }
        Ok(Joining { subscription, queue, pattern, replayed, ends, begin })
    })
    .await
}

impl Joining {
    /// Sends the past, and hands over to the present. `None`: the connection ends.
    pub async fn replay(mut self) -> pubsub::Result<Option<Subscription>> {
        // What is not there at the start was not promised, unless the answer said so.
        let mut is_promised = self.begin.recovered == Some(true);
        let ends = loop {
            if let Some(ends) = self.ends.take() {
                break ends;
            }
            let targets = self.targets().await?;
            let behind: u64 = targets.iter().map(|(_, last, floor)| last.saturating_sub(*floor)).sum();
            if behind <= NEAR {
                let Subscription { feed, member, .. } = &self.subscription;
                feed.hold_all(*member);
                // What came live before it held everything lies before these.
                self.ends = Some(self.targets().await?);
                continue;
            }
            if !self.send_all(targets, is_promised).await? {
                return Ok(None);
            }
            is_promised = true;
        };
        if !self.send_all(ends, is_promised).await? {
            return Ok(None);
        }
        let Subscription { feed, member, .. } = &self.subscription;
        feed.settle(*member, std::mem::take(&mut self.replayed));
        Ok(Some(self.subscription))
    }

    /// Sends histories up to these ends. False: the connection ends.
    async fn send_all(&mut self, ends: Vec<End>, is_promised: bool) -> pubsub::Result<bool> {
        for (topic, last, floor) in ends {
            if floor < last && !self.send_until(&topic, last, is_promised).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the histories end now. Topics that were made meanwhile begin with their first message.
    async fn targets(&mut self) -> pubsub::Result<Vec<End>> {
        let (pattern, home) = (self.pattern.clone(), self.home());
        let is_exact = pattern.is_exact();
        let all = blocking(move || managed::matching(&pattern, home.as_deref())).await?;
        let target = |stats: TopicStats| {
            let topic: Arc<str> = if is_exact { Arc::default() } else { stats.topic.as_str().into() };
            let first = Position { epoch: stats.epoch, offset: 0 };
            let floor = self.replayed.floors.entry(Arc::clone(&topic)).or_insert(first);
            if floor.epoch != stats.epoch {
                *floor = first;
            }
            (topic, stats.next_offset.saturating_sub(1), floor.offset)
        };
        Ok(all.into_iter().map(target).collect())
    }

    /// Sends a topic's history up to an offset. False: the connection ends.
    async fn send_until(&mut self, topic: &str, last: u64, mut is_promised: bool) -> pubsub::Result<bool> {
        while let Some(slice) = self.read(topic).await? {
            if !self.send(topic, &slice, last, is_promised).await {
                return Ok(false);
            }
            is_promised = true;
            if slice.messages.is_empty() || self.replayed.floors.get(topic).is_none_or(|floor| floor.offset >= last) {
                break;
            }
        }
        Ok(true)
    }

    fn home(&self) -> Option<PathBuf> {
        self.subscription.hub.home()
    }

    /// What a topic's history has behind the position reached.
    async fn read(&self, topic: &str) -> pubsub::Result<Option<HistorySlice>> {
        let Some(floor) = self.replayed.floors.get(topic).copied() else { return Ok(None) };
        let name = if topic.is_empty() { self.pattern.as_str() } else { topic }.to_owned();
        let home = self.home();
        blocking(move || managed::page(&name, home.as_deref(), floor)).await
    }

    /// Sends a page, as far as the offset `last`, and moves the position behind it; a gap first, if some of it `is_promised` and
    /// gone. False: the connection ends.
    async fn send(&mut self, topic: &str, slice: &HistorySlice, last: u64, is_promised: bool) -> bool {
        let pattern = FeedPattern::new(&self.pattern);
        let floor = self.replayed.floors.get(topic).map_or(0, |floor| floor.offset);
        let count = slice.messages.iter().take_while(|message| message.offset() <= last).count();
        let missed = slice.missed.min(last.saturating_sub(floor).saturating_sub(count as u64));
        if missed > 0 && is_promised {
            let gap = Outgoing::Gap(frames::gap(&pattern.text, missed).into());
            if !self.queue.send(gap).await {
                return false;
            }
        }
        let limit = self.subscription.hub.limit();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_micros());
        for message in &slice.messages[..count] {
            let mut delivery = Delivery::new(message, false, &pattern, limit);
            delivery.missed = 0;
            if delivery.is_foreign && message.timestamp_us().unsigned_abs() as u128 + FOREIGN_US >= now {
                self.replayed.foreign.insert(delivery.identity);
            }
            if !self.queue.send(Outgoing::Message(Arc::new(delivery))).await {
                return false;
            }
        }
        if let Some(floor) = self.replayed.floors.get_mut(topic) {
            floor.offset = floor.offset.max(slice.next_offset.saturating_sub(1).min(last));
        }
        true
    }
}
