//! What is measured.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pubsub::{Channel, Payload, Publisher, publish};
use serde_json::json;

use crate::Result;
use crate::bare::Bare;
use crate::formix::{self, Formix};
use crate::peers::{self, Peer, channel_options, publisher_options};
use crate::report::{Report, names};
use crate::rounds::{Contest, Series};

/// The content of every message.
const DATA: [u8; 64] = [0xa5; 64];
/// What stands before the content in a file of the bare system calls: as many bytes as a message on [`TOPIC`] has.
const PREFIX: [u8; 25 + TOPIC.len() + 4 + 2 + 4] = [0x5a; 25 + TOPIC.len() + 4 + 2 + 4];
const TOPIC: &str = "bench.one";
const FAN: usize = 10;
/// Messages of one measurement of ours: so few that most measurements pass without another process in between, also on
/// a busy machine.
const CHUNK: usize = 50;
/// The same of formix-pubsub, which is slower, and how seldom it is measured: in every so many rounds.
const THEIR_CHUNK: usize = 10;
const THEIR_EVERY: usize = 2;

/// How much is measured.
struct Size {
    rounds: usize,
    round_trips: usize,
    large_crowd: bool,
}

/// One of our stores, with a channel and publishers of this process in it.
struct Ours {
    /// What else is in the store.
    others: &'static str,
    home: PathBuf,
    channel: Channel,
    publisher: Publisher,
    /// Publishes where nobody listens.
    unheard: Publisher,
}

impl Ours {
    fn new(others: &'static str, home: PathBuf) -> Result<RefCell<Ours>> {
        let channel = Channel::open(TOPIC, &channel_options(&home))?;
        let publisher = Publisher::open(TOPIC, &publisher_options(&home))?;
        let unheard = Publisher::open("bench.nobody.listens", &publisher_options(&home))?;
        Ok(RefCell::new(Ours { others, home, channel, publisher, unheard }))
    }

    /// Nanoseconds a message when `publish` publishes `messages` of them; empties the channel outside the clock.
    fn publishing(&mut self, messages: usize, publish: impl FnOnce(&Publisher) -> Result<()>) -> Result<f64> {
        let begin = Instant::now();
        publish(&self.publisher)?;
        let elapsed = begin.elapsed();
        for _ in 0..messages {
            self.channel.fetch()?.ok_or("a message is missing")?;
        }
        Ok(per(elapsed, messages))
    }

    /// Nanoseconds a message when `receive` receives all of [`CHUNK`] that were published before.
    fn receiving(&mut self, receive: impl FnOnce(&mut Channel) -> Result<usize>) -> Result<f64> {
        for _ in 0..CHUNK {
            taken_by(1, self.publisher.publish(&DATA, None))?;
        }
        let begin = Instant::now();
        let received = receive(&mut self.channel)?;
        let elapsed = begin.elapsed();
        if received == CHUNK { Ok(per(elapsed, CHUNK)) } else { Err(format!("received {received} of {CHUNK}").into()) }
    }
}

/// A formix-pubsub process and its store.
struct Theirs {
    others: &'static str,
    process: RefCell<Formix>,
    /// Messages of one measurement, and how seldom it is taken: the slower, the fewer.
    count: usize,
    every: usize,
}

fn per(elapsed: Duration, count: usize) -> f64 {
    elapsed.as_nanos() as f64 / count as f64
}

/// An error unless as many channels took a message as should.
fn taken_by(expected: usize, answer: pubsub::Result<usize>) -> Result<()> {
    match answer? {
        taken if taken == expected => Ok(()),
        taken => Err(format!("{taken} channels took a message instead of {expected}").into()),
    }
}

/// Measures everything in stores below `dir`.
pub fn run(dir: &Path, quick: bool) -> Result<Report> {
    let size = if quick {
        Size { rounds: 50, round_trips: 1_000, large_crowd: false }
    } else {
        Size { rounds: 400, round_trips: 5_000, large_crowd: true }
    };
    let python = formix::python();
    if let Err(error) = &python {
        eprintln!("without formix-pubsub: {error}; set PUBSUB_FORMIX_PYTHON to a Python that has it");
    }
    let python = python.ok();

    let thousand = dir.join("thousand");
    let mut crowds: Vec<Peer> = peers::crowd(&thousand, 1_000)?;
    let mut ours = vec![Ours::new(names::ALONE, dir.join("alone"))?, Ours::new(names::THOUSAND, thousand)?];
    if size.large_crowd {
        let home = dir.join("tenthousand");
        crowds.extend(peers::crowd(&home, 10_000)?);
        ours.push(Ours::new("among 10,000 others", home)?);
    }
    let mut theirs = Vec::new();
    if let Some(python) = &python {
        let crowded = dir.join("formix-thousand");
        crowds.extend(peers::crowd(&crowded, 1_000)?);
        for (others, home, count, every) in [
            (names::ALONE, dir.join("formix"), THEIR_CHUNK, THEIR_EVERY),
            (names::THOUSAND, crowded, 1, 5 * THEIR_EVERY),
        ] {
            theirs.push(Theirs { others, process: RefCell::new(Formix::start(python, &home)?), count, every });
        }
    }

    let mut report = Report::new(python.is_some());
    report.add(names::PUBLISH, publish_to_one(&size, dir, &ours, &theirs)?);
    report.add(names::UNHEARD, publish_unheard(&size, &ours)?);
    report.add(names::FAN_OUT, publish_to_many(&size, dir, &ours[0], &theirs)?);
    report.add(names::RECEIVE, receive(&size, &ours[0], &theirs)?);
    report.add(names::OPEN, open_and_close(&size, &ours, &theirs)?);
    drop((ours, theirs, crowds));
    report.add(names::LATENCY, latency(&size, dir, python.as_deref())?);
    Ok(report)
}

