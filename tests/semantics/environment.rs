//! What the environment decides, in processes of their own, since it is decided once.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    a_channel_has_the_transport_that_was_asked_for,
    the_list_shows_every_channel_with_its_figures,
}

const ROLE: &str = "PUBSUB_TEST_ROLE";

/// Not a test but what the others run: prints the outcome of what the role asks for.
#[test]
fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("home") => println!("outcome {}", home().display()),
        Ok("open") => match Channel::open("a", &ChannelOptions::default()) {
            Ok(channel) => println!("outcome ok {:?} {}", channel.stats().unwrap().transport, channel.path().display()),
            Err(error) => println!("outcome {:?} {error}", error.kind()),
        },
        _ => {}
    }
}

fn outcome(role: &str, variables: &[(&str, Option<&OsStr>)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "environment::role", "--nocapture"]).env(ROLE, role).env_remove("PUBSUB_TRANSPORT");
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let line = output.lines().find_map(|line| line.split_once("outcome ")).expect("an outcome");
    line.1.to_string()
}

/// PUBSUB_HOME chooses the store; empty counts as unset.
#[test]
fn pubsub_home_chooses_the_store_and_empty_counts_as_unset() {
    let unset = outcome("home", &[("PUBSUB_HOME", None)]);
    assert_eq!(outcome("home", &[("PUBSUB_HOME", Some(OsStr::new("")))]), unset);
    assert!(unset.ends_with("/pubsub"));
    assert_eq!(outcome("home", &[("PUBSUB_HOME", Some(OsStr::new("/dev/shm/t-elsewhere")))]), "/dev/shm/t-elsewhere");
    let home = Home::new();
    let opened = outcome("open", &[("PUBSUB_HOME", Some(home.path().as_os_str()))]);
    assert!(opened.starts_with("ok ") && opened.contains(home.path().to_str().unwrap()), "{opened}");
}

/// PUBSUB_TRANSPORT is `ring` or `files`; what is not to be had is an error and never something else.
#[test]
fn pubsub_transport_chooses_the_transport() {
    let home = Home::new();
    let open = |transport: &[u8]| {
        let transport = Some(OsStr::from_bytes(transport));
        outcome("open", &[("PUBSUB_HOME", Some(home.path().as_os_str())), ("PUBSUB_TRANSPORT", transport)])
    };
    assert!(open(b"files").starts_with("ok Files "));
    assert!(open(b"ring").starts_with("ok Ring "));
    assert!(open(b"").starts_with("ok Ring "));
    assert!(open(b"rubbish").starts_with("InvalidArgument ") && open(b"rubbish").contains("'rubbish'"));
    assert!(open(b"\xff").starts_with("InvalidArgument "), "{}", open(b"\xff"));
}

/// What is asked for in the options is not replaced by something else.
fn a_channel_has_the_transport_that_was_asked_for(transport: Transport) {
    let home = Home::with(transport);
    let channel = home.open("a");
    assert_eq!(channel.stats().unwrap().transport, transport);
    assert_eq!(list_channels(Some(&home.path())).unwrap()[0].transport, transport);
}

/// Anything else than a topic or a pattern is InvalidTopic, with the offending characters in the text.
#[test]
fn what_is_no_topic_is_refused_by_name() {
    let home = Home::new();
    for bad in ["", "a_b", "a b", "é", "a.=+", &"x".repeat(201)] {
        assert_eq!(Channel::open(bad, &home.options()).unwrap_err().kind(), ErrorKind::InvalidTopic, "{bad}");
    }
    for bad in ["", "a.=", "a+", "a/b", "../x"] {
        let error = Publisher::open(bad, &home.publisher_options()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidTopic, "{bad}");
        assert_eq!(publish(bad, b"", None).unwrap_err().kind(), ErrorKind::InvalidTopic);
    }
    let error = Channel::open("news_a b", &home.options()).unwrap_err().to_string();
    assert!(error.contains('_') && error.contains(' '), "{error}");
    assert!(home.channels().is_empty());
}

/// Lists: each channel with its bounds, counters and what waits.
fn the_list_shows_every_channel_with_its_figures(transport: Transport) {
    let home = Home::with(transport);
    assert!(list_channels(Some(&home.outside().join("nothing"))).unwrap().is_empty());
    assert!(!home.outside().join("nothing").exists());
    let options = ChannelOptions {
        full_policy: FullPolicy::DropOldest,
        capacity_messages: 3,
        capacity_bytes: 10_000,
        ..home.options()
    };
    let mut b = Channel::open("b.=", &options).unwrap();
    let a = home.open_with_room("a.+", 2);
    for topic in ["b.x", "a.x.y"] {
        let publisher = home.publisher(topic);
        for _ in 0..5 {
            let _ = publisher.publish(b"12345", None);
        }
    }
    b.fetch().unwrap().unwrap();
    std::fs::write(b.path().join("77"), "rubbish").unwrap();
    std::fs::write(b.path().join("control-notes"), "not a message").unwrap();
    let list = list_channels(Some(&home.path())).unwrap();
    let [seen_a, seen_b] = &list[..] else { panic!("{list:?}") };
    for (seen, channel) in [(seen_a, &a), (seen_b, &b)] {
        let own = channel.stats().unwrap();
        assert_eq!(format!("{seen:?}"), format!("{own:?}"));
        assert!(seen.alive && !seen.foreign && seen.transport == transport);
        assert_eq!((seen.path.as_path(), seen.pid), (channel.path(), i64::from(std::process::id())));
    }
    assert_eq!((seen_a.topic.as_str(), seen_a.unread_messages, seen_a.rejected, seen_a.dropped), ("a.+", 2, 3, 0));
    assert_eq!((seen_b.topic.as_str(), seen_b.received, seen_b.rejected, seen_b.dropped), ("b.=", 1, 0, 2));
    assert_eq!((seen_b.capacity_messages, seen_b.capacity_bytes), (3, 10_000));
    assert_eq!(seen_b.full_policy, FullPolicy::DropOldest);
    // Two messages and the rubbish of 7 bytes.
    assert_eq!((seen_b.unread_messages, seen_b.unread_bytes - 7), (3, 2 * (seen_a.unread_bytes / 2 - 2)));
}
