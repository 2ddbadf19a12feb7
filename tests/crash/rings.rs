//! What those who live on see of a ring in which somebody died or stands still between two steps.

use std::path::Path;
use std::time::Duration;

use crate::actor::{Receiver, Sender, Terms};
use crate::journal::{self, Event};
use crate::process::{Mount, Process, is_root, run_directory, until};
use crate::verdict;

const RING: Terms = Terms { pattern: 4, drop_oldest: false, capacity: 0, bytes: 0, ring: true };
/// Its topic's place.
const TOPIC: usize = 4;

/// A receiver that fetches only when its descriptor is readable, and sleeps until that is so now.
fn waiting(run: &Path, terms: &str) -> Process {
    let receiver = Process::start(run, 1, &format!("receive ring=1 pattern=4 poll=1 {terms}"), "");
    until("asleep", || channels(run) == 1 && receiver.is_asleep(), || receiver.report());
    receiver
}

fn channels(run: &Path) -> usize {
    pubsub::list_channels(Some(&run.join("store"))).unwrap().len()
}

fn received(run: &Path) -> usize {
    let events = journal::read(&run.join("1.journal"));
    events.iter().filter(|(_, event)| matches!(event, Event::Got { .. })).count()
}

/// Two seconds: a lost wake-up is lost for ever, so a planted fault need not be waited for any longer.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let tries = if std::env::var_os("PUBSUB_PLANT").is_some() { 200 } else { 4_000 };
    assert!(
        (0..tries).any(|_| is_so() || {
            std::thread::sleep(Duration::from_millis(10));
            false
        }),
        "WEDGED: never {what}"
    );
}

fn stopped(victim: &mut Process) {
    until("stopped there", || matches!(victim.state(), 'T' | 'Z'), || victim.report());
    assert!(victim.ended().is_none(), "NOT HIT: {}", victim.report());
}

fn end(run: &Path, mut receiver: Process) {
    std::fs::write(run.join("end"), "").unwrap();
    receiver.succeed();
    verdict::check(run, u64::MAX).unwrap_or_else(|wrong| panic!("{wrong}"));
}

fn drained(run: &Path, mut receiver: Receiver) {
    assert!(receiver.drain(100_000));
    receiver.close();
    verdict::check(run, u64::MAX).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// Full, and its receiver asleep: the publisher that filled it died before it could wake it. Who is refused wakes it.
#[test]
fn who_is_refused_by_a_full_ring_wakes_its_receiver() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = waiting(run, "capacity=1");
    Process::start(run, 2, "publish topics=4 count=1 small=1", "kill:ring.committed:1").wait();
    let mut sender = Sender::new(run, 3, Duration::ZERO);
    soon("room", || sender.send(TOPIC, 10));
    end(run, receiver);
}

/// A publisher dies in the middle of waking the receiver: that wakes, or the next publisher wakes it.
#[test]
fn a_publisher_that_dies_while_it_wakes_the_receiver_leaves_it_to_the_next() {
    for point in ["ring.bell", "ring.rung"] {
        let directory = run_directory();
        let run = directory.path();
        let receiver = waiting(run, "");
        Process::start(run, 2, "publish topics=4 count=1 small=1", &format!("kill:{point}:1")).wait();
        assert!(Sender::new(run, 3, Duration::ZERO).send(TOPIC, 10));
        soon("woken", || received(run) == 2);
        end(run, receiver);
    }
}

/// A publisher stands still after it has woken the receiver, which takes the message and sleeps again: going on, the
/// publisher does not undo that.
#[test]
fn a_publisher_that_was_slow_to_wake_a_receiver_leaves_its_next_sleep_alone() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = waiting(run, "");
    let mut slow = Process::start(run, 2, "publish topics=4 count=1 small=1", "stop:ring.rung:1");
    stopped(&mut slow);
    soon("received", || received(run) == 1);
    until("asleep again", || receiver.is_asleep(), || receiver.report());
    slow.signal(libc::SIGCONT);
    slow.succeed();
    assert!(Sender::new(run, 3, Duration::ZERO).send(TOPIC, 10));
    soon("woken again", || received(run) == 2);
    end(run, receiver);
}

