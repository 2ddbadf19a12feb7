//! One process is killed or stopped at one named point, exactly there; everybody else goes on, and nothing is left.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use crate::actor::{Receiver, Sender, Terms};
use crate::process::{Process, run_directory, until};
use crate::topics;
use crate::verdict;

/// The situation in which a point is passed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scene {
    /// A publisher, with channels of both policies.
    Publish,
    /// A publisher whose channel's FIFO is full.
    Overflow,
    /// A publisher whose receiver dies.
    Refused,
    /// A receiver.
    Receive,
    /// A receiver of messages whose ids were dropped meanwhile.
    List,
    /// A receiver of a channel in which a publisher was killed.
    Heal,
    /// A receiver that closes a channel with messages in it.
    Close,
    /// The first process that uses the store, and opens a channel.
    Open,
    /// A cleaner, after an opener and a receiver were killed.
    Clean,
    /// A publisher, with rings of both policies.
    RingPublish,
    /// A publisher of a message too large for the ring's memory, with rings of both policies.
    RingFile,
    /// A publisher whose receiver sleeps before each message.
    RingSleeper,
    /// A publisher that comes upon what a killed one owned.
    RingSteal,
    /// A receiver of a ring.
    RingReceive,
    /// A receiver of a ring that drops.
    RingTake,
    /// A receiver that gives memory back.
    RingRest,
    /// A receiver that closes a ring with messages in it.
    RingClose,
}
use Scene::*;

/// Every point, in each situation in which it is passed, and at which passings.
const POINTS: &[(&str, Scene, &[u64])] = &[
    ("publish.counted", Publish, &[1, 4]),
    ("publish.written", Publish, &[1, 4]),
    ("publish.reserved", Publish, &[1, 2, 3, 8]),
    ("publish.linked", Publish, &[1, 2, 3, 8]),
    ("publish.rung", Publish, &[1, 2, 3, 8]),
    ("publish.done", Publish, &[1, 4]),
    ("drop.announced", Publish, &[1, 2]),
    ("drop.unlinked", Publish, &[1, 2]),
    ("release.counted", Publish, &[1]),
    ("publish.refused", Refused, &[1]),
    ("publish.overflow", Overflow, &[1]),
    ("publish.unrung", Overflow, &[1, 3]),
    ("release.counted", Receive, &[1, 3]),
    ("fetch.read", Receive, &[1]),
    ("fetch.parsed", Receive, &[1, 3]),
    ("fetch.unlinked", Receive, &[1, 3]),
    ("list.drained", List, &[1]),
    ("heal.begin", Heal, &[1]),
    ("store.made", Open, &[1]),
    ("store.page", Open, &[1]),
    ("open.directory", Open, &[1]),
    ("open.unlocked", Open, &[1]),
    ("open.locked", Open, &[1]),
    ("open.queue", Open, &[1]),
    ("open.renamed", Open, &[1]),
    ("close.begin", Close, &[1]),
    ("close.renamed", Close, &[1]),
    ("close.unlinked", Close, &[1, 3]),
    ("close.emptied", Close, &[1]),
    ("reap.begin", Clean, &[1]),
    ("close.renamed", Clean, &[1]),
    ("close.unlinked", Clean, &[1, 2]),
    ("close.emptied", Clean, &[1]),
    ("cleanup.tmp", Clean, &[1]),
    ("ring.attached", RingPublish, &[1, 2]),
    ("ring.slots", RingPublish, &[1, 2]),
    ("ring.slots-reserved", RingPublish, &[1, 2]),
    ("ring.fresh", RingPublish, &[1, 2]),
    ("ring.reserved", RingPublish, &[1, 2]),
    ("ring.written", RingPublish, &[1, 2, 8]),
    ("ring.commit", RingPublish, &[1, 2, 8]),
    ("ring.committed", RingPublish, &[1, 2, 8]),
    ("ring.drop", RingPublish, &[1, 2]),
    ("publish.linked", RingFile, &[1, 2, 3]),
    ("ring.commit", RingFile, &[1, 2, 3]),
    ("ring.committed", RingFile, &[1, 2, 3]),
    ("ring.drop", RingFile, &[1, 2]),
    ("ring.bell", RingSleeper, &[1, 3]),
    ("ring.rung", RingSleeper, &[1, 3]),
    ("ring.release", RingSleeper, &[1, 3]),
    ("ring.retake", RingSleeper, &[1, 3]),
    ("ring.take", RingSleeper, &[1]),
    ("ring.taken", RingSleeper, &[1]),
    ("ring.steal", RingSteal, &[1]),
    ("ring.clean", RingSteal, &[1]),
    ("ring.read", RingReceive, &[1, 3]),
    ("ring.head", RingReceive, &[1, 3]),
    ("ring.armed", RingReceive, &[1, 2]),
    ("ring.hazard", RingTake, &[1, 3]),
    ("ring.claimed", RingTake, &[1, 3]),
    ("ring.read", RingTake, &[1, 3]),
    ("ring.punch", RingRest, &[1, 3]),
    ("ring.punched", RingRest, &[1, 3]),
    ("close.begin", RingClose, &[1]),
    ("close.renamed", RingClose, &[1]),
    ("close.unlinked", RingClose, &[1, 2]),
    ("close.emptied", RingClose, &[1]),
];

