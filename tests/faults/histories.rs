//! Histories on full file systems, and with anything written into them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use pubsub::*;

use crate::common::*;
use crate::full::{fill, is_store_full, on_a_small_file_system};

fn create(home: &Home, topic: &str, bytes: u64) {
    let options = TopicOptions { history_bytes: bytes, home: Some(home.path()), ..Default::default() };
    create_topic(topic, &options).unwrap();
}

fn history(home: &Home, topic: &str) -> Vec<Message> {
    topic_history(topic, Some(&home.path()), u32::MAX).unwrap()
}

/// A full store costs histories their oldest messages, and nobody a live one while there is room for that. What a history
/// cannot take is an error when no channel takes it either, and who resumes from before it is told.
#[test]
fn a_full_store_costs_histories_their_oldest_and_nobody_a_live_message() {
    on_a_small_file_system(Transport::Default, "size=3m", |home| {
        create(home, "a", 0);
        let mut channel = home.open("a");
        let publisher = home.publisher("a");
        let data = vec![7; 8_000];
        for n in 0..20 {
            assert_eq!(publisher.publish(&data, None).unwrap(), 1, "{n}");
        }
        drain(&mut channel);
        let first = history(home, "a").remove(0);
        let filler = fill(home);
        // The memory that the history has by now goes round.
        for n in 0..200_u64 {
            let _ = publisher.publish(&[&n.to_le_bytes()[..], &data].concat(), None);
            drain(&mut channel);
        }
        let kept = history(home, "a");
        assert!((1..=100).contains(&kept.len()), "{}", kept.len());
        assert_eq!(number(kept.last().unwrap()), 199);
        assert!(kept.windows(2).all(|pair| pair[0].offset() + 1 == pair[1].offset()));
        // A file for a large one is not to be had, not for the channel either.
        let large = vec![1; 100_000];
        assert!(is_store_full(&publisher.publish(&large, None).unwrap_err()));
        channel.close().unwrap();
        // The publisher lets go of it, and of its memory.
        let _ = publisher.publish(b"small", None);
        assert_eq!(fill(home), filler);
        assert!(is_store_full(&publisher.publish(&large, None).unwrap_err()));
        assert!(home.residue().is_empty(), "{:?}", home.residue());
        let last = kept.last().unwrap();
        fs::remove_file(filler).unwrap();
        let resume = |message: &Message| Some(Resume { epoch: message.epoch(), offset: message.offset() });
        let options = |message| ChannelOptions { resume: resume(message), ..home.options() };
        let mut channel = Channel::open("a", &options(last)).unwrap();
        assert_eq!(publisher.publish(&large, None).unwrap(), 1);
        let next = next(&mut channel);
        assert_eq!(next.data(), b"small");
        assert!(next.dropped_before() > 0, "two are lacking: it says that some are");
        let next = crate::common::next(&mut channel);
        assert_eq!((next.data().len(), next.dropped_before()), (100_000, 0));
        let mut channel = Channel::open("a", &options(&first)).unwrap();
        assert!(channel.fetch().unwrap().unwrap().dropped_before() > 100);
        let mut channel = Channel::open("a", &options(&next)).unwrap();
        publisher.publish(b"more", None).unwrap();
        assert_eq!(crate::common::next(&mut channel).dropped_before(), 0, "it came after what is lacking");
    });
}

/// Creating a topic on a full store is StoreFull and leaves nothing behind.
#[test]
fn creating_a_topic_on_a_full_store_is_an_error_without_residue() {
    on_a_small_file_system(Transport::Default, "size=1m", |home| {
        drop(home.open("b"));
        let filler = fill(home);
        for _ in 0..20 {
            let options = TopicOptions { home: Some(home.path()), ..Default::default() };
            assert!(is_store_full(&create_topic("a", &options).unwrap_err()));
        }
        assert!(home.residue().is_empty(), "{:?}", home.residue());
        assert!(topics(Some(&home.path())).unwrap().is_empty());
        fs::remove_file(filler).unwrap();
        create(home, "a", 0);
    });
}

/// Everything that can be done with a history, whatever is in it: errors and gaps, no crash, no endless loop.
fn use_it(home: &Home) {
    let path = home.path();
    let _ = topics(Some(&path));
    let _ = topic_stats("a", Some(&path));
    if let Ok(messages) = topic_history("a", Some(&path), 50) {
        assert!(messages.len() <= 50);
    }
    let _ = topic_history_from("a", Some(&path), 3, 10);
    for resume in [None, Some(Resume { epoch: 1, offset: 1 })] {
        let options = ChannelOptions { replay_last: 5, resume, ..home.options() };
        if let Ok(mut channel) = Channel::open("a", &options) {
            for _ in 0..200 {
                let _ = home.publisher("a").publish(b"live", None);
                if !matches!(channel.fetch(), Ok(Some(_))) {
                    break;
                }
            }
        }
    }
    let publisher = home.publisher("a");
    for size in [10, 30_000] {
        let _ = publisher.publish(&vec![1; size], None);
    }
    let mut channel = home.open("a");
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1, "live, whatever became of the history");
    assert_eq!(next(&mut channel).data(), b"x");
    cleanup(Some(&path)).unwrap();
}

