//! Channels as a monitor sees them.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{cleanup, layout};
use crate::control::{self, Counters, FullPolicy, Terms, Transport};
use crate::error::{Error, Result};
use crate::files;
use crate::ring::Glance;
use crate::sys::directory::{Directory, EntryPath, Kind};
use crate::topic::Pattern;

/// A channel as its receiver, `pubsub ls` or a monitor sees it.
#[derive(Debug, Clone)]
pub struct ChannelStats {
    /// The pattern it was opened with.
    pub topic: String,
    /// Its directory.
    pub path: PathBuf,
    /// How messages travel to it: never `Default`.
    pub transport: Transport,
    /// What it does when it is full.
    pub full_policy: FullPolicy,
    /// Whether its receiver lives.
    pub alive: bool,
    /// Whether it is formix-pubsub's. Then the capacities and counters are 0.
    pub foreign: bool,
    /// The receiver's process id, as the receiver's own namespace knows it.
    pub pid: i64,
    /// Messages waiting.
    pub unread_messages: u64,
    /// Bytes waiting, as they are stored: topic, headers and content.
    pub unread_bytes: u64,
    /// The bound of messages.
    pub capacity_messages: u64,
    /// The bound of bytes.
    pub capacity_bytes: u64,
    /// Messages fetched so far.
    pub received: u64,
    /// Messages refused because it was full.
    pub rejected: u64,
    /// Messages dropped to make room.
    pub dropped: u64,
    /// Entries that could not be parsed.
    pub malformed: u64,
}

impl ChannelStats {
    pub(crate) fn new(
        path: PathBuf,
        terms: &Terms,
        counters: Counters,
        unread: (u64, u64),
        ring: Glance,
        alive: bool,
    ) -> ChannelStats {
        ChannelStats {
            topic: terms.pattern.clone(),
            path,
            transport: terms.transport,
            full_policy: terms.policy,
            alive,
            foreign: false,
            pid: i64::from(terms.pid),
            unread_messages: unread.0 + ring.messages,
            unread_bytes: unread.1 + ring.bytes,
            capacity_messages: terms.capacity_messages,
            capacity_bytes: terms.capacity_bytes,
            received: counters.received,
            rejected: counters.rejected,
            dropped: counters.dropped + ring.dropped,
            malformed: counters.malformed,
        }
    }
}

/// The channels of a store (`None`: the default one), dead ones marked, sorted by topic. A store that is not there has
/// none; looking does not make it.
pub fn list_channels(home: Option<&Path>) -> Result<Vec<ChannelStats>> {
    let home = home.unwrap_or_else(|| super::home());
    let failed = |e| Error::os(format_args!("listing the store {}", home.display()), e);
    let base = match Directory::open(home) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(failed)?,
    };
    let mut names = Vec::new();
    base.list(c".", |entry| {
        if entry.kind == Kind::Directory && layout::parse(entry.name).is_some() {
            names.push(entry.name.to_vec());
        }
        true
    })
    .map_err(failed)?;
    let mut channels: Vec<ChannelStats> = names.iter().filter_map(|name| look_at(home, &base, name)).collect();
    channels.sort_by(|a, b| (&a.topic, &a.path).cmp(&(&b.topic, &b.path)));
    Ok(channels)
}

/// The patterns of the living channels, and for how many subscribers each stands.
pub(crate) fn subscriptions(base: &Directory) -> std::io::Result<Vec<(Pattern, u64)>> {
    let mut names = Vec::new();
    base.list(c".", |entry| {
        if entry.kind == Kind::Directory && layout::parse(entry.name).is_some() {
            names.push(entry.name.to_vec());
        }
        true
    })?;
    let alive = names.iter().filter(|name| !cleanup::is_dead(base, name));
    Ok(alive.filter_map(|name| subscription(base, name)).collect())
}

fn subscription(base: &Directory, name: &[u8]) -> Option<(Pattern, u64)> {
    let page = EntryPath::new(name, control::FILE);
    if let Ok(file) = base.open_at(page.as_c_str(), libc::O_RDONLY, 0) {
        let (terms, counters) = control::inspect(file.as_fd()).ok()?;
        return Some((Pattern::foreign(&terms.pattern)?, counters.subscribers));
    }
    Some((Pattern::foreign(layout::parse(name)?.spelled)?, 1))
}

/// One channel; `None` when it went meanwhile.
pub(super) fn look_at(home: &Path, base: &Directory, name: &[u8]) -> Option<ChannelStats> {
    let parsed = layout::parse(name)?;
    let path = home.join(String::from_utf8_lossy(name).as_ref());
    // What may not be listed is shown all the same.
    let unread = match files::unread(base, name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        result => result.unwrap_or_default(),
    };
    let alive = !cleanup::is_dead(base, name);
    let page = EntryPath::new(name, control::FILE);
    if let Ok(file) = base.open_at(page.as_c_str(), libc::O_RDONLY, 0) {
        if let Ok((terms, counters)) = control::inspect(file.as_fd()) {
            let ring = terms.ring.as_ref().and_then(|ring| crate::ring::glance(file.as_fd(), ring).ok());
            return Some(ChannelStats::new(path, &terms, counters, unread, ring.unwrap_or_default(), alive));
        }
    }
    Some(ChannelStats {
        topic: parsed.spelled.to_string(),
        path,
        transport: Transport::Files,
        full_policy: FullPolicy::Reject,
        alive,
        foreign: true,
        pid: parsed.pid,
        unread_messages: unread.0,
        unread_bytes: unread.1,
        capacity_messages: 0,
        capacity_bytes: 0,
        received: 0,
        rejected: 0,
        dropped: 0,
        malformed: 0,
    })
}
