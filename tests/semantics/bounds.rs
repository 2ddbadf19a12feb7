//! Bounds of a queue, and channels that reject when they are full.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    a_queue_takes_16384_messages_by_default,
    a_queue_takes_64_mib_by_default,
    a_message_larger_than_the_byte_bound_is_taken_only_into_an_empty_queue,
    a_bound_of_messages_is_exact_with_several_publishers,
    a_bound_of_bytes_is_exact_with_several_publishers,
    a_bound_stays_exact_under_a_polling_receiver,
    a_refused_message_is_told_and_counted,
    a_publisher_may_wait_for_room,
    a_publisher_that_waits_for_room_notices_the_receivers_death,
    a_signal_ends_the_wait_for_room,
    a_batch_stops_before_the_first_that_would_fail,
    a_batch_to_a_managed_topic_stops_there_too,
    a_channel_takes_little_memory_in_the_store,
}

/// What a message to "a" with this much content counts for in a queue's bytes, without headers.
fn stored(transport: Transport, data: usize) -> u64 {
    let home = Home::with(transport);
    let channel = home.open("a");
    assert_eq!(home.publisher("a").publish(&vec![0; data], None).unwrap(), 1);
    let stored = channel.stats().unwrap().unread_bytes;
    assert!((data as u64 + 1..data as u64 + 100).contains(&stored), "{stored} for {data}");
    stored
}

/// Publishes until it is refused; how many were taken.
fn fill(publisher: &Publisher, data: &[u8]) -> u64 {
    let mut taken = 0;
    loop {
        match publisher.publish(data, None) {
            Ok(1) => taken += 1,
            Ok(n) => panic!("taken by {n}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}");
                return taken;
            }
        }
    }
}

/// Default bound 16,384 messages.
fn a_queue_takes_16384_messages_by_default(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let publisher = home.publisher("a");
    assert_eq!(fill(&publisher, b"x"), 16_384);
    let stats = channel.stats().unwrap();
    assert_eq!((stats.unread_messages, stats.capacity_messages, stats.capacity_bytes), (16_384, 16_384, 64 << 20));
    assert_eq!(drain(&mut channel).len(), 16_384);
    assert_eq!(fill(&publisher, b"x"), 16_384);
}

/// ... and 64 MiB, whichever is reached first.
fn a_queue_takes_64_mib_by_default(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let publisher = home.publisher("a");
    let data = vec![1; 4 << 20];
    assert_eq!(fill(&publisher, &data), (64 << 20) / stored(transport, 4 << 20));
    assert_eq!(drain(&mut channel).len(), 15);
}

/// The bound in bytes counts topic, headers and content as they are stored. A message larger than the byte bound is taken
/// only into an empty queue.
fn a_message_larger_than_the_byte_bound_is_taken_only_into_an_empty_queue(transport: Transport) {
    let home = Home::with(transport);
    let options = ChannelOptions { capacity_bytes: 10 * stored(transport, 100), ..home.options() };
    let mut channel = Channel::open("a", &options).unwrap();
    let publisher = home.publisher("a");
    assert_eq!(fill(&publisher, &[0; 100]), 10);
    assert_eq!(drain(&mut channel).len(), 10);
    let large = vec![0; 5000];
    publisher.publish(b"small", None).unwrap();
    assert_eq!(publisher.publish(&large, None).unwrap_err().kind(), ErrorKind::QueueFull);
    assert_eq!(drain(&mut channel).len(), 1);
    assert_eq!(publisher.publish(&large, None).unwrap(), 1);
    assert_eq!(publisher.publish(b"small", None).unwrap_err().kind(), ErrorKind::QueueFull);
    assert_eq!(drain(&mut channel)[0].data(), large);
    assert_eq!(publisher.publish(&large, None).unwrap(), 1);
}

fn exactly(transport: Transport, messages: u64, bytes: u64, expected: u64, data: &[u8]) {
    let home = Home::with(transport);
    let options = ChannelOptions { capacity_messages: messages, capacity_bytes: bytes, ..home.options() };
    let mut channel = Channel::open("a", &options).unwrap();
    for round in 0..5 {
        let processes = [(); 2].map(|()| {
            Child::fork(|| {
                fill(&home.publisher("a"), data);
            })
        });
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let publisher = home.publisher("a");
                    barrier.wait();
                    fill(&publisher, data);
                });
            }
        });
        for process in processes {
            process.succeeds();
        }
        assert_eq!(channel.stats().unwrap().unread_messages, expected, "round {round}");
        assert_eq!(drain(&mut channel).len() as u64, expected);
    }
}

