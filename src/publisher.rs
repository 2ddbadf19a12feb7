//! The sending end: match, deliver, count.
//!
//! A publish looks for channels that came or went (at most once in 5 us), takes the matching ones and delivers to each
//! ([`sending`]): into its ring, or by a file that is written once and linked into every channel. What can be kept from one
//! message to the next is kept in a [`Lane`], which one thread at a time uses: nothing that a publisher does waits for another,
//! be it of another process or thread.

#![forbid(unsafe_code)]

mod lane;
mod recording;
mod sending;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::message::{self, Headers};
use crate::store::{Holder, Store};
use crate::sys::exclusive::Exclusive;
use crate::sys::fork;
use crate::topic::validate_topic;
use lane::{Lane, Terms};
pub(crate) use recording::Recording;
pub(crate) use sending::announce_deletion;

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
    /// What a thread publishes with when no other is at it.
    first: Arc<Exclusive<Lane>>,
    /// What the others publish with.
    spare: Mutex<Vec<Lane>>,
}

thread_local! {
    static LAST_REJECTED: Cell<u32> = const { Cell::new(0) };
}

/// Matching channels that refused this thread's last publish.
pub fn last_rejected() -> u32 {
    LAST_REJECTED.get()
}

/// Publishes one message to a topic of the default store; answers how many channels took it. Any thread.
///
/// Errors as [`Publisher::publish`]; [`InvalidTopic`](ErrorKind::InvalidTopic).
pub fn publish(topic: &str, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    publish_in(None, topic, data, headers)
}

/// [`publish`] in the store at `home` (`None`: the default one).
pub(crate) fn publish_in(home: Option<&Path>, topic: &str, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    validate_topic(topic)?;
    let mut lane = Lane::new(home, topic)?;
    let terms = Terms { full_timeout: Duration::ZERO, more: false };
    lane.deliver(topic, data, &text(headers), terms)
}

