//! Processes that are killed and stopped anywhere, at random and at every named point: the others go on, messages are
//! whole, in order, never twice, none lost uncounted, and nothing is left.
//!
//! Needs the feature `chaos`. `PUBSUB_STORM_SECONDS` and `PUBSUB_STORM_KILLS` make the storms longer, `CRASH_SEED` picks another one,
//! `CRASH_KEEP` keeps the directories, `CRASH_DIRECTORY` has them elsewhere than in memory, `PUBSUB_FORMIX_PYTHON` (a Python with formix-pubsub) adds programs of that kind.

mod actor;
mod journal;
mod payload;
mod planted;
mod points;
mod process;
mod rings;
mod storm;
mod survivors;
mod topics;
mod verdict;
mod worker;
