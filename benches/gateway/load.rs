//! The load: subscribers that count and measure, a publisher that keeps messages in flight.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::wire::{Reader, Writer, connect};

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Gateway,
    Nats,
}

/// What came of it.
pub struct Outcome {
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Latencies, in buckets that are 1/16 wide: 16 for each power of two of nanoseconds.
struct Histogram(Vec<AtomicU64>);

impl Histogram {
    fn new() -> Histogram {
        Histogram((0..64 * 16).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, nanos: u64) {
        let nanos = nanos.max(16);
        let power = 63 - nanos.leading_zeros() as usize;
        self.0[power * 16 + ((nanos >> (power - 4)) & 15) as usize].fetch_add(1, Relaxed);
    }

    fn quantile(&self, part: f64) -> f64 {
        let total: u64 = self.0.iter().map(|count| count.load(Relaxed)).sum();
        let mut rest = (total as f64 * part) as u64;
        for (index, count) in self.0.iter().enumerate() {
            let count = count.load(Relaxed);
            if rest < count {
                return (16 + index % 16) as f64 * 2f64.powi((index / 16) as i32 - 4) / 1000.0;
            }
            rest -= count;
        }
        0.0
    }
}

struct Shared {
    start: Instant,
    delivered: AtomicU64,
    latencies: Histogram,
    is_measuring: AtomicBool,
    progress: Notify,
    subscribers: u64,
}

const TOPIC: &str = "bench.load";

fn message(shared: &Shared) -> String {
    // A string: numbers in JSON have no zeros in front.
    let head = format!(r#"{{"t":"{:016}","text":""#, shared.start.elapsed().as_nanos());
    format!("{head}{}\"}}", "x".repeat(98 - head.len()))
}

fn subscription(peer: Peer) -> Vec<u8> {
    match peer {
        Peer::Gateway => {
            format!(r#"{{"action":"subscribe","topic":"{TOPIC}","replay_last":0,"request_id":1}}"#).into_bytes()
        }
        Peer::Nats => {
            format!("CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {TOPIC} 1\r\nPING\r\n").into_bytes()
        }
    }
}

/// Subscribers that have been told that they are.
pub async fn connect_all(peer: Peer, address: SocketAddr, count: usize) -> Vec<(Reader, Writer)> {
    let mut connections = Vec::new();
    for number in 0..count {
        let (mut reader, mut writer) = connect(address, peer, number).await;
        writer.frame(&subscription(peer)).await;
        let answer: &[u8] = if peer == Peer::Nats { b"PONG" } else { b"\"ack\"" };
        reader.wait_for(answer).await;
        connections.push((reader, writer));
    }
    connections
}

/// Measures for so long, after a second of warming up.
pub async fn run(peer: Peer, address: SocketAddr, subscribers: usize, in_flight: u64, time: Duration) -> Outcome {
    let shared = Arc::new(Shared {
        start: Instant::now(),
        delivered: AtomicU64::new(0),
        latencies: Histogram::new(),
        is_measuring: AtomicBool::new(false),
        progress: Notify::new(),
        subscribers: subscribers as u64,
    });
    let mut tasks = Vec::new();
    for (reader, writer) in connect_all(peer, address, subscribers).await {
        tasks.push(tokio::spawn(receive(reader, writer, peer, Arc::clone(&shared))));
    }
    tasks.push(tokio::spawn(publish(peer, address, in_flight, Arc::clone(&shared))));
    tokio::time::sleep(Duration::from_millis(700)).await;
    shared.is_measuring.store(true, Relaxed);
    let (begin, before) = (Instant::now(), shared.delivered.load(Relaxed));
    tokio::time::sleep(time).await;
    let (seconds, after) = (begin.elapsed().as_secs_f64(), shared.delivered.load(Relaxed));
    for task in tasks {
        task.abort();
        let _ = task.await;
    }
    assert!(after > before, "nothing arrives");
    Outcome {
        per_second: (after - before) as f64 / seconds,
        p50_us: shared.latencies.quantile(0.5),
        p99_us: shared.latencies.quantile(0.99),
    }
}

async fn publish(peer: Peer, address: SocketAddr, in_flight: u64, shared: Arc<Shared>) {
    let (mut reader, mut writer) = connect(address, peer, 0).await;
    if peer == Peer::Nats {
        writer.frame(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").await;
    }
    // What it is sent (pings) is read and dropped.
    let drain = tokio::spawn(async move { while reader.more().await {} });
    let mut published = 0;
    let mut frames = Vec::new();
    loop {
        let news = shared.progress.notified();
        let done = shared.delivered.load(Relaxed) / shared.subscribers;
        if published - done >= in_flight {
            news.await;
            continue;
        }
        // What is due goes with one write.
        frames.clear();
        while published - done < in_flight {
            let text = message(&shared);
            let frame = match peer {
                Peer::Gateway => format!(r#"{{"action":"publish","topic":"{TOPIC}","message":{text}}}"#),
                Peer::Nats => format!("PUB {TOPIC} {}\r\n{text}\r\n", text.len()),
            };
            Writer::append(&mut frames, frame.as_bytes());
            published += 1;
        }
        if writer.stream.write_all(&frames).await.is_err() {
            break;
        }
    }
    drain.abort();
}

async fn receive(mut reader: Reader, _writer: Writer, peer: Peer, shared: Arc<Shared>) {
    const MARK: &[u8] = b"{\"t\":\"";
    while reader.more().await {
        let now = shared.start.elapsed().as_nanos() as u64;
        let mut count = 0;
        let mut used = 0;
        let bytes = reader.payload();
        // Every message has the mark, and the fixed number of bytes behind it.
        while let Some(at) = find(&bytes[used..], MARK) {
            let from = used + at + MARK.len();
            if bytes.len() < from + 100 - MARK.len() {
                break;
            }
            let sent = bytes[from..from + 16].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
            if shared.is_measuring.load(Relaxed) {
                shared.latencies.add(now.saturating_sub(sent));
            }
            used = from + 100 - MARK.len();
            count += 1;
        }
        // What is left may be the beginning of a message that goes on in the next read.
        let keep = if count > 0 { used } else { 0 };
        reader.consume(keep);
        if count > 0 {
            let before = shared.delivered.fetch_add(count, Relaxed);
            if before / shared.subscribers != (before + count) / shared.subscribers {
                shared.progress.notify_one();
            }
        }
        let _ = peer;
    }
}

pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = wanted[0];
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}
