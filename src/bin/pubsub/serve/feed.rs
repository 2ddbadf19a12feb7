//! One pattern's messages: one store channel and one task, however many connections subscribe to it.
//!
//! The task drains the channel, encodes each message once and hands all of a burst to each member's queue. A member
//! that is still [joining](super::join) holds messages back until its replay is done.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::iter::Peekable;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use pubsub::{Channel, ChannelOptions, ErrorKind, FullPolicy, Message, MessageKind, Pattern};
use tokio::sync::Notify;

use super::doorbell::Doorbell;
use super::frames::{self, Position};
use super::metrics;
use super::publish::Texts;
use super::queue::{Member, Queue};
use super::wire::Frame;

/// So many messages are taken from a channel before other tasks have their turn.
const BURST: usize = 256;
/// And about so many bytes.
const BURST_BYTES: usize = 1 << 20;
/// So many sockets are written to by one task before it ends.
const SHARE: usize = 32;
/// But this many if each gets less than so many bytes: such writes are done before another thread is awake, which would only take
/// the processor from receivers.
const SHARE_OF_SHORT: usize = 128;
const SHORT: usize = 4 << 10;
/// See [`Feed::has_few`].
const FEW: usize = 2;
/// What formix-pubsub programs publish is in a history later than this only if its recorder is held up; and so many of these
/// messages are remembered at most.
const RECORDED_WITHIN: Duration = Duration::from_secs(1);
const RECENT_MAX: usize = 4096;
/// A channel that gives so many errors and no message has failed.
const CORRUPT_MAX: u32 = 100;

/// A message as every member of a feed gets it.
#[derive(Debug)]
pub struct Delivery {
    /// Its frame.
    pub frame: Frame,
    /// Its topic, where the pattern is not; empty else.
    pub topic: Arc<str>,
    /// The feed's pattern.
    pub pattern: Arc<str>,
    /// Its place in the topic's history, if that is managed.
    pub position: Option<Position>,
    /// Its id and time: together they tell messages of formix-pubsub, which have no place when they come live, from each other.
    pub identity: Identity,
    /// Messages that were lost just before it.
    pub missed: u64,
    /// It says that the topic is deleted.
    pub is_end: bool,
    /// A formix-pubsub program published it.
    pub is_foreign: bool,
}

impl Delivery {
    /// Encodes a message of the store, which may be known to be JSON. A gap takes the place of one larger than `limit` bytes.
    pub fn new(message: &Message, is_json: bool, pattern: &FeedPattern, limit: usize) -> Delivery {
        let position = match message.epoch() {
            0 => None,
            epoch => Some(Position { epoch, offset: message.offset() }),
        };
        let is_end = message.kind() == MessageKind::TopicDeleted;
        let text = if is_end {
            frames::topic_deleted(message.topic())
        } else if message.data().len() > limit {
            metrics::too_large();
            frames::gap(&pattern.text, 1)
        } else {
            frames::message(&frames::Outgoing {
                topic: message.topic(),
                pattern: (!pattern.is_exact).then_some(&*pattern.text),
                data: message.data(),
                is_json,
                id: message.id(),
                timestamp_us: message.timestamp_us(),
                position,
            })
        };
        Delivery {
            frame: text.into(),
            is_foreign: !is_end && is_of_formix(message.id()),
            topic: if pattern.is_exact { Arc::default() } else { message.topic().into() },
            pattern: pattern.text.clone(),
            position,
            identity: (message.id(), message.timestamp_us()),
            missed: message.dropped_before(),
            is_end,
        }
    }

    #[cfg(test)]
    pub fn for_test(text: &str) -> Delivery {
        let (pattern, topic) = ("p".into(), Arc::default());
        Delivery {
            frame: Frame::from(text.to_owned()),
            topic,
            pattern,
            position: None,
            identity: (0, 0),
            missed: 0,
            is_end: false,
            is_foreign: false,
        }
    }
}

/// What a feed listens to.
#[derive(Debug, Clone)]
pub struct FeedPattern {
    /// The pattern.
    pub text: Arc<str>,
    /// Whether it is a topic.
    pub is_exact: bool,
}

impl FeedPattern {
    /// Of a pattern.
    pub fn new(pattern: &Pattern) -> FeedPattern {
        FeedPattern { text: pattern.as_str().into(), is_exact: pattern.is_exact() }
    }
}

/// Id and time of a message.
pub type Identity = (u64, i64);

/// Up to where a member has the history of each managed topic: what comes live and lies before that was replayed.
pub type Floors = HashMap<Arc<str>, Position>;

/// What a member has of the histories.
#[derive(Default)]
pub struct Replayed {
    /// Up to where.
    pub floors: Floors,
    /// Messages of formix-pubsub that it has, or that are older than what it is to get, and that may still come live.
    pub foreign: HashSet<Identity>,
}

