//! Rings in real memory: order, laps, bounds, drops, the dead, wrong words, threads, no memory.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::words::{ChunkState, ChunkWord, Ref};
use super::*;
use crate::sys::fd::Fd;
use crate::sys::mapping::{Mapping, reserve_range, set_len};

/// A ring in a file in memory, which threads share.
struct TestRing {
    ring: Ring<Failing>,
    path: std::path::PathBuf,
    _directory: tempfile::TempDir,
}

/// Shared memory whose reservations can be made to fail.
struct Failing {
    memory: SharedMemory,
    /// Reservations that still succeed.
    left: AtomicU64,
}

impl Memory for Failing {
    fn word(&self, index: usize) -> &AtomicU64 {
        self.memory.word(index)
    }
    fn swap_pair(&self, index: usize, from: (u64, u64), to: (u64, u64)) -> bool {
        self.memory.swap_pair(index, from, to)
    }
    fn load_pair(&self, index: usize) -> Option<(u64, u64)> {
        self.memory.load_pair(index)
    }
    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        self.memory.copy_in(offset, bytes);
    }
    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.memory.copy_out(offset, bytes);
    }
    fn prefetch(&self, offset: usize, len: usize) {
        self.memory.prefetch(offset, len);
    }
    fn prefetch_to_read(&self, offset: usize, len: usize) {
        self.memory.prefetch_to_read(offset, len);
    }
    fn reserve(&self, offset: usize, len: usize) -> io::Result<()> {
        if self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err() {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        self.memory.reserve(offset, len)
    }
    fn give_back(&self, offset: usize, len: usize) -> io::Result<()> {
        self.memory.give_back(offset, len)
    }
}

fn open(path: &std::path::Path) -> Arc<Fd> {
    let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    Arc::new(Fd::new(file.into()))
}

impl TestRing {
    fn new(slots: u64, bound: u64, chunks: u32, chunk_size: u32, drop_oldest: bool) -> TestRing {
        TestRing::bounded(slots, bound, u64::MAX, chunks, chunk_size, drop_oldest)
    }

    /// With a bound of bytes as well.
    fn bounded(slots: u64, bound: u64, bytes_bound: u64, chunks: u32, chunk_size: u32, drop_oldest: bool) -> TestRing {
        let layout = Layout { slots, bound, bytes_bound, chunks, chunk_size, drop_oldest };
        assert!(layout.is_valid(), "{layout:?}");
        let directory = tempfile::Builder::new().prefix("t-ring-").tempdir_in("/dev/shm").unwrap();
        let path = directory.path().join("ring");
        let file = open(&path);
        set_len(file.get().unwrap(), layout.file_len()).unwrap();
        reserve_range(file.get().unwrap(), 0, layout.fixed_bytes()).unwrap();
        // To whole pages: mappings end at one.
        let map = Mapping::new(file.get().unwrap(), layout.file_len().div_ceil(8)).unwrap();
        let memory = Failing { memory: SharedMemory::new(Arc::new(map), file), left: AtomicU64::new(u64::MAX) };
        TestRing { ring: Ring::new(memory, layout), path, _directory: directory }
    }

    fn locks(&self) -> FileLocks {
        FileLocks::new(open(&self.path))
    }

    fn producer(&self, hint: u32) -> Producer<FileLocks> {
        Producer::attach(&self.ring, self.locks(), hint).unwrap()
    }

    /// At the given position, as if so many messages had gone through.
    fn start_at(&self, position: u64) {
        let layout = &self.ring.layout;
        let slots = layout.slots;
        self.ring.memory.reserve(layout.slots_offset(), slots as usize * 16).unwrap();
        self.ring.word(SLOTS_RESERVED).store(slots, SeqCst);
        for at in position..position + slots {
            self.ring.sequence_word(at).store(layout.sequence(at).wrapping_sub(1), SeqCst);
        }
        self.ring.word(HEAD).store(position, SeqCst);
        self.ring.word(TAIL_HINT).store(position, SeqCst);
    }
}

