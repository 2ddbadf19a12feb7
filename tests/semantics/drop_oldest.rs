//! Channels that drop the oldest when they are full.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    as_few_as_needed_of_the_oldest_are_dropped_and_counted,
    as_few_as_needed_are_dropped_for_a_large_message,
    a_flooded_receiver_makes_progress_and_nothing_is_lost_uncounted,
    killed_publishers_do_not_wedge_a_full_queue,
}

fn open(home: &Home, messages: u64, bytes: u64) -> Channel {
    let options = ChannelOptions {
        full_policy: FullPolicy::DropOldest,
        capacity_messages: messages,
        capacity_bytes: bytes,
        ..home.options()
    };
    Channel::open("a.=", &options).unwrap()
}

/// Drop the oldest, as few as needed; the receiver sees how many went (`dropped_before`).
fn as_few_as_needed_of_the_oldest_are_dropped_and_counted(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = open(&home, 100, 0);
    let publisher = home.publisher("a.b");
    for i in 0..250u64 {
        assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1);
    }
    let got = drain(&mut channel);
    assert_eq!(got.iter().map(number).collect::<Vec<_>>(), (150..250).collect::<Vec<_>>());
    assert_eq!(got[0].dropped_before(), 150);
    assert!(got[1..].iter().all(|message| message.dropped_before() == 0));
    assert_eq!(channel.stats().unwrap().dropped, 150);
    assert_eq!((channel.stats().unwrap().rejected, channel.stats().unwrap().received), (0, 100));
}

/// The same for bytes: a large message takes the place of as many small ones as it is large, and of no more.
fn as_few_as_needed_are_dropped_for_a_large_message(transport: Transport) {
    let home = Home::with(transport);
    let probe = open(&home, 0, 0);
    home.publisher("a.b").publish(&[0; 8], None).unwrap();
    let size = probe.stats().unwrap().unread_bytes;
    drop(probe);
    let mut channel = open(&home, 0, 100 * size);
    let publisher = home.publisher("a.b");
    for i in 0..100u64 {
        publisher.publish(&i.to_le_bytes(), None).unwrap();
    }
    // As large as ten.
    publisher.publish(&vec![255; 8 + 9 * size as usize], None).unwrap();
    assert_eq!(channel.stats().unwrap().dropped, 10);
    let got = numbers(&mut channel);
    assert_eq!(got, (10..100).chain([u64::MAX]).collect::<Vec<_>>());
    // Larger than the bound: only into an empty queue.
    publisher.publish(&7u64.to_le_bytes(), None).unwrap();
    publisher.publish(&vec![255; 200 * size as usize], None).unwrap();
    let got = drain(&mut channel);
    assert_eq!((got.len(), got[0].dropped_before()), (1, 1));
}

/// The receiver always makes progress while publishers flood; order is kept, and what was received and what was dropped are
/// together what was published.
fn a_flooded_receiver_makes_progress_and_nothing_is_lost_uncounted(transport: Transport) {
    const PUBLISHERS: usize = 4;
    let home = Home::with(transport);
    let mut channel = open(&home, 200, 0);
    let stop = AtomicBool::new(false);
    let published = AtomicU64::new(0);
    let flood = |me: usize, until: &dyn Fn() -> bool| {
        let publisher = home.publisher(&format!("a.{me}"));
        let mut i = 0u64;
        while !until() {
            assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1);
            i += 1;
        }
        i
    };
    let (mut here, there) = handover();
    let process = {
        let there = std::cell::RefCell::new(there);
        Child::fork(move || {
            let count = std::cell::Cell::new(0);
            let n = flood(0, &|| count.replace(count.get() + 1) == 20_000);
            assert_eq!(n, 20_000);
            there.borrow_mut().give();
        })
    };
    let (mut received, mut dropped) = (0u64, 0u64);
    let mut last = [None; PUBLISHERS];
    let mut take = |message: &Message| {
        let publisher: usize = message.topic()[2..].parse().unwrap();
        assert!(last[publisher].is_none_or(|last| number(message) > last), "order of {publisher}");
        last[publisher] = Some(number(message));
        received += 1;
        dropped += message.dropped_before();
    };
    thread::scope(|scope| {
        let _stop = AtEnd(&stop);
        for me in 1..PUBLISHERS {
            let (stop, published, flood) = (&stop, &published, &flood);
            scope.spawn(move || published.fetch_add(flood(me, &|| stop.load(SeqCst)), SeqCst));
        }
        for _ in 0..10_000 {
            take(&next(&mut channel));
        }
        here.take();
    });
    process.succeeds();
    // More drops, by one publisher and with nobody fetching: their count is exact, so that the sum is.
    let publisher = home.publisher("a.1");
    let after = last_number_of(&home, &mut channel, &mut take, &publisher);
    drain(&mut channel).iter().for_each(&mut take);
    assert_eq!(received + dropped, 20_000 + published.load(SeqCst) + after);
    assert_eq!(channel.stats().unwrap().dropped, dropped);
    assert_eq!(channel.stats().unwrap().received, received);
}

/// Takes what is queued, then publishes more than the queue holds; how many.
fn last_number_of(_home: &Home, channel: &mut Channel, take: &mut dyn FnMut(&Message), publisher: &Publisher) -> u64 {
    drain(channel).iter().for_each(take);
    for i in 0..300u64 {
        publisher.publish(&(u64::MAX - 300 + i).to_le_bytes(), None).unwrap();
    }
    300
}

/// A publisher stopped or killed in the middle of dropping does not keep others from it.
fn killed_publishers_do_not_wedge_a_full_queue(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = open(&home, 20, 0);
    for _ in 0..30 {
        let (mut here, mut there) = handover();
        let victim = Child::fork(|| {
            let publisher = home.publisher("a.victim");
            for i in 0..u64::MAX {
                publisher.publish(&i.to_le_bytes(), None).unwrap();
                if i == 30 {
                    there.give();
                }
            }
        });
        here.take();
        victim.kill();
        let publisher = home.publisher("a.b");
        for i in 0..40u64 {
            assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1);
        }
        // A killed publisher may leave a figure too high: the bound is then met with fewer.
        let got = drain(&mut channel);
        let mine: Vec<u64> = got.iter().filter(|m| m.topic() == "a.b").map(number).collect();
        assert_eq!(mine, (40 - mine.len() as u64..40).collect::<Vec<_>>());
        assert!(!mine.is_empty() && got.len() <= 21, "{} of {}", mine.len(), got.len());
    }
    assert_eq!(in_directory(&channel), ["control", "queue"]);
}
