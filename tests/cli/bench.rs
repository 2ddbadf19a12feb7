//! `pubsub bench`.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Running, Store, has_ended};

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

/// The process id of a benchmark's other process, if that has its channel for a throughput now.
fn other_process(store: &Store) -> Option<Pid> {
    let is_others = |channel: &Value| {
        let pattern = channel["pattern"].as_str().unwrap();
        channel["alive"] == true && [".single.", ".batch.", ".packed."].iter().any(|manner| pattern.contains(manner))
    };
    let channel = store.channels().into_iter().find(is_others)?;
    Some(Pid::from_raw(channel["pid"].as_i64().unwrap() as i32))
}

#[test]
fn a_signal_ends_both_processes_and_leaves_no_channel() {
    let store = Store::new();
    let bench = Running::start(&mut store.command(["bench", "--seconds", "200"]));
    let other = std::iter::repeat_with(|| other_process(&store)).find_map(|pid| pid).unwrap();
    bench.signal(Signal::SIGINT);
    assert_eq!(bench.end().signal(), Some(Signal::SIGINT));
    assert!(fs::metadata(format!("/proc/{other}")).is_err(), "the other process has ended");
    assert_eq!(store.directories(), [""; 0]);
}

#[test]
fn the_other_process_ends_with_the_first_and_the_first_notices_its_end() {
    let store = Store::new();
    let bench = Running::start(&mut store.command(["bench", "--seconds", "200"]));
    let other = std::iter::repeat_with(|| other_process(&store)).find_map(|pid| pid).unwrap();
    bench.signal(Signal::SIGKILL);
    bench.end();
    // It closes its channel and ends.
    has_ended(other);
    assert_eq!(store.directories(), [""; 0]);

    let bench = Running::start(&mut store.command(["bench", "--seconds", "0.5"]));
    let other = loop {
        // Stopped, it does not go on to its next measurement, with a process of its own, while this one is looked for.
        bench.stop();
        if let Some(other) = other_process(&store) {
            break other;
        }
        bench.signal(Signal::SIGCONT);
    };
    kill(other, Signal::SIGKILL).unwrap();
    bench.signal(Signal::SIGCONT);
    let ended = bench.end();
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.words.contains("the other process ended"), "{ended:?}");
}