/// A record of `len` bytes, at least 16: a number, its length, and bytes that follow from both.
fn fill(number: u64, len: u32) -> impl Fn(&Failing, usize) {
    move |memory, at| {
        let mut bytes = vec![0; len as usize];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..16].copy_from_slice(&u64::from(len).to_le_bytes());
        for (i, byte) in bytes.iter_mut().enumerate().skip(16) {
            *byte = number.wrapping_mul(31).wrapping_add(i as u64) as u8;
        }
        memory.copy_in(at, &bytes);
    }
}

fn publish(test: &TestRing, producer: &mut Producer<FileLocks>, number: u64, len: u32) -> Outcome {
    producer.publish(&test.ring, len, fill(number, len), || {}, |tag| panic!("there is no file {tag}"))
}

fn took(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Taken | Outcome::Displacing => true,
        Outcome::Full | Outcome::NoSpace => false,
        other => panic!("{other:?}"),
    }
}

/// The number of the next record, all of whose bytes are as they were written.
fn next(test: &TestRing, consumer: &mut Consumer) -> Option<u64> {
    let taken = consumer.next(&test.ring, |memory, place, at| {
        let Ref::Record { len, .. } = place else { panic!("{place:?}") };
        let mut bytes = vec![0; len as usize];
        memory.copy_out(at, &mut bytes);
        let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(u64::from_le_bytes(bytes[8..16].try_into().unwrap()), u64::from(len), "torn: {number}");
        for (i, &byte) in bytes.iter().enumerate().skip(16) {
            assert_eq!(byte, number.wrapping_mul(31).wrapping_add(i as u64) as u8, "torn: {number} at {i}");
        }
        number
    });
    consumer.publish_head(&test.ring);
    taken.map(|taken| match taken {
        Taken::Message(number) => number,
        Taken::Malformed => panic!("malformed"),
    })
}

fn drain(test: &TestRing, consumer: &mut Consumer) -> Vec<u64> {
    std::iter::from_fn(|| next(test, consumer)).collect()
}

#[test]
fn messages_come_in_order_over_many_laps_of_tiny_rings() {
    for (slots, chunks, size) in [(1, 1, 64), (2, 1, 64), (2, 2, 64), (4, 1, 256), (4, 2, 64), (8, 3, 128)] {
        let test = TestRing::new(slots, slots, chunks, size, false);
        let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
        let (mut sent, mut got) = (0, 0);
        let mut random = StdRng::seed_from_u64(slots);
        while sent < 3000 {
            if random.random_bool(0.6) {
                let len = random.random_range(16..=size / 2);
                sent += u64::from(took(publish(&test, &mut producer, sent, len)));
                if random.random_bool(0.3) {
                    producer.release(&test.ring);
                }
            } else if let Some(number) = next(&test, &mut consumer) {
                assert_eq!(number, got);
                got += 1;
            } else {
                assert_eq!(sent, got, "empty, but not all was received: {slots} {chunks} {size}");
            }
        }
        drain(&test, &mut consumer);
        assert!(took(publish(&test, &mut producer, 1, size)), "an empty ring takes a whole chunk");
    }
}

#[test]
fn bounds_are_exact() {
    // By messages, below the slots that there are.
    let test = TestRing::new(8, 5, 4, 256, false);
    let (mut producer, mut other, mut consumer) = (test.producer(0), test.producer(1), Consumer::new());
    for round in 0..20 {
        let mut sent = 0;
        while took(publish(&test, if sent % 2 == 0 { &mut producer } else { &mut other }, sent, 16)) {
            sent += 1;
        }
        assert_eq!(sent, 5, "round {round}");
        assert!(!took(publish(&test, &mut other, 9, 16)));
        assert_eq!(next(&test, &mut consumer), Some(0));
        assert!(took(publish(&test, &mut other, 5, 16)), "one out, one in");
        assert_eq!(drain(&test, &mut consumer), [1, 2, 3, 4, 5]);
    }
    // Every byte of every chunk.
    let test = TestRing::new(64, 64, 3, 64, false);
    let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
    for _ in 0..20 {
        let mut sent = 0;
        while took(publish(&test, &mut producer, sent, 32)) {
            sent += 1;
        }
        assert_eq!(sent, 6);
        assert_eq!(drain(&test, &mut consumer).len(), 6);
    }
}

