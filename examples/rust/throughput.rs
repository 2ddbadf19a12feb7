//! How many messages a second go from one thread to another, by way of the store.
//!
//! ```text
//! throughput [COUNT [SIZE]]      (100000 messages of 64 bytes)
//! ```

#![forbid(unsafe_code)]

use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};
use std::error::Error;
use std::process::{self, exit};
use std::thread;
use std::time::{Duration, Instant};

const BATCH: usize = 256;
const PATIENCE: Duration = Duration::from_secs(30);

fn receive(mut channel: Channel, count: usize) -> pubsub::Result<usize> {
    let mut received = 0;
    let mut messages = Vec::with_capacity(BATCH);
    while received < count {
        match channel.fetch_batch(&mut messages, BATCH, Some(PATIENCE))? {
            0 => break,
            got => received += got,
        }
        messages.clear();
    }
    channel.close()?;
    Ok(received)
}

fn run(count: usize, size: usize) -> Result<(), Box<dyn Error>> {
    let topic = format!("throughput.{}", process::id());
    let channel = Channel::open(&topic, &ChannelOptions::default())?;
    // Wait for the receiver instead of being refused.
    let publisher = Publisher::open(&topic, &PublisherOptions { full_timeout: PATIENCE, ..Default::default() })?;
    let data = vec![0; size];

    let receiver = thread::spawn(move || receive(channel, count));
    let start = Instant::now();
    for _ in 0..count {
        publisher.publish(&data, None)?;
    }
    let published = start.elapsed().as_secs_f64();
    let received = receiver.join().map_err(|_| "the receiver panicked")??;
    let all_received = start.elapsed().as_secs_f64();

    if received != count {
        return Err(format!("{received} of {count} messages, then none for {PATIENCE:?}").into());
    }
    let (sent_rate, received_rate) = (count as f64 / published, count as f64 / all_received);
    println!("{count} messages of {size} bytes: published {sent_rate:.0}/s, all received {received_rate:.0}/s");
    Ok(())
}

fn main() {
    let numbers: Result<Vec<usize>, _> = std::env::args().skip(1).map(|argument| argument.parse()).collect();
    let (count, size) = match numbers.as_deref() {
        Ok([]) => (100_000, 64),
        Ok([count]) => (*count, 64),
        Ok([count, size]) => (*count, *size),
        _ => {
            eprintln!("usage: throughput [COUNT [SIZE]]");
            exit(2);
        }
    };
    if let Err(error) = run(count, size) {
        eprintln!("throughput: {error}");
        exit(1);
    }
}
