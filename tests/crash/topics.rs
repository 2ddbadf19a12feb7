//! Histories whose publishers are killed and stopped anywhere: the others go on, and every message that a publish has returned
//! for is there, whole, once, in its place.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pubsub::{
    Channel, ChannelOptions, ErrorKind, Message, Payload, Publisher, PublisherOptions, TopicOptions, Transport,
    create_topic, delete_topic, topic_history_from, topic_stats,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::process::{PATIENCE, Process, run_directory, until};
use crate::worker::Role;

/// Points of appending, and at which passings. Those of the ring are passed in channels, too; here it is a history's.
pub const POINTS: &[(&str, &[u64])] = &[
    ("history.linked", &[1, 2]),
    ("history.appended", &[1, 4]),
    ("ring.attached", &[1]),
    ("ring.slots", &[1]),
    ("ring.slots-reserved", &[1]),
    ("ring.fresh", &[1]),
    ("ring.reserved", &[1]),
    ("ring.written", &[1, 3]),
    ("ring.commit", &[1, 3]),
    ("ring.committed", &[1, 3]),
    ("ring.drop", &[1, 2]),
];

/// Points of making and deleting a topic.
pub const MAKING: &[&str] = &["topic.directory", "topic.unlocked", "topic.locked", "topic.renamed", "topic.deleted"];

const TOPIC: &str = "kept";

fn home(run: &Path) -> Option<std::path::PathBuf> {
    Some(run.join("store"))
}

fn create(run: &Path, messages: u32, bytes: u64) {
    let options =
        TopicOptions { history_messages: messages, history_bytes: bytes, home: home(run), ..Default::default() };
    create_topic(TOPIC, &options).unwrap();
}

fn publisher(run: &Path) -> Publisher {
    Publisher::open(TOPIC, &PublisherOptions { home: home(run), ..Default::default() }).unwrap()
}

fn content(publisher: u64, n: u64, len: usize) -> Vec<u8> {
    let mut content = (publisher << 32 | n).to_le_bytes().to_vec();
    content.resize(8 + len, n as u8);
    content
}

/// The publisher and the number of a message, which must be whole.
fn check(message: &Message) -> (u64, u64) {
    let (number, rest) = message.data().split_first_chunk().expect("8 bytes");
    let number = u64::from_le_bytes(*number);
    assert!(rest.iter().all(|&byte| byte == number as u8), "TORN: {message:?}");
    (number >> 32, number & 0xffff_ffff)
}

/// What is in the history: for each publisher its first and last number, which must rise, one by one where nothing is given up.
fn read(run: &Path, lasting: bool) -> HashMap<u64, (u64, u64)> {
    let slice = topic_history_from(TOPIC, home(run).as_deref(), 0, usize::MAX).unwrap();
    let mut found: HashMap<u64, (u64, u64)> = HashMap::new();
    let mut expected = None;
    for message in &slice.messages {
        assert!(expected.is_none_or(|expected| message.offset() == expected) || slice.missed > 0, "GAP: {message:?}");
        expected = Some(message.offset() + 1);
        let (publisher, n) = check(message);
        let found = found.entry(publisher).or_insert((n, n - 1));
        assert!(
            if lasting { n == found.1 + 1 } else { n > found.1 },
            "ORDER or TWICE: {n} after {}: {message:?}",
            found.1
        );
        found.1 = n;
    }
    found
}

/// Publishes `count` messages (0: until the run stops), sized up to `max`, one by one or, every eighth time, in a batch. Notes in
/// a file the last that is published, and the last that is about to be.
pub fn append(role: &Role) {
    let (number, count, max) = (role.number("number"), role.number("count"), role.number("max") as usize);
    let mut random = StdRng::seed_from_u64(number);
    let publisher = publisher(role.run());
    let file = std::fs::File::create(role.run().join(format!("{number}.note"))).unwrap();
    let note = |published: u64, under_way: u64| {
        let bytes = [published.to_le_bytes(), under_way.to_le_bytes()].concat();
        file.write_all_at(&bytes, 0).unwrap();
    };
    let mut next = 1;
    for turn in 1.. {
        if if count > 0 { next > count } else { role.there("stop") } {
            break;
        }
        let run = if turn % 8 == 0 { random.random_range(2..100) } else { 1 };
        let contents: Vec<_> = (next..next + run)
            .map(|n| {
                let largest =
                    if n % 4 == 0 && (run == 1 || n % 64 == 0) { max } else { random.random_range(0..=max / 16) };
                content(number, n, largest)
            })
            .collect();
        note(next - 1, next + run - 1);
        if let [content] = &contents[..] {
            publisher.publish(content, None).unwrap();
        } else {
            let batch: Vec<_> = contents.iter().map(|data| Payload { data, headers: None }).collect();
            assert_eq!(publisher.publish_batch(&batch).unwrap(), contents.len());
        }
        next += run;
        note(next - 1, next - 1);
    }
}

