//! The golden vectors, made by formix-pubsub itself: every message it wrote, takes and refuses.

#![forbid(unsafe_code)]

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{HeaderValue, Headers, Message, MessageHead, MessageKind, v1};

const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/formix_v1.json"));

fn vectors(group: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(VECTORS).unwrap();
    let list = all[group].as_array().unwrap().clone();
    assert!(!list.is_empty());
    list
}

fn name(vector: &Value) -> &str {
    vector["name"].as_str().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number that the vectors hold as text or as a number.
fn number(value: &Value) -> u64 {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned).parse().unwrap()
}

fn content(vector: &Value) -> Vec<u8> {
    let content = &vector["content"];
    if let Some(hex) = content["hex"].as_str() {
        return unhex(hex);
    }
    let len = number(&content["len"]) as usize;
    let bytes: Vec<u8> = match (content["repeat_hex"].as_str(), content["rule"].as_str()) {
        (Some(hex), None) => unhex(hex).repeat(len / (hex.len() / 2)),
        (None, Some("byte i = i mod 256")) => (0..len).map(|i| i as u8).collect(),
        _ => panic!("{}: unknown rule", name(vector)),
    };
    assert_eq!(bytes.len(), len);
    assert_eq!(sha256(&bytes), content["sha256"].as_str().unwrap());
    bytes
}

/// All messages of the vectors as bytes: seeds for mutation.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let of = |group: &str| vectors(group).into_iter().filter_map(|v| v["hex"].as_str().map(unhex));
    of("writer_vectors").chain(of("reader_accepts")).chain(of("reader_rejects")).collect()
}

/// Whether a header's value is what the vectors' typed notation says.
fn assert_value(name: &str, value: &HeaderValue, expected: &Value) {
    let text = expected["v"].as_str();
    match (expected["t"].as_str().unwrap(), value) {
        ("null", HeaderValue::Null) => {}
        ("bool", HeaderValue::Bool(value)) => assert_eq!(Some(*value), expected["v"].as_bool(), "{name}"),
        ("str", HeaderValue::String(value)) => assert_eq!(Some(value.as_str()), text, "{name}"),
        ("int", HeaderValue::Int(value)) => assert_eq!(Some(value.to_string().as_str()), text, "{name}"),
        ("int", HeaderValue::Other(value)) => {
            assert_eq!(Some(value.as_str()), text, "{name}");
            assert!(value.parse::<i64>().is_err(), "{name}: {value} fits into 64 bits");
        }
        ("float", HeaderValue::Double(value)) => {
            let bits = u64::from_str_radix(expected["bits"].as_str().unwrap(), 16).unwrap();
            assert!(value.to_bits() == bits || value.is_nan() && f64::from_bits(bits).is_nan(), "{name}: {value}");
        }
        ("list" | "object", HeaderValue::Other(value)) => {
            assert!(value.starts_with(['[', '{']), "{name}: {value}");
            let bare: Value = serde_json::from_str(value).unwrap();
            assert_eq!(bare, plain(expected), "{name}");
        }
        (kind, value) => panic!("{name}: {value:?} is no {kind}"),
    }
}

/// The vectors' typed notation as plain JSON.
fn plain(typed: &Value) -> Value {
    let items = || typed["v"].as_array().unwrap().iter();
    match typed["t"].as_str().unwrap() {
        "null" => Value::Null,
        "bool" | "str" => typed["v"].clone(),
        "int" | "float" => serde_json::from_str(typed["v"].as_str().unwrap()).unwrap(),
        "list" => Value::Array(items().map(plain).collect()),
        "object" => Value::Object(items().map(|e| (e[0].as_str().unwrap().to_owned(), plain(&e[1]))).collect()),
        other => panic!("unknown type {other}"),
    }
}

fn assert_headers(name: &str, json: &str, expected: &Value) {
    if expected["t"] != "object" {
        assert!(Headers::parse(json).is_err(), "{name}");
        return;
    }
    let headers = Headers::parse(json).unwrap();
    let expected = expected["v"].as_array().unwrap();
    assert_eq!(headers.len(), expected.len(), "{name}");
    for ((key, value), expected) in headers.iter().zip(expected) {
        assert_eq!(Some(key), expected[0].as_str(), "{name}");
        assert_value(name, value, &expected[1]);
    }
}

