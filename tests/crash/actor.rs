//! A publisher and a receiver that keep a journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pubsub::{Channel, ChannelOptions, ErrorKind, FullPolicy, Publisher, PublisherOptions, Transport, last_rejected};

use crate::journal::{Event, Journal, NONE_TOOK, now};
use crate::payload;

pub const TOPICS: [&str; 6] = ["t.one", "t.two", "t.three.deep", "u.one", "solo.a", "solo.b"];
pub const PATTERNS: [&str; 7] = ["t.=", "t.+", "=.one", "u.one", "solo.a", "solo.b", "=.+"];

/// How a receiver's channel is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Place in [`PATTERNS`].
    pub pattern: usize,
    pub drop_oldest: bool,
    /// Messages; 0: the default.
    pub capacity: u64,
    /// Bytes; 0: the default.
    pub bytes: u64,
    /// Over the ring; else files.
    pub ring: bool,
}

pub struct Sender {
    publishers: Arc<Vec<Publisher>>,
    journal: Journal,
    number: u64,
    seq: u64,
}

impl Sender {
    /// Publisher `number`, to these places in [`TOPICS`].
    pub fn new(run: &Path, number: u64, full_timeout: Duration) -> Sender {
        let options = PublisherOptions { full_timeout, home: Some(run.join("store")) };
        let publishers = TOPICS.iter().map(|topic| Publisher::open(topic, &options).unwrap()).collect();
        Sender::on(run, number, Arc::new(publishers))
    }

    /// Publisher `number` in another thread, with the same handles.
    pub fn beside(&self, run: &Path, number: u64) -> Sender {
        Sender::on(run, number, Arc::clone(&self.publishers))
    }

    fn on(run: &Path, number: u64, publishers: Arc<Vec<Publisher>>) -> Sender {
        Sender { publishers, journal: Journal::create(&run.join(format!("{number}.journal"))), number, seq: 0 }
    }

    /// Messages that it has tried to send.
    pub fn sent(&self) -> u64 {
        self.seq
    }

    /// Publishes the next message; whether no channel refused it.
    pub fn send(&mut self, topic: usize, len: usize) -> bool {
        let seq = self.seq;
        self.seq += 1;
        let (data, headers) = (payload::content(self.number, seq, len), payload::headers(self.number, seq, len));
        self.journal.note(now(), Event::Begun { seq, topic: topic as u64 });
        let result = self.publishers[topic].publish(&data, headers.as_ref());
        let rejected = u64::from(last_rejected());
        let taken = match result {
            Ok(taken) => taken as u64,
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::StoreFull) => NONE_TOOK,
            Err(error) => panic!("publisher {} at {seq}: {error}", self.number),
        };
        self.journal.note(now(), Event::Answered { seq, taken, rejected });
        rejected == 0 && taken != NONE_TOOK
    }
}

pub struct Receiver {
    pub channel: Channel,
    journal: Journal,
    session: u64,
    noted: u64,
}

impl Receiver {
    /// `session` is unique in a run.
    pub fn open(run: &Path, number: u64, session: u64, terms: Terms) -> Receiver {
        Receiver::try_open(run, number, session, terms).expect("space for a channel")
    }

    /// `None`: the store is full.
    pub fn try_open(run: &Path, number: u64, session: u64, terms: Terms) -> Option<Receiver> {
        let mut journal = Journal::create(&run.join(format!("{number}.journal")));
        let channel = open(run, terms)?;
        let (drop_oldest, ring) = (terms.drop_oldest.into(), terms.ring.into());
        journal.note(now(), Event::Opened { session, pattern: terms.pattern as u64, drop_oldest, ring });
        Some(Receiver { channel, journal, session, noted: 0 })
    }

    /// Takes one message if there is one within this time; notes that there was none.
    pub fn take(&mut self, timeout: Option<Duration>) -> bool {
        let before = now();
        let result = match timeout {
            None => self.channel.fetch(),
            Some(timeout) => self.channel.fetch_wait(Some(timeout)),
        };
        match result.unwrap_or_else(|error| panic!("session {}: {error}", self.session)) {
            Some(message) => {
                let (publisher, seq) = payload::check(&message).unwrap_or_else(|what| panic!("NOT WHOLE: {what}"));
                let (id, dropped_before) = (message.id(), message.dropped_before());
                let session = self.session;
                self.journal.note(now(), Event::Got { session, publisher, seq, id, dropped_before });
                true
            }
            None => {
                // Only what a fetch found that did not wait counts: a wait may have ended before its last look.
                if timeout.is_none() && before - self.noted > 2_000_000 {
                    self.note_drained(before);
                }
                false
            }
        }
    }

    fn note_drained(&mut self, before: u64) {
        self.noted = before;
        let stats = self.channel.stats().unwrap();
        assert_eq!(stats.malformed, 0, "MALFORMED");
        let (dropped, rejected) = (stats.dropped, stats.rejected);
        self.journal.note(before, Event::Drained { session: self.session, dropped, rejected });
    }

    /// Takes what is there; whether it came to an end within `limit` messages.
    pub fn drain(&mut self, limit: usize) -> bool {
        self.noted = 0;
        (0..limit).any(|_| !self.take(None))
    }

    pub fn close(mut self) {
        self.channel.close().unwrap();
        self.journal.note(now(), Event::Closed { session: self.session });
    }
}

fn open(run: &Path, terms: Terms) -> Option<Channel> {
    let store = ChannelOptions { home: Some(run.join("store")), ..Default::default() };
    let options = ChannelOptions {
        full_policy: if terms.drop_oldest { FullPolicy::DropOldest } else { FullPolicy::Reject },
        capacity_messages: terms.capacity,
        capacity_bytes: terms.bytes,
        transport: if terms.ring { Transport::Ring } else { Transport::Files },
        ..store
    };
    match Channel::open(PATTERNS[terms.pattern], &options) {
        Ok(channel) => Some(channel),
        Err(error) if error.kind() == ErrorKind::StoreFull => None,
        Err(error) => panic!("{error}"),
    }
}
