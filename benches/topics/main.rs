//! What a message to a managed topic costs its publisher, next to the same message to one that is not.
//!
//! `cargo bench --bench topics` prints a table; see `benches/README.md`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions, TopicOptions, Transport, create_topic};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Messages of a chunk, and chunks.
const CHUNK: usize = 200;
const ROUNDS: usize = 400;
/// What was promised: a managed topic costs at most so many times as much.
const PROMISED: f64 = 2.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if !has("--bench") {
        // `cargo test --all-targets` runs it too: tests do not depend on time.
        println!("run by 'cargo bench --bench topics'");
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(worst) if has("--check") && worst > PROMISED => {
            println!("MISSED: a managed topic costs {worst:.2} times as much, not {PROMISED} at most");
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("topics benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<f64> {
    println!("{:<34} {:>12} {:>12} {:>7}", "ns a message", "not managed", "managed", "ratio");
    let mut worst: f64 = 0.0;
    for (name, transport) in [("ring", Transport::Ring), ("files", Transport::Files)] {
        for size in [64, 1024] {
            for batch in [false, true] {
                let what = format!("{name}, {size} bytes{}", if batch { ", a batch of 200" } else { "" });
                match compare(transport, size, batch) {
                    Ok((plain, managed)) => {
                        let ratio = managed / plain;
                        worst = worst.max(ratio);
                        println!("{what:<34} {plain:>12.0} {managed:>12.0} {ratio:>7.2}");
                    }
                    Err(error) => println!("{what:<34} {error}"),
                }
            }
        }
    }
    Ok(worst)
}

/// By turns, in one run: the median of what a message costs to either topic.
fn compare(transport: Transport, size: usize, batch: bool) -> Result<(f64, f64)> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let home = dir.path();
    create_topic("managed", &TopicOptions { home: Some(home.into()), ..Default::default() })?;
    let mut sides = [side(home, "plain", transport)?, side(home, "managed", transport)?];
    let mut costs = [Vec::new(), Vec::new()];
    let data = vec![7; size * CHUNK];
    for round in 0..ROUNDS {
        for at in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (channel, publisher) = &mut sides[at];
            let begin = Instant::now();
            if batch {
                publisher.publish_packed(&data, &[size as u32; CHUNK], None)?;
            } else {
                for _ in 0..CHUNK {
                    publisher.publish(&data[..size], None)?;
                }
            }
            costs[at].push(begin.elapsed().as_nanos() as f64 / CHUNK as f64);
            while channel.fetch()?.is_some() {}
        }
    }
    let [plain, managed] = costs.map(|mut costs| {
        costs.sort_by(f64::total_cmp);
        costs[costs.len() / 2]
    });
    Ok((plain, managed))
}

fn side(home: &Path, topic: &str, transport: Transport) -> Result<(Channel, Publisher)> {
    let options = ChannelOptions { transport, home: Some(home.into()), ..Default::default() };
    let channel = Channel::open(topic, &options)?;
    let publisher = Publisher::open(topic, &PublisherOptions { home: Some(home.into()), ..Default::default() })?;
    Ok((channel, publisher))
}
