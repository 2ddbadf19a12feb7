//! formix-pubsub programs and managed topics: what they publish is recorded, and they notice nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use pubsub::{ChannelOptions, Message, Recorder, TopicOptions, Transport, create_topic, delete_topic, topic_history};

use crate::support::{Home, drain};

crate::transports::on_each_transport! {
    formix_messages_enter_a_history_through_the_recorder,
    a_formix_message_comes_once_to_a_channel_that_opens_meanwhile,
}

/// Ends the recorder also when an assertion fails.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn create(home: &Home, topic: &str) {
    create_topic(topic, &TopicOptions { home: Some(home.path()), ..Default::default() }).unwrap();
}

fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| String::from_utf8_lossy(message.data()).into_owned()).collect()
}

fn history(home: &Home, topic: &str) -> Vec<Message> {
    topic_history(topic, Some(&home.path()), u32::MAX).unwrap()
}

fn formix_messages_enter_a_history_through_the_recorder(transport: Transport) {
    let home = Home::with(transport);
    create(&home, "a.b");
    let mut formix = home.formix();
    formix.open("f", "a.b");
    let mut live = home.channel("a.b");
    assert_eq!(formix.publish("a.b", "nobody records"), 2);
    assert!(history(&home, "a.b").is_empty());

    let mut recorder = Recorder::open("a.b", Some(&home.path())).unwrap().unwrap();
    let large = "x".repeat(100_000);
    for text in ["one", &large, "three"] {
        assert_eq!(formix.publish("a.b", text), 3, "its own channel, ours and the recorder's");
        // Of this library's, it takes none.
        assert_eq!(home.publish("a.b", b"ours"), 2);
    }
    assert_eq!(recorder.record(Some(Duration::from_secs(20))).unwrap(), 3);
    assert_eq!(recorder.record(Some(Duration::ZERO)).unwrap(), 0);
    let kept = history(&home, "a.b");
    assert_eq!(texts(&kept), ["ours", "ours", "ours", "one", &large, "three"]);
    assert!(kept.iter().enumerate().all(|(i, message)| message.offset() == i as u64 + 1));
    let live = drain(&mut live);
    // Between a ring and the FIFO there is no order.
    let mut theirs = texts(&live);
    theirs.retain(|text| text != "ours");
    assert_eq!((theirs, live.len()), (vec!["nobody records".into(), "one".into(), large, "three".into()], 7));
    for message in &kept {
        let came = live.iter().find(|live| live.id() == message.id()).expect("it came live");
        assert_eq!((came.headers_json(), came.timestamp_us()), (message.headers_json(), message.timestamp_us()));
    }
    // formix reads what we publish to a managed topic as anything else.
    assert_eq!(formix.texts("f").len(), 7);
    let options = ChannelOptions { replay_last: 10, ..Default::default() };
    let mut late = home.channel_with("a.=", options);
    assert_eq!(formix.publish("a.b", "live"), 4);
    let mut late = drain(&mut late);
    assert_eq!(late.pop().unwrap().data(), b"live");
    assert_eq!(texts(&late), texts(&kept));
    // Its channels are not told of what they cannot know.
    formix.texts("f");
    delete_topic("a.b", Some(&home.path())).unwrap();
    assert!(formix.texts("f").is_empty());
    assert!(recorder.record(Some(Duration::from_secs(20))).is_err());
}

fn a_formix_message_comes_once_to_a_channel_that_opens_meanwhile(transport: Transport) {
    const ROUNDS: usize = 8;
    let home = Home::with(transport);
    create(&home, "a");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut recorder = Recorder::open("a", Some(&home.path())).unwrap().unwrap();
        let over = &over;
        let _over = AtEnd(over);
        scope.spawn(move || {
            while !over.load(SeqCst) {
                let _ = recorder.record(Some(Duration::from_millis(100)));
            }
        });
        let mut formix = home.formix();
        for round in 0..ROUNDS {
            formix.begin("[publish_apart('a', str(i).encode()) for i in range(40)]");
            let options = ChannelOptions { replay_last: 100, ..Default::default() };
            let mut channel = home.channel_with("a", options);
            formix.end();
            let got = drain(&mut channel);
            let mut seen = HashSet::new();
            assert!(
                got.iter().all(|message| seen.insert((message.id(), message.timestamp_us(), message.data()))),
                "round {round}: one came twice"
            );
        }
    });
    assert!(!history(&home, "a").is_empty());
}
