//! What must hold of a ring, in every order of a few threads' steps.
//!
//! `holds` runs a model as the library is, `finds` with a fault planted, which it must notice.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use loom::thread;

use crate::ring::{CLOSED, Consumer, HEAD, Outcome, STATE};
use crate::sys::chaos::{dying_at, plant};
use crate::sys::word::see_newest;
use crate::world::{ModelProducer, World};

/// Both ways of [`see_newest`], up to so many preemptions.
fn run(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let model = Arc::new(model);
    for newest in [false, true] {
        see_newest(newest);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 20_000;
        let runs = Arc::new(AtomicU64::new(0));
        let (counted, model) = (Arc::clone(&runs), Arc::clone(&model));
        builder.check(move || {
            counted.fetch_add(1, SeqCst);
            model();
        });
        println!("{} executions", runs.load(SeqCst));
    }
}

fn holds(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    plant(None);
    run(preemptions, model);
}

fn notices(fault: &'static str, preemptions: usize, model: impl Fn() + Sync + Send + 'static) -> bool {
    plant(Some(fault));
    let noticed = catch_unwind(AssertUnwindSafe(|| run(preemptions, model))).is_err();
    plant(None);
    noticed
}

fn finds(fault: &'static str, preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    assert!(notices(fault, preemptions, model), "not found: {fault}");
}

fn finds_at_some_point(fault: &'static str, preemptions: usize, model: impl Fn(u32) + Copy + Send + Sync + 'static) {
    assert!((0..POINTS).any(|nth| notices(fault, preemptions, move || model(nth))), "not found: {fault}");
}

fn taken(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Taken | Outcome::Displacing), "{outcome:?}");
}

/// A thread that works for the producer and gives it back.
fn with(
    world: &Arc<World>,
    mut producer: ModelProducer,
    work: impl FnOnce(&World, &mut ModelProducer) + 'static,
) -> thread::JoinHandle<ModelProducer> {
    let world = Arc::clone(world);
    thread::spawn(move || {
        work(&world, &mut producer);
        producer
    })
}

/// A thread that consumes: `tries` looks for a message. It answers what it got, and what was lost before.
///
/// The checker misses that a store could have come before another thread's load when the storing thread has loaded the
/// same word in between, as publishers do. It lets loads see old values, though. So publishers run first, in the models'
/// own thread, and the consumer in this one.
fn consuming(world: &Arc<World>, tries: u32) -> thread::JoinHandle<(Consumer, Vec<u64>, u64)> {
    let world = Arc::clone(world);
    thread::spawn(move || {
        let mut consumer = Consumer::new();
        let (mut got, mut lost) = (Vec::new(), 0);
        for _ in 0..tries {
            got.extend(world.next(&mut consumer));
            lost += consumer.take_lost();
        }
        (consumer, got, lost)
    })
}

/// A publisher's work and a consumer that looks for messages meanwhile; `first`: the consumer runs in the model's own
/// thread, see [`consuming`]. The other order shows what depends on old values that a publisher sees.
fn against_consumer(
    world: &Arc<World>,
    mut producer: ModelProducer,
    (first, tries): (bool, u32),
    work: impl FnOnce(&World, &mut ModelProducer) + 'static,
) -> (ModelProducer, Consumer, Vec<u64>, u64) {
    if !first {
        let consuming = consuming(world, tries);
        work(world, &mut producer);
        let (consumer, got, lost) = consuming.join().unwrap();
        return (producer, consumer, got, lost);
    }
    let thread = with(world, producer, work);
    let (mut consumer, mut got, mut lost) = (Consumer::new(), Vec::new(), 0);
    for _ in 0..tries {
        got.extend(world.next(&mut consumer));
        lost += consumer.take_lost();
    }
    (thread.join().unwrap(), consumer, got, lost)
}

