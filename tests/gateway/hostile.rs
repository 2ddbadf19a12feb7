//! What strangers send.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::Message;

use crate::client::{Client, Received};
use crate::http;
use crate::server::{HANGS, Store};

#[test]
fn a_connection_survives_every_bad_frame() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    let deep =
        format!(r#"{{"action":"publish","topic":"t","message":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for (frame, code) in [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("{\"action\": \"ping\"} trailing", "invalid_json"),
        ("nonsense \u{0} \u{1f600}", "invalid_json"),
        ("null", "invalid_frame"),
        ("[]", "invalid_frame"),
        ("[[\"action\",\"ping\"]]", "invalid_frame"),
        ("17", "invalid_frame"),
        ("\"ping\"", "invalid_frame"),
        ("{}", "invalid_frame"),
        (r#"{"action":["ping"]}"#, "invalid_frame"),
        (r#"{"action":"explode"}"#, "unknown_action"),
        (r#"{"action":"subscribe"}"#, "invalid_frame"),
        (r#"{"action":"subscribe","topic":{}}"#, "invalid_frame"),
        (r#"{"action":"subscribe","topic":"t","replay_last":"many"}"#, "invalid_frame"),
        (r#"{"action":"subscribe","topic":"t","replay_last":1e99}"#, "invalid_frame"),
        (r#"{"action":"subscribe","topic":"a b"}"#, "invalid_topic"),
        (r#"{"action":"subscribe","topic":"=="}"#, "invalid_topic"),
        (r#"{"action":"subscribe","topic":"+","since":{"epoch":"1","offset":"1"}}"#, "invalid_frame"),
        (r#"{"action":"publish","topic":"t"}"#, "invalid_frame"),
        (r#"{"action":"publish","topic":"","message":1}"#, "invalid_topic"),
        (r#"{"action":"publish","topic":"=","message":1}"#, "invalid_topic"),
        (r#"{"action":"publish","topic":"../../etc/passwd","message":1}"#, "invalid_topic"),
        (r#"{"action":"unsubscribe","topic":"never"}"#, "not_subscribed"),
        (deep.as_str(), "too_deep"),
    ] {
        client.send(frame);
        assert_eq!(client.refusal(), code, "{frame:.80}");
    }
    client.socket.send(Message::binary(b"{\"action\":\"ping\"}".as_slice())).unwrap();
    assert_eq!(client.refusal(), "binary");
    client.socket.send(Message::Ping("are you there".into())).unwrap();
    client.send_json(json!({"action": "publish", "topic": "t", "message": "still here"}));
    assert_eq!(client.messages(1), [json!("still here")]);
}

#[test]
fn a_frame_that_is_too_large_ends_its_connection_with_a_reason() {
    let store = Store::new();
    let gateway = store.serve(&["--max-message", "10000"]);
    let mut other = gateway.connect();
    other.subscribe("t", 0);
    let mut client = gateway.connect();
    client.send_json(json!({"action": "publish", "topic": "t", "message": "x".repeat(9000)}));
    assert_eq!(other.messages(1), [json!("x".repeat(9000))]);
    let _ = client.socket.send(Message::text("x".repeat(10_001)));
    assert_eq!(client.closed(), 1009);
    // A length that no memory has.
    let mut liar = gateway.connect();
    liar.socket.get_mut().write_all(&[0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]).unwrap();
    assert!(matches!(liar.next(), Received::Closed(_)));
    let body = json!({"message": "x".repeat(20_000)}).to_string();
    assert_eq!(gateway.post("/topics/t/messages", &body).code(), (413, "too_large".into()));
    // A program's message that is too large for browsers leaves a gap.
    store.publisher("t").publish(&[b'x'; 10_001], None).unwrap();
    assert_eq!(other.frame(), json!({"action": "gap", "topic": "t", "missed": 1}));
    gateway.assert_works();
}

#[test]
fn what_is_no_websocket_frame_ends_its_connection_with_a_reason() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut other = gateway.connect();
    other.subscribe("t", 0);
    for (bytes, code) in [
        // Text that is not UTF-8; then: not masked, a reserved bit, no such opcode, the rest of nothing, half a ping.
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe][..], 1007),
        (&[0x81, 0x02, b'{', b'}'], 1002),
        (&[0xc1, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        (&[0x83, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        (&[0x80, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
        (&[0x09, 0x82, 0, 0, 0, 0, b'{', b'}'], 1002),
    ] {
        let mut client = gateway.connect();
        client.send_json(json!({"action": "publish", "topic": "t", "message": code}));
        client.socket.get_mut().write_all(bytes).unwrap();
        assert_eq!(client.closed(), code, "{bytes:x?}");
        // What came before counts.
        assert_eq!(other.messages(1), [json!(code)]);
    }
    gateway.assert_works();
}

#[test]
fn a_body_that_says_it_is_too_large_is_refused_before_it_comes() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    for path in ["/topics", "/topics/t/messages"] {
        let mut stream = http::connect(gateway.address);
        let length = (1 << 20) + 1;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        assert_eq!(http::answer(stream).code(), (413, "too_large".into()));
    }
}

#[test]
fn errors_never_echo_much() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let long = "x".repeat(500_000);
    let mut client = gateway.connect();
    for frame in [
        json!({"action": long}),
        json!({"action": "subscribe", "topic": long}),
        json!({"action": "publish", "topic": "\u{1f600}".repeat(100_000), "message": 1}),
        json!({"action": "ping", "request_id": long}),
        json!({long.as_str(): 1}),
    ] {
        client.send_json(frame);
        let answer = client.frame();
        assert!(answer["action"] == "error" && answer.to_string().len() < 2000, "{answer}");
    }
    let answer = gateway.post("/topics", &json!({"name": long}).to_string());
    assert!(answer.status == 422 && answer.body.len() < 2000);
    let answer = gateway.post("/topics", &format!("{{\"name\": {long}"));
    assert!(answer.status == 400 && answer.body.len() < 2000);
    let answer = gateway.get(&format!("/topics/{}/messages", "x".repeat(5000)));
    assert!(answer.status == 422 && answer.body.len() < 2000, "{}", answer.status);
    let answer = http::request(gateway.address, "GET", "/health", &[("X-Long", &long)], None);
    assert!(answer.status == 431 && answer.body.len() < 2000, "{}", answer.status);
}

#[test]
fn bytes_that_are_no_protocol_harm_nobody() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut noise = || {
        let word = |state: &mut u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            state.to_le_bytes()
        };
        (0..64).flat_map(|_| word(&mut state)).collect::<Vec<u8>>()
    };
    for round in 0..100 {
        let bytes = noise();
        if round % 2 == 0 {
            let mut stream = http::connect(gateway.address);
            let _ = stream.write_all(&bytes);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        } else {
            let mut client = gateway.connect();
            let _ = client.socket.get_mut().write_all(&bytes);
            let _ = client.socket.get_mut().shutdown(Shutdown::Write);
            while let Received::Frame(_) = client.next() {}
        }
    }
    gateway.assert_works();
    crate::server::until("none is left", || gateway.figure("pubsub_connections") == 0.0);
}

#[test]
fn who_has_gone_without_a_word_is_noticed() {
    // Who answers must be quick enough: where a busy machine kept it from that, more time decides.
    let is_noticed = |every: f64| {
        let store = Store::new();
        let gateway = store.serve(&["--ping-every", &every.to_string()]);
        // It reads nothing and answers no ping; its machine may be down.
        let _silent = gateway.connect();
        let mut client = gateway.connect();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        loop {
            let asked = Instant::now();
            // Reading answers pings.
            let answer = client.socket.send(Message::text(r#"{"action":"ping"}"#)).ok().map(|()| client.next());
            let there = gateway.figure("pubsub_connections");
            longest = longest.max(asked.elapsed());
            if !matches!(answer, Some(Received::Frame(_))) || there == 0.0 {
                assert!(longest.as_secs_f64() > every / 2.0, "closed, who has answered within {longest:?}");
                return false;
            }
            if there == 1.0 {
                client.assert_quiet();
                return true;
            }
            assert!(begun.elapsed() < HANGS, "the silent one is never closed");
        }
    };
    assert!([0.2, 1.0, 5.0, 30.0].into_iter().any(is_noticed), "nobody is quick enough");
}

#[test]
fn a_handshake_that_is_none_is_refused_with_a_reason() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    assert_eq!(gateway.get("/ws").code(), (400, "not_a_websocket".into()));
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "12")];
    assert_eq!(http::request(gateway.address, "GET", "/ws", &upgrade, None).code().0, 400);
    assert_eq!(Client::try_connect(gateway.address, "/topics", &[]).err(), Some(200));
}