const VICTIM: u64 = 1;
const HELPER: u64 = 2;

#[test]
fn every_named_point_is_tried() {
    let mut in_source = BTreeSet::new();
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let text = std::fs::read_to_string(path).unwrap();
                let names = text.split("chaos::point(\"").skip(1).filter_map(|rest| rest.split('"').next());
                in_source.extend(names.map(str::to_string));
            }
        }
    }
    let in_histories = topics::POINTS.iter().map(|(name, _)| *name).chain(topics::MAKING.iter().copied());
    let tried: BTreeSet<String> =
        POINTS.iter().map(|(name, ..)| *name).chain(in_histories).map(str::to_string).collect();
    assert_eq!(in_source, tried);
}

#[test]
fn killed_or_stopped_at_a_point_of_publishing() {
    try_all(|scene| matches!(scene, Publish | Overflow | Refused));
}

#[test]
fn killed_or_stopped_at_a_point_of_receiving() {
    try_all(|scene| matches!(scene, Receive | List | Heal));
}

#[test]
fn killed_or_stopped_at_a_point_of_opening_closing_or_cleaning() {
    try_all(|scene| matches!(scene, Open | Close | Clean));
}

#[test]
fn killed_or_stopped_at_a_point_of_publishing_into_a_ring() {
    try_all(|scene| matches!(scene, RingPublish | RingFile | RingSleeper | RingSteal));
}

#[test]
fn killed_or_stopped_at_a_point_of_receiving_from_a_ring() {
    try_all(|scene| matches!(scene, RingReceive | RingTake | RingRest | RingClose));
}

fn try_all(chosen: impl Fn(Scene) -> bool) {
    // For a look at one of them.
    let only = std::env::var("CRASH_ONLY").unwrap_or_default();
    let (mut count, mut failed) = (0, Vec::new());
    'all: for &(point, scene, passings) in POINTS.iter().filter(|(_, scene, _)| chosen(*scene)) {
        for nth in passings {
            for action in ["kill", "stop"] {
                let chaos = format!("{action}:{point}:{nth}");
                if !chaos.contains(&only) {
                    continue;
                }
                count += 1;
                let result = std::panic::catch_unwind(|| try_one(scene, &chaos, action == "stop"));
                if let Err(panic) = result {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
                    failed.push(format!("{chaos} in {scene:?}: {}", text.unwrap_or_default()));
                    // A planted fault needs to be found once.
                    if std::env::var_os("PUBSUB_PLANT").is_some() {
                        break 'all;
                    }
                }
            }
        }
    }
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
    println!("{count} kills and stops");
}