fn publish_to_one(size: &Size, dir: &Path, ours: &[RefCell<Ours>], theirs: &[Theirs]) -> Result<Vec<Series>> {
    let mut bare = Bare::new(&dir.join("bare"), 1)?;
    let mut contest = Contest::default();
    contest.add(names::BARE, move || bare.publish(CHUNK, &PREFIX, &DATA));
    for store in ours {
        let name = format!("{}, {}", names::PUBLISHER, store.borrow().others);
        contest.add(name, || {
            store
                .borrow_mut()
                .publishing(CHUNK, |publisher| (0..CHUNK).try_for_each(|_| taken_by(1, publisher.publish(&DATA, None))))
        });
    }
    contest.add("libpubsub, publish(), alone", || {
        // The default store is the first: see `main`.
        ours[0]
            .borrow_mut()
            .publishing(CHUNK, |_| (0..CHUNK).try_for_each(|_| taken_by(1, publish(TOPIC, &DATA, None))))
    });
    let batch = [Payload { data: &DATA, headers: None }; CHUNK];
    contest.add(format!("libpubsub, a batch of {CHUNK}, alone"), || {
        ours[0].borrow_mut().publishing(CHUNK, |publisher| taken_by(CHUNK, publisher.publish_batch(&batch)))
    });
    for Theirs { others, process, count, every } in theirs {
        contest.add_rare(*every, format!("{}, {others}", names::FORMIX), || {
            process.borrow_mut().time("publish", *count, TOPIC, &[("channels", 1)])
        });
    }
    contest.run(size.rounds)
}

fn publish_unheard(size: &Size, ours: &[RefCell<Ours>]) -> Result<Vec<Series>> {
    let mut contest = Contest::default();
    for store in ours {
        contest.add(format!("{}, {}", names::PUBLISHER, store.borrow().others), || {
            let store = store.borrow();
            let begin = Instant::now();
            for _ in 0..CHUNK {
                taken_by(0, store.unheard.publish(&DATA, None))?;
            }
            Ok(per(begin.elapsed(), CHUNK))
        });
        contest.add(format!("libpubsub, a Publisher opened for each, {}", store.borrow().others), {
            let home = store.borrow().home.clone();
            let mut topic = 0;
            move || {
                let topics: Vec<String> = (0..CHUNK).map(|i| format!("bench.nobody.{}", topic + i)).collect();
                topic += CHUNK;
                let options = publisher_options(&home);
                let begin = Instant::now();
                for topic in &topics {
                    taken_by(0, Publisher::open(topic, &options)?.publish(&DATA, None))?;
                }
                Ok(per(begin.elapsed(), CHUNK))
            }
        });
    }
    contest.run(size.rounds)
}

fn publish_to_many(size: &Size, dir: &Path, ours: &RefCell<Ours>, theirs: &[Theirs]) -> Result<Vec<Series>> {
    let (mut bare, store) = (Bare::new(&dir.join("bare-fan"), FAN)?, ours.borrow());
    let mut channels = (0..FAN)
        .map(|_| Channel::open("fan.=", &channel_options(&store.home)))
        .collect::<pubsub::Result<Vec<Channel>>>()?;
    let publisher = Publisher::open("fan.out", &publisher_options(&store.home))?;
    let mut contest = Contest::default();
    contest.add(names::BARE, move || bare.publish(CHUNK / FAN, &PREFIX, &DATA));
    contest.add(names::PUBLISHER, || {
        let begin = Instant::now();
        for _ in 0..CHUNK / FAN {
            taken_by(FAN, publisher.publish(&DATA, None))?;
        }
        let elapsed = begin.elapsed();
        for channel in &mut channels {
            while channel.fetch()?.is_some() {}
        }
        Ok(per(elapsed, CHUNK / FAN))
    });
    if let Some(alone) = theirs.first() {
        contest.add_rare(THEIR_EVERY, names::FORMIX, || {
            alone.process.borrow_mut().time("publish", 5, "fan.out", &[("channels", FAN)])
        });
    }
    contest.run(size.rounds)
}