/// What a member that is joining does with live messages.
enum Holding {
    /// Nothing: it has joined.
    Not,
    /// It keeps those that no history has; the others are replayed.
    Unmanaged(Vec<Arc<Delivery>>),
    /// It keeps all.
    All(Vec<Arc<Delivery>>),
}

struct Joined {
    member: Member,
    queue: Arc<Queue>,
    replayed: Replayed,
    holding: Holding,
}

impl Joined {
    /// Whether the queue is to be flushed.
    fn accept(&mut self, burst: &[Arc<Delivery>]) -> bool {
        let held = match &mut self.holding {
            Holding::Not => {
                let replayed = &self.replayed;
                return self.queue.deliver(self.member, burst.iter().filter(|delivery| is_new(replayed, delivery)));
            }
            Holding::Unmanaged(held) => {
                held.extend(burst.iter().filter(|delivery| is_in_no_history(delivery)).cloned());
                held
            }
            Holding::All(held) => {
                held.extend_from_slice(burst);
                held
            }
        };
        if held.len() > HELD_MAX {
            self.queue.end(super::queue::End::TooSlow);
        }
        false
    }
}

/// A replay that takes so long that so many messages come meanwhile has failed.
const HELD_MAX: usize = 65_536;

fn is_in_no_history(delivery: &Delivery) -> bool {
    delivery.position.is_none() || delivery.is_end
}

fn is_new(replayed: &Replayed, delivery: &Delivery) -> bool {
    let Replayed { floors, foreign } = replayed;
    match delivery.position {
        Some(position) if !delivery.is_end && !floors.is_empty() => floors
            .get(&delivery.topic)
            .is_none_or(|floor| floor.epoch != position.epoch || floor.offset < position.offset),
        None if !foreign.is_empty() => !foreign.contains(&delivery.identity),
        _ => true,
    }
}

/// One pattern's channel and members.
pub struct Feed {
    pattern: FeedPattern,
    limit: usize,
    /// The channel's directory.
    path: PathBuf,
    channel: Mutex<Channel>,
    members: Mutex<Vec<Joined>>,
    /// What formix-pubsub programs published lately and came live, perhaps before it was in a history. Changes with `members` locked.
    recent: Mutex<VecDeque<(Instant, Arc<Delivery>)>>,
    turn: Mutex<Turn>,
    is_wanted: AtomicBool,
    news: Notify,
    is_closed: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic in between leaves is consistent: members are whole, and a channel checks itself.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Feed {
    /// Opens the pattern's channel and starts the task that serves it. Within the runtime; blocks for file operations.
    pub fn open(pattern: &Pattern, home: Option<PathBuf>, limit: usize) -> pubsub::Result<Arc<Feed>> {
        // A publisher is not to be refused because a gateway is busy: members are told what was lost, and resume.
        // With a replay, if of one message only, publishers that found their channels before this one was open look again
        // when they have appended to a history: what the histories do not have now comes live. Members know what they had.
        let options =
            ChannelOptions { home, full_policy: FullPolicy::DropOldest, replay_last: 1, ..ChannelOptions::default() };
        let mut channel = Channel::open(pattern.as_str(), &options)?;
        channel.set_subscribers(0);
        let failed = |error| pubsub_io(pattern, &error);
        let doorbell = Doorbell::new(channel.as_fd()?).map_err(failed)?;
        let feed = Arc::new(Feed {
            pattern: FeedPattern::new(pattern),
            limit,
            path: channel.path().to_path_buf(),
            channel: Mutex::new(channel),
            members: Mutex::new(Vec::new()),
            recent: Mutex::default(),
            turn: Mutex::default(),
            is_wanted: AtomicBool::new(false),
            news: Notify::new(),
            is_closed: AtomicBool::new(false),
        });
        tokio::spawn(run(Arc::clone(&feed), doorbell));
        Ok(feed)
    }

    /// What it listens to.
    pub fn pattern(&self) -> &FeedPattern {
        &self.pattern
    }

    /// Whether its channel has failed: a new one is needed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// A new member, which holds back everything until it has [caught up](Feed::settle). Answers what came before it and is held
    /// back as well, since it may be on its way to a history.
    pub fn join(&self, queue: &Arc<Queue>, overflow: frames::Overflow) -> (Member, Vec<Arc<Delivery>>) {
        let member = Member { number: NUMBER.fetch_add(1, Ordering::Relaxed), overflow };
        let mut early = Vec::new();
        self.change(|members| {
            let mut recent = locked(&self.recent);
            forget(&mut recent);
            early.extend(recent.iter().map(|(_, delivery)| Arc::clone(delivery)));
            let holding = Holding::All(early.clone());
            members.push(Joined { member, queue: Arc::clone(queue), replayed: Replayed::default(), holding });
        });
        (member, early)
    }

    /// The member has so much to read that it holds back only what no history has.
    pub fn hold_unmanaged(&self, member: Member) {
        for joined in locked(&self.members).iter_mut().filter(|joined| joined.member == member) {
            if let Holding::All(held) = &mut joined.holding {
                held.retain(|delivery| is_in_no_history(delivery));
                joined.holding = Holding::Unmanaged(std::mem::take(held));
            }
        }
    }

    /// From now on the member holds back everything.
    pub fn hold_all(&self, member: Member) {
        for joined in locked(&self.members).iter_mut().filter(|joined| joined.member == member) {
            if let Holding::Unmanaged(held) = &mut joined.holding {
                joined.holding = Holding::All(std::mem::take(held));
            }
        }
    }

    /// The member has what was replayed: hands it what was held back, and everything from now on.
    pub fn settle(&self, member: Member, replayed: Replayed) {
        if let Some(joined) = locked(&self.members).iter_mut().find(|joined| joined.member == member) {
            let held = match std::mem::replace(&mut joined.holding, Holding::Not) {
                Holding::Not => Vec::new(),
                Holding::Unmanaged(held) | Holding::All(held) => held,
            };
            joined.replayed = replayed;
            if joined.accept(&held) {
                joined.queue.flush();
            }
        }
    }

    /// The member leaves; whether it was the last one.
    pub fn leave(&self, member: Member) -> bool {
        self.change(|members| members.retain(|joined| joined.member != member));
        locked(&self.members).is_empty()
    }

    /// Whether its members are few: writing to them takes much less time than making a few dozen messages.
    pub fn has_few(&self) -> bool {
        locked(&self.members).len() <= FEW
    }

    /// Changes the list of members, and tells the store how many there are.
    fn change(&self, change: impl FnOnce(&mut Vec<Joined>)) {
        let mut members = locked(&self.members);
        change(&mut members);
        let count = members.len() as u64;
        // With the list locked, so that counts come in order. The task never has the channel and the list locked together.
        locked(&self.channel).set_subscribers(count);
    }

    /// Ends the task, and with the last reference closes the channel.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.news.notify_one();
    }

