//! Publish and fetch: what arrives where, whole and in which order.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    one_publishers_messages_arrive_in_order_on_a_disk,
    one_publishers_messages_arrive_in_order_whenever_the_fifo_overflows,
    one_publishers_messages_arrive_in_order,
    a_published_message_survives_the_publishers_death,
    a_channel_opened_before_a_publish_receives_it_from_threads,
    a_channel_opened_before_a_publish_receives_it_from_processes,
    a_message_arrives_whole,
    no_publisher_waits_for_a_stopped_subscriber,
    no_publisher_waits_for_a_stopped_publisher,
    each_channel_has_its_own_queue_and_unread_messages_persist,
    fetch_removes_and_closing_removes_the_rest,
    ids_are_unique_and_rise_and_tell_the_time,
    threads_that_share_a_publisher_keep_their_order,
    batches_and_packed_records_carry_what_single_messages_do,
    exactly_the_matching_channels_are_reached_among_many,
    a_publisher_that_slept_through_thousands_of_opens_knows_the_channels,
}

/// When it returns, the message is in the store and survives the publisher's death.
fn a_published_message_survives_the_publishers_death(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a.=");
    let publisher = Child::fork(|| {
        assert_eq!(home.publisher("a.b").publish(b"last words", None).unwrap(), 1);
        // SAFETY: ends this process.
        unsafe { libc::raise(libc::SIGKILL) };
    });
    assert!(libc::WIFSIGNALED(publisher.wait()));
    assert_eq!(next(&mut channel).data(), b"last words");
    assert!(channel.fetch().unwrap().is_none());
}

/// A channel whose open call returned before the publish began receives it (threads of one process). The publishers
/// publish all the time, so that they have looked for channels just before.
fn a_channel_opened_before_a_publish_receives_it_from_threads(transport: Transport) {
    const ROUNDS: u64 = 5_000;
    const PUBLISHERS: usize = 2;
    let home = Home::with(transport);
    let (opened, closed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (heard, over) = ([const { AtomicU64::new(0) }; PUBLISHERS], AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = AtEnd(&over);
        for heard in &heard {
            let (home, opened, closed, over) = (&home, &opened, &closed, &over);
            scope.spawn(move || {
                let publisher = home.publisher("a.b");
                let mut round = 0;
                while round < ROUNDS && !over.load(SeqCst) {
                    if closed.load(SeqCst) < round {
                        thread::yield_now();
                        continue;
                    }
                    let now = opened.load(SeqCst);
                    let is_reached = match publisher.publish(b"", None) {
                        Ok(taken) => taken == 1,
                        // Whoever opens it was off the processor for long enough to fill it.
                        Err(error) => error.kind() == ErrorKind::QueueFull,
                    };
                    if now > round {
                        if !is_reached {
                            over.store(true, SeqCst);
                            panic!("round {now}: opened before the publish, and not reached");
                        }
                        round = now;
                        heard.store(round, SeqCst);
                    }
                }
            });
        }
        let begun = Instant::now();
        for round in (1..=ROUNDS).take_while(|_| begun.elapsed() < ENOUGH) {
            let mut channel = home.open("a.=");
            opened.store(round, SeqCst);
            for heard in &heard {
                while heard.load(SeqCst) < round && !over.load(SeqCst) {
                    thread::yield_now();
                }
            }
            // One that saw the channel before its open call returned has published before it was told to.
            assert!(drain(&mut channel).len() >= PUBLISHERS);
            drop(channel);
            closed.store(round, SeqCst);
        }
    });
}

/// The same between processes, the channel opened by turns in each.
fn a_channel_opened_before_a_publish_receives_it_from_processes(transport: Transport) {
    const ROUNDS: usize = 3_000;
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let rounds = |baton: &mut Baton, first: bool| {
        let publisher = home.publisher("a.b");
        for round in 0..ROUNDS {
            if (round % 2 == 0) == first {
                let mut channel = home.open("a.+");
                baton.give();
                baton.take();
                assert!(channel.fetch().unwrap().is_some(), "round {round}");
                drop(channel);
                baton.give();
            } else {
                baton.take();
                assert_eq!(publisher.publish(b"", None).unwrap(), 1, "round {round}");
                baton.give();
                baton.take();
            }
        }
    };
    let child = Child::fork(|| rounds(&mut there, false));
    rounds(&mut here, true);
    child.succeeds();
}