/// Parses, compares every field, and puts it into a `Message`.
fn assert_parses(vector: &Value, bytes: &[u8]) {
    let name = name(vector);
    let (prefix, data) = v1::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    if vector["id"].is_null() {
        return; // the vector says no more than that it is accepted
    }
    assert_eq!(prefix.id, number(&vector["id"]), "{name}");
    assert_eq!(prefix.timestamp_us, number(&vector["timestamp"]), "{name}");
    assert_eq!(prefix.topic, vector["topic"].as_str().unwrap(), "{name}");
    assert_eq!(data, content(vector), "{name}");
    assert_headers(name, prefix.headers_json, &vector["headers"]);

    let head = MessageHead {
        id: prefix.id,
        timestamp_us: prefix.timestamp_us as i64,
        kind: MessageKind::Data,
        dropped_before: 0,
        epoch: 0,
        offset: 0,
    };
    let mut message = Message::new(head, prefix.topic, prefix.headers_json, data.len()).unwrap();
    message.data_mut().copy_from_slice(data);
    assert_eq!((message.topic(), message.headers_json()), (prefix.topic, prefix.headers_json), "{name}");
    assert_eq!((message.id(), message.data()), (prefix.id, data), "{name}");
    let is_object = vector["headers"]["t"] == "object";
    assert_eq!(message.headers().len(), if is_object { vector["headers"]["v"].as_array().unwrap().len() } else { 0 });
}

#[test]
fn messages_that_formix_writes_are_read_and_written_byte_for_byte() {
    for vector in vectors("writer_vectors") {
        let name = name(&vector);
        let (topic, json) = (vector["topic"].as_str().unwrap(), vector["headers_json"].as_str().unwrap());
        let data = content(&vector);
        let mut bytes = Vec::new();
        let (id, timestamp) = (number(&vector["id"]), number(&vector["timestamp"]));
        let data_len = v1::checked_data_len(topic, json, data.len()).unwrap();
        v1::write_prefix(&mut bytes, id, timestamp, topic, json, data_len);
        let prefix_len = bytes.len();
        bytes.extend_from_slice(&data);
        assert_eq!(bytes.len() as u64, number(&vector["length"]), "{name}");
        assert_eq!(sha256(&bytes), vector["sha256"].as_str().unwrap(), "{name}");
        match (vector["hex"].as_str(), vector["hex_prefix"].as_str()) {
            (Some(hex), _) => assert_eq!(bytes, unhex(hex), "{name}"),
            (None, Some(hex)) => assert!(bytes.starts_with(&unhex(hex)), "{name}"),
            (None, None) => panic!("{name}: no bytes"),
        }
        assert_eq!(v1::parse_prefix(&bytes).unwrap().len, prefix_len, "{name}");
        assert_parses(&vector, &bytes);
        if vector["headers"]["t"] == "object" {
            assert_eq!(Headers::parse(json).unwrap().to_json(), json, "{name}");
        }
    }
}

#[test]
fn messages_that_formix_reads_are_read() {
    for vector in vectors("reader_accepts") {
        assert_parses(&vector, &unhex(vector["hex"].as_str().unwrap()));
    }
}

#[test]
fn messages_that_formix_refuses_are_refused_with_a_reason() {
    for vector in vectors("reader_rejects") {
        let name = name(&vector);
        let bytes = match vector["hex"].as_str() {
            Some(hex) => unhex(hex),
            None => {
                assert_eq!(name, "headers_deep_200000");
                let mut bytes = Vec::new();
                let json = "[".repeat(200_000) + &"]".repeat(200_000);
                v1::write_prefix(&mut bytes, 7, 8, "t", &json, 1);
                bytes.push(b'c');
                bytes
            }
        };
        let reason = v1::parse(&bytes).expect_err(name);
        let says = match name {
            _ if name.starts_with("headers_not_utf8") => "headers text is not UTF-8 from byte 6",
            _ if name.starts_with("headers_") => "its headers are not JSON",
            _ if name.starts_with("topic_not") || name.starts_with("topic_utf8") => "its topic is not UTF-8",
            _ if name.starts_with("magic") => "begins with",
            _ if name.starts_with("version") => "version",
            _ => "cut short",
        };
        assert!(reason.contains(says), "{name}: {reason}");
        if says != "cut short" {
            assert!(matches!(v1::parse_prefix(&bytes), Err(v1::PrefixError::Malformed(_))), "{name}");
        }
    }
}
