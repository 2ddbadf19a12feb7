//! Who may use a store: the modes of what is made in it, and whether to trust a store that is there.

#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};
use crate::files::FileMode;
use crate::sys::process;

/// Set-group-ID and sticky: what tells a shared store from a private one.
const SHARED: u32 = 0o3000;

/// The modes of what is made in a store.
#[derive(Debug)]
pub(crate) struct Access {
    /// Others than its owner may use it.
    pub shared: bool,
    /// Permission bits of directories, without the special ones.
    directory: u32,
    /// Whether this process's umask takes away bits that its owner needs. Looked up when it matters: it takes longer than
    /// all else that opening a store does.
    harsh_umask: OnceLock<bool>,
}

impl Access {
    pub(crate) fn of_store(stat: &libc::stat) -> Access {
        let shared = stat.st_mode & SHARED == SHARED;
        Access { shared, directory: if shared { stat.st_mode & 0o777 } else { 0o700 }, harsh_umask: OnceLock::new() }
    }

    /// The mode of a channel's directory. In a shared store each may remove what is his, and what lies in his channels;
    /// where publishers drop the oldest, they must be able to remove each other's messages.
    pub(crate) fn channel_directory(&self, drop_oldest: bool) -> u32 {
        match (self.shared, drop_oldest) {
            (false, _) => 0o700,
            (true, false) => SHARED | self.directory,
            (true, true) => 0o2000 | self.directory,
        }
    }

    /// The mode of files and FIFOs.
    pub(crate) fn file(&self) -> u32 {
        self.directory & 0o666
    }

    /// The mode of a message file that channels of these users receive.
    pub(crate) fn message_file(&self, owners: impl Iterator<Item = u32>) -> FileMode {
        let user = process::user();
        if self.shared {
            FileMode { mode: self.file(), enforce: true }
        } else if owners.into_iter().any(|owner| owner != user) {
            // As formix-pubsub makes them: the directories above decide who gets there.
            FileMode { mode: 0o644, enforce: true }
        } else {
            // Unknown counts as harsh: setting a mode once too often harms nobody.
            let is_harsh = || process::umask().is_none_or(|mask| mask & 0o700 != 0);
            FileMode { mode: self.file(), enforce: *self.harsh_umask.get_or_init(is_harsh) }
        }
    }
}

/// Refuses a default store that somebody else has put there: he could read and forge everything in it.
pub(crate) fn check_default_store(home: &Path, stat: &libc::stat) -> Result<()> {
    let user = process::user();
    let ours = stat.st_uid == user;
    let shared_with_us = stat.st_mode & SHARED == SHARED && process::in_group(stat.st_gid);
    if ours || shared_with_us {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Permission,
        format_args!(
            "the default store {} belongs to user {} (this is user {user}) and is not shared with this user's groups; set \
             PUBSUB_HOME to a directory of your own, or have its owner make a shared store with 'pubsub init --group'",
            home.display(),
            stat.st_uid
        ),
    ))
}
