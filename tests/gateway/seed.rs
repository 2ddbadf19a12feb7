//! The interface that the seed document describes, point by point, and its examples.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::server::{Store, read_to_end, root, until};

#[test]
fn topics_are_made_listed_and_deleted() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.get("/topics").json(), json!({"topics": []}));
    assert_eq!(gateway.post("/topics", r#"{"name": "my-topic"}"#).status, 201);
    assert_eq!(gateway.post("/topics", r#"{"name": "my-topic"}"#).code(), (409, "exists".into()));
    assert_eq!(gateway.get("/topics").json(), json!({"topics": [{"name": "my-topic", "subscriber_count": 0}]}));
    assert_eq!(gateway.delete("/topics/my-topic").status, 200);
    assert_eq!(gateway.delete("/topics/my-topic").code(), (404, "not_found".into()));
    assert_eq!(gateway.get("/topics").json(), json!({"topics": []}));
}

#[test]
fn health_tells_the_uptime_in_seconds() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let answer = gateway.get("/health");
    let health = answer.json();
    assert_eq!((answer.status, &health["status"]), (200, &json!("healthy")));
    assert!(health["uptime_seconds"].is_u64() && health.as_object().unwrap().len() == 2, "{health}");
}

#[test]
fn stats_count_subscribers_messages_and_history() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.subscribe("my-topic", 0);
    }
    let mut publisher = gateway.connect();
    for n in 0..150 {
        publisher.send_json(json!({"action": "publish", "topic": "my-topic", "message": n}));
    }
    publisher.assert_quiet();
    let figures = json!({"subscribers": 3, "messages_published": 150, "messages_in_history": 100});
    assert_eq!(gateway.get("/stats").json(), json!({"topics": {"my-topic": figures}}));
    assert_eq!(gateway.get("/topics").json()["topics"][0]["subscriber_count"], 3);
    clients.pop();
    until("the subscriber has left", || gateway.get("/topics").json()["topics"][0]["subscriber_count"] == 2);
}

#[test]
fn subscribers_get_what_is_published() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let (mut one, mut two, mut other) = (gateway.connect(), gateway.connect(), gateway.connect());
    one.subscribe("my-topic", 0);
    two.subscribe("my-topic", 0);
    other.subscribe("other-topic", 0);
    let message = json!({"data": "Hello, World!", "timestamp": "2025-01-01T12:00:00Z"});
    // The publisher hears itself if it has subscribed, as everybody does.
    one.send_json(json!({"action": "publish", "topic": "my-topic", "message": message}));
    for client in [&mut one, &mut two] {
        let frame = client.message();
        assert_eq!((&frame["topic"], &frame["message"]), (&json!("my-topic"), &message), "{frame}");
        assert!(frame["id"].as_str().is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit())), "{frame}");
        let time = frame["timestamp"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 27, "{time}");
    }
    for client in [&mut one, &mut two, &mut other] {
        client.assert_quiet();
    }
}

#[test]
fn any_json_is_a_message() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    let messages =
        ["null", "true", "0", "-1.5e300", "\"\"", "\"\\ud83d\\ude00 \\n\"", "[]", "{}", r#"{"a":[1,{"b":null}]}"#];
    for message in messages {
        client.send(&format!(r#"{{"action":"publish","topic":"t","message":{message}}}"#));
        let frame = client.message();
        assert_eq!(frame["message"], serde_json::from_str::<Value>(message).unwrap());
        assert!(frame.get("content_base64").is_none());
    }
}

#[test]
fn the_last_messages_are_replayed_a_hundred_unless_asked_for() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut publisher = gateway.connect();
    for n in 0..120 {
        publisher.send_json(json!({"action": "publish", "topic": "my-topic", "message": n}));
    }
    publisher.assert_quiet();
    for (replay_last, expected) in [(json!(10), 110..120), (json!(0), 120..120), (json!(1000), 20..120)] {
        let mut client = gateway.connect();
        client.send_json(json!({"action": "subscribe", "topic": "my-topic", "replay_last": replay_last}));
        let expected: Vec<_> = expected.map(|n| json!(n)).collect();
        assert_eq!(client.messages(expected.len()), expected);
        client.assert_quiet();
    }
    let mut client = gateway.connect();
    client.send_json(json!({"action": "subscribe", "topic": "my-topic"}));
    assert_eq!(client.messages(100), (20..120).map(|n| json!(n)).collect::<Vec<_>>());
    publisher.send_json(json!({"action": "publish", "topic": "my-topic", "message": "new"}));
    assert_eq!(client.messages(1), [json!("new")]);
}

#[test]
fn who_unsubscribes_gets_nothing_more() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.send_json(json!({"action": "subscribe", "topic": "my-topic"}));
    client.send_json(json!({"action": "publish", "topic": "my-topic", "message": 1}));
    assert_eq!(client.messages(1), [json!(1)]);
    client.send_json(json!({"action": "unsubscribe", "topic": "my-topic"}));
    client.send_json(json!({"action": "publish", "topic": "my-topic", "message": 2}));
    client.assert_quiet();
    assert_eq!(gateway.get("/topics").json()["topics"][0]["subscriber_count"], 0);
}

