//! A channel receives every message, however fast the other channels' receivers take theirs.

#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};

const CHANNELS: usize = 3;
const MESSAGES: u32 = 5_000;
const PATIENCE: Duration = Duration::from_secs(30);

/// A file that all channels so far have removed can be linked nowhere again: a publisher once took the next channel for
/// gone then, and it lost the message uncounted.
#[test]
fn a_fast_receiver_takes_nothing_from_the_others() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let home = Some(dir.path().join("store"));
    let channel_options = ChannelOptions { home: home.clone(), ..Default::default() };
    let channels: Vec<_> = (0..CHANNELS).map(|_| Channel::open("news.=", &channel_options).unwrap()).collect();
    let publisher = Publisher::open("news.sports", &PublisherOptions { home, full_timeout: PATIENCE }).unwrap();

    thread::scope(|scope| {
        for mut channel in channels {
            scope.spawn(move || {
                for expected in 0..MESSAGES {
                    let message = channel.fetch_wait(Some(PATIENCE)).unwrap().expect("a message in time");
                    assert_eq!(message.data(), expected.to_le_bytes());
                }
                assert!(channel.fetch().unwrap().is_none());
            });
        }
        for number in 0..MESSAGES {
            assert_eq!(publisher.publish(&number.to_le_bytes(), None).unwrap(), CHANNELS);
        }
    });
}
