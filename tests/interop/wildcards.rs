//! Patterns across the two: what formix-pubsub documents, and not what it does.

use std::time::Duration;

use crate::support::{Home, drain, names, topics};
use pubsub::Transport;

crate::transports::on_each_transport! {
    documented_wildcards_hear_unmodified_formix_publishers,
    a_pattern_too_long_to_be_spelled_in_a_name_works_all_the_same,
    no_pattern_of_ours_makes_a_formix_publisher_spend_time,
    topics_of_formix_longer_than_ours_are_delivered,
    formix_wildcards_side_by_side_are_not_taken_for_ours,
    each_message_that_nobody_asked_for_costs_the_receiver_no_answer,
}

/// The processor's time that this thread has had.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid to write to.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A pattern, and topics of which it matches the first few and not the others.
const DOCUMENTED: [(&str, &[&str], &[&str]); 7] = [
    (
        "news.=",
        &["news.sports", "news.x", "news.a-b"],
        &["news", "news.", "news.a.b", "newsxsports", "news..a", "anews.a"],
    ),
    ("tes=.match", &["test.match", "tesla-x.match"], &["tes.match", "te.st.match", "test.matches", "tes.t.match"]),
    ("logs.=.error", &["logs.app.error", "logs.a.error"], &["logs.error", "logs.a.b.error", "logs..error"]),
    ("logs.+", &["logs.error", "logs.app.error", "logs.a.b.c"], &["logs", "logs.", "logs..a", "logs.a.", "logsxa"]),
    ("+.end", &["a.end", "a.b.end"], &[".end", "end", "a..end", "xend", "a.b.end.c"]),
    ("a.b", &["a.b"], &["axb", "a-b", "a..b", "a.b.c", "a.bc", "a"]),
    ("=x=", &["axb", "aa-x-bb"], &["x", "xb", "ax", "a.xb"]),
];

fn documented_wildcards_hear_unmodified_formix_publishers(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    for (pattern, matching, others) in DOCUMENTED {
        let mut channel = home.channel(pattern);
        for topic in others {
            formix.publish(topic, "");
        }
        for topic in matching {
            assert_eq!(formix.publish(topic, ""), 1, "{topic} to {pattern}");
        }
        assert_eq!(topics(&mut channel), matching, "{pattern}");
        // What it did not ask for is gone as well.
        let left: Vec<String> =
            names(channel.path()).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).collect();
        assert_eq!(left, [""; 0], "{pattern}");
        assert_eq!(channel.stats().unwrap().received, matching.len() as u64);
        assert_eq!(channel.stats().unwrap().malformed, 0);
    }
}

#[test]
fn formix_channels_hear_our_publishers_as_documented() {
    let home = Home::new();
    let mut formix = home.formix();
    for (pattern, matching, others) in DOCUMENTED {
        formix.open("c", pattern);
        for topic in others {
            assert_eq!(home.publish(topic, b""), 0, "{topic} to {pattern}");
        }
        for topic in matching {
            assert_eq!(home.publish(topic, b""), 1, "{topic} to {pattern}");
        }
        assert_eq!(formix.topics("c"), matching, "{pattern}");
        formix.run("c.close()");
    }
    home.assert_clean();
}

fn a_pattern_too_long_to_be_spelled_in_a_name_works_all_the_same(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    // 199 bytes, 299 with each `=` spelled `=+`.
    let pattern = ["="; 100].join(".");
    let topic = ["w"; 100].join(".");
    let mut channel = home.channel(&pattern);
    assert!(channel.path().file_name().unwrap().len() <= 255);
    assert_eq!(formix.publish(&topic, "formix"), 1);
    formix.publish("other", "");
    formix.publish(&topic[2..], "");
    assert_eq!(home.publish(&topic, b"ours"), 1);
    assert_eq!(home.publish("other", b""), 0);
    assert_eq!(topics(&mut channel), [topic.as_str(), &topic]);
    assert_eq!(pubsub::list_channels(Some(&home.path())).unwrap()[0].topic, pattern);
    channel.close().unwrap();
    let mut ambient = home.channel("+");
    // As many wildcards and characters as there can be.
    for wildcards in 1..=66 {
        let pattern = format!("{}{}", "=x.".repeat(wildcards), "x".repeat(200 - 3 * wildcards));
        let topic = pattern.replace('=', "w");
        let mut channel = home.channel(&pattern);
        assert_eq!(formix.publish(&topic, ""), 2, "{pattern}");
        assert_eq!(topics(&mut channel), [topic.as_str()]);
        // Emptied, for formix gives out an id twice now and then, and that of an unread message is taken.
        assert_eq!(topics(&mut ambient), [topic.as_str()]);
        channel.close().unwrap();
    }
}

