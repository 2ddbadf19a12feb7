//! Who lives: dead channels, namespaces, reused pids, fork, and the budget of descriptors.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    what_a_dead_process_left_is_removed_by_cleanup,
    what_a_dead_process_left_is_removed_step_by_step_by_later_opens,
    a_publisher_notices_a_dead_receiver,
    a_publisher_of_batches_notices_a_dead_receiver,
    a_publisher_notices_a_dead_receiver_that_drops_the_oldest,
    a_channel_whose_pid_was_reused_is_dead,
    a_channel_whose_pid_is_not_known_here_lives_while_its_lock_is_held,
    liveness_survives_pid_namespaces,
    a_forked_child_gets_closed_for_what_it_inherited_and_may_open_its_own,
    a_parents_death_is_noticed_although_its_child_lives,
    publishing_to_many_channels_needs_few_descriptors,
    a_process_that_reaches_its_limit_of_open_files_is_told_so,
    children_forked_at_any_moment_can_use_the_library,
    many_processes_make_a_store_at_once,
    children_of_one_process_open_channels_side_by_side,
    a_channel_opened_during_a_fork_dies_with_its_process,
}

/// Opens channels in a child that is then killed.
fn leave_dead_channels(home: &Home, pattern: &str, count: usize) {
    let (mut here, mut there) = handover();
    let child = Child::fork(|| {
        let _channels: Vec<Channel> = (0..count).map(|_| home.open(pattern)).collect();
        there.give();
        there.ended();
    });
    here.take();
    child.kill();
}

fn alive(home: &Home) -> Vec<bool> {
    list_channels(Some(&home.path())).unwrap().iter().map(|channel| channel.alive).collect()
}

/// What a dead process left is removed wholly by cleanup.
fn what_a_dead_process_left_is_removed_by_cleanup(transport: Transport) {
    let home = Home::with(transport);
    leave_dead_channels(&home, "a", 20);
    let living = home.open("a");
    for channel in home.channels().iter().filter(|path| *path != living.path()) {
        std::fs::create_dir(channel.join("below")).unwrap();
        std::fs::write(channel.join("below/file"), "x").unwrap();
        std::fs::write(channel.join("1"), "x").unwrap();
    }
    let dead = home.channels().len() - 1;
    assert!(dead >= 15, "one open looks at a few: {dead}");
    assert_eq!(alive(&home).iter().filter(|&&alive| !alive).count(), dead);
    assert_eq!(home.cleanup(), dead as u64);
    assert_eq!(home.channels(), [living.path()]);
    assert!(home.residue().is_empty(), "{:?}", home.residue());
    assert_eq!(home.cleanup(), 0);
    assert_eq!(pubsub::cleanup(Some(&home.outside().join("nothing"))).unwrap(), 0);
}

/// ... and step by step by later opens, a few channels each.
fn what_a_dead_process_left_is_removed_step_by_step_by_later_opens(transport: Transport) {
    let home = Home::with(transport);
    let _living: Vec<Channel> = (0..30).map(|_| home.open("b")).collect();
    leave_dead_channels(&home, "a", 20);
    let mut before = home.channels().len();
    for _ in 0..200 {
        drop(home.open("c"));
        let now = home.channels().len();
        assert!(before - now <= 4 + 1, "{before} then {now}");
        before = now;
    }
    assert_eq!(home.channels().len(), 30);
    assert!(home.residue().is_empty());
}

/// A publisher notices a dead receiver at the latest after 1,000 messages or 10 ms of publishing, and always when the queue
/// is full.
fn a_publisher_notices_a_dead_receiver(transport: Transport) {
    let home = Home::with(transport);
    for (room, full) in [(10, false), (10, true), (100_000, false)] {
        let (mut here, mut there) = handover();
        let child = Child::fork(|| {
            let _channel = home.open_with_room("a", room);
            there.give();
            there.ended();
        });
        here.take();
        let publisher = home.publisher("a");
        for _ in 0..if full { room } else { 1 } {
            assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
        }
        child.kill();
        if full {
            assert_eq!(publisher.publish(b"x", None).unwrap(), 0, "nobody is there");
        } else {
            notices_that_nobody_is_there(&publisher);
        }
        assert_eq!(home.cleanup(), 1);
    }
}

