//! Topics and patterns: what is valid, what matches, and an index of patterns. Pure.

#![forbid(unsafe_code)]

use crate::error::Result;

/// Checks that `topic` can be published to: 1 to 200 of `[a-zA-Z0-9.-]`.
pub fn validate_topic(topic: &str) -> Result<()> {
    let _ = topic;
    todo!()
}

/// What a channel subscribes to: a topic that may hold the wildcards `=` (one word) and `+` (one or more words).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pattern {}

impl Pattern {
    /// A pattern as this library accepts it.
    pub fn parse(pattern: &str) -> Result<Pattern> {
        let _ = pattern;
        todo!()
    }

    /// A pattern that another program put into the store: of any length, wildcards side by side. `None` when it holds
    /// characters that no pattern holds.
    pub(crate) fn foreign(pattern: &str) -> Option<Pattern> {
        let _ = pattern;
        todo!()
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        todo!()
    }

    /// Whether it has no wildcard.
    pub fn is_exact(&self) -> bool {
        todo!()
    }

    /// Whether it matches this topic. Linear in the topic's length.
    pub fn matches(&self, topic: &str) -> bool {
        let _ = topic;
        todo!()
    }
}

/// Patterns with a value each, found by topic at a cost that depends on what matches, not on what is there.
#[derive(Debug)]
pub(crate) struct Index<T> {
    _t: Vec<T>,
}

impl<T: PartialEq> Index<T> {
    pub fn new() -> Index<T> {
        todo!()
    }

    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let _ = (pattern, value);
        todo!()
    }

    /// Removes one entry; whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, value: &T) -> bool {
        let _ = (pattern, value);
        todo!()
    }

    /// Calls `found` with every value whose pattern matches, each entry once, in no particular order.
    pub fn for_each_match(&self, topic: &str, found: impl FnMut(&T)) {
        let _ = (topic, found);
        todo!()
    }
}