/// Creates and deletes the topic.
pub fn manage(role: &Role) {
    for _ in 0..role.number("count") {
        create(role.run(), 10, 0);
        delete_topic(TOPIC, home(role.run()).as_deref()).unwrap();
    }
}

/// The last message that a publisher may have published, from the last on that it certainly has.
fn noted(run: &Path, number: u64) -> RangeInclusive<u64> {
    let note = std::fs::read(run.join(format!("{number}.note"))).unwrap_or_default();
    let mut words = note.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
    words.next().unwrap_or(0)..=words.next().unwrap_or(0)
}

#[test]
fn killed_or_stopped_at_a_point_of_appending() {
    let mut failed = Vec::new();
    for &(point, passings) in POINTS {
        for nth in passings {
            for action in ["kill", "stop"] {
                let chaos = format!("{action}:{point}:{nth}");
                if let Err(panic) = std::panic::catch_unwind(|| try_appending(&chaos, action == "stop")) {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    failed.push(format!("{chaos}: {text}"));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn try_appending(chaos: &str, stop: bool) {
    // Dropping begins within the victim's messages; each fourth lies in a file.
    for (messages, lasting) in [(40, false), (1_000, true)] {
        let directory = run_directory();
        let run = directory.path();
        create(run, messages, 0);
        let others = publisher(run);
        if !lasting {
            for n in 1..=70 {
                others.publish(&content(9, n, 10), None).unwrap();
            }
        }
        if lasting && chaos.contains("ring.drop") {
            continue;
        }
        let mut victim = Process::start(run, 1, "append count=50 max=20000", chaos);
        if stop {
            // Where others have been before, a point may not be passed.
            until("stopped", || matches!(victim.state(), 'T' | 'Z'), || victim.report());
        } else {
            victim.wait();
        }
        let acknowledged = noted(run, 1);
        // The others, and who comes new.
        let from = if lasting { 1 } else { 71 };
        let newcomer = publisher(run);
        for n in from..from + 20 {
            others.publish(&content(9, n, 10), None).unwrap();
            newcomer.publish(&content(8, n, 3_000), None).unwrap();
        }
        let found = read(run, lasting);
        assert_eq!(found[&9].1, from + 19);
        assert_eq!(found[&8].1, from + 19);
        if lasting {
            let last = found.get(&1).map_or(0, |found| found.1);
            assert!(acknowledged.contains(&last), "LOST: {acknowledged:?} were published, {last} found");
        }
        // Who comes late gets it, and what is new.
        let options = ChannelOptions { replay_last: 10, home: home(run), ..Default::default() };
        let mut channel = Channel::open(TOPIC, &options).unwrap();
        others.publish(&content(9, from + 20, 10), None).unwrap();
        let got: Vec<Message> = std::iter::from_fn(|| channel.fetch().unwrap()).collect();
        assert_eq!(got.len(), 11);
        assert!(got.windows(2).all(|pair| pair[0].offset() + 1 == pair[1].offset()));
        if stop {
            victim.signal(libc::SIGCONT);
            victim.succeed();
            read(run, lasting);
        }
    }
}

/// A publisher that is stopped or killed between the history and the channels is overtaken: its message comes to each channel all
/// the same, before those behind it, and once. So who resumes behind any message that it had misses none.
#[test]
fn a_message_that_was_overtaken_comes_in_its_place_and_once() {
    for action in ["stop", "kill"] {
        for (pattern, transport) in [(TOPIC, Transport::Ring), (TOPIC, Transport::Files), ("=", Transport::Ring)] {
            let directory = run_directory();
            let run = directory.path();
            create(run, 1_000, 0);
            // A wildcard's begins with the first message that it gets, unless it asked for what was before.
            let replay_last = u32::from(pattern != TOPIC);
            let options = ChannelOptions { transport, replay_last, home: home(run), ..Default::default() };
            let mut singly = Channel::open(pattern, &options).unwrap();
            let mut batches = Channel::open(pattern, &options).unwrap();
            let mut packed = Channel::open(pattern, &options).unwrap();
            let others = publisher(run);
            let mut victim =
                Process::start(run, 1, "append count=6 max=20000", &format!("{action}:history.appended:4"));
            if action == "stop" {
                until("stopped", || victim.state() == 'T', || victim.report());
            } else {
                victim.wait();
            }
            for n in 1..=4 {
                others.publish(&content(9, n, 10), None).unwrap();
            }
            let offset = |message: Message| message.offset();
            let at_once = Some(Duration::ZERO);
            let mut get = || {
                let one_by_one: Vec<u64> = std::iter::from_fn(|| singly.fetch().unwrap()).map(offset).collect();
                let mut messages = Vec::new();
                while batches.fetch_batch(&mut messages, 3, at_once).unwrap() > 0 {}
                let mut records = Vec::new();
                let mut buffer = vec![0; 8_000];
                while let (count @ 1.., _) = packed.fetch_packed(&mut buffer, at_once).unwrap() {
                    let mut rest = &buffer[..];
                    for _ in 0..count {
                        // `size` and `offset` of `ps_packed_record`.
                        records.push(rest[5]);
                        rest = &rest[rest[0] as usize / 8..];
                    }
                }
                assert_eq!(messages.into_iter().map(offset).collect::<Vec<_>>(), one_by_one, "{action} {pattern}");
                assert_eq!(records, one_by_one, "{action} {pattern} {transport:?}");
                one_by_one
            };
            assert_eq!(get(), (1..=8).collect::<Vec<_>>(), "{action} {pattern} {transport:?}");
            if action == "stop" {
                victim.signal(libc::SIGCONT);
                victim.succeed();
                assert_eq!(get(), [9, 10], "{pattern} {transport:?}");
            }
        }
    }
}

#[test]
fn killed_at_a_point_of_making_or_deleting_a_topic() {
    for point in MAKING {
        for nth in [1, 2] {
            let directory = run_directory();
            let run = directory.path();
            let mut victim = Process::start(run, 1, "manage count=3", &format!("kill:{point}:{nth}"));
            victim.wait();
            match delete_topic(TOPIC, home(run).as_deref()) {
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{point}: {error}"),
                // Killed between the rename and the return.
                Ok(()) => assert_eq!(*point, "topic.renamed"),
            }
            create(run, 10, 0);
            publisher(run).publish(&content(1, 1, 5), None).unwrap();
            assert_eq!(read(run, true)[&1], (1, 1), "{point}");
            pubsub::cleanup(home(run).as_deref()).unwrap();
            let left = std::fs::read_dir(run.join("store/tmp")).unwrap().count();
            assert_eq!(left, 0, "LEFT by {point}");
        }
    }
}

#[test]
fn nothing_published_is_lost_torn_or_doubled_when_publishers_are_killed_anywhere() {
    storms(2_000_000, 1 << 30, true);
}

#[test]
fn readers_and_publishers_go_on_when_publishers_are_killed_while_they_give_up_the_oldest() {
    storms(50, 200_000, false);
}

/// Storms of a few seconds, each on a topic of its own: one that is to keep everything has room for no more.
fn storms(messages: u32, bytes: u64, lasting: bool) {
    let seconds = std::env::var("PUBSUB_STORM_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let seed: u64 = std::env::var("CRASH_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for round in 0..u64::div_ceil(seconds, ROUND) {
        storm(messages, bytes, lasting, seconds.min(ROUND), seed << 12 | round);
    }
}

/// Seconds of a storm.
const ROUND: u64 = 4;

/// Publishers that are killed again and again, and readers all the while.
fn storm(messages: u32, bytes: u64, lasting: bool, seconds: u64, seed: u64) {
    let directory = run_directory();
    let run = directory.path();
    create(run, messages, bytes);
    let begin = Instant::now();
    let mut number = 0;
    let mut start = || {
        number += 1;
        let chaos = format!("kill:*:p0.002:{}", seed << 20 | number);
        (number, Process::start(run, number, "append max=20000", &chaos))
    };
    let mut at_work: Vec<_> = (0..3).map(|_| start()).collect();
    let mut ended = Vec::new();
    // Until somebody is killed, however few points are passed on a busy machine.
    while begin.elapsed() < Duration::from_secs(seconds) || ended.is_empty() && begin.elapsed() < PATIENCE {
        for at in &mut at_work {
            if at.1.ended().is_some() {
                assert!(!at.1.failed(), "{}", at.1.report());
                ended.push(at.0);
                *at = start();
            }
        }
        if !lasting {
            read(run, lasting);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::write(run.join("stop"), "").unwrap();
    for (number, mut process) in at_work {
        process.wait();
        ended.push(number);
    }
    assert!(ended.len() > 3, "nobody was killed");
    let found = read(run, lasting);
    if lasting {
        for number in ended {
            let (noted, found) = (noted(run, number), found.get(&number).map_or(0, |(_, last)| *last));
            assert!(noted.contains(&found), "LOST: {number} published {noted:?}, {found} were found");
        }
    }
    // Nothing is held by the dead: as much as ever fits.
    let stats = topic_stats(TOPIC, home(run).as_deref()).unwrap();
    let last = publisher(run);
    for n in 1..=200 {
        last.publish(&content(1 << 20, n, 1_000), None).unwrap();
    }
    assert_eq!(topic_stats(TOPIC, home(run).as_deref()).unwrap().next_offset, stats.next_offset + 200);
    println!("{} publishers, {} messages", number, stats.next_offset - 1);
}
