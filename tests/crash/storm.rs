//! Everything at once, with kills and stops at random.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::actor::{Sender, TOPICS};
use crate::journal::{self, Event};
use crate::process::{Mount, PATIENCE, Process, is_root, run_directory, until};
use crate::verdict::{self, Summary};

/// Numbers from here on are of formix-pubsub programs, which keep no journal.
pub const FOREIGN: u64 = 1 << 40;

/// Who takes part in a storm.
#[derive(Clone, Copy)]
pub struct Cast {
    /// Receivers that are stopped but never killed: every policy, capacity and way to wait, on patterns that overlap.
    keepers: &'static [&'static str],
    /// Publishers that are stopped but never killed.
    survivors: &'static [&'static str],
    /// Who is killed, too, and started again.
    mortals: &'static [&'static str],
}

pub const FILES: Cast = Cast {
    keepers: &[
        "receive pattern=0",
        "receive pattern=1 drop=1 capacity=64 poll=1",
        "receive pattern=3 capacity=64 poll=1",
        "receive pattern=4 capacity=1",
        "receive pattern=5 drop=1 capacity=2 poll=1",
        "receive pattern=6 drop=1",
    ],
    survivors: &["publish topics=0,1,2,3,4,5", "publish topics=4,5 full_ms=3 small=1"],
    mortals: &[
        "publish topics=0,1,2,3,4,5",
        "publish topics=0 small=1",
        "publish topics=4,5,3 full_ms=2 small=1",
        "receive pattern=1 poll=1",
        "churn",
        "churn",
        "clean",
    ],
};

/// Rings of one slot and of one chunk, and of the default bounds; publishers of several threads.
pub const RINGS: Cast = Cast {
    keepers: &[
        "receive ring=1 pattern=0",
        "receive ring=1 pattern=1 drop=1 capacity=64 poll=1",
        "receive ring=1 pattern=3 capacity=64 bytes=4096 poll=1",
        "receive ring=1 pattern=4 capacity=1",
        "receive ring=1 pattern=5 drop=1 capacity=2 bytes=4096 poll=1",
        "receive ring=1 pattern=6 drop=1 bytes=262144",
    ],
    survivors: &["publish topics=0,1,2,3,4,5 threads=2", "publish topics=4,5 full_ms=3 small=1"],
    mortals: &[
        "publish topics=0,1,2,3,4,5 threads=3",
        "publish topics=0 small=1",
        "publish topics=4,5,3 full_ms=2 small=1 threads=2",
        "receive ring=1 pattern=1 poll=1",
        "receive ring=1 pattern=3 drop=1 bytes=65536",
        "churn ring=1",
        "churn ring=1",
        "clean",
    ],
};

/// Both transports and, where it is there, formix-pubsub.
pub const MIXED: Cast = Cast {
    keepers: &[
        "receive ring=1 pattern=0",
        "receive pattern=1 drop=1 capacity=64 poll=1",
        "receive ring=1 pattern=3 capacity=64 poll=1",
        "receive pattern=4 capacity=1",
        "receive ring=1 pattern=5 drop=1 capacity=2 poll=1",
        "receive ring=1 pattern=6 drop=1",
    ],
    survivors: &["publish topics=0,1,2,3,4,5", "publish topics=4,5 full_ms=3 small=1"],
    mortals: &[
        "publish topics=0,1,2,3,4,5 threads=2",
        "publish topics=0 small=1",
        "receive ring=1 pattern=1 poll=1",
        "churn ring=1",
        "churn",
        "clean",
    ],
};

/// In a file system that is full nearly always.
pub const FULL: Cast = Cast {
    keepers: &[
        "receive ring=1 pattern=0",
        "receive ring=1 pattern=1 drop=1 capacity=64 poll=1",
        "receive ring=1 pattern=3 poll=1",
        "receive pattern=0 poll=1",
    ],
    survivors: &["publish topics=0,1,2,3,4,5", "publish topics=0,3 full_ms=3 small=1"],
    mortals: &[
        "publish topics=0,1,3 threads=2",
        "publish topics=0 small=1",
        "receive ring=1 pattern=1 poll=1",
        "churn ring=1",
        "churn ring=1",
        "clean",
    ],
};

#[derive(Clone)]
pub struct Storm {
    pub cast: Cast,
    pub seconds: f64,
    pub seed: u64,
    /// A Python with formix-pubsub, whose programs take part.
    pub formix: Option<String>,
    pub space: Space,
}

/// What there is of it for the store.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Space {
    Enough,
    /// A file system of this size, which is kept full nearly always.
    Little(&'static str),
    /// As much, but every fourth time the library asks for memory it is told that there is none.
    Denied,
}

