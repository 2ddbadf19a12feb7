//! What is in a message arrives, and the bytes are those of formix-pubsub.

use pubsub::{HeaderValue, Headers, Transport};
use serde_json::json;

use crate::support::{Home, Received, drain, messages_in, noise, texts};

crate::transports::on_each_transport! {
    we_receive_what_formix_publishes_with_headers_and_content_of_every_kind,
    headers_of_formix_have_their_types_here,
    files_that_we_write_are_byte_for_byte_those_of_formix,
    channels_and_publishers_of_both_kinds_share_a_topic,
    messages_of_many_publishers_of_both_kinds_arrive_once_each_in_each_publishers_order,
}

/// Headers of every kind, as formix-pubsub writes them, and the Python that gives them.
const HEADERS: [(&str, &str); 6] = [
    ("{}", "{}"),
    (
        r#"{"s": "v", "i": 42, "f": 3.14, "t": true, "F": false, "n": null}"#,
        "{'s': 'v', 'i': 42, 'f': 3.14, 't': True, 'F': False, 'n': None}",
    ),
    (
        "{\"ключ\": \"名前 🎉\", \"\": \"\", \"q\\\"\\\\\": \"a\\nb\\t\\u0001\u{7f}\"}",
        r#"{'ключ': '名前 🎉', '': '', 'q"\\': 'a\nb\t\x01\x7f'}"#,
    ),
    (
        r#"{"big": 1e+16, "small": 1e-05, "neg": -0.0, "whole": 1.0, "third": 0.3333333333333333}"#,
        "{'big': 1e16, 'small': 1e-5, 'neg': -0.0, 'whole': 1.0, 'third': 1/3}",
    ),
    (
        r#"{"nan": NaN, "inf": Infinity, "ninf": -Infinity, "min": -9223372036854775808, "max": 9223372036854775807}"#,
        "{'nan': float('nan'), 'inf': float('inf'), 'ninf': -float('inf'), 'min': -2**63, 'max': 2**63-1}",
    ),
    (
        r#"{"huge": 100000000000000000000000000000, "list": [1, {"a": null}], "object": {}}"#,
        "{'huge': 10**29, 'list': [1, {'a': None}], 'object': {}}",
    ),
];

fn contents() -> Vec<Vec<u8>> {
    let all_bytes = (0..=255).collect();
    vec![vec![], b"text".to_vec(), "grüße 名前 🎉".as_bytes().to_vec(), vec![0; 9], all_bytes, noise(1 << 20)]
}

/// Every header with every content.
fn each(mut publish: impl FnMut(&str, &str, &[u8])) -> Vec<(String, Vec<u8>)> {
    let mut sent = Vec::new();
    for (i, data) in contents().into_iter().enumerate() {
        for (json, python) in &HEADERS[if i < 2 { 0 } else { 2 }..] {
            publish(json, python, &data);
            sent.push((json.to_string(), data.clone()));
        }
    }
    sent
}

fn parts(found: &[Received]) -> Vec<(String, Vec<u8>)> {
    found.iter().map(|message| (message.headers.clone(), message.data.clone())).collect()
}

/// assert_eq without a megabyte in the terminal.
fn assert_same(found: &[Received], sent: &[(String, Vec<u8>)]) {
    assert_eq!(found.len(), sent.len(), "messages");
    for (i, (found, sent)) in parts(found).iter().zip(sent).enumerate() {
        assert_eq!(found.0, sent.0, "headers of message {i}");
        assert!(found.1 == sent.1, "content of message {i}, {} bytes for {}", found.1.len(), sent.1.len());
    }
}

#[test]
fn formix_fetches_what_we_publish_with_headers_and_content_of_every_kind() {
    let home = Home::new();
    let mut formix = home.formix();
    formix.open("c", "all.kinds");
    let publisher = home.publisher("all.kinds");
    let sent = each(|json, _, data| {
        assert_eq!(publisher.publish(data, Some(&Headers::parse(json).unwrap())).unwrap(), 1);
    });
    let found = formix.fetch_all("c");
    assert_same(&found, &sent);
    assert!(found.iter().all(|message| message.topic == "all.kinds"));
    assert!(found.is_sorted_by_key(|message| message.timestamp) && found.is_sorted_by(|a, b| a.id < b.id));
}

#[test]
fn formix_subscribe_hears_what_we_publish() {
    let home = Home::new();
    let mut formix = home.formix();
    formix.open("c", "all.kinds");
    formix.begin("subscribe_until(c, 3)");
    for text in ["one", "two", "three"] {
        assert_eq!(home.publish("all.kinds", text.as_bytes()), 1);
    }
    let found = formix.end();
    let texts: Vec<Vec<u8>> = found.as_array().unwrap().iter().map(|value| Received::of(value).data).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"three"]);
}

fn we_receive_what_formix_publishes_with_headers_and_content_of_every_kind(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("all.kinds");
    let mut formix = home.formix();
    let sent = each(|_, python, data| {
        std::fs::write(home.beside("data"), data).unwrap();
        let code = format!("publish_apart('all.kinds', open({:?}, 'rb').read(), {python})", home.beside("data"));
        assert_eq!(formix.run(&code), 1);
    });
    let found: Vec<Received> = drain(&mut channel).iter().map(Received::from).collect();
    assert_same(&found, &sent);
    assert!(found.is_sorted_by(|a, b| a.timestamp < b.timestamp));
    assert_eq!(messages_in(channel.path()), [""; 0]);
}