/// Everybody but the victim, in this process.
struct Others {
    senders: Vec<Sender>,
    receivers: Vec<Receiver>,
}

impl Others {
    fn receiver(&mut self, run: &Path, pattern: usize, drop_oldest: bool, capacity: u64) {
        self.receiver_of(run, Terms { pattern, drop_oldest, capacity, ..Default::default() });
    }

    fn receiver_of(&mut self, run: &Path, terms: Terms) {
        let number = 10 + self.receivers.len() as u64;
        self.receivers.push(Receiver::open(run, number, number << 32, terms));
    }

    fn drain(&mut self) {
        for receiver in &mut self.receivers {
            assert!(receiver.drain(100_000));
        }
    }

    /// Publishers publish and receivers receive, whatever has become of the victim.
    fn go_on(&mut self) {
        self.drain();
        for i in 0..6 {
            for sender in &mut self.senders {
                // Where a killed publisher left a queue full by its figures, its receiver heals it.
                let mut tries = 0;
                while !sender.send(i % 2, 50 * i) {
                    tries += 1;
                    assert!(tries < 200, "WEDGED: a queue that nobody is in stays full");
                    for receiver in &mut self.receivers {
                        receiver.take(Some(Duration::from_millis(5)));
                    }
                }
            }
            self.drain();
        }
    }
}

/// A publisher that comes upon what a dead one owned. One that happens to get the id of that one cleans what it owned, and need not
/// steal: then it is for the next.
fn stealing(run: &Path, role: &str, chaos: &str) -> Process {
    for number in (40..90).step_by(2) {
        Process::start(run, number, "publish topics=0 count=1 small=1", "kill:ring.written:1").wait();
        let mut thief = Process::start(run, number + 1, role, chaos);
        until("there", || matches!(thief.state(), 'T' | 'Z'), || thief.report());
        if !thief.ended().is_some_and(|status| status.success()) {
            return thief;
        }
    }
    panic!("NOT HIT: nobody steals");
}