/// Checks that every publisher's numbers arrive complete and in order while they flood a receiver whose FIFO overflows
/// all the time.
fn order_across_overflow(transport: Transport, parent: &Path, publishers: u64, each: u64, small_fifo: bool) {
    let home = Home::on(parent, transport);
    let mut channel = home.open_with_room("a.=", 100_000);
    if small_fifo {
        let fifo = std::fs::OpenOptions::new().read(true).write(true).open(channel.path().join("queue")).unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&fifo);
        // SAFETY: no pointers. One page: 512 ids.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, 4096) }, 4096);
    }
    let publish = |me: u64| {
        let publisher = home.publisher(&format!("a.{me}"));
        for i in 0..each {
            let size = if i % 100 == 0 { 9000 } else { 8 };
            let mut data = i.to_le_bytes().to_vec();
            data.resize(size, 7);
            assert_eq!(publisher.publish(&data, None).unwrap(), 1);
        }
    };
    let process = Child::fork(|| publish(0));
    thread::scope(|scope| {
        for me in 1..publishers {
            scope.spawn(move || publish(me));
        }
        if !small_fifo {
            eventually("more queued than a FIFO holds", || unread(&channel) > 9_000);
        }
        let mut expected = vec![0; publishers as usize];
        for _ in 0..publishers * each {
            let message = next(&mut channel);
            let publisher: usize = message.topic()[2..].parse().unwrap();
            assert_eq!(number(&message), expected[publisher], "of publisher {publisher}");
            expected[publisher] += 1;
        }
    });
    process.succeeds();
    assert!(channel.fetch().unwrap().is_none());
    assert_eq!(in_directory(&channel), ["control", "queue"]);
}

/// One publisher's messages to one channel arrive in order, also when they do not fit into the FIFO.
fn one_publishers_messages_arrive_in_order(transport: Transport) {
    order_across_overflow(transport, Path::new("/dev/shm"), 3, 12_000, false);
}

/// The same when the FIFO overflows again and again.
fn one_publishers_messages_arrive_in_order_whenever_the_fifo_overflows(transport: Transport) {
    order_across_overflow(transport, Path::new("/dev/shm"), 3, 8_000, true);
}

/// The same on a file system that lists its entries in no order.
fn one_publishers_messages_arrive_in_order_on_a_disk(transport: Transport) {
    order_across_overflow(transport, &std::env::temp_dir(), 3, 6_000, true);
}

/// A message arrives whole: topic, headers and content of every size.
fn a_message_arrives_whole(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a.=");
    let publisher = home.publisher("a.b");
    let mut headers = Headers::new();
    headers.set("n", HeaderValue::Int(-7)).set("s", HeaderValue::String("é\"".repeat(4000)));
    let sizes = (0..40).chain(8080..8200).chain([65_536, 1 << 20, (8 << 20) + 1]);
    for size in sizes {
        let data: Vec<u8> = (0..size).map(|i: usize| (i * 31 + i / 256) as u8).collect();
        let headers = (size % 3 == 0).then_some(&headers);
        assert_eq!(publisher.publish(&data, headers).unwrap(), 1);
        let message = channel.fetch().unwrap().unwrap();
        assert_eq!(message.topic(), "a.b");
        assert!(message.data() == data, "{size} bytes");
        assert_eq!(message.headers(), headers.cloned().unwrap_or_default());
    }
}

/// No publisher waits for a slow or stopped subscriber.
fn no_publisher_waits_for_a_stopped_subscriber(transport: Transport) {
    let home = Home::with(transport);
    let (mut here, mut there) = handover();
    let subscriber = Child::fork(|| {
        let mut channel = home.open_with_room("a.b", 10);
        there.give();
        while number(&next(&mut channel)) < 10 {}
    });
    here.take();
    subscriber.stop();
    let publisher = home.publisher("a.b");
    for i in 0..10u64 {
        assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 1);
    }
    assert_eq!(publisher.publish(b"too much", None).unwrap_err().kind(), ErrorKind::QueueFull);
    subscriber.signal(libc::SIGCONT);
    eventually("room again", || publisher.publish(&10u64.to_le_bytes(), None).is_ok());
    subscriber.succeeds();
}