#[test]
fn what_is_taken_and_what_is_dropped_is_what_the_bounds_say() {
    for drop_oldest in [false, true] {
        for seed in 0..60 {
            let mut random = StdRng::seed_from_u64(seed);
            let (slots, bytes_bound) = (1 << random.random_range(0..8), random.random_range(16..4000));
            let bound = random.random_range(1..=slots);
            let test = TestRing::bounded(slots, bound, bytes_bound, 64, 512, drop_oldest);
            let mut producers = [test.producer(0), test.producer(1), test.producer(2)];
            let mut consumer = Consumer::new();
            // Number and size of what waits.
            let mut waiting = std::collections::VecDeque::new();
            let (mut files, mut removed, mut lost) = (HashMap::new(), Vec::new(), 0);
            for number in 0..3000 {
                if random.random_bool(0.55) {
                    let producer = &mut producers[random.random_range(0..3)];
                    let len: u32 = random.random_range(16..=512);
                    let (outcome, size) = if random.random_bool(0.1) {
                        let file = Ref::file(number as u32, u64::from(len) * 5);
                        files.insert(number as u32, number);
                        let unlink = |tag| removed.push(files[&tag]);
                        (producer.publish_file(&test.ring, file, || {}, unlink), Ref::size(file.pack()))
                    } else {
                        let unlink = |tag| removed.push(files[&tag]);
                        (producer.publish(&test.ring, len, fill(number, len), || {}, unlink), u64::from(len))
                    };
                    let fits = |waiting: &std::collections::VecDeque<(u64, u64)>| {
                        let bytes: u64 = waiting.iter().map(|&(_, size)| size).sum();
                        waiting.is_empty() || (waiting.len() as u64) < bound && bytes + size <= bytes_bound
                    };
                    while drop_oldest && !fits(&waiting) {
                        let (dropped, _) = waiting.pop_front().unwrap();
                        lost += 1;
                        if let Some(at) = removed.iter().position(|&number| number == dropped) {
                            removed.remove(at);
                        } else {
                            assert!(!files.values().any(|&number| number == dropped), "the file of {dropped} is left");
                        }
                    }
                    assert!(removed.is_empty(), "{removed:?} dropped without need");
                    assert_eq!(
                        took(outcome),
                        fits(&waiting),
                        "{number} of {size} with {waiting:?}, {bound} {bytes_bound}"
                    );
                    if fits(&waiting) {
                        waiting.push_back((number, size));
                    }
                    if random.random_bool(0.1) {
                        producer.release(&test.ring);
                    }
                    if random.random_bool(0.01) {
                        *producer = test.producer(random.random_range(0..5));
                    }
                } else {
                    let taken = consumer.next(&test.ring, |memory, place, at| match place {
                        Ref::File { tag, .. } => files[&tag],
                        Ref::Record { .. } => {
                            let mut number = [0; 8];
                            memory.copy_out(at, &mut number);
                            u64::from_le_bytes(number)
                        }
                    });
                    consumer.publish_head(&test.ring);
                    let expected = waiting.pop_front().map(|(number, _)| Taken::Message(number));
                    if taken.is_some() {
                        assert_eq!(consumer.take_lost(), std::mem::take(&mut lost));
                    }
                    assert_eq!(taken, expected);
                }
            }
        }
    }
}

#[test]
fn a_refused_publisher_takes_a_chunk_that_was_let_go_with_an_unmoved_head() {
    let test = TestRing::new(4, 4, 1, 64, false);
    let (mut first, mut second) = (test.producer(0), test.producer(1));
    assert!(took(publish(&test, &mut first, 1, 64)));
    assert_eq!(drain(&test, &mut Consumer::new()), [1]);
    assert!(!took(publish(&test, &mut second, 2, 64)), "the only chunk is another's");
    assert_ne!(test.ring.word(STATE).load(SeqCst) & HUNGRY, 0);
    first.release(&test.ring);
    assert!(took(publish(&test, &mut second, 2, 64)));
}