/// Each word of the first pages, of the table and of the slots, changed to anything.
#[test]
fn hostile_words_in_a_history_are_errors_or_gaps() {
    let home = Home::new();
    create(&home, "a", 100_000);
    let publisher = home.publisher("a");
    for n in 0..60_u64 {
        publisher
            .publish(&[&n.to_le_bytes()[..], &vec![7; if n % 9 == 0 { 20_000 } else { 100 }]].concat(), None)
            .unwrap();
    }
    drop(publisher);
    let path: PathBuf = home.path().join(".topic.a/history");
    let whole = fs::read(&path).unwrap();
    // Words that hold something, and their neighbours; and what a word can be at its worst.
    let used = |word: &usize| whole[word * 8..word * 8 + 8] != [0; 8];
    let fixed = 4 * 4096 / 8 + 64;
    let words: Vec<usize> = (0..fixed).filter(|word| used(word) || (*word > 0 && used(&(word - 1)))).collect();
    assert!(words.len() > 60, "{}", words.len());
    for word in words {
        let before = u64::from_ne_bytes(whole[word * 8..word * 8 + 8].try_into().unwrap());
        let values = [0, before ^ 1, before.wrapping_add(1 << 20), before | 1 << 60, u64::MAX, 1 << 63];
        // Every value at one word or another.
        let value = values[(word + word / values.len()) % values.len()];
        fs::write(&path, &whole).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all_at(&value.to_ne_bytes(), word as u64 * 8).unwrap();
        // A new process, which opens it anew.
        let status = Child::fork(|| use_it(&home)).wait();
        assert_eq!(status, 0, "word {word}: {before:#x} changed to {value:#x}");
    }
}

/// A history that is cut short, empty, something else or missing is an error, and can be deleted and made again.
#[test]
fn a_history_that_is_none_is_an_error_and_can_be_replaced() {
    let home = Home::new();
    let path: PathBuf = home.path().join(".topic.a/history");
    create(&home, "a", 0);
    let whole = fs::read(&path).unwrap();
    create(&home, "b", 0);
    for what in 0..7 {
        fs::remove_file(&path).unwrap();
        match what {
            0 => fs::write(&path, b"").unwrap(),
            1 => fs::write(&path, &whole[..4095]).unwrap(),
            2 => fs::write(&path, &whole[..20_000]).unwrap(),
            3 => fs::create_dir(&path).unwrap(),
            4 => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
            5 => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => {}
        }
        Child::fork(|| {
            let mut channel = home.open("a");
            assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 1);
            assert_eq!(next(&mut channel).epoch(), 0);
            assert!(topic_history("a", Some(&home.path()), 1).is_err());
            // Nor does it keep others from theirs.
            let names: Vec<String> = topics(Some(&home.path())).unwrap().into_iter().map(|stats| stats.topic).collect();
            assert_eq!(names, ["b"], "{what}");
            let replaying = ChannelOptions { replay_last: 1, ..home.options() };
            drop(Channel::open("=", &replaying).unwrap());
        })
        .succeeds();
        if what < 6 {
            delete_topic("a", Some(&home.path())).unwrap();
        }
        create(&home, "a", 0);
        assert!(history(&home, "a").is_empty());
    }
}

/// More managed topics than descriptors may be open: all are served.
#[test]
fn many_managed_topics_keep_the_budget_of_descriptors() {
    let home = Home::new();
    Child::fork(|| {
        for n in 0..40 {
            create(&home, &format!("t.{n}"), 100_000);
        }
        limit_files(80);
        let publishers: Vec<Publisher> = (0..40).map(|n| home.publisher(&format!("t.{n}"))).collect();
        for round in 0..3_u64 {
            for publisher in &publishers {
                publisher.publish(&round.to_le_bytes(), None).unwrap();
            }
        }
        for n in 0..40 {
            assert_eq!(history(&home, &format!("t.{n}")).len(), 3);
        }
        let mut channel = Channel::open("t.=", &ChannelOptions { replay_last: 3, ..home.options() }).unwrap();
        assert_eq!(drain(&mut channel).len(), 120);
    })
    .succeeds();
}
