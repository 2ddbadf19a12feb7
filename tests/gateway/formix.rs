//! Messages of formix-pubsub programs, written as they write them.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Gateway, Store, until};

/// Publishes into every channel, as a formix-pubsub program does.
fn publish_as_formix(store: &Store, topic: &str, data: &[u8]) -> u64 {
    let id = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let mut bytes = b"PMSG\x01".to_vec();
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&id.to_be_bytes());
    for part in [topic.as_bytes(), b"", data] {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    fs::create_dir_all(store.home().join("tmp")).unwrap();
    let draft = store.home().join(format!("tmp/{id}"));
    fs::write(&draft, &bytes).unwrap();
    for channel in fs::read_dir(store.home()).unwrap().map(|entry| entry.unwrap().path()) {
        // For reading as well: a dead channel's would block.
        let Ok(mut queue) = OpenOptions::new().read(true).write(true).open(channel.join("queue")) else { continue };
        if fs::hard_link(&draft, channel.join(id.to_string())).is_ok() {
            queue.write_all(&id.to_be_bytes()).unwrap();
        }
    }
    fs::remove_file(&draft).unwrap();
    id
}

/// The gateway looks for topics to record every few seconds, the first time when it starts.
fn recorded(store: &Store) -> Gateway {
    drop(store.serve(&["--no-recorder"]).post("/topics", r#"{"name":"t"}"#));
    let gateway = store.serve(&[]);
    until("the topic is recorded", || {
        publish_as_formix(store, "t", b"0");
        gateway.get("/topics/t/messages").json()["messages"].as_array().is_some_and(|all| !all.is_empty())
    });
    gateway
}

#[test]
fn a_topic_is_recorded_before_the_client_that_made_it_is_answered() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("subscribed", 0);
    client.ask(json!({"action": "publish", "topic": "published", "message": 0}));
    assert_eq!(gateway.post("/topics", r#"{"name":"made"}"#).status, 201);
    assert_eq!(gateway.post("/topics/posted/messages", r#"{"message":0}"#).status, 201);
    let ids = ["subscribed", "published", "made", "posted"].map(|topic| {
        let id = publish_as_formix(&store, topic, b"1");
        (topic, json!(id.to_string()))
    });
    let last = |gateway: &Gateway, topic: &str| {
        gateway.get(&format!("/topics/{topic}/messages?limit=1")).json()["messages"][0]["id"].take()
    };
    for (topic, id) in &ids {
        until("it is recorded", || last(&gateway, topic) == *id);
    }
    // One that starts has taken up what there is when it says where it listens.
    drop(gateway);
    let gateway = store.serve(&[]);
    let id = json!(publish_as_formix(&store, "made", b"2").to_string());
    until("it is recorded", || last(&gateway, "made") == id);
}

#[test]
fn what_is_on_its_way_to_the_recorder_is_not_missed() {
    let store = Store::new();
    let gateway = store.serve(&["--no-recorder"]);
    drop(gateway.post("/topics", r#"{"name":"t"}"#));
    // The test records, when it wants to.
    let mut recorder = pubsub::Recorder::open("t", Some(&store.home())).unwrap().unwrap();
    let (mut sender, mut first) = (gateway.connect(), gateway.connect());
    first.subscribe("t", 0);
    for (text, mark, end) in [(b"1", "a mark", "an end"), (b"2", "another mark", "another end")] {
        publish_as_formix(&store, "t", text);
        let id = first.message()["id"].take();
        // Who comes now finds no trace of it in the history, and has looked there once it has what is published next.
        let mut second = gateway.connect();
        second.subscribe("t", 10);
        sender.ask(json!({"action": "publish", "topic": "t", "message": mark}));
        let mut got = until_text(&mut second, mark);
        assert_eq!(recorder.record(Some(std::time::Duration::from_secs(20))).unwrap(), 1);
        // Who comes later gets it from there.
        let mut third = gateway.connect();
        third.subscribe("t", 10);
        sender.ask(json!({"action": "publish", "topic": "t", "message": end}));
        got.append(&mut until_text(&mut second, end));
        for got in [got, until_text(&mut third, end)] {
            assert_eq!(got.iter().filter(|frame| frame["id"] == id).count(), 1, "{id} in {got:?}");
        }
        until_text(&mut first, end);
    }
}

/// The next messages, up to this one.
fn until_text(client: &mut Client, text: &str) -> Vec<Value> {
    let mut got = Vec::new();
    while got.last().is_none_or(|frame: &Value| frame["message"] != text) {
        got.push(client.message());
    }
    got
}

#[test]
fn what_formix_programs_publish_is_replayed_and_comes_once() {
    let store = Store::new();
    let gateway = recorded(&store);
    let mut sender = gateway.connect();
    // Subscribers come while a program publishes: each message reaches each of them once, replayed or live.
    let count = 200;
    let publisher = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            (1..=count).map(|n| publish_as_formix(&store, "t", n.to_string().as_bytes())).collect::<Vec<_>>()
        });
        let mut clients = Vec::new();
        while !thread.is_finished() && clients.len() < 100 || clients.is_empty() {
            let mut client = gateway.connect();
            client.ask(json!({"action": "subscribe", "topic": "t", "replay_last": 100_000}));
            clients.push(client);
        }
        let ids = thread.join().unwrap();
        until("all is recorded", || {
            let page = gateway.get("/topics/t/messages?limit=1").json();
            page["messages"][0]["message"] == json!(count)
        });
        sender.ask(json!({"action": "publish", "topic": "t", "message": "end"}));
        for client in &mut clients {
            let (mut ids, mut seen) = (Vec::new(), (false, false));
            // What formix programs publish and what is published here have no common order.
            while seen != (true, true) {
                let frame = client.message();
                seen = (seen.0 || frame["message"] == json!(count), seen.1 || frame["message"] == "end");
                ids.push(frame["id"].clone());
            }
            let distinct: HashSet<_> = ids.iter().map(Value::to_string).collect();
            assert_eq!(distinct.len(), ids.len(), "a message came twice");
        }
        ids
    });
    assert_eq!(publisher.len(), count as usize);
    // A new subscriber has them from the history, with their ids and places.
    let mut late = gateway.connect();
    late.subscribe("t", 3);
    let frames: Vec<_> = (0..3).map(|_| late.message()).collect();
    assert_eq!(frames[1]["id"], json!(publisher.last().unwrap().to_string()));
    assert!(frames[1]["offset"].is_string(), "{}", frames[1]);
    assert_eq!(frames[2]["message"], "end");
}