/// Two publishers, a consumer that looks meanwhile: each publisher's messages come in order, whole, once.
fn order() {
    let world = World::new(4, 2, 2, false);
    let (mut first, second) = (world.producer(0), world.producer(1));
    let consuming = consuming(&world, 2);
    let thread = with(&world, second, |world, producer| taken(world.publish(producer, 20)));
    taken(world.publish(&mut first, 10));
    taken(world.publish(&mut first, 11));
    thread.join().unwrap();
    let (mut consumer, mut got, _) = consuming.join().unwrap();
    got.extend(world.drain(&mut consumer));
    let of = |from: u64| got.iter().copied().filter(|&value| value / 10 == from / 10).collect::<Vec<_>>();
    assert_eq!((of(10), of(20), got.len()), (vec![10, 11], vec![20], 3), "{got:?}");
}

#[test]
fn messages_come_in_order_whole_and_once() {
    holds(2, order);
}
#[test]
fn order_finds_a_relaxed_commit() {
    finds("commit relaxed", 2, order);
}

/// Slots and chunks of two publishers are touched only once their pages are reserved.
fn reserving(consumer: bool) {
    let world = World::with_pages(2, 2, 1, false, true);
    let (mut first, second) = (world.producer(0), world.producer(1));
    let consuming = consumer.then(|| consuming(&world, 1));
    let thread = (!consumer).then(|| with(&world, second, |world, producer| taken(world.publish(producer, 1))));
    taken(world.publish(&mut first, 2));
    let mut got = Vec::new();
    let mut reader = Consumer::new();
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
    if let Some(consuming) = consuming {
        (reader, got, _) = consuming.join().unwrap();
    }
    got.extend(world.drain(&mut reader));
    got.sort();
    assert!(if consumer { got == [2] } else { got == [1, 2] }, "{got:?}");
}

#[test]
fn no_page_is_touched_before_it_is_reserved() {
    holds(3, || reserving(true));
    holds(3, || reserving(false));
}
#[test]
fn reserving_finds_slots_said_to_be_reserved_before_they_are() {
    finds("slots before their pages", 3, || reserving(true));
    finds("slots before their pages", 3, || reserving(false));
}
#[test]
fn reserving_finds_chunks_without_pages() {
    finds("no pages reserved", 2, || reserving(true));
}

/// One chunk of one record: it is written again only when its record has been read.
fn reuse() {
    let world = World::new(2, 1, 1, false);
    let mut producer = world.producer(0);
    let consuming = consuming(&world, 2);
    let mut next = 1;
    for _ in 0..4 {
        match world.publish(&mut producer, next) {
            Outcome::Taken => next += 1,
            Outcome::Full | Outcome::NoSpace => {}
            other => panic!("{other:?}"),
        }
    }
    let (mut consumer, mut got, _) = consuming.join().unwrap();
    got.extend(world.drain(&mut consumer));
    assert!(!got.is_empty() && got.iter().copied().eq(1..=got.len() as u64), "{got:?}");
}

#[test]
fn a_chunk_is_reused_only_when_it_was_read() {
    holds(3, reuse);
}
#[test]
fn reuse_finds_a_relaxed_head() {
    finds("head relaxed", 3, reuse);
}

/// Two publishers fill a queue bounded by the bytes of two messages, while the consumer takes `tries`.
fn bounding(drop_oldest: bool, tries: u32) {
    let world = World::bounded(4, 32, 5, drop_oldest);
    let (mut first, second) = (world.producer(0), world.producer(1));
    let took = Arc::new(AtomicU64::new(0));
    let publish = |took: Arc<AtomicU64>| {
        move |world: &World, producer: &mut ModelProducer| match world.publish(producer, 1) {
            Outcome::Taken | Outcome::Displacing => _ = took.fetch_add(1, SeqCst),
            Outcome::Full if !drop_oldest => {}
            other => panic!("{other:?}"),
        }
    };
    publish(Arc::clone(&took))(&world, &mut first);
    let consuming = (tries > 0).then(|| consuming(&world, tries));
    let thread = with(&world, second, publish(Arc::clone(&took)));
    publish(Arc::clone(&took))(&world, &mut first);
    thread.join().unwrap();
    let (mut consumer, got, lost) =
        consuming.map_or_else(|| (Consumer::new(), Vec::new(), 0), |consuming| consuming.join().unwrap());
    let took = took.load(SeqCst);
    let before = consumer.head();
    let rest = world.drain(&mut consumer).len() as u64;
    let lost = lost + consumer.take_lost();
    assert_eq!(got.len() as u64 + rest + lost, took);
    assert!(rest <= 2, "{rest} in a queue of two");
    assert!(took == 3 || !drop_oldest && took >= 2, "{took} taken");
    assert!(drop_oldest || took <= before + 2, "{took} taken, {before} read");
}

