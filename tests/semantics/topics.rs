//! Managed topics: histories, replay, resuming, deletion.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::*;

use crate::common::*;
use crate::transports::on_each_transport;

on_each_transport!(
    a_history_holds_messages_as_they_were_published,
    a_replay_gives_the_last_of_each_matching_topic_then_what_is_new,
    replayed_messages_are_fetched_as_any_others,
    replay_joins_what_is_live_without_gap_or_duplicate,
    deleting_drops_the_history_and_tells_the_channels_on_exactly_that_topic,
);

fn create(home: &Home, topic: &str, messages: u32) {
    let options = TopicOptions { history_messages: messages, home: Some(home.path()), ..Default::default() };
    create_topic(topic, &options).unwrap();
}

fn publish(home: &Home, topic: &str, numbers: std::ops::Range<u64>) {
    let publisher = home.publisher(topic);
    for number in numbers {
        publisher.publish(&number.to_le_bytes(), None).unwrap();
    }
}

fn history(home: &Home, topic: &str) -> Vec<u64> {
    topic_history(topic, Some(&home.path()), u32::MAX).unwrap().iter().map(number).collect()
}

fn stats(home: &Home, topic: &str) -> TopicStats {
    topic_stats(topic, Some(&home.path())).unwrap()
}

fn replaying(home: &Home, pattern: &str, last: u32, transport: Transport) -> Channel {
    Channel::open(pattern, &ChannelOptions { replay_last: last, transport, ..home.options() }).unwrap()
}

fn resuming(home: &Home, topic: &str, resume: Resume) -> Channel {
    Channel::open(topic, &ChannelOptions { resume: Some(resume), ..home.options() }).unwrap()
}

