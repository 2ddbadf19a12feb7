//! `pubsub record` and `pubsub play`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Ended, Running, Store, exists};

/// Starts `pubsub record` and answers once its subscriptions are live.
fn record(store: &Store, file: &Path, args: &[&str], patterns: usize) -> Running {
    let mut command = store.command(["record".as_ref(), file.as_os_str()]);
    Running::start(command.args(args)).subscribed(patterns)
}

fn end(recorder: Running) -> Ended {
    recorder.signal(Signal::SIGINT);
    let ended = recorder.end();
    assert_eq!((ended.code(), ended.text()), (Some(0), ""), "{ended:?}");
    ended
}

fn play(store: &Store, file: &Path, speed: &str) -> Ended {
    store.run(["play".as_ref(), file.as_os_str(), "--speed".as_ref(), speed.as_ref()])
}

/// The file of a recording of these numbered messages, made in `store`.
fn recording(store: &Store, messages: usize) -> PathBuf {
    let file = store.beside("test.psr");
    let recorder = record(store, &file, &["a"], 1);
    let input: String = (0..messages).map(|i| format!("{i}\n")).collect();
    store.run_on(["pub", "--lines", "a"], input.as_bytes());
    let ended = end(recorder);
    assert!(ended.words.contains(&format!("recorded {messages} messages")), "{}", ended.words);
    file
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// Puts a message into the store's one channel as a formix publisher would.
fn deliver_raw(store: &Store, id: u64, topic: &str, headers: &str, data: &[u8]) {
    let mut bytes = b"PMSG\x01".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    for part in [topic.as_bytes(), headers.as_bytes(), data] {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let channel = store.home().join(store.directories().remove(0));
    let draft = store.home().join(format!("tmp/{id}"));
    fs::write(&draft, &bytes).unwrap();
    fs::rename(&draft, channel.join(id.to_string())).unwrap();
    fs::write(channel.join("queue"), id.to_be_bytes()).unwrap();
}

#[test]
fn topics_headers_and_contents_come_back_byte_for_byte() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["+"], 1);
    let data: Vec<u8> = (0..=255u8).cycle().take(200_000).collect();
    let odd = r#"{ "n":1.50,	"n" : 123456789012345678901234567890 }"#;
    deliver_raw(&store, 1_795_320_805_756_191, "odd.topic", odd, &data);
    deliver_raw(&store, 1_795_320_805_756_192, "no.object", "[1,  2]", b"");
    // A topic that formix publishes and we cannot.
    let long = "x".repeat(300);
    deliver_raw(&store, 1_795_320_805_756_193, &long, "{}", b"long");
    store.ok(["pub", "a.b", "text", "-H", "k=v"]);
    end(recorder);

    let listener = store.sub(1, &["+", "-n3", "--format", "json"]);
    let ended = play(&store, &file, "0");
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.words.contains("played 3 messages") && ended.words.contains("left out 1 message"), "{ended:?}");
    let received = listener.end();
    // Nothing is promised of the order between messages of formix and ours.
    for wanted in [
        &format!(r#""topic":"odd.topic","headers":{odd},"content_base64":"#),
        r#""topic":"no.object","#,
        r#""topic":"a.b","headers":{"k": "v"},"content":"text""#,
    ] {
        assert!(received.text().contains(wanted), "{wanted} is not in {}", received.text());
    }

    // A recording of the played recording has the same bytes.
    let again = store.beside("again.psr");
    let recorder = record(&store, &again, &["+"], 1);
    play(&store, &file, "0");
    end(recorder);
    let (first, second) = (fs::read(&file).unwrap(), fs::read(&again).unwrap());
    for part in [odd.as_bytes(), b"[1,  2]", &data] {
        let count = |bytes: &[u8]| bytes.windows(part.len()).filter(|window| *window == part).count();
        assert_eq!((count(&first), count(&second)), (1, 1));
    }
}

