//! The descriptor: readable as long as a message waits.

use std::thread;
use std::time::Duration;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    the_descriptor_is_readable_as_long_as_a_message_waits,
    the_descriptor_is_readable_for_who_does_not_fetch_until_there_is_none,
    a_descriptor_asked_for_late_is_readable_at_once,
    the_descriptor_tells_of_what_comes_after_many,
    the_descriptor_is_readable_across_an_overflow,
    an_edge_triggered_epoll_wakes_for_every_message,
    an_interrupt_makes_the_descriptor_readable,
    what_was_read_from_the_descriptor_can_be_fed_back,
    feeding_back_while_publishers_are_at_work_loses_nothing,
}

fn publish(home: &Home, count: u64) {
    let publisher = home.publisher("a");
    for i in 0..count {
        assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1);
    }
}

/// Reads up to `size` bytes from the descriptor, as a runtime does that can only wait by reading.
fn read(fd: i32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    // SAFETY: `bytes` is valid for its length.
    let n = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), size) };
    bytes.truncate(n.max(0) as usize);
    bytes
}

/// The fd is readable as long as a message waits, and not when fetch has said that there is none.
fn the_descriptor_is_readable_as_long_as_a_message_waits(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    assert!(!readable(fd));
    // More than one read of the FIFO takes: the rest waits in the library.
    publish(&home, 600);
    for i in 0..600 {
        assert!(readable(fd), "{i} fetched");
        assert_eq!(number(&channel.fetch().unwrap().unwrap()), i);
    }
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable(fd));
    // By batches, packed, waits and what was given back.
    publish(&home, 100);
    channel.fetch_batch(&mut Vec::new(), 30, None).unwrap();
    assert!(readable(fd));
    assert!(channel.fetch_packed(&mut [0; 40], None).unwrap().0 < 10);
    assert!(readable(fd));
    next(&mut channel);
    assert!(readable(fd));
    while channel.fetch_batch(&mut Vec::new(), 1, Some(Duration::ZERO)).unwrap() > 0 {}
    assert!(!readable(fd));
    publish(&home, 1);
    assert!(matches!(channel.fetch_packed(&mut [0; 2], None), Err(PackError::TooSmall(_))));
    assert!(readable(fd));
    assert_eq!(drain(&mut channel).len(), 1);
    assert!(!readable(fd));
}

/// The same for a loop that fetches one message, or a few, each time the descriptor is readable.
fn the_descriptor_is_readable_for_who_does_not_fetch_until_there_is_none(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    for ahead in 0..3 {
        publish(&home, ahead);
        // The FIFO has its turn once in a while, and then its token is gone: also when it is the last message's.
        for i in 0..600 {
            publish(&home, 1);
            assert!(readable(fd), "{i} and {ahead} more were published");
            assert!(channel.fetch().unwrap().is_some());
        }
        assert_eq!(drain(&mut channel).len() as u64, ahead);
    }
    // The same for what was read and fed back.
    publish(&home, 30);
    let bytes = read(fd, 4096);
    channel.feed(&bytes).unwrap();
    for i in 0..30 {
        assert!(readable(fd), "{i} of 30 fetched");
        assert_eq!(number(&next(&mut channel)), i);
    }
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable(fd));
}

/// One fetch for each time that it is readable is enough, however many that brings, and whoever reads from the descriptor.
fn the_descriptor_tells_of_what_comes_after_many(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    for takes_bytes in [false, true, false] {
        publish(&home, 40);
        assert!(readable(fd));
        if takes_bytes {
            channel.feed(&read(fd, 4096)).unwrap();
        }
        let count = channel.fetch_packed(&mut [0; 4096], Some(Duration::ZERO)).unwrap().0;
        assert!(count >= 40, "{count}, {takes_bytes}");
        publish(&home, 1);
        assert!(readable(fd), "{takes_bytes}");
    }
    assert_eq!(drain(&mut channel).len(), 1);
    assert!(!readable(fd));
}