    fn deliver(&self, burst: &[Arc<Delivery>], due: &mut Vec<Arc<Queue>>) {
        let mut members = locked(&self.members);
        for joined in members.iter_mut() {
            if joined.accept(burst) {
                due.push(Arc::clone(&joined.queue));
            }
        }
        let mut unrecorded =
            burst.iter().filter(|delivery| delivery.is_foreign && delivery.position.is_none()).peekable();
        if unrecorded.peek().is_some() {
            let (mut recent, now) = (locked(&self.recent), Instant::now());
            recent.extend(unrecorded.map(|delivery| (now, Arc::clone(delivery))));
            forget(&mut recent);
        }
        drop(members);
        // A write to a socket takes some microseconds: a share of them is done here, at once, the others by whatever thread of the
        // runtime is free.
        let bytes: usize = burst.iter().map(|delivery| delivery.frame.len()).sum();
        let here = if bytes < SHORT && due.len() <= SHARE_OF_SHORT { due.len() } else { due.len().min(SHARE) };
        for share in due[here..].chunks(SHARE) {
            let share = share.to_vec();
            tokio::spawn(async move { share.iter().for_each(|queue| queue.flush()) });
        }
        due[..here].iter().for_each(|queue| queue.flush());
        due.clear();
    }

    /// Fails if somebody deleted the channel, of which its doorbell says nothing. Blocks for a file operation.
    pub fn check(&self) {
        if !self.is_closed() && matches!(self.path.try_exists(), Ok(false)) {
            tracing::error!(pattern = %self.pattern.text, path = %self.path.display(), "another program deleted the channel");
            self.fail();
            self.news.notify_one();
        }
    }

    /// Everybody is told to connect again: the channel is broken.
    fn fail(&self) {
        self.is_closed.store(true, Ordering::Release);
        for joined in locked(&self.members).iter() {
            joined.queue.end(super::queue::End::Failed);
        }
    }

