//! Opening, closing, dying, cleaning, and stores that others empty.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pubsub::{Channel, ChannelOptions, ErrorKind, Transport};
use serde_json::json;

use crate::support::{Home, is_root, names, texts};

/// Longer than anything here takes, on however busy a machine.
const LONG: Duration = Duration::from_secs(120);

crate::transports::on_each_transport! {
    formix_cleanup_removes_our_dead_channel_and_never_a_living_one,
    our_cleanup_removes_a_dead_formix_channel_and_never_a_living_one,
    opening_channels_removes_dead_formix_channels_little_by_little,
    a_formix_channel_whose_maker_died_and_whose_heir_still_reads_is_living,
    a_formix_publisher_never_raises_while_our_channels_come_and_go_and_nothing_leaks,
    our_publishers_never_fail_while_formix_channels_come_and_go,
    with_our_entries_in_the_store_every_call_of_formix_works,
    names_that_we_put_into_the_base_are_none_that_stop_formix,
    a_hostile_entry_that_stops_formix_does_not_stop_us,
    a_store_that_is_wiped_one_level_deep_is_used_again,
    a_store_that_is_wiped_between_publishes_keeps_its_ids_apart,
    formix_of_the_same_user_reads_what_we_publish_under_any_umask,
}

fn formix_cleanup_removes_our_dead_channel_and_never_a_living_one(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut living = home.channel("here");
    let mut peer = home.peer();
    peer.open("here");
    assert_eq!(home.publish("here", b"unread"), 2);
    assert_eq!(formix.run("len(Channel.active_paths()), len(Channel.inactive_paths())"), json!([2, 0]));
    formix.run("Channel.cleanup_inactive()");
    assert_eq!(home.channels().len(), 2);
    peer.kill();
    assert_eq!(formix.run("len(Channel.active_paths()), len(Channel.inactive_paths())"), json!([1, 1]));
    formix.run("Channel.cleanup_inactive()");
    assert_eq!(home.channels(), [living.path()]);
    assert_eq!(formix.run("warnings"), json!([]));
    assert_eq!(home.publish("here", b"more"), 1);
    assert_eq!(texts(&mut living), ["unread", "more"]);
}

fn our_cleanup_removes_a_dead_formix_channel_and_never_a_living_one(transport: Transport) {
    let home = Home::with(transport);
    let (mut living, mut dying) = (home.formix(), home.formix());
    living.open("c", "here");
    living.run("d = Channel('here')");
    dying.open("c", "here");
    dying.run("d = Channel('here')");
    assert_eq!(living.publish("here", "unread"), 2);
    assert_eq!(pubsub::cleanup(Some(&home.path())).unwrap(), 0);
    assert_eq!(home.channels().len(), 4);
    dying.kill();
    assert_eq!(pubsub::cleanup(Some(&home.path())).unwrap(), 2);
    let mut left = home.channels();
    left.sort_by_key(|path| names(path).len());
    assert_eq!(left.len(), 2);
    // The one that was created and not opened can still be.
    living.run("d.open()");
    assert_eq!(home.publish("here", b"more"), 2);
    assert_eq!(living.texts("c"), ["unread", "more"]);
    assert_eq!(living.texts("d").last().unwrap(), "more");
}

fn opening_channels_removes_dead_formix_channels_little_by_little(transport: Transport) {
    let home = Home::with(transport);
    let mut living = home.formix();
    living.open("c", "here");
    living.run("d = Channel('here')");
    let mut dying = home.formix();
    dying.run("channels = [Channel('dead.%d' % i) for i in range(20)]");
    dying.kill();
    let since = Instant::now();
    while home.channels().len() > 2 {
        assert!(since.elapsed() < LONG, "left: {:?}", home.channels());
        home.channel("opened");
    }
    assert_eq!(living.run("c.directory_path.exists() and d.directory_path.exists()"), true);
}

