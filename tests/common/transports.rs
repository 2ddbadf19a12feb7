//! Tests of promises that hold on each transport.

use pubsub::{Channel, ChannelOptions, ErrorKind, Transport};

/// Makes tests of functions that take a [`Transport`]: each is run as `ring::NAME` and as `files::NAME`. One that is not
/// listed is not run, and the compiler says that it is never used.
macro_rules! on_each_transport {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { crate::transports::on_the_ring(super::$name); })*
        }
        mod files {
            $(#[test] fn $name() { super::$name(pubsub::Transport::Files); })*
        }
    };
}
pub(crate) use on_each_transport;

/// Skipped, and said so, where the library was built without its feature `ring`.
pub fn on_the_ring(test: impl FnOnce(Transport)) {
    let directory = tempfile::tempdir().unwrap();
    let options =
        ChannelOptions { transport: Transport::Ring, home: Some(directory.path().into()), ..Default::default() };
    match Channel::open("probe", &options) {
        Err(error) if error.kind() == ErrorKind::Unsupported => eprintln!("skipped: {error}"),
        _ => test(Transport::Ring),
    }
}
