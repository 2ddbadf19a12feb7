//! A subscriber of the demo, in Rust: a thread for each channel, each in one blocking `subscribe`.
//!
//! ```text
//! demo_subscriber LEDGER PATTERN...
//! ```
//!
//! Prints "READY" when its channels are open. Its standard input closes when all has been published: then the waits are
//! interrupted, and each thread takes what is still there and ends. The ledger gets a line a message: pattern, topic,
//! seq, checksum, when it was sent and when received (microseconds since the epoch).

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, process, thread};

use pubsub::{Channel, ChannelOptions, ErrorKind, HeaderValue, Message};

/// Messages shown of each channel.
const SAMPLES: usize = 2;

/// What one channel received.
#[derive(Default)]
struct Receipts {
    ledger: String,
    latencies: Vec<i64>,
    first_us: i64,
    last_us: i64,
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// Adler-32 (RFC 1950), so that the ledgers show whether contents arrived unchanged.
fn checksum(data: &[u8]) -> u32 {
    let (a, b) = data.iter().fold((1, 0), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (b + a) % 65521)
    });
    b << 16 | a
}

impl Receipts {
    fn add(&mut self, pattern: &str, message: &Message) {
        let now = now_us();
        let headers = message.headers();
        let int = |name| match headers.get(name) {
            Some(HeaderValue::Int(value)) => *value,
            _ => -1,
        };
        let (seq, sent, sum) = (int("seq"), int("sent_us"), checksum(message.data()));
        if self.latencies.len() < SAMPLES {
            println!("{} {}", message.topic(), String::from_utf8_lossy(message.data()));
        }
        if self.latencies.is_empty() {
            self.first_us = now;
        }
        self.last_us = now;
        self.latencies.push(now - sent);
        self.ledger += &format!("{pattern}\t{}\t{seq}\t{sum}\t{sent}\t{now}\n", message.topic());
    }

    fn summary(&mut self) -> String {
        let count = self.latencies.len();
        if count == 0 {
            return "nothing received".to_string();
        }
        self.latencies.sort_unstable();
        let rate = count as f64 / ((self.last_us - self.first_us).max(1) as f64 / 1e6);
        let (p50, p99) = (self.latencies[count / 2], self.latencies[count * 99 / 100]);
        format!("received {count}, {rate:.0}/s, latency p50 {p50} us, p99 {p99} us")
    }
}

/// Receives until interrupted, takes what is still there, and answers the ledger's lines.
fn receive(mut channel: Channel, pattern: &str) -> pubsub::Result<String> {
    let mut receipts = Receipts::default();
    let waited = channel.subscribe(
        |message| {
            receipts.add(pattern, message);
            ControlFlow::Continue(())
        },
        None,
    );
    match waited {
        Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
        _ => {}
    }
    while let Some(message) = channel.fetch()? {
        receipts.add(pattern, &message);
    }
    channel.close()?;
    println!("{pattern}: {}", receipts.summary());
    Ok(receipts.ledger)
}

fn run(ledger: &str, patterns: &[String]) -> Result<(), Box<dyn Error>> {
    let options = ChannelOptions::default();
    let channels = patterns.iter().map(|pattern| Channel::open(pattern, &options)).collect::<Result<Vec<_>, _>>()?;
    let interrupters: Vec<_> = channels.iter().map(Channel::interrupter).collect();
    println!("READY");

    let lines = thread::scope(|scope| {
        let receivers: Vec<_> = channels
            .into_iter()
            .zip(patterns)
            .map(|(channel, pattern)| scope.spawn(move || receive(channel, pattern)))
            .collect();
        // The parent closes it when everything has been published.
        let read = io::stdin().read_to_end(&mut Vec::new());
        interrupters.iter().for_each(|interrupter| interrupter.interrupt());
        let lines = receivers
            .into_iter()
            .map(|receiver| receiver.join().map_err(|_| "a receiving thread panicked")?.map_err(Box::<dyn Error>::from))
            .collect::<Result<Vec<_>, _>>();
        read?;
        lines
    })?;
    fs::write(ledger, lines.concat())?;
    Ok(())
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [ledger, patterns @ ..] = arguments.as_slice() else {
        eprintln!("usage: demo_subscriber LEDGER PATTERN...");
        process::exit(2);
    };
    if let Err(error) = run(ledger, patterns) {
        eprintln!("demo_subscriber: {error}");
        process::exit(1);
    }
}
