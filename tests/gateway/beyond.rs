//! What goes beyond the seed on the WebSocket: programs, wildcards, acknowledgements, resuming.

use std::time::{Duration, Instant};

use pubsub::Headers;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::client::Client;
use crate::server::{Gateway, Store};

fn publish(client: &mut Client, topic: &str, message: Value) {
    client.ask(json!({"action": "publish", "topic": topic, "message": message}));
}

fn numbers(range: std::ops::Range<i32>) -> Vec<Value> {
    range.map(|n| json!(n)).collect()
}

#[test]
fn a_browser_and_programs_talk_on_one_topic() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut browser = gateway.connect();
    let mut program = store.channel("talk");
    browser.subscribe("talk", 0);
    // From the browser: its JSON text as it was, with a header that says so.
    browser.send(r#"{"action":"publish","topic":"talk","message":{"n": 1.50, "big":123456789012345678901234567890}}"#);
    let message = program.fetch_wait(Some(crate::server::HANGS)).unwrap().unwrap();
    assert_eq!(message.data(), br#"{"n": 1.50, "big":123456789012345678901234567890}"#);
    assert_eq!(message.headers_json(), r#"{"content-type": "application/json"}"#);
    let frame = browser.message();
    assert_eq!(frame["id"], message.id().to_string());
    // From the program: JSON as JSON, anything else as base64.
    let publisher = store.publisher("talk");
    publisher.publish(b"[1, 2]", Some(&Headers::new())).unwrap();
    assert_eq!(browser.message()["message"], json!([1, 2]));
    publisher.publish(b"\x00\xffplain", None).unwrap();
    let frame = browser.message();
    assert_eq!((&frame["message"], &frame["content_base64"]), (&Value::Null, &json!("AP9wbGFpbg==")));
}

/// Who publishes here silences the channel's doorbell for as long as that takes: what programs publish in that moment is not left.
#[test]
fn what_a_program_publishes_while_a_browser_does_is_not_left() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let (mut browser, mut subscriber) = (gateway.connect(), gateway.connect());
    subscriber.subscribe("both", 0);
    let publisher = store.publisher("both");
    for n in 0..2000 {
        browser.send_json(json!({"action": "publish", "topic": "both", "message": "browser"}));
        // Somewhere in the time that the gateway takes for it.
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(n % 200) {}
        publisher.publish(b"\"program\"", None).unwrap();
        // Nothing else comes that could take along what was left.
        let mut both = [subscriber.message()["message"].take(), subscriber.message()["message"].take()];
        both.sort_by_key(Value::to_string);
        assert_eq!(both, ["browser", "program"], "after {n}");
    }
}

#[test]
fn the_subscriber_count_is_the_store_s() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut clients: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.subscribe("count.x", 0);
    }
    let mut pattern = gateway.connect();
    pattern.subscribe("count.=", 0);
    let _program = store.channel("+");
    assert_eq!(gateway.get("/topics").json()["topics"][0]["subscriber_count"], 5);
    let stats = pubsub::topic_stats("count.x", Some(&store.home())).unwrap();
    assert_eq!(stats.subscribers, 5);
}

#[test]
fn wildcards_hear_every_topic_that_matches_with_its_past() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    for n in 0..3 {
        publish(&mut client, "house.kitchen.heat", json!(n));
        publish(&mut client, "house.attic.heat", json!(n + 10));
        publish(&mut client, "garden.heat", json!(n + 20));
    }
    client.subscribe("house.=.heat", 2);
    let mut past: Vec<_> = (0..4).map(|_| client.message()).collect();
    past.sort_by_key(|frame| frame["message"].as_i64());
    let seen: Vec<_> = past.iter().map(|frame| (frame["topic"].as_str().unwrap(), &frame["message"])).collect();
    assert_eq!(
        seen,
        [
            ("house.kitchen.heat", &json!(1)),
            ("house.kitchen.heat", &json!(2)),
            ("house.attic.heat", &json!(11)),
            ("house.attic.heat", &json!(12)),
        ]
    );
    assert!(past.iter().all(|frame| frame["pattern"] == "house.=.heat"));
    // A topic that is new, and one that nobody manages.
    let mut other = gateway.connect();
    publish(&mut other, "house.cellar.heat", json!("new"));
    assert_eq!(client.messages(1), [json!("new")]);
    store.publisher("house.roof.heat").publish(b"\"unmanaged\"", None).unwrap();
    let frame = client.message();
    assert_eq!((&frame["message"], frame.get("offset")), (&json!("unmanaged"), None));
    client.assert_quiet();
}

