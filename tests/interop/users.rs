//! Stores and users. What needs to become other users runs as root only, and says so otherwise.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use pubsub::Transport;
use serde_json::json;

use crate::support::{Home, Peer, hex, is_root, noise, texts};

crate::transports::on_each_transport! {
    a_private_store_of_another_user_is_refused_by_name,
    two_users_of_a_shared_store_hear_each_other,
    a_stranger_to_the_group_cannot_use_a_shared_store,
    the_oldest_is_dropped_by_the_other_user_too,
    what_a_user_left_is_removed_by_his_next_process_and_harms_nobody_before,
    cleanup_by_the_other_user_removes_what_permissions_let_him_and_nothing_living,
    a_formix_channel_of_another_user_is_a_permission_error_that_names_it,
    a_publisher_of_root_is_heard_in_a_users_store_and_leaves_it_usable,
    a_publisher_that_gives_up_roots_rights_goes_on_publishing,
    a_publisher_on_a_kernel_before_6_10_needs_no_rights,
    formix_cleanup_of_another_user_leaves_a_living_channel_in_a_shared_store,
}

const ALICE: u32 = 54_341;
const BOB: u32 = 54_342;
const GROUP: u32 = 54_400;
const STRANGER: u32 = 65_534;

fn peer_of(home: &Home, user: u32, groups: &[u32]) -> Peer {
    let mut peer = home.peer();
    peer.become_user(user, groups);
    peer
}

/// A store that Alice has made for a group, and a process of each of the two.
fn shared(transport: Transport) -> (Home, Peer, Peer) {
    let home = Home::of_everybody(transport);
    let mut alice = peer_of(&home, ALICE, &[GROUP]);
    alice.run(json!({"do": "create", "group": GROUP.to_string()}));
    let stat = std::fs::metadata(home.path()).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.uid(), stat.gid()), (0o3770, ALICE, GROUP));
    let bob = peer_of(&home, BOB, &[GROUP]);
    (home, alice, bob)
}

#[test]
fn a_default_store_that_belongs_to_another_user_is_refused() {
    if !is_root() {
        return;
    }
    // In a mount namespace with a /dev/shm of its own, so that the real one is not touched.
    let mut private = Command::new("unshare");
    private.args(["-m", "sh", "-c"]);
    let setup =
        "mount -t tmpfs -o mode=1777 none /dev/shm && mkdir -m 777 /dev/shm/pubsub && chown 54341 /dev/shm/pubsub";
    if !Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs none /dev/shm"])
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("not run: it needs the right to mount (CAP_SYS_ADMIN)");
        return;
    }
    private.args([&format!("{setup} && exec \"$@\""), "sh"]);
    let mut stranger = Peer::start_by("".as_ref(), private);
    stranger.become_user(STRANGER, &[]);
    for question in [
        json!({"do": "publish", "topic": "a", "data": ""}),
        json!({"do": "open", "topic": "a"}),
        json!({"do": "cleanup"}),
    ] {
        let (kind, text) = stranger.fail(question.clone());
        assert_eq!(kind, "PS_ERR_PERMISSION", "{question}: {text}");
        for named in ["/dev/shm/pubsub", "54341", "65534", "PUBSUB_HOME"] {
            assert!(text.contains(named), "{text}");
        }
    }
    let mut owner = Command::new("unshare");
    owner.args(["-m", "sh", "-c", &format!("{setup} && exec \"$@\""), "sh"]);
    let mut owner = Peer::start_by("".as_ref(), owner);
    owner.become_user(ALICE, &[]);
    owner.open("a");
    assert_eq!(owner.publish("a", "own"), 1);
    assert_eq!(owner.texts(), ["own"]);
}

fn a_private_store_of_another_user_is_refused_by_name(transport: Transport) {
    if !is_root() {
        return;
    }
    let home = Home::of_everybody(transport);
    let _channel = home.channel("private");
    assert_eq!(std::fs::metadata(home.path()).unwrap().mode() & 0o7777, 0o700);
    let mut stranger = peer_of(&home, STRANGER, &[]);
    for question in
        [json!({"do": "publish", "topic": "private", "data": ""}), json!({"do": "open", "topic": "private"})]
    {
        let (kind, text) = stranger.fail(question);
        assert_eq!(kind, "PS_ERR_PERMISSION", "{text}");
        assert!(text.contains(home.path().to_str().unwrap()), "{text}");
    }
}