#[test]
fn pauses_are_kept_and_divided_by_the_speed() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a.=", "b"], 2);
    let sub = store.sub(2, &["a.=", "b", "-n3", "--format", "json"]);
    for (topic, pause) in [("a.x", 700), ("b", 300), ("a.y", 0)] {
        store.ok(["pub", topic, "x"]);
        thread::sleep(Duration::from_millis(pause));
    }
    end(recorder);
    // Each message's topic, and how long after `from`, or after the first, it was published.
    let times = |ended: &Ended, from: Option<u64>| -> Vec<(String, u64)> {
        let lines = ended.lines();
        let mut times: Vec<_> = lines
            .iter()
            .map(|line| (json(line)["timestamp"].as_u64().unwrap(), json(line)["topic"].as_str().unwrap().to_owned()))
            .collect();
        times.sort();
        let from = from.unwrap_or(times[0].0);
        times.into_iter().map(|(time, topic)| (topic, time - from)).collect()
    };
    let recorded = times(&sub.end(), None);
    assert!(recorded[1].1 >= 700_000 && recorded[2].1 >= 1_000_000, "{recorded:?}");
    let played = |speed| {
        let sub = store.sub(2, &["a.=", "b", "-n3", "--format", "json"]);
        // The first may come late; the others never come early.
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        assert_eq!(play(&store, &file, speed).code(), Some(0));
        times(&sub.end(), Some(before))
    };

    for (speed, factor) in [("1", 1), ("2.0", 2)] {
        for ((topic, wanted), (played_topic, played)) in recorded.iter().zip(played(speed)) {
            assert_eq!(*topic, played_topic);
            assert!(played + 10_000 >= wanted / factor, "{recorded:?}: {topic} after {played} us");
        }
    }
    // With pauses it would always take longer; a busy machine may be slow once.
    let fast = |_| {
        let played = played("0");
        played[2].1 - played[0].1 < recorded[2].1 / 2
    };
    assert!((0..20).any(fast), "speed 0 has pauses");
}

#[test]
fn what_several_patterns_match_is_recorded_once() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a.=", "a.+", "+"], 3);
    for i in 0..50 {
        store.ok(["pub", if i % 2 == 0 { "a.x" } else { "a.x.y" }, &i.to_string()]);
    }
    assert!(end(recorder).words.contains("recorded 50 messages"));
    let sub = store.sub(1, &["+", "-n50"]);
    assert_eq!(play(&store, &file, "0").code(), Some(0));
    let expected: String = (0..50).map(|i| format!("{} {i}\n", if i % 2 == 0 { "a.x" } else { "a.x.y" })).collect();
    assert_eq!(sub.end().text(), expected);
}

#[test]
fn a_recording_cut_short_by_a_kill_plays_up_to_the_cut() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a"], 1);
    let input: String = (0..5000).map(|i| format!("{i}\n")).collect();
    store.run_on(["pub", "--lines", "a"], input.as_bytes());
    let written = |file: &Path| fs::metadata(file).unwrap().len();
    // Without another message, all of it gets into the file: its header, then entries of 53 bytes beside the content.
    while written(&file) < 32 + 5000 * 53 + (input.len() - 5000) as u64 {
        thread::yield_now();
    }
    recorder.signal(Signal::SIGKILL);
    recorder.end();
    // And the disk may have lost some of it.
    for (cut, messages) in [(0, 5000), (5, 4999)] {
        OpenOptions::new().write(true).open(&file).unwrap().set_len(written(&file) - cut).unwrap();
        let sub = store.sub(1, &["a", "-n", &messages.to_string()]);
        let ended = play(&store, &file, "0");
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        assert!(ended.words.contains(&format!("played {messages} messages")), "{ended:?}");
        assert!(ended.words.contains("was cut short"), "{ended:?}");
        let expected: String = (0..messages).map(|i| format!("a {i}\n")).collect();
        assert!(sub.end().text() == expected);
    }
}

#[test]
fn a_damaged_recording_is_played_up_to_the_damage_and_what_is_none_is_refused() {
    let store = Store::new();
    let file = recording(&store, 100);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let ended = play(&store, &file, "0");
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.words.contains("is damaged at byte"), "{ended:?}");
    for (name, content, parts) in [
        ("empty", &b""[..], "is no recording"),
        ("text", b"hello, this is a text of more than 32 bytes", "is no recording"),
        ("newer", b"PSRECORD\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "version 2"),
    ] {
        fs::write(store.beside(name), content).unwrap();
        let ended = play(&store, &store.beside(name), "0");
        assert_eq!(ended.code(), Some(1));
        assert!(ended.words.contains(parts) && ended.words.contains(name), "{ended:?}");
    }
    assert_eq!(play(&store, &store.beside("absent"), "0").code(), Some(1));
    assert_eq!(play(&store, Path::new("/proc"), "0").code(), Some(1));
    assert_eq!(play(&store, &file, "fast").code(), Some(2));
}

