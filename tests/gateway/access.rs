//! Who may: origins, hosts, keys, tokens, addresses.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::client::{Client, Received};
use crate::http;
use crate::server::{Gateway, Store};

fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    http::request(gateway.address, "GET", path, headers, None).code()
}

#[test]
fn pages_from_elsewhere_are_refused() {
    let store = Store::new();
    let gateway = store.serve(&["--allow-origin", "https://app.example", "--allow-host", "bus.example"]);
    let own = format!("http://{}", gateway.address);
    for origin in ["https://app.example", &own] {
        assert!(Client::try_connect(gateway.address, "/ws", &[("Origin", origin)]).is_ok(), "{origin}");
    }
    for origin in ["http://evil.example", "null", "https://app.example.evil.example", "http://127.0.0.1:1"] {
        let status = Client::try_connect(gateway.address, "/ws", &[("Origin", origin)]).err();
        assert_eq!(status, Some(403), "{origin}");
        for path in ["/health", "/topics", "/topics/t/events", "/"] {
            assert_eq!(get(&gateway, path, &[("Origin", origin)]), (403, "wrong_origin".into()), "{origin} {path}");
        }
    }
    // A name that somebody else's DNS leads here.
    assert_eq!(get(&gateway, "/topics", &[("Host", "evil.example")]), (403, "wrong_host".into()));
    let rebound = [("Host", "evil.example:8000"), ("Origin", "http://evil.example:8000")];
    assert_eq!(get(&gateway, "/topics", &rebound), (403, "wrong_host".into()));
    assert_eq!(http::request(gateway.address, "GET", "/topics", &[("Host", "bus.example")], None).status, 200);
}

#[test]
fn an_allowed_page_may_read_answers_and_no_other() {
    let store = Store::new();
    let gateway = store.serve(&["--allow-origin", "https://app.example"]);
    let preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "DELETE")];
    let answer = http::request(gateway.address, "OPTIONS", "/topics/t", &preflight, None);
    assert_eq!(answer.status, 200);
    assert!(answer.head.to_lowercase().contains("access-control-allow-origin: https://app.example"), "{}", answer.head);
    let answer = http::request(gateway.address, "GET", "/health", &[("Origin", "https://app.example")], None);
    assert!(answer.head.contains("access-control-allow-origin: https://app.example"), "{}", answer.head);
    assert!(!gateway.get("/health").head.contains("access-control-allow-origin: "), "nobody asked");
}

const SECRET: &str = "a secret of at least thirty-two characters";
const READER: &str = "reader-0123456789";
const WRITER: &str = "writer-0123456789";

