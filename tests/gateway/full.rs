//! A store that fills up. In a mount namespace of its own, so it needs root.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Store, is_root};

/// Takes all space that is left.
fn fill(path: &PathBuf) {
    let mut file = File::create(path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
}

fn publish(client: &mut Client, text: &str) -> Value {
    client.send_json(json!({"action": "publish", "topic": "t", "message": text, "request_id": 1}));
    client.frame()
}

#[test]
fn a_full_store_is_an_error_to_who_publishes_and_to_nobody_else() {
    if !is_root() {
        return;
    }
    let store = Store::new();
    let gateway = store.serve_on_small_file_system("size=4m");
    let (mut publisher, mut other) = (gateway.connect(), gateway.connect());
    other.subscribe("elsewhere", 0);
    // A program's channel that nobody reads holds what is published.
    let root = PathBuf::from(format!("/proc/{}/root", gateway.pid()));
    let home = root.join(store.home().strip_prefix("/").unwrap());
    let options = pubsub::ChannelOptions { home: Some(home.clone()), ..Default::default() };
    let waiting = pubsub::Channel::open("t", &options).unwrap();
    assert_eq!(publish(&mut publisher, "fits")["action"], "ack");
    let filler = home.join("filler");
    fill(&filler);

    // What memory there is reserved already is used first.
    let text = "x".repeat(100_000);
    let refused = (0..200).map(|_| publish(&mut publisher, &text)).find(|answer| answer["action"] == "error").unwrap();
    assert_eq!(
        (&refused["error"]["code"], &refused["request"]),
        (&json!("store_full"), &json!("publish")),
        "{refused}"
    );
    let answer = gateway.post("/topics/t/messages", &json!({"message": text}).to_string());
    assert_eq!(answer.code(), (507, "store_full".into()));
    // It is said in the log, with the path; not to strangers.
    assert!(!refused["error"]["message"].as_str().unwrap().contains("/dev/shm"), "{refused}");
    assert!(gateway.log().contains("the store is full"), "{}", gateway.log());

    // The connection goes on, and so do others.
    publisher.assert_quiet();
    other.assert_quiet();
    assert_eq!(gateway.get("/health").status, 200);
    // What is there already can be subscribed to: who lost their connection resumes.
    let mut again = gateway.connect();
    again.subscribe("elsewhere", 10);
    again.assert_quiet();
    drop(again);

    // Emptied, for a process that another test is about to start may still have inherited it.
    File::create(&filler).unwrap();
    std::fs::remove_file(&filler).unwrap();
    drop(waiting);
    assert_eq!(publish(&mut publisher, &text)["action"], "ack");
    other.send_json(json!({"action": "publish", "topic": "elsewhere", "message": "again"}));
    assert_eq!(other.message()["message"], "again");
}