#[derive(Debug, Default)]
pub struct Figures {
    pub killed: u64,
    /// Of those: from outside and not at a named point.
    pub struck_down: u64,
    /// From outside.
    pub stopped: u64,
    pub processes: u64,
}

struct Crew<'a> {
    run: &'a Path,
    random: StdRng,
    formix: Option<String>,
    denied: bool,
    next: u64,
    /// Each with its role, whether it may be killed, and until when it is stopped.
    members: Vec<(Process, &'static str, bool, Option<Instant>)>,
    figures: Figures,
}

impl Crew<'_> {
    fn start(&mut self, role: &'static str, mortal: bool) {
        self.next += 1;
        self.figures.processes += 1;
        let process = match (&self.formix, role.strip_prefix("formix ")) {
            (Some(python), Some(role)) => {
                let number = FOREIGN + self.next;
                let mut command = Command::new(python);
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash/formix.py");
                command.arg(script).args(role.split(' ')).arg(number.to_string()).arg(self.run);
                Process::spawn(command, self.run, number, format!("{number}: formix {role}"), "")
            }
            _ => {
                let mut seed = || self.random.random::<u32>();
                let mut chaos = format!("stop:*:p0.0003:{},pause:*:p0.0005:{}", seed(), seed());
                if self.denied {
                    chaos += &format!(",full:reserve:p0.25:{}", seed());
                }
                if mortal {
                    chaos += &format!(",kill:*:p0.0004:{}", seed());
                }
                Process::start(self.run, self.next, role, &chaos)
            }
        };
        self.members.push((process, role, mortal, None));
    }

    /// Kills or stops somebody; starts again who died.
    fn strike(&mut self) {
        let victim = self.random.random_range(0..self.members.len());
        let (long, kill) = (self.random.random_ratio(1, 40), self.random.random_ratio(1, 2));
        let pause = Duration::from_millis(if long { 700 } else { self.random.random_range(1..30) });
        let (process, _, mortal, stopped) = &mut self.members[victim];
        if kill && *mortal {
            process.signal(libc::SIGKILL);
            process.wait();
            self.figures.struck_down += 1;
        } else if !kill && stopped.is_none() {
            process.signal(libc::SIGSTOP);
            *stopped = Some(Instant::now() + pause);
            self.figures.stopped += 1;
        }
    }

    /// Lets those go on whose time has come, or who stopped at a point. Answers who has ended.
    fn look(&mut self, all: bool) -> Vec<usize> {
        let mut ended = Vec::new();
        for (i, (process, _, mortal, stopped)) in self.members.iter_mut().enumerate() {
            if let Some(status) = process.ended() {
                assert!(!process.failed(), "FAILED: {status}: {}", process.report());
                assert!(*mortal || status.success(), "{status}: {}", process.report());
                ended.push(i);
                continue;
            }
            if stopped.is_some_and(|end| Instant::now() >= end) || all {
                *stopped = None;
            }
            if stopped.is_none() && process.state() == 'T' {
                process.signal(libc::SIGCONT);
            }
        }
        ended
    }

    /// Waits until everybody whose role begins so has ended.
    fn await_end(&mut self, roles: &[&str]) {
        let begin = Instant::now();
        loop {
            for i in self.look(true).into_iter().rev() {
                self.members.swap_remove(i);
            }
            let left = self.members.iter().find(|(_, role, ..)| roles.iter().any(|begin| role.starts_with(begin)));
            let Some((process, ..)) = left else { return };
            assert!(begin.elapsed() < PATIENCE, "HANGS: {}", process.report());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Runs a storm and judges it.
pub fn rage(storm: &Storm) -> (Summary, Figures) {
    let directory = run_directory();
    let run = directory.path();
    let file = |name: &str| std::fs::write(run.join(name), "").unwrap();
    let mut crew = Crew {
        run,
        random: StdRng::seed_from_u64(storm.seed),
        formix: storm.formix.clone(),
        denied: storm.space == Space::Denied,
        next: 0,
        members: Vec::new(),
        figures: Figures::default(),
    };
    let Cast { keepers, survivors, mortals } = storm.cast;
    let mount = match storm.space {
        Space::Little(size) => Some(Mount::new(&run.join("store"), size)),
        Space::Denied => {
            file("full");
            None
        }
        Space::Enough => None,
    };
    keepers.iter().for_each(|role| crew.start(role, false));
    if mount.is_some() {
        let open = || {
            // Some have stopped on their way.
            crew.look(false);
            pubsub::list_channels(Some(&run.join("store"))).is_ok_and(|list| list.len() >= keepers.len())
        };
        until("open", open, String::new);
        file("full");
        crew.start("fill", false);
    }
    survivors.iter().for_each(|role| crew.start(role, false));
    mortals.iter().for_each(|role| crew.start(role, true));
    if storm.formix.is_some() {
        for role in ["formix publish 0,1,3", "formix publish 2,4", "formix receive t.one", "formix receive u.+"] {
            crew.start(role, true);
        }
    }
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < storm.seconds {
        let pause = crew.random.random_range(1..12);
        std::thread::sleep(Duration::from_millis(pause));
        crew.strike();
        for i in crew.look(false).into_iter().rev() {
            let (_, role, mortal, _) = crew.members.swap_remove(i);
            crew.figures.killed += 1;
            crew.start(role, mortal);
        }
    }
    file("stop");
    crew.await_end(&["publish", "churn", "clean", "fill", "formix publish"]);
    // Nobody is wedged: what is published now arrives at every keeper.
    let mut probe = Sender::new(run, FOREIGN - 1, Duration::from_millis(20));
    for (topic, name) in TOPICS.iter().enumerate() {
        let mut tries = 0;
        while !probe.send(topic, 100) {
            tries += 1;
            crew.look(true);
            assert!(tries < 1_000, "WEDGED: '{name}' stays full");
        }
    }
    for number in 1..=keepers.len() as u64 {
        let path = run.join(format!("{number}.journal"));
        let reached =
            |(_, event): &(u64, Event)| matches!(event, Event::Got { publisher, .. } if *publisher == FOREIGN - 1);
        let is_there = || {
            crew.look(true);
            journal::read(&path).iter().any(reached)
        };
        until("reached by the last messages", is_there, || format!("keeper {number}"));
    }
    file("end");
    crew.await_end(&["receive", "formix"]);
    if storm.formix.is_some() {
        age_files_of_formix(run);
    }
    Process::start(run, crew.next + 1, "clean once=1", "").succeed();
    let rubbish = verdict::rubbish(run);
    assert!(rubbish.is_empty(), "LEFT: {} entries, {:?}", rubbish.len(), &rubbish[..rubbish.len().min(8)]);
    let summary = verdict::check(run, FOREIGN - 1).unwrap_or_else(|wrong| panic!("{wrong}"));
    (summary, crew.figures)
}

/// What a killed formix publisher left in `tmp` counts as rubbish when it is a minute old.
fn age_files_of_formix(run: &Path) {
    for entry in std::fs::read_dir(run.join("store/tmp")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(120)).unwrap();
        }
    }
}

