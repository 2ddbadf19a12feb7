//! `pubsub sub`: formats, limits, several patterns, readers that stop reading.

use std::fs::File;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Running, Store};

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn text_shows_topic_and_content_and_nothing_that_a_terminal_obeys() {
    let store = Store::new();
    let sub = store.sub(1, &["+", "--count", "3"]);
    store.ok(["pub", "a.b", "Gr\u{fc}\u{df}e\tto C:\\x"]);
    store.run_on(["pub", "c", "-"], b"two\nlines\n");
    store.run_on(["pub", "d", "-"], b"\x1b[2J\xff\x00");
    assert_eq!(sub.end().text(), "a.b Gr\u{fc}\u{df}e\tto C:\\x\nc two\\nlines\nd \\u{1b}[2J\\xff\\u{0}\n");
}

#[test]
fn json_lines_have_the_documented_fields_in_order() {
    let store = Store::new();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let sub = store.sub(1, &["a", "-n2", "-f", "json"]);
    store.ok(["pub", "a", "say \"hi\"\n\u{1b}", "-H", "n=3"]);
    store.run_on(["pub", "a", "-"], &[0, 255, 254]);
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let ended = sub.end();
    let lines = ended.lines();
    assert_eq!(lines.len(), 2);

    let first = json(lines[0]);
    let id: u64 = first["id"].as_str().expect("the id is text").parse().unwrap();
    assert!(id > 1 << 53);
    let timestamp = first["timestamp"].as_u64().unwrap();
    assert!((before..=after).contains(&timestamp), "{before} {timestamp} {after}");
    let expected = format!(
        r#"{{"id":"{id}","timestamp":{timestamp},"topic":"a","headers":{{"n": 3}},"content":"say \"hi\"\n\u001b"}}"#
    );
    assert_eq!(lines[0], expected);

    let second = json(lines[1]);
    assert_eq!((&second["content_base64"], second.get("content")), (&Value::from("AP/+"), None));
    assert_eq!(second["headers"], Value::from(serde_json::Map::new()));
}

#[test]
fn headers_that_are_not_strict_json_still_make_a_line_of_json() {
    let store = Store::new();
    let sub = store.sub(1, &["a", "-n2", "-f", "json"]);
    let big = "123456789012345678901234567890";
    let python = format!(r#"{{"nan": NaN, "inf": -Infinity, "t": "x", "n": {big}, "l": [NaN], "d": 0.5, "z": null}}"#);
    store.ok(["pub", "a", "x", "--json", &python]);
    store.ok(["pub", "a", "x", "--json", "{\"deep\":\n {\"k\":\r\n[1]}}"]);
    let ended = sub.end();
    let first = json(ended.lines()[0]);
    let headers = &first["headers"];
    assert_eq!((&headers["nan"], &headers["inf"], &headers["t"]), (&Value::Null, &Value::Null, &Value::from("x")));
    assert_eq!((headers["n"].to_string(), headers["d"].to_string()), (big.to_owned(), "0.5".to_owned()));
    assert!(headers["l"].as_str().unwrap().contains("NaN"));
    assert_eq!(json(ended.lines()[1])["headers"]["deep"]["k"][0], 1);
}

#[test]
fn raw_is_the_content_and_nothing_else() {
    let store = Store::new();
    let sub = store.sub(1, &["a", "-n2", "-f", "raw"]);
    store.run_on(["pub", "a", "-"], &[0, 255, 10]);
    store.ok(["pub", "a", "end"]);
    assert_eq!(sub.end().stdout, b"\x00\xff\nend");
}

#[test]
fn count_ends_it_and_its_channels() {
    let store = Store::new();
    let sub = store.sub(2, &["a", "b", "--count", "2"]);
    for data in ["1", "2", "3"] {
        store.ok(["pub", "a", data]);
    }
    let ended = sub.end();
    assert_eq!((ended.code(), ended.text()), (Some(0), "a 1\na 2\n"));
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn count_zero_waits_for_nothing() {
    let ended = Store::new().sub(1, &["a", "--count", "0"]).end();
    assert_eq!((ended.code(), ended.text()), (Some(0), ""));
}

#[test]
fn a_timeout_is_the_total_and_too_few_messages_have_their_exit_code() {
    let store = Store::new();
    // From a history: it is there however late the machine lets a publisher come.
    store.ok(["topics", "create", "a"]);
    store.ok(["pub", "a", "1"]);
    let start = Instant::now();
    let mut sub = store.sub(1, &["a", "--replay", "1", "--count", "3", "--timeout", "1.5"]);
    assert_eq!(sub.line(), "a 1");
    let ended = sub.end();
    assert!(start.elapsed() >= Duration::from_millis(1500));
    assert_eq!(ended.code(), Some(3));
    assert_eq!(store.directories(), [""; 0]);
    // Without a count, the end of the time is the end of the work.
    assert_eq!(store.run(["sub", "a", "--timeout", "0"]).code(), Some(0));
    assert_eq!(store.run(["sub", "a", "-t0.01", "-n1"]).code(), Some(3));
}

#[test]
fn each_pattern_is_a_subscription_and_output_is_live() {
    let store = Store::new();
    let mut sub = store.sub(3, &["a.x", "a.=", "b.+"]);
    store.ok(["pub", "b.c.d", "1"]);
    assert_eq!(sub.line(), "b.c.d 1");
    store.ok(["pub", "a.x", "2"]);
    assert_eq!((sub.line(), sub.line()), ("a.x 2".to_owned(), "a.x 2".to_owned()));
    store.ok(["pub", "a.x.y", "not matched"]);
    store.ok(["pub", "a.z", "3"]);
    assert_eq!(sub.line(), "a.z 3");
    assert_eq!(store.directories().len(), 3);
    sub.signal(Signal::SIGINT);
    assert_eq!(sub.end().text(), "");
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn quiet_leaves_the_announcement_out() {
    let ended = Store::new().run(["sub", "-q", "a", "-t0"]);
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), ""));
}