/// ... whether it publishes its messages one by one or in batches.
fn a_publisher_of_batches_notices_a_dead_receiver(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let child = Child::fork(|| {
        let _channel = home.open_with_room("a", 100_000);
        there.give();
        there.ended();
    });
    here.take();
    let publisher = home.publisher("a");
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    child.kill();
    let batch = [Payload { data: b"is somebody there?", headers: None }; 64];
    for _ in 0..1_000_usize.div_ceil(batch.len()) {
        assert_eq!(publisher.publish_batch(&batch).unwrap(), batch.len());
    }
    assert_eq!(publisher.publish(b"x", None).unwrap(), 0, "nobody is there");
}

/// A queue that drops the oldest is no place to go on dropping in for a receiver that is dead.
fn a_publisher_notices_a_dead_receiver_that_drops_the_oldest(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let options = ChannelOptions { full_policy: FullPolicy::DropOldest, capacity_messages: 5, ..home.options() };
    let child = Child::fork(|| {
        let _channel = Channel::open("a", &options).unwrap();
        there.give();
        there.ended();
    });
    here.take();
    let publisher = home.publisher("a");
    for _ in 0..8 {
        assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    }
    child.kill();
    assert_eq!(publisher.publish(b"x", None).unwrap(), 0);
}

/// Liveness survives PID reuse: a channel whose pid lives but whose lock is free is dead.
fn a_channel_whose_pid_was_reused_is_dead(transport: Transport) {
    let home = Home::with(transport);
    leave_dead_channels(&home, "a", 1);
    let dead = home.channels().remove(0);
    let name = dead.file_name().unwrap().to_str().unwrap();
    let reused = dead.with_file_name(format!("{}_1", name.rsplit_once('_').unwrap().0));
    std::fs::rename(&dead, &reused).unwrap();
    assert_eq!(alive(&home), [false]);
    assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 0);
    assert_eq!(home.cleanup(), 1);
    assert!(home.channels().is_empty());
}

/// ... and the other way round: one whose pid nobody has, but whose lock is held, lives.
fn a_channel_whose_pid_is_not_known_here_lives_while_its_lock_is_held(transport: Transport) {
    let home = Home::with(transport);
    let channel = home.open("a");
    let unknown = home.path().join("a_abcdefghijkl_4194304");
    std::fs::rename(channel.path(), &unknown).unwrap();
    assert_eq!(alive(&home), [true]);
    assert_eq!(home.cleanup(), 0);
    assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 1);
}

/// Between libpubsub programs liveness survives PID namespaces (two containers sharing the store).
fn liveness_survives_pid_namespaces(transport: Transport) {
    if !is_root() {
        return;
    }
    let home = Home::with(transport);
    let mut outside = home.open("out");
    let (mut here, mut there) = handover();
    let container = fork_in_pid_namespace(|| {
        // The pid of the channel outside means nothing here, or another process.
        assert_eq!(alive(&home), [true]);
        assert_eq!(home.cleanup(), 0);
        let mut inside = home.open("in");
        assert!(inside.path().to_str().unwrap().ends_with("_1"));
        assert_eq!(home.publisher("out").publish(b"from inside", None).unwrap(), 1);
        there.give();
        assert_eq!(next(&mut inside).data(), b"from outside");
        there.give();
        there.ended();
    });
    here.take();
    assert_eq!(next(&mut outside).data(), b"from inside");
    assert_eq!(home.cleanup(), 0);
    let publisher = home.publisher("in");
    assert_eq!(publisher.publish(b"from outside", None).unwrap(), 1);
    here.take();
    container.kill();
    // The one inside dies with its parent, and its pid, 1, lives on here.
    eventually("its death", || publisher.publish(b"x", None).unwrap() == 0);
    eventually("its removal", || home.cleanup() == 1);
    assert_eq!(home.channels(), [outside.path()]);
}