#[test]
fn idle_publishers_leave_chunks_to_others() {
    for chunks in 1..6 {
        let test = TestRing::new(64, 64, chunks, 64, false);
        let mut consumer = Consumer::new();
        let mut idle = Vec::new();
        for number in 0..20 {
            let mut producer = test.producer(rand::random());
            assert!(took(publish(&test, &mut producer, number, 48)), "{number} of {chunks} chunks");
            if !producer.may_keep(&test.ring) {
                producer.release(&test.ring);
            }
            assert_eq!(next(&test, &mut consumer), Some(number));
            idle.push(producer);
        }
        assert_eq!(idle.iter().filter(|producer| producer.may_keep(&test.ring)).count() as u32, chunks / 2);
    }
}

#[test]
fn who_is_asked_to_lets_go() {
    let test = TestRing::new(8, 8, 1, 64, false);
    let (mut first, mut second, mut consumer) = (test.producer(0), test.producer(1), Consumer::new());
    assert!(took(publish(&test, &mut first, 1, 16)));
    assert!(!took(publish(&test, &mut second, 2, 16)));
    assert!(took(publish(&test, &mut first, 3, 16)));
    assert!(took(publish(&test, &mut second, 4, 16)), "the first publisher was asked to let go");
    assert_eq!(drain(&test, &mut consumer), [1, 3, 4]);
    assert_eq!(test.ring.word(STATE).load(SeqCst), 0);
}

#[test]
fn an_emptied_queue_leaves_no_hazard() {
    let test = TestRing::new(2, 2, 1, 64, true);
    let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
    assert!(took(publish(&test, &mut producer, 1, 64)));
    // As a consumer leaves it whose CAS of head lost to a publisher that dropped the message.
    test.ring.word(HAZARD).store(1, SeqCst);
    assert!(test.ring.swap_head((0, 0), (1, 64)));
    assert_eq!(next(&test, &mut consumer), None);
    assert!(took(publish(&test, &mut producer, 2, 64)));
    assert_eq!(next(&test, &mut consumer), Some(2));
    assert_eq!(consumer.take_lost(), 1);
}

#[test]
fn a_chunk_that_is_read_is_not_restarted() {
    let test = TestRing::bounded(64, 4, u64::MAX, 3, 64, true);
    let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
    for number in 0..4 {
        assert!(took(publish(&test, &mut producer, number, 16)));
    }
    let taken = consumer.next(&test.ring, |memory, _, at| {
        for number in 4..100 {
            assert!(took(publish(&test, &mut producer, number, 16)), "{number}");
        }
        let mut number = [0; 8];
        memory.copy_out(at, &mut number);
        u64::from_le_bytes(number)
    });
    assert_eq!(taken, Some(Taken::Message(0)));
    assert_eq!(drain(&test, &mut consumer), [96, 97, 98, 99]);
    assert_eq!(consumer.take_lost(), 95);
}

#[test]
fn the_dead_leave_their_messages_and_their_chunks() {
    for drop_oldest in [false, true] {
        for published in 0..=4 {
            for heir in [false, true] {
                let test = TestRing::new(8, 8, 1, 64, drop_oldest);
                let mut consumer = Consumer::new();
                let mut dead = test.producer(0);
                for number in 0..published {
                    assert!(took(publish(&test, &mut dead, number, 16)));
                }
                // It dies with its chunk, as the kernel sees it: its file is closed.
                drop(dead);
                let mut other = test.producer(if heir { 0 } else { 7 });
                let fits = took(publish(&test, &mut other, 10, 16));
                assert!(fits || published == 4, "{published} {heir} {drop_oldest}");
                let mut expected: Vec<_> = (0..published).collect();
                expected.extend(fits.then_some(10));
                let got = drain(&test, &mut consumer);
                assert!(expected.ends_with(&got), "{got:?}");
                assert_eq!(got.len() as u64 + consumer.take_lost(), expected.len() as u64);
                assert!(took(publish(&test, &mut other, 11, 64)), "all of the chunk is there again");
            }
        }
    }
}

#[test]
fn who_dies_before_its_pages_are_there_leaves_none_that_count() {
    let test = TestRing::new(4, 4, 1, 64, false);
    test.ring.chunk_word(0).store(ChunkWord::owned(5, false).0, SeqCst);
    let mut producer = test.producer(0);
    assert!(took(publish(&test, &mut producer, 1, 64)));
    // The chunk of a living publisher is not taken.
    let test = TestRing::new(4, 4, 1, 64, false);
    let _alive = test.producer(5);
    test.ring.chunk_word(0).store(ChunkWord::owned(5, false).0, SeqCst);
    assert!(!took(publish(&test, &mut test.producer(0), 1, 64)));
}

