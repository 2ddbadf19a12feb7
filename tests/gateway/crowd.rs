//! Many connections, many topics.

use serde_json::json;

use crate::server::{Store, until};

#[test]
fn an_idle_connection_costs_little_memory() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut first = gateway.connect();
    first.subscribe("t", 0);
    let before = gateway.memory();
    const MANY: u64 = 500;
    let mut clients: Vec<_> = (0..MANY).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.subscribe("t", 0);
    }
    let each = (gateway.memory() - before) / MANY;
    // 16 KiB are promised of a release build; the test's has larger frames on its stacks and in its tasks.
    assert!(each <= 24, "{each} KiB for each of {MANY} connections");
    first.send_json(json!({"action": "publish", "topic": "t", "message": "to all"}));
    for client in &mut clients {
        assert_eq!(client.messages(1), [json!("to all")]);
    }
    drop(clients);
    until("all have gone", || gateway.figure("pubsub_connections") == 1.0);
}

#[test]
fn a_flood_of_connections_is_survived() {
    let store = Store::new();
    let gateway = store.serve(&["--max-connections", "100"]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    for _ in 0..5 {
        let flood: Vec<_> = (0..400).filter_map(|_| std::net::TcpStream::connect(gateway.address).ok()).collect();
        client.send_json(json!({"action": "publish", "topic": "t", "message": 1}));
        assert_eq!(client.messages(1), [json!(1)]);
        drop(flood);
    }
    until("there is room again", || crate::client::Client::try_connect(gateway.address, "/ws", &[]).is_ok());
}

#[test]
fn ten_thousand_topics_are_listed_and_one_pattern_hears_them() {
    const TOPICS: usize = 10_000;
    let store = Store::new();
    let gateway = store.serve(&["--no-recorder"]);
    let home = Some(store.home());
    let options = pubsub::TopicOptions { home, history_messages: 2, ..Default::default() };
    for n in 0..TOPICS {
        pubsub::create_topic(&format!("many.t{n}"), &options).unwrap();
    }
    let mut client = gateway.connect();
    client.subscribe("many.=", 1);
    assert_eq!(gateway.get("/topics").json()["topics"].as_array().unwrap().len(), TOPICS);
    assert_eq!(gateway.get("/stats").json()["topics"]["many.t9999"]["subscribers"], 1);
    client.send_json(json!({"action": "publish", "topic": "many.t9999", "message": 1}));
    assert_eq!(client.message()["topic"], "many.t9999");
}