fn headers_of_formix_have_their_types_here(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("typed");
    let mut formix = home.formix();
    let headers = "{'s': 'ü', 'i': -7, 'f': 1.0, 't': True, 'n': None, 'huge': 2**64, 'nan': float('nan')}";
    assert_eq!(formix.run(&format!("publish('typed', b'', {headers})")), 1);
    let headers = channel.fetch().unwrap().unwrap().headers();
    let get = |name| headers.get(name).unwrap();
    assert_eq!(*get("s"), HeaderValue::String("ü".into()));
    assert_eq!((get("i"), get("f")), (&HeaderValue::Int(-7), &HeaderValue::Double(1.0)));
    assert_eq!((get("t"), get("n")), (&HeaderValue::Bool(true), &HeaderValue::Null));
    assert_eq!(*get("huge"), HeaderValue::Other("18446744073709551616".into()));
    assert!(matches!(get("nan"), HeaderValue::Double(nan) if nan.is_nan()));
}

fn files_that_we_write_are_byte_for_byte_those_of_formix(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    formix.open("c", "golden.=");
    let directory = home.channels().remove(0);
    let topic = "golden.A-9";
    let publisher = home.publisher(topic);
    for data in contents() {
        std::fs::write(home.beside("data"), &data).unwrap();
        for (json, python) in HEADERS {
            // A topic of one word for formix's `=`.
            assert_eq!(publisher.publish(&data, Some(&Headers::parse(json).unwrap())).unwrap(), 1);
            let [name] = &messages_in(&directory)[..] else { panic!("one message file") };
            let ours = std::fs::read(directory.join(name)).unwrap();
            std::fs::remove_file(directory.join(name)).unwrap();
            let timestamp = u64::from_be_bytes(ours[13..21].try_into().unwrap());
            let code = format!(
                "m = Message({topic:?}, open({data:?}, 'rb').read(), {python}); m.id = {name}; m.timestamp = {timestamp}\n\
                 with open({theirs:?}, 'wb') as stream: m.write(stream)",
                data = home.beside("data"),
                theirs = home.beside("theirs")
            );
            formix.run(&code);
            let theirs = std::fs::read(home.beside("theirs")).unwrap();
            assert!(ours == theirs, "{} bytes of content, headers {json}", data.len());
        }
    }
}

fn channels_and_publishers_of_both_kinds_share_a_topic(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut other = home.formix();
    let mut ours = [home.channel("mixed.topic"), home.channel("mixed.+")];
    formix.open("a", "mixed.topic");
    other.open("a", "mixed.+");
    let publisher = home.publisher("mixed.topic");
    let mut sent = Vec::new();
    for i in 0..50 {
        assert_eq!(publisher.publish(format!("ours {i}").as_bytes(), None).unwrap(), 4);
        assert_eq!(formix.publish("mixed.topic", &format!("formix {i}")), 4);
        sent.extend([format!("ours {i}"), format!("formix {i}")]);
    }
    // Each waited for the other, so there is one order. A ring keeps that of each kind: formix's messages come beside it.
    for channel in &mut ours {
        let mut found = texts(channel);
        if transport == Transport::Ring {
            let number = |text: &String| text.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
            // Stable: what was received in the wrong order within its kind stays so.
            assert!(
                ["ours", "formix"]
                    .iter()
                    .all(|kind| found.iter().filter(|text| text.starts_with(kind)).is_sorted_by_key(number))
            );
            found.sort_by_key(|text| (number(text), text.starts_with("formix")));
        }
        assert_eq!(found, sent);
    }
    assert_eq!(formix.texts("a"), sent);
    assert_eq!(other.texts("a"), sent);
}

fn messages_of_many_publishers_of_both_kinds_arrive_once_each_in_each_publishers_order(transport: Transport) {
    const EACH: usize = 300;
    let home = Home::with(transport);
    let mut channel = home.channel("crowd");
    let mut formix = home.formix();
    // One of them only: two write to one file in tmp when their ids collide.
    formix.begin(&format!("[publish('crowd', b'formix %d' % n) for n in range({EACH})]"));
    let publisher = home.publisher("crowd");
    std::thread::scope(|scope| {
        for i in 0..2 {
            let publisher = &publisher;
            scope.spawn(move || {
                for n in 0..EACH {
                    assert_eq!(publisher.publish(format!("ours {i} {n}").as_bytes(), None).unwrap(), 1);
                }
            });
        }
    });
    // formix-pubsub's ids collide with each other now and then; it says so by its count.
    let counts = formix.end();
    let mut expected: Vec<String> =
        (0..EACH).filter(|&n| counts[n] == json!(1)).map(|n| format!("formix {n}")).collect();
    expected.extend((0..2).flat_map(|i| (0..EACH).map(move |n| format!("ours {i} {n}"))));
    let found = texts(&mut channel);
    for sender in ["ours 0", "ours 1", "formix"] {
        let of = |all: &[String]| all.iter().filter(|text| text.starts_with(sender)).cloned().collect::<Vec<_>>();
        assert_eq!(of(&found), of(&expected), "{sender}");
    }
    assert_eq!(found.len(), expected.len());
}