/// The bound is exact, however many publish at once.
fn a_bound_of_messages_is_exact_with_several_publishers(transport: Transport) {
    exactly(transport, 1_000, 0, 1_000, b"x");
}

/// The same for bytes.
fn a_bound_of_bytes_is_exact_with_several_publishers(transport: Transport) {
    exactly(transport, 0, 700 * stored(transport, 50) + 7, 700, &[0; 50]);
}

/// A receiver that polls an empty queue all the time sees publishers in the middle of their work; the bound stays exact.
fn a_bound_stays_exact_under_a_polling_receiver(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a", 50);
    let publisher = home.publisher("a");
    let (stop, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    for _ in 0..5 {
        let mut received = 0;
        stop.store(false, SeqCst);
        sent.store(0, SeqCst);
        thread::scope(|scope| {
            let _stop = AtEnd(&stop);
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    sent.fetch_add(publisher.publish(b"x", None).unwrap_or(0) as u64, SeqCst);
                }
            });
            let end = Instant::now() + Duration::from_millis(100);
            while Instant::now() < end {
                received += u64::from(channel.fetch().unwrap().is_some());
            }
        });
        while received < sent.load(SeqCst) {
            received += u64::from(channel.fetch().unwrap().is_some());
        }
        assert_eq!(fill(&publisher, b"x"), 50);
        assert_eq!(drain(&mut channel).len(), 50);
    }
}

/// Reject: the publisher is told, the channel counts it.
fn a_refused_message_is_told_and_counted(transport: Transport) {
    let home = Home::with(transport);
    let mut small = home.open_with_room("a.b", 2);
    let publisher = home.publisher("a.b");
    assert_eq!(fill(&publisher, b"x"), 2);
    assert_eq!(last_rejected(), 1);
    assert_eq!(small.stats().unwrap().rejected, 1);
    let error = publisher.publish(b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(error.to_string().contains("a.b"), "{error}");
    assert_eq!(small.stats().unwrap().rejected, 2);

    // Some took it: the answer is those that did, and last_rejected() those that did not.
    let large = home.open("a.=");
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    assert_eq!(last_rejected(), 1);
    assert_eq!((small.stats().unwrap().rejected, large.stats().unwrap().rejected), (3, 0));
    drain(&mut small);
    assert_eq!(publisher.publish(b"x", None).unwrap(), 2);
    assert_eq!(last_rejected(), 0);
    // Per thread.
    assert_eq!(home.publisher("nobody").publish(b"", None).unwrap(), 0);
    assert_eq!(thread::spawn(last_rejected).join().unwrap(), 0);
}

/// `full_timeout`: a publish waits until there is room.
fn a_publisher_may_wait_for_room(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a", 1);
    let patient = PublisherOptions { full_timeout: LONG, ..home.publisher_options() };
    let patient = Publisher::open("a", &patient).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..500u64 {
                assert_eq!(patient.publish(&i.to_le_bytes(), None).unwrap(), 1);
            }
        });
        for i in 0..500 {
            assert_eq!(number(&next(&mut channel)), i);
        }
    });
    // 0 does not wait, a time is kept.
    let impatient = home.publisher("a");
    assert_eq!(fill(&impatient, b"x"), 1);
    let some = PublisherOptions { full_timeout: Duration::from_millis(30), ..home.publisher_options() };
    let begun = Instant::now();
    let error = Publisher::open("a", &some).unwrap().publish(b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueueFull);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(last_rejected(), 1);
}

/// `full_timeout`: it notices a receiver's death while it waits.
fn a_publisher_that_waits_for_room_notices_the_receivers_death(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let receiver = Child::fork(|| {
        let _channel = home.open_with_room("a", 1);
        there.give();
        assert!(there.ended());
    });
    here.take();
    let options = PublisherOptions { full_timeout: LONG * 10, ..home.publisher_options() };
    let publisher = Publisher::open("a", &options).unwrap();
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            receiver.kill();
        });
        assert_eq!(publisher.publish(b"x", None).unwrap(), 0);
    });
    assert!(begun.elapsed() < LONG);
}

