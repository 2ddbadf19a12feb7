//! The shared directory: layout, permissions, registry, liveness, cleanup.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use crate::channel::ChannelStats;
use crate::error::Result;

/// A store of a given mode and group; other stores are made, private, on first use.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Permission bits of the directory: 0 (0o770 with a group, else 0o700), 0o700, 0o770 or 0o777. A mode that others
    /// share gets the set-group-ID and sticky bits too.
    pub mode: u32,
    /// The group (a name or a number) that owns it; `None`: the caller's.
    pub group: Option<String>,
}

/// The store's directory: `PUBSUB_HOME` (empty counts as unset), else `/dev/shm/pubsub`, else `pubsub` in the system's
/// temporary directory. Decided at first use and kept.
pub fn home() -> &'static Path {
    todo!()
}

/// Makes a store; [`ErrorKind::Exists`](crate::ErrorKind::Exists) when it is there.
pub fn create_store(home: Option<&Path>, options: &StoreOptions) -> Result<()> {
    let _ = (home, options);
    todo!()
}

/// Removes what dead processes left in the store; answers how many channels.
pub fn cleanup(home: Option<&Path>) -> Result<u64> {
    let _: Option<PathBuf> = home.map(Path::to_path_buf);
    todo!()
}

/// The channels of a store, dead ones marked.
pub fn list_channels(home: Option<&Path>) -> Result<Vec<ChannelStats>> {
    let _ = home;
    todo!()
}
