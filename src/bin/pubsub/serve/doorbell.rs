//! Waiting for a channel from a task.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A channel's descriptor among those that the runtime waits for; a duplicate, so that the channel can be used meanwhile.
pub struct Doorbell(AsyncFd<OwnedFd>);

impl Doorbell {
    /// Within the runtime.
    pub fn new(fd: BorrowedFd<'_>) -> io::Result<Doorbell> {
        let fd = fd.try_clone_to_owned()?;
        // The function that replaced it asks, as an unsafe one, for a descriptor that stays open and the same: an `OwnedFd` does.
        #[allow(deprecated, reason = "sound for this type, and unsafe code has no place here")]
        AsyncFd::with_interest(fd, Interest::READABLE).map(Doorbell)
    }

    /// Until it rings. The runtime hears each ring once (the edge), so whoever returns from here takes all that there is
    /// before waiting again.
    pub async fn rung(&self) -> io::Result<()> {
        // At once: what comes from now on is the next ring.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}