/// fork: in the child, inherited handles answer Closed, closing them only frees memory, new ones work; the parent notices
/// nothing.
fn a_forked_child_gets_closed_for_what_it_inherited_and_may_open_its_own(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let publisher = home.publisher("a");
    publisher.publish(b"before", None).unwrap();
    publisher.publish(b"before", None).unwrap();
    channel.fetch().unwrap().unwrap();
    let interrupter = channel.interrupter();
    for _ in 0..2 {
        let in_child = |mut channel: Channel, publisher: Publisher| {
            let closed = |kind: ErrorKind| assert_eq!(kind, ErrorKind::Closed);
            closed(channel.fetch().unwrap_err().kind());
            closed(channel.fetch_wait(None).unwrap_err().kind());
            closed(channel.fetch_batch(&mut Vec::new(), 1, None).unwrap_err().kind());
            closed(channel.fd().unwrap_err().kind());
            closed(channel.feed(&[1; 8]).unwrap_err().kind());
            closed(channel.stats().unwrap_err().kind());
            closed(publisher.publish(b"x", None).unwrap_err().kind());
            closed(publisher.publish_batch(&[]).unwrap_err().kind());
            interrupter.interrupt();
            channel.close().unwrap();
            drop(publisher);
            let mut own = home.open("b");
            assert_eq!(home.publisher("b").publish(b"own", None).unwrap(), 1);
            assert_eq!(home.publisher("a").publish(b"to the parent", None).unwrap(), 1);
            assert_eq!(own.fetch().unwrap().unwrap().data(), b"own");
        };
        // The child drops its copies of these; the parent's live on.
        // SAFETY: bitwise copies that only the child uses and drops, and there only they are used.
        let (copy, copy_of_publisher) = unsafe { (std::ptr::read(&channel), std::ptr::read(&publisher)) };
        let (copy, copy_of_publisher) =
            (std::mem::ManuallyDrop::new(copy), std::mem::ManuallyDrop::new(copy_of_publisher));
        let run = || {
            in_child(std::mem::ManuallyDrop::into_inner(copy), std::mem::ManuallyDrop::into_inner(copy_of_publisher))
        };
        Child::fork(run).succeeds();
        assert!(channel.fetch_wait(Some(LONG)).unwrap().is_some(), "the parent's goes on");
    }
    publisher.publish(b"after", None).unwrap();
    let rest: Vec<Vec<u8>> = drain(&mut channel).iter().map(|m| m.data().to_vec()).collect();
    assert_eq!(rest.last().unwrap(), b"after");
    assert_eq!(home.channels(), [channel.path()]);
}

/// A parent's death is noticed although a child that it forked, and that never calls the library, lives on.
fn a_parents_death_is_noticed_although_its_child_lives(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let (mut end, held) = handover();
    let parent = Child::fork(|| {
        let mut channel = home.open("a");
        channel.fd().unwrap();
        let child = Child::fork(|| {
            there.give();
            held.given();
        });
        std::mem::forget(child);
        here.take();
        std::mem::forget(channel);
    });
    parent.succeeds();
    let publisher = home.publisher("a");
    assert_eq!(alive(&home), [false]);
    assert_eq!(publisher.publish(b"x", None).unwrap(), 0);
    assert_eq!(home.cleanup(), 1);
    end.give();
}

/// File descriptors: a budget that is kept: fewer than there are channels to publish to will do.
fn publishing_to_many_channels_needs_few_descriptors(transport: Transport) {
    let home = Home::with(transport);
    let mut channels: Vec<Channel> = (0..600).map(|_| home.open("a.=")).collect();
    let small = home.open("b");
    Child::fork(|| {
        let publisher = home.publisher("a.b");
        let room = files_open() + 60;
        limit_files(room);
        for _ in 0..3 {
            let taken = publisher.publish(b"x", None).unwrap();
            assert_eq!((taken, last_rejected()), (600, 0));
        }
        assert_eq!(home.publisher("b").publish(b"x", None).unwrap(), 1);
    })
    .succeeds();
    for channel in &mut channels {
        assert_eq!(drain(channel).len(), 3);
    }
    drop(small);
}

/// A process that reaches its limit gets an error that names it, and goes on when it is raised.
fn a_process_that_reaches_its_limit_of_open_files_is_told_so(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a.=");
    Child::fork(|| {
        let publisher = home.publisher("a.b");
        let before = limit_files(files_open());
        for error in [
            publisher.publish(b"x", None).unwrap_err(),
            Channel::open("c", &home.options()).unwrap_err(),
            Publisher::open("c", &PublisherOptions { home: Some(home.outside().join("new")), ..Default::default() })
                .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Io);
            assert!(error.to_string().contains("ulimit -n"), "{error}");
        }
        limit_files(before);
        assert_eq!(publisher.publish(b"y", None).unwrap(), 1);
        drop(home.open("c"));
    })
    .succeeds();
    assert_eq!(next(&mut channel).data(), b"y");
}

