//! The only system calls: mapping, files, locks, waiting, process identity, fork detection.
//!
//! Everything above this module is safe Rust and speaks `io::Result`; what a failure means to a user is decided there,
//! by [`Error::os`](crate::Error). A call that a signal can interrupt is repeated here, except for waits.

pub(crate) mod bus;
pub(crate) mod bytes;
pub(crate) mod chaos;
pub(crate) mod clock;
pub(crate) mod directory;
pub(crate) mod exclusive;
pub(crate) mod exit;
pub(crate) mod fd;
pub(crate) mod fifo;
pub(crate) mod fork;
pub(crate) mod lock;
pub(crate) mod mapping;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod ticks;
pub(crate) mod watch;
