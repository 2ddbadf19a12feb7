//! Rings into which somebody writes what no publisher writes.

#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use pubsub::*;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::common::*;

#[path = "../../fuzz/ring.rs"]
mod fuzzed;

/// Beyond this a child hangs.
const SECONDS: u32 = 60;

/// Runs this in a child that must end well and in time; if it does not, `what` says what it was about.
fn survives(what: &str, run: impl FnOnce()) {
    let child = Child::fork(|| {
        kill_after(SECONDS);
        run();
    });
    assert_eq!(child.wait(), 0, "{what}: status of the child (14: it hung)");
}

/// Values that are at a limit of something.
fn hostile(random: &mut StdRng) -> u64 {
    match random.random_range(0..10) {
        0 => random.random(),
        1 => u64::MAX - random.random_range(0..3),
        2 => 1 << random.random_range(0..64),
        3 => (1 << random.random_range(0..64)) - 1,
        4 => random.random_range(0..9),
        // Chunk words: free, owned, being given back, with any offset, end and owner.
        5 | 6 => random.random_range(0..16) | random.random_range(0..0x4000) << 4 | random.random_range(0..9) << 17,
        // Refs: records near the ends of chunks, files, and kinds that there are not.
        7 => random.random_range(0..64) << 40 | random.random_range(0..0x1000) << 28 | random.random_range(0..0x1_0000),
        8 => 1 << 60 | random.random_range(0..1 << 60),
        _ => random.random_range(2..16) << 60 | random.random_range(0..1 << 60),
    }
}

/// Each word that has a meaning, with many values, between calls of a publisher and a receiver, who go on until the end.
#[test]
fn hostile_words_in_a_ring_harm_nobody() {
    // Not in the children: what is made once in a process must not be half made in a thread while another forks.
    let home = Home::new();
    // Page 1, where each has 16 words to itself and some a second one; the table; the slots.
    let hot = (0..8).flat_map(|i| [512 + 16 * i, 513 + 16 * i]);
    let words: Vec<u64> = hot.chain(1024..1064).chain(1536..1600).collect();
    for drop_oldest in [0, 1] {
        for word in &words {
            survives(&format!("word {word}, policy {drop_oldest}"), || {
                let mut random = StdRng::seed_from_u64(*word);
                for _ in 0..12 {
                    // Sixteen messages, a mebibyte.
                    let mut bytes = vec![drop_oldest | 2 << 1 | 2 << 3 | random.random_range(0..2) << 5];
                    let mut push = |what: u8, at: u64, value: u64| {
                        bytes.push(what);
                        bytes.extend((at as u16).to_le_bytes());
                        bytes.extend(value.to_le_bytes());
                    };
                    (0..random.random_range(0..20)).for_each(|_| push(6, 9, 0));
                    push(12, random.random_range(0..4), 0);
                    push(0, *word, hostile(&mut random));
                    (0..random.random_range(0..20)).for_each(|_| push(6, 100, 0));
                    push(11, 0, 20_000);
                    push(12, random.random_range(0..8), 0);
                    push(15, 0, 0);
                    push(0, *word, hostile(&mut random));
                    (0..3).for_each(|_| push(6, 9, 0));
                    // Many at once.
                    push(10, random.random_range(0..100), random.random_range(0..60));
                    push(14, random.random_range(0..20), random.random());
                    push(0, *word, hostile(&mut random));
                    push(14, random.random_range(0..20), random.random());
                    push(10, random.random_range(0..100), random.random_range(0..60));
                    fuzzed::attach(&home.path(), &bytes);
                }
            });
        }
    }
}

/// Anything at all: what the fuzz target looks into further.
#[test]
fn a_ring_that_says_anything_harms_nobody() {
    let home = Home::new();
    for round in 0..40 {
        survives(&format!("round {round}"), || {
            let mut random = StdRng::seed_from_u64(round);
            for _ in 0..25 {
                let mut bytes = vec![0; 1 + 11 * random.random_range(0..120)];
                random.fill_bytes(&mut bytes);
                for operation in bytes[1..].chunks_exact_mut(11) {
                    // Many values are at a limit, and most words are those of the first pages.
                    if operation[0] % 16 < 4 {
                        operation[3..].copy_from_slice(&hostile(&mut random).to_le_bytes());
                    }
                    if operation[0] % 16 < 5 && random.random_ratio(3, 4) {
                        let at: u16 = match random.random_range(0..4) {
                            0 => 512 + 16 * random.random_range(0..8) + random.random_range(0..2),
                            1 => 1024 + random.random_range(0..40),
                            2 => 1536 + random.random_range(0..64),
                            _ => random.random_range(0..140),
                        };
                        operation[1..3].copy_from_slice(&at.to_le_bytes());
                    }
                }
                fuzzed::attach(&home.path(), &bytes);
            }
        });
    }
}

/// A ring that has another size than it says, or is filled with garbage, before a publisher attaches.
#[test]
fn a_ring_of_another_size_or_full_of_garbage_is_an_error_or_harmless() {
    type Damage = fn(&File, u64);
    let garbage = |file: &File, from: u64, to: u64| {
        let mut bytes = vec![0; (to - from) as usize];
        StdRng::seed_from_u64(from).fill_bytes(&mut bytes);
        file.write_all_at(&bytes, from).unwrap();
    };
    let cases: [(&str, bool, Damage); 6] = [
        ("a page shorter", true, |file, len| file.set_len(len - 4096).unwrap()),
        ("two pages", true, |file, _| file.set_len(8192).unwrap()),
        ("a page longer", true, |file, len| file.set_len(len + 4096).unwrap()),
        ("empty", true, |file, _| file.set_len(0).unwrap()),
        ("ones", false, |file, _| file.write_all_at(&vec![0xff; 60 << 12], 4096).unwrap()),
        ("zeros", false, |file, _| file.write_all_at(&vec![0; 60 << 12], 4096).unwrap()),
    ];
    let transport = Transport::Ring;
    let home = Home::with(transport);
    let tried = |what: &str, refused: bool, damage: &dyn Fn(&File, u64)| {
        let (mut here, mut there) = handover();
        // In a process of its own: a file that is cut short under a mapping is SIGBUS for who touches it.
        let receiver = Child::fork(|| {
            kill_after(SECONDS);
            let mut channel = home.open_with_room("a", 64);
            there.give();
            there.take();
            for _ in 0..10_000 {
                let _ = channel.fetch();
            }
        });
        here.take();
        let path: PathBuf = home.channels().remove(0).join("control");
        let file = File::options().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        damage(&file, len);
        survives(what, || {
            let publisher = home.publisher("a");
            for _ in 0..200 {
                let answer = publisher.publish(b"x", None);
                let kind = answer.as_ref().map_err(|error| error.kind());
                assert!(!refused || kind == Err(ErrorKind::Corrupt), "{what}: {answer:?}");
            }
            list_channels(Some(&home.path())).unwrap();
            home.cleanup();
        });
        here.give();
        let status = receiver.wait();
        let bus = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGBUS;
        assert!(status == 0 || refused && bus, "{what}: the receiver ended with {status:#x}");
        for left in home.channels() {
            fs::remove_dir_all(left).unwrap();
        }
    };
    for (what, refused, damage) in cases {
        tried(what, refused, &damage);
    }
    for from in [4096, 8192, 12_288, 16_384] {
        tried("garbage", false, &|file, _| garbage(file, from, 60 << 12));
    }
}
