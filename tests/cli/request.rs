//! `pubsub request` and `pubsub reply`.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use pubsub::{Channel, ChannelOptions, HeaderValue, Headers, Publisher, PublisherOptions};
use serde_json::{Value, json};

use crate::support::{HANGS, Running, Store, exists, has_ended};

const LONG: Option<Duration> = Some(HANGS);

impl Store {
    /// Starts `pubsub reply`, and answers once it listens.
    fn reply(&self, args: &[&str]) -> Running {
        Running::start(self.command(["reply"].iter().chain(args)).stdin(Stdio::null())).subscribed(1)
    }

    /// A channel to answer from by hand.
    fn channel(&self, pattern: &str) -> Channel {
        Channel::open(pattern, &ChannelOptions { home: Some(self.home()), ..Default::default() }).unwrap()
    }
}

fn header(name: &str, value: &str) -> Headers {
    let mut headers = Headers::new();
    headers.set(name, HeaderValue::String(value.to_owned()));
    headers
}

#[test]
fn a_command_answers_a_request_byte_for_byte() {
    let store = Store::new();
    let replier = store.reply(&["text.=", "--exec", "tr a-z A-Z", "--count", "4"]);
    assert_eq!(store.ok(["request", "text.upper", "hello"]).stdout, b"HELLO");
    assert_eq!(store.ok(["request", "text.upper"]).stdout, b"");
    // More than pipes hold, and of every value.
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let answer = store.run_on(["request", "text.upper", "-"], &bytes);
    assert_eq!(answer.stdout, bytes.to_ascii_uppercase());
    let json = store.ok(["request", "text.upper", "x", "--format", "json"]);
    let json: Value = serde_json::from_str(json.text()).unwrap();
    assert_eq!(json["content"], "X");
    assert!(json["headers"]["correlation-id"].is_string());
    let ended = replier.end();
    assert_eq!((ended.code(), ended.words.as_str()), (Some(0), "subscribed: text.=\n"));
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn the_command_is_told_the_topic_the_headers_and_the_store() {
    let store = Store::new();
    let home = store.beside("another");
    let home = home.to_str().unwrap();
    let exec = "printf '%s\\n' \"$PUBSUB_TOPIC\" \"$PUBSUB_HEADERS\" \"$PUBSUB_HOME\"";
    let replier = store.reply(&["--home", home, "file.=", "--exec", exec, "--count", "1"]);
    let answer = store.ok(["request", "--home", home, "file.a", "-H", "n=5", "-H", "t=x y"]);
    let lines = answer.lines();
    let headers: Value = serde_json::from_str(lines[1]).unwrap();
    assert_eq!((lines[0], lines[2]), ("file.a", home));
    assert_eq!((&headers["n"], &headers["t"]), (&json!(5), &json!("x y")));
    assert!(headers["response-topic"].is_string() && headers["correlation-id"].is_string());
    replier.end();
}

#[test]
fn a_command_that_fails_is_answered_with_an_error() {
    let store = Store::new();
    let replier = store.reply(&["a", "--exec", "echo so far; sleep 0; eval \"$(cat)\"", "--count", "3"]);
    for (code, error) in
        [("exit 3", "exit code 3"), ("no-such-command-anywhere", "exit code 127"), ("kill -KILL $$", "signal 9")]
    {
        let ended = store.run(["request", "a", code]);
        assert_eq!((ended.code(), ended.text()), (Some(1), "so far\n"), "{ended:?}");
        assert_eq!(ended.words, format!("pubsub: the reply from 'a' is an error: {error}\n"));
    }
    let ended = replier.end();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.words.contains("a: exit code 3\n"), "{ended:?}");

    let replier = store.reply(&["a", "--exec", "echo so far; exec sleep 1000", "--timeout", "0.5", "--count", "1"]);
    let ended = store.run(["request", "a", ""]);
    // On a busy machine it may have been too late for a word.
    assert!(ended.code() == Some(1) && ["so far\n", ""].contains(&ended.text()), "{ended:?}");
    assert_eq!(ended.words, "pubsub: the reply from 'a' is an error: it took too long\n");
    let ended = replier.end();
    assert!(ended.code() == Some(0) && ended.words.contains("a: it took too long\n"), "{ended:?}");
}

#[test]
fn a_command_need_not_read_its_input() {
    let store = Store::new();
    let replier = store.reply(&["a", "--exec", "exec 0<&-; echo done", "--count", "1"]);
    assert_eq!(store.run_on(["request", "a", "-"], &vec![b'x'; 1 << 20]).text(), "done\n");
    replier.end();
}

