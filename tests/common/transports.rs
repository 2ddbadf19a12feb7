//! Tests of promises that hold on each transport.

/// Makes tests of functions that take a [`pubsub::Transport`]: each is run as `ring::NAME` and as `files::NAME`. One that is not
/// listed is not run, and the compiler says that it is never used.
macro_rules! on_each_transport {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::$name(pubsub::Transport::Ring); })*
        }
        mod files {
            $(#[test] fn $name() { super::$name(pubsub::Transport::Files); })*
        }
    };
}
pub(crate) use on_each_transport;
