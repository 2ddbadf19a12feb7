//! `pubsub pub`.

use std::io::Write;
use std::process::Stdio;
use std::thread;

use nix::sys::signal::Signal;

use crate::support::{Running, Store};

#[test]
fn words_say_how_many_channels_took_it_and_nobody_is_no_failure() {
    let store = Store::new();
    let ended = store.ok(["pub", "a.b", "x"]);
    assert_eq!((ended.text(), ended.words.as_str()), ("", "delivered to 0 channels\n"));

    let subs = [store.sub(1, &["a.b", "-n1"]), store.sub(1, &["a.=", "-n1"])];
    let ended = store.ok(["pub", "a.b", "x"]);
    assert_eq!((ended.text(), ended.words.as_str()), ("", "delivered to 2 channels\n"));
    for sub in subs {
        assert_eq!(sub.end().text(), "a.b x\n");
    }
}

#[test]
fn quiet_says_nothing() {
    let store = Store::new();
    assert_eq!(store.ok(["pub", "-q", "a", "x"]).words, "");
    assert_eq!(store.ok(["--quiet", "gc"]).words, "");
}

#[test]
fn a_dash_takes_all_of_standard_input_as_it_is() {
    let store = Store::new();
    let data: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
    let sub = store.sub(1, &["a", "-n1", "--format", "raw"]);
    assert_eq!(store.run_on(["pub", "a", "-"], &data).code(), Some(0));
    assert!(sub.end().stdout == data);
}

#[test]
fn data_may_be_empty_negative_or_behind_two_dashes() {
    let store = Store::new();
    let sub = store.sub(1, &["a", "-n3"]);
    store.ok(["pub", "a", ""]);
    store.ok(["pub", "a", "-5.5"]);
    store.ok(["pub", "a", "--", "--lines"]);
    assert_eq!(sub.end().text(), "a \na -5.5\na --lines\n");
}

#[test]
fn headers_are_typed_as_json_and_single_ones_go_on_top() {
    let store = Store::new();
    let sub = store.sub(1, &["a", "-n1", "--format", "json"]);
    let args = ["pub", "--json", r#"{"n": 1, "m": 2}"#, "-H", "n=3", "-H", "b=true", "-H", "s=\"7\"", "-H", "t=word"];
    store.ok(args.into_iter().chain(["-H", "x=0.5", "-H", "l=[1, {}]", "-H", "z=null", "a", "d"]));
    let message: serde_json::Value = serde_json::from_str(sub.end().text()).unwrap();
    let expected =
        r#"{"n": 3, "m": 2, "b": true, "s": "7", "t": "word", "x": 0.5, "l": [1, {}], "z": null}"#.to_owned();
    assert_eq!(message["headers"], serde_json::from_str::<serde_json::Value>(&expected).unwrap());
}

#[test]
fn lines_of_a_file_arrive_in_order_and_wait_for_a_slow_reader() {
    let store = Store::new();
    const LINES: usize = 100_000;
    let sub = store.sub(1, &["a", "--count", &LINES.to_string()]);
    sub.signal(Signal::SIGSTOP);
    let input: String = (0..LINES).map(|i| format!("line {i}\n")).collect();
    let ended = thread::scope(|scope| {
        let publisher = scope.spawn(|| store.run_on(["pub", "--lines", "a"], input.as_bytes()));
        // Nobody reads until the queue is full.
        while store.channels()[0]["unread_messages"] != 16_384 {}
        sub.signal(Signal::SIGCONT);
        let sub = sub.end();
        let expected: String = (0..LINES).map(|i| format!("a line {i}\n")).collect();
        assert!(sub.text() == expected);
        publisher.join().unwrap()
    });
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), "published 100000 messages\n"));
}

#[test]
fn lines_may_be_empty_long_and_without_a_last_newline() {
    let store = Store::new();
    let sub = store.sub(1, &["a", "-n5", "--format", "json"]);
    let long = "x".repeat(1_000_000);
    let input = format!("one\n\n{long}\r\n\u{fc}\nlast");
    let ended = store.run_on(["pub", "--lines", "a", "-H", "k=1"], input.as_bytes());
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), "published 5 messages\n"));
    let sub = sub.end();
    let messages: Vec<serde_json::Value> = sub.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let contents: Vec<_> = messages.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert!(contents == ["one", "", &format!("{long}\r"), "\u{fc}", "last"]);
    assert!(messages.iter().all(|message| message["headers"]["k"] == 1));
}

#[test]
fn no_lines_are_no_messages() {
    let store = Store::new();
    let ended = store.run_on(["pub", "--lines", "a", "-"], b"");
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), "published 0 messages\n"));
}

#[test]
fn a_slow_pipe_is_delivered_line_by_line() {
    let store = Store::new();
    let mut sub = store.sub(1, &["a"]);
    let mut publisher = Running::start(store.command(["pub", "--lines", "a"]).stdin(Stdio::piped()));
    let mut pipe = publisher.child.stdin.take().unwrap();
    for i in 0..20 {
        // The next line is written only once this one came out at the other end, in spite of the half line behind it.
        write!(pipe, "{i}\nhalf ").unwrap();
        assert_eq!(sub.line(), if i == 0 { "a 0".to_owned() } else { format!("a half {i}") });
    }
    drop(pipe);
    assert_eq!(sub.line(), "a half ");
    assert_eq!(publisher.end().code(), Some(0));
    sub.signal(Signal::SIGTERM);
    sub.end();
}

#[test]
fn a_full_channel_refuses_and_the_publisher_is_told() {
    let store = Store::new();
    let stopped = store.sub(1, &["a"]);
    stopped.stop();
    let input = "x\n".repeat(40_000);
    let ended = store.run_on(["pub", "--lines", "--wait", "0", "a"], input.as_bytes());
    ended.assert_failed(1, &["line 1638", "not published", "'a'"]);
    store.run(["pub", "a", "x"]).assert_failed(1, &["'a'"]);

    // One that takes it makes it a success, and the words say who did not.
    let other = store.sub(1, &["=", "-n1"]);
    let ended = store.ok(["pub", "a", "y"]);
    assert_eq!(ended.words, "delivered to 1 channel; 1 channel refused it\n");
    assert_eq!(other.end().text(), "a y\n");
    stopped.signal(Signal::SIGCONT);
    stopped.signal(Signal::SIGTERM);
    let stopped = stopped.end();
    assert!(stopped.words.contains("refused because the queue was full"), "{}", stopped.words);
    assert!(stopped.lines().len() >= 16_384);
}