#[test]
fn requests_with_an_id_are_answered_by_it() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    for id in [json!("x"), json!(7), json!("\u{1f600}\"\\")] {
        client.send_json(json!({"action": "subscribe", "topic": "t", "replay_last": 0, "request_id": id}));
        let ack = client.frame();
        assert_eq!((&ack["action"], &ack["request_id"], &ack["topic"]), (&json!("ack"), &id, &json!("t")));
        assert!(ack["epoch"].is_string() && ack["offset"].is_string(), "{ack}");
        client.send_json(json!({"action": "unsubscribe", "topic": "t", "request_id": id}));
        assert_eq!(client.frame(), json!({"action": "ack", "request_id": id, "topic": "t"}));
        client.send_json(json!({"action": "unsubscribe", "topic": "t", "request_id": id}));
        let error = client.frame();
        assert_eq!((&error["error"]["code"], &error["request"]), (&json!("not_subscribed"), &json!("unsubscribe")));
        assert_eq!(error["request_id"], id);
        client.send_json(json!({"action": "publish", "topic": "t", "message": 1, "request_id": id}));
        assert_eq!(client.frame(), json!({"action": "ack", "request_id": id, "topic": "t"}));
        client.send_json(json!({"action": "ping", "request_id": id}));
        assert_eq!(client.frame(), json!({"action": "pong", "request_id": id}));
    }
    // Without one there is no answer but messages and errors.
    client.send_json(json!({"action": "subscribe", "topic": "t", "replay_last": 0}));
    client.assert_quiet();
}

#[test]
fn who_subscribes_again_begins_again_and_hears_everything_once() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    client.send_json(json!({"action": "publish", "topic": "t", "message": 1}));
    assert_eq!(client.messages(1), [json!(1)]);
    client.subscribe("t", 5);
    assert_eq!(client.messages(1), [json!(1)]);
    client.send_json(json!({"action": "publish", "topic": "t", "message": 2}));
    assert_eq!(client.messages(1), [json!(2)]);
    client.assert_quiet();
}

fn since(ack: &Value) -> Value {
    json!({"epoch": ack["epoch"], "offset": ack["offset"]})
}

fn resume(gateway: &Gateway, since: &Value) -> (Client, Value) {
    let mut client = gateway.connect();
    let ack = client.ask(json!({"action": "subscribe", "topic": "t", "since": since}));
    (client, ack)
}

#[test]
fn a_subscriber_resumes_where_it_was() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut publisher = gateway.connect();
    let mut client = gateway.connect();
    let ack = client.subscribe("t", 0);
    assert!(ack.get("recovered").is_none(), "nobody asked: {ack}");
    for n in 0..10 {
        publish(&mut publisher, "t", json!(n));
    }
    let last = client.message();
    drop(client);
    let (mut client, ack) = resume(&gateway, &since(&last));
    assert_eq!(ack["recovered"], true);
    assert_eq!(client.messages(9), numbers(1..10));
    client.assert_quiet();
    // The position of the answer is that before the first message, so it resumes too.
    let (mut client, _) = resume(&gateway, &since(&ack));
    assert_eq!(client.messages(9), numbers(1..10));
    publish(&mut publisher, "t", json!(10));
    assert_eq!(client.messages(1), numbers(10..11));
    client.assert_quiet();
}

#[test]
fn what_cannot_be_had_any_more_is_said() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    let begin = client.subscribe("t", 0);
    for n in 0..150 {
        client.send_json(json!({"action": "publish", "topic": "t", "message": n}));
    }
    assert_eq!(client.messages(150).len(), 150);
    let (mut partly, ack) = resume(&gateway, &since(&begin));
    assert_eq!(ack["recovered"], false);
    assert_eq!(partly.messages(100), numbers(50..150));
    // Another life of the topic.
    assert_eq!(gateway.delete("/topics/t").status, 200);
    publish(&mut gateway.connect(), "t", json!("new"));
    let (mut other, ack) = resume(&gateway, &since(&begin));
    assert_eq!(ack["recovered"], false);
    assert_eq!(other.messages(1), [json!("new")]);
    // A position that never was.
    let (_, ack) = resume(&gateway, &json!({"epoch": ack["epoch"], "offset": "999"}));
    assert_eq!(ack["recovered"], false);
}