/// What a dead publisher left unread in its chunk is not written over by who takes the chunk.
#[test]
fn unread_messages_in_the_chunk_of_a_dead_publisher_stay_whole() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = Receiver::open(run, 1, 1, RING);
    Process::start(run, 2, "publish topics=4 count=5 size=500", "kill:ring.committed:5").wait();
    let mut sender = Sender::new(run, 3, Duration::ZERO);
    (0..50).for_each(|_| assert!(sender.send(TOPIC, 1_000)));
    drained(run, receiver);
}

/// A chunk with a single unread message in it is in use.
#[test]
fn the_last_unread_message_of_a_chunk_stays_whole() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = Receiver::open(run, 1, 1, RING);
    assert!(Sender::new(run, 2, Duration::ZERO).send(TOPIC, 600));
    Process::start(run, 3, "publish topics=4 count=1 size=500", "").succeed();
    drained(run, receiver);
}

/// A receiver stands still while it gives memory back: nobody writes there meanwhile, and nothing is lost.
#[test]
fn memory_that_is_being_given_back_is_not_written_to() {
    for point in ["ring.punch", "ring.punched"] {
        let directory = run_directory();
        let run = directory.path();
        let mut receiver = Process::start(run, 1, "receive ring=1 pattern=4 hold=1", &format!("stop:{point}:1"));
        until("open", || channels(run) == 1, || receiver.report());
        let mut sender = Sender::new(run, 2, Duration::ZERO);
        (0..100).for_each(|_| assert!(sender.send(TOPIC, 15_000)));
        std::fs::write(run.join("go"), "").unwrap();
        stopped(&mut receiver);
        (0..200).for_each(|_| assert!(sender.send(TOPIC, 15_000)));
        receiver.signal(libc::SIGCONT);
        end(run, receiver);
    }
}

/// A receiver closes the channel just before a publisher commits: that message is not counted.
#[test]
fn a_message_committed_after_the_close_is_not_counted() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = Receiver::open(run, 1, 1, RING);
    let mut publisher = Process::start(run, 2, "publish topics=4 count=1 small=1", "stop:ring.commit:1");
    stopped(&mut publisher);
    receiver.close();
    publisher.signal(libc::SIGCONT);
    publisher.succeed();
    let answered = journal::read(&run.join("2.journal")).into_iter().find_map(|(_, event)| match event {
        Event::Answered { taken, rejected, .. } => Some((taken, rejected)),
        _ => None,
    });
    assert_eq!(answered, Some((0, 0)), "COUNTED: a message that nobody will get");
}

/// A receiver stands still while it copies a message that it has taken from a queue that drops: the chunk is not restarted,
/// neither by who finds it drained nor by who takes it from a dead publisher.
#[test]
fn a_message_that_is_being_copied_stays_whole() {
    for chaos in ["", "kill:ring.committed:1"] {
        let directory = run_directory();
        let run = directory.path();
        let mut receiver = Process::start(run, 1, "receive ring=1 pattern=4 drop=1 hold=1", "stop:ring.claimed:1");
        until("open", || channels(run) == 1, || receiver.report());
        Process::start(run, 2, "publish topics=4 count=1 size=600", chaos).wait();
        std::fs::write(run.join("go"), "").unwrap();
        stopped(&mut receiver);
        Process::start(run, 3, "publish topics=4 count=1 size=2000", "").succeed();
        receiver.signal(libc::SIGCONT);
        end(run, receiver);
    }
}

/// A publisher stands still while it looks whether a chunk is drained: meanwhile others go on for longer than the ring.
#[test]
fn a_chunk_in_use_is_not_taken_by_who_was_slow_to_look() {
    let directory = run_directory();
    let run = directory.path();
    let mut receiver = Receiver::open(run, 1, 1, Terms { capacity: 1, ..RING });
    let mut sender = Sender::new(run, 2, Duration::ZERO);
    // Slowly: a publisher in a hurry keeps its chunk.
    let mut send = || {
        std::thread::sleep(Duration::from_millis(1));
        assert!(sender.send(TOPIC, 100));
    };
    send();
    assert!(receiver.take(None));
    let mut slow = Process::start(run, 3, "publish topics=4 count=1 size=2000", "stop:ring.take:1");
    stopped(&mut slow);
    send();
    assert!(receiver.take(None));
    send();
    slow.signal(libc::SIGCONT);
    slow.succeed();
    drained(run, receiver);
}

