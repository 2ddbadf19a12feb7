//! What the processes of a run do: this program, started again with `CRASH_WORKER` in the environment.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::actor::{PATTERNS, Receiver, Sender, Terms};
use crate::payload;

pub struct Role(HashMap<String, String>);

impl Role {
    pub fn number(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, |value| value.parse().unwrap())
    }

    pub fn run(&self) -> &Path {
        Path::new(&self.0["run"])
    }

    pub fn there(&self, file: &str) -> bool {
        self.run().join(file).exists()
    }

    fn await_file(&self, file: &str) {
        while !self.there(file) {
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            pattern: self.number("pattern") as usize,
            drop_oldest: self.number("drop") != 0,
            capacity: self.number("capacity"),
            bytes: self.number("bytes"),
            ring: self.number("ring") != 0,
        }
    }
}

#[test]
fn worker() {
    let Ok(text) = std::env::var("CRASH_WORKER") else { return };
    let pairs = text.split(' ').filter_map(|pair| pair.split_once('='));
    let role = Role(pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect());
    match role.0["role"].as_str() {
        "publish" => publish(&role),
        "receive" => receive(&role),
        "churn" => churn(&role),
        "clean" => clean(&role),
        "append" => crate::topics::append(&role),
        "manage" => crate::topics::manage(&role),
        "fill" => fill(&role),
        other => panic!("no role {other}"),
    }
}

/// Publishes `count` messages, or until the run stops, from `threads` threads.
fn publish(role: &Role) {
    let number = role.number("number");
    let sender = Sender::new(role.run(), number, Duration::from_millis(role.number("full_ms")));
    std::thread::scope(|scope| {
        for thread in 1..role.number("threads").max(1) {
            let number = number + (thread << 32);
            let sender = sender.beside(role.run(), number);
            scope.spawn(move || publish_with(role, number, sender));
        }
        publish_with(role, number, sender);
    });
}

fn publish_with(role: &Role, number: u64, mut sender: Sender) {
    let mut random = StdRng::seed_from_u64(number);
    let topics: Vec<usize> = role.0["topics"].split(',').map(|topic| topic.parse().unwrap()).collect();
    let (count, pace) = (role.number("count"), role.number("pace_us"));
    for i in 0.. {
        // A look at a file now and then, not with each message.
        if if count > 0 { i == count } else { i % 16 == 0 && role.there("stop") } {
            break;
        }
        let len = if role.number("size") != 0 {
            role.number("size") as usize
        } else if role.number("small") != 0 {
            (i % 64) as usize
        } else {
            payload::size(random.random())
        };
        let topic = topics[random.random_range(0..topics.len())];
        let taken = if count == 0 && i % 16 == 15 {
            let lens: Vec<usize> =
                (0..random.random_range(2..100)).map(|_| payload::size(random.random()) % 6000).collect();
            sender.send_batch(topic, &lens)
        } else {
            sender.send(topic, len)
        };
        if pace > 0 {
            std::thread::sleep(Duration::from_micros(pace));
        } else if !taken {
            std::thread::yield_now();
        }
    }
}

/// Receives until the run ends.
fn receive(role: &Role) {
    let number = role.number("number");
    let mut receiver = loop {
        match Receiver::try_open(role.run(), number, number << 32, role.terms()) {
            Some(receiver) => break receiver,
            None if role.there("end") => return,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    if role.number("hold") != 0 {
        role.await_file("go");
    }
    let poll = (role.number("poll") != 0).then(|| receiver.channel.fd().unwrap());
    while !role.there("end") {
        match poll {
            None => {
                receiver.take(Some(Duration::from_millis(50)));
            }
            Some(fd) => {
                let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
                // SAFETY: one valid pollfd.
                unsafe { libc::poll(&mut entry, 1, 50) };
                if entry.revents == 0 {
                    continue;
                }
            }
        }
        // Not for ever, whatever publishers do: the end must be seen.
        for i in 0..2_000 {
            let taken = if i % 2 == 1 { receiver.take_packed() } else { receiver.take(None) };
            if !taken {
                break;
            }
        }
    }
    if role.number("leave") == 0 {
        assert!(receiver.drain(1_000_000), "publishers have ended, and messages do not");
    }
    receiver.close();
}

/// Opens, receives a while and closes, `count` times or until the run stops.
fn churn(role: &Role) {
    let number = role.number("number");
    let mut random = StdRng::seed_from_u64(number);
    let count = role.number("count");
    for i in 0.. {
        if if count > 0 { i == count } else { role.there("stop") } {
            break;
        }
        let terms = Terms {
            pattern: random.random_range(0..PATTERNS.len()),
            drop_oldest: random.random(),
            capacity: [1, 2, 64, 0][random.random_range(0..4)],
            bytes: [0, 1 << 12, 1 << 16][random.random_range(0..3)],
            ring: role.number("ring") != 0,
        };
        let Some(mut receiver) = Receiver::try_open(role.run(), number, number << 32 | i, terms) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let end = Instant::now() + Duration::from_millis(random.random_range(0..20));
        while Instant::now() < end {
            receiver.take(Some(Duration::from_millis(1)));
        }
        if random.random() {
            receiver.drain(200);
        }
        receiver.close();
    }
}

/// Keeps the store's file system full but for a few pages, now these and now those, until the run stops.
fn fill(role: &Role) {
    use std::io::Write;
    let path = role.run().join("store/filler");
    let mut random = StdRng::seed_from_u64(role.number("number"));
    let mut file = std::fs::File::options().create(true).append(true).open(&path).unwrap();
    while !role.there("stop") {
        while file.write_all(&[1; 4096]).is_ok() {}
        std::thread::sleep(Duration::from_micros(random.random_range(0..4_000)));
        let len = file.metadata().unwrap().len();
        file.set_len(len.saturating_sub(4096 * random.random_range(0..40))).unwrap();
        std::thread::sleep(Duration::from_micros(random.random_range(0..1_000)));
    }
    std::fs::remove_file(path).unwrap();
}

/// Cleans until the run stops, or once.
fn clean(role: &Role) {
    loop {
        pubsub::cleanup(Some(&role.run().join("store"))).unwrap();
        if role.number("once") != 0 || role.there("stop") {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