#[test]
fn no_more_bytes_are_taken_than_the_bound() {
    for drop_oldest in [false, true] {
        holds(2, move || bounding(drop_oldest, 0));
        holds(1, move || bounding(drop_oldest, 1));
    }
}
#[test]
fn bounding_finds_who_does_not_count_what_it_skips() {
    finds("skipped without its size", 2, || bounding(false, 0));
}

/// Two publishers pass chunks on to each other: in use is what holds an unread record, however stale one's view of head.
fn passing_on() {
    let world = World::new(1, 2, 1, false);
    let (mut first, second) = (world.producer(0), world.producer(1));
    let mut consumer = Consumer::new();
    taken(world.publish(&mut first, 1));
    first.release(&world.ring);
    let thread = {
        let (world, mut second) = (Arc::clone(&world), second);
        thread::spawn(move || matches!(world.publish(&mut second, 100), Outcome::Taken))
    };
    let mut got = Vec::new();
    got.extend(world.next(&mut consumer));
    let again = matches!(world.publish(&mut first, 2), Outcome::Taken);
    first.release(&world.ring);
    let other = thread.join().unwrap();
    got.extend(world.drain(&mut consumer));
    let mut expected = vec![1];
    expected.extend(again.then_some(2));
    expected.extend(other.then_some(100));
    got.sort();
    assert_eq!(got, expected);
}

#[test]
fn chunks_pass_from_one_publisher_to_another() {
    holds(3, passing_on);
}
#[test]
fn passing_on_finds_a_head_loaded_before_the_word() {
    finds("head before the word", 3, passing_on);
}
#[test]
fn passing_on_finds_an_end_off_by_one() {
    finds("end off by one", 3, passing_on);
}

/// Publishers and a consumer that sleeps: nobody's message is slept over. `disarms`: it says that it is awake when it was woken.
fn doorbell(publishers: u32, disarms: bool) {
    let world = World::new(4, publishers, 1, false);
    let mut first = world.producer(0);
    let second = (publishers > 1).then(|| world.producer(1));
    let sleeper = Arc::clone(&world);
    let sleeper = thread::spawn(move || {
        let mut consumer = Consumer::new();
        for _ in 0..publishers {
            assert_eq!(sleeper.wait(&mut consumer), 7);
            if disarms {
                consumer.disarm(&sleeper.ring);
            }
        }
    });
    let thread = second.map(|second| with(&world, second, |world, producer| taken(world.publish(producer, 7))));
    taken(world.publish(&mut first, 7));
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
    sleeper.join().unwrap();
}

#[test]
fn a_sleeper_is_woken() {
    holds(3, || doorbell(1, false));
}
#[test]
fn a_sleeper_is_woken_by_each_of_two() {
    holds(2, || doorbell(2, false));
}
#[test]
fn doorbell_finds_sleeps_of_one_number() {
    finds("one number for every sleep", 2, || doorbell(2, false));
}
#[test]
fn doorbell_finds_a_bell_that_is_stored() {
    finds("bell stored", 2, || doorbell(2, false));
}

/// A consumer that was about to sleep, and publishes to itself instead: it takes that without a token, and is woken by the others.
fn doorbell_silenced() {
    let world = World::new(4, 2, 1, false);
    let (own, mut other) = (world.producer(0), world.producer(1));
    let sleeper = with(&world, own, |world, own| {
        let mut consumer = Consumer::new();
        let mut got = 0;
        if consumer.arm(&world.ring) {
            consumer.disarm(&world.ring);
            taken(world.publish(own, 1));
        }
        while got < 7 {
            got += world.wait(&mut consumer);
        }
    });
    taken(world.publish(&mut other, 7));
    sleeper.join().unwrap();
}

