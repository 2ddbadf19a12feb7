//! What waits to be sent on one connection. Bounded in bytes and messages: whoever reads too slowly loses their
//! connection, or the oldest messages of a subscription that allows it, and never holds up anybody else.
//!
//! Feeds push without ever waiting ([`Queue::deliver`]). The connection's own answers and replays wait for room
//! ([`Queue::send`]), and so keep its peer from sending further requests.
//!
//! Of a WebSocket, whoever has pushed something writes it to the socket ([`Queue::flush`]): waking a task for every connection that
//! gets a message would cost as much as the write. Where the socket is full, the connection's own task goes on
//! ([`Queue::drive`]). An event stream has no socket here, and takes what waits ([`Queue::take`]).

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::Notify;

use super::feed::Delivery;
use super::frames::{self, Overflow};
use super::metrics;
use super::wire::Frame;

/// So much is written at once, about.
const WRITE_BYTES: usize = 64 << 10;
/// And so many frames at most.
const WRITE_FRAMES: usize = 64;
/// So often whoever has pushed something writes; what is still there then is left to the connection's task.
const WRITES_MAX: u32 = 4;

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The most bytes of frames. A frame larger than that is taken into an empty queue.
    pub bytes: usize,
    /// The most frames.
    pub frames: usize,
}

/// One thing to send.
#[derive(Debug)]
pub enum Outgoing {
    /// An answer.
    Answer(Frame),
    /// A message of a subscription.
    Message(Arc<Delivery>),
    /// What a subscription lost at this point.
    Gap(Frame),
    /// A frame of the protocol's own, as it goes over the wire.
    Control(Vec<u8>),
}

impl Outgoing {
    /// As it goes over the wire.
    fn bytes(&self) -> &[u8] {
        match self {
            Outgoing::Answer(frame) | Outgoing::Gap(frame) => frame.bytes(),
            Outgoing::Message(delivery) => delivery.frame.bytes(),
            Outgoing::Control(bytes) => bytes,
        }
    }
}

/// Why a connection ends from this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// A topic that it subscribed to was deleted.
    TopicDeleted,
    /// It does not read fast enough.
    TooSlow,
    /// What it subscribed to cannot be had from here any more.
    Failed,
    /// The gateway stops.
    Stopping,
    /// Its token has expired.
    Expired,
    /// It sent a frame that is too large.
    TooLarge,
    /// It broke the WebSocket's protocol.
    Broken,
    /// It sent text that is not UTF-8.
    NotUtf8,
    /// It has gone.
    Gone,
}

impl End {
    /// Whether what waits is not sent any more.
    fn is_at_once(self) -> bool {
        matches!(self, End::TooSlow | End::Failed | End::TooLarge | End::Broken | End::NotUtf8 | End::Gone)
    }
}

/// One subscription, as a queue knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Unique in the process.
    pub number: u64,
    /// What to do when the queue is full.
    pub overflow: Overflow,
}

struct Entry {
    /// The subscription that this may be dropped for; 0: never dropped.
    member: u64,
    item: Item,
}

enum Item {
    Answer(Frame),
    Message(Arc<Delivery>),
    Gap(u64, Arc<str>),
    Control(Vec<u8>),
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Answer(frame) => frame.len(),
            Item::Message(delivery) => delivery.frame.len(),
            Item::Gap(..) => 0,
            Item::Control(bytes) => bytes.len(),
        }
    }
}

struct Inner {
    entries: VecDeque<Entry>,
    /// Those of them that are no gaps; there are fewer gaps than frames and subscriptions.
    frames: usize,
    bytes: usize,
    /// What is taken and not yet sent: room is made when it has gone.
    taken: usize,
    /// What is being written.
    rest: Rest,
    /// Somebody writes, or the socket is full and the connection's task is to go on.
    is_writing: bool,
    is_blocked: bool,
    /// Ends once the entries are sent; for what is wrong with the connection itself at once.
    end: Option<End>,
    dropped: u64,
}

/// The queue of one connection; any task.
pub struct Queue {
    bounds: Bounds,
    /// None of an event stream.
    socket: Option<OwnedWriteHalf>,
    inner: Mutex<Inner>,
    readable: Notify,
    room: Notify,
    ended: Notify,
}

/// What became of what was [offered](Queue::offer).
pub enum Offered {
    /// It waits, or is sent.
    Taken,
    /// There is no room for it yet.
    Full(Outgoing),
    /// The connection ends.
    Ended,
}

/// What [`Queue::take`] found.
pub enum Taken {
    /// Something to send.
    Some,
    /// Nothing now.
    Nothing,
    /// Nothing more: close.
    End,
}

