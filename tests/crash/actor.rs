//! A publisher and a receiver that keep a journal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pubsub::{
    Channel, ChannelOptions, ErrorKind, FullPolicy, PackError, Payload, Publisher, PublisherOptions, Transport,
    last_rejected,
};

use crate::journal::{Event, Journal, NONE_TOOK, now};
use crate::payload;

pub const TOPICS: [&str; 6] = ["t.one", "t.two", "t.three.deep", "u.one", "solo.a", "solo.b"];
pub const PATTERNS: [&str; 7] = ["t.=", "t.+", "=.one", "u.one", "solo.a", "solo.b", "=.+"];

/// Words of a buffer for packed records.
const WORDS: usize = 2048;

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

    /// Publishes the next messages as a batch; whether all were handled.
    pub fn send_batch(&mut self, topic: usize, lens: &[usize]) -> bool {
        let (first, begun) = (self.seq, now());
        self.seq += lens.len() as u64;
        // Long enough to say by themselves who they are: messages with the same headers are what batches are quick with.
        let contents: Vec<Vec<u8>> =
            (first..).zip(lens).map(|(seq, &len)| payload::content(self.number, seq, len.max(payload::HEAD))).collect();
        for seq in first..self.seq {
            self.journal.note(begun, Event::Begun { seq, topic: topic as u64 });
        }
        let payloads: Vec<_> = contents.iter().map(|data| Payload { data, headers: None }).collect();
        let handled = match self.publishers[topic].publish_batch(&payloads) {
            Ok(handled) => handled,
            Err(error) if matches!(error.kind(), ErrorKind::QueueFull | ErrorKind::StoreFull) => 0,
            Err(error) => panic!("publisher {} at {first}: {error}", self.number),
        };
        // What stands behind the first that would fail was not tried. Any may have been refused by some of the channels: their
        // counts tell.
        for (seq, i) in (first..self.seq).zip(0..=handled) {
            let taken = if i < handled { 1 } else { NONE_TOOK };
            self.journal.note(now(), Event::Answered { seq, taken, rejected: 1 });
        }
        handled == lens.len()
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

    /// Takes what is there and fits into a buffer, as packed records; whether there was something.
    pub fn take_packed(&mut self) -> bool {
        let mut buffer = [0; WORDS];
        let (records, bytes) = match self.channel.fetch_packed(&mut buffer, Some(Duration::ZERO)) {
            Ok((0, _)) | Err(PackError::TooSmall(_)) => return self.take(None),
            fetched => fetched.unwrap_or_else(|error| panic!("session {}: {error:?}", self.session)),
        };
        let mut rest = &buffer[..bytes / 8];
        for _ in 0..records {
            // As `ps_packed_record` in `pubsub.h` tells.
            let (record, behind) = rest.split_at(rest[0] as usize / 8);
            let bytes: Vec<u8> = record.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            let headers_at = 72 + half(56);
            let texts_end = headers_at + half(60);
            let headers = std::str::from_utf8(&bytes[headers_at..texts_end]).expect("NOT WHOLE: headers");
            let data = &bytes[texts_end.next_multiple_of(8)..][..record[6] as usize];
            let (publisher, seq) =
                payload::check_parts(data, headers).unwrap_or_else(|what| panic!("NOT WHOLE: {what}"));
            let (session, id, dropped_before) = (self.session, record[1], record[3]);
            self.journal.note(now(), Event::Got { session, publisher, seq, id, dropped_before });
            rest = behind;
        }
        true
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