fn place(message: &Message) -> Resume {
    Resume { epoch: message.epoch(), offset: message.offset() }
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

fn history_file(home: &Home, topic: &str) -> PathBuf {
    home.path().join(format!(".topic.{topic}/history"))
}

/// A managed topic keeps its last messages, by count; the others are gone. Nothing is kept of what is not managed.
#[test]
fn a_managed_topic_keeps_as_many_messages_as_it_was_told() {
    let home = Home::new();
    let options = TopicOptions { home: Some(home.path()), ..Default::default() };
    create_topic("by.default", &options).unwrap();
    create(&home, "few", 3);
    for topic in ["by.default", "few", "ad.hoc"] {
        publish(&home, topic, 0..250);
    }
    assert_eq!(history(&home, "by.default"), (150..250).collect::<Vec<_>>());
    assert_eq!(history(&home, "few"), [247, 248, 249]);
    assert_eq!(topic_history("few", Some(&home.path()), 2).unwrap().len(), 2);
    assert_eq!(kind(topic_history("ad.hoc", Some(&home.path()), 1)), ErrorKind::NotFound);
    assert_eq!(kind(create_topic("few", &options)), ErrorKind::Exists);
    assert_eq!(kind(create_topic("no.=", &options)), ErrorKind::InvalidTopic);
    let zero = TopicOptions { history_ttl: Some(Duration::ZERO), ..options };
    assert_eq!(kind(create_topic("zero", &zero)), ErrorKind::InvalidArgument);
}

/// By bytes, too; a message above the bound is kept alone.
#[test]
fn a_managed_topic_keeps_as_many_bytes_as_it_was_told() {
    let home = Home::new();
    let options = TopicOptions {
        history_messages: 1_000_000,
        history_bytes: 100_000,
        home: Some(home.path()),
        ..Default::default()
    };
    create_topic("a", &options).unwrap();
    let publisher = home.publisher("a");
    for size in [10_usize, 1_000, 30_000] {
        for n in 0..4_000_000 / (size as u64 + 1_000) {
            let mut data = vec![7; size];
            data[..8].copy_from_slice(&n.to_le_bytes());
            publisher.publish(&data, None).unwrap();
            let stats = stats(&home, "a");
            assert!(stats.bytes_in_history <= 100_000, "{stats:?}");
        }
        let stats = stats(&home, "a");
        // A sixteenth is given up at a time.
        assert!(stats.bytes_in_history + size as u64 + 100 > 100_000 - 100_000 / 16, "{stats:?}");
        assert!(allocated(&home.path().join(".topic.a")) < 600 << 10);
    }
    publisher.publish(&vec![1; 500_000], None).unwrap();
    let kept = topic_history("a", Some(&home.path()), 10).unwrap();
    assert_eq!(kept.iter().map(|message| message.data().len()).collect::<Vec<_>>(), [500_000]);
    publisher.publish(b"behind", None).unwrap();
    assert_eq!(topic_history("a", Some(&home.path()), 10).unwrap().len(), 1);
    let files = fs::read_dir(home.path().join(".topic.a")).unwrap().count();
    assert_eq!(files, 1, "the files of large messages go with them");
}

/// What is too old is never returned, nor counted.
#[test]
fn what_is_too_old_is_never_returned() {
    let home = Home::new();
    // What is new must not become too old before it is looked at: where that was so, a longer time decides.
    let mut ttl = Duration::from_millis(300);
    for attempt in 0.. {
        let topic = format!("a{attempt}");
        let options = TopicOptions { history_ttl: Some(ttl), home: Some(home.path()), ..Default::default() };
        create_topic(&topic, &options).unwrap();
        publish(&home, &topic, 0..50);
        home.publisher(&topic).publish(&vec![0; 100_000], None).unwrap();
        thread::sleep(ttl + Duration::from_millis(50));
        let fresh = Instant::now();
        publish(&home, &topic, 100..103);
        let kept = history(&home, &topic);
        let stats = stats(&home, &topic);
        let replayed = replaying(&home, &topic, 100, Transport::Default).fetch().unwrap();
        let resume = Resume { epoch: stats.epoch, offset: 10 };
        let resumed = resuming(&home, &topic, resume).fetch().unwrap();
        if fresh.elapsed() >= ttl {
            ttl *= 4;
            continue;
        }
        assert_eq!(kept, [100, 101, 102]);
        assert_eq!((stats.messages_published, stats.messages_in_history, stats.next_offset), (54, 3, 55));
        let first = |message: Option<Message>| message.map(|message| (number(&message), message.dropped_before()));
        assert_eq!(first(replayed), Some((100, 0)));
        assert_eq!(first(resumed), Some((100, 41)), "who resumes is told");
        return;
    }
}

/// A history's messages are what was published: headers, contents of every size, times and ids, and their place.
fn a_history_holds_messages_as_they_were_published(transport: Transport) {
    let home = Home::new();
    create(&home, "a.b", 100);
    let mut live = replaying(&home, "a.b", 0, transport);
    let publisher = home.publisher("a.b");
    let mut headers = Headers::new();
    headers.set("n", HeaderValue::Int(7));
    for size in [0_usize, 1, 7, 8, 100, 16_000, 16_400, 100_000, 1_000_000] {
        let data: Vec<u8> = (0..size).map(|i| (i * 31 + size) as u8).collect();
        publisher.publish(&data, (size % 2 == 0).then_some(&headers)).unwrap();
    }
    let live = drain(&mut live);
    let replayed = drain(&mut replaying(&home, "+", 100, transport));
    let read = topic_history("a.b", Some(&home.path()), 100).unwrap();
    assert_eq!(live.len(), 9);
    for (i, live) in live.iter().enumerate() {
        for kept in [&replayed[i], &read[i]] {
            assert_eq!(kept.data(), live.data());
            assert_eq!(kept.headers_json(), live.headers_json());
            assert_eq!(
                (kept.id(), kept.timestamp_us(), kept.topic(), kept.epoch(), kept.offset(), kept.kind()),
                (live.id(), live.timestamp_us(), live.topic(), live.epoch(), live.offset(), MessageKind::Data)
            );
        }
        assert_eq!(live.offset(), i as u64 + 1);
    }
    assert_ne!(live[0].epoch(), 0);
}

/// A channel with `replay_last = N` gets the last N of each managed topic that it matches, oldest first, then what is new.
fn a_replay_gives_the_last_of_each_matching_topic_then_what_is_new(transport: Transport) {
    let home = Home::new();
    for topic in ["a.x", "a.y", "b.x"] {
        create(&home, topic, 10);
    }
    for n in 0..20 {
        for topic in ["a.x", "a.y", "b.x", "a.adhoc"] {
            publish(&home, topic, n..n + 1);
        }
    }
    let mut channel = replaying(&home, "a.=", 3, transport);
    publish(&home, "a.y", 20..21);
    publish(&home, "a.adhoc", 21..22);
    let got = drain(&mut channel);
    let got: Vec<(&str, u64)> = got.iter().map(|message| (message.topic(), number(message))).collect();
    let expected =
        [("a.x", 17), ("a.y", 17), ("a.x", 18), ("a.y", 18), ("a.x", 19), ("a.y", 19), ("a.y", 20), ("a.adhoc", 21)];
    assert_eq!(got, expected);
    assert_eq!(numbers(&mut replaying(&home, "b.x", 100, transport)), (10..20).collect::<Vec<_>>());
    assert_eq!(numbers(&mut replaying(&home, "a.adhoc", 100, transport)), [0; 0]);
}

/// The descriptor is readable while messages of a history are to come, and batches and packed records hold them.
fn replayed_messages_are_fetched_as_any_others(transport: Transport) {
    let home = Home::new();
    create(&home, "a", 100);
    publish(&home, "a", 0..5);
    let mut channel = replaying(&home, "a", 100, transport);
    let fd = channel.fd().unwrap();
    for n in 0..5 {
        assert!(readable_within(fd, 0), "{n}");
        assert_eq!(number(&channel.fetch().unwrap().unwrap()), n);
    }
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable_within(fd, 0));
    publish(&home, "a", 5..6);
    assert!(readable_within(fd, LONG.as_millis() as i32));
    assert_eq!(numbers(&mut channel), [5]);

    let mut channel = replaying(&home, "a", 100, transport);
    let mut batch = Vec::new();
    assert_eq!(channel.fetch_batch(&mut batch, 4, None).unwrap(), 4);
    let mut small = [0; 4];
    assert!(matches!(channel.fetch_packed(&mut small, None), Err(PackError::TooSmall(_))));
    let mut buffer = [0; 1000];
    assert_eq!(channel.fetch_packed(&mut buffer, None).unwrap().0, 2);
    assert!(channel.fetch().unwrap().is_none());
}

