//! Publishing, histories and event streams over HTTP; figures; the description.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::http;
use crate::server::{Gateway, Store, until};

fn contents(page: &Value) -> Vec<Value> {
    page["messages"].as_array().unwrap().iter().map(|frame| frame["message"].clone()).collect()
}

#[test]
fn messages_are_posted_one_or_many() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    let answer = gateway.post("/topics/t/messages", r#"{"message": {"a": 1}}"#);
    assert_eq!((answer.status, answer.json()), (201, json!({"topic": "t", "published": 1})));
    assert_eq!(gateway.post("/topics/t/messages", r#"{"message": null}"#).status, 201);
    let answer = gateway.post("/topics/t/messages", r#"{"messages": [1, "two", [3]]}"#);
    assert_eq!(answer.json()["published"], 3);
    assert_eq!(client.messages(5), [json!({"a": 1}), Value::Null, json!(1), json!("two"), json!([3])]);
    for (body, expected) in [
        ("{}", (422, "invalid_request")),
        (r#"{"message":1,"messages":[1]}"#, (422, "invalid_request")),
        (r#"{"messages":1}"#, (422, "invalid_request")),
        ("[1]", (422, "invalid_request")),
        (r#"{"message":}"#, (400, "invalid_json")),
        ("", (400, "invalid_json")),
    ] {
        let (status, code) = gateway.post("/topics/t/messages", body).code();
        assert_eq!((status, code.as_str()), expected, "{body}");
    }
    let text = [("Content-Type", "text/plain")];
    let answer = http::request(gateway.address, "POST", "/topics/t/messages", &text, Some(r#"{"message":1}"#));
    assert_eq!(answer.code(), (415, "unsupported_media_type".into()));
    client.assert_quiet();
}

#[test]
fn a_history_is_read_page_by_page() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.get("/topics/t/messages").code(), (404, "not_found".into()));
    for n in 0..30 {
        gateway.post("/topics/t/messages", &json!({"message": n}).to_string());
    }
    let page = gateway.get("/topics/t/messages?limit=20").json();
    assert_eq!(contents(&page), (10..30).map(|n| json!(n)).collect::<Vec<_>>());
    assert_eq!((&page["topic"], &page["missed"]), (&json!("t"), &json!(0)));
    // Nothing new; then something; a few at a time.
    let next = page["next"].as_str().unwrap();
    assert_eq!(contents(&gateway.get(&format!("/topics/t/messages?after={next}")).json()), [] as [Value; 0]);
    gateway.post("/topics/t/messages", r#"{"messages":[30,31,32]}"#);
    let page = gateway.get(&format!("/topics/t/messages?limit=2&after={next}")).json();
    assert_eq!(contents(&page), [json!(30), json!(31)]);
    let page = gateway.get(&format!("/topics/t/messages?limit=2&after={}", page["next"].as_str().unwrap())).json();
    assert_eq!(contents(&page), [json!(32)]);
    // What has gone is said.
    let many: Vec<_> = (0..200).collect();
    gateway.post("/topics/t/messages", &json!({"messages": many}).to_string());
    let page = gateway.get(&format!("/topics/t/messages?limit=1000&after={next}")).json();
    assert_eq!((contents(&page).len(), &page["missed"]), (100, &json!(103)));
    gateway.delete("/topics/t");
    gateway.post("/topics/t/messages", r#"{"message":"again"}"#);
    assert_eq!(gateway.get(&format!("/topics/t/messages?after={next}")).code(), (410, "gone".into()));
    for query in ["limit=0", "limit=1001", "limit=x", "after=x", "after=1-x", "limit=-1"] {
        assert_eq!(gateway.get(&format!("/topics/t/messages?{query}")).code().0, 422, "{query}");
    }
}

#[test]
fn histories_have_bounds_of_their_own() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.post("/topics", r#"{"name":"few","history_messages":3}"#).status, 201);
    assert_eq!(gateway.post("/topics", r#"{"name":"short","history_seconds":1}"#).status, 201);
    for topic in ["few", "short"] {
        gateway.post(&format!("/topics/{topic}/messages"), r#"{"messages":[1,2,3,4,5]}"#);
    }
    assert_eq!(contents(&gateway.get("/topics/few/messages").json()), [json!(3), json!(4), json!(5)]);
    until("what is too old is not returned", || contents(&gateway.get("/topics/short/messages").json()).is_empty());
    for body in [r#"{"name":"x","history_messages":-1}"#, r#"{"name":"x","history_bytes":"1"}"#, r#"{"name":1}"#, "{}"]
    {
        assert_eq!(gateway.post("/topics", body).code(), (422, "invalid_request".into()), "{body}");
    }
    for name in ["", "a b", "=", "a+", "a/b", "é", &"x".repeat(201)] {
        assert_eq!(gateway.post("/topics", &json!({"name": name}).to_string()).code(), (422, "invalid_topic".into()));
    }
    for path in ["/topics/a%20b", "/topics/a%2Fb", "/topics/=", "/topics/%FF"] {
        assert_eq!(gateway.delete(path).code(), (422, "invalid_topic".into()), "{path}");
    }
}

/// An event stream, as EventSource reads it.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(gateway: &Gateway, path: &str, last: Option<&str>) -> Events {
        let mut stream = http::connect(gateway.address);
        let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n{last}\r\n", gateway.address).unwrap();
        let mut events = Events(BufReader::new(stream));
        let head: Vec<_> = std::iter::from_fn(|| Some(events.line()).filter(|line| !line.is_empty())).collect();
        assert!(
            head[0].contains("200") && head.iter().any(|line| line == "content-type: text/event-stream"),
            "{head:?}"
        );
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The name, id and data of the next event; `None`: the stream has ended.
    fn next(&mut self) -> Option<(String, String, Value)> {
        let (mut name, mut id, mut data) = ("message".to_owned(), String::new(), None);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 || line == "0\r\n" {
                return None;
            }
            // Sizes of chunks stand in between.
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = Some(serde_json::from_str(text).unwrap());
            } else if line.is_empty() {
                if let Some(data) = data.take() {
                    return Some((name, id, data));
                }
            }
        }
    }
}

#[test]
fn a_stream_of_events_carries_messages_and_resumes() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.get("/topics/t/events").code(), (404, "not_found".into()));
    gateway.post("/topics/t/messages", r#"{"messages":[1,2,3]}"#);
    let mut events = Events::open(&gateway, "/topics/t/events?replay_last=2", None);
    let (name, _, data) = events.next().unwrap();
    assert_eq!((name.as_str(), &data["topic"]), ("subscribed", &json!("t")));
    assert_eq!(events.next().unwrap().2["message"], 2);
    let (name, id, frame) = events.next().unwrap();
    assert_eq!((name.as_str(), &frame["message"], &frame["action"]), ("message", &json!(3), &json!("message")));
    gateway.post("/topics/t/messages", r#"{"message":4}"#);
    assert_eq!(events.next().unwrap().2["message"], 4);
    assert_eq!(gateway.get("/topics").json()["topics"][0]["subscriber_count"], 1);
    drop(events);
    until("it has left", || gateway.get("/topics").json()["topics"][0]["subscriber_count"] == 0);

    let mut events = Events::open(&gateway, "/topics/t/events", Some(&id));
    assert_eq!(events.next().unwrap().2["recovered"], true);
    assert_eq!(events.next().unwrap().2["message"], 4);
    assert_eq!(gateway.delete("/topics/t").status, 200);
    let (name, _, data) = events.next().unwrap();
    assert_eq!((name.as_str(), data), ("topic_deleted", json!({"action": "topic_deleted", "topic": "t"})));
    assert_eq!(events.next(), None);
}

#[test]
fn a_stream_of_a_pattern_has_no_ids() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut events = Events::open(&gateway, "/topics/+/events", None);
    assert_eq!(events.next().unwrap().0, "subscribed");
    gateway.post(
        "/topics/a.b/messages",
        r#"{"message":[1,
      2]}"#,
    );
    let (_, id, frame) = events.next().unwrap();
    assert_eq!((id.as_str(), &frame["message"], &frame["topic"]), ("", &json!([1, 2]), &json!("a.b")));
}

#[test]
fn figures_are_there_for_prometheus_without_names_from_outside() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("secret-topic-name", 0);
    client.ask(json!({"action": "publish", "topic": "other", "message": 1}));
    gateway.post("/topics/secret-topic-name/messages", r#"{"message":1}"#);
    client.message();
    client.send("nonsense");
    client.refusal();
    assert_eq!(gateway.figure("pubsub_connections"), 1.0);
    assert_eq!(gateway.figure("pubsub_subscriptions"), 1.0);
    assert_eq!(gateway.figure("pubsub_published_total"), 2.0);
    assert_eq!(gateway.figure("pubsub_delivered_total"), 1.0);
    assert_eq!(gateway.figure("pubsub_refused_total"), 1.0);
    let text = gateway.get("/metrics").text();
    assert!(!text.contains("secret-topic-name"), "{text}");
    assert!(text.contains("# HELP pubsub_delivered_total"), "{text}");
}

#[test]
fn the_description_names_every_route() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let document = gateway.get("/openapi.json").json();
    let mut paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    paths.sort();
    let expected = [
        "/health",
        "/metrics",
        "/ready",
        "/stats",
        "/topics",
        "/topics/{name}",
        "/topics/{name}/events",
        "/topics/{name}/messages",
        "/ws",
    ];
    assert_eq!(paths, expected);
    assert_eq!(gateway.request("PATCH", "/topics", None).code(), (405, "method_not_allowed".into()));
    assert_eq!(gateway.get("/elsewhere").code(), (404, "no_route".into()));
    let page = gateway.get("/");
    assert!(page.head.contains("content-security-policy: default-src 'self'"), "{}", page.head);
}
