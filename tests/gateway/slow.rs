//! Subscribers that do not read.

use std::time::Instant;

use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::server::{HANGS, Store};

/// Publishes until the gateway has noticed what it should.
fn flood(publisher: &mut Client, reader: &mut Client, mut noticed: impl FnMut() -> bool) -> u64 {
    let start = Instant::now();
    let padding = "x".repeat(2000);
    for count in 1.. {
        publisher.send_json(json!({"action": "publish", "topic": "t", "message": {"n": count, "padding": padding}}));
        // The others do not notice.
        assert_eq!(reader.message()["message"]["n"], count);
        if count % 100 == 0 && noticed() {
            return count;
        }
        assert!(start.elapsed() < HANGS);
    }
    unreachable!();
}

const BOUNDS: [&str; 4] = ["--queue-bytes", "200000", "--queue-messages", "1000"];

#[test]
fn who_stops_reading_is_disconnected_and_the_others_do_not_notice() {
    let store = Store::new();
    let gateway = store.serve(&BOUNDS);
    let (mut publisher, mut reader, mut stopped) = (gateway.connect(), gateway.connect(), gateway.connect());
    let ack = stopped.subscribe("t", 0);
    reader.subscribe("t", 0);
    let before = gateway.memory();
    let published = flood(&mut publisher, &mut reader, || gateway.figure("pubsub_connections") == 2.0);
    assert!(gateway.memory() < before + 20_000, "{} KiB, {before} before", gateway.memory());
    assert_eq!(gateway.figure("pubsub_too_slow_total"), 1.0);
    // What lay in the sockets it still gets, in order, and can resume behind it.
    let mut last = (ack["epoch"].clone(), ack["offset"].clone());
    let mut count = 0;
    while let Received::Frame(frame) = stopped.next() {
        count += 1;
        assert_eq!(frame["message"]["n"], count);
        last = (frame["epoch"].clone(), frame["offset"].clone());
    }
    assert!(count < published);
    let mut again = gateway.connect();
    let ack = again.ask(json!({"action": "subscribe", "topic": "t", "since": {"epoch": last.0, "offset": last.1}}));
    let first = again.message()["message"]["n"].as_u64().unwrap();
    assert_eq!(ack["recovered"], first == count + 1);
}

#[test]
fn who_allows_it_loses_the_oldest_and_is_told_how_many() {
    let store = Store::new();
    let gateway = store.serve(&BOUNDS);
    let (mut publisher, mut reader, mut stopped) = (gateway.connect(), gateway.connect(), gateway.connect());
    stopped.ask(json!({"action": "subscribe", "topic": "t", "replay_last": 0, "overflow": "drop_oldest"}));
    reader.subscribe("t", 0);
    // Sockets take some megabytes before anything waits in the queue.
    let mut rounds = 0;
    let published = flood(&mut publisher, &mut reader, || {
        rounds += 1;
        rounds >= 60
    });
    // It reads again: gaps say exactly what is missing, and what is newest has come.
    let (mut seen, mut missed) = (0, 0);
    while seen + missed < published {
        let frame = stopped.frame();
        match frame["action"].as_str() {
            Some("gap") => {
                assert_eq!(frame["topic"], "t");
                missed += frame["missed"].as_u64().unwrap();
            }
            _ => {
                seen += 1;
                assert_eq!(frame["message"]["n"], seen + missed);
            }
        }
    }
    assert!(missed > 0, "nothing was dropped of {published}");
    stopped.assert_quiet();
    assert_eq!(gateway.figure("pubsub_connections"), 3.0);
}

#[test]
fn who_asks_without_reading_the_answers_is_not_read_any_more() {
    let store = Store::new();
    let gateway = store.serve(&BOUNDS);
    let mut client = gateway.connect();
    let before = gateway.memory();
    // Megabytes of answers, none of which is read: at some point writing blocks.
    client.socket.get_mut().set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    let request = json!({"action": "ping", "request_id": "x".repeat(200)}).to_string();
    let mut sent = 0;
    while sent < 300_000 && client.socket.send(tungstenite::Message::text(request.as_str())).is_ok() {
        sent += 1;
    }
    assert!(sent < 300_000, "it was read all the time");
    assert!(gateway.memory() < before + 10_000, "{} KiB, {before} before", gateway.memory());
    gateway.assert_works();
}

#[test]
fn a_long_past_waits_for_its_reader() {
    let store = Store::new();
    let gateway = store.serve(&BOUNDS);
    assert_eq!(gateway.post("/topics", r#"{"name":"t","history_messages":5000}"#).status, 201);
    let publisher = store.publisher("t");
    let padding = "x".repeat(2000);
    for n in 0..5000 {
        publisher.publish(json!({"n": n, "padding": padding}).to_string().as_bytes(), None).unwrap();
    }
    // Ten megabytes through a queue of 200 kB.
    let mut client = gateway.connect();
    client.send_json(json!({"action": "subscribe", "topic": "t", "replay_last": 5000}));
    let received: Vec<Value> = client.messages(5000).iter().map(|message| message["n"].clone()).collect();
    assert_eq!(received, (0..5000).map(|n| json!(n)).collect::<Vec<_>>());
    client.assert_quiet();
}