#[test]
fn a_sleeper_that_was_awake_meanwhile_is_woken() {
    holds(3, doorbell_silenced);
}
#[test]
fn a_sleeper_that_disarms_is_woken_by_each_of_two() {
    holds(2, || doorbell(2, true));
}
#[test]
fn doorbell_finds_numbers_that_come_again() {
    finds("disarmed by going back", 2, || doorbell(2, true));
}

/// A publisher dies at some point; the next one wakes the sleeper, also when it is refused.
fn bell_of_the_dead(nth: u32, slots: u64) {
    let world = World::new(slots, 2, 1, false);
    let (first, mut second) = (world.producer(0), world.producer(1));
    let sleeper = Arc::clone(&world);
    let sleeper = thread::spawn(move || sleeper.wait(&mut Consumer::new()));
    with(&world, first, move |world, producer| {
        dying_at(nth, || taken(world.publish(producer, 7)));
        world.locks(0).close();
    })
    .join()
    .unwrap();
    match world.publish(&mut second, 7) {
        Outcome::Taken => {}
        Outcome::Full | Outcome::NoSpace if slots == 1 => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(sleeper.join().unwrap(), 7);
}

/// More than the points that a publish passes.
const POINTS: u32 = 14;

#[test]
fn a_dead_publisher_leaves_no_sleeper() {
    for nth in 0..POINTS {
        for slots in [1, 2] {
            holds(2, move || bell_of_the_dead(nth, slots));
        }
    }
}
#[test]
fn bell_of_the_dead_finds_a_bell_before_its_token() {
    finds_at_some_point("bell before the token", 2, |nth| bell_of_the_dead(nth, 2));
}
#[test]
fn bell_of_the_dead_finds_who_is_refused_and_does_not_ring() {
    finds_at_some_point("full does not ring", 2, |nth| bell_of_the_dead(nth, 1));
}

/// Drop-oldest: what the consumer has taken is not written over; the rest is counted.
fn dropping(chunks: u32, steps: u32, messages: u64, consumer: (bool, u32)) {
    let world = World::new(2, chunks, steps, true);
    let producer = world.producer(0);
    let published = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&published);
    let (mut producer, mut consumer, mut got, mut lost) =
        against_consumer(&world, producer, consumer, move |world, producer| {
            for value in 1..=messages {
                match world.publish(producer, value) {
                    Outcome::Taken | Outcome::Displacing => _ = count.fetch_add(1, SeqCst),
                    // While the consumer reads one chunk, and the others hold unread messages.
                    Outcome::NoSpace => {}
                    other => panic!("{other:?}"),
                }
            }
        });
    let published = published.load(SeqCst);
    while let Some(value) = world.next(&mut consumer) {
        got.push(value);
        lost += consumer.take_lost();
    }
    assert!(got.is_sorted(), "{got:?}");
    lost += world.ring.word(HEAD).load(SeqCst) - consumer.head();
    assert_eq!(got.len() as u64 + lost, published, "{got:?} and {lost} lost");
    // And it is as it was: nothing is left in the way of the next.
    taken(world.publish(&mut producer, 50));
    assert_eq!(world.drain(&mut consumer), [50]);
}

#[test]
fn the_oldest_is_dropped_behind_the_consumers_back() {
    for first in [false, true] {
        holds(3, move || dropping(1, 1, 3, (first, 1)));
        holds(2, move || dropping(2, 1, 4, (first, 2)));
        holds(2, move || dropping(2, 2, 4, (first, 1)));
    }
}
#[test]
fn dropping_finds_who_does_not_look_at_the_hazard() {
    finds("drop without hazard", 3, || dropping(1, 1, 3, (false, 1)));
}

/// A reader of a history of two, in chunks of one message, while a publisher puts a third and a fourth there.
fn reading() {
    let world = World::history(2, 3);
    let mut producer = world.producer(0);
    for value in [10, 11] {
        taken(world.publish(&mut producer, value));
    }
    let thread = with(&world, producer, |world, producer| {
        for value in [12, 13] {
            taken(world.publish(producer, value));
        }
    });
    let found = world.look();
    // What is found at a position is what was put there, whatever was written over it meanwhile.
    assert!(found.iter().all(|&(position, value)| value == 10 + position), "{found:?}");
    assert!(found.iter().map(|&(position, _)| position).is_sorted(), "{found:?}");
    thread.join().unwrap();
    assert_eq!(world.look(), [(2, 12), (3, 13)]);
}