fn a_formix_channel_whose_maker_died_and_whose_heir_still_reads_is_living(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    // The child keeps the FIFO and ends when it is told to, or when this test ends.
    let heir = "import os\n\
                child, parent = os.pipe()\n\
                c = Channel('inherited'); c.open()\n\
                answer = os.fork()\n\
                if answer == 0:\n    os.close(parent); os.setsid(); os.dup2(os.open('/dev/null', os.O_WRONLY), 1)\n    \
                os.dup2(os.open('/dev/null', os.O_WRONLY), 2); os.close(0); os.mkfifo(HEIR)\n    \
                f = open(HEIR); os._exit(0)";
    let done = home.beside("heir");
    formix.run(&format!("HEIR = {done:?}"));
    formix.run(heir);
    let since = Instant::now();
    while !done.exists() {
        assert!(since.elapsed() < LONG);
        std::thread::yield_now();
    }
    formix.kill();
    assert_eq!(pubsub::cleanup(Some(&home.path())).unwrap(), 0);
    assert_eq!(home.channels().len(), 1);
    assert!(pubsub::list_channels(Some(&home.path())).unwrap()[0].alive);
    // Lets the heir end, and sees that it has: the FIFO loses its reader.
    drop(fs::File::options().write(true).open(&done).unwrap());
    while pubsub::cleanup(Some(&home.path())).unwrap() == 0 {
        assert!(since.elapsed() < LONG);
        std::thread::yield_now();
    }
    home.assert_clean();
}

fn a_formix_publisher_never_raises_while_our_channels_come_and_go_and_nothing_leaks(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    home.publish("racing", b"");
    let stop = home.beside("stop");
    formix.begin(&format!(
        "answer = 0\nwhile answer <= 20 or not os.path.exists({stop:?}):\n    publish('racing', b'x'); answer += 1\n    \
         if answer % 50 == 0: Channel.cleanup_inactive()"
    ));
    let (mut opened, since) = (0, Instant::now());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut opened = 0;
                    while opened < 2000 && (opened <= 10 || since.elapsed() < Duration::from_secs(3)) {
                        let mut channel = home.channel("racing");
                        if opened % 3 == 0 {
                            texts(&mut channel);
                        }
                        opened += 1;
                    }
                    opened
                })
            })
            .collect();
        opened = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    });
    fs::write(&stop, "").unwrap();
    let published = formix.end().as_u64().unwrap();
    assert!(published > 20 && opened > 20, "{published} published, {opened} opened");
    home.assert_clean();
}

fn our_publishers_never_fail_while_formix_channels_come_and_go(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    // Its close deletes the directory in place, and trips over a file that comes meanwhile, whoever publishes.
    formix.begin(
        "answer = 0\nfor i in range(400):\n    c = Channel('racing'); c.open(); [fetch(c) for _ in range(3)]\n    \
         try: c.close()\n    except OSError: answer += 1",
    );
    let publisher = home.publisher("racing");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                match publisher.publish(b"x", None) {
                    // A reader that was not scheduled for long.
                    Err(error) if error.kind() == ErrorKind::QueueFull => {}
                    result => assert!(result.unwrap() <= 1),
                }
            }
        });
        let raced = formix.end().as_u64().unwrap();
        done.store(true, Ordering::Relaxed);
        // A directory that it could not delete is all that is left: our publisher takes its file back.
        let left: Vec<String> = home.channels().iter().flat_map(|channel| names(channel)).collect();
        assert_eq!(left, [""; 0]);
        assert!(home.channels().len() as u64 <= raced);
    });
    formix.kill();
    pubsub::cleanup(Some(&home.path())).unwrap();
    home.assert_clean();
}

