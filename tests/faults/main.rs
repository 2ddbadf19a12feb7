//! What happens when things go wrong: the documented error or the documented behaviour, and nothing lost.

#[path = "../common/mod.rs"]
mod common;

mod full;
mod histories;
mod hostile;
mod limits;
mod rings;
mod signals;
#[path = "../common/transports.rs"]
mod transports;
mod vanished;