#[test]
fn a_reader_of_a_history_finds_what_was_there_or_nothing() {
    holds(3, reading);
}
#[test]
fn reading_finds_who_looks_at_head_too_early() {
    finds("no fence behind the copy", 3, reading);
}
#[test]
fn reading_finds_who_writes_over_what_may_be_read() {
    finds("no fence before overwriting", 3, reading);
}

/// Giving pages back while a publisher looks for a chunk.
fn giving_back() {
    let world = World::with_pages(2, 1, 1, false, true);
    let mut producer = world.producer(0);
    taken(world.publish(&mut producer, 1));
    producer.release(&world.ring);
    let thread = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let mut consumer = Consumer::new();
            let got = world.next(&mut consumer);
            consumer.give_back(&world.ring, &world.locks(9));
            (consumer, got)
        })
    };
    for _ in 0..2 {
        match world.publish(&mut producer, 2) {
            Outcome::Taken | Outcome::Displacing | Outcome::Full | Outcome::NoSpace => producer.release(&world.ring),
            other => panic!("{other:?}"),
        }
    }
    let (mut consumer, got) = thread.join().unwrap();
    let mut got: Vec<_> = got.into_iter().collect();
    got.extend(world.drain(&mut consumer));
    assert!(got[0] == 1 && got.iter().skip(1).all(|&value| value == 2), "{got:?}");
}

#[test]
fn pages_are_given_back_while_nobody_writes() {
    holds(3, giving_back);
}
#[test]
fn giving_back_finds_a_punch_without_a_mark() {
    finds("punch without a mark", 3, giving_back);
}

/// A message that counts as published is there for a receiver that drains after it has closed.
fn closing() {
    let world = World::new(2, 1, 1, false);
    let mut producer = world.producer(0);
    let thread = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            world.ring.word(STATE).fetch_or(CLOSED, SeqCst);
            crate::ring::sync::sequential();
            world.drain(&mut Consumer::new()).len()
        })
    };
    let counted = matches!(world.publish(&mut producer, 1), Outcome::Taken);
    let got = thread.join().unwrap();
    assert!(!counted || got == 1, "counted, and not there");
}

#[test]
fn what_counts_is_there_after_the_close() {
    holds(3, closing);
}
#[test]
fn closing_finds_a_state_read_before_the_commit() {
    finds("state before the commit", 3, closing);
}

/// A publisher dies at some point; two others take its chunk, the only one, while the consumer reads.
fn stealing(nth: u32, drop_oldest: bool, thieves: u32, tries: u32) {
    let world = World::new(4, 1, 2, drop_oldest);
    let mut dead = world.producer(0);
    let mut first = world.producer(1);
    let second = (thieves > 1).then(|| world.producer(2));
    let died = !dying_at(nth, || taken(world.publish(&mut dead, 1)));
    world.locks(0).close();
    let steal = |world: &World, producer: &mut ModelProducer| match world.publish(producer, 2) {
        Outcome::Taken | Outcome::Displacing | Outcome::Full | Outcome::NoSpace => producer.release(&world.ring),
        other => panic!("{other:?}"),
    };
    let consuming = consuming(&world, tries);
    let thread = second.map(|second| with(&world, second, steal));
    steal(&world, &mut first);
    if let Some(thread) = thread {
        thread.join().unwrap();
    }
    let (mut consumer, mut got, _) = consuming.join().unwrap();
    got.extend(world.drain(&mut consumer));
    assert!(got.iter().skip(1).all(|&value| value == 2), "{got:?}");
    assert!(died || got[0] == 1 || drop_oldest, "{got:?}");
    // Nothing is pinned: a publisher that was refused with this head may be told so again, a new one not.
    taken(world.publish(&mut world.producer(3), 3));
    assert_eq!(world.drain(&mut consumer), [3]);
}