/// What each publisher of [`replay_is_seamless`] wrote.
fn check_seamless(got: &[Message]) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    let mut offset = 0;
    for message in got {
        let (publisher, n) = (number(message) >> 32, number(message) & 0xffff_ffff);
        assert_eq!(message.dropped_before(), 0);
        if let Some(before) = last.insert(publisher, n) {
            assert_eq!(n, before + 1, "publisher {publisher}: {before}, then {n}");
        }
        offset = offset.max(message.offset());
    }
    assert_eq!(offset, got.iter().map(Message::offset).min().unwrap() + got.len() as u64 - 1, "no gap, none twice");
}

/// No gap and none twice, while four processes publish all the time; but never so much in a round that the history loses what
/// the reader has yet to see, however busy the machine.
fn replay_joins_what_is_live_without_gap_or_duplicate(transport: Transport) {
    const PUBLISHERS: u64 = 4;
    const ROUNDS: usize = 60;
    // Of two rounds, 160,000 in all.
    const AHEAD: u64 = 20_000;
    let home = Home::new();
    let options = TopicOptions { history_messages: 200_000, home: Some(home.path()), ..Default::default() };
    create_topic("a", &options).unwrap();
    let (mut stop, stopped) = handover();
    let round_now = shared_counter();
    let publishers: Vec<Child> = (0..PUBLISHERS)
        .map(|publisher| {
            Child::fork(|| {
                let publisher_of = home.publisher("a");
                // Two of them by batches.
                let many = 1 + publisher % 2 * 4;
                let mut begun = (0, 0);
                for n in (0_u64..).step_by(many as usize) {
                    let round = round_now.load(SeqCst);
                    if round != begun.0 {
                        begun = (round, n);
                    } else if n > begun.1 + AHEAD {
                        // Slowly: the reader waits for some of each.
                        thread::sleep(Duration::from_millis(20));
                    }
                    let data: Vec<_> = (n..n + many).map(|n| (publisher << 32 | n).to_le_bytes()).collect();
                    let payloads: Vec<_> = data.iter().map(|data| Payload { data, headers: None }).collect();
                    assert_eq!(publisher_of.publish_batch(&payloads).unwrap(), many as usize);
                    if n % 8 == 0 {
                        thread::sleep(Duration::from_millis(1));
                    }
                    if stopped.is_given() {
                        break;
                    }
                }
            })
        })
        .collect();
    eventually("all publish", || {
        let seen: std::collections::HashSet<u64> = history(&home, "a").iter().map(|n| n >> 32).collect();
        seen.len() as u64 == PUBLISHERS
    });
    let mut last = Resume { epoch: 0, offset: 0 };
    for round in 0..ROUNDS {
        round_now.store(round as u64, SeqCst);
        // Room for whatever comes meanwhile.
        let mut options = ChannelOptions { capacity_messages: 1 << 22, transport, ..home.options() };
        if round % 2 == 0 {
            options.replay_last = 1 + (round as u32 * 37) % 400;
        } else {
            options.resume = Some(last);
        }
        let mut channel = Channel::open("a", &options).unwrap();
        let mut got = Vec::new();
        let mut seen = std::collections::HashSet::new();
        // Far enough into what is live: all of them, each several times.
        let enough = stats(&home, "a").next_offset + 100;
        while seen.len() < PUBLISHERS as usize || got.last().is_none_or(|message: &Message| message.offset() < enough) {
            let message = next(&mut channel);
            if message.offset() >= enough {
                seen.insert(number(&message) >> 32);
            }
            got.push(message);
        }
        if round % 2 == 1 {
            let start: Vec<_> = got.iter().take(4).map(|m| (m.offset(), m.dropped_before(), m.epoch())).collect();
            assert_eq!(
                got[0].offset(),
                last.offset + 1,
                "{transport:?} {round} {start:?} {last:?} {enough} {} {:?}",
                got.len(),
                got.iter().map(Message::offset).min()
            );
        }
        // In the history's order, whichever publisher was faster: else who resumes behind the last would miss one.
        let astray = got.windows(2).find(|pair| pair[1].offset() != pair[0].offset() + 1);
        assert!(
            astray.is_none(),
            "{transport:?} {round}: {:?}",
            astray.map(|pair| (pair[0].offset(), pair[1].offset()))
        );
        check_seamless(&got);
        last = place(got.last().unwrap());
    }
    stop.give();
    publishers.into_iter().for_each(Child::succeeds);
}

