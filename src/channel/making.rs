//! Making a channel: its transport, its sizes, its directory.

#![forbid(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::control::{self, Control, FullPolicy, Terms, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Inbox, QUEUE};
use crate::ring::Layout;
use crate::store::{self, FRESH_NS, Store};
use crate::sys::chaos;
use crate::sys::clock;
use crate::sys::fd::Fd;
use crate::sys::fork;
use crate::sys::mapping::has_pair_swap;
use crate::topic::Pattern;

/// How often making a channel begins anew when a cleaner takes what is half made for rubbish.
const ATTEMPTS: usize = 16;

/// What to use when this is asked for.
pub(super) fn transport(asked: Transport) -> Result<Transport> {
    let ring = || {
        if !has_pair_swap() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this processor has no 16-byte compare-and-swap, which rings need; use files (PUBSUB_TRANSPORT=files)",
            ));
        }
        Ok(Transport::Ring)
    };
    match asked {
        Transport::Files => Ok(Transport::Files),
        Transport::Ring => ring(),
        Transport::Default => match std::env::var_os("PUBSUB_TRANSPORT") {
            Some(name) if name == "files" => Ok(Transport::Files),
            Some(name) if !name.is_empty() && name != "ring" => Err(Error::new(
                ErrorKind::InvalidArgument,
                format_args!("PUBSUB_TRANSPORT is '{}'; it can be 'ring' or 'files'", name.to_string_lossy()),
            )),
            _ => ring(),
        },
    }
}

/// The sizes of a ring with these bounds.
pub(super) fn layout(terms: &Terms) -> Result<Layout> {
    let drop_oldest = terms.policy == FullPolicy::DropOldest;
    Layout::new(terms.capacity_messages, terms.capacity_bytes, drop_oldest).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format_args!(
                "a ring cannot hold {} messages or {} bytes: at most {} messages and 64 GiB",
                terms.capacity_messages,
                terms.capacity_bytes,
                Layout::SLOTS_MAX
            ),
        )
    })
}

/// Makes the channel's directory under `tmp`, with its lock held, and renames it into the store, so that nobody sees one
/// half made. Publishers see it no later than [`Settling::end`] returns.
pub(super) fn make(store: &Store, pattern: &Pattern, terms: &Terms) -> io::Result<Made> {
    let mut attempt = 0;
    loop {
        match try_make(store, pattern, terms) {
            // A cleaner took the half-made directory for rubbish, or somebody removed `tmp`.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {
                crate::sys::directory::ensure(store.base(), crate::files::TMP)?;
                attempt += 1;
            }
            result => return result,
        }
    }
}

/// A channel that can be seen.
pub(super) struct Made {
    pub name: String,
    pub inbox: Inbox,
    pub settling: Settling,
}

/// The time after a channel's rename in which publishers may not know it yet.
pub(super) struct Settling {
    renamed_ns: u64,
}

impl Settling {
    /// Waits until it is over. See `store::registry`: a publisher that looked just before the rename does not look again for
    /// that long.
    pub(super) fn end(self) {
        clock::spin_until(self.renamed_ns + FRESH_NS);
    }
}

fn try_make(store: &Store, pattern: &Pattern, terms: &Terms) -> io::Result<Made> {
    let base = store.base();
    let access = store.access();
    let random = store::random_part();
    let draft = CString::new(store::new_directory_name(&random))?;
    let name = store::new_channel_name(pattern.as_str(), &random, terms.pid);
    let drop_oldest = terms.policy == FullPolicy::DropOldest;
    base.make_directory(&draft, access.channel_directory(drop_oldest))?;
    chaos::point("open.directory");
    let made = (|| {
        let inside = |file: &[u8]| CString::new([draft.as_bytes(), b"/", file].concat());
        let page = inside(control::FILE)?;
        // Marked as ours before it is locked: a child forked by another thread closes it.
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let held = fork::not_amid_fork(|| base.open_at(&page, flags, access.file()).map(Fd::new))?;
        crate::sys::directory::ensure_mode(held.get()?, access.file())?;
        chaos::point("open.unlocked");
        let mapped = base.open_at(&page, libc::O_RDWR, 0)?;
        let control = Control::create(held.get()?, mapped.as_fd(), terms.clone())?;
        chaos::point("open.locked");
        base.make_fifo(&inside(QUEUE)?, access.file())?;
        let fifo = Inbox::open_queue(base, draft.as_bytes())?;
        chaos::point("open.queue");
        base.rename(&draft, &CString::new(name.as_bytes())?)?;
        chaos::point("open.renamed");
        Ok(((control, held), fifo, mapped))
    })();
    let renamed_ns = clock::monotonic_ns();
    // What nobody else sees was left for now, while publishers come to know it.
    let (page, fifo, mapped) = match made {
        Ok(made) => made,
        Err(error) => {
            let _ = store::remove_channel(base, draft.as_bytes());
            return Err(error);
        }
    };
    drop(mapped);
    let inbox = Inbox::new(Arc::clone(base), name.as_bytes(), pattern.clone(), page, fifo).inspect_err(|_| {
        let _ = store::remove_channel(base, name.as_bytes());
    })?;
    Ok(Made { name, inbox, settling: Settling { renamed_ns } })
}
