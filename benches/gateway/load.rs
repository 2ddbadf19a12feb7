//! The load: subscribers that count and measure, a publisher that keeps messages in flight. One thread does it all, with one
//! system call for what a connection has to read: what the load costs, the server cannot have.

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::wire::{Connection, Space, append};

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
struct Histogram(Vec<u64>);

impl Histogram {
    fn new() -> Histogram {
        Histogram(vec![0; 64 * 16])
    }

    fn add(&mut self, nanos: u64) {
        let nanos = nanos.max(16);
        let power = 63 - nanos.leading_zeros() as usize;
        self.0[power * 16 + ((nanos >> (power - 4)) & 15) as usize] += 1;
    }

    fn quantile(&self, part: f64) -> f64 {
        let total: u64 = self.0.iter().sum();
        let mut rest = (total as f64 * part) as u64;
        for (index, &count) in self.0.iter().enumerate() {
            if rest < count {
                return (16 + index % 16) as f64 * 2f64.powi((index / 16) as i32 - 4) / 1000.0;
            }
            rest -= count;
        }
        0.0
    }
}

const TOPIC: &str = "bench.load";
/// What a message begins with; the time follows, in digits.
const MARK: &[u8] = b"{\"t\":\"";
const DIGITS: usize = 16;
/// The length of a message.
const MESSAGE: usize = 100;
/// Nothing that is waited for takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

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
pub fn connect_all(peer: Peer, address: SocketAddr, count: usize) -> Vec<Connection> {
    let connect = |number| {
        let mut connection = Connection::open(address, peer, number);
        connection.send(&subscription(peer));
        connection.wait_for(if peer == Peer::Nats { b"PONG" } else { b"\"ack\"" });
        connection
    };
    (0..count).map(connect).collect()
}

/// Subscribers and a publisher, which is the last of the connections.
pub struct Load {
    peer: Peer,
    connections: Vec<Connection>,
    epoll: Epoll,
    start: Instant,
    in_flight: u64,
    published: u64,
    delivered: u64,
    /// What the publisher's socket has not taken yet.
    unsent: Vec<u8>,
}

impl Load {
    pub fn new(peer: Peer, address: SocketAddr, subscribers: usize, in_flight: u64) -> Load {
        let mut connections = connect_all(peer, address, subscribers);
        let mut publisher = Connection::open(address, peer, 0);
        if peer == Peer::Nats {
            publisher.send(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n");
        }
        connections.push(publisher);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        for (index, connection) in connections.iter().enumerate() {
            connection.poll();
            let mut flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            flags.set(EpollFlags::EPOLLOUT, index == subscribers);
            epoll.add(&connection.stream, EpollEvent::new(flags, index as u64)).unwrap();
        }
        let (published, delivered, unsent) = (0, 0, Vec::new());
        Load { peer, connections, epoll, start: Instant::now(), in_flight, published, delivered, unsent }
    }

    fn subscribers(&self) -> u64 {
        self.connections.len() as u64 - 1
    }

    /// How many messages have reached everybody.
    fn done(&self) -> u64 {
        self.delivered / self.subscribers()
    }

    /// Sends what is due, with one write.
    fn publish(&mut self) {
        while self.published - self.done() < self.in_flight {
            // A string: numbers in JSON have no zeros in front.
            let head = format!(r#"{{"t":"{:0DIGITS$}","text":""#, self.start.elapsed().as_nanos());
            let text = format!("{head}{}\"}}", "x".repeat(MESSAGE - 2 - head.len()));
            let frame = match self.peer {
                Peer::Gateway => format!(r#"{{"action":"publish","topic":"{TOPIC}","message":{text}}}"#),
                Peer::Nats => format!("PUB {TOPIC} {}\r\n{text}\r\n", text.len()),
            };
            append(&mut self.unsent, frame.as_bytes());
            self.published += 1;
        }
        while !self.unsent.is_empty() {
            let publisher = &mut self.connections.last_mut().expect("the publisher").stream;
            match publisher.write(&self.unsent) {
                Ok(written) => drop(self.unsent.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("publishing: {error}"),
            }
        }
    }

    /// Measures for so long, a quarter of that behind the beginning, and waits for what is still in flight.
    pub fn run(&mut self, time: Duration) -> Outcome {
        let (finder, mut space, mut histogram) = (Finder::new(MARK), Space::new(), Histogram::new());
        let mut events = [EpollEvent::empty(); 256];
        let begin = Instant::now() + time / 4;
        let mut measured = None;
        let mut last = None;
        loop {
            let now = Instant::now();
            if measured.is_none() && now >= begin {
                measured = Some((now, self.delivered));
            }
            if last.is_none() && now >= begin + time {
                last = Some((now, self.delivered));
            }
            if last.is_none() {
                self.publish();
            } else if self.published == self.done() {
                break;
            }
            let count = self.epoll.wait(&mut events, EpollTimeout::try_from(PATIENCE).unwrap()).unwrap();
            assert!(count > 0, "nothing arrives");
            for event in &events[..count] {
                let index = event.data() as usize;
                let is_publisher = index + 1 == self.connections.len();
                let connection = &mut self.connections[index];
                let bytes = connection.receive(&mut space);
                if is_publisher {
                    // Pings, and that there is room.
                    connection.consume(usize::MAX);
                    continue;
                }
                let now = self.start.elapsed().as_nanos() as u64;
                let mut used = 0;
                // Every message has the mark, and the fixed number of bytes behind it.
                while let Some(at) = finder.find(&bytes[used..]).map(|at| used + at) {
                    if bytes.len() < at + MESSAGE {
                        break;
                    }
                    let digits = &bytes[at + MARK.len()..][..DIGITS];
                    let sent = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
                    if measured.is_some() && last.is_none() {
                        histogram.add(now.saturating_sub(sent));
                    }
                    used = at + MESSAGE;
                    self.delivered += 1;
                }
                // What is left may be the beginning of a message that goes on in the next read.
                connection.consume(used);
            }
        }
        let ((from, before), (to, after)) = (measured.expect("the beginning"), last.expect("the end"));
        Outcome {
            per_second: (after - before) as f64 / (to - from).as_secs_f64(),
            p50_us: histogram.quantile(0.5),
            p99_us: histogram.quantile(0.99),
        }
    }
}