fn no_pattern_of_ours_makes_a_formix_publisher_spend_time(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let nested = ["=.=.=.=.=.=.=.=.Z", "a=a=a=a=a=a=a=Z", "+.+.+.+.+.+.+.Z", &["="; 100].join("."), "=.+.=.+.=Z"];
    let _channels = nested.map(|pattern| home.channel(pattern));
    let before = formix.run("time.process_time()").as_f64().unwrap();
    for topic in ["a".repeat(200), "a.".repeat(100), ".".repeat(200)] {
        formix.publish(&topic, "");
    }
    // One such channel of formix-pubsub's own makes them spend seconds, and minutes. (Of a processor: others may be at work.)
    let took = formix.run("time.process_time()").as_f64().unwrap() - before;
    assert!(took < 2.0, "three messages took {took} s");
}

fn topics_of_formix_longer_than_ours_are_delivered(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut all = home.channel("+");
    let mut word = home.channel("long.=");
    let mut exact = home.channel(&"x".repeat(200));
    let long = format!("long.{}", "y".repeat(5000));
    assert_eq!(formix.publish(&"x".repeat(200), ""), 2);
    formix.publish(&"x".repeat(201), "");
    assert_eq!(formix.publish(&long, ""), 2);
    assert_eq!(topics(&mut exact), ["x".repeat(200)]);
    assert_eq!(topics(&mut word), [long.as_str()]);
    assert_eq!(topics(&mut all), ["x".repeat(200), "x".repeat(201), long]);
}

#[test]
fn patterns_of_formix_longer_than_ours_are_matched() {
    let home = Home::new();
    let mut formix = home.formix();
    // With the rest of the name, as long as a name can be.
    let pattern = format!("{}+", "=".repeat(220));
    formix.open("c", &pattern);
    let topic = "x".repeat(200);
    assert_eq!(home.publish(&topic, b""), 0);
    formix.open("d", &format!("+{}", "x".repeat(199)));
    assert_eq!(home.publish(&topic, b""), 1);
    assert_eq!(formix.topics("d"), [topic]);
}

#[test]
fn wildcards_side_by_side_in_a_formix_channel_cost_no_time() {
    let home = Home::new();
    let mut formix = home.formix();
    formix.open("c", "++++++++=.Z");
    formix.open("d", "+=+=+=+=+=+=+=+=+=+=+=+=.Z");
    let publisher = home.publisher(&"a".repeat(200));
    let before = thread_time();
    for _ in 0..1000 {
        assert_eq!(publisher.publish(b"", None).unwrap(), 0);
    }
    // formix-pubsub takes seconds for one of them.
    let took = thread_time() - before;
    assert!(took < Duration::from_secs(1), "1,000 messages took {took:?} of a processor");
    // Eight times one or more and one more character.
    assert_eq!(home.publish("123456789.Z", b""), 1);
    assert_eq!(home.publish("12345678.Z", b""), 0);
    assert_eq!(formix.topics("c"), ["123456789.Z"]);
}

fn formix_wildcards_side_by_side_are_not_taken_for_ours(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    // Spelled in its name as our `x.=` is.
    formix.open("c", "x.=+");
    let mut ours = home.channel("x.=");
    assert_eq!(home.publish("x.ab", b""), 2);
    assert_eq!(home.publish("x.a", b""), 1);
    assert_eq!(home.publish("x.ab.c", b""), 1);
    assert_eq!(formix.topics("c"), ["x.ab", "x.ab.c"]);
    assert_eq!(topics(&mut ours), ["x.ab", "x.a"]);
    let listed: Vec<(String, bool)> =
        pubsub::list_channels(Some(&home.path())).unwrap().into_iter().map(|c| (c.topic, c.foreign)).collect();
    assert_eq!(listed, [("x.=".to_string(), false), ("x.=+".to_string(), true)]);
}

fn each_message_that_nobody_asked_for_costs_the_receiver_no_answer(transport: Transport) {
    let home = Home::with(transport);
    let mut formix = home.formix();
    let mut channel = home.channel("news.=");
    // formix-pubsub hears them match; none is for us, and the one behind them is still found at once.
    for i in 0..100 {
        formix.publish(&format!("news.a.b{i}"), "");
    }
    formix.publish("news.last", "");
    let found = drain(&mut channel);
    assert_eq!(found.iter().map(|message| message.topic()).collect::<Vec<_>>(), ["news.last"]);
    assert_eq!(found[0].dropped_before(), 0);
}