#[test]
fn head_takes_three_and_the_subscriber_ends_quietly() {
    let store = Store::new();
    let script = "{ \"$PUBSUB\" sub a; echo \"exit code $?\" >&2; } | head -n 3";
    let sub = Running::start(&mut store.shell(script)).subscribed(1);
    store.run_on(["pub", "--lines", "a"], b"1\n2\n3\n4\n5\n");
    let ended = sub.end();
    assert_eq!(ended.text(), "a 1\na 2\na 3\n");
    assert_eq!(ended.words, "subscribed: a\nexit code 0\n");
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn it_ends_when_its_reader_has_gone_even_if_no_message_comes() {
    let store = Store::new();
    let mut sub = store.sub(1, &["a"]);
    store.ok(["pub", "a", "1"]);
    assert_eq!(sub.line(), "a 1");
    sub.stdout = None;
    let ended = sub.end();
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), "subscribed: a\n"));
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn a_closed_standard_output_harms_nobody() {
    let store = Store::new();
    let sub = Running::start(&mut store.shell("exec \"$PUBSUB\" sub a -n1 >&-")).subscribed(1);
    store.ok(["pub", "a", "1"]);
    assert_eq!(sub.end().code(), Some(0));
    assert_eq!(store.directories(), [""; 0]);
    assert_eq!(Running::start(&mut store.shell("\"$PUBSUB\" ls >&-")).end().code(), Some(0));
}

#[test]
fn a_full_disk_behind_standard_output_is_a_failure_that_says_so() {
    let store = Store::new();
    let sub = Running::start(&mut store.shell("exec \"$PUBSUB\" sub a > /dev/full")).subscribed(1);
    store.ok(["pub", "a", "1"]);
    let ended = sub.end();
    assert_eq!(ended.code(), Some(1));
    assert!(ended.words.contains("pubsub: writing standard output: No space left"), "{}", ended.words);
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn output_goes_to_files_too() {
    let store = Store::new();
    let path = store.beside("out");
    File::create(&path).unwrap();
    let script = format!("exec \"$PUBSUB\" sub a -n 1000 > '{}'", path.display());
    let sub = Running::start(&mut store.shell(&script)).subscribed(1);
    store.run_on(["pub", "--lines", "a"], "x\n".repeat(1000).as_bytes());
    assert_eq!(sub.end().code(), Some(0));
    assert_eq!(std::fs::read_to_string(path).unwrap(), "a x\n".repeat(1000));
}

#[test]
fn a_channel_deleted_by_others_is_a_failure_and_not_an_endless_wait() {
    let store = Store::new();
    let mut sub = store.sub(1, &["a"]);
    store.ok(["pub", "a", "1"]);
    assert_eq!(sub.line(), "a 1");
    std::fs::remove_dir_all(store.home().join(&store.directories()[0])).unwrap();
    let ended = sub.end();
    assert_eq!((ended.code(), ended.text()), (Some(1), ""));
    assert!(ended.words.contains("pubsub: ") && ended.words.contains("deleted"), "{}", ended.words);
}