/// No publisher waits for another, wherever that was stopped.
fn no_publisher_waits_for_a_stopped_publisher(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a.=");
    let other = Child::fork(|| {
        let publisher = home.publisher("a.other");
        loop {
            let _ = publisher.publish(b"12345678", None);
        }
    });
    let publisher = home.publisher("a.mine");
    let mut sent = 0u64;
    for _ in 0..100 {
        eventually("the other at work", || drain_mine(&mut channel, 0) > 0);
        other.stop();
        // It may have filled the queue before it stopped.
        drain_mine(&mut channel, 0);
        let more = (0..20).inspect(|_| assert_eq!(publisher.publish(&[0; 8], None).unwrap(), 1)).count();
        sent += more as u64;
        let mut mine = 0;
        eventually("mine", || {
            mine += drain_of(&mut channel, "a.mine");
            mine == more
        });
        other.signal(libc::SIGCONT);
    }
    assert_eq!(sent, 2_000);
    other.kill();
}

fn drain_mine(channel: &mut Channel, at_least: usize) -> usize {
    let n = drain(channel).len();
    assert!(n >= at_least);
    n
}

fn drain_of(channel: &mut Channel, topic: &str) -> usize {
    drain(channel).iter().filter(|message| message.topic() == topic).count()
}

/// Each channel has its own queue; unread messages persist until fetched.
fn each_channel_has_its_own_queue_and_unread_messages_persist(transport: Transport) {
    let home = Home::with(transport);
    let mut channels = [home.open("a.b"), home.open("a.b"), home.open("a.="), home.open("b")];
    Child::fork(|| {
        let publisher = home.publisher("a.b");
        for i in 0..100u64 {
            assert_eq!(publisher.publish(&i.to_le_bytes(), None).unwrap(), 3);
        }
    })
    .succeeds();
    for channel in &mut channels[..3] {
        assert_eq!(numbers(channel), (0..100).collect::<Vec<_>>());
    }
    assert!(channels[3].fetch().unwrap().is_none());
}

/// Fetch removes; closing removes the channel and what is unread.
fn fetch_removes_and_closing_removes_the_rest(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let path = channel.path().to_path_buf();
    let publisher = home.publisher("a");
    for _ in 0..3 {
        publisher.publish(b"x", None).unwrap();
    }
    assert_eq!(unread(&channel), 3);
    channel.fetch().unwrap().unwrap();
    assert_eq!(unread(&channel), 2);
    channel.close().unwrap();
    assert!(!path.exists() && home.residue().is_empty(), "{:?}", home.residue());
    assert_eq!(publisher.publish(b"x", None).unwrap(), 0);
    drop(home.open("a"));
    assert!(home.channels().is_empty() && home.residue().is_empty());
}

/// id: 64 bits, unique in a store, rising along each publisher's messages: microseconds since the epoch shifted left by
/// 12, plus a number. timestamp_us is the wall clock at publish.
fn ids_are_unique_and_rise_and_tell_the_time(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a.=", 1 << 20);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
    let before = now();
    let publish = |topic: &str| {
        let publisher = home.publisher(topic);
        for _ in 0..3_000 {
            assert_eq!(publisher.publish(b"", None).unwrap(), 1);
        }
    };
    let processes = [Child::fork(|| publish("a.0")), Child::fork(|| publish("a.1"))];
    thread::scope(|scope| {
        for topic in ["a.2", "a.3"] {
            scope.spawn(move || publish(topic));
        }
    });
    for process in processes {
        process.succeeds();
    }
    let after = now();
    let mut seen = HashSet::new();
    let mut last = [0; 4];
    for message in drain(&mut channel) {
        let publisher: usize = message.topic()[2..].parse().unwrap();
        assert!(seen.insert(message.id()), "id {} twice", message.id());
        assert!(message.id() > last[publisher]);
        last[publisher] = message.id();
        assert!((before..=after).contains(&message.timestamp_us()));
        // Ahead of the clock only by what is handed out faster than 4,096 in a microsecond; behind it only by the time for
        // which a publisher in a hurry takes ids ahead.
        let us = (message.id() >> 12) as i64;
        assert!(us >= message.timestamp_us() - 10 && us <= after + 10, "{us} {}", message.timestamp_us());
    }
    assert_eq!(seen.len(), 12_000);
}

