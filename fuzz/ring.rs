//! What must hold for a ring whose memory says anything at all: errors or messages, in the end neither; never a panic, a crash,
//! a wild access or an endless loop. Run by the fuzz target, and on many inputs by the tests (`tests/faults/rings.rs`).

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use pubsub::{
    Channel, ChannelOptions, ErrorKind, FullPolicy, PackError, Payload, Publisher, PublisherOptions, Transport,
    list_channels,
};

/// Words that are written to: the header, the hot words, the table of chunks, the slots and the first chunks.
const WORDS: u64 = 12 * 512;
/// An operation: what, where, and a value.
const OPERATION: usize = 11;

/// Opens a channel in this store, and does with it and to its memory what the bytes say: the first one how it is opened, then
/// operations.
pub fn attach(home: &Path, bytes: &[u8]) {
    let Some((&terms, operations)) = bytes.split_first() else { return };
    let store = ChannelOptions { home: Some(home.into()), ..Default::default() };
    let options = ChannelOptions {
        transport: Transport::Ring,
        full_policy: if terms & 1 == 0 { FullPolicy::Reject } else { FullPolicy::DropOldest },
        capacity_messages: [1, 3, 16, 600][usize::from(terms >> 1 & 3)],
        capacity_bytes: [1 << 12, 1 << 16, 1 << 20, 0][usize::from(terms >> 3 & 3)],
        ..store
    };
    let mut channel = Channel::open("fuzz", &options).expect("a channel");
    let memory = File::options().read(true).write(true).open(channel.path().join("control")).expect("the memory");
    let publisher = PublisherOptions { home: Some(home.into()), ..Default::default() };
    let publisher = Publisher::open("fuzz", &publisher).expect("a publisher");
    if terms & 0x20 != 0 {
        channel.fd().expect("a descriptor");
    }
    for operation in operations.chunks_exact(OPERATION) {
        let at = u64::from(u16::from_le_bytes([operation[1], operation[2]]));
        let mut value = [0; 8];
        value.copy_from_slice(&operation[3..]);
        let value = u64::from_le_bytes(value);
        match operation[0] % 16 {
            0..=3 => memory.write_all_at(&value.to_ne_bytes(), at % WORDS * 8).expect("written"),
            4 => {
                // A bit, or a small step: near to what it was.
                let mut word = [0; 8];
                memory.read_exact_at(&mut word, at % WORDS * 8).unwrap_or_default();
                let word = u64::from_ne_bytes(word);
                let word =
                    if value & 1 == 0 { word ^ 1 << (value >> 1 & 63) } else { word.wrapping_add(value >> 1 & 7) };
                memory.write_all_at(&word.to_ne_bytes(), at % WORDS * 8).expect("written");
            }
            // Longer; shorter is SIGBUS for who has it mapped, whatever it does.
            5 => {
                let len = memory.metadata().expect("a file").len();
                memory.set_len(len.max(value % (1 << 28))).expect("longer");
            }
            6..=9 => told(publisher.publish(&vec![7; usize::from(operation[1]) * 8], None).err()),
            10 => {
                let data = vec![7; (value % (1 << 9)) as usize * 8];
                let payloads = vec![Payload { data: &data, headers: None }; usize::from(operation[1])];
                told(publisher.publish_batch(&payloads).err());
            }
            11 => told(publisher.publish(&vec![7; (value % (1 << 17)) as usize], None).err()),
            12 | 13 => {
                for _ in 0..at % 8 {
                    told(channel.fetch().err());
                }
            }
            14 if value & 1 == 0 => {
                told(channel.fetch_batch(&mut Vec::new(), usize::from(operation[1]), Some(Duration::ZERO)).err());
            }
            14 => match channel.fetch_packed(&mut vec![0; (value >> 1) as usize % 8192], Some(Duration::ZERO)) {
                Ok(_) | Err(PackError::TooSmall(_)) => {}
                Err(PackError::Failed(error)) => told(Some(error)),
            },
            _ => {
                channel.stats().expect("figures");
                list_channels(Some(home)).expect("a list");
            }
        }
    }
    // A slot can be read once a lap; should the words be such that there is no end, this is one.
    let mut fetched = 0_u64;
    while !matches!(channel.fetch(), Ok(None)) {
        fetched += 1;
        assert!(fetched < 1 << 20, "no end of messages");
    }
    channel.close().expect("closed");
    let left = fs::read_dir(home)
        .expect("the store")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("fuzz_"));
    assert_eq!(left.count(), 0, "left in the store");
}

fn told(error: Option<pubsub::Error>) {
    let Some(error) = error else { return };
    let known = [ErrorKind::Corrupt, ErrorKind::Unsupported, ErrorKind::QueueFull, ErrorKind::StoreFull, ErrorKind::Io];
    assert!(known.contains(&error.kind()), "{:?}: {error}", error.kind());
    assert!(!error.to_string().is_empty());
}