/// A store may be far down a path, be reached by different paths, and be used after the working directory changed.
#[test]
fn a_relative_home_stays_what_it_was() {
    let home = Home::new();
    Child::fork(|| {
        std::env::set_current_dir(home.outside()).unwrap();
        let options = PublisherOptions { home: Some("store".into()), ..Default::default() };
        let publisher = Publisher::open("a", &options).unwrap();
        let options = ChannelOptions { home: Some("store".into()), ..Default::default() };
        let mut channel = Channel::open("a", &options).unwrap();
        std::env::set_current_dir("/").unwrap();
        assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
        assert_eq!(next(&mut channel).data(), b"x");
        channel.close().unwrap();
    })
    .succeeds();
    assert!(home.channels().is_empty() && !Path::new("/store").exists());
    // Not a store: something else is there.
    let file = home.outside().join("file");
    let _socket = UnixDatagram::bind(&file).unwrap();
    let options = ChannelOptions { home: Some(file), ..Default::default() };
    assert_eq!(Channel::open("a", &options).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

/// Many children forked while other threads use the library use it at once themselves.
fn children_forked_at_any_moment_can_use_the_library(transport: Transport) {
    let home = Home::with(transport);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = AtEnd(&stop);
        for i in 0..2 {
            let (home, stop) = (&home, &stop);
            scope.spawn(move || {
                let topic = format!("t.{i}");
                while !stop.load(SeqCst) {
                    let mut channel = home.open(&topic);
                    let publisher = home.publisher(&topic);
                    for _ in 0..5 {
                        publisher.publish(b"x", None).unwrap();
                    }
                    assert_eq!(drain(&mut channel).len(), 5);
                }
            });
        }
        for round in 0..60 {
            let children = [0, 1].map(|i| {
                Child::fork(|| {
                    // One that finds a lock held for ever hangs.
                    kill_after(LONG.as_secs() as u32);
                    let topic = format!("child.{round}.{i}");
                    let mut channel = home.open(&topic);
                    assert_eq!(home.publisher(&topic).publish(b"x", None).unwrap(), 1);
                    assert_eq!(drain(&mut channel).len(), 1);
                    channel.close().unwrap();
                })
            });
            for child in children {
                child.succeeds();
            }
        }
    });
    home.cleanup();
    assert!(home.channels().is_empty());
}

/// A store is made by whoever comes first; several may.
fn many_processes_make_a_store_at_once(transport: Transport) {
    for _ in 0..40 {
        let home = Home::with(transport);
        let (mut start, begun) = handover();
        let children: Vec<Child> = (0..6)
            .map(|_| {
                Child::fork(|| {
                    begun.given();
                    let mut channel = home.open("a");
                    assert!(home.publisher("a").publish(b"x", None).unwrap() >= 1);
                    assert!(channel.fetch().unwrap().is_some());
                    std::mem::forget(channel);
                })
            })
            .collect();
        start.give();
        for child in children {
            child.succeeds();
        }
    }
}

/// Children of one process that open channels at the same moment do not get into each other's way.
fn children_of_one_process_open_channels_side_by_side(transport: Transport) {
    let home = Home::with(transport);
    // What made the random part of the names in the parent is inherited.
    drop(home.open("a"));
    for _ in 0..5 {
        let children: Vec<Child> = (0..4)
            .map(|_| {
                Child::fork(|| {
                    for _ in 0..200 {
                        drop(home.open("a"));
                    }
                })
            })
            .collect();
        for child in children {
            child.succeeds();
        }
    }
    assert!(home.channels().is_empty() && home.residue().is_empty());
}

/// A channel opened in one thread while another forks is dead when its process is, although the children live.
fn a_channel_opened_during_a_fork_dies_with_its_process(transport: Transport) {
    let home = Home::with(transport);
    let (mut end, held) = handover();
    let parent = Child::fork(|| {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let opening = scope.spawn(|| {
                let mut channels = Vec::new();
                while !stop.load(SeqCst) && channels.len() < 3_000 {
                    channels.push(home.open("a"));
                }
                channels
            });
            for _ in 0..150 {
                thread::sleep(Duration::from_micros(200));
                std::mem::forget(Child::fork(|| {
                    held.given();
                }));
            }
            stop.store(true, SeqCst);
            std::mem::forget(opening.join().unwrap());
        });
    });
    parent.succeeds();
    // A child lets go of what it inherited when it first runs, which a busy machine puts off.
    let patience = Instant::now() + LONG / 3;
    let count = || alive(&home).into_iter().filter(|&alive| alive).count();
    while count() > 0 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(5));
    }
    let alive = count();
    end.give();
    assert_eq!(alive, 0, "of {} channels", home.channels().len());
}