/// What a history gives up while a replay waits to be read is counted at the place where it is missing: before the next message
/// of the history, or, when the rest of it is gone, before the first live one.
#[test]
fn what_overtakes_a_replay_is_told_where_it_is_missing() {
    // More than is read ahead when the channel opens.
    let large = vec![1; 600 << 10];
    for overtaken_by in [3, 6, 100] {
        let home = Home::new();
        create(&home, "a", 5);
        let publisher = home.publisher("a");
        for _ in 0..5 {
            publisher.publish(&large, None).unwrap();
        }
        let mut channel = replaying(&home, "a", 5, Transport::Default);
        for _ in 0..overtaken_by {
            publisher.publish(b"live", None).unwrap();
        }
        let (mut next, mut lost) = (1, 0);
        for message in drain(&mut channel) {
            assert_eq!(message.offset(), next + message.dropped_before(), "overtaken by {overtaken_by}");
            next = message.offset() + 1;
            lost += message.dropped_before();
        }
        assert_eq!(next, 5 + overtaken_by + 1);
        assert!(lost > 0 || overtaken_by < 100);
    }
}

/// Resuming delivers what was missed, or says that not all can be had: by `dropped_before`, or by another epoch.
#[test]
fn resuming_gives_what_was_missed_or_says_what_is_gone() {
    let home = Home::new();
    create(&home, "a", 10);
    publish(&home, "a", 0..5);
    let read = topic_history("a", Some(&home.path()), 10).unwrap();
    let got = |resume| -> Vec<(u64, u64)> {
        let mut channel = resuming(&home, "a", resume);
        drain(&mut channel).iter().map(|message| (number(message), message.dropped_before())).collect()
    };
    assert_eq!(got(place(&read[1])), [(2, 0), (3, 0), (4, 0)]);
    assert_eq!(got(place(&read[4])), []);
    assert_eq!(got(Resume { offset: 0, ..place(&read[0]) })[0], (0, 0), "offset 0: from the beginning");
    let mut channel = resuming(&home, "a", place(&read[4]));
    publish(&home, "a", 5..20);
    assert_eq!(numbers(&mut channel), (5..20).collect::<Vec<_>>());
    let late = got(place(&read[4]));
    assert_eq!((late[0], late.len()), ((10, 5), 10), "5 to 9 are gone");
    assert!(late[1..].iter().all(|(_, dropped)| *dropped == 0));

    delete_topic("a", Some(&home.path())).unwrap();
    let resume = ChannelOptions { resume: Some(place(&read[4])), ..home.options() };
    assert_eq!(kind(Channel::open("a", &resume)), ErrorKind::NotFound);
    assert_eq!(kind(Channel::open("a.=", &resume)), ErrorKind::InvalidArgument);
    create(&home, "a", 10);
    publish(&home, "a", 100..103);
    let mut channel = resuming(&home, "a", place(&read[4]));
    let all = drain(&mut channel);
    assert_eq!(all.iter().map(number).collect::<Vec<_>>(), [100, 101, 102]);
    assert!(all.iter().all(|message| message.epoch() != read[4].epoch()));
}

