//! The only system calls: mapping, files, locks, waiting, process identity, fork detection.

pub(crate) mod bytes;