fn with_our_entries_in_the_store_every_call_of_formix_works(transport: Transport) {
    let home = Home::with(transport);
    let mut peer = home.peer();
    peer.open("dead.=");
    let _channel = home.channel("ours.=");
    let _full = home
        .channel_with("ours.+", ChannelOptions { full_policy: pubsub::FullPolicy::DropOldest, ..Default::default() });
    assert_eq!(home.publish("ours.x", b"unread"), 2);
    peer.kill();
    // What makers and removers that died leave in tmp.
    fs::create_dir(home.path().join("tmp/new.abcdefghijkl")).unwrap();
    fs::write(home.path().join("tmp/new.0123456789abcdef"), "").unwrap();
    fs::create_dir_all(home.path().join("tmp/dead.abcdefghijkl/below")).unwrap();
    // What else may stand in the base.
    fs::write(home.path().join("a_regular_file"), "").unwrap();
    fs::create_dir(home.path().join("one_underscore")).unwrap();

    let mut formix = home.formix();
    assert_eq!(formix.run("len(Channel.active_paths())"), 2);
    assert_eq!(formix.run("len(Channel.inactive_paths())"), 1);
    formix.open("c", "ours.x");
    assert_eq!(formix.run("len(Channel.matching_active_paths('ours.x'))"), 3);
    assert_eq!(formix.publish("ours.x", "formix"), 3);
    assert_eq!(formix.texts("c"), ["formix"]);
    formix.run("Channel.cleanup_inactive()");
    assert_eq!(formix.run("len(Channel.active_paths()), len(Channel.inactive_paths())"), json!([3, 0]));
    formix.run("c.close()");
    assert_eq!(formix.run("warnings"), json!([]));
    assert_eq!(home.channels().iter().filter(|path| path.join("queue").exists()).count(), 2);
    // And for us.
    assert_eq!(home.publish("ours.x", b""), 2);
    assert_eq!(pubsub::cleanup(Some(&home.path())).unwrap(), 0);
    assert_eq!(names(&home.path().join("tmp")), [""; 0]);
    assert!(home.path().join("a_regular_file").exists() && home.path().join("one_underscore").exists());
}

fn names_that_we_put_into_the_base_are_none_that_stop_formix(transport: Transport) {
    let home = Home::with(transport);
    let channels: Vec<Channel> = ["a.b", "=", "+", "a.=.-.+", &["="; 100].join(".")].map(|p| home.channel(p)).into();
    for channel in &channels {
        let name = channel.path().file_name().unwrap().to_str().unwrap();
        let parts: Vec<&str> = name.split('_').collect();
        assert_eq!(parts.len(), 3, "{name}");
        assert!(parts[0].bytes().all(|b| b.is_ascii_alphanumeric() || b".-=+".contains(&b)), "{name}");
        assert_eq!(parts[2].parse::<i32>().unwrap(), std::process::id() as i32, "{name}");
        use std::os::unix::fs::FileTypeExt;
        assert!(fs::symlink_metadata(channel.path()).unwrap().is_dir());
        assert!(fs::symlink_metadata(channel.path().join("queue")).unwrap().file_type().is_fifo());
    }
}

