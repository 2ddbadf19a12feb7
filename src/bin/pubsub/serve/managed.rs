//! Managed topics, as the gateway uses them. Every function blocks for file operations: call it through [`blocking`].

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use pubsub::{ErrorKind, HistorySlice, Pattern, TopicOptions, TopicStats};

use super::feed::{Delivery, Identity};
use super::frames::Position;

/// A page of a history is at most so many messages and about so many bytes.
const PAGE_MESSAGES: u64 = 256;
const PAGE_BYTES: u64 = 2 << 20;

/// Runs a function that blocks where it holds up nobody.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> pubsub::Result<T> + Send + 'static,
) -> pubsub::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(pubsub::Error::new(ErrorKind::Internal, format!("a task of the gateway failed: {error}"))),
    }
}

/// Makes the topic managed, as the first subscribe or publish does.
pub fn ensure(topic: &str, home: Option<&Path>) -> pubsub::Result<()> {
    let options = TopicOptions { home: home.map(Path::to_path_buf), ..TopicOptions::default() };
    match pubsub::create_topic(topic, &options) {
        Err(error) if error.kind() == ErrorKind::Exists => Ok(()),
        // No room to try it: who subscribes to what is there already needs none.
        Err(error) if error.kind() == ErrorKind::StoreFull && matches!(stats(topic, home), Ok(Some(_))) => Ok(()),
        result => result,
    }
}

/// The topic, if it is managed.
pub fn stats(topic: &str, home: Option<&Path>) -> pubsub::Result<Option<TopicStats>> {
    found(pubsub::topic_stats(topic, home))
}

/// The managed topics that a pattern matches.
pub fn matching(pattern: &Pattern, home: Option<&Path>) -> pubsub::Result<Vec<TopicStats>> {
    if pattern.is_exact() {
        return Ok(stats(pattern.as_str(), home)?.into_iter().collect());
    }
    let mut topics = pubsub::topics(home)?;
    topics.retain(|stats| pattern.matches(&stats.topic));
    Ok(topics)
}

/// The next messages behind a position, some of them at least if there are any; `None`: that history is no more.
pub fn page(topic: &str, home: Option<&Path>, behind: Position) -> pubsub::Result<Option<HistorySlice>> {
    let Some(stats) = stats(topic, home)?.filter(|stats| stats.epoch == behind.epoch) else { return Ok(None) };
    let average = stats.bytes_in_history / stats.messages_in_history.max(1);
    let max = (PAGE_BYTES / average.max(1)).clamp(1, PAGE_MESSAGES);
    let slice = found(pubsub::topic_history_from(topic, home, behind.offset.saturating_add(1), max as usize))?;
    Ok(slice.filter(|slice| slice.epoch == behind.epoch))
}

/// Which of these messages of formix-pubsub programs the topic's history had when it was looked at, or had given up.
pub fn recorded(
    stats: &TopicStats,
    home: Option<&Path>,
    messages: Vec<Arc<Delivery>>,
) -> pubsub::Result<Vec<Identity>> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut position = Position { epoch: stats.epoch, offset: 0 };
    let (mut kept, mut oldest) = (HashSet::new(), None);
    while let Some(slice) = page(&stats.topic, home, position)? {
        let count = slice.messages.iter().take_while(|message| message.offset() < stats.next_offset).count();
        let Some(last) = slice.messages[..count].last() else { break };
        position.offset = last.offset();
        // What is older than a history that begins behind its beginning was in it.
        oldest = oldest.or(slice.messages.first().map(|first| (first.offset() > 1).then(|| first.timestamp_us())));
        kept.extend(slice.messages[..count].iter().map(|message| (message.id(), message.timestamp_us())));
    }
    let is_older = |(_, time): Identity| oldest.flatten().is_some_and(|oldest| time < oldest);
    let identities = messages.iter().map(|delivery| delivery.identity);
    Ok(identities.filter(|identity| kept.contains(identity) || is_older(*identity)).collect())
}

fn found<T>(result: pubsub::Result<T>) -> pubsub::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The position behind which the last `count` messages lie.
pub fn before_last(stats: &TopicStats, count: u32) -> Position {
    let last = stats.next_offset.saturating_sub(1);
    let count = u64::from(count).min(stats.messages_in_history);
    Position { epoch: stats.epoch, offset: last.saturating_sub(count) }
}
