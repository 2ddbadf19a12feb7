//! Several gateways on one store; gateways that end, in good order or not.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::client::{Client, Received};
use crate::http;
use crate::server::{Store, until};

#[test]
fn several_gateways_serve_one_store() {
    let store = Store::new();
    let (one, two) = (store.serve(&[]), store.serve(&[]));
    let (mut a, mut b) = (one.connect(), two.connect());
    a.subscribe("t", 0);
    b.subscribe("t", 0);
    a.send_json(json!({"action": "publish", "topic": "t", "message": "from one"}));
    b.send_json(json!({"action": "publish", "topic": "u", "message": "elsewhere"}));
    for client in [&mut a, &mut b] {
        assert_eq!(client.messages(1), [json!("from one")]);
    }
    // Publishing is not answered.
    crate::server::until("it is elsewhere", || two.get("/stats").json()["topics"]["u"]["messages_published"] == 1);
    assert_eq!(two.get("/stats").json(), one.get("/stats").json());
    assert_eq!(two.get("/stats").json()["topics"]["t"]["subscribers"], 2);
    // What one deletes, the other's subscribers are told.
    assert_eq!(one.delete("/topics/t").status, 200);
    for client in [&mut a, &mut b] {
        assert_eq!(client.frame(), json!({"action": "topic_deleted", "topic": "t"}));
        assert_eq!(client.closed(), 1000);
    }
}

#[test]
fn a_gateway_that_is_killed_loses_nothing_that_is_in_a_history() {
    let store = Store::new();
    // An address at which nobody else asks for any port.
    let one = store.serve(&["--bind", "127.71.3.9:0"]);
    let address = one.address.to_string();
    let mut client = one.connect();
    client.subscribe("t", 0);
    client.send_json(json!({"action": "publish", "topic": "t", "message": 1}));
    let last = client.message();
    one.signal(Signal::SIGKILL);
    drop(one);
    assert!(matches!(client.next(), Received::Closed(_)));
    // Programs go on meanwhile.
    store.publisher("t").publish(b"2", None).unwrap();
    let again = store.serve(&["--bind", &address]);
    assert_eq!(again.get("/topics").json()["topics"][0]["subscriber_count"], 0);
    let mut client = again.connect();
    let since = json!({"epoch": last["epoch"], "offset": last["offset"]});
    let ack = client.ask(json!({"action": "subscribe", "topic": "t", "since": since}));
    assert_eq!(ack["recovered"], true);
    assert_eq!(client.messages(1), [json!(2)]);
}

#[test]
fn a_gateway_that_is_asked_to_end_says_goodbye() {
    let store = Store::new();
    let mut gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    let publisher = store.publisher("t");
    for n in 0..1000 {
        publisher.publish(n.to_string().as_bytes(), None).unwrap();
    }
    client.message();
    gateway.signal(Signal::SIGTERM);
    // What waited comes, and then the goodbye.
    let mut frames = 1;
    let code = loop {
        match client.next() {
            Received::Frame(_) => frames += 1,
            Received::Closed(frame) => break frame.map(|frame| u16::from(frame.code)),
        }
    };
    assert_eq!(code, Some(1001));
    assert!(frames <= 1000);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.log());
    // Nothing of it is left in the store.
    assert!(pubsub::list_channels(Some(&store.home())).unwrap().is_empty());
}

#[test]
fn while_it_ends_it_is_not_ready_and_takes_nobody() {
    let store = Store::new();
    let mut gateway = store.serve(&["--drain", "2"]);
    assert_eq!(gateway.get("/ready").json(), json!({"status": "ready"}));
    // A connection that was there before and is asked on afterwards.
    let mut kept = http::connect(gateway.address);
    // Somebody who does not answer the goodbye keeps it until the time is over.
    let _silent = gateway.connect();
    until("both are there", || gateway.figure("pubsub_connections") == 1.0);
    gateway.signal(Signal::SIGTERM);
    until("it listens no more", || std::net::TcpStream::connect(gateway.address).is_err());
    use std::io::Write;
    let _ = write!(kept, "GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.log());
}

#[test]
fn asked_twice_it_ends_at_once() {
    let store = Store::new();
    let mut gateway = store.serve(&["--drain", "600"]);
    let _silent = gateway.connect();
    gateway.signal(Signal::SIGINT);
    until("it listens no more", || std::net::TcpStream::connect(gateway.address).is_err());
    gateway.signal(Signal::SIGINT);
    assert_eq!(gateway.wait().code(), Some(1));
}

#[test]
fn a_store_that_fills_up_is_an_error_and_goes_on_when_there_is_room() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let mut client = gateway.connect();
    client.subscribe("t", 0);
    // A queue that is full refuses; the gateway's own channels never do.
    let channel = pubsub::Channel::open(
        "full",
        &pubsub::ChannelOptions { home: Some(store.home()), capacity_messages: 1, ..Default::default() },
    );
    let mut channel = channel.unwrap();
    let publish = |client: &mut Client| {
        client.send_json(json!({"action": "publish", "topic": "full", "message": 1, "request_id": 1}));
        client.frame()
    };
    assert_eq!(publish(&mut client)["action"], "ack");
    assert_eq!(publish(&mut client)["error"]["code"], "queue_full");
    let body = r#"{"messages":[1,2]}"#;
    assert_eq!(gateway.post("/topics/full/messages", body).code(), (503, "queue_full".into()));
    channel.fetch_wait(Some(crate::server::HANGS)).unwrap().unwrap();
    assert_eq!(publish(&mut client)["action"], "ack");
}

#[test]
fn a_store_that_is_deleted_is_made_again_and_subscribers_are_told() {
    let store = Store::new();
    let gateway = store.serve(&[]);
    let (mut subscriber, mut listener) = (gateway.connect(), gateway.connect());
    subscriber.ask(json!({"action": "subscribe", "topic": "t"}));
    listener.ask(json!({"action": "subscribe", "topic": "a.="}));
    std::fs::remove_dir_all(store.home()).unwrap();
    // Nothing comes here any more, and that is said.
    assert_eq!((subscriber.closed(), listener.closed()), (1013, 1013));
    assert_eq!(gateway.get("/ready").status, 200);
    let mut again = gateway.connect();
    let ack = again.ask(json!({"action": "subscribe", "topic": "t", "since": {"epoch": "1", "offset": "1"}}));
    assert_eq!(ack["recovered"], false);
    again.ask(json!({"action": "subscribe", "topic": "a.="}));
    store.publisher("t").publish(b"1", None).unwrap();
    store.publisher("a.b").publish(b"2", None).unwrap();
    let mut got = again.messages(2);
    got.sort_by_key(ToString::to_string);
    assert_eq!(got, [json!(1), json!(2)]);
    gateway.assert_works();
}
