//! Publishing for connections and requests: publishers kept open, topics made by their first message.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use pubsub::{HeaderValue, Headers, Publisher, PublisherOptions};

use super::feed::{Feed, Hushed};
use super::hub::Hub;

/// What a browser publishes is JSON.
static HEADERS: LazyLock<Headers> = LazyLock::new(|| {
    let mut headers = Headers::new();
    headers.set("content-type", HeaderValue::String("application/json".into()));
    headers
});

/// Publishers that a connection keeps open.
const KEPT: usize = 64;
/// A topic that another program deleted is made again by the first message that comes so much later.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

struct Kept {
    publisher: Publisher,
    looked: Instant,
    deletions: u64,
}

/// JSON texts, end to end.
#[derive(Default)]
pub struct Texts {
    all: String,
    lengths: Vec<u32>,
}

impl Texts {
    /// Appends one, of less than 4 GiB: frames and bodies are much smaller.
    pub fn push(&mut self, text: &str) {
        self.all.push_str(text);
        self.lengths.push(text.len() as u32);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.all.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = &*self.all;
        self.lengths.iter().map(move |&len| {
            let (text, behind) = rest.split_at(len as usize);
            rest = behind;
            text
        })
    }

    fn append(&mut self, other: &Texts) {
        self.all.push_str(&other.all);
        self.lengths.extend_from_slice(&other.lengths);
    }
}

/// The publishers of one connection or request.
pub struct Publishers {
    hub: Arc<Hub>,
    kept: HashMap<String, Kept>,
    /// What [`hurry`](Publishers::hurry) is to deliver, by topic.
    fresh: Vec<(String, Texts)>,
}

impl Publishers {
    /// None yet.
    pub fn new(hub: &Arc<Hub>) -> Publishers {
        Publishers { hub: Arc::clone(hub), kept: HashMap::new(), fresh: Vec::new() }
    }

    /// Publishes the texts behind the first `skipped` in order, and stops before the first that would fail. Answers how many it
    /// published; an error is that of the first. Blocks for as long as the store takes to write them.
    pub fn publish(&mut self, topic: &str, texts: &Texts, skipped: usize) -> pubsub::Result<usize> {
        let (before, lengths) = texts.lengths.split_at(skipped);
        let begin: usize = before.iter().map(|&len| len as usize).sum();
        let data = &texts.all.as_bytes()[begin..];
        if self.kept.len() >= KEPT && !self.kept.contains_key(topic) {
            self.kept.clear();
        }
        let (now, deletions) = (Instant::now(), self.hub.deletions());
        if let Some(kept) = self.kept.get_mut(topic) {
            if kept.deletions != deletions || now - kept.looked > LOOK_AGAIN {
                self.hub.ensure(topic)?;
                (kept.looked, kept.deletions) = (now, deletions);
            }
            return kept.publisher.publish_packed(data, lengths, Some(&HEADERS));
        }
        let home = self.hub.home();
        pubsub::validate_topic(topic)?;
        self.hub.ensure(topic)?;
        let publisher = Publisher::open(topic, &PublisherOptions { home, ..PublisherOptions::default() })?;
        let kept = self.kept.entry(topic.to_owned()).or_insert(Kept { publisher, looked: now, deletions });
        kept.publisher.publish_packed(data, lengths, Some(&HEADERS))
    }

    /// What was published is to be hurried.
    pub fn remember(&mut self, topic: String, texts: Texts) {
        match self.fresh.iter_mut().find(|(fresh, _)| *fresh == topic) {
            Some((_, before)) => before.append(&texts),
            None => self.fresh.push((topic, texts)),
        }
    }

    /// Whether a topic has few subscribers here, but some.
    pub fn is_for_few(&self, topic: &str) -> bool {
        self.hub.feed(topic).is_some_and(|feed| feed.has_few())
    }

    /// To be called before a topic is published to that is hurried at once: until then its doorbell need not ring.
    pub fn hush(&self, topic: &str) -> Option<Hushed> {
        self.hub.feed(topic).map(Feed::hush)
    }

    /// Delivers what was published since the last time to those who subscribe here, in this task: the doorbell would do, too, but
    /// for a few system calls and perhaps another thread to wake.
    pub fn hurry(&mut self) {
        for (topic, texts) in std::mem::take(&mut self.fresh) {
            if let Some(feed) = self.hub.feed(&topic) {
                feed.hurry(&texts);
            }
        }
    }
}