fn try_one(scene: Scene, chaos: &str, stop: bool) {
    let directory = run_directory();
    let run = directory.path();
    let file = |name: &str| std::fs::write(run.join(name), "").unwrap();
    let mut others = Others { senders: Vec::new(), receivers: Vec::new() };
    let mut helper = None;
    let receive = "receive pattern=0";
    let role = match scene {
        Publish => {
            // Two that both take it, before one of a single message, in the order of their names.
            others.receiver(run, 4, false, 0);
            others.receiver(run, 0, true, 2);
            others.receiver(run, 0, false, 1);
            others.receiver(run, 1, false, 0);
            "publish topics=0 count=8 small=1"
        }
        Overflow => {
            others.receiver(run, 0, false, 0);
            "publish topics=0 count=8500 small=1"
        }
        Refused => {
            helper = Some(Process::start(run, HELPER, &format!("{receive} hold=1"), ""));
            until("open", || has_channels(run, 1), String::new);
            "publish topics=0 pace_us=200 small=1"
        }
        Receive | Heal => receive,
        List => "receive pattern=0 hold=1 drop=1 capacity=4",
        Close => "receive pattern=0 hold=1 leave=1",
        Open => "churn count=2",
        RingPublish | RingFile => {
            for (pattern, drop_oldest, capacity) in [(4, false, 0), (0, true, 2), (0, false, 1), (1, false, 0)] {
                others.receiver_of(run, Terms { pattern, drop_oldest, capacity, ring: true, ..Default::default() });
            }
            if scene == RingFile { "publish topics=0 count=8 size=20000" } else { "publish topics=0 count=8 small=1" }
        }
        RingSleeper => {
            helper = Some(Process::start(run, HELPER, "receive ring=1 pattern=0", ""));
            until("open", || has_channels(run, 1), String::new);
            // A chunk that somebody has let go of.
            assert!(Sender::new(run, 98, Duration::ZERO).send(0, 9));
            // Until it is hit: a busy machine may keep the receiver from going to sleep in between.
            "publish topics=0 small=1 pace_us=3000"
        }
        RingSteal => {
            others.receiver_of(run, Terms { ring: true, ..Default::default() });
            "publish topics=0 count=8 small=1"
        }
        RingReceive => "receive ring=1 pattern=0",
        RingTake => "receive ring=1 pattern=0 drop=1",
        RingRest => "receive ring=1 pattern=0 hold=1",
        RingClose => "receive ring=1 pattern=0 hold=1 leave=1",
        Clean => {
            // Before anybody is dead: an open cleans, too.
            others.receiver(run, 1, false, 0);
            let mut dead = Process::start(run, HELPER, receive, "");
            until("open", || has_channels(run, 2), String::new);
            let mut sender = Sender::new(run, 99, Duration::ZERO);
            (0..5).for_each(|_| assert!(sender.send(4, 0) && sender.send(0, 9)));
            Process::start(run, HELPER, "churn", "kill:open.queue:1").wait();
            dead.signal(libc::SIGKILL);
            dead.wait();
            "clean once=1"
        }
    };
    let mut victim =
        if scene == RingSteal { stealing(run, role, chaos) } else { Process::start(run, VICTIM, role, chaos) };
    match scene {
        Refused => {
            until("published", || run.join("1.journal").metadata().is_ok_and(|meta| meta.len() > 256), String::new);
            let mut helper = helper.take().unwrap();
            helper.signal(libc::SIGKILL);
            helper.wait();
        }
        RingRest => {
            until("open", || has_channels(run, 1), || victim.report());
            // Twice what is kept, each in the ring's own memory.
            let mut sender = Sender::new(run, 20, Duration::ZERO);
            (0..100).for_each(|_| assert!(sender.send(0, 15_000)));
            file("go");
        }
        Receive | List | Heal | Close | RingReceive | RingTake | RingClose => {
            until("open", || has_channels(run, 1), || victim.report());
            if scene == Heal {
                let publish = "publish topics=0 count=1 small=1";
                Process::start(run, HELPER, publish, "kill:publish.reserved:1").wait();
            } else {
                let mut sender = Sender::new(run, 20, Duration::ZERO);
                (0..20).for_each(|i| assert!(sender.send(0, i * 700)));
            }
            // First, for who goes is not to take a message before it closes.
            if matches!(scene, Close | RingClose) {
                file("end");
            }
            file("go");
        }
        _ => {}
    }
    // Where it is hit, and only there: nothing else kills or stops it.
    if stop {
        until("stopped there", || matches!(victim.state(), 'T' | 'Z'), || victim.report());
        assert!(victim.ended().is_none(), "NOT HIT: {}", victim.report());
    } else {
        let status = victim.wait();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "NOT HIT: {}", victim.report());
    }
    others.senders.push(Sender::new(run, 30, Duration::ZERO));
    if scene == Open {
        others.receiver(run, 1, false, 1);
    }
    pubsub::cleanup(Some(&run.join("store"))).unwrap();
    others.go_on();
    pubsub::cleanup(Some(&run.join("store"))).unwrap();
    if stop {
        for name in ["stop", "end"] {
            file(name);
        }
        victim.signal(libc::SIGCONT);
        victim.succeed();
        others.go_on();
    }
    if let Some(mut helper) = helper {
        file("end");
        helper.succeed();
    }
    others.drain();
    others.receivers.drain(..).for_each(Receiver::close);
    pubsub::cleanup(Some(&run.join("store"))).unwrap();
    let rubbish = verdict::rubbish(run);
    assert!(rubbish.is_empty(), "LEFT: {rubbish:?}");
    verdict::check(run, u64::MAX).unwrap_or_else(|wrong| panic!("{wrong}"));
}

fn has_channels(run: &Path, count: usize) -> bool {
    pubsub::list_channels(Some(&run.join("store"))).unwrap().len() >= count
}
