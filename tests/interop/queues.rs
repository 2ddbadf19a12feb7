//! Queues: not yet open, closed under a publisher, full.

use pubsub::{Channel, ErrorKind, Transport, last_rejected};
use serde_json::json;

use crate::support::{Formix, Home, messages_in, names, texts};

crate::transports::on_each_transport! {
    a_formix_channel_that_is_not_open_yet_is_skipped_and_heard_once_it_is,
    a_formix_channel_that_is_closed_under_a_publisher_takes_nothing_more,
    a_fifo_that_nobody_reads_any_more_kills_no_publisher_and_keeps_no_file,
    a_full_formix_fifo_refuses_us_and_we_leave_no_orphan,
    what_formix_could_not_tell_us_of_is_delivered_in_order_and_once,
    what_comes_while_a_flood_of_formix_is_read_comes_behind_it,
    what_a_publisher_of_formix_left_half_done_harms_nobody,
    a_receiver_waits_quietly_once_a_formix_publisher_has_closed_the_fifo,
}

/// What a formix FIFO takes.
const FORMIX_CAPACITY: usize = 8192;

fn a_formix_channel_that_is_not_open_yet_is_skipped_and_heard_once_it_is(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let publisher = home.publisher("later");
    formix.run("c = Channel('later')");
    let directory = home.channels().remove(0);
    assert_eq!(publisher.publish(b"early", None).unwrap(), 0);
    assert_eq!(last_rejected(), 0);
    assert_eq!(names(&directory), ["queue"]);
    formix.run("c.open()");
    assert_eq!(publisher.publish(b"now", None).unwrap(), 1);
    assert_eq!(formix.texts("c"), ["now"]);
}

fn a_formix_channel_that_is_closed_under_a_publisher_takes_nothing_more(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut peer = home.peer();
    peer.run(json!({"do": "default sigpipe"}));
    formix.open("c", "closing");
    assert_eq!(peer.publish("closing", "a"), 1);
    formix.run("c.close()");
    assert_eq!(peer.publish("closing", "b"), 0);
    home.assert_clean();
    // Another one of that topic is heard by the same publisher.
    formix.open("c", "closing");
    assert_eq!(peer.publish("closing", "c"), 1);
    assert_eq!(formix.texts("c"), ["c"]);
}

fn a_fifo_that_nobody_reads_any_more_kills_no_publisher_and_keeps_no_file(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut peer = home.peer();
    // As in a C program, where SIGPIPE kills.
    peer.run(json!({"do": "default sigpipe"}));
    formix.open("c", "piped");
    let directory = home.channels().remove(0);
    assert_eq!(peer.publish("piped", "read"), 1);
    assert_eq!(formix.texts("c"), ["read"]);
    formix.run("import os; os.close(c._fp); c._fp = -1");
    for _ in 0..3 {
        assert_eq!(peer.publish("piped", "lost"), 0);
        assert_eq!(names(&directory), ["queue"]);
    }
    formix.run("c.open()");
    assert_eq!(peer.publish("piped", "again"), 1);
    assert_eq!(formix.texts("c"), ["again"]);
}

fn a_full_formix_fifo_refuses_us_and_we_leave_no_orphan(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    formix.open("c", "full");
    let directory = home.channels().remove(0);
    let publisher = home.publisher("full");
    for i in 0..FORMIX_CAPACITY {
        assert_eq!(publisher.publish(i.to_string().as_bytes(), None).unwrap(), 1, "{i}");
    }
    for _ in 0..3 {
        let error = publisher.publish(b"too much", None).unwrap_err();
        assert_eq!((error.kind(), last_rejected()), (ErrorKind::QueueFull, 1), "{error}");
    }
    assert_eq!(messages_in(&directory).len(), FORMIX_CAPACITY);
    // Together with a channel that has room it counts for nothing.
    let mut ours = home.channel("full");
    assert_eq!(publisher.publish(b"for one", None).unwrap(), 1);
    assert_eq!(last_rejected(), 1);
    assert_eq!(texts(&mut ours), ["for one"]);
    let expected: Vec<String> = (0..FORMIX_CAPACITY).map(|i| i.to_string()).collect();
    assert_eq!(formix.texts("c"), expected);
    assert_eq!(publisher.publish(b"room again", None).unwrap(), 2);
    assert_eq!(formix.texts("c"), ["room again"]);
    assert_eq!(names(&directory), ["queue"]);
}

