//! How `pubsub sub` ends when it is told to.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;

use nix::sys::signal::Signal;

use crate::support::{Running, Store};

#[test]
fn signals_end_it_with_everything_printed_and_nothing_left_behind() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let store = Store::new();
        let sub = store.sub(2, &["a.+", "b"]);
        // What was published before the signal is printed, though none of it was received when the signal came.
        sub.stop();
        let input: String = (0..5000).map(|i| format!("{i}\n")).collect();
        store.run_on(["pub", "--lines", "a.b"], input.as_bytes());
        store.ok(["pub", "b", "last"]);
        sub.signal(signal);
        sub.signal(Signal::SIGCONT);
        let ended = sub.end();
        assert_eq!(ended.signal(), Some(signal), "{:?}", ended.status);
        let lines = ended.lines();
        assert_eq!(lines.len(), 5001);
        let a: Vec<_> = lines.iter().filter(|line| line.starts_with("a.b ")).copied().collect();
        assert!(a.iter().enumerate().all(|(i, line)| *line == format!("a.b {i}")));
        assert!(lines.contains(&"b last"));
        assert_eq!(store.directories(), [""; 0]);
    }
}

#[test]
fn shells_see_the_signal_as_an_exit_code() {
    let store = Store::new();
    let script = "\"$PUBSUB\" sub a & trap '' TERM; echo $!; wait $!; echo $?";
    let mut shell = Running::start(&mut store.shell(script)).subscribed(1);
    let pid = nix::unistd::Pid::from_raw(shell.line().parse().unwrap());
    nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(shell.end().text(), "143\n");
}

#[test]
fn a_second_signal_ends_it_even_when_nobody_reads() {
    let store = Store::new();
    let sub = store.sub(1, &["a"]);
    // Far more than a pipe takes, and none of it is read.
    let input = "x".repeat(999) + "\n";
    store.run_on(["pub", "--lines", "a"], input.repeat(1000).as_bytes());
    while store.channels()[0]["unread_messages"] == 1000 {} // until it has begun
    sub.signal(Signal::SIGTERM);
    sub.signal(Signal::SIGINT); // not the same one twice: those may merge
    let mut sub = sub;
    let stdout = sub.stdout.take();
    let status = sub.child.wait().unwrap();
    drop(stdout);
    assert!(!status.success());
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn a_page_that_is_cut_short_in_use_ends_it_with_a_reason() {
    let store = Store::new();
    let sub = store.sub(1, &["a"]);
    let page = store.home().join(store.directories().remove(0)).join("control");
    OpenOptions::new().write(true).open(page).unwrap().set_len(0).unwrap();
    let ended = sub.end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.words.contains("cut short") && ended.words.contains("pubsub doctor"), "{ended:?}");
}

#[test]
fn nohup_is_respected() {
    let store = Store::new();
    let mut sub = Running::start(store.shell("trap '' HUP; exec \"$PUBSUB\" sub a").process_group(0)).subscribed(1);
    sub.signal(Signal::SIGHUP);
    store.ok(["pub", "a", "1"]);
    assert_eq!(sub.line(), "a 1");
    sub.signal(Signal::SIGTERM);
    assert_eq!(sub.end().signal(), Some(Signal::SIGTERM));
}

#[test]
fn stopped_and_continued_it_goes_on() {
    let store = Store::new();
    let mut sub = store.sub(1, &["a"]);
    sub.stop();
    store.ok(["pub", "a", "1"]);
    sub.signal(Signal::SIGCONT);
    assert_eq!(sub.line(), "a 1");
    sub.signal(Signal::SIGTERM);
    sub.end();
}