fn two_users_of_a_shared_store_hear_each_other(transport: Transport) {
    if !is_root() {
        return;
    }
    let (_home, mut alice, mut bob) = shared(transport);
    for mask in [0o022, 0o077, 0o777] {
        alice.run(json!({"do": "umask", "mask": mask}));
        bob.run(json!({"do": "umask", "mask": mask}));
        alice.open("to.alice");
        bob.open("to.bob");
        for data in [&b"small"[..], b"", &noise(1 << 20), b"last"] {
            let publish = |topic: &str| json!({"do": "publish", "topic": topic, "data": hex(data)});
            assert_eq!(alice.run(publish("to.bob")), 1, "umask {mask:o}");
            assert_eq!(bob.run(publish("to.alice")), 1, "umask {mask:o}");
            for reader in [&mut alice, &mut bob] {
                let found = reader.run(json!({"do": "fetch"}));
                assert!(found[0]["data"] == hex(data), "umask {mask:o}, {} bytes", data.len());
                assert_eq!(found.as_array().unwrap().len(), 1);
            }
        }
        alice.run(json!({"do": "close"}));
        bob.run(json!({"do": "close"}));
    }
}

fn a_stranger_to_the_group_cannot_use_a_shared_store(transport: Transport) {
    if !is_root() {
        return;
    }
    let (home, mut alice, _bob) = shared(transport);
    alice.open("ours");
    let mut stranger = peer_of(&home, STRANGER, &[]);
    let (kind, text) = stranger.fail(json!({"do": "publish", "topic": "ours", "data": ""}));
    assert_eq!(kind, "PS_ERR_PERMISSION", "{text}");
}