/// ... and a handled signal ends it.
fn a_signal_ends_the_wait_for_room(transport: Transport) {
    let home = Home::with(transport);
    let _channel = home.open_with_room("a", 1);
    on_signal(libc::SIGUSR2, ignore);
    let options = PublisherOptions { full_timeout: LONG, ..home.publisher_options() };
    let publisher = Publisher::open("a", &options).unwrap();
    publisher.publish(b"x", None).unwrap();
    let (waiter, done) = (this_thread(), AtomicBool::new(false));
    thread::scope(|scope| {
        let done = &done;
        let _done = AtEnd(done);
        scope.spawn(move || {
            while !done.load(SeqCst) {
                waiter.signal(libc::SIGUSR2);
                thread::sleep(Duration::from_millis(2));
            }
        });
        let error = publisher.publish(b"x", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        assert_eq!(last_rejected(), 1);
    });
}

/// Batches: exactly as that many single calls; it stops before the first that would fail, and answers an error only when
/// that is the first.
fn a_batch_stops_before_the_first_that_would_fail(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a", 5);
    let publisher = home.publisher("a");
    let mut headers = Headers::new();
    headers.set("k", HeaderValue::Int(1));
    let data: Vec<[u8; 8]> = (0..8u64).map(u64::to_le_bytes).collect();
    let payloads: Vec<Payload<'_>> =
        data.iter().enumerate().map(|(i, data)| Payload { data, headers: (i % 2 == 0).then_some(&headers) }).collect();
    assert_eq!(publisher.publish_batch(&payloads).unwrap(), 5);
    assert_eq!(publisher.publish_batch(&payloads).unwrap_err().kind(), ErrorKind::QueueFull);
    for (i, message) in drain(&mut channel).iter().enumerate() {
        assert_eq!((number(message), message.headers().len()), (i as u64, (i + 1) % 2));
    }
    let packed: Vec<u8> = data.concat();
    assert_eq!(publisher.publish_packed(&packed[..30], &[8, 0, 20, 2], Some(&headers)).unwrap(), 4);
    let got = drain(&mut channel);
    assert_eq!(got.iter().map(|m| m.data().len()).collect::<Vec<_>>(), [8, 0, 20, 2]);
    assert_eq!(got.iter().map(|m| m.data()).collect::<Vec<_>>().concat(), packed[..30]);
    assert!(got.iter().all(|m| m.headers() == headers));
    for lengths in [&[8, 8][..], &[64, 1], &[u32::MAX; 4], &[]] {
        let error = publisher.publish_packed(&packed, lengths, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(publisher.publish_packed(&[], &[], None).unwrap(), 0);
    assert_eq!(publisher.publish_batch(&[]).unwrap(), 0);
    assert!(channel.fetch().unwrap().is_none());
}

/// To a managed topic, too: its history has what single publishes would have put there, and what is published again behind a
/// refusal is told apart by nothing but its place.
fn a_batch_to_a_managed_topic_stops_there_too(transport: Transport) {
    let home = Home::with(transport);
    let data: Vec<[u8; 8]> = (0..150_u64).map(u64::to_le_bytes).collect();
    let mut kept = Vec::new();
    for batch in [false, true] {
        let topic = format!("a.{batch}");
        create_topic(&topic, &TopicOptions { history_messages: 1000, home: Some(home.path()), ..Default::default() })
            .unwrap();
        let mut channel = home.open_with_room(&topic, 70);
        let publisher = home.publisher(&topic);
        let mut handled = 0;
        while handled < data.len() {
            let before = handled;
            if batch {
                let rest = data[handled..].iter().map(|data| Payload { data, headers: None });
                handled += publisher.publish_batch(&rest.collect::<Vec<_>>()).unwrap();
            } else {
                while handled < data.len() && publisher.publish(&data[handled], None).is_ok() {
                    handled += 1;
                }
            }
            let got = drain(&mut channel);
            let numbers: Vec<u64> = got.iter().map(number).collect();
            assert_eq!(numbers, (before as u64..handled as u64).collect::<Vec<_>>());
            assert_eq!(handled - before, 70.min(data.len() - before));
        }
        let all = Channel::open(&topic, &ChannelOptions { replay_last: 1000, ..home.options() });
        kept.push(drain(&mut all.unwrap()).iter().map(number).collect::<Vec<_>>());
    }
    assert_eq!(kept[0], kept[1]);
}

/// Memory in the store: a channel never used at most 128 KiB; drained, at most 512 KiB and 64 KiB for each publisher.
fn a_channel_takes_little_memory_in_the_store(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    assert!(allocated(channel.path()) <= 128 << 10, "{}", allocated(channel.path()));
    fill(&home.publisher("a"), b"x");
    assert!(allocated(channel.path()) > 16_384);
    drain(&mut channel);
    assert!(allocated(channel.path()) <= 576 << 10, "{}", allocated(channel.path()));
}