fn a_hostile_entry_that_stops_formix_does_not_stop_us(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("on.=");
    for name in ["a_b_c", "a_b_", "__", "a_b_-1", "a_b_99999999999999999999", "(_b_1", "*_b_1", "é_b_1"] {
        fs::create_dir(home.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/", home.path().join("on.x_link_1")).unwrap();
    fs::create_dir(home.path().join("on.x_file_1")).unwrap();
    fs::write(home.path().join("on.x_file_1/queue"), "").unwrap();
    assert_eq!(home.publish("on.x", b"through"), 1);
    assert_eq!(texts(&mut channel), ["through"]);
    assert_eq!(fs::read(home.path().join("on.x_file_1/queue")).unwrap(), b"");
    pubsub::cleanup(Some(&home.path())).unwrap();
    assert!(Path::new("/proc").exists() && home.path().join("a_b_c").exists());
}

#[test]
fn a_store_that_is_not_there_is_made_by_a_publish() {
    let home = Home::new();
    assert_eq!(home.publish("first", b""), 0);
    let mut formix = home.formix();
    assert_eq!(formix.publish("first", ""), 0);
    formix.open("c", "first");
    assert_eq!(home.publish("first", b"heard"), 1);
    assert_eq!(formix.texts("c"), ["heard"]);
}

#[test]
fn a_store_that_formix_made_is_used_as_it_is() {
    let home = Home::new();
    let mut formix = home.formix();
    formix.open("c", "first");
    assert_eq!(home.names().len(), 1, "formix makes no tmp before it publishes");
    assert_eq!(home.publish("first", b"heard"), 1);
    assert_eq!(formix.texts("c"), ["heard"]);
    assert_eq!(formix.publish("first", "own"), 1);
    assert_eq!(formix.texts("c"), ["own"]);
}

fn a_store_that_is_wiped_one_level_deep_is_used_again(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut channel = home.channel("wiped.=");
    let mut waiting = home.channel("wiped.+");
    let publisher = home.publisher("wiped.x");
    assert_eq!(publisher.publish(b"before", None).unwrap(), 2);
    assert_eq!(texts(&mut channel), ["before"]);
    formix.run(&format!("wipe_one_level_deep({:?})", home.path()));
    assert_eq!(home.names(), [""; 0]);

    // The publisher finds nobody, and makes what it needs for those who come.
    assert_eq!(publisher.publish(b"nobody", None).unwrap(), 0);
    let mut fresh = home.channel("wiped.=");
    formix.open("c", "wiped.x");
    assert_eq!(publisher.publish(b"after", None).unwrap(), 2);
    assert_eq!(texts(&mut fresh), ["after"]);
    assert_eq!(formix.texts("c"), ["after"]);
    assert_eq!(formix.publish("wiped.x", "formix"), 2);
    assert_eq!(texts(&mut fresh), ["formix"]);

    // The channels that were deleted say so, whether they look or wait.
    let since = Instant::now();
    let error = loop {
        match channel.fetch() {
            Err(error) => break error,
            Ok(message) => assert!(message.is_none() && since.elapsed() < LONG),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("wiped.=") && error.to_string().contains("open a new one"), "{error}");
    let error = loop {
        match waiting.fetch_wait(Some(LONG)) {
            Err(error) => break error,
            // What is in memory can still be had.
            Ok(message) => assert!((message.is_none() || transport == Transport::Ring) && since.elapsed() < LONG),
        }
    };
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    channel.close().unwrap();
    drop(waiting);
    drop(fresh);
    formix.run("c.close()");
    home.assert_clean();
}

fn a_store_that_is_wiped_between_publishes_keeps_its_ids_apart(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let publisher = home.publisher("ids");
    let mut last = 0;
    for _ in 0..3 {
        let mut channel = home.channel("ids");
        assert_eq!(publisher.publish(b"", None).unwrap(), 1);
        let id = channel.fetch().unwrap().unwrap().id();
        assert!(id > last);
        last = id;
        formix.run(&format!("wipe_one_level_deep({:?})", home.path()));
    }
}

fn formix_of_the_same_user_reads_what_we_publish_under_any_umask(transport: Transport) {
    if !is_root() {
        return;
    }
    for mask in [0o777, 0o077, 0o700, 0] {
        let home = Home::of_everybody(transport);
        let mut formix = home.formix();
        let mut peer = home.peer();
        // root may read anything; others may not.
        formix.run("become(54321)");
        peer.become_user(54321, &[]);
        peer.run(json!({"do": "umask", "mask": mask}));
        // Ours makes the store.
        assert_eq!(peer.publish("masked", "nobody"), 0);
        formix.open("c", "masked");
        assert_eq!(peer.publish("masked", "heard"), 1, "umask {mask:o}");
        assert_eq!(formix.texts("c"), ["heard"], "umask {mask:o}");
        peer.open("masked");
        assert_eq!(formix.publish("masked", "back"), 2, "umask {mask:o}");
        assert_eq!(peer.texts(), ["back"], "umask {mask:o}");
    }
}

#[test]
fn cleanup_removes_what_a_dead_formix_publisher_left_in_tmp_and_not_what_is_being_published() {
    let home = Home::new();
    let mut formix = home.formix();
    assert_eq!(home.publish("a", b""), 0);
    assert_eq!(formix.publish("a", ""), 0);
    formix.run(
        "tmp = os.path.join(os.environ['PUBSUB_HOME'], 'tmp')\n\
         for name in ('1795309693041133', '1795309693041134', 'notes'): open(os.path.join(tmp, name), 'w').close()\n\
         for name in ('1795309693041133', 'notes'): os.utime(os.path.join(tmp, name), (1, 1))",
    );
    pubsub::cleanup(Some(&home.path())).unwrap();
    assert_eq!(names(&home.path().join("tmp")), ["1795309693041134", "notes"]);
}