impl Queue {
    /// An empty one, of a WebSocket or an event stream.
    pub fn new(bounds: Bounds, socket: Option<OwnedWriteHalf>) -> Queue {
        let inner = Inner {
            entries: VecDeque::new(),
            frames: 0,
            bytes: 0,
            taken: 0,
            rest: Rest::default(),
            is_writing: false,
            is_blocked: false,
            end: None,
            dropped: 0,
        };
        let (readable, room, ended) = (Notify::new(), Notify::new(), Notify::new());
        Queue { bounds, socket, inner: Mutex::new(inner), readable, room, ended }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing here panics between two states that belong together.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Messages of a subscription, in order; never waits. Whether a [flush](Queue::flush) is to follow.
    pub fn deliver<'a>(&self, member: Member, deliveries: impl Iterator<Item = &'a Arc<Delivery>>) -> bool {
        let mut inner = self.inner();
        let before = inner.entries.len();
        inner.entries.reserve(deliveries.size_hint().1.unwrap_or(0));
        for delivery in deliveries {
            if inner.end.is_some() {
                break;
            }
            if delivery.missed > 0 {
                self.lose(&mut inner, member, delivery, delivery.missed);
            }
            self.push(&mut inner, member, delivery);
            if delivery.is_end {
                inner.end.get_or_insert(End::TopicDeleted);
            }
        }
        let ended = inner.end.is_some();
        let news = inner.entries.len() != before || ended;
        let is_due = news && !inner.is_writing;
        drop(inner);
        if ended {
            self.readable.notify_one();
            self.ended.notify_one();
        }
        is_due
    }

    fn is_full(&self, inner: &Inner, bytes: usize) -> bool {
        let waiting = inner.bytes + inner.taken;
        inner.frames >= self.bounds.frames || (waiting > 0 && waiting + bytes > self.bounds.bytes)
    }

    fn push(&self, inner: &mut Inner, member: Member, delivery: &Arc<Delivery>) {
        // A deletion is always told.
        while !delivery.is_end && self.is_full(inner, delivery.frame.len()) {
            if member.overflow == Overflow::Disconnect {
                inner.fail();
                return;
            }
            if !inner.drop_oldest_of(member, &delivery.pattern) {
                // Others fill the queue.
                self.lose(inner, member, delivery, 1);
                return;
            }
        }
        inner.push(member.number, Item::Message(Arc::clone(delivery)));
    }

    /// So many messages before this one will never come.
    fn lose(&self, inner: &mut Inner, member: Member, delivery: &Delivery, missed: u64) {
        match member.overflow {
            Overflow::Disconnect => inner.fail(),
            Overflow::DropOldest => inner.add_gap(member, &delivery.pattern, missed),
        }
    }

    /// An answer or a replayed message; waits until there is room. False: the connection ends.
    pub async fn send(&self, item: Outgoing) -> bool {
        let mut item = item;
        loop {
            let room = self.room.notified();
            match self.offer(item) {
                Offered::Taken => return true,
                Offered::Ended => return false,
                Offered::Full(back) => item = back,
            }
            room.await;
        }
    }

    /// The same, but for the wait.
    pub fn offer(&self, item: Outgoing) -> Offered {
        let mut inner = self.inner();
        if inner.end.is_some() {
            return Offered::Ended;
        }
        // The other half is for what cannot wait.
        let waiting = inner.bytes + inner.taken;
        if waiting > self.bounds.bytes / 2 || inner.frames > self.bounds.frames / 2 {
            return Offered::Full(item);
        }
        let item = match item {
            Outgoing::Answer(frame) | Outgoing::Gap(frame) => Item::Answer(frame),
            Outgoing::Message(delivery) => Item::Message(delivery),
            Outgoing::Control(bytes) => Item::Control(bytes),
        };
        inner.push(0, item);
        drop(inner);
        self.flush();
        Offered::Taken
    }

    /// Takes what is to be sent next, about `bytes` of it, and counts what was taken before as sent.
    pub fn take(&self, out: &mut Vec<Outgoing>, bytes: usize) -> Taken {
        let mut inner = self.inner();
        let had = std::mem::take(&mut inner.taken);
        if had > 0 {
            self.room.notify_one();
        }
        if inner.end.is_some_and(End::is_at_once) {
            return Taken::End;
        }
        while inner.taken < bytes {
            let Some(item) = inner.pop() else { break };
            out.push(item);
        }
        match (out.is_empty(), inner.end) {
            (false, _) => Taken::Some,
            (true, Some(_)) => Taken::End,
            (true, None) => {
                inner.rest_idle();
                Taken::Nothing
            }
        }
    }