/// Headers as they travel.
fn text(headers: Option<&Headers>) -> std::borrow::Cow<'static, str> {
    headers.filter(|headers| !headers.is_empty()).map_or("{}".into(), |headers| headers.to_json().into())
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
        let mut lane = Lane::new(home.as_deref(), topic)?;
        lane.keeps_open();
        Ok(Publisher {
            topic: topic.to_string(),
            home,
            full_timeout: options.full_timeout,
            generation: fork::generation(),
            first: Arc::new(Exclusive::new(lane)),
            spare: Mutex::default(),
        })
    }

    /// The topic that it publishes to.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The store that it publishes in now.
    pub(crate) fn store(&self) -> Result<Arc<Store>> {
        self.with_lane(|lane| Ok(Arc::clone(lane.store())))
    }

    /// Publishes one message; answers how many channels took it: 0 when none matches. When some refused it,
    /// [`last_rejected`] tells how many.
    ///
    /// Errors: when no channel took it and at least one refused it, the weightiest reason:
    /// [`StoreFull`](ErrorKind::StoreFull), [`Permission`](ErrorKind::Permission), [`Io`](ErrorKind::Io) and what else kept it
    /// out, before [`QueueFull`](ErrorKind::QueueFull). [`TooLarge`](ErrorKind::TooLarge): more than 4 GiB - 1.
    /// [`Interrupted`](ErrorKind::Interrupted): a signal was handled while it waited for room.
    pub fn publish(&self, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
        let json = text(headers);
        self.with_lane(|lane| lane.deliver(&self.topic, data, &json, self.terms(false)))
    }

    /// [`publish`](Publisher::publish) with headers that are JSON text already, kept byte for byte: for who hands on what others
    /// published. [`InvalidHeaders`](ErrorKind::InvalidHeaders) when it is not JSON.
    #[doc(hidden)]
    pub fn publish_json(&self, data: &[u8], headers_json: &str) -> Result<usize> {
        message::check_json(headers_json)?;
        self.with_lane(|lane| lane.deliver(&self.topic, data, headers_json, self.terms(false)))
    }

    /// Publishes in order and stops before the first that would fail. Answers how many were handled; an error only
    /// when it is the first that fails.
    pub fn publish_batch(&self, payloads: &[Payload<'_>]) -> Result<usize> {
        self.publish_all(payloads.iter().map(|&payload| Ok(payload)))
    }

    /// [`publish_batch`](Publisher::publish_batch) of payloads that may turn out to be none.
    pub(crate) fn publish_all<'a>(&self, payloads: impl Iterator<Item = Result<Payload<'a>>>) -> Result<usize> {
        self.with_lane(|lane| {
            let mut batch = Batch { publisher: self, lane, handled: 0, told: 0 };
            let mut run = Vec::with_capacity(RUN);
            // Many payloads share their headers: those are turned into text once.
            let mut last: (Option<&Headers>, _) = (None, text(None));
            let mut stopped = None;
            for payload in payloads {
                let Payload { data, headers } = match payload {
                    Ok(payload) => payload,
                    Err(error) => {
                        stopped = Some(error);
                        break;
                    }
                };
                let is_same = same(last.0, headers);
                if !is_same || run.len() == RUN {
                    if !batch.publish(&run, &last.1)? {
                        return Ok(batch.handled);
                    }
                    run.clear();
                }
                if !is_same {
                    last = (headers, text(headers));
                }
                run.push(data);
            }
            let is_whole = batch.publish(&run, &last.1)?;
            match stopped {
                Some(error) if is_whole && batch.handled == 0 => Err(error),
                _ => Ok(batch.handled),
            }
        })
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
        let json = text(headers);
        self.with_lane(|lane| {
            let mut batch = Batch { publisher: self, lane, handled: 0, told: 0 };
            let mut rest = data;
            let mut run = [&data[..0]; RUN];
            for lengths in lengths.chunks(RUN) {
                for (payload, &len) in run.iter_mut().zip(lengths) {
                    (*payload, rest) = rest.split_at(len as usize);
                }
                if !batch.publish(&run[..lengths.len()], &json)? {
                    break;
                }
            }
            Ok(batch.handled)
        })
    }

    fn terms(&self, more: bool) -> Terms {
        Terms { full_timeout: self.full_timeout, more }
    }

    /// Lends a lane that knows the channels which match now.
    #[inline]
    fn with_lane<T>(&self, body: impl FnOnce(&mut Lane) -> Result<T>) -> Result<T> {
        // Before the lock, which another thread of the parent may have held.
        if fork::generation() != self.generation {
            return Err(self.closed());
        }
        let Some(mut lane) = self.first.try_take() else { return self.with_spare(body) };
        lane.begin(&self.topic, self.home.as_deref())?;
        if lane.needs_holder() {
            let first = Arc::downgrade(&self.first);
            lane.store().add_holder(first as Weak<dyn Holder>);
        }
        body(&mut lane)
    }

    /// Another thread is publishing by this handle. The lane has nothing open of its own: what it uses is shared with the
    /// other publishers of the process.
    #[cold]
    fn with_spare<T>(&self, body: impl FnOnce(&mut Lane) -> Result<T>) -> Result<T> {
        let spare = || self.spare.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let kept = spare().pop();
        let mut lane = match kept {
            Some(lane) => lane,
            None => Lane::new(self.home.as_deref(), &self.topic)?,
        };
        let answer = lane.begin(&self.topic, self.home.as_deref()).and_then(|()| body(&mut lane));
        spare().push(lane);
        answer
    }

    #[cold]
    fn closed(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            format_args!(
                "the publisher on '{}' belongs to the process that forked this one; open one here",
                self.topic
            ),
        )
    }
}

/// Messages that are published one after the other. Dropped, it has told every receiver of them.
struct Batch<'a> {
    publisher: &'a Publisher,
    lane: &'a mut Lane,
    handled: usize,
    /// How many of them the receivers know of.
    told: usize,
}

/// After so many messages of a batch receivers are told of them, and the clock is read again.
const RUN: usize = 64;

impl Batch<'_> {
    /// Publishes up to [`RUN`] messages, all with the same headers; whether to go on. An error only for the batch's first.
    #[inline]
    fn publish(&mut self, payloads: &[&[u8]], json: &str) -> Result<bool> {
        if self.handled - self.told >= RUN {
            self.lane.finish();
            self.lane.read_clock();
            self.told = self.handled;
        }
        if payloads.is_empty() {
            return Ok(true);
        }
        let terms = self.publisher.terms(true);
        let (handled, result) = self.lane.deliver_run(&self.publisher.topic, payloads, json, terms);
        self.handled += handled;
        match result {
            Ok(()) => Ok(true),
            Err(error) if self.handled == 0 => Err(error),
            Err(_) => Ok(false),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.lane.finish();
    }
}

fn same(one: Option<&Headers>, other: Option<&Headers>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => std::ptr::eq(one, other),
        _ => false,
    }
}