fn receive(size: &Size, ours: &RefCell<Ours>, theirs: &[Theirs]) -> Result<Vec<Series>> {
    let mut contest = Contest::default();
    contest.add(names::FETCH, || {
        ours.borrow_mut().receiving(|channel| {
            let mut received = 0;
            while channel.fetch()?.is_some() {
                received += 1;
            }
            Ok(received)
        })
    });
    contest.add("libpubsub, fetch_batch", || {
        ours.borrow_mut().receiving(|channel| {
            let mut messages = Vec::with_capacity(CHUNK);
            Ok(channel.fetch_batch(&mut messages, CHUNK, None)?)
        })
    });
    let mut buffer = vec![0; CHUNK * 32];
    contest.add("libpubsub, fetch_packed", move || {
        ours.borrow_mut().receiving(|channel| match channel.fetch_packed(&mut buffer, None) {
            Ok((records, _)) => Ok(records),
            Err(error) => Err(format!("{error:?}").into()),
        })
    });
    if let Some(alone) = theirs.first() {
        contest.add_rare(THEIR_EVERY, "formix-pubsub, fetch", || {
            alone.process.borrow_mut().time("fetch", THEIR_CHUNK, TOPIC, &[])
        });
        // 10 ms a message.
        contest.add_rare(20 * THEIR_EVERY, names::SUBSCRIBE, || {
            alone.process.borrow_mut().time("subscribe", 30, TOPIC, &[])
        });
    }
    contest.run(size.rounds)
}

fn open_and_close(size: &Size, ours: &[RefCell<Ours>], theirs: &[Theirs]) -> Result<Vec<Series>> {
    const COUNT: usize = 5;
    let mut contest = Contest::default();
    for store in ours {
        let (home, others) = (store.borrow().home.clone(), store.borrow().others);
        contest.add(format!("libpubsub, {others}"), move || {
            let options = channel_options(&home);
            let begin = Instant::now();
            for _ in 0..COUNT {
                Channel::open("bench.open.=", &options)?.close()?;
            }
            Ok(per(begin.elapsed(), COUNT))
        });
    }
    for Theirs { others, process, .. } in theirs {
        contest.add_rare(THEIR_EVERY, format!("{}, {others}", names::FORMIX), || {
            process.borrow_mut().time("open_close", COUNT, "bench.open.=", &[])
        });
    }
    // Each of these takes long, and an opening cleans up as well.
    contest.run(size.rounds / 2)
}

/// Messages there and back between two processes, each of which waits for the other's.
fn latency(size: &Size, dir: &Path, python: Option<&Path>) -> Result<Vec<Series>> {
    /// Turns between libpubsub and formix-pubsub.
    const TURNS: usize = 5;
    /// Round trips of formix-pubsub a turn: each takes at least one of its pauses of 10 ms.
    const THEIR_TRIPS: usize = 40;
    let (topic, home) = ("bench.trip", dir.join("latency"));
    let mut channel = Channel::open("bench.trip.pong", &channel_options(&home))?;
    let publisher = Publisher::open("bench.trip.ping", &publisher_options(&home))?;
    let echo = Peer::echo(&home, topic)?;
    let mut formix = match python {
        Some(python) => {
            let home = dir.join("formix-latency");
            Some((Formix::start(python, &home)?, Formix::start(python, &home)?))
        }
        None => None,
    };
    let (mut our_trips, mut their_trips) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        for _ in 0..size.round_trips / TURNS {
            let begin = Instant::now();
            taken_by(1, publisher.publish(&DATA, None))?;
            channel.fetch_wait(Some(Duration::from_secs(10)))?.ok_or("no echo")?;
            our_trips.push(begin.elapsed().as_nanos() as f64 / 2.0);
        }
        if let Some((ping, echo)) = &mut formix {
            echo.send(json!({ "do": "echo", "count": THEIR_TRIPS, "topic": topic }))?;
            echo.receive()?;
            ping.send(json!({ "do": "ping", "count": THEIR_TRIPS, "topic": topic }))?;
            let trips = ping.receive()?;
            their_trips.extend(trips.as_array().into_iter().flatten().filter_map(|s| Some(s.as_f64()? * 1e9 / 2.0)));
            echo.receive()?;
        }
    }
    publisher.publish(peers::STOP, None)?;
    drop(echo);
    let mut series = vec![Series::new(names::WAIT, our_trips)];
    if formix.is_some() {
        series.push(Series::new(names::SUBSCRIBE, their_trips));
    }
    Ok(series)
}
