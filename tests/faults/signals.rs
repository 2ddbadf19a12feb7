//! Signals: SIGPIPE never raised, handlers storming, forks in all places.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    a_publisher_survives_its_receivers_death_with_the_default_sigpipe,
    a_pending_sigpipe_of_the_programs_own_is_kept,
    a_storm_of_signals_only_ends_waits,
    forks_in_the_midst_of_everything_harm_neither_side,
}

fn set(signal: i32, how: i32) {
    // SAFETY: plain C structs, initialised by sigemptyset.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

fn is_pending(signal: i32) -> bool {
    // SAFETY: a plain C struct, written by sigpending.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&mut set);
        libc::sigismember(&set, signal) == 1
    }
}

/// Publishes to receivers that die, one after the other, while the publisher has their queues open.
fn publish_to_dying_receivers(home: &Home) {
    let publisher = home.publisher("a");
    for _ in 0..5 {
        let (mut here, mut there) = handover();
        let receiver = Child::fork(|| {
            let mut channel = home.open("a");
            let _ = channel.fd().unwrap();
            there.give();
            // It dies while it waits: where publishers wake only who waits, they write to its FIFO.
            next(&mut channel);
            assert!(channel.fetch().unwrap().is_none());
            there.give();
            there.ended();
        });
        here.take();
        assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
        here.take();
        receiver.kill();
        notices_that_nobody_is_there(&publisher);
        home.cleanup();
    }
}

/// The library never raises SIGPIPE.
fn a_publisher_survives_its_receivers_death_with_the_default_sigpipe(transport: Transport) {
    let home = Home::with(transport);
    Child::fork(|| {
        // SAFETY: sets the default disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        publish_to_dying_receivers(&home);
        // A SIGPIPE of the program's own still kills it.
        Child::fork(|| {
            // SAFETY: no pointers.
            unsafe { libc::raise(libc::SIGPIPE) };
        })
        .dies_of(libc::SIGPIPE);
    })
    .succeeds();
}

/// A SIGPIPE that the program has blocked and that is pending stays pending; none is left that was not there.
fn a_pending_sigpipe_of_the_programs_own_is_kept(transport: Transport) {
    let home = Home::with(transport);
    Child::fork(|| {
        // SAFETY: sets the default disposition.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        set(libc::SIGPIPE, libc::SIG_BLOCK);
        publish_to_dying_receivers(&home);
        assert!(!is_pending(libc::SIGPIPE));
        this_thread().signal(libc::SIGPIPE);
        assert!(is_pending(libc::SIGPIPE));
        publish_to_dying_receivers(&home);
        assert!(is_pending(libc::SIGPIPE));
    })
    .succeeds();
}

/// Handlers storming: only waits end by them, and nothing is lost.
fn a_storm_of_signals_only_ends_waits(transport: Transport) {
    let home = Home::with(transport);
    Child::fork(|| {
        on_signal(libc::SIGALRM, ignore);
        let storm = |micros: i64| {
            let time = libc::timeval { tv_sec: 0, tv_usec: micros };
            let timer = libc::itimerval { it_interval: time, it_value: time };
            // SAFETY: a valid timer; the old one is not asked for.
            assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &timer, std::ptr::null_mut()) }, 0);
        };
        storm(1_000);
        let mut interrupted = 0;
        for round in 0..20 {
            let mut channel = home.open("a.=");
            let publisher = home.publisher("a.b");
            for i in 0..300u64 {
                assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1, "round {round}");
            }
            let mut expected = 0;
            while expected < 300 {
                match channel.fetch_wait(Some(LONG)) {
                    Ok(message) => {
                        assert_eq!(number(&message.unwrap()), expected);
                        expected += 1;
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Interrupted),
                }
            }
            assert!(channel.fetch().unwrap().is_none());
            interrupted += u64::from(channel.fetch_wait(Some(LONG)).is_err_and(|e| e.kind() == ErrorKind::Interrupted));
            channel.close().unwrap();
            home.cleanup();
        }
        storm(0);
        assert_eq!(interrupted, 20);
        assert!(home.channels().is_empty() && home.residue().is_empty());
    })
    .succeeds();
}

/// Fork in all places: while other threads publish, fetch, open and close, children use the library at once.
fn forks_in_the_midst_of_everything_harm_neither_side(transport: Transport) {
    let home = Home::with(transport);
    let stop = AtomicBool::new(false);
    let mut all = home.open_with_room("live", 1 << 20);
    let published = thread::scope(|scope| {
        let _stop = AtEnd(&stop);
        let publisher = scope.spawn(|| {
            let publisher = home.publisher("live");
            let mut n = 0u64;
            while !stop.load(SeqCst) {
                assert_eq!(publisher.publish(&n.to_le_bytes(), None).unwrap(), 1);
                n += 1;
            }
            n
        });
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                let _ = home.open("come.and.go").close();
                let _ = list_channels(Some(&home.path()));
            }
        });
        for round in 0..80 {
            Child::fork(|| {
                let mut own = home.open("own");
                assert_eq!(home.publisher("own").publish(b"x", None).unwrap(), 1, "round {round}");
                assert_eq!(drain(&mut own).len(), 1);
            })
            .succeeds();
        }
        stop.store(true, SeqCst);
        publisher.join().unwrap()
    });
    assert_eq!(numbers(&mut all), (0..published).collect::<Vec<_>>());
    all.close().unwrap();
    home.cleanup();
    assert!(home.channels().is_empty() && home.residue().is_empty());
}
