//! `pubsub bench`.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Running, Store};

#[test]
fn it_measures_throughput_and_latency_and_leaves_nothing_behind() {
    let store = Store::new();
    let ended = store.ok(["bench", "--seconds", "0.01", "--json"]);
    let result: Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!(ended.words, "");
    assert_eq!(result["store"], store.home().to_str().unwrap());
    assert!(["ring", "files"].contains(&result["transport"].as_str().unwrap()));
    let throughput = result["throughput"].as_array().unwrap();
    assert_eq!(throughput.len(), 9);
    for line in throughput {
        assert!(line["messages_per_second"].as_f64() > Some(0.0), "{line}");
        assert!(["single", "batch", "packed"].contains(&line["manner"].as_str().unwrap()));
    }
    for (line, waiting) in result["latency"].as_array().unwrap().iter().zip(["blocking", "busy"]) {
        assert_eq!(line["waiting"], waiting);
        let figures = ["best_us", "median_us", "p99_us"].map(|name| line[name].as_f64().unwrap());
        assert!(figures[0] > 0.0 && figures.is_sorted() && line["rounds"].as_u64() > Some(0), "{line}");
    }
    assert_eq!(store.directories(), [""; 0]);
    assert_eq!(store.run(["bench", "--seconds", "long"]).code(), Some(2));
    assert_eq!(store.run(["bench", "--peer", "x"]).code(), Some(2));
}

#[test]
fn its_text_has_a_line_for_each_measurement_and_says_who_else_listens() {
    let store = Store::new();
    let sub = store.sub(1, &["+", "--count", "1"]);
    let other = store.sub(1, &["a"]);
    let ended = store.ok(["bench", "--seconds", "0.01"]);
    assert!(ended.words.contains("also reaches 1 other channel;"), "{ended:?}");
    assert_eq!(sub.end().lines().len(), 1);
    let lines = ended.lines();
    for part in ["transport;", "64 B", "1 KiB", "64 KiB", "blocking", "busy"] {
        assert!(lines.iter().any(|line| line.contains(part)), "{part}: {}", ended.text());
    }
    other.signal(Signal::SIGTERM);
    other.end();
}

/// The process ids of a benchmark's other process, once it has its channel.
fn other_process(store: &Store) -> Pid {
    loop {
        let live = store.channels().into_iter().find(|channel| channel["pattern"] != "+" && channel["alive"] == true);
        let pid = live.filter(|channel| channel["pattern"].as_str().unwrap().contains(".single."));
        if let Some(channel) = pid {
            return Pid::from_raw(channel["pid"].as_i64().unwrap() as i32);
        }
    }
}

#[test]
fn a_signal_ends_both_processes_and_leaves_no_channel() {
    let store = Store::new();
    let bench = Running::start(&mut store.command(["bench", "--seconds", "50"]));
    let other = other_process(&store);
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.end().signal(), Some(Signal::SIGINT));
    assert!(fs::metadata(format!("/proc/{other}")).is_err(), "the other process has ended");
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn the_other_process_ends_with_the_first_and_the_first_notices_its_end() {
    let store = Store::new();
    let bench = Running::start(&mut store.command(["bench", "--seconds", "50"]));
    let other = other_process(&store);
    bench.signal(Signal::SIGKILL);
    bench.end();
    // It closes its channel and ends.
    while fs::read_to_string(format!("/proc/{other}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {}
    assert_eq!(store.directories(), [""; 0]);

    let bench = Running::start(&mut store.command(["bench", "--seconds", "0.5"]));
    kill(other_process(&store), Signal::SIGKILL).unwrap();
    let ended = bench.end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.words.contains("the other process ended"), "{ended:?}");
}
