//! `pubsub doctor` and `pubsub stats`: everything that can be wrong is planted and found.

use std::fs::{self, File, FileTimes, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{geteuid, mkfifo};
use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};
use serde_json::Value;

use crate::support::{Ended, Running, Store};

/// What a doctor found: severity, name, path below the store.
fn findings(ended: &Ended, store: &Store) -> Vec<(String, String, String)> {
    let home = store.home().to_string_lossy().into_owned();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let lines = ended.lines();
    let objects = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    objects
        .map(|found| {
            assert!(!text(&found["text"]).is_empty() && !text(&found["advice"]).is_empty(), "{found}");
            let path = text(&found["path"]);
            let below = path.strip_prefix(&home).unwrap_or(&path).trim_start_matches('/').to_owned();
            (text(&found["severity"]), text(&found["name"]), below)
        })
        // Of the machine that the test runs on.
        .filter(|(_, name, _)| !["space", "small", "inodes"].contains(&name.as_str()))
        .collect()
}

fn doctor(store: &Store) -> (Option<i32>, Vec<(String, String, String)>) {
    let ended = store.run(["doctor", "--json"]);
    (ended.code(), findings(&ended, store))
}

/// The doctor finds `name` at `path`, and calls it wrong or not.
fn assert_found(store: &Store, wrong: bool, name: &str, path: &str) {
    let (code, found) = doctor(store);
    let severity = if wrong { "wrong" } else { "note" };
    let wanted = (severity.to_owned(), name.to_owned(), path.to_owned());
    assert!(found.contains(&wanted), "{wanted:?} is not in {found:#?}");
    assert_eq!(found.iter().filter(|found| found.1 == name).count(), 1, "{found:#?}");
    if wrong {
        assert_eq!(code, Some(4), "{found:#?}");
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mkdir(path: &Path) {
    fs::create_dir(path).unwrap();
}

/// A store with a living channel in it that nothing is wrong with.
fn healthy() -> (Store, Running, String) {
    let store = Store::new();
    let sub = store.sub(1, &["a.b"]);
    let (code, found) = doctor(&store);
    assert_eq!((code, found), (Some(0), vec![]));
    let channel = store.directories().remove(0);
    (store, sub, channel)
}

fn end(sub: Running) {
    sub.signal(Signal::SIGKILL);
    sub.signal(Signal::SIGCONT);
    sub.end();
}

#[test]
fn a_healthy_store_and_one_that_is_not_there_have_nothing_wrong() {
    let store = Store::new();
    assert_found(&store, false, "no-store", "");
    assert!(!store.home().exists(), "looking does not make it");
    let (store, sub, _) = healthy();
    let ended = store.ok(["doctor"]);
    assert!(ended.words.contains("nothing is wrong"), "{ended:?}");
    end(sub);
}

#[test]
fn a_store_at_work_has_nothing_wrong() {
    let store = Store::new();
    store.ok(["topics", "create", "work.topic"]);
    /// Also when the test fails.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (home, ended) = (Some(store.home()), AtomicBool::new(false));
    thread::scope(|scope| {
        let _ends = Ends(&ended);
        for i in 0..3 {
            let (home, ended) = (home.clone(), &ended);
            scope.spawn(move || {
                let options = PublisherOptions { home: home.clone(), ..Default::default() };
                let publisher = Publisher::open("work.topic", &options).unwrap();
                let options = ChannelOptions { home, ..Default::default() };
                while !ended.load(Ordering::Relaxed) {
                    let mut channel = Channel::open("work.=", &options).unwrap();
                    // Some of them in files.
                    publisher.publish(&vec![0; if i == 0 { 1 << 20 } else { 10 }], None).unwrap();
                    while channel.fetch().unwrap().is_some() {}
                    channel.close().unwrap();
                }
            });
        }
        for _ in 0..5 {
            assert_eq!(doctor(&store), (Some(0), vec![]));
        }
    });
}

#[test]
fn what_killed_processes_left_is_found_and_gone_after_gc() {
    let (store, sub, channel) = healthy();
    let tmp = store.home().join("tmp");
    mkdir(&tmp.join("new.channel"));
    mkdir(&tmp.join("new.unlocked"));
    File::create(tmp.join("new.unlocked/control")).unwrap();
    File::create(tmp.join("new.file")).unwrap();
    mkdir(&tmp.join("dead.channel"));
    let draft = File::create(tmp.join("1795320805756191")).unwrap();
    draft.set_times(FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(61))).unwrap();
    File::create(tmp.join("1795320805756192")).unwrap(); // young: its publisher is about to link it
    mkdir(&store.home().join("formix_0123_999999999"));
    end(sub);

    let wanted = [
        ("half-made", "tmp/new.channel"),
        ("half-made", "tmp/new.unlocked"),
        ("half-made", "tmp/new.file"),
        ("half-removed", "tmp/dead.channel"),
        ("formix-draft", "tmp/1795320805756191"),
        ("dead-channel", &channel),
        ("dead-formix", "formix_0123_999999999"),
    ];
    let (code, found) = doctor(&store);
    assert_eq!((code, found.len()), (Some(4), wanted.len()), "{found:#?}");
    for (name, path) in wanted {
        assert!(found.contains(&("wrong".to_owned(), name.to_owned(), path.to_owned())), "{name} {path}: {found:#?}");
    }
    store.ok(["gc"]);
    assert_eq!(doctor(&store), (Some(0), vec![]));
}

#[test]
fn a_store_that_was_never_finished_is_found_beside() {
    let (store, sub, _) = healthy();
    mkdir(&store.beside(".pubsub.0123456789ab"));
    let (code, found) = doctor(&store);
    let path = store.beside(".pubsub.0123456789ab").to_string_lossy().into_owned();
    assert_eq!(
        (code, found),
        (Some(4), vec![("wrong".to_owned(), "half-made".to_owned(), path.trim_start_matches('/').to_owned())])
    );
    end(sub);
}

#[test]
fn strays_and_things_of_the_wrong_kind_are_found() {
    let (store, sub, channel) = healthy();
    let home = store.home();
    for stray in ["notes.txt", ".pubsub/notes", "tmp/core", &format!("{channel}/x"), "a_b_1"] {
        File::create(home.join(stray)).unwrap();
        assert_found(&store, true, "stray", stray);
        fs::remove_file(home.join(stray)).unwrap();
    }
    mkdir(&home.join("no-channel"));
    assert_found(&store, true, "stray", "no-channel");
    fs::remove_dir(home.join("no-channel")).unwrap();

    for name in ["control", "queue"] {
        let (path, aside) = (home.join(&channel).join(name), store.beside("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink("/dev/null", &path).unwrap();
        assert_found(&store, true, "wrong-type", &format!("{channel}/{name}"));
        fs::remove_file(&path).unwrap();
        drop(UnixListener::bind(&path).unwrap());
        assert_found(&store, true, "wrong-type", &format!("{channel}/{name}"));
        fs::remove_file(&path).unwrap();
        if name == "queue" {
            assert_found(&store, true, "no-queue", &channel);
        }
        fs::rename(&aside, &path).unwrap();
    }
    for name in [".pubsub/store", ".pubsub", "tmp"] {
        let (path, aside) = (home.join(name), store.beside("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink("/dev", &path).unwrap();
        assert_found(&store, true, "wrong-type", name);
        fs::remove_file(&path).unwrap();
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(doctor(&store), (Some(0), vec![]));
    end(sub);

    let store = Store::new();
    File::create(store.home()).unwrap();
    assert_found(&store, true, "wrong-type", "");
}

/// Opens a page of the store and writes a native word.
fn set_word(path: &Path, word: u64, value: u64) -> u64 {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut before = [0; 8];
    file.read_exact_at(&mut before, word * 8).unwrap();
    file.write_all_at(&value.to_ne_bytes(), word * 8).unwrap();
    u64::from_ne_bytes(before)
}

#[test]
fn pages_of_other_versions_and_corrupt_ones_are_found() {
    let (store, sub, channel) = healthy();
    let (page, name) = (store.home().join(&channel).join("control"), format!("{channel}/control"));
    for (word, value, fault) in [
        (1, 77, "other-version"),
        (0, 77, "corrupt-page"),
        (2, 77, "corrupt-page"),
        (3, 77, "corrupt-page"),
        (8, 1 << 40, "corrupt-page"),
    ] {
        let before = set_word(&page, word, value);
        assert_found(&store, true, fault, &name);
        set_word(&page, word, before);
    }
    let page = store.home().join(".pubsub/store");
    let other = u64::from_ne_bytes(*b"pubsubS\x07");
    for (word, value, wrong, fault) in
        [(0, other, true, "other-version"), (0, 7, true, "corrupt-page"), (8, hours_ahead(2), false, "clock-set-back")]
    {
        let before = set_word(&page, word, value);
        assert_found(&store, wrong, fault, ".pubsub/store");
        set_word(&page, word, before);
    }
    end(sub);
}

/// An id of so many hours from now.
fn hours_ahead(hours: u64) -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ((now + Duration::from_secs(hours * 3600)).as_micros() as u64) << 12
}

#[test]
fn managed_topics_that_are_corrupt_or_open_to_others_are_found() {
    let (store, sub, _) = healthy();
    store.ok(["topics", "create", "news"]);
    store.ok(["pub", "news", "1"]);
    assert_eq!(doctor(&store), (Some(0), vec![]));
    let page = store.home().join(".topic.news/history");
    for (word, value, fault) in [(1, 77, "other-version"), (0, 77, "corrupt-page"), (5, 0, "corrupt-page")] {
        let before = set_word(&page, word, value);
        assert_found(&store, true, fault, ".topic.news/history");
        set_word(&page, word, before);
    }
    chmod(&page, 0o666);
    assert_found(&store, true, "wrong-mode", ".topic.news/history");
    chmod(&page, 0o600);
    let large = File::create(store.home().join(".topic.news/large")).unwrap();
    assert_eq!(doctor(&store).1, [], "its publisher may be about to name it");
    large.set_times(FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(3601))).unwrap();
    assert_found(&store, true, "half-made", ".topic.news/large");
    store.ok(["gc"]);
    assert_eq!(doctor(&store), (Some(0), vec![]));
    fs::remove_file(store.home().join(".topic.news/large")).unwrap_or_default();
    for (name, fault) in [("large", "wrong-type"), ("history", "corrupt-page")] {
        let path = store.home().join(".topic.news").join(name);
        fs::remove_file(&path).unwrap_or_default();
        drop(UnixListener::bind(&path).unwrap());
        assert_found(&store, true, fault, &format!(".topic.news/{name}"));
        fs::remove_file(&path).unwrap();
    }
    assert_found(&store, true, "corrupt-page", ".topic.news");
    end(sub);
}

#[test]
fn wrong_modes_and_owners_are_found() {
    let (store, sub, channel) = healthy();
    let home = store.home();
    for (name, wrong, right) in [
        (".pubsub", 0o777, 0o700),
        ("tmp", 0o722, 0o700),
        ("tmp", 0o500, 0o700),
        (".pubsub/store", 0o666, 0o600),
        (&channel, 0o770, 0o700),
        (&format!("{channel}/control"), 0o622, 0o600),
        ("", 0o777, 0o700),
    ] {
        chmod(&home.join(name), wrong);
        assert_found(&store, true, "wrong-mode", name);
        chmod(&home.join(name), right);
    }
    if geteuid().is_root() {
        for name in [".pubsub", "tmp", ".pubsub/store", &channel] {
            chown(home.join(name), Some(54_399), None).unwrap();
            assert_found(&store, true, "wrong-owner", name);
            chown(home.join(name), Some(0), None).unwrap();
        }
        // As another user sees it.
        let mut command = store.command(["doctor", "--json"]);
        chmod(store.beside("").as_path(), 0o711);
        let ended = Running::start(command.uid(54_399).gid(54_399)).end();
        let found = findings(&ended, &store);
        assert_eq!((ended.code(), found), (Some(4), vec![("wrong".to_owned(), "no-access".to_owned(), String::new())]));
    }
    assert_eq!(doctor(&store), (Some(0), vec![]));
    end(sub);

    // A shared store is what its base says.
    let store = Store::new();
    store.ok(["init", "--mode", "770"]);
    let sub = store.sub(1, &["a"]);
    assert_eq!(doctor(&store), (Some(0), vec![]));
    chmod(&store.home().join(".pubsub/store"), 0o600);
    assert_found(&store, true, "wrong-mode", ".pubsub/store");
    end(sub);
}

#[test]
fn living_formix_channels_are_no_fault() {
    let (store, sub, _) = healthy();
    let name = format!("news_0123_{}", std::process::id());
    let directory = store.home().join(&name);
    mkdir(&directory);
    mkfifo(&directory.join("queue"), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let _receiver = OpenOptions::new().read(true).write(true).open(directory.join("queue")).unwrap();
    assert_eq!(doctor(&store), (Some(0), vec![("note".to_owned(), "formix-channel".to_owned(), name)]));
    end(sub);
}

#[test]
fn full_queues_and_what_was_set_aside_are_found() {
    let (store, mut sub, channel) = healthy();
    let junk = store.home().join(&channel).join("1795320805756191");
    fs::write(&junk, "no message").unwrap();
    fs::write(store.home().join(&channel).join("queue"), 1_795_320_805_756_191u64.to_be_bytes()).unwrap();
    store.ok(["pub", "a.b", "1"]);
    assert_eq!(sub.line(), "a.b 1");
    assert_found(&store, true, "set-aside", &channel);

    sub.stop();
    let input = "x\n".repeat(16_385);
    assert_eq!(store.run_on(["pub", "--lines", "--wait", "0", "a.b"], input.as_bytes()).code(), Some(1));
    assert_found(&store, true, "queue-full", &channel);
    let ended = store.run(["doctor"]);
    assert!(ended.text().contains("were refused"), "{}", ended.text());
    end(sub);
}

/// Runs the doctor in a shell as root of namespaces of its own; `None` where that is not allowed.
fn in_namespace(store: &Store, script: &str) -> Option<Ended> {
    let script = format!("unshare -Urm true || exit 99; exec unshare -Urm sh -c '{script}'");
    let ended = Running::start(&mut store.shell(&script)).end();
    if ended.code() == Some(99) {
        println!("not run: user namespaces are not allowed");
        return None;
    }
    Some(ended)
}

/// What the doctor finds beside the faults of the store itself.
fn names(ended: &Ended) -> Vec<String> {
    let text = |line: &&str| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().to_owned();
    ended.lines().iter().map(text).collect()
}

#[test]
fn full_small_and_read_only_file_systems_are_found() {
    let store = Store::new();
    store.ok(["init"]);
    let mount = "mount -t tmpfs -o mode=700";
    for (script, wanted, code) in [
        (format!("{mount},size=64m none $PUBSUB_HOME"), "small", 0),
        (format!("{mount},size=64m none $PUBSUB_HOME; head -c 60m /dev/zero > $PUBSUB_HOME/x"), "space", 4),
        (format!("{mount},nr_inodes=40 none $PUBSUB_HOME; cd $PUBSUB_HOME; touch $(seq 39)"), "inodes", 4),
        (format!("{mount},ro none $PUBSUB_HOME"), "read-only", 4),
    ] {
        let Some(ended) = in_namespace(&store, &format!("{script}; exec \"$PUBSUB\" doctor --json")) else { return };
        assert!(names(&ended).contains(&wanted.to_owned()), "{wanted}: {ended:?}");
        assert!(!names(&ended).contains(&"no-access".to_owned()), "{wanted}: {ended:?}");
        assert_eq!(ended.code(), Some(code), "{ended:?}");
    }
}

#[test]
fn low_limits_are_found() {
    let store = Store::new();
    store.ok(["init"]);
    let ended = Running::start(&mut store.shell("ulimit -n 64; exec \"$PUBSUB\" doctor --json")).end();
    assert!(names(&ended).contains(&"descriptors".to_owned()) && ended.code() == Some(4), "{ended:?}");

    let no_inotify = "echo 0 > /proc/sys/user/max_inotify_instances; exec \"$PUBSUB\" doctor --json";
    if let Some(ended) = in_namespace(&store, no_inotify) {
        assert!(names(&ended).contains(&"inotify".to_owned()) && ended.code() == Some(4), "{ended:?}");
    }

    // Pages of pipes are counted by user; root has no limit.
    if geteuid().is_root() {
        // A user of this run's own: the count of another run's, which may end, is not to be part of it.
        let user = 1_000_000 + std::process::id();
        let directory = store.beside("fifos");
        mkdir(&directory);
        chmod(&directory, 0o777);
        chmod(store.beside("").as_path(), 0o711);
        let script = "cd $1; ulimit -n 2048; exec 3<>/dev/null; \
            mkfifo $(seq 1100); for i in $(seq 1100); do exec {fd}<>$i; done; exec \"$PUBSUB\" doctor --json";
        let mut command = store.shell("exec bash -c \"$SCRIPT\" x \"$DIRECTORY\"");
        command.env("SCRIPT", script).env("DIRECTORY", &directory).env("PUBSUB_HOME", directory.join("store"));
        let ended = Running::start(command.uid(user).gid(user)).end();
        assert!(names(&ended).contains(&"pipes".to_owned()) && ended.code() == Some(4), "{ended:?}");
    }
}

#[test]
fn every_name_of_a_finding_is_explained_in_the_manual() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let source = fs::read_to_string(root.join("src/bin/pubsub/doctor.rs")).unwrap();
    // `(true, "dead-channel", …)` and `add("pipes", …)`, as rustfmt may have broken their lines.
    let words: String = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let names: Vec<&str> = ["(true, \"", "(false, \"", "add( \"", "add(\""]
        .iter()
        .flat_map(|before| words.split(before).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(manual.contains(&format!("`{name}`")), "docs/operations.md does not explain {name}");
    }
}

#[test]
fn stats_sum_up_and_tell_each_channel() {
    let store = Store::new();
    assert_eq!(serde_json::from_str::<Value>(store.ok(["stats", "--json"]).text()).unwrap()["channels"]["total"], 0);
    let mut sub = store.sub(2, &["a.b", "a.="]);
    store.ok(["pub", "a.b", "1"]);
    assert_eq!((sub.line(), sub.line()), ("a.b 1".to_owned(), "a.b 1".to_owned()));
    let stopped = store.sub(1, &["c"]);
    stopped.stop();
    store.run_on(["pub", "--lines", "--wait", "0", "c"], "x\n".repeat(16_384).as_bytes());
    assert_eq!(store.run(["pub", "c", "x"]).code(), Some(1));

    let stats: Value = serde_json::from_str(store.ok(["stats", "--json"]).text()).unwrap();
    assert_eq!(stats["channels"], serde_json::json!({"total": 3, "live": 3, "dead": 0, "foreign": 0}));
    assert_eq!((&stats["received"], &stats["unread_messages"]), (&2.into(), &16_384.into()));
    assert_eq!((&stats["rejected"], &stats["dropped"], &stats["malformed"]), (&1.into(), &0.into(), &0.into()));
    assert!(stats["size_bytes"].as_u64() > Some(0) && stats["file_system"].is_string());
    assert_eq!(stats["store"], store.home().to_str().unwrap());
    let channels = store.channels();
    let sorted = |mut list: Vec<Value>| {
        list.sort_by_key(|channel| channel["path"].as_str().unwrap().to_owned());
        list
    };
    assert_eq!(sorted(stats["per_channel"].as_array().unwrap().clone()), sorted(channels));

    let ended = store.ok(["stats"]);
    let lines: Vec<Vec<&str>> = ended.lines().iter().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1], ["channels", "3", "live,", "0", "dead,", "0", "of", "formix-pubsub"]);
    assert_eq!((&lines[4], &lines[5]), (&vec!["received", "2"], &vec!["rejected", "1"]));
    let header = ["PATTERN", "PID", "UNREAD", "BYTES", "RECEIVED", "REJECTED", "DROPPED", "MALFORMED", "STATE"];
    assert_eq!(lines[9], header);
    let pid = stopped.pid().to_string();
    assert_eq!((lines[12][0], lines[12][1], lines[12][2]), ("c", pid.as_str(), "16384"));
    assert_eq!(lines[12][lines[12].len() - 4..], ["1", "0", "0", "live"]);
    end(stopped);
    sub.signal(Signal::SIGTERM);
    sub.end();
}
