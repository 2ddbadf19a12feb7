//! A channel whose open call returned before a publish began receives it, whoever opened it.
//!
//! The publisher never stops publishing, so it has always just looked at the store; the opener tells it through shared memory, in
//! the moment in which its open call has returned, that the next message is the one that counts.

use std::path::PathBuf;

use pubsub::Transport;
use serde_json::json;

use crate::peer::{Bell, publish_in_rounds};
use crate::support::{Formix, Home, Peer, is_root};

const ROUNDS: u64 = 300;

/// What formix-pubsub's side of the rounds does; see `peer::open_in_rounds`.
const FORMIX_ROUNDS: &str = "
import struct, time
bell = os.open(BELL, os.O_RDWR)
def wait(turn):
    while struct.unpack('=Q', os.pread(bell, 8, 8))[0] != turn:
        time.sleep(0.0001)
answer = 0
for round in range(1, ROUNDS + 1):
    os.pwrite(bell, struct.pack('=Q', 2 * round - 1), 0)
    wait(2 * round - 1)
    opened = struct.pack('=Q', 2 * round)
    with Channel('round') as c:
        os.pwrite(bell, opened, 0)
        wait(2 * round)
        answer += (b'after %d' % round).hex() not in [message['data'] for message in fetch_all(c)]
";

fn start_formix(formix: &mut Formix, bell: &std::path::Path) {
    formix.run(&format!("BELL, ROUNDS = {bell:?}, {ROUNDS}"));
    formix.begin(FORMIX_ROUNDS);
}

fn bell(home: &Home) -> PathBuf {
    let bell = home.beside("bell");
    Bell::make(&bell);
    bell
}

#[test]
fn a_channel_of_ours_opened_before_a_publish_receives_it() {
    let home = Home::new();
    let bell = bell(&home);
    let mut peer = home.peer();
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publish_in_rounds(Some(&home.path()), "round", &bell, ROUNDS).unwrap());
        assert_eq!(peer.run(json!({"do": "open in rounds", "topic": "round", "bell": bell, "rounds": ROUNDS})), 0);
        assert_eq!(publishing.join().unwrap(), 0);
    });
}

#[test]
fn a_channel_of_formix_opened_before_a_publish_receives_it() {
    let home = Home::new();
    let bell = bell(&home);
    let mut formix = home.formix();
    start_formix(&mut formix, &bell);
    assert_eq!(publish_in_rounds(Some(&home.path()), "round", &bell, ROUNDS).unwrap(), 0);
    assert_eq!(formix.end(), 0);
}

/// A publisher of a user who has no inotify instance left.
fn publisher_without_inotify(home: &Home, user: u32) -> Peer {
    let mut publisher = home.peer();
    publisher.become_user(user, &[]);
    assert_eq!(publisher.run(json!({"do": "use up inotify"})), true, "inotify instances are limited");
    publisher
}

#[test]
fn without_inotify_a_channel_of_ours_opened_before_a_publish_receives_it() {
    if !is_root() {
        return;
    }
    let home = Home::of_everybody(Transport::Default);
    let bell = bell(&home);
    let mut publisher = publisher_without_inotify(&home, 54_331);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut peer = home.peer();
            peer.become_user(54_331, &[]);
            assert_eq!(peer.run(json!({"do": "open in rounds", "topic": "round", "bell": bell, "rounds": ROUNDS})), 0);
        });
        let asked = json!({"do": "publish in rounds", "topic": "round", "bell": bell, "rounds": ROUNDS});
        assert_eq!(publisher.run(asked), 0);
    });
}

#[test]
fn without_inotify_a_channel_of_formix_opened_before_a_publish_receives_it() {
    if !is_root() {
        return;
    }
    let home = Home::of_everybody(Transport::Default);
    let bell = bell(&home);
    let mut publisher = publisher_without_inotify(&home, 54_332);
    let mut formix = home.formix();
    formix.run("become(54332)");
    start_formix(&mut formix, &bell);
    let asked = json!({"do": "publish in rounds", "topic": "round", "bell": bell, "rounds": ROUNDS});
    assert_eq!(publisher.run(asked), 0);
    assert_eq!(formix.end(), 0);
}

#[test]
fn without_inotify_a_channel_that_replaces_another_is_noticed() {
    if !is_root() {
        return;
    }
    let home = Home::of_everybody(Transport::Default);
    let mut publisher = publisher_without_inotify(&home, 54_333);
    let mut formix = home.formix();
    formix.run("become(54333)");
    for i in 0..300 {
        formix.open("c", "swapped");
        assert_eq!(publisher.publish("swapped", &i.to_string()), 1, "round {i}");
        assert_eq!(formix.texts("c"), [i.to_string()]);
        formix.run("c.close()");
    }
    assert_eq!(publisher.publish("swapped", ""), 0);
}