#[test]
fn what_is_given_back_is_used_again() {
    let test = TestRing::new(1 << 10, 1 << 10, 40, 64 << 10, false);
    let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
    let blocks = || {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(&test.path).unwrap().blocks() * 512
    };
    for round in 0..3 {
        for number in 0..100 {
            assert!(took(publish(&test, &mut producer, number, 16 << 10)));
        }
        producer.release(&test.ring);
        assert_eq!(drain(&test, &mut consumer).len(), 100);
        let before = blocks();
        consumer.give_back(&test.ring, &test.locks());
        assert!(before > 1_600_000 && blocks() < 500_000, "round {round}: {before} to {}", blocks());
    }
}

#[test]
fn positions_may_wrap_where_chunk_words_do() {
    for start in [(1 << 47) - 3, (1 << 47) * 5 - 2, (1 << 48) - 1, u64::MAX - 40_000] {
        for drop_oldest in [false, true] {
            let test = TestRing::new(4, 4, 2, 64, drop_oldest);
            let start = start & !3;
            test.start_at(start);
            let (mut producer, mut consumer) = (test.producer(0), Consumer::new());
            consumer.start_at(start);
            for number in 0..5000 {
                assert!(took(publish(&test, &mut producer, number, 32)), "{number} from {start}");
                if number % 7 == 0 {
                    producer.release(&test.ring);
                }
                assert_eq!(next(&test, &mut consumer), Some(number), "from {start}");
            }
        }
    }
}