/// A channel into which formix-pubsub has published more than its FIFO takes, its process, and the contents in their order.
fn flooded(home: &Home) -> (Channel, Formix, Vec<String>) {
    const BEYOND: usize = 300;
    let channel = home.channel("flood");
    let mut formix = home.formix();
    let total = FORMIX_CAPACITY + BEYOND;
    // Its ids have 16 random bits: on a quick machine so many would collide that the FIFO is not filled.
    formix
        .run("import itertools, random\ncount = itertools.count()\nrandom.randint = lambda a, b: next(count) & 0xFFFF");
    let counts = formix.run(&format!("[publish('flood', b'%d' % n) for n in range({total})]"));
    // Its ids collide now and then, which its count tells; what the FIFO did not take it counts all the same.
    let sent: Vec<String> = (0..total).filter(|&n| counts[n] == json!(1)).map(|n| n.to_string()).collect();
    assert_eq!(messages_in(channel.path()).len(), sent.len());
    assert!(sent.len() > FORMIX_CAPACITY, "the FIFO was filled: {}", sent.len());
    (channel, formix, sent)
}

fn assert_delivered(channel: &mut Channel, found: &[String], expected: &[String]) {
    assert_eq!(found.len(), expected.len());
    assert_eq!(found, expected);
    assert_eq!(messages_in(channel.path()), [""; 0]);
    let stats = channel.stats().unwrap();
    assert_eq!((stats.received, stats.unread_messages, stats.malformed), (expected.len() as u64, 0, 0));
}

fn what_formix_could_not_tell_us_of_is_delivered_in_order_and_once(transport: Transport) {
    let home = Home::with(transport);
    let (mut channel, _formix, expected) = flooded(&home);
    let found = texts(&mut channel);
    assert_delivered(&mut channel, &found, &expected);
}

fn what_comes_while_a_flood_of_formix_is_read_comes_behind_it(transport: Transport) {
    let home = Home::with(transport);
    let (mut channel, mut formix, mut expected) = flooded(&home);
    assert_eq!(home.publish("flood", b"ours"), 1);
    let next = |channel: &mut Channel| String::from_utf8(channel.fetch().unwrap().unwrap().data().to_vec()).unwrap();
    let mut found: Vec<String> = (0..100).map(|_| next(&mut channel)).collect();
    assert_eq!(formix.publish("flood", "late"), 1);
    expected.extend(["ours".to_string(), "late".to_string()]);
    found.extend(texts(&mut channel));
    if transport == Transport::Ring {
        // A ring's messages come beside those of formix.
        let ours = |list: &mut Vec<String>| {
            let all = list.len();
            list.retain(|text| text != "ours");
            all - list.len()
        };
        assert_eq!((ours(&mut found), ours(&mut expected)), (1, 1));
        found.insert(0, "ours".to_string());
        expected.insert(0, "ours".to_string());
    }
    assert_delivered(&mut channel, &found, &expected);
}

fn what_a_publisher_of_formix_left_half_done_harms_nobody(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("half");
    let mut formix = home.formix();
    let directory = channel.path().to_path_buf();
    // A file whose id was never written, an id whose file was never linked, bytes that are no id, a file that is no message.
    formix.run(&format!(
        "d = {directory:?}\n\
         m = Message('half', b'no id')\n\
         with open(f'{{d}}/{{m.id}}', 'wb') as f: m.write(f)\n\
         import struct\n\
         q = os.open(d + '/queue', os.O_WRONLY | os.O_NONBLOCK)\n\
         os.write(q, struct.pack('!Q', 12345))\n\
         open(d + '/777', 'wb').write(b'PMSGgarbage')\n\
         os.write(q, struct.pack('!Q', 777))"
    ));
    assert_eq!(formix.publish("half", "whole"), 1);
    let mut found = texts(&mut channel);
    found.sort();
    assert_eq!(found, ["no id", "whole"]);
    assert_eq!(channel.stats().unwrap().malformed, 1);
    formix.run("os.write(q, b'xyz')");
    assert_eq!(formix.publish("half", "behind stray bytes"), 1);
    assert_eq!(texts(&mut channel), ["behind stray bytes"]);
    assert_eq!(formix.publish("half", "and on"), 1);
    assert_eq!(texts(&mut channel), ["and on"]);
}

fn a_receiver_waits_quietly_once_a_formix_publisher_has_closed_the_fifo(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.channel("quiet");
    let mut formix = home.formix();
    let fd = channel.fd().unwrap();
    let ready = || {
        let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&mut entry, 1, 0) };
        entry.revents
    };
    for _ in 0..3 {
        assert_eq!(formix.publish("quiet", "one"), 1);
        assert_eq!(ready(), libc::POLLIN);
        assert_eq!(texts(&mut channel), ["one"]);
        // No hang-up, although its only writer has come and gone.
        assert_eq!(ready(), 0);
    }
}