/// A thief stands still while it takes the chunk of a dead publisher, and so many come that one of them would get the dead
/// one's id. What each of them writes stays whole.
#[test]
fn nobody_takes_the_id_of_the_dead_under_a_thief() {
    let directory = run_directory();
    let run = directory.path();
    let receiver = Receiver::open(run, 1, 1, Terms { bytes: 16 << 10, ..RING });
    let mut number = 1;
    let mut publisher = |chaos: &str| {
        number += 1;
        Process::start(run, number, "publish topics=4 count=1 size=100", chaos)
    };
    let mut thief = loop {
        publisher("kill:ring.written:1").wait();
        let mut thief = publisher("stop:ring.steal:1");
        // One that happens to get the id of the dead one cleans what that owned, and need not steal.
        until("stopped there", || matches!(thief.state(), 'T' | 'Z'), || thief.report());
        if thief.ended().is_none() {
            break thief;
        }
    };
    // More than the ids that are tried first.
    let mut others: Vec<Process> = (0..12).map(|_| publisher("stop:ring.written:1")).collect();
    others.iter_mut().for_each(stopped);
    for process in std::iter::once(&mut thief).chain(&mut others) {
        process.signal(libc::SIGCONT);
        process.succeed();
    }
    drained(run, receiver);
}

/// A publisher dies around taking memory for the ring, and then there is no more to be had: nobody touches what is not there,
/// and when there is space again all goes on.
#[test]
fn memory_that_a_dead_publisher_was_about_to_take_is_not_touched() {
    if !is_root() {
        return;
    }
    for point in ["ring.slots", "ring.slots-reserved", "ring.fresh", "ring.reserved"] {
        let directory = run_directory();
        let run = directory.path();
        let _mount = Mount::new(&run.join("store"), "4m");
        std::fs::write(run.join("full"), "").unwrap();
        let receiver = waiting(run, "");
        Process::start(run, 2, "publish topics=4 count=1 small=1", &format!("kill:{point}:1")).wait();
        let filler = run.join("store/filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
        Process::start(run, 3, "publish topics=4 count=3 small=1", "").succeed();
        // Whoever sleeps in poll looks at the ring when a message comes, or at its end.
        // Emptied, for a process that another test is about to start may still have inherited it.
        file.set_len(0).unwrap();
        std::fs::remove_file(filler).unwrap();
        let before = received(run);
        assert!(Sender::new(run, 4, Duration::ZERO).send(TOPIC, 10));
        soon("received", || received(run) > before);
        end(run, receiver);
    }
}

/// As many publishers as there are chunks die owning one each: small messages still find room in memory.
#[test]
fn chunks_of_many_dead_publishers_are_used_again() {
    let directory = run_directory();
    let run = directory.path();
    let mut receiver = Receiver::open(run, 1, 1, Terms { bytes: 16 << 10, ..RING });
    for round in 0..3 {
        let stop = "stop:ring.written:1";
        let role = "publish topics=4 count=1 size=100";
        let dead: Vec<Process> = (0..20).map(|i| Process::start(run, 100 + round * 20 + i, role, stop)).collect();
        for mut process in dead {
            until("at work", || matches!(process.state(), 'T' | 'Z'), || process.report());
            process.signal(libc::SIGKILL);
            process.wait();
        }
        // Those for whom no chunk was left have published files, and ended.
        assert!(receiver.drain(1_000));
        let mut sender = Sender::new(run, 2 + round, Duration::ZERO);
        for _ in 0..200 {
            assert!(sender.send(TOPIC, 200));
            let files = std::fs::read_dir(receiver.channel.path()).unwrap().count() - 2;
            assert_eq!(files, 0, "WASTED: {files} small messages in files, in round {round}");
            if sender.sent() % 20 == 0 {
                assert!(receiver.drain(1_000));
            }
        }
        assert!(receiver.drain(1_000));
    }
    drained(run, receiver);
}