/// Seconds that one storm lasts: its journals are kept in memory.
const AT_ONCE: f64 = 20.0;

fn number(name: &str) -> Option<f64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap())
}

fn settings(cast: Cast, seconds: f64) -> Storm {
    Storm {
        cast,
        seconds: number("PUBSUB_STORM_SECONDS").unwrap_or(seconds),
        seed: number("CRASH_SEED").map_or_else(|| rand::random::<u32>().into(), |seed| seed as u64),
        formix: None,
        space: Space::Enough,
    }
}

/// Storms, one after the other, until they have lasted so long in all, and so many were killed.
fn tell(storm: Storm) {
    let kills = number("PUBSUB_STORM_KILLS").unwrap_or_default() as u64;
    let (mut left, mut killed) = (storm.seconds, 0);
    for seed in storm.seed.. {
        println!("seed {seed}");
        let begin = Instant::now();
        let seconds = if left > 0.0 { left.min(AT_ONCE) } else { AT_ONCE };
        let (summary, figures) = rage(&Storm { seconds, seed, ..storm.clone() });
        println!("{summary:?}, {figures:?}");
        left -= begin.elapsed().as_secs_f64();
        killed += figures.killed;
        if killed >= kills && left <= 0.0 {
            return println!("{killed} killed in all");
        }
    }
}

#[test]
fn nothing_is_lost_doubled_reordered_or_left_in_a_storm_over_rings() {
    tell(settings(RINGS, 6.0));
}

#[test]
fn memory_that_is_denied_is_an_error_and_no_signal_in_a_storm() {
    tell(Storm { space: Space::Denied, ..settings(FULL, 3.0) });
}

#[test]
fn a_full_file_system_is_an_error_and_no_signal_in_a_storm() {
    if !is_root() {
        return;
    }
    tell(Storm { space: Space::Little("4m"), ..settings(FULL, 4.0) });
}

#[test]
fn nothing_is_lost_doubled_reordered_or_left_in_a_storm() {
    tell(settings(FILES, 4.0));
}

#[test]
fn nor_with_formix_programs_in_it() {
    let formix = std::env::var("PUBSUB_FORMIX_PYTHON").ok().filter(|python| !python.is_empty());
    if formix.is_none() {
        println!("skipped: PUBSUB_FORMIX_PYTHON names no Python with formix-pubsub");
        return;
    }
    tell(Storm { formix, ..settings(MIXED, 4.0) });
}