    /// Writes what waits, as much as the socket takes, unless somebody is at it, who then goes on with it. Any task; does not wait.
    pub fn flush(&self) {
        let Some(socket) = &self.socket else { return self.readable.notify_one() };
        let mut inner = self.inner();
        if inner.is_writing {
            return;
        }
        inner.is_writing = true;
        let mut writes = 0;
        loop {
            let (messages, bytes) = inner.gather();
            if inner.rest.items.is_empty() {
                break;
            }
            let mut rest = std::mem::take(&mut inner.rest);
            drop(inner);
            metrics::sent(messages, bytes);
            let written = rest.write(socket);
            inner = self.inner();
            // What is to be the last may have come meanwhile.
            rest.items.append(&mut inner.rest.items);
            inner.rest = rest;
            writes += 1;
            match written {
                Ok(()) if writes < WRITES_MAX || inner.entries.is_empty() => {
                    inner.taken = 0;
                    self.room.notify_one();
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => {
                    inner.end = Some(End::Gone);
                    inner.clear();
                    inner.rest = Rest::default();
                    self.ended.notify_one();
                    self.room.notify_one();
                    break;
                }
                _ => {
                    inner.is_blocked = true;
                    drop(inner);
                    return self.readable.notify_one();
                }
            }
        }
        inner.is_writing = false;
        inner.rest_idle();
        if inner.end.is_some() {
            self.readable.notify_one();
        }
    }

    /// Goes on writing where the socket was full. Resolves when the connection is to end and, if that is in good order, what
    /// waited is sent. One task.
    pub async fn drive(&self) -> End {
        loop {
            let (end, is_blocked) = {
                let inner = self.inner();
                let is_done = inner.entries.is_empty() && inner.rest.items.is_empty() && !inner.is_writing;
                (inner.end.filter(|end| is_done || end.is_at_once()), inner.is_blocked)
            };
            match end {
                Some(end) => return end,
                None if is_blocked => self.resume().await,
                None => self.readable.notified().await,
            }
        }
    }

    /// Waits until the socket takes more, and writes.
    async fn resume(&self) {
        if let Some(socket) = &self.socket {
            // An error shows when it is written to.
            let _ = socket.writable().await;
        }
        {
            let mut inner = self.inner();
            (inner.is_blocked, inner.is_writing) = (false, false);
        }
        self.flush();
        // A peer that takes everything must not keep others from their turn.
        tokio::task::coop::consume_budget().await;
    }

    /// Sends `last` behind the frame that is being written, and nothing else any more. Behind [`drive`](Queue::drive), in its task.
    pub async fn finish(&self, last: Vec<u8>) {
        {
            let mut inner = self.inner();
            inner.clear();
            inner.rest.items.push_back(Outgoing::Control(last));
        }
        self.flush();
        loop {
            let (is_done, is_blocked) = {
                let inner = self.inner();
                (inner.rest.items.is_empty() && !inner.is_writing, inner.is_blocked)
            };
            match is_done {
                true => return,
                false if is_blocked => self.resume().await,
                false => self.readable.notified().await,
            }
        }
    }

    /// Until there may be something to take.
    pub async fn readable(&self) {
        self.readable.notified().await;
    }

    /// A frame of the protocol's own, whether there is room or not.
    pub fn control(&self, bytes: Vec<u8>) {
        self.inner().push(0, Item::Control(bytes));
        self.flush();
    }

    /// Ends the connection, for [`End::TopicDeleted`], [`End::Stopping`] and [`End::Expired`] once what waits is sent.
    pub fn end(&self, end: End) {
        self.inner().end.get_or_insert(end);
        self.readable.notify_one();
        self.ended.notify_one();
        self.room.notify_one();
    }

    /// Why the connection ends, if it does.
    pub fn end_reason(&self) -> Option<End> {
        self.inner().end
    }

    /// Until the connection is to end; one task waits.
    pub async fn ended(&self) -> End {
        loop {
            if let Some(end) = self.inner().end {
                return end;
            }
            self.ended.notified().await;
        }
    }

    /// Messages dropped since this was asked last, for the figures.
    pub fn take_dropped(&self) -> u64 {
        std::mem::take(&mut self.inner().dropped)
    }
}

/// What goes with the current write.
#[derive(Default)]
struct Rest {
    items: VecDeque<Outgoing>,
    /// Bytes of the first that are written.
    sent: usize,
}

impl Rest {
    /// Writes all of it, or as much as the socket takes.
    fn write(&mut self, socket: &OwnedWriteHalf) -> io::Result<()> {
        while let Some(first) = self.items.front() {
            let first = &first.bytes()[self.sent..];
            let written = if self.items.len() == 1 {
                socket.try_write(first)
            } else {
                let mut slices = [IoSlice::new(&[]); WRITE_FRAMES];
                let all = std::iter::once(first).chain(self.items.iter().skip(1).map(Outgoing::bytes));
                slices.iter_mut().zip(all).for_each(|(slice, bytes)| *slice = IoSlice::new(bytes));
                socket.try_write_vectored(&slices[..self.items.len().min(WRITE_FRAMES)])
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(first) = self.items.front().filter(|first| first.bytes().len() <= self.sent) {
                self.sent -= first.bytes().len();
                self.items.pop_front();
            }
        }
        Ok(())
    }
}

impl Inner {
    /// The next entry, which counts as taken.
    fn pop(&mut self) -> Option<Outgoing> {
        let entry = self.entries.pop_front()?;
        let len = entry.item.bytes();
        self.bytes -= len;
        self.frames -= usize::from(!matches!(entry.item, Item::Gap(..)));
        self.taken += len.max(1);
        Some(match entry.item {
            Item::Answer(frame) => Outgoing::Answer(frame),
            Item::Message(delivery) => Outgoing::Message(delivery),
            Item::Gap(missed, pattern) => Outgoing::Gap(frames::gap(&pattern, missed).into()),
            Item::Control(bytes) => Outgoing::Control(bytes),
        })
    }

