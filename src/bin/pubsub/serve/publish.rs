//! Publishing for connections and requests: publishers kept open, topics made by their first message.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pubsub::{Publisher, PublisherOptions};

use super::hub::Hub;
use super::managed;

/// What a browser publishes is JSON.
const HEADERS: &str = r#"{"content-type": "application/json"}"#;

/// Publishers that a connection keeps open.
const KEPT: usize = 64;
/// A topic that another program deleted is made again by the first message that comes so much later.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

struct Kept {
    publisher: Publisher,
    looked: Instant,
    deletions: u64,
}

/// The publishers of one connection or request.
pub struct Publishers {
    hub: Arc<Hub>,
    kept: HashMap<String, Kept>,
    /// The topics published to since [`hurry`](Publishers::hurry).
    fresh: Vec<String>,
}

impl Publishers {
    /// None yet.
    pub fn new(hub: &Arc<Hub>) -> Publishers {
        Publishers { hub: Arc::clone(hub), kept: HashMap::new(), fresh: Vec::new() }
    }

    /// Publishes a JSON text; answers how many channels took it. Blocks for as long as the store takes to write a message.
    pub fn publish(&mut self, topic: &str, json: &str) -> pubsub::Result<usize> {
        if self.fresh.last().is_none_or(|last| last != topic) && !self.fresh.iter().any(|fresh| fresh == topic) {
            self.fresh.push(topic.to_owned());
        }
        if self.kept.len() >= KEPT && !self.kept.contains_key(topic) {
            self.kept.clear();
        }
        let (now, deletions) = (Instant::now(), self.hub.deletions());
        if let Some(kept) = self.kept.get_mut(topic) {
            if kept.deletions != deletions || now - kept.looked > LOOK_AGAIN {
                managed::ensure(topic, self.hub.home().as_deref())?;
                (kept.looked, kept.deletions) = (now, deletions);
            }
            return kept.publisher.publish_json(json.as_bytes(), HEADERS);
        }
        let home = self.hub.home();
        pubsub::validate_topic(topic)?;
        managed::ensure(topic, home.as_deref())?;
        let publisher = Publisher::open(topic, &PublisherOptions { home, ..PublisherOptions::default() })?;
        let kept = self.kept.entry(topic.to_owned()).or_insert(Kept { publisher, looked: now, deletions });
        kept.publisher.publish_json(json.as_bytes(), HEADERS)
    }

    /// Delivers what was published since the last time to those who subscribe here, in this task: the doorbell would do, too, but
    /// for a system call and perhaps another thread to wake.
    pub fn hurry(&mut self) {
        for topic in self.fresh.drain(..) {
            if let Some(feed) = self.hub.feed(&topic) {
                feed.hurry();
            }
        }
    }
}