#[test]
fn the_chunk_of_the_dead_is_taken_by_one() {
    for nth in 0..POINTS {
        holds(2, move || stealing(nth, false, 2, 0));
        holds(2, move || stealing(nth, false, 1, 1));
    }
}
#[test]
fn the_chunk_of_the_dead_is_taken_where_the_oldest_is_dropped() {
    for nth in 0..POINTS {
        holds(2, move || stealing(nth, true, 1, 1));
    }
}
#[test]
fn stealing_finds_who_does_not_steal() {
    finds_at_some_point("no stealing", 2, |nth| stealing(nth, false, 1, 0));
}

/// A publisher filled a chunk, and died; its records are unread.
fn salvaging(drop_oldest: bool, first: bool) {
    let world = World::new(4, 1, 2, drop_oldest);
    let mut dead = world.producer(0);
    taken(world.publish(&mut dead, 1));
    world.locks(0).close();
    let producer = world.producer(1);
    let (_, mut consumer, mut got, _) =
        against_consumer(&world, producer, (first, 1), |world, producer| match world.publish(producer, 2) {
            Outcome::Taken | Outcome::Displacing | Outcome::Full | Outcome::NoSpace => {}
            other => panic!("{other:?}"),
        });
    got.extend(world.drain(&mut consumer));
    assert!(got[0] == 1 && got.iter().skip(1).all(|&value| value == 2), "{got:?}");
}

#[test]
fn what_the_dead_published_is_read() {
    for first in [false, true] {
        holds(3, move || salvaging(false, first));
        holds(3, move || salvaging(true, first));
    }
}
#[test]
fn salvaging_finds_who_does_not_scan() {
    // Without a scan the chunk counts as full and drained: it is restarted under the unread record.
    finds("salvage without a scan", 3, || salvaging(false, false));
}
#[test]
fn salvaging_finds_a_chunk_said_to_be_empty() {
    finds("salvaged as empty", 3, || salvaging(true, true));
}

/// An id whose holder died owning the only chunk is taken by another publisher.
fn attaching() {
    let world = World::new(2, 1, 1, false);
    let mut dead = world.producer(0);
    taken(world.publish(&mut dead, 1));
    let mut consumer = Consumer::new();
    assert_eq!(world.next(&mut consumer), Some(1));
    world.locks(0).close();
    let threads: Vec<_> = (1..=2)
        .map(|holder| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let mut producer = ModelProducer::attach(&world.ring, world.locks(holder), 0).expect("an id");
                let outcome = world.publish(&mut producer, 2);
                producer.release(&world.ring);
                matches!(outcome, Outcome::Taken)
            })
        })
        .collect();
    let took: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert!(took.contains(&true), "nobody found the chunk");
    assert_eq!(world.drain(&mut consumer).len(), took.iter().filter(|&&took| took).count());
}

#[test]
fn an_id_is_taken_with_what_it_owned() {
    holds(2, attaching);
}
#[test]
fn attaching_finds_who_does_not_clean() {
    finds("no cleaning when an id is taken", 2, attaching);
}

/// A thief steals from a dead publisher whose id somebody takes at the same time.
fn thief_and_heir() {
    let world = World::new(4, 1, 2, false);
    let mut dead = world.producer(0);
    taken(world.publish(&mut dead, 1));
    world.locks(0).close();
    let mut thief = world.producer(1);
    let heir = {
        let world = Arc::clone(&world);
        thread::spawn(move || {
            let mut heir = ModelProducer::attach(&world.ring, world.locks(5), 0).expect("an id");
            matches!(world.publish(&mut heir, 2), Outcome::Taken)
        })
    };
    let stolen = matches!(world.publish(&mut thief, 3), Outcome::Taken);
    let inherited = heir.join().unwrap();
    let mut expected = vec![1];
    expected.extend(inherited.then_some(2));
    expected.extend(stolen.then_some(3));
    let mut got = world.drain(&mut Consumer::new());
    got.sort();
    assert_eq!(got, expected);
}

#[test]
fn a_thief_and_an_heir_do_not_meet() {
    holds(3, thief_and_heir);
}
#[test]
fn thief_and_heir_finds_a_thief_without_the_lock() {
    finds("thief without the lock", 3, thief_and_heir);
}