/// Threads may share a publisher: each one's messages arrive in its order and their ids rise, in whatever way each of its
/// publishes went (one at a time takes the quickest), in batches, too.
fn threads_that_share_a_publisher_keep_their_order(transport: Transport) {
    const THREADS: usize = 4;
    const MESSAGES: u64 = 2_000;
    let home = Home::with(transport);
    let mut channel = home.open_with_room("a", 1 << 20);
    let publisher = home.publisher("a");
    let content = |thread: usize, i: u64| (thread as u64 * MESSAGES + i).to_le_bytes();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let publisher = &publisher;
            scope.spawn(move || {
                let mut next = 0;
                while next < MESSAGES {
                    if next % 3 == 0 {
                        let batch: Vec<[u8; 8]> = (next..MESSAGES).take(7).map(|i| content(thread, i)).collect();
                        let payloads: Vec<Payload> = batch.iter().map(|data| Payload { data, headers: None }).collect();
                        assert_eq!(publisher.publish_batch(&payloads).unwrap(), payloads.len());
                        next += payloads.len() as u64;
                    } else {
                        assert_eq!(publisher.publish(&content(thread, next), None).unwrap(), 1);
                        next += 1;
                    }
                }
            });
        }
    });
    let (mut seen, mut ids) = ([0; THREADS], [0; THREADS]);
    for message in drain(&mut channel) {
        let (thread, i) = ((number(&message) / MESSAGES) as usize, number(&message) % MESSAGES);
        assert_eq!(seen[thread], i);
        assert!(message.id() > ids[thread], "{} after {}", message.id(), ids[thread]);
        (seen[thread], ids[thread]) = (i + 1, message.id());
    }
    assert_eq!(seen, [MESSAGES; THREADS]);
}

/// A batch is as that many single publishes, and packed records say what messages do: contents of every kind of length (some too
/// long for the ring), headers of all lengths and alphabets that change within a batch, to one channel and to two, with a
/// history and without.
fn batches_and_packed_records_carry_what_single_messages_do(transport: Transport) {
    let mut random = 1_u64;
    let mut below = move |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for (managed, channels) in [(false, 1), (false, 2), (true, 1), (true, 2)] {
        let home = Home::with(transport);
        if managed {
            create_topic("a.b", &TopicOptions { home: Some(home.path()), ..Default::default() }).unwrap();
        }
        let mut packed = home.open_with_room("a.b", 1 << 16);
        let mut single = (channels == 2).then(|| home.open_with_room("a.=", 1 << 16));
        let publisher = home.publisher("a.b");
        let (mut sent, mut last_id, mut last_offset) = (0_u64, 0, 0);
        let mut buffer = vec![0; 4096];
        for _ in 0..60 {
            let messages: Vec<(Vec<u8>, Option<Headers>)> = (0..below(150))
                .map(|_| {
                    let len = if below(60) == 0 { 17_000 + below(9) } else { below(200) };
                    let text: String = (0..below(20)).map(|_| if below(9) == 0 { 'é' } else { 'x' }).collect();
                    let headers = (below(4) == 0).then(|| {
                        let mut headers = Headers::new();
                        headers.set("k", HeaderValue::String(text));
                        headers
                    });
                    sent += 1;
                    ((0..len).map(|i| (sent + i) as u8).collect(), headers)
                })
                .collect();
            if messages.len() % 2 == 0 {
                let payloads: Vec<_> =
                    messages.iter().map(|(data, headers)| Payload { data, headers: headers.as_ref() }).collect();
                assert_eq!(publisher.publish_batch(&payloads).unwrap(), payloads.len());
            } else {
                for alike in messages.chunk_by(|one, other| one.1 == other.1) {
                    let data = alike.iter().map(|(data, _)| &data[..]).collect::<Vec<_>>().concat();
                    let lengths: Vec<u32> = alike.iter().map(|(data, _)| data.len() as u32).collect();
                    let handled = publisher.publish_packed(&data, &lengths, alike[0].1.as_ref()).unwrap();
                    assert_eq!(handled, alike.len());
                }
            }
            let mut got = Vec::new();
            while got.len() < messages.len() {
                let (records, bytes) = match packed.fetch_packed(&mut buffer, Some(LONG)) {
                    Err(PackError::TooSmall(needed)) => {
                        buffer.resize(needed / 8, u64::MAX);
                        continue;
                    }
                    fetched => fetched.unwrap(),
                };
                assert!(records > 0);
                got.extend(unpack(&buffer[..bytes / 8]));
                // It may grow by the next that is too long.
                buffer.truncate(4096);
            }
            for (record, (data, headers)) in got.iter().zip(&messages) {
                let json = headers.as_ref().map_or("{}".to_string(), Headers::to_json);
                assert_eq!((&record.topic[..], &record.headers[..], &record.data), ("a.b", &json[..], data));
                assert!(record.id > last_id, "{} after {last_id}", record.id);
                assert_eq!(record.offset, if managed { last_offset + 1 } else { 0 });
                (last_id, last_offset) = (record.id, record.offset);
                if let Some(single) = &mut single {
                    let message = next(single);
                    assert_eq!((message.id(), message.offset()), (record.id, record.offset));
                    assert_eq!((message.headers_json(), message.data()), (&json[..], &data[..]));
                }
            }
        }
        assert!(drain(&mut packed).is_empty() && single.is_none_or(|mut single| drain(&mut single).is_empty()));
        if managed {
            let replayed = Channel::open("a.b", &ChannelOptions { replay_last: 100, ..home.options() });
            let replayed = drain(&mut replayed.unwrap());
            let offsets: Vec<u64> = replayed.iter().map(Message::offset).collect();
            assert_eq!(offsets, (last_offset - 99..=last_offset).collect::<Vec<_>>());
            assert_eq!(replayed[99].id(), last_id);
        }
    }
}