    /// The next messages; whether there may be more. Those that are the `published` ones, in their order, were JSON when they came.
    fn drain<'a>(
        &self,
        burst: &mut Vec<Arc<Delivery>>,
        published: &mut Peekable<impl Iterator<Item = &'a str>>,
    ) -> pubsub::Result<bool> {
        let mut channel = locked(&self.channel);
        let mut bytes = 0;
        while burst.len() < BURST && bytes < BURST_BYTES {
            let Some(message) = channel.fetch()? else { return Ok(false) };
            let is_json = published.next_if(|text| text.as_bytes() == message.data()).is_some();
            let delivery = Delivery::new(&message, is_json, &self.pattern, self.limit);
            bytes += delivery.frame.len();
            burst.push(Arc::new(delivery));
        }
        Ok(true)
    }

    /// Delivers what is in the channel, a burst of it at most, in order whoever calls this. Within the runtime; does not wait.
    fn pump(&self, published: &Texts) -> Pumped {
        let mut published = published.iter().peekable();
        let mut result = Pumped::All;
        loop {
            self.is_wanted.store(true, Ordering::SeqCst);
            let mut turn = match self.turn.try_lock() {
                Ok(turn) => turn,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Whoever is at it looks again before it ends, and again behind that.
                Err(TryLockError::WouldBlock) => return result,
            };
            if !self.is_wanted.swap(false, Ordering::SeqCst) {
                return result;
            }
            let Turn { burst, due, corrupt } = &mut *turn;
            result = match self.drain(burst, &mut published) {
                Ok(more) => {
                    *corrupt = 0;
                    if more { Pumped::Some } else { Pumped::All }
                }
                // Set aside and counted by the library; the next fetch goes on behind it, as a rule.
                Err(error) if error.kind() == ErrorKind::Corrupt && *corrupt < CORRUPT_MAX => {
                    *corrupt += 1;
                    tracing::warn!(pattern = %self.pattern.text, %error, "a message could not be read");
                    Pumped::Some
                }
                Err(error) => {
                    tracing::error!(pattern = %self.pattern.text, %error, "the channel has failed");
                    self.fail();
                    return Pumped::Failed;
                }
            };
            if !burst.is_empty() {
                self.deliver(burst, due);
                burst.clear();
                if burst.capacity() > BURST {
                    *burst = Vec::new();
                }
            }
            drop(turn);
            if !matches!(result, Pumped::All) || !self.is_wanted.load(Ordering::SeqCst) {
                return result;
            }
        }
    }

    /// What is published to the channel until it is next looked into need not ring its doorbell: for who is about to publish, and to
    /// [hurry](Feed::hurry) it.
    pub fn hush(self: Arc<Feed>) -> Hushed {
        // Who has it is looking into it, and has no need of the doorbell meanwhile.
        if let Ok(mut channel) = self.channel.try_lock() {
            channel.disarm();
        }
        Hushed(self)
    }

    /// Delivers what has just been published here, without waiting for the channel's doorbell.
    pub fn hurry(&self, published: &Texts) {
        if !matches!(self.pump(published), Pumped::All) {
            self.news.notify_one();
        }
    }
}

/// A feed whose doorbell may be silent. It must not outlive the poll of a task: others publish there, too.
pub struct Hushed(Arc<Feed>);

impl Drop for Hushed {
    fn drop(&mut self) {
        // Then nobody has hurried.
        if std::thread::panicking() {
            self.0.news.notify_one();
        }
    }
}

/// Whether a formix-pubsub program made this id: microseconds since 1970, unlike ours, which are shifted (docs/store-format.md).
fn is_of_formix(id: u64) -> bool {
    id >> 56 == 0
}

fn forget(recent: &mut VecDeque<(Instant, Arc<Delivery>)>) {
    let is_over = |recent: &VecDeque<(Instant, _)>| {
        recent.len() > RECENT_MAX || recent.front().is_some_and(|(came, _)| came.elapsed() > RECORDED_WITHIN)
    };
    while is_over(recent) {
        recent.pop_front();
    }
    if recent.is_empty() {
        *recent = VecDeque::new();
    }
}

/// What [`Feed::pump`] did.
enum Pumped {
    /// There was no more.
    All,
    /// There may be more.
    Some,
    /// The channel is broken.
    Failed,
}

/// What whoever delivers needs; nobody else does meanwhile.
#[derive(Default)]
struct Turn {
    burst: Vec<Arc<Delivery>>,
    due: Vec<Arc<Queue>>,
    corrupt: u32,
}

fn pubsub_io(pattern: &Pattern, error: &std::io::Error) -> pubsub::Error {
    pubsub::Error::new(ErrorKind::Io, format!("waiting on the channel on '{pattern}': {error}"))
}

async fn run(feed: Arc<Feed>, doorbell: Doorbell) {
    loop {
        let pumped = feed.pump(&Texts::default());
        if feed.is_closed() {
            return;
        }
        match pumped {
            Pumped::Failed => return,
            Pumped::Some => {
                tokio::task::yield_now().await;
                continue;
            }
            Pumped::All => {}
        }
        tokio::select! {
            rung = doorbell.rung() => if let Err(error) = rung {
                tracing::error!(pattern = %feed.pattern.text, %error, "the channel cannot be waited for");
                return feed.fail();
            },
            () = feed.news.notified() => {}
        }
    }
}
