//! Tests of `frames`.

#![forbid(unsafe_code)]

use super::*;

fn refused(text: &str) -> &'static str {
    parse(text).expect_err(text).refusal.code
}

#[test]
fn what_is_no_request_is_refused_with_a_code() {
    for text in ["", "x", "{", "[1", "{\"action\":}", "\u{0}"] {
        assert_eq!(refused(text), "invalid_json", "{text}");
    }
    for text in ["1", "null", "[]", "[\"ping\"]", "\"ping\"", "{}", "{\"action\":1}", "{\"action\":null}"] {
        assert_eq!(refused(text), "invalid_frame", "{text}");
    }
    assert_eq!(refused(r#"{"action":"dance"}"#), "unknown_action");
    for text in [
        r#"{"action":"subscribe"}"#,
        r#"{"action":"subscribe","topic":7}"#,
        r#"{"action":"subscribe","topic":"a","replay_last":-1}"#,
        r#"{"action":"subscribe","topic":"a","replay_last":1.5}"#,
        r#"{"action":"subscribe","topic":"a","replay_last":"7"}"#,
        r#"{"action":"subscribe","topic":"a","since":7}"#,
        r#"{"action":"subscribe","topic":"a","since":["1","2"]}"#,
        r#"{"action":"subscribe","topic":"a","since":{"epoch":"1"}}"#,
        r#"{"action":"subscribe","topic":"a","since":{"epoch":"+1","offset":"2"}}"#,
        r#"{"action":"subscribe","topic":"a","overflow":"explode"}"#,
        r#"{"action":"publish","topic":"a"}"#,
        r#"{"action":"ping","action":"ping"}"#,
        r#"{"action":"ping","request_id":{}}"#,
    ] {
        assert_eq!(refused(text), "invalid_frame", "{text}");
    }
    let deep = format!(r#"{{"action":"publish","topic":"a","message":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(refused(&deep), "too_deep");
    assert_eq!(refused(&"[".repeat(1_000_000)), "too_deep");
}

#[test]
fn errors_echo_the_request_and_little_of_its_text() {
    let text = format!(r#"{{"action":"{}","request_id":"r-1"}}"#, "x".repeat(100_000));
    let bad = parse(&text).unwrap_err();
    let frame = error(&bad.refusal, bad.action.as_deref(), bad.request_id);
    assert!(frame.len() < 500, "{frame}");
    assert!(frame.ends_with(r#""request_id":"r-1"}"#), "{frame}");
}

#[test]
fn a_request_id_is_at_most_256_bytes_and_null_is_none() {
    for message in ["", r#","topic":"t","message":1"#] {
        let action = if message.is_empty() { "ping" } else { "publish" };
        let frame = |id: &str| format!(r#"{{"action":"{action}"{message},"request_id":{id}}}"#);
        for id in [format!("\"{}\"", "x".repeat(256)), "1".repeat(256), "\"\"".into(), "-1.5e3".into()] {
            let text = frame(&id);
            assert_eq!(parse(&text).unwrap().request_id.map(RawValue::get), Some(id.as_str()));
        }
        assert!(parse(&frame("null")).unwrap().request_id.is_none());
        for id in [format!("\"{}\"", "x".repeat(257)), "1".repeat(257), "true".into(), "[]".into()] {
            assert_eq!(refused(&frame(&id)), "invalid_frame", "{id}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_frame_is_said_with_its_place() {
    let long = format!(r#"{{"action":"ping","topic":"a{}","x":tru}}"#, "\u{1f600}".repeat(1000));
    let bad = parse(&long).unwrap_err().refusal.message;
    assert!(bad.ends_with(&format!(" at line 1 column {}", long.len())), "{bad}");
    let bad = parse("{\"action\":\"\t\"}").unwrap_err().refusal.message;
    assert!(bad.ends_with(" at line 1 column 11"), "{bad}");
}

#[test]
fn requests_are_read_with_defaults() {
    let text = r#" {"action":"subscribe","topic":"news","replay_last":null,"unknown":[{}]}"#;
    let Ok(Parsed { request: Request::Subscribe(subscribe), request_id: None }) = parse(text) else { panic!() };
    let expected = Subscribe { topic: "news".into(), replay_last: None, since: None, overflow: Overflow::Disconnect };
    assert_eq!(subscribe, expected);
    let text = r#"{"action":"subscribe","topic":"n","since":{"epoch":"18446744073709551615","offset":7}}"#;
    let Ok(Parsed { request: Request::Subscribe(subscribe), .. }) = parse(text) else { panic!() };
    assert_eq!(subscribe.since, Some(Position { epoch: u64::MAX, offset: 7 }));
}

#[test]
fn a_published_message_keeps_its_text() {
    let text =
        r#"{"action":"publish","topic":"a","message":{"b": 1e400, "a":123456789012345678901234567890, "b":null}}"#;
    let Ok(Parsed { request: Request::Publish { message, .. }, .. }) = parse(text) else { panic!() };
    assert_eq!(message.get(), r#"{"b": 1e400, "a":123456789012345678901234567890, "b":null}"#);
    let null = r#"{"action":"publish","topic":"a","message":null}"#;
    assert!(matches!(parse(null).unwrap().request, Request::Publish { message, .. } if message.get() == "null"));
}

/// The plain form is read in one go, any other field by field: with the same outcome.
#[test]
fn a_publish_is_the_same_in_any_form() {
    let plain = r#"{"action":"publish","topic":"a.b","message":[1, "x"],"request_id":"r"}"#;
    assert!(plain_publish(plain).is_some());
    let others = [
        r#" {"request_id":"r", "message": [1, "x"], "topic":"a.\u0062", "action":"publish"}"#,
        r#"{"action":"publish","topic":"a.b","message":[1, "x"],"request_id":"r","more":{}}"#,
    ];
    assert!(others.iter().all(|text| plain_publish(text).is_none()));
    for text in others.into_iter().chain([plain]) {
        let Parsed { request: Request::Publish { topic, message }, request_id } = parse(text).unwrap() else {
            panic!()
        };
        assert_eq!((&*topic, message.get()), ("a.b", r#"[1, "x"]"#));
        assert_eq!(request_id.map(RawValue::get), Some(r#""r""#));
    }
    for text in [
        r#"{"action":"publish","topic":"a","message":1,"request_id":[]}"#,
        r#"{"action":"publish","topic":"a","message":1,"message":2}"#,
        r#"{"action":"publish","topic":null,"message":1}"#,
        r#"{"action":"publish","topic":"a","message":1,"since":1,"since":2}"#,
    ] {
        assert!(plain_publish(text).is_none(), "{text}");
        assert_eq!(refused(text), "invalid_frame", "{text}");
    }
}

fn encoded(data: &[u8]) -> serde_json::Value {
    let position = Some(Position { epoch: u64::MAX, offset: 3 });
    let out = Outgoing {
        topic: "a.b",
        pattern: None,
        data,
        is_json: false,
        id: u64::MAX,
        timestamp_us: 1_735_732_800_000_001,
        position,
    };
    serde_json::from_str(&message(&out)).unwrap()
}

#[test]
fn messages_are_encoded_as_json_or_base64() {
    let frame = encoded(br#" {"x": [1]} "#);
    assert_eq!(frame["message"]["x"][0], 1);
    assert_eq!(frame["id"], "18446744073709551615");
    assert_eq!(frame["timestamp"], "2025-01-01T12:00:00.000001Z");
    assert_eq!((&frame["epoch"], &frame["offset"]), (&"18446744073709551615".into(), &"3".into()));
    assert!(frame.get("content_base64").is_none());
    for data in [&b"plain text"[..], b"", b"\xff", b"NaN", b"{} {}", "[".repeat(200).as_bytes()] {
        let frame = encoded(data);
        assert!(frame["message"].is_null());
        assert_eq!(frame["content_base64"], STANDARD.encode(data));
    }
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    assert!(encoded(deep.as_bytes())["message"].is_null());
}

#[test]
fn half_a_character_is_no_json() {
    for text in [r#""\ud83d\ude00 \\ud800 \n\uD83D\uDE00""#, r#"["\u00e9"]"#, r#""\\\ud83d\ude00""#] {
        assert_eq!(json(text.as_bytes(), false), Some(text));
    }
    for text in
        [r#""\ud800""#, r#""\udc00""#, r#""\ud83d \ude00""#, r#""\ud83d\n""#, r#"{"\uDFFF":1}"#, r#""\\\ud800""#]
    {
        assert_eq!((json(text.as_bytes(), false), json(text.as_bytes(), true)), (None, None), "{text}");
    }
    assert_eq!(refused(r#"{"action":"ping","request_id":"\ud800"}"#), "invalid_frame");
}

#[test]
fn times_are_those_of_the_calendar() {
    let shown = |us| {
        let mut text = String::new();
        push_time(&mut text, us);
        text
    };
    assert_eq!(shown(0), "1970-01-01T00:00:00.000000Z");
    assert_eq!(shown(951_782_400_000_000), "2000-02-29T00:00:00.000000Z");
    assert_eq!(shown(4_107_542_399_999_999), "2100-02-28T23:59:59.999999Z");
    assert_eq!(shown(i64::MAX), "9999-12-31T23:59:59.999999Z");
    assert_eq!(shown(i64::MIN), "1970-01-01T00:00:00.000000Z");
}

#[test]
fn depth_counts_brackets_outside_of_strings() {
    assert_eq!(exact_depth(br#"{"a[[[": "\"[[", "b": [[]]}"#), 3);
    assert_eq!(exact_depth(b"]]]]["), 1);
    assert_eq!(depth("[]".repeat(1000).as_bytes()), 1);
    assert_eq!(depth("[".repeat(DEPTH_MAX + 1).as_bytes()), DEPTH_MAX + 1);
}
