//! `pubsub topics` and `pubsub sub --replay`.

use std::fs::{self, OpenOptions};
use std::io::Write;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Running, Store};

fn topic(store: &Store, name: &str) -> Value {
    let ended = store.ok(["topics", "--json"]);
    let topics: Vec<Value> = ended.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    topics.into_iter().find(|topic| topic["topic"] == name).unwrap_or_else(|| panic!("no {name}: {ended:?}"))
}

#[test]
fn topics_are_created_listed_and_deleted() {
    let store = Store::new();
    assert_eq!(store.ok(["topics"]).text(), "");
    assert_eq!(store.ok(["topics", "create", "news.sports", "--messages", "3"]).words, "created news.sports\n");
    store.ok(["topics", "create", "a"]);
    let sub = store.sub(1, &["news.="]);
    store.run_on(["pub", "--lines", "news.sports"], b"1\n2\n3\n4\n5\n");

    let ended = store.ok(["topics", "list"]);
    let lines: Vec<Vec<&str>> = ended.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["TOPIC", "SUBSCRIBERS", "PUBLISHED", "KEPT", "BYTES", "NEXT"]);
    assert_eq!((&lines[1][..4], lines[1][6]), (&["a", "0", "0", "0"][..], "1"));
    assert_eq!((&lines[2][..4], lines[2][6]), (&["news.sports", "1", "5", "3"][..], "6"));
    let news = topic(&store, "news.sports");
    assert_eq!((&news["subscribers"], &news["messages_published"]), (&1.into(), &5.into()));
    assert_eq!((&news["messages_in_history"], &news["next_offset"]), (&3.into(), &6.into()));
    assert!(news["epoch"].as_str().unwrap().parse::<u64>().unwrap() > 0 && news["created"].as_i64() > Some(0));
    let stats: Value = serde_json::from_str(store.ok(["stats", "--json"]).text()).unwrap();
    assert_eq!(stats["topics"][1], news);

    assert_eq!(store.ok(["topics", "delete", "news.sports"]).words, "deleted news.sports\n");
    assert_eq!(store.ok(["topics"]).lines().len(), 2);
    sub.signal(Signal::SIGTERM);
    assert_eq!(sub.end().lines().len(), 5);

    store.run(["topics", "create", "a"]).assert_failed(1, &["'a'", "already"]);
    store.run(["topics", "delete", "none"]).assert_failed(1, &["'none'", "not managed", "nothing to delete"]);
    store.run(["topics", "history", "none"]).assert_failed(1, &["'none'", "not managed"]);
    store.run(["topics", "keep", "none"]).assert_failed(1, &["'none'", "not managed"]);
    store.run(["topics", "create", "no topic"]).assert_failed(2, &["no topic"]);
    store.run(["topics", "create", "b", "--messages", "0"]).assert_failed(2, &["0"]);
    store.run(["topics", "create", "b", "--age", "0"]).assert_failed(2, &["--age", "for no time"]);
    for time in ["nan", "1e30", "soon"] {
        store.run(["topics", "create", "b", "--age", time]).assert_failed(2, &[time, "not a number of seconds"]);
    }
}

#[test]
fn a_history_is_printed_in_each_format_and_outlives_every_process() {
    let store = Store::new();
    store.ok(["topics", "create", "a"]);
    store.run_on(["pub", "--lines", "a", "-H", "n=1"], b"1\n2\n3\n");
    assert_eq!(store.ok(["topics", "history", "a"]).text(), "a 1\na 2\na 3\n");
    assert_eq!(store.ok(["topics", "history", "a", "--last", "2", "--format", "raw"]).text(), "23");
    let ended = store.ok(["topics", "history", "a", "-n1", "-f", "json"]);
    let message: Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!((&message["content"], &message["headers"]["n"]), (&"3".into(), &1.into()));
    let script = "\"$PUBSUB\" topics history a | head -n 1";
    assert_eq!(Running::start(&mut store.shell(script)).end().text(), "a 1\n");
}

#[test]
fn a_subscription_may_begin_with_the_last_messages() {
    let store = Store::new();
    store.ok(["topics", "create", "a.b"]);
    store.run_on(["pub", "--lines", "a.b"], b"1\n2\n3\n");
    let mut sub = store.sub(1, &["--replay", "2", "a.="]);
    assert_eq!((sub.line(), sub.line()), ("a.b 2".to_owned(), "a.b 3".to_owned()));
    store.ok(["pub", "a.b", "4"]);
    assert_eq!(sub.line(), "a.b 4");
    sub.signal(Signal::SIGTERM);
    sub.end();

    // Who is on exactly that topic is told of its end.
    let mut sub = store.sub(1, &["a.b"]);
    store.ok(["topics", "delete", "a.b"]);
    assert_eq!(sub.word_line(), "deleted: a.b\n");
    sub.signal(Signal::SIGTERM);
    assert_eq!(sub.end().text(), "");
}

/// Publishes into every channel that may be a formix publisher's target, as such a one does.
fn publish_as_formix(store: &Store, id: u64, topic: &str, data: &[u8]) {
    let mut bytes = b"PMSG\x01".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    for part in [topic.as_bytes(), b"", data] {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    let draft = store.home().join(format!("tmp/{id}"));
    fs::write(&draft, &bytes).unwrap();
    for channel in store.directories() {
        let channel = store.home().join(channel);
        fs::hard_link(&draft, channel.join(id.to_string())).unwrap();
        // For reading as well: a dead channel's would block.
        let queue = OpenOptions::new().read(true).write(true).open(channel.join("queue"));
        queue.unwrap().write_all(&id.to_be_bytes()).unwrap();
    }
    fs::remove_file(&draft).unwrap();
}

/// Starts `pubsub topics keep` and answers once it keeps its first topic.
fn keep(store: &Store) -> Running {
    let mut keeper = Running::start(&mut store.command(["topics", "keep"]));
    assert_eq!(keeper.word_line(), "keeping: a\n");
    keeper
}

#[test]
fn keeping_puts_what_formix_programs_publish_into_the_history() {
    let store = Store::new();
    store.ok(["topics", "create", "a"]);
    let mut keeper = keep(&store);
    publish_as_formix(&store, 1_795_320_805_756_191, "a", b"of formix");
    while topic(&store, "a")["messages_in_history"] != 1 {}
    store.ok(["pub", "a", "ours"]);
    assert_eq!(store.ok(["topics", "history", "a"]).text(), "a of formix\na ours\n");

    // Topics that come later are kept, too, and others are let go.
    store.ok(["topics", "create", "b"]);
    assert_eq!(keeper.word_line(), "keeping: b\n");
    store.ok(["topics", "delete", "b"]);
    assert_eq!(keeper.word_line(), "deleted: b\n");

    // Of two, one waits for the other's end.
    let mut second = Running::start(&mut store.command(["topics", "keep", "a"]));
    assert!(second.word_line().starts_with("another process keeps a;"));
    keeper.signal(Signal::SIGKILL);
    keeper.end();
    assert_eq!(second.word_line(), "keeping: a\n");
    publish_as_formix(&store, 1_795_320_805_756_192, "a", b"later");
    while topic(&store, "a")["messages_in_history"] != 3 {}
    second.signal(Signal::SIGINT);
    let ended = second.end();
    assert_eq!(ended.signal(), Some(Signal::SIGINT));
    assert!(ended.words.ends_with("kept 1 message\n"), "{ended:?}");
}