#[test]
fn nobody_listening_and_no_reply_in_time_have_exit_codes() {
    let store = Store::new();
    store.run(["request", "a", "x"]).assert_failed(1, &["nobody listens", "'a'"]);
    store.run(["request", "a.+", "x"]).assert_failed(2, &["a.+"]);
    store.run(["request", "a", "--timeout", "soon"]).assert_failed(2, &["soon"]);
    store.run(["reply", "a"]).assert_failed(2, &["--exec"]);
    store.run(["reply", "a b", "--exec", "cat"]).assert_failed(2, &["a b"]);
    let mut channel = store.channel("a");
    let ended = store.run(["request", "a", "x", "--timeout", "0.05"]);
    assert_eq!((ended.code(), ended.text(), ended.words.as_str()), (Some(3), "", "no reply from 'a' in time\n"));
    let request = channel.fetch().unwrap().unwrap();
    assert_eq!(pubsub::reply(&request, b"late", None).unwrap(), 0);
    channel.close().unwrap();
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn only_the_reply_to_the_request_is_printed() {
    let store = Store::new();
    let mut channel = store.channel("a");
    let asking = Running::start(store.command(["request", "a", "x"]).stdin(Stdio::null()));
    let request = channel.fetch_wait(LONG).unwrap().unwrap();
    let Some(HeaderValue::String(topic)) = request.headers().get("response-topic").cloned() else { panic!() };
    let other = Publisher::open(&topic, &PublisherOptions { home: Some(store.home()), ..Default::default() }).unwrap();
    for headers in [None, Some(&header("correlation-id", "another")), Some(&header("error", "another"))] {
        assert_eq!(other.publish(b"no reply", headers).unwrap(), 1);
    }
    pubsub::reply(&request, b"the reply", None).unwrap();
    let ended = asking.end();
    assert_eq!((ended.code(), ended.text()), (Some(0), "the reply"));
}

#[test]
fn messages_that_ask_for_no_reply_are_passed_over() {
    let store = Store::new();
    let replier = store.reply(&["a", "--exec", "cat", "--count", "1"]);
    store.ok(["pub", "a", "x"]);
    store.ok(["pub", "a", "x", "-H", "response-topic=no topic"]);
    let ended = replier.end();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.words.contains("a: it asks for no reply\n") && ended.words.contains("'no topic'"), "{ended:?}");
}

#[test]
fn signals_end_a_request_and_leave_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let store = Store::new();
        let mut channel = store.channel("a");
        let asking = Running::start(store.command(["request", "a", "x"]).stdin(Stdio::null()));
        channel.fetch_wait(LONG).unwrap().expect("the request");
        asking.signal(signal);
        assert_eq!(asking.end().signal(), Some(signal));
        channel.close().unwrap();
        assert_eq!(store.directories(), [""; 0]);
    }
}

#[test]
fn a_signal_ends_a_replier_and_its_command() {
    let store = Store::new();
    // Idle.
    let replier = store.reply(&["a", "--exec", "cat"]);
    replier.signal(Signal::SIGTERM);
    assert_eq!(replier.end().signal(), Some(Signal::SIGTERM));
    // In the midst of a command, which has started another.
    let begun = store.beside("begun");
    let exec = format!("echo before; sleep 100 & echo $! > '{0}.new'; mv '{0}.new' '{0}'; wait", begun.display());
    let replier = store.reply(&["a", "--exec", &exec]);
    let asking = Running::start(store.command(["request", "a", "x"]).stdin(Stdio::null()));
    while !exists(&begun) {
        std::thread::sleep(Duration::from_millis(1));
    }
    replier.signal(Signal::SIGINT);
    assert_eq!(replier.end().signal(), Some(Signal::SIGINT));
    let ended = asking.end();
    assert_eq!((ended.code(), ended.text()), (Some(1), "before\n"), "{ended:?}");
    assert!(ended.words.contains("the replier was ended"), "{ended:?}");
    // It has been sent the signal, and may not have come to die of it.
    has_ended(Pid::from_raw(fs::read_to_string(&begun).unwrap().trim().parse().unwrap()));
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn repliers_and_requests_meet_in_a_pipeline() {
    let store = Store::new();
    let script = "\"$PUBSUB\" reply len.of --exec 'wc -c' --count 1 -q & \
                  until out=$(\"$PUBSUB\" request len.of hello 2>/dev/null); do sleep 0.01; done; echo $out; wait";
    let ended = Running::start(store.shell(script).stdin(Stdio::null())).end();
    assert_eq!(ended.text(), "5\n", "{ended:?}");
}
