//! `pubsub init`, and stores that cannot be used.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use nix::unistd::geteuid;

use crate::support::{Running, Store, exists};

fn mode(store: &Store) -> u32 {
    fs::metadata(store.home()).unwrap().mode() & 0o7777
}

#[test]
fn init_makes_a_shared_store_and_a_second_one_fails() {
    let store = Store::new();
    let group = nix::unistd::getegid().to_string();
    let ended = store.ok(["init", "--group", &group]);
    assert_eq!(ended.text(), "");
    assert!(ended.words.contains("mode 3770"), "{}", ended.words);
    assert_eq!(mode(&store), 0o3770);
    let home = store.home();
    store.run(["init", "--group", &group]).assert_failed(1, &[home.to_str().unwrap()]);
    assert_eq!(mode(&store), 0o3770);
    // And it is a store.
    let sub = store.sub(1, &["a", "-n1"]);
    store.ok(["pub", "a", "1"]);
    assert_eq!(sub.end().text(), "a 1\n");
}

#[test]
fn init_takes_the_modes_that_make_sense() {
    for (given, made) in [(None, 0o700), (Some("700"), 0o700), (Some("0770"), 0o3770), (Some("777"), 0o3777)] {
        let store = Store::new();
        store.ok(["init"].into_iter().chain(given.into_iter().flat_map(|mode| ["--mode", mode])));
        assert_eq!(mode(&store), made, "{given:?}");
    }
    let store = Store::new();
    store.run(["init", "--mode", "123"]).assert_failed(2, &["123"]);
    store.run(["init", "--mode", "rwx"]).assert_failed(2, &["rwx", "octal"]);
    let ended = store.run(["init", "--group", "no-such-group-here"]);
    assert!(matches!(ended.code(), Some(1 | 2)), "{ended:?}");
    assert!(ended.words.contains("no-such-group-here"), "{}", ended.words);
    assert!(!exists(&store.home()));
}

#[test]
fn home_says_which_store() {
    let store = Store::new();
    let other = store.beside("other");
    let other = other.to_str().unwrap();
    let sub = Running::start(&mut store.command(["--home", other, "sub", "a", "-n2"])).subscribed(1);
    store.ok(["pub", "a", "in the wrong store"]);
    assert_eq!(store.ok(["pub", "--home", other, "a", "here"]).words, "delivered to 1 channel\n");
    assert_eq!(store.ok(["ls", "--json", "--home", other]).lines().len(), 1);
    store.ok(["pub", "--home", other, "a", "again"]);
    assert_eq!(sub.end().text(), "a here\na again\n");
    assert!(store.ok(["gc", "--home", other]).words.contains(other));
}

#[test]
fn a_home_that_cannot_be_is_a_failure_that_names_it() {
    let store = Store::new();
    fs::write(store.beside("file"), "").unwrap();
    let home = store.beside("file/store");
    let home = home.to_str().unwrap();
    store.run(["--home", home, "sub", "a", "-t0"]).assert_failed(2, &[home, "not a directory"]);
    store.run(["--home", home, "init"]).assert_failed(1, &[home]);
    let home = "/proc/no/such";
    store.run(["--home", home, "pub", "a", "x"]).assert_failed(1, &[home]);
}

#[test]
fn an_unwritable_home_is_a_failure_that_names_it() {
    let store = Store::new();
    let closed = store.beside("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
    // The temporary directory itself is private, and the user of the process below is another one.
    fs::set_permissions(closed.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    for home in [closed.clone(), closed.join("store")] {
        let home = home.to_str().unwrap();
        let mut command = store.command(["--home", home, "sub", "a", "-t0"]);
        if geteuid().is_root() {
            // Root may write everywhere.
            command.uid(65534).gid(65534);
        }
        Running::start(&mut command).end().assert_failed(1, &[home]);
    }
}
