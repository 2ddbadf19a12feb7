//! `pubsub ls` and `pubsub gc`.

use std::fs::{self, OpenOptions};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::support::{Running, Store};

#[test]
fn ls_shows_the_living_and_the_dead_and_gc_removes_the_dead() {
    let store = Store::new();
    // In this order: each open removes what is dead.
    let stopped = store.sub(1, &["long.pattern.+"]);
    stopped.stop();
    let dead = store.sub(1, &["dead.="]);
    let dead_pid = dead.pid().to_string();
    dead.signal(Signal::SIGKILL);
    dead.end();
    let pid = stopped.pid().to_string();
    store.run_on(["pub", "--lines", "long.pattern.x"], b"1\n22\n333\n");

    let ended = store.ok(["ls"]);
    let rows: Vec<Vec<&str>> = ended.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PATTERN", "PID", "PROGRAM", "UNREAD", "CAPACITY", "REJECTED", "STATE"]);
    assert_eq!(rows[1], ["dead.=", &dead_pid, "-", "0", "16384", "0", "dead"]);
    assert_eq!(rows[2], ["long.pattern.+", &pid, "pubsub", "3", "16384", "0", "live"]);
    assert_eq!(rows.len(), 3);
    let columns: Vec<_> = ended.lines().iter().map(|line| line.rfind(' ')).collect();
    assert!(columns.iter().all(|column| *column == columns[0]), "{}", ended.text());

    let channels = store.channels();
    let live = &channels[1];
    assert_eq!((&channels[0]["alive"], &live["alive"]), (&false.into(), &true.into()));
    assert_eq!((&live["pattern"], &live["pid"]), (&"long.pattern.+".into(), &stopped.child.id().into()));
    assert_eq!((&live["program"], &live["foreign"]), (&"pubsub".into(), &false.into()));
    assert_eq!((&live["unread_messages"], &live["capacity_messages"]), (&3.into(), &16384.into()));
    assert_eq!((&live["rejected"], &live["received"]), (&0.into(), &0.into()));
    assert!(live["path"].as_str().unwrap().starts_with(store.home().to_str().unwrap()));
    assert!(["ring", "files"].contains(&live["transport"].as_str().unwrap()));

    assert!(store.ok(["gc"]).words.starts_with("removed 1 channel of dead processes from "));
    assert!(store.ok(["gc"]).words.starts_with("removed 0 channels of dead processes from "));
    assert_eq!(store.channels().len(), 1);
    stopped.signal(Signal::SIGCONT);
    stopped.signal(Signal::SIGTERM);
    assert_eq!(stopped.end().lines().len(), 3);
}

#[test]
fn ls_of_nothing_prints_nothing() {
    let store = Store::new();
    let ended = store.ok(["ls"]);
    assert_eq!(ended.text(), "");
    assert!(ended.words.starts_with("no channels in "), "{}", ended.words);
    assert_eq!(store.ok(["ls", "--json"]).text(), "");
}

#[test]
fn ls_ends_quietly_when_its_reader_has_gone() {
    let store = Store::new();
    let mut sub = store.sub(2, &["a", "b"]);
    let script = "{ \"$PUBSUB\" ls; echo \"exit code $?\" >&2; } | true";
    let ended = Running::start(&mut store.shell(script)).end();
    assert_eq!(ended.words, "exit code 0\n");
    sub.signal(Signal::SIGTERM);
    assert_eq!(sub.word_line(), "");
}

#[test]
fn a_hostile_directory_name_stays_in_its_line() {
    let store = Store::new();
    let sub = store.sub(1, &["a"]);
    fs::create_dir(store.home().join("x\n\u{1b}[2Jy_0123_1")).unwrap();
    let ended = store.ok(["ls"]);
    assert!(!ended.text().contains('\u{1b}'));
    assert!(ended.lines().len() <= 3, "{}", ended.text());
    store.channels();
    sub.signal(Signal::SIGTERM);
    sub.end();
}

#[test]
fn ls_marks_a_formix_channel_and_leaves_out_what_it_cannot_know() {
    let store = Store::new();
    store.ok(["init"]);
    let pid = std::process::id().to_string();
    let directory = store.home().join(format!("news_0123_{pid}"));
    fs::create_dir(&directory).unwrap();
    mkfifo(&directory.join("queue"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let _receiver = OpenOptions::new().read(true).write(true).open(directory.join("queue")).unwrap();
    let program = fs::read_to_string("/proc/self/comm").unwrap();

    let ended = store.ok(["ls"]);
    let row: Vec<_> = ended.lines()[1].split_whitespace().collect();
    assert_eq!(row, ["news", &pid, program.trim(), "0", "-", "-", "live", "formix"]);
    let channel = &store.channels()[0];
    assert_eq!((&channel["foreign"], &channel["transport"]), (&true.into(), &"files".into()));
    assert_eq!((&channel["capacity_messages"], &channel["rejected"]), (&Value::Null, &Value::Null));
}