#[test]
fn no_memory_is_said_and_gone_when_there_is_some() {
    let mut refused = 0;
    for left in 0..6 {
        let test = TestRing::new(4096, 4096, 4, 4096, false);
        let (mut producer, mut other, mut consumer) = (test.producer(0), test.producer(1), Consumer::new());
        test.ring.memory.left.store(left, SeqCst);
        let mut expected = Vec::new();
        for number in 0..40 {
            let producer = if number % 2 == 0 { &mut producer } else { &mut other };
            match publish(&test, producer, number, 512) {
                Outcome::Taken => expected.push(number),
                Outcome::Full | Outcome::NoSpace => {}
                Outcome::NoMemory(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
                    refused += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        test.ring.memory.left.store(u64::MAX, SeqCst);
        assert_eq!(drain(&test, &mut consumer), expected, "{left} reservations");
        for number in 0..16 {
            assert!(took(publish(&test, &mut producer, number, 512)), "{left} reservations, {number}");
        }
    }
    assert!(refused > 100);
}

/// Wrong words: nothing panics, hangs or leaves the memory. What comes out does not matter.
#[test]
fn wrong_words_do_no_harm() {
    let end = Instant::now() + Duration::from_secs(2);
    let mut random = StdRng::seed_from_u64(7);
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        let drop_oldest = random.random();
        let slots = 1 << random.random_range(0..7);
        let bound = random.random_range(1..=slots);
        let test = TestRing::new(slots, bound, random.random_range(1..5), 1 << random.random_range(5..9), drop_oldest);
        let (mut producers, mut consumer) = ([test.producer(0), test.producer(1)], Consumer::new());
        let layout = &test.ring.layout;
        for step in 0..200 {
            let place = match random.random_range(0..12) {
                0 => HEAD + random.random_range(0..2),
                1 => HAZARD,
                2 => BELL,
                3 => TAIL_HINT + random.random_range(0..2),
                4 => SLOTS_RESERVED,
                5..8 => layout.table_word(random.random_range(0..layout.chunks)),
                _ => layout.slot_word(random.random()) + random.random_range(0..2),
            };
            let word = test.ring.word(place);
            let old = word.load(SeqCst);
            let value = match random.random_range(0..6) {
                0 => random.random(),
                1 => u64::MAX - random.random_range(0..3),
                2 => old ^ 1 << random.random_range(0..64),
                3 => old.wrapping_add(random.random_range(0..5)).wrapping_sub(2),
                4 => random.random_range(0..9),
                _ => old,
            };
            word.store(value, SeqCst);
            let producer = &mut producers[step % 2];
            match random.random_range(0..9) {
                0..4 => drop(producer.publish(
                    &test.ring,
                    random.random_range(1..=layout.chunk_size),
                    |_, _| {},
                    || {},
                    |_| {},
                )),
                4 => drop(producer.publish_file(&test.ring, Ref::file(1, step as u64), || {}, |_| {})),
                5 => producer.release(&test.ring),
                6 => drop(consumer.arm(&test.ring)),
                7 => consumer.give_back(&test.ring, &test.locks()),
                _ => *producer = test.producer(random.random_range(0..4)),
            }
            for _ in 0..3 {
                consumer.next(&test.ring, |memory, place, at| {
                    if let Ref::Record { len, .. } = place {
                        memory.copy_out(at, &mut vec![0; len as usize]);
                    }
                });
                consumer.take_lost();
            }
        }
    }
    assert!(rounds > 3, "{rounds}");
}

/// Several publishers in threads, for `each` messages or 3 seconds, against a consumer: every byte, the order of each, every message or every count.
fn hammer(slots: u64, chunks: u32, size: u32, drop_oldest: bool, each: u64) {
    // A third of the chunks, so that there is always one to be found.
    let bytes_bound = if drop_oldest { u64::from(chunks * size / 3) } else { u64::MAX };
    let test = TestRing::bounded(slots, slots, bytes_bound, chunks, size, drop_oldest);
    let published = AtomicU64::new(0);
    let done = AtomicU64::new(0);
    let end = Instant::now() + Duration::from_secs(3);
    const PUBLISHERS: u64 = 4;
    std::thread::scope(|scope| {
        for id in 0..PUBLISHERS {
            let (test, published, done) = (&test, &published, &done);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(id);
                let mut producer = test.producer(id as u32);
                let mut number = 0;
                while number < each && Instant::now() < end {
                    let len = random.random_range(16..=size / 2);
                    if took(publish(test, &mut producer, id << 48 | number, len)) {
                        number += 1;
                    } else {
                        std::thread::yield_now();
                    }
                    match random.random_range(0..40) {
                        0..20 => producer.release(&test.ring),
                        // It dies, with its chunk.
                        20 => producer = test.producer(random.random_range(0..8)),
                        _ => {}
                    }
                }
                published.fetch_add(number, SeqCst);
                done.fetch_add(1, SeqCst);
            });
        }
        let mut consumer = Consumer::new();
        let mut last: HashMap<u64, u64> = HashMap::new();
        let (mut got, mut lost) = (0, 0);
        loop {
            let over = done.load(SeqCst) == PUBLISHERS;
            let Some(number) = next(&test, &mut consumer) else {
                if over {
                    break;
                }
                consumer.give_back(&test.ring, &test.locks());
                std::thread::yield_now();
                continue;
            };
            got += 1;
            lost += consumer.take_lost();
            let (id, number) = (number >> 48, number & 0xffff_ffff_ffff);
            let expected = last.insert(id, number).map_or(0, |last| last + 1);
            assert!(number == expected || drop_oldest && number > expected, "{id}: {number}, not {expected}");
        }
        lost += test.ring.word(HEAD).load(SeqCst).wrapping_sub(consumer.head());
        assert_eq!(got + lost, published.load(SeqCst), "{got} received, {lost} lost");
        assert!(got > 0);
    });
    for chunk in 0..chunks {
        assert!(test.ring.load_chunk(chunk).state() != ChunkState::Busy);
    }
}

#[test]
fn many_publishers_lose_nothing() {
    for (slots, chunks, size) in [(1, 2, 64), (8, 2, 64), (64, 5, 256), (1024, 8, 4096)] {
        hammer(slots, chunks, size, false, 2000);
    }
}

#[test]
fn many_publishers_drop_the_oldest_and_count_them() {
    for (slots, chunks, size) in [(2, 6, 64), (64, 6, 256), (1024, 8, 4096)] {
        hammer(slots, chunks, size, true, 2000);
    }
}
