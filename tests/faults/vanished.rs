//! Directories and stores that somebody deletes, and stores that are damaged.

use std::fs;
use std::thread;
use std::time::Duration;

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    a_channel_whose_directory_is_deleted_says_so,
    a_deleted_store_is_made_anew,
}

fn corrupt(error: Error, channel: &str) {
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains(channel), "{error}");
}

fn name(channel: &Channel) -> String {
    channel.path().file_name().unwrap().to_str().unwrap().to_string()
}

/// A channel whose directory is deleted says so: in fetch, in a wait that began before, and with messages unread.
fn a_channel_whose_directory_is_deleted_says_so(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let name_of = name(&channel);
    let path = channel.path().to_path_buf();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20));
            fs::remove_dir_all(&path).unwrap();
        });
        corrupt(channel.fetch_wait(Some(LONG)).unwrap_err(), &name_of);
    });
    eventually("fetch says so, too", || channel.fetch().is_err());
    assert_eq!(home.publisher("a").publish(b"x", None).unwrap(), 0);
    channel.close().unwrap();

    let mut channel = home.open("a");
    for _ in 0..600 {
        home.publisher("a").publish(b"x", None).unwrap();
    }
    channel.fetch().unwrap().unwrap();
    fs::remove_dir_all(channel.path()).unwrap();
    // What is in memory can still be had.
    let mut left = 0;
    while let Ok(Some(_)) = channel.fetch() {
        left += 1;
    }
    assert_eq!(left, if transport == Transport::Files { 0 } else { 599 });
    let error = loop {
        match channel.fetch() {
            Ok(message) => assert!(message.is_none()),
            Err(error) => break error,
        }
    };
    corrupt(error, &name(&channel));
    channel.close().unwrap();
    drop(home.open("a"));
}

/// The whole store is deleted under a publisher and a channel: the channel says so, and everything works again in a new one.
fn a_deleted_store_is_made_anew(transport: Transport) {
    let home = Home::with(transport);
    let mut old = home.open("a");
    let publisher = home.publisher("a");
    assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
    drain(&mut old);
    for _ in 0..3 {
        fs::remove_dir_all(home.path()).unwrap();
        assert_eq!(publisher.publish(b"x", None).unwrap(), 0);
        assert!(home.path().join(".pubsub/store").exists(), "whoever opens a channel there is heard");
        let mut new = home.open("a");
        assert_eq!(publisher.publish(b"x", None).unwrap(), 1);
        assert_eq!(drain(&mut new).len(), 1);
    }
    corrupt(old.fetch_wait(Some(LONG)).unwrap_err(), &name(&old));
    old.close().unwrap();
}

/// A part of what only libpubsub knows is deleted: it is made anew, and ids stay unique.
#[test]
fn what_is_deleted_below_the_store_is_made_anew() {
    let home = Home::new();
    let mut channel = home.open("a");
    let publisher = home.publisher("a");
    let mut last = 0;
    for part in ["tmp", ".pubsub", "tmp", ".pubsub/store"] {
        let path = home.path().join(part);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.unwrap();
        eventually("publishing goes on", || publisher.publish(b"x", None).unwrap() == 1);
        // The page is looked for every 10 ms.
        eventually("whoever only publishes makes it anew", || {
            publisher.publish(b"x", None).unwrap();
            thread::sleep(Duration::from_millis(1));
            part == "tmp" || path.exists()
        });
        for message in drain(&mut channel) {
            assert!(message.id() > last);
            last = message.id();
        }
        drop(home.open("b"));
        assert!(path.exists() || part == "tmp");
    }
    fs::remove_dir_all(home.path().join("tmp")).unwrap();
    channel.close().unwrap();
    assert!(home.channels().is_empty());
    assert_eq!(home.cleanup(), 0);
}

fn page(home: &Home) -> std::path::PathBuf {
    home.path().join(".pubsub/store")
}

/// The store's page, damaged: zeros are a new one, an impossible counter is none, garbage is an error that names it.
#[test]
fn a_damaged_page_of_the_store_is_mended_or_named() {
    let write = |contents: Vec<u8>| {
        let home = Home::new();
        fs::create_dir_all(home.path().join(".pubsub")).unwrap();
        fs::write(page(&home), contents).unwrap();
        home
    };
    let works = |home: &Home| {
        let mut channel = home.open("a");
        let publisher = home.publisher("a");
        let ids: Vec<u64> = (0..3)
            .map(|_| {
                publisher.publish(b"x", None).unwrap();
                next(&mut channel).id()
            })
            .collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
        assert!((ids[0] >> 12).abs_diff(now) < 25 * 3600 * 1_000_000, "{ids:?}");
        channel.close().unwrap();
    };
    works(&write(Vec::new()));
    works(&write(vec![0; 100]));
    works(&write(vec![0; 5000]));
    let good = {
        let home = Home::new();
        works(&home);
        fs::read(page(&home)).unwrap()
    };
    let now = u64::from_ne_bytes(good[64..72].try_into().unwrap());
    let hours = |n: u64| (n * 3600 * 1_000_000) << 12;
    for counter in [u64::MAX, u64::MAX - 1, 1, now + hours(48), now + hours(1)] {
        let mut bytes = good.clone();
        bytes[64..72].copy_from_slice(&counter.to_ne_bytes());
        for word in [16, 17] {
            bytes[word * 8..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        }
        works(&write(bytes));
    }
    let home = write(vec![0xa5; 4096]);
    let error = Channel::open("a", &home.options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains(".pubsub/store"), "{error}");
    // Something else in its place.
    let home = Home::new();
    fs::create_dir_all(page(&home)).unwrap();
    let error = Publisher::open("a", &home.publisher_options()).unwrap_err();
    assert!(error.to_string().contains(".pubsub/store"), "{error}");
    let home = Home::new();
    fs::create_dir_all(home.path().join(".pubsub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", page(&home)).unwrap();
    let before = fs::read("/etc/passwd").unwrap();
    assert!(Publisher::open("a", &home.publisher_options()).is_err());
    assert_eq!(fs::read("/etc/passwd").unwrap(), before);
}