#[test]
fn a_file_that_is_there_is_kept_unless_forced() {
    let store = Store::new();
    let file = recording(&store, 3);
    let before = fs::read(&file).unwrap();
    let shown = file.to_str().unwrap();
    store.run(["record", shown, "a", "-t0"]).assert_failed(1, &[shown, "--force"]);
    assert!(fs::read(&file).unwrap() == before);
    let ended = store.ok(["record", shown, "a", "-t0", "--force"]);
    assert!(ended.words.contains("recorded 0 messages"), "{ended:?}");
    assert!(fs::read(&file).unwrap() != before);
    let other = store.beside("other.psr");
    let other = other.to_str().unwrap();
    assert_eq!(store.run(["record", other, "a", "no pattern", "-t0"]).code(), Some(2));
    assert!(!exists(Path::new(other)), "nothing is left behind");
    store.run(["record", "/none/of/these.psr", "a"]).assert_failed(1, &["/none/of/these.psr"]);
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn a_recording_ends_after_a_count_or_a_time_with_what_was_published() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a", "-n", "2"], 1);
    store.run_on(["pub", "--lines", "a"], b"1\n2\n3\n");
    let ended = recorder.end();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.words.contains("recorded 2 messages"), "{ended:?}");
    let ended = store.run(["record", file.to_str().unwrap(), "a", "-n1", "-t0.01", "--force"]);
    assert_eq!(ended.code(), Some(3), "{ended:?}");

    // What waits when the signal comes is recorded, too.
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let recorder = record(&store, &file, &["a", "--force"], 1);
        recorder.stop();
        store.run_on(["pub", "--lines", "a"], "x\n".repeat(3000).as_bytes());
        recorder.signal(signal);
        recorder.signal(Signal::SIGCONT);
        let ended = recorder.end();
        assert_eq!(ended.code(), Some(0));
        assert!(ended.words.contains("recorded 3000 messages"), "{ended:?}");
    }
}

#[test]
fn what_the_recorder_had_no_room_for_is_said_when_recorded_and_when_played() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a"], 1);
    recorder.stop();
    store.run_on(["pub", "--lines", "a"], "x\n".repeat(16_384).as_bytes());
    assert_eq!(store.run(["pub", "a", "x"]).code(), Some(1));
    recorder.signal(Signal::SIGCONT);
    let ended = end(recorder);
    assert!(ended.words.contains("1 message refused because the queue was full"), "{ended:?}");
    assert!(play(&store, &file, "0").words.contains("lacks 1 message"));
}

#[test]
fn a_full_disk_ends_a_recording_that_plays_up_to_there() {
    let store = Store::new();
    if !exists(Path::new("/dev/full")) {
        return;
    }
    store.run(["record", "/dev/full", "a", "-t0", "--force"]).assert_failed(1, &["/dev/full"]);
}

#[test]
fn a_signal_ends_playing_between_two_messages() {
    let store = Store::new();
    let file = store.beside("test.psr");
    let recorder = record(&store, &file, &["a"], 1);
    for i in 0..2 {
        store.ok(["pub", "a", &i.to_string()]);
    }
    end(recorder);
    // Slowed down, the second is years away.
    let sub = store.sub(1, &["a", "-n1"]);
    let mut command = store.command(["play".as_ref(), file.as_os_str(), "--speed".as_ref(), "1e-9".as_ref()]);
    let player = Running::start(&mut command);
    assert_eq!(sub.end().text(), "a 0\n");
    player.signal(Signal::SIGINT);
    let ended = player.end();
    assert_eq!(ended.signal(), Some(Signal::SIGINT), "{ended:?}");
    assert!(ended.words.contains("played 1 message "), "{ended:?}");
}

#[test]
fn a_full_channel_ends_playing_with_the_message_that_was_refused() {
    let store = Store::new();
    let file = recording(&store, 10);
    let sub = store.sub(1, &["a"]);
    sub.stop();
    store.run_on(["pub", "--lines", "a"], "x\n".repeat(16_384).as_bytes());
    let mut command = store.command(["play".as_ref(), file.as_os_str()]);
    let player = Running::start(&mut command);
    // It waits for room until there is some.
    thread::sleep(Duration::from_millis(50));
    sub.signal(Signal::SIGCONT);
    assert_eq!(player.end().code(), Some(0));
    sub.signal(Signal::SIGTERM);
    assert_eq!(sub.end().lines().len(), 16_394);
}