fn secured(store: &Store) -> Gateway {
    let file = store.beside("auth.json");
    let auth = json!({
        "keys": [
            {"key": READER, "sub": ["news.=", "open"]},
            {"key": WRITER, "pub": ["+"], "sub": ["+"]},
        ],
        "jwt": {"algorithm": "HS256", "secret": SECRET, "audience": "pubsub"},
    });
    std::fs::write(&file, auth.to_string()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    store.serve(&["--auth", file.to_str().unwrap()])
}

/// A token as somebody else's service issues it.
fn token(claims: Value, secret: &str) -> String {
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let text = format!("{}.{}", encode(br#"{"alg":"HS256","typ":"JWT"}"#), encode(claims.to_string().as_bytes()));
    let signature = hmac_sha256(secret.as_bytes(), text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let pad = |byte: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ byte).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn without_a_key_there_is_nothing_but_signs_of_life_and_the_page() {
    let store = Store::new();
    let gateway = secured(&store);
    for path in ["/health", "/ready", "/", "/pubsub.js", "/openapi.json"] {
        assert_eq!(gateway.get(path).status, 200, "{path}");
    }
    for path in ["/topics", "/stats", "/metrics", "/topics/open/messages", "/topics/open/events"] {
        let answer = gateway.get(path);
        assert_eq!(answer.code(), (401, "unauthorized".into()), "{path}");
        assert!(answer.head.contains("www-authenticate: Bearer"), "{}", answer.head);
    }
    assert_eq!(Client::try_connect(gateway.address, "/ws", &[]).err(), Some(401));
    assert_eq!(Client::try_connect(gateway.address, "/ws?access_token=wrong", &[]).err(), Some(401));
    assert_eq!(gateway.post("/topics", r#"{"name":"x"}"#).code().0, 401);
    assert_eq!(gateway.delete("/topics/x").code().0, 401);
}

#[test]
fn a_key_grants_what_its_patterns_match() {
    let store = Store::new();
    let gateway = secured(&store);
    let bearer = |key: &str| format!("Bearer {key}");
    let request = |key: &str, method: &str, path: &str, body: Option<&str>| {
        http::request(gateway.address, method, path, &[("Authorization", &bearer(key))], body)
    };
    for name in ["open", "secret"] {
        let body = format!(r#"{{"name":"{name}"}}"#);
        assert_eq!(request(READER, "POST", "/topics", Some(&body)).code().0, 403);
        assert_eq!(request(WRITER, "POST", "/topics", Some(&body)).status, 201);
    }
    let listed = request(READER, "GET", "/topics", None).json();
    assert_eq!(listed, json!({"topics": [{"name": "open", "subscriber_count": 0}]}));
    assert!(request(READER, "GET", "/stats", None).json()["topics"].get("secret").is_none());
    assert_eq!(request(READER, "GET", "/topics/secret/messages", None).code().0, 403);
    assert_eq!(request(READER, "GET", "/topics/secret/events", None).code().0, 403);
    assert_eq!(request(READER, "POST", "/topics/open/messages", Some(r#"{"message":1}"#)).code().0, 403);
    assert_eq!(request(READER, "DELETE", "/topics/open", None).code().0, 403);

    let mut reader = Client::try_connect(gateway.address, &format!("/ws?access_token={READER}"), &[]).unwrap();
    reader.subscribe("open", 0);
    reader.subscribe("news.=", 0);
    for topic in ["secret", "+", "news.+", "="] {
        reader.send_json(json!({"action": "subscribe", "topic": topic}));
        assert_eq!(reader.refusal(), "forbidden", "{topic}");
    }
    reader.send_json(json!({"action": "publish", "topic": "open", "message": 1}));
    assert_eq!(reader.refusal(), "forbidden");
    assert_eq!(request(WRITER, "POST", "/topics/open/messages", Some(r#"{"message":1}"#)).status, 201);
    assert_eq!(reader.messages(1), [json!(1)]);
    assert_eq!(request(WRITER, "POST", "/topics/news.x/messages", Some(r#"{"message":2}"#)).status, 201);
    assert_eq!(reader.messages(1), [json!(2)]);
}

#[test]
fn a_token_holds_until_it_expires() {
    let store = Store::new();
    let gateway = secured(&store);
    let claims = |until: u64| json!({"exp": until, "aud": "pubsub", "sub": ["news.+"], "pub": ["news.x"]});
    // A busy machine may take longer than it holds: then a longer one decides.
    let used = |lasts| {
        let until = now() + lasts;
        // A time need not be whole.
        let mut claims = claims(until);
        claims["exp"] = json!(until as f64 + 0.5);
        let bearer = format!("Bearer {}", token(claims, SECRET));
        let mut client = match Client::try_connect(gateway.address, "/ws", &[("Authorization", &bearer)]) {
            Err(401) if now() >= until => return false,
            client => client.unwrap_or_else(|status| panic!("HTTP {status}, {} s before its end", until - now())),
        };
        client.send_json(json!({"action": "subscribe", "topic": "news.x", "replay_last": 0, "request_id": 1}));
        client.send_json(json!({"action": "publish", "topic": "news.x", "message": 1}));
        for action in ["ack", "message"] {
            match client.next() {
                Received::Frame(frame) => assert_eq!(frame["action"], action, "{frame}"),
                Received::Closed(frame) => {
                    assert!(now() >= until, "closed before its end: {frame:?}");
                    return false;
                }
            }
        }
        assert_eq!(client.closed(), 1008);
        assert!(now() >= until, "closed before its end");
        true
    };
    assert!([2, 8, 32, 128].into_iter().any(used), "it never held long enough");

    for bad in
        [token(claims(now() + 60), "not the secret of that service, is it"), token(json!({"sub": ["+"]}), SECRET)]
    {
        assert_eq!(Client::try_connect(gateway.address, &format!("/ws?access_token={bad}"), &[]).err(), Some(401));
    }
}

#[test]
fn nobody_binds_wide_without_saying_so() {
    let store = Store::new();
    let run = |args: &[&str]| store.command(args).stdin(Stdio::null()).output().unwrap();
    let refused = run(&["serve", "--bind", "0.0.0.0:0"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("--auth") && words.contains("--without-authentication"), "{words}");
    let gateway = store.serve(&["--bind", "0.0.0.0:0", "--without-authentication"]);
    let address = ([127, 0, 0, 1], gateway.address.port()).into();
    assert_eq!(http::request(address, "GET", "/health", &[], None).status, 200);
}

#[test]
fn a_command_line_that_cannot_be_meant_is_refused() {
    let store = Store::new();
    let bad = store.beside("bad.json");
    std::fs::write(&bad, r#"{"keys":[{"key":"short","sub":["+"]}]}"#).unwrap();
    for (args, code, said) in [
        (&["--allow-origin", "app.example"][..], 2, "no origin"),
        (&["--allow-host", "https://bus.example"][..], 2, "no name"),
        (&["--auth", "/nowhere/keys.json"][..], 1, "/nowhere/keys.json"),
        (&["--auth", bad.to_str().unwrap()][..], 1, "at least 16 characters"),
        (&["--bind", "everywhere"][..], 2, "--bind"),
    ] {
        let output = store.command(&["serve"]).args(args).stdin(Stdio::null()).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?} {words}");
        assert!(words.contains(said) && output.stdout.is_empty(), "{args:?} {words}");
    }
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let address = gateway.address.to_string();
    let output = store.command(&["serve", "--bind", &address]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}

#[test]
fn publishing_too_fast_is_refused_and_the_connection_goes_on() {
    let store = Store::new();
    let gateway = store.serve(&["--max-publish-rate", "5"]);
    let mut client = gateway.connect();
    // More at once than a second's worth, and again should a busy machine take seconds for them.
    let is_refused = |n| {
        for n in n..n + 20 {
            client.send_json(json!({"action": "publish", "topic": "t", "message": n, "request_id": n}));
        }
        let mut refused = 0;
        for n in n..n + 20 {
            let frame = client.frame();
            assert_eq!(frame["request_id"], n);
            if frame["action"] == "error" {
                assert_eq!(frame["error"]["code"], "rate_limited");
                refused += 1;
            }
        }
        refused > 0
    };
    assert!((0..1000).step_by(20).any(is_refused));
    std::thread::sleep(Duration::from_millis(300));
    client.ask(json!({"action": "publish", "topic": "t", "message": "later"}));
}

#[test]
fn subscriptions_and_connections_have_limits() {
    let store = Store::new();
    let gateway = store.serve(&["--max-subscriptions", "2", "--max-connections", "3"]);
    let mut client = gateway.connect();
    client.subscribe("a", 0);
    client.subscribe("b", 0);
    client.send_json(json!({"action": "subscribe", "topic": "c"}));
    assert_eq!(client.refusal(), "too_many_subscriptions");
    client.ask(json!({"action": "unsubscribe", "topic": "a"}));
    client.subscribe("c", 0);

    let mut others: Vec<_> = (0..2).map(|_| gateway.connect()).collect();
    let answer = http::answer(http::connect(gateway.address));
    assert_eq!(answer.code(), (503, "too_many_connections".into()));
    others.pop().unwrap().socket.close(None).unwrap();
    crate::server::until("a connection is free again", || {
        Client::try_connect(gateway.address, "/ws", &[]).is_ok_and(|mut client| {
            client.send(r#"{"action":"ping"}"#);
            matches!(client.next(), Received::Frame(_))
        })
    });
}