/// A cursor reads a history piece by piece, and is told what went before it came.
#[test]
fn a_history_can_be_read_from_an_offset_on() {
    let home = Home::new();
    create(&home, "a", 10);
    publish(&home, "a", 0..25);
    let path = home.path();
    let slice = |offset, max| topic_history_from("a", Some(&path), offset, max).unwrap();
    let first = slice(0, 4);
    assert_eq!((first.missed, first.next_offset), (0, 20));
    assert_eq!(first.messages.iter().map(number).collect::<Vec<_>>(), [15, 16, 17, 18]);
    let second = slice(first.next_offset, 100);
    assert_eq!((second.missed, second.next_offset, second.messages.len()), (0, 26, 6));
    assert_eq!(slice(26, 100).next_offset, 26);
    let late = slice(3, 1);
    assert_eq!((late.missed, number(&late.messages[0])), (13, 15));
    assert_eq!(late.epoch, stats(&home, "a").epoch);
}

/// Deleting drops the history and tells the channels on exactly that topic, once; publishing goes on without it. A topic
/// created again begins anew.
fn deleting_drops_the_history_and_tells_the_channels_on_exactly_that_topic(transport: Transport) {
    let home = Home::new();
    create(&home, "a.b", 10);
    let publisher = home.publisher("a.b");
    publisher.publish(&1_u64.to_le_bytes(), None).unwrap();
    let before = stats(&home, "a.b");
    let mut exact = replaying(&home, "a.b", 10, transport);
    let mut wild = replaying(&home, "a.=", 10, transport);
    delete_topic("a.b", Some(&home.path())).unwrap();
    assert_eq!(kind(delete_topic("a.b", Some(&home.path()))), ErrorKind::NotFound);
    assert_eq!(kind(topic_history("a.b", Some(&home.path()), 1)), ErrorKind::NotFound);
    assert_eq!(publisher.publish(&2_u64.to_le_bytes(), None).unwrap(), 2);
    create(&home, "a.b", 10);
    assert_eq!(publisher.publish(&3_u64.to_le_bytes(), None).unwrap(), 2);

    let got = drain(&mut exact);
    let kinds: Vec<MessageKind> = got.iter().map(Message::kind).collect();
    assert_eq!(kinds, [MessageKind::Data, MessageKind::TopicDeleted, MessageKind::Data, MessageKind::Data]);
    assert_eq!((got[1].topic(), got[1].epoch(), got[1].offset(), got[1].data()), ("a.b", before.epoch, 0, &b""[..]));
    assert_eq!((got[2].epoch(), got[2].offset()), (0, 0), "not managed");
    let after = stats(&home, "a.b");
    assert_eq!((got[3].epoch(), got[3].offset()), (after.epoch, 1));
    assert_ne!(after.epoch, before.epoch);
    assert_eq!(numbers(&mut wild), [1, 2, 3]);
    assert!(home.residue().is_empty(), "{:?}", home.residue());
}

