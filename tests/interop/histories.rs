//! formix-pubsub programs and managed topics: what they publish is recorded, and they notice nothing.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use pubsub::{ChannelOptions, Message, Recorder, TopicOptions, Transport, create_topic, delete_topic, topic_history};

use crate::support::{Formix, Home, drain};

crate::transports::on_each_transport! {
    formix_messages_enter_a_history_through_the_recorder,
    a_formix_message_comes_once_to_a_channel_that_opens_meanwhile,
    a_formix_message_on_its_way_to_the_recorder_is_not_missed,
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
        // Two with the same id cannot be in one queue, and 16 random bits are soon the same.
        formix.run(
            "import itertools, random\ncount = itertools.count()\nrandom.randint = lambda a, b: next(count) & 0xFFFF",
        );
        for round in 0..ROUNDS {
            formix.begin(&format!("[publish('a', f'{round} {{i}}'.encode()) for i in range(40)]"));
            let options = ChannelOptions { replay_last: 100, ..Default::default() };
            let mut channel = home.channel_with("a", options);
            formix.end();
            let of_round = format!("{round} ");
            let (mut got, mut came) = (Vec::new(), 0);
            while came < 40 {
                let message = channel.fetch_wait(Some(Duration::from_secs(20))).unwrap();
                let message = message.unwrap_or_else(|| panic!("round {round}: only {came} came"));
                came += usize::from(message.data().starts_with(of_round.as_bytes()));
                got.push(message);
            }
            got.extend(drain(&mut channel));
            let mut seen = HashSet::new();
            assert!(
                got.iter().all(|message| seen.insert((message.id(), message.timestamp_us(), message.data()))),
                "round {round}: one came twice"
            );
        }
    });
    assert!(!history(&home, "a").is_empty());
}

fn a_formix_message_on_its_way_to_the_recorder_is_not_missed(transport: Transport) {
    let home = Home::with(transport);
    create(&home, "a");
    let replaying = || home.channel_with("a", ChannelOptions { replay_last: 5, ..Default::default() });
    let mut before = replaying();
    let mut recorder = Recorder::open("a", Some(&home.path())).unwrap().unwrap();
    let mut record = move || recorder.record(Some(Duration::from_secs(20))).unwrap();
    let mut formix = home.formix();
    // It looks for channels, or has a moment to go until it does, when another opens.
    let gate = home.beside("gate");
    formix.run(&format!(
        "import time\nlook = Channel.matching_active_paths\ndef wait():\n while not os.path.exists({:?}): time.sleep(0.001)\n answer = 1",
        gate
    ));
    let hold = |formix: &mut Formix, looks_first: bool, text: &str| {
        let _ = std::fs::remove_file(&gate);
        let held = if looks_first { "f = look(t); made(); wait(); return f" } else { "made(); wait(); return look(t)" };
        let made = home.beside("made");
        let _ = std::fs::remove_file(&made);
        formix.run(&format!(
            "made = lambda: open({made:?}, 'w').close()\ndef held(t):\n {held}\nChannel.matching_active_paths = held"
        ));
        formix.begin(&format!("publish('a', {text:?}.encode() * 20000)"));
        while !made.exists() {
            thread::sleep(Duration::from_millis(1));
        }
    };
    let go_on = |formix: &mut Formix| {
        std::fs::write(&gate, "").unwrap();
        formix.end()
    };
    let mut count = 0;
    for text in ["1", "2222222222"] {
        let got = |channel: &mut _| {
            let mut messages = drain(channel);
            messages.retain(|message| message.data() == text.repeat(20000).as_bytes());
            messages.iter().map(|message| message.offset()).collect::<Vec<_>>()
        };
        count += 1;
        // It has looked: it will not see who opens now.
        hold(&mut formix, true, text);
        let (mut late, mut bystander) = (replaying(), home.channel("a"));
        assert_eq!(go_on(&mut formix), 1 + 1);
        assert!(got(&mut late).is_empty());
        assert_eq!(record(), 1);
        assert_eq!(got(&mut late), [count], "with its place in the history");
        assert_eq!(got(&mut replaying()), [count]);
        assert!(got(&mut bystander).is_empty());
        assert_eq!(got(&mut before), [0], "live");
        late.close().unwrap();
        bystander.close().unwrap();

        for recorded_first in [false, true] {
            count += 1;
            // It sees who opens now, and so both bring the message there.
            hold(&mut formix, false, text);
            let mut late = replaying();
            got(&mut late);
            assert_eq!(go_on(&mut formix), 2 + 1);
            let mut offsets = Vec::new();
            if !recorded_first {
                offsets = got(&mut late);
                assert_eq!(offsets, [0]);
            }
            assert_eq!(record(), 1);
            offsets.extend(got(&mut late));
            assert_eq!(offsets.len(), 1, "{offsets:?}");
            assert_eq!(got(&mut before), [0]);
            late.close().unwrap();
        }
    }
    assert_eq!(formix.run("warnings"), serde_json::json!([]));
}