    /// Moves what goes with the next write to `rest`: how many messages, and bytes of frames.
    fn gather(&mut self) -> (u64, u64) {
        let (mut messages, mut bytes) = (0, 0);
        while self.rest.items.len() < WRITE_FRAMES && self.taken < WRITE_BYTES {
            let Some(item) = self.pop() else { break };
            if self.rest.items.capacity() == 0 {
                self.rest.items.reserve(WRITE_FRAMES.min(self.entries.len() + 1));
            }
            messages += u64::from(matches!(item, Outgoing::Message(_)));
            bytes += item.bytes().len() as u64;
            self.rest.items.push_back(item);
        }
        (messages, bytes)
    }

    /// Nothing of what waits is sent any more.
    fn clear(&mut self) {
        self.entries = VecDeque::new();
        (self.frames, self.bytes) = (0, 0);
    }

    /// Idle connections are many, and keep no memory of their last burst.
    fn rest_idle(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > 64 {
            self.entries = VecDeque::new();
        }
        if self.rest.items.is_empty() && self.rest.items.capacity() > 8 {
            self.rest.items = VecDeque::new();
        }
    }

    fn push(&mut self, member: u64, item: Item) {
        self.bytes += item.bytes();
        self.frames += usize::from(!matches!(item, Item::Gap(..)));
        self.entries.push_back(Entry { member, item });
    }

    fn fail(&mut self) {
        self.end.get_or_insert(End::TooSlow);
    }

    /// A gap behind everything that waits, or a larger one where the last of the subscription is a gap already.
    fn add_gap(&mut self, member: Member, pattern: &Arc<str>, more: u64) {
        self.dropped += more;
        let last = self.entries.iter_mut().rev().find(|entry| entry.member == member.number);
        if let Some(Entry { item: Item::Gap(missed, _), .. }) = last {
            *missed += more;
        } else {
            self.push(member.number, Item::Gap(more, pattern.clone()));
        }
    }

    /// Drops the oldest waiting message of a subscription: a gap stands in its place. False: it has none.
    fn drop_oldest_of(&mut self, member: Member, pattern: &Arc<str>) -> bool {
        let mut gap: Option<usize> = None;
        let mut found = None;
        for (index, entry) in self.entries.iter().enumerate().filter(|(_, entry)| entry.member == member.number) {
            match entry.item {
                Item::Message(ref delivery) if !delivery.is_end => {
                    found = Some(index);
                    break;
                }
                Item::Gap(..) => gap = Some(index),
                _ => {}
            }
        }
        let Some(index) = found else { return false };
        self.dropped += 1;
        self.bytes -= self.entries[index].item.bytes();
        self.frames -= 1;
        // A gap that the dropped message follows takes it in; where there is none yet, it becomes one.
        match gap.and_then(|gap| self.entries.get_mut(gap)) {
            Some(Entry { item: Item::Gap(missed, _), .. }) => {
                *missed += 1;
                self.entries.remove(index);
            }
            _ => self.entries[index].item = Item::Gap(1, pattern.clone()),
        }
        true
    }
}

#[cfg(test)]
mod tests;