/// `subscribers` counts the live channels that match, wildcards included; one that serves many says for how many it counts.
#[test]
fn a_topic_counts_its_subscribers_and_messages() {
    let home = Home::new();
    let path = home.path();
    assert!(topics(Some(&path)).unwrap().is_empty());
    create(&home, "a.b", 10);
    create(&home, "a.a", 10);
    let exact = home.open("a.b");
    let wild = home.open("a.=");
    let _other = home.open("b.=");
    wild.set_subscribers(5);
    publish(&home, "a.b", 0..25);
    let all = topics(Some(&path)).unwrap();
    assert_eq!(all.iter().map(|stats| stats.topic.as_str()).collect::<Vec<_>>(), ["a.a", "a.b"]);
    assert_eq!((all[0].subscribers, all[1].subscribers), (5, 6));
    assert_eq!((all[1].messages_published, all[1].messages_in_history, all[1].next_offset), (25, 10, 26));
    assert!(all[1].created_us > 0 && all[1].bytes_in_history > 80);
    exact.close().unwrap();
    assert_eq!(stats(&home, "a.b").subscribers, 5);
    let recorder = Recorder::open("a.b", Some(&path)).unwrap().unwrap();
    assert!(Recorder::open("a.b", Some(&path)).unwrap().is_none(), "there is one");
    assert_eq!(stats(&home, "a.b").subscribers, 5, "a recorder is none");
    assert_eq!(
        home.publisher("a.b").publish(b"", None).unwrap(),
        1,
        "and takes nothing from this library's publishers"
    );
    drop(recorder);
    let child = Child::fork(|| {
        let _recorder = Recorder::open("a.b", Some(&path)).unwrap().unwrap();
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    child.dies_of(libc::SIGKILL);
    let mut recorder = Recorder::open("a.b", Some(&path)).unwrap().expect("the kernel let go of the lock");
    delete_topic("a.b", Some(&path)).unwrap();
    assert_eq!(kind(recorder.record(Some(LONG))), ErrorKind::NotFound);
}

/// The history survives every process: written by children that are killed, read by another that comes later. On a disk, too.
#[test]
fn a_history_outlives_every_process() {
    for parent in ["/dev/shm", "/var/tmp"] {
        let home = Home::on(std::path::Path::new(parent), Transport::Default);
        Child::fork(|| create(&home, "a", 100)).succeeds();
        for round in 0..3_u64 {
            let child = Child::fork(|| {
                publish(&home, "a", round * 10..round * 10 + 10);
                home.publisher("a").publish(&[&round.to_le_bytes()[..], &[1; 100_000]].concat(), None).unwrap();
                // SAFETY: ends this process.
                unsafe { libc::raise(libc::SIGKILL) };
            });
            child.dies_of(libc::SIGKILL);
        }
        assert_eq!(home.cleanup(), 0);
        Child::fork(|| {
            let got = drain(&mut replaying(&home, "a", 100, Transport::Default));
            assert_eq!(got.len(), 33);
            assert!(got.iter().enumerate().all(|(i, message)| message.offset() == i as u64 + 1));
        })
        .succeeds();
    }
}

/// A record that is torn, as a power failure leaves it on a disk: never delivered, never a crash, and counted.
#[test]
fn a_damaged_record_is_never_delivered_and_counted() {
    let home = Home::on(std::path::Path::new("/var/tmp"), Transport::Default);
    create(&home, "a", 100);
    publish(&home, "a", 0..10);
    let resume = place(&topic_history("a", Some(&home.path()), 100).unwrap()[0]);
    let file = fs::File::options().read(true).write(true).open(history_file(&home, "a")).unwrap();
    let bytes = fs::read(history_file(&home, "a")).unwrap();
    let at = bytes.windows(8).rposition(|window| window == 4_u64.to_le_bytes()).expect("the fifth record");
    file.write_all_at(&[0xff; 8], at as u64).unwrap();
    assert_eq!(history(&home, "a"), [0, 1, 2, 3, 5, 6, 7, 8, 9]);
    let mut channel = resuming(&home, "a", resume);
    let got: Vec<(u64, u64)> = drain(&mut channel).iter().map(|m| (number(m), m.dropped_before())).collect();
    assert_eq!(got, [(1, 0), (2, 0), (3, 0), (5, 1), (6, 0), (7, 0), (8, 0), (9, 0)]);
}

/// Nor is a large message whose file a power failure has torn: a part of it as it was before, cut short, or another's.
#[test]
fn a_damaged_file_of_a_history_is_never_delivered_and_counted() {
    let home = Home::on(std::path::Path::new("/var/tmp"), Transport::Default);
    create(&home, "a", 100);
    let publisher = home.publisher("a");
    for number in 0..6_u64 {
        // Headers given, left out, and written as there are none.
        let headers = [None, Some(Headers::parse("{}").unwrap()), Some(Headers::parse(r#"{"x": 1}"#).unwrap())];
        let content = [&number.to_le_bytes()[..], &[number as u8; 300_000]].concat();
        publisher.publish(&content, headers[number as usize % 3].as_ref()).unwrap();
    }
    assert_eq!(history(&home, "a"), [0, 1, 2, 3, 4, 5]);
    let messages = topic_history("a", Some(&home.path()), 100).unwrap();
    let file_of = |number: u8| {
        let files = fs::read_dir(home.path().join(".topic.a")).unwrap().map(|entry| entry.unwrap().path());
        let holds = |path: &PathBuf| {
            let bytes = fs::read(path).unwrap();
            path.file_name().unwrap() != "history" && bytes[bytes.len() - 100] == number
        };
        files.into_iter().find(holds).unwrap()
    };
    let torn = fs::File::options().write(true).open(file_of(1)).unwrap();
    torn.write_all_at(&[0; 4096], 8192).unwrap();
    fs::File::options().write(true).open(file_of(3)).unwrap().set_len(100_000).unwrap();
    fs::copy(file_of(5), file_of(4)).unwrap();
    assert_eq!(history(&home, "a"), [0, 2, 5]);
    let mut channel = resuming(&home, "a", place(&messages[0]));
    let got: Vec<(u64, u64)> = drain(&mut channel).iter().map(|m| (number(m), m.dropped_before())).collect();
    assert_eq!(got, [(2, 1), (5, 2)]);
}

/// Two stores have nothing to do with each other.
#[test]
fn a_topic_is_managed_in_its_store_only() {
    let (home, other) = (Home::new(), Home::new());
    create(&home, "a", 10);
    publish(&other, "a", 0..3);
    publish(&home, "a", 7..8);
    assert_eq!(history(&home, "a"), [7]);
    assert!(topics(Some(&other.path())).unwrap().is_empty());
}

/// A topic created before a publish began keeps it; one deleted before it began does not. A publisher that is at work sees
/// each of many turns.
#[test]
fn a_publisher_at_work_notices_at_once_that_a_topic_is_managed() {
    let home = Home::new();
    let publisher = home.publisher("a");
    for round in 0..200_u64 {
        publisher.publish(&round.to_le_bytes(), None).unwrap();
        create(&home, "a", 10);
        publisher.publish(&(round + 1_000).to_le_bytes(), None).unwrap();
        assert_eq!(history(&home, "a"), [round + 1_000]);
        delete_topic("a", Some(&home.path())).unwrap();
    }
}

/// Who lacks the rights, or meets a damaged history, is told; the channels get the message all the same.
#[test]
fn a_history_that_cannot_be_written_costs_no_live_message() {
    let home = Home::new();
    create(&home, "a", 10);
    publish(&home, "a", 0..3);
    let mut channel = home.open("a");
    let file = fs::File::options().write(true).open(history_file(&home, "a")).unwrap();
    file.write_all_at(&[0xff; 8], 0).unwrap();
    let publisher = home.publisher("a");
    // A new process, which has to open it.
    Child::fork(|| {
        let publisher = home.publisher("a");
        assert_eq!(publisher.publish(&9_u64.to_le_bytes(), None).unwrap(), 1);
    })
    .succeeds();
    drop(publisher);
    assert_eq!(numbers(&mut channel), [9]);
    channel.close().unwrap();
    Child::fork(|| {
        let error = home.publisher("a").publish(b"", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    })
    .succeeds();
    assert_eq!(kind(topic_stats("a", Some(&home.path()))), ErrorKind::Corrupt);
    assert!(topics(Some(&home.path())).unwrap().is_empty());
    delete_topic("a", Some(&home.path())).unwrap();
    create(&home, "a", 10);
}

/// Threads of one process that append at once, and one that reads all the time: each record whole, offsets without gap.
#[test]
fn readers_see_whole_messages_while_publishers_overtake_them() {
    let home = Home::new();
    let options =
        TopicOptions { history_messages: 64, history_bytes: 64 << 10, home: Some(home.path()), ..Default::default() };
    create_topic("a", &options).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = AtEnd(&over);
        for thread in 0..2_u64 {
            let (home, over) = (&home, &over);
            scope.spawn(move || {
                let publisher = home.publisher("a");
                for n in 0_u64.. {
                    let size = 8 + (n * 7919 % 700) as usize;
                    let mut data = vec![(n % 251) as u8; size];
                    data[..8].copy_from_slice(&(thread << 32 | n).to_le_bytes());
                    publisher.publish(&data, None).unwrap();
                    if over.load(SeqCst) {
                        break;
                    }
                }
            });
        }
        eventually("it is full", || stats(&home, "a").next_offset > 1_000);
        for _ in 0..1_000 {
            let read = topic_history_from("a", Some(&home.path()), 0, usize::MAX).unwrap();
            let mut before = 0;
            for message in &read.messages {
                let n = number(message) & 0xffff_ffff;
                assert_eq!(message.data().len(), 8 + (n * 7919 % 700) as usize);
                assert!(message.data()[8..].iter().all(|&byte| byte == (n % 251) as u8));
                assert!(message.offset() > before);
                before = message.offset();
            }
        }
    });
}