/// The same when messages were taken in before the descriptor was asked for.
fn a_descriptor_asked_for_late_is_readable_at_once(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    publish(&home, 3);
    channel.fetch().unwrap().unwrap();
    let fd = channel.fd().unwrap();
    assert!(readable(fd));
    assert_eq!(drain(&mut channel).len(), 2);
    assert!(!readable(fd));
}

/// ... and with more messages than the FIFO holds.
fn the_descriptor_is_readable_across_an_overflow(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    publish(&home, 12_000);
    for i in 0..12_000 {
        assert!(readable(fd), "{i} fetched");
        assert_eq!(number(&channel.fetch().unwrap().unwrap()), i);
    }
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable(fd));
}

/// For epoll, edge-triggered as well: fetch until there is nothing, then wait. No wake-up is lost.
fn an_edge_triggered_epoll_wakes_for_every_message(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    let event = |data: u64| libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: data };
    // SAFETY: the pointers are valid for the calls.
    let epoll = unsafe {
        let epoll = libc::epoll_create1(libc::EPOLL_CLOEXEC);
        assert_eq!(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event(7)), 0);
        epoll
    };
    thread::scope(|scope| {
        scope.spawn(|| publish(&home, 5_000));
        let mut expected = 0;
        while expected < 5_000 {
            // SAFETY: one valid event.
            let n = unsafe { libc::epoll_wait(epoll, &mut event(0), 1, LONG.as_millis() as i32) };
            assert_eq!(n, 1, "after {expected}");
            while let Some(message) = channel.fetch().unwrap() {
                assert_eq!(number(&message), expected);
                expected += 1;
            }
        }
    });
    // SAFETY: opened above, not closed yet.
    unsafe { libc::close(epoll) };
}

/// An interrupt makes it readable, and fetching makes it quiet again.
fn an_interrupt_makes_the_descriptor_readable(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    channel.interrupter().interrupt();
    assert!(readable(fd));
    assert!(channel.fetch().unwrap().is_none());
    assert!(!readable(fd));
}

/// What a runtime has read from the descriptor it hands back before it fetches: nothing is lost, doubled or reordered.
fn what_was_read_from_the_descriptor_can_be_fed_back(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let fd = channel.fd().unwrap();
    for (count, sizes) in
        [(700, &[1, 3, 7][..]), (3_000, &[4095, 13]), (12_000, &[65_536]), (12_000, &[1001, 8, 20_001])]
    {
        publish(&home, count);
        let (mut expected, mut turn) = (0, 0);
        while expected < count {
            assert!(readable(fd), "{expected} of {count}");
            let bytes = read(fd, sizes[turn % sizes.len()]);
            turn += 1;
            channel.feed(&bytes).unwrap();
            // Sometimes a part, as a loop with a limit does.
            for _ in 0..if turn % 3 == 0 { 5 } else { usize::MAX } {
                let Some(message) = channel.fetch().unwrap() else { break };
                assert_eq!(number(&message), expected);
                expected += 1;
            }
        }
        assert!(channel.fetch().unwrap().is_none());
        assert!(!readable(fd));
    }
}

/// The same with publishers at work, and a reader that has always read everything there is.
fn feeding_back_while_publishers_are_at_work_loses_nothing(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a", 100_000);
    let fd = channel.fd().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| publish(&home, 20_000));
        let mut expected = 0;
        while expected < 20_000 {
            assert!(readable_within(fd, LONG.as_millis() as i32), "after {expected}");
            for size in [1, 5, 30_000] {
                let bytes = if readable(fd) { read(fd, size) } else { Vec::new() };
                channel.feed(&bytes).unwrap();
            }
            while let Some(message) = channel.fetch().unwrap() {
                assert_eq!(number(&message), expected);
                expected += 1;
            }
            if expected % 1_000 < 20 {
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    assert!(channel.fetch().unwrap().is_none());
}