#[test]
fn the_past_joins_the_present_without_gap_or_duplicate() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let made = r#"{"name":"busy","history_messages":10000}"#;
    assert_eq!(gateway.post("/topics", made).status, 201);
    const MESSAGES: u64 = 6000;
    let publisher = store.publisher("busy");
    let writer = std::thread::spawn(move || {
        for n in 0..MESSAGES {
            publisher.publish(n.to_string().as_bytes(), None).unwrap();
        }
    });
    // Again and again while it goes on: on the topic and through a pattern.
    let mut clients = Vec::new();
    // As many as are needed to meet it in the midst of that, and not more than can be read however slow the machine.
    while !writer.is_finished() && clients.len() < 60 || clients.is_empty() {
        let mut client = gateway.connect();
        let topic = if clients.len() % 2 == 0 { "busy" } else { "=" };
        client.send_json(json!({"action": "subscribe", "topic": topic, "replay_last": 50}));
        clients.push(client);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    writer.join().unwrap();
    let count = clients.len();
    for (index, client) in clients.iter_mut().enumerate() {
        let mut expected = client.message()["message"].as_u64().unwrap();
        while expected + 1 < MESSAGES {
            let frame = client.message();
            expected += 1;
            assert_eq!(frame["message"], expected, "client {index} of {count}");
        }
        client.assert_quiet();
    }
}

/// A burst right behind the answer, of which the history keeps next to nothing.
#[test]
fn what_a_short_history_gives_up_comes_live_all_the_same() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.post("/topics", r#"{"name":"short","history_messages":1}"#).status, 201);
    let publisher = store.publisher("short");
    const MESSAGES: u64 = 200;
    for round in 0..40 {
        let mut client = gateway.connect();
        client.subscribe("short", 0);
        for n in 0..MESSAGES {
            publisher.publish(n.to_string().as_bytes(), None).unwrap();
        }
        for n in 0..MESSAGES {
            assert_eq!(client.message()["message"], n, "round {round}");
        }
    }
}

/// What comes with one read of the socket is published together; requests are done and answered in their order all the same.
#[test]
fn many_requests_in_one_read_are_done_in_order() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut program = store.channel("burst.=");
    let mut browser = gateway.connect();
    browser.subscribe("burst.a", 0);
    let mut client = gateway.connect();
    let mut expected = Vec::new();
    for n in 0..500 {
        // Runs of one topic, interrupted by another, by faults and by other requests. A name with an escape takes the slow way.
        let (topic, action) = match n {
            _ if n % 97 == 96 => (r#""burst.no/name""#, "publish"),
            _ if n % 61 == 60 => ("1", "ping"),
            _ if n % 43 == 42 => (r#""burst.b""#, "publish"),
            _ if n % 31 == 30 => (r#""burst.\u0061""#, "publish"),
            _ => (r#""burst.a""#, "publish"),
        };
        // Some want no answer.
        let id = if n % 7 == 6 { String::new() } else { format!(r#","request_id":{n}"#) };
        let text = format!(r#"{{"action":"{action}","topic":{topic},"message":[{n}]{id}}}"#);
        client.socket.write(Message::text(text)).unwrap();
        let answer = match action {
            "ping" => "pong",
            _ if n % 97 == 96 => "error",
            _ => "ack",
        };
        if !id.is_empty() || answer != "ack" {
            expected.push((answer, if id.is_empty() { Value::Null } else { json!(n) }));
        }
    }
    client.socket.flush().unwrap();
    for (answer, id) in expected {
        let frame = client.frame();
        assert_eq!((frame["action"].as_str(), &frame["request_id"]), (Some(answer), &id), "{frame}");
    }
    client.assert_quiet();
    let is_published = |n: &i32| n % 97 != 96 && n % 61 != 60;
    for n in (0..500).filter(is_published) {
        let message = program.fetch_wait(Some(crate::server::HANGS)).unwrap().unwrap();
        let topic = if n % 43 == 42 { "burst.b" } else { "burst.a" };
        assert_eq!((message.topic(), message.data()), (topic, format!("[{n}]").as_bytes()));
    }
    for n in (0..500).filter(is_published).filter(|n| n % 43 != 42) {
        assert_eq!(browser.message()["message"], json!([n]));
    }
    assert_eq!(gateway.figure("pubsub_published_total"), (0..500).filter(is_published).count() as f64);
}
