//! A channel whose open call returned before the publish began receives it, however fast the others are.

#![forbid(unsafe_code)]

use std::thread;
use std::time::Duration;

use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};

/// The first channel's receiver may have fetched, and so removed, the message before the next channel has its link.
#[test]
fn fast_receivers_take_no_message_away_from_other_channels() {
    const MESSAGES: usize = 2000;
    let store = tempfile::Builder::new().prefix("t-fan-out-").tempdir_in("/dev/shm").unwrap();
    let options = ChannelOptions { home: Some(store.path().into()), ..ChannelOptions::default() };
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let mut channel = Channel::open("a.b", &options).unwrap();
            thread::spawn(move || {
                (0..MESSAGES).all(|i| {
                    let message = channel.fetch_wait(Some(Duration::from_secs(20))).unwrap();
                    message.is_some_and(|message| message.data() == i.to_string().as_bytes())
                })
            })
        })
        .collect();
    let publisher = Publisher::open("a.b", &PublisherOptions { home: options.home, ..Default::default() }).unwrap();
    for i in 0..MESSAGES {
        assert_eq!(publisher.publish(i.to_string().as_bytes(), None).unwrap(), 2, "message {i}");
    }
    for receiver in receivers {
        assert!(receiver.join().unwrap(), "a message is missing");
    }
}