/// What a packed record says.
struct Unpacked {
    id: u64,
    offset: u64,
    topic: String,
    headers: String,
    data: Vec<u8>,
}

/// As `ps_packed_record` in `pubsub.h` tells.
fn unpack(mut words: &[u64]) -> Vec<Unpacked> {
    let mut records = Vec::new();
    while let Some(&size) = words.first() {
        let (record, rest) = words.split_at(size as usize / 8);
        let bytes: Vec<u8> = record.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let half = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let (data_len, topic_len, headers_len) = (record[6] as usize, half(56), half(60));
        let texts = topic_len + headers_len;
        let data_at = 72 + texts.next_multiple_of(8);
        assert_eq!(record.len() * 8, data_at + data_len.next_multiple_of(8));
        assert!(bytes[72 + texts..data_at].iter().chain(&bytes[data_at + data_len..]).all(|&byte| byte == 0));
        let text = |from: usize, len: usize| String::from_utf8(bytes[from..from + len].to_vec()).unwrap();
        records.push(Unpacked {
            id: record[1],
            offset: record[5],
            topic: text(72, topic_len),
            headers: text(72 + topic_len, headers_len),
            data: bytes[data_at..data_at + data_len].to_vec(),
        });
        words = rest;
    }
    records
}

/// Publishing costs what matches, not what exists; here: exactly what matches is reached among thousands of channels, while
/// others open and close.
fn exactly_the_matching_channels_are_reached_among_many(transport: Transport) {
    let home = Home::with(transport);
    let open = |i: usize| match i % 4 {
        0 => home.open(&format!("t.{i}.x")),
        1 => home.open(&format!("t.=.{i}")),
        2 => home.open(&format!("u{i}.+")),
        _ => home.open(&format!("+.v{i}")),
    };
    let mut channels: Vec<Channel> = (0..2_000).map(open).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = AtEnd(&stop);
        scope.spawn(|| {
            while !stop.load(SeqCst) {
                drop(home.open("others.come.and.go"));
            }
        });
        for i in (0..2_000).step_by(37) {
            let topic = match i % 4 {
                0 => format!("t.{i}.x"),
                1 => format!("t.word.{i}"),
                2 => format!("u{i}.p.q"),
                _ => format!("p.q.v{i}"),
            };
            assert_eq!(home.publisher(&topic).publish(topic.as_bytes(), None).unwrap(), 1, "{topic}");
            assert_eq!(next(&mut channels[i]).data(), topic.as_bytes());
        }
    });
    for channel in &mut channels {
        assert!(channel.fetch().unwrap().is_none());
    }
}

/// More channels come and go than the kernel remembers between two looks of a publisher, and it still knows which there are.
fn a_publisher_that_slept_through_thousands_of_opens_knows_the_channels(transport: Transport) {
    let home = Home::with(transport);
    let gone = home.open("a.b");
    let publisher = home.publisher("a.b");
    assert_eq!(publisher.publish(b"", None).unwrap(), 1);
    drop(gone);
    // The kernel queues 16,384 events by default; an open and a close are two.
    for _ in 0..8_300 {
        drop(home.open("x"));
    }
    let _channel = home.open("a.=");
    assert_eq!(publisher.publish(b"", None).unwrap(), 1);
}