#[test]
fn a_ping_is_answered_by_a_pong() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.send(r#"{"action": "ping"}"#);
    assert_eq!(client.frame(), json!({"action": "pong"}));
}

#[test]
fn deleting_a_topic_tells_its_subscribers_and_disconnects_them() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let (mut one, mut two, mut pattern) = (gateway.connect(), gateway.connect(), gateway.connect());
    one.subscribe("my-topic", 0);
    two.subscribe("my-topic", 0);
    pattern.subscribe("=", 0);
    one.send_json(json!({"action": "publish", "topic": "my-topic", "message": "last"}));
    assert_eq!(two.messages(1), [json!("last")]);
    assert_eq!(gateway.delete("/topics/my-topic").status, 200);
    assert_eq!(one.messages(1), [json!("last")]);
    for client in [&mut one, &mut two] {
        assert_eq!(client.frame(), json!({"action": "topic_deleted", "topic": "my-topic"}));
        assert_eq!(client.closed(), 1000);
    }
    // Who heard it through a pattern goes on.
    assert_eq!(pattern.messages(1), [json!("last")]);
    pattern.assert_quiet();
    // The name is free, and its history begins anew.
    let mut again = gateway.connect();
    again.send_json(json!({"action": "subscribe", "topic": "my-topic"}));
    again.send_json(json!({"action": "publish", "topic": "my-topic", "message": "first"}));
    assert_eq!(again.messages(1), [json!("first")]);
}

#[test]
fn a_topic_is_made_by_its_first_subscribe_or_publish() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("subscribed", 0);
    client.send_json(json!({"action": "publish", "topic": "published", "message": 1}));
    client.assert_quiet();
    let topics = gateway.get("/topics").json();
    let names: Vec<_> = topics["topics"].as_array().unwrap().iter().map(|topic| topic["name"].clone()).collect();
    assert_eq!(names, ["published", "subscribed"]);
}

#[test]
fn the_document_s_python_client_receives() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut publisher = gateway.connect();
    for n in 0..7 {
        publisher.send_json(json!({"action": "publish", "topic": "news", "message": {"text": n}}));
    }
    publisher.assert_quiet();
    let python =
        std::env::var_os("PUBSUB_FORMIX_PYTHON").unwrap_or_else(|| root().join("build/venv/bin/python").into());
    let script = root().join("tests/gateway/seed_client.py");
    let mut child =
        Command::new(python).arg(script).arg(gateway.address.to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 2..7 {
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("Received: ") && line.contains(&format!("'message': {{'text': {n}}}")), "{line}");
    }
    publisher.send_json(json!({"action": "publish", "topic": "news", "message": {"text": "Breaking news!"}}));
    let line = lines.next().unwrap().unwrap();
    assert!(line.contains("'message': {'text': 'Breaking news!'}"), "{line}");
    // The end of its topic is the end of the client.
    assert_eq!(gateway.delete("/topics/news").status, 200);
    assert!(lines.next().unwrap().unwrap().contains("topic_deleted"));
    assert!(lines.next().is_none() && child.wait().unwrap().success());
}

#[test]
fn the_document_s_javascript_client_receives_and_publishes() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut listener = gateway.connect();
    listener.subscribe("news", 0);
    let script = root().join("tests/gateway/seed_client.mjs");
    // Node 20 has the browser's WebSocket behind a flag, later ones have it anyway.
    let mut node = Command::new("node");
    node.args(["--experimental-websocket", "--no-warnings"]).arg(script).arg(gateway.address.to_string());
    let mut child = node.stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(listener.messages(1), [json!({"text": "Breaking news!"})]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // Node shows an object on several lines.
    assert!(lines.next().unwrap().unwrap().starts_with("Received:"));
    assert!(lines.any(|line| line.unwrap().contains("Breaking news!")));
    assert_eq!(gateway.delete("/topics/news").status, 200);
    assert!(lines.any(|line| line.unwrap().contains("topic_deleted")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_document_s_curl_commands_work() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let commands = r#"
curl -s -X POST http://localhost:8000/topics \
  -H "Content-Type: application/json" \
  -d '{"name": "events"}'
echo
curl -s http://localhost:8000/topics
echo
curl -s http://localhost:8000/stats
"#;
    let commands = commands.replace("localhost:8000", &format!("localhost:{}", gateway.address.port()));
    let mut child = Command::new("bash").args(["-ec", &commands]).stdout(Stdio::piped()).spawn().unwrap();
    let text = read_to_end(child.stdout.take().unwrap());
    assert!(child.wait().unwrap().success(), "{text}");
    let answers: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[1], json!({"topics": [{"name": "events", "subscriber_count": 0}]}));
    let figures = json!({"subscribers": 0, "messages_published": 0, "messages_in_history": 0});
    assert_eq!(answers[2], json!({"topics": {"events": figures}}));
}

#[test]
fn the_port_is_8000_unless_told() {
    let store = Store::new();
    let help = store.command(&["serve", "--help"]).output().unwrap();
    assert!(String::from_utf8(help.stdout).unwrap().contains("[default: 127.0.0.1:8000]"));
}