fn the_oldest_is_dropped_by_the_other_user_too(transport: Transport) {
    if !is_root() {
        return;
    }
    let (_home, mut alice, mut bob) = shared(transport);
    alice.run(json!({"do": "open", "topic": "ticks", "full": "drop", "capacity": 4}));
    assert_eq!(alice.publish("ticks", "own"), 1);
    for i in 0..10 {
        assert_eq!(bob.publish("ticks", &i.to_string()), 1);
    }
    let found = alice.run(json!({"do": "fetch"}));
    let found: Vec<(String, u64)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            (
                String::from_utf8(crate::support::unhex(m["data"].as_str().unwrap())).unwrap(),
                m["dropped"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [("6", 7), ("7", 0), ("8", 0), ("9", 0)].map(|(text, dropped)| (text.to_string(), dropped));
    assert_eq!(found, expected);
}

fn what_a_user_left_is_removed_by_his_next_process_and_harms_nobody_before(transport: Transport) {
    if !is_root() {
        return;
    }
    let (home, mut alice, mut bob) = shared(transport);
    let mut dying = peer_of(&home, BOB, &[GROUP]);
    dying.open("left");
    alice.open("left");
    assert_eq!(alice.publish("left", "unread"), 2);
    dying.kill();
    // A dead receiver is noticed after 10 ms of publishing, if not before.
    std::thread::sleep(std::time::Duration::from_millis(11));
    assert_eq!(alice.publish("left", "more"), 1);
    assert_eq!(alice.texts(), ["unread", "more"]);
    bob.run(json!({"do": "cleanup"}));
    assert_eq!(home.channels().len(), 1);
    alice.run(json!({"do": "close"}));
    alice.run(json!({"do": "cleanup"}));
    bob.run(json!({"do": "cleanup"}));
    home.assert_clean();
}

fn cleanup_by_the_other_user_removes_what_permissions_let_him_and_nothing_living(transport: Transport) {
    if !is_root() {
        return;
    }
    let (home, mut alice, mut bob) = shared(transport);
    let (mut dying_alice, mut dying_bob) = (peer_of(&home, ALICE, &[GROUP]), peer_of(&home, BOB, &[GROUP]));
    dying_alice.open("left");
    dying_bob.open("left");
    alice.open("left");
    bob.open("left");
    assert_eq!(bob.publish("left", "unread"), 4);
    dying_alice.kill();
    dying_bob.kill();
    // Bob may remove his own; the store is Alice's, so she may take anything out of it.
    bob.run(json!({"do": "cleanup"}));
    assert_eq!(home.channels().len(), 3);
    alice.run(json!({"do": "cleanup"}));
    assert_eq!(home.channels().len(), 2);
    assert_eq!(alice.texts(), ["unread"]);
    assert_eq!(bob.texts(), ["unread"]);

    // A dead one of Bob's, met by Alice first.
    let mut dying_bob = peer_of(&home, BOB, &[GROUP]);
    dying_bob.open("left");
    assert_eq!(alice.publish("left", "unread"), 3);
    dying_bob.kill();
    alice.run(json!({"do": "cleanup"}));
    assert_eq!(home.channels().len(), 2, "the owner of the store takes a dead channel out of it, whosesoever");
    alice.run(json!({"do": "close"}));
    bob.run(json!({"do": "close"}));
    // What in it is not hers is left to Bob.
    bob.run(json!({"do": "cleanup"}));
    alice.run(json!({"do": "cleanup"}));
    home.assert_clean();
}

fn a_formix_channel_of_another_user_is_a_permission_error_that_names_it(transport: Transport) {
    if !is_root() {
        return;
    }
    let (home, _alice, mut bob) = shared(transport);
    let mut formix = home.formix();
    formix.run(&format!("become({ALICE}, [{GROUP}])"));
    formix.open("c", "formix.only");
    let (kind, text) = bob.fail(json!({"do": "publish", "topic": "formix.only", "data": ""}));
    assert_eq!(kind, "PS_ERR_PERMISSION", "{text}");
    assert!(text.contains("formix.only_"), "{text}");
    assert_eq!(formix.texts("c"), [""; 0]);
}

fn a_publisher_of_root_is_heard_in_a_users_store_and_leaves_it_usable(transport: Transport) {
    if !is_root() {
        return;
    }
    for mask in [0o022, 0o077] {
        let home = Home::of_everybody(transport);
        let mut formix = home.formix();
        formix.run(&format!("become({ALICE})"));
        formix.open("c", "from.root");
        let mut root = home.peer();
        root.run(json!({"do": "umask", "mask": mask}));
        // The first to need `tmp` and `.pubsub` there.
        assert_eq!(root.publish("from.root", "one"), 1);
        assert_eq!(formix.texts("c"), ["one"], "umask {mask:o}");
        assert_eq!(formix.publish("from.root", "own"), 1);
        let mut alice = peer_of(&home, ALICE, &[]);
        alice.open("from.root");
        assert_eq!(root.publish("from.root", "two"), 2, "umask {mask:o}");
        assert_eq!(alice.texts(), ["two"], "umask {mask:o}");
        assert_eq!(alice.publish("from.root", "three"), 2);
        assert_eq!(formix.texts("c"), ["own", "two", "three"]);
        alice.run(json!({"do": "close"}));
        formix.run("c.close()");
        home.assert_clean();
    }
}

fn a_publisher_that_gives_up_roots_rights_goes_on_publishing(transport: Transport) {
    if !is_root() {
        return;
    }
    let home = Home::of_everybody(transport);
    let mut alice = peer_of(&home, ALICE, &[]);
    alice.open("kept");
    for old_kernel in [false, true] {
        // As daemons do: begun as root, and then a user, whom the kernel keeps out of /proc/self/fd.
        let mut daemon = home.peer();
        assert_eq!(daemon.publish("kept", "as root"), 1);
        daemon.become_user(ALICE, &[]);
        // One that was never anything else.
        let mut other = peer_of(&home, ALICE, &[]);
        if old_kernel {
            daemon.run(json!({"do": "old kernel"}));
            other.run(json!({"do": "old kernel"}));
        }
        assert_eq!(daemon.publish("kept", "as a user"), 1, "old kernel: {old_kernel}");
        assert_eq!(daemon.publish("kept", "again"), 1);
        assert_eq!(other.publish("kept", "as the same"), 1, "old kernel: {old_kernel}");
        assert_eq!(alice.texts(), ["as root", "as a user", "again", "as the same"]);
    }
    alice.run(json!({"do": "close"}));
    home.assert_clean();
}

fn a_publisher_on_a_kernel_before_6_10_needs_no_rights(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("kept");
    let mut peer = home.peer();
    peer.run(json!({"do": "old kernel"}));
    assert_eq!(peer.publish("kept", "one"), 1);
    assert_eq!(peer.publish("kept", "two"), 1);
    assert_eq!(texts(&mut channel), ["one", "two"]);
}

fn formix_cleanup_of_another_user_leaves_a_living_channel_in_a_shared_store(transport: Transport) {
    if !is_root() {
        return;
    }
    let (home, mut alice, mut bob) = shared(transport);
    bob.open("living");
    assert_eq!(bob.publish("living", "one"), 1);
    // formix-pubsub takes every process that it may not signal for dead; the sticky bits stop it.
    let mut formix = home.formix();
    formix.run(&format!("become({ALICE}, [{GROUP}])"));
    assert_eq!(formix.run("len(Channel.inactive_paths())"), 1);
    formix.run("Channel.cleanup_inactive()");
    assert_eq!(alice.publish("living", "two"), 1);
    assert_eq!(bob.texts(), ["one", "two"]);
}
