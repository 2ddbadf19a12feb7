//! Which feeds there are. Nobody passes here on the way of a message.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pubsub::Pattern;

use super::feed::{Delivery, Feed};
use super::frames::Overflow;
use super::managed::{self, blocking};
use super::queue::{Member, Queue};
use super::recorder::Recorders;

/// How often channels are looked after. A system call for each.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The feeds, by pattern.
pub struct Hub {
    home: Option<PathBuf>,
    limit: usize,
    feeds: Mutex<HashMap<String, Arc<Feed>>>,
    recorders: Arc<Recorders>,
    deletions: AtomicU64,
}

impl Hub {
    /// Without feeds. Messages larger than `limit` bytes are not passed on; those of formix-pubsub programs are recorded if
    /// `record` says so.
    pub fn new(home: Option<PathBuf>, limit: usize, record: bool) -> Arc<Hub> {
        let recorders = Recorders::new(home.clone(), record);
        Arc::new(Hub { home, limit, feeds: Mutex::default(), recorders, deletions: AtomicU64::new(0) })
    }

    /// The store.
    pub fn home(&self) -> Option<PathBuf> {
        self.home.clone()
    }

    /// The largest message, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The topics that are recorded here.
    pub fn recorders(&self) -> &Arc<Recorders> {
        &self.recorders
    }

    /// Makes the topic managed, as the first subscribe or publish does. Within the runtime; blocks for file operations.
    pub fn ensure(&self, topic: &str) -> pubsub::Result<()> {
        managed::ensure(topic, self.home.as_deref())?;
        self.recorders.take_up(topic);
        Ok(())
    }

    /// Joins the pattern's feed, the first time opening it; with what came [early](Feed::join). Within the runtime; blocks for file
    /// operations.
    pub fn enter(
        &self,
        pattern: &Pattern,
        queue: &Arc<Queue>,
        overflow: Overflow,
    ) -> pubsub::Result<(Arc<Feed>, Member, Vec<Arc<Delivery>>)> {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        let feed = match feeds.get(pattern.as_str()).filter(|feed| !feed.is_closed()) {
            Some(feed) => Arc::clone(feed),
            None => {
                let feed = Feed::open(pattern, self.home(), self.limit)?;
                feeds.insert(pattern.as_str().to_owned(), Arc::clone(&feed));
                feed
            }
        };
        let (member, early) = feed.join(queue, overflow);
        Ok((feed, member, early))
    }

    /// The feed of a topic, if somebody here subscribes to it.
    pub fn feed(&self, topic: &str) -> Option<Arc<Feed>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// Leaves a feed, the last time closing it.
    pub fn leave(&self, feed: &Arc<Feed>, member: Member) {
        let mut feeds = self.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        if !feed.leave(member) {
            return;
        }
        feed.close();
        let name = &*feed.pattern().text;
        // A feed that failed may have a successor already.
        if feeds.get(name).is_some_and(|current| Arc::ptr_eq(current, feed)) {
            feeds.remove(name);
        }
    }

    /// Ends feeds whose channel somebody deleted, with the store as a rule; until the gateway ends.
    pub async fn watch(self: Arc<Hub>) {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            let feeds: Vec<_> = self.feeds.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
            let checked = blocking(move || {
                feeds.iter().for_each(|feed| feed.check());
                Ok(())
            });
            checked.await.unwrap_or_else(|error| tracing::warn!(%error, "channels were not checked"));
        }
    }

    /// How many feeds there are.
    pub fn feeds(&self) -> usize {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Rises when a topic was deleted through this gateway: who publishes looks whether it is still there.
    pub fn deletions(&self) -> u64 {
        self.deletions.load(Ordering::Relaxed)
    }

    /// A topic was deleted.
    pub fn deleted(&self) {
        self.deletions.fetch_add(1, Ordering::Relaxed);
    }
}
