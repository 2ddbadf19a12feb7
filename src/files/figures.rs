//! What is known of a channel's queue without receiving from it.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::outbox::message_id;
use crate::control::Control;
use crate::ring::Glance;
use crate::sys::directory::{Directory, EntryPath, Kind};
use crate::sys::fd::Fd;

/// What others may know of a receiving end while it is in use.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(super) base: Arc<Directory>,
    pub(super) directory: Vec<u8>,
    pub(super) control: Arc<Control>,
    pub(super) held: Arc<Fd>,
    pub(super) returned_size: Arc<AtomicU64>,
    pub(super) fifo: Arc<Fd>,
}

impl Figures {
    pub(crate) fn control(&self) -> &Control {
        &self.control
    }

    /// Whether this process opened it.
    pub(crate) fn is_here(&self) -> bool {
        self.fifo.is_here()
    }

    /// How many messages wait, and their bytes: what is in the directory, and what came back from there; and in the ring.
    pub(crate) fn unread(&self) -> io::Result<((u64, u64), Glance)> {
        let (messages, bytes) = unread(&self.base, &self.directory)?;
        let ring = match &self.control.terms().ring {
            Some(layout) => crate::ring::glance(self.held.get()?, layout)?,
            None => Glance::default(),
        };
        let returned = self.returned_size.load(Relaxed);
        Ok(((messages + u64::from(returned != 0), bytes + returned.saturating_sub(1)), ring))
    }
}

/// Unread messages of a channel and their bytes, counted in its directory.
pub(crate) fn unread(base: &Directory, directory: &[u8]) -> io::Result<(u64, u64)> {
    let (mut messages, mut bytes) = (0, 0);
    base.list(EntryPath::new(directory, b".").as_c_str(), |entry| {
        if entry.kind == Kind::File && message_id(entry.name).is_some() {
            if let Ok(stat) = base.status(EntryPath::new(directory, entry.name).as_c_str()) {
                messages += 1;
                bytes += stat.st_size as u64;
            }
        }
        true
    })?;
    Ok((messages, bytes))
}
