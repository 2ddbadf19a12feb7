//! Waits, interrupts, timeouts, batches.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::*;

use crate::common::*;

crate::transports::on_each_transport! {
    no_wake_up_is_lost,
    an_interrupt_is_sticky_and_ends_one_wait,
    an_interrupt_ends_a_wait_whenever_it_comes,
    an_interrupt_from_a_signal_handler_ends_the_wait,
    a_handled_signal_ends_a_wait,
    timeouts_are_kept,
    a_batch_is_what_single_fetches_would_have_been,
    packed_records_hold_the_messages,
    subscribe_calls_back_until_it_is_ended,
}

const SHORT: Option<Duration> = Some(Duration::from_millis(5));

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// Runs this in a process of its own: in the one of all tests a thread may stand still for long while others fork.
fn alone(home: &Home, run: impl FnOnce(&Home)) {
    Child::fork(|| run(home)).succeeds();
}

/// No wake-up is lost: a message that comes while the receiver goes to sleep wakes it.
fn no_wake_up_is_lost(transport: Transport) {
    alone(&Home::with(transport), lose_no_wake_up);
}

fn lose_no_wake_up(home: &Home) {
    const ROUNDS: u64 = 10_000;
    let (mut ping, mut pong) = (home.open("ping"), home.open("pong"));
    let (pings, pongs) = (&Wakings::new(ROUNDS as usize), &Wakings::new(ROUNDS as usize));
    let over = AtomicBool::new(false);
    let wait = |channel: &mut Channel, wakings: &Wakings, i: u64| {
        let awake = time_awake();
        assert_eq!(number(&next(channel)), i);
        wakings.assert_prompt(i as usize, awake);
    };
    let wake = |publisher: &Publisher, wakings: &Wakings, i: u64| {
        // Some come while it looks around, some while it goes to sleep, and some when it sleeps.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_micros(i * 7 % 200) {
            std::hint::spin_loop();
        }
        publisher.publish(&i.to_le_bytes(), None).unwrap();
        wakings.give(i as usize);
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let publisher = home.publisher("pong");
            for i in 0..ROUNDS {
                wait(&mut ping, pings, i);
                // Before the other one, which waits for this, decides about the next.
                let last = over.load(SeqCst);
                wake(&publisher, pongs, i);
                if last {
                    break;
                }
            }
        });
        let (publisher, begun) = (home.publisher("ping"), Instant::now());
        for i in 0..ROUNDS {
            let last = begun.elapsed() > ENOUGH;
            over.store(last, SeqCst);
            wake(&publisher, pings, i);
            wait(&mut pong, pongs, i);
            if last {
                break;
            }
        }
    });
}

/// Interrupt is sticky: it ends the current wait, or if there is none the next one, once. Fetch neither returns nor
/// clears it.
fn an_interrupt_is_sticky_and_ends_one_wait(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let interrupter = channel.interrupter();
    interrupter.interrupt();
    interrupter.interrupt();
    assert!(channel.fetch().unwrap().is_none());
    assert!(channel.fetch_wait(Some(Duration::ZERO)).unwrap().is_none());
    let publisher = home.publisher("a");
    publisher.publish(b"1", None).unwrap();
    publisher.publish(b"2", None).unwrap();
    assert_eq!(channel.fetch().unwrap().unwrap().data(), b"1");
    assert_eq!(kind(channel.fetch_wait(None)), ErrorKind::Interrupted);
    assert_eq!(next(&mut channel).data(), b"2");
    assert!(channel.fetch_wait(SHORT).unwrap().is_none());
    // The others that wait.
    interrupter.interrupt();
    assert_eq!(kind(channel.fetch_batch(&mut Vec::new(), 5, None)), ErrorKind::Interrupted);
    interrupter.interrupt();
    let result = channel.fetch_packed(&mut [0; 99], None);
    assert!(matches!(result, Err(PackError::Failed(e)) if e.kind() == ErrorKind::Interrupted));
    interrupter.interrupt();
    assert_eq!(kind(channel.subscribe(|_| ControlFlow::Continue(()), None)), ErrorKind::Interrupted);
    channel.close().unwrap();
    interrupter.interrupt();
}

/// An interrupt from another thread ends the wait at once, whenever it comes.
fn an_interrupt_ends_a_wait_whenever_it_comes(transport: Transport) {
    alone(&Home::with(transport), interrupt_waits);
}

fn interrupt_waits(home: &Home) {
    const ROUNDS: usize = 20_000;
    let mut channel = home.open("a");
    let interrupter = channel.interrupter();
    let (ended, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let interrupts = Wakings::new(ROUNDS);
    thread::scope(|scope| {
        let (ended, over, interrupts) = (&ended, &over, &interrupts);
        scope.spawn(move || {
            for round in 0..ROUNDS {
                while ended.load(SeqCst) < round && !over.load(SeqCst) {
                    thread::yield_now();
                }
                if over.load(SeqCst) {
                    break;
                }
                for _ in 0..(round * 7) % 400 {
                    std::hint::spin_loop();
                }
                interrupter.interrupt();
                interrupts.give(round);
            }
        });
        let (begun, _over) = (Instant::now(), AtEnd(over));
        for round in (0..ROUNDS).take_while(|_| begun.elapsed() < ENOUGH) {
            let awake = time_awake();
            assert_eq!(kind(channel.fetch_wait(Some(LONG))), ErrorKind::Interrupted);
            interrupts.assert_prompt(round, awake);
            ended.fetch_add(1, SeqCst);
        }
    });
}

static FROM_HANDLER: Mutex<Option<Interrupter>> = Mutex::new(None);
/// Held by who uses it: the tests of the two transports run at the same time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

extern "C" fn interrupt_from_handler(_signal: i32) {
    // Nobody holds the lock while the signal can come.
    if let Some(interrupter) = FROM_HANDLER.try_lock().ok().as_deref().and_then(Option::as_ref) {
        interrupter.interrupt();
    }
}

/// An interrupt from a signal handler, also one that ran just before the wait began.
fn an_interrupt_from_a_signal_handler_ends_the_wait(transport: Transport) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let home = Home::with(transport);
    let mut channel = home.open("a");
    *FROM_HANDLER.lock().unwrap() = Some(channel.interrupter());
    on_signal(libc::SIGUSR1, interrupt_from_handler);
    this_thread().signal(libc::SIGUSR1);
    assert_eq!(kind(channel.fetch_wait(None)), ErrorKind::Interrupted);
    assert!(channel.fetch_wait(SHORT).unwrap().is_none());
}

/// A wait also ends when a signal was handled in the waiting thread.
fn a_handled_signal_ends_a_wait(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    on_signal(libc::SIGUSR2, ignore);
    let (waiter, done) = (this_thread(), AtomicBool::new(false));
    thread::scope(|scope| {
        let done = &done;
        let _done = AtEnd(done);
        scope.spawn(move || {
            while !done.load(SeqCst) {
                waiter.signal(libc::SIGUSR2);
                thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(kind(channel.fetch_wait(Some(LONG))), ErrorKind::Interrupted);
        assert_eq!(kind(channel.fetch_wait(None)), ErrorKind::Interrupted);
    });
}

/// 0 does not wait; a time is kept, less than a millisecond too; and without an end it waits until a message comes.
fn timeouts_are_kept(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let wait = |channel: &mut Channel, timeout: Duration| {
        let begun = Instant::now();
        assert!(channel.fetch_wait(Some(timeout)).unwrap().is_none());
        begun.elapsed()
    };
    // A busy machine makes most of them longer; where a millisecond is the least, none is shorter.
    eventually("no wait", || wait(&mut channel, Duration::ZERO) < Duration::from_millis(1));
    eventually("a wait of less than a millisecond", || {
        let time = wait(&mut channel, Duration::from_micros(200));
        assert!(time >= Duration::from_micros(200), "{time:?}");
        time < Duration::from_millis(1)
    });
    assert!(wait(&mut channel, Duration::from_millis(30)) >= Duration::from_millis(30));
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            home.publisher("a").publish(b"x", None).unwrap();
        });
        assert!(channel.fetch_wait(None).unwrap().is_some());
        assert!(channel.fetch_wait(Some(Duration::ZERO)).unwrap().is_none());
    });
    // Beyond what a clock can express is for ever.
    home.publisher("a").publish(b"x", None).unwrap();
    assert!(channel.fetch_wait(Some(Duration::MAX)).unwrap().is_some());
}

/// A batch waits for the first, then takes what is there, up to `max`.
fn a_batch_is_what_single_fetches_would_have_been(transport: Transport) {
    let home = Home::with(transport);
    let (mut one, mut many) = (home.open("a.="), home.open("a.="));
    let publisher = home.publisher("a.b");
    for i in 0..1_000u64 {
        publisher.publish(&i.to_le_bytes(), None).unwrap();
    }
    let single = drain(&mut one);
    let mut batch = Vec::new();
    assert_eq!(many.fetch_batch(&mut batch, 0, None).unwrap(), 0);
    assert_eq!(many.fetch_batch(&mut batch, 600, None).unwrap(), 600);
    assert_eq!(many.fetch_batch(&mut batch, 600, None).unwrap(), 400);
    assert_eq!(many.fetch_batch(&mut batch, 600, SHORT).unwrap(), 0);
    let view = |m: &Message| (m.id(), m.timestamp_us(), m.topic().to_string(), m.data().to_vec());
    assert_eq!(batch.iter().map(view).collect::<Vec<_>>(), single.iter().map(view).collect::<Vec<_>>());
}

/// Packed records: each with its topic, headers and data behind it, the data 8-byte aligned; a record that does not fit
/// alone says how much it needs, and stays.
fn packed_records_hold_the_messages(transport: Transport) {
    let home = Home::with(transport);
    let (mut one, mut packed) = (home.open("a.="), home.open("a.="));
    let mut headers = Headers::new();
    headers.set("key", HeaderValue::Bool(true));
    for i in 0..50usize {
        let publisher = home.publisher(&format!("a.{}", "t".repeat(i % 9 + 1)));
        publisher.publish(&vec![i as u8; i * 3], (i % 2 == 0).then_some(&headers)).unwrap();
    }
    let mut expected = drain(&mut one).into_iter();
    let mut buffer = vec![0u64; 64];
    let mut batches = 0;
    loop {
        let (records, used) = packed.fetch_packed(&mut buffer, SHORT).unwrap();
        if records == 0 {
            break;
        }
        batches += 1;
        let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut at = 0;
        for _ in 0..records {
            let m = expected.next().unwrap();
            let word = |i: usize| u64::from_ne_bytes(bytes[at + i * 8..][..8].try_into().unwrap());
            let half = |i: usize| u32::from_ne_bytes(bytes[at + i * 4..][..4].try_into().unwrap());
            assert_eq!((word(1), word(2) as i64, word(3), word(4), word(5)), (m.id(), m.timestamp_us(), 0, 0, 0));
            assert_eq!((word(6), half(16)), (m.data().len() as u64, m.kind() as u32));
            assert_eq!(half(14) as usize, m.topic().len());
            assert_eq!(half(15) as usize, m.headers_json().len());
            let topic = at + 72;
            let json = topic + m.topic().len();
            let data = (json + m.headers_json().len()).next_multiple_of(8);
            assert_eq!(&bytes[topic..json], m.topic().as_bytes());
            assert_eq!(&bytes[json..][..m.headers_json().len()], m.headers_json().as_bytes());
            assert_eq!(&bytes[data..][..m.data().len()], m.data());
            assert_eq!(word(0) as usize, (data + m.data().len()).next_multiple_of(8) - at);
            at += word(0) as usize;
        }
        assert_eq!(at, used);
    }
    assert!(expected.next().is_none() && batches > 5);

    home.publisher("a.b").publish(&[9; 1000], None).unwrap();
    let Err(PackError::TooSmall(needed)) = packed.fetch_packed(&mut buffer, SHORT) else { panic!("it does not fit") };
    let mut exact = vec![0u64; needed / 8 - 1];
    assert!(matches!(packed.fetch_packed(&mut exact, None), Err(PackError::TooSmall(n)) if n == needed));
    exact.push(0);
    assert_eq!(packed.fetch_packed(&mut exact, None).unwrap(), (1, needed));
    assert!(packed.fetch().unwrap().is_none());
    // What was given back is the next message for a fetch of another kind as well.
    home.publisher("a.b").publish(&[9; 1000], None).unwrap();
    assert!(matches!(packed.fetch_packed(&mut [], None), Err(PackError::TooSmall(_))));
    assert_eq!(packed.fetch().unwrap().unwrap().data(), [9; 1000]);
}

/// Subscribe calls back until the callback ends it (that message counts) or the time is over, which is the total.
fn subscribe_calls_back_until_it_is_ended(transport: Transport) {
    let home = Home::with(transport);
    let mut channel = home.open("a");
    let publisher = home.publisher("a");
    for i in 0..10u64 {
        publisher.publish(&i.to_le_bytes(), None).unwrap();
    }
    let until = |n| move |m: &Message| if number(m) == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    assert_eq!(channel.subscribe(until(4), None).unwrap(), 5);
    assert_eq!(channel.subscribe(until(99), Some(Duration::ZERO)).unwrap(), 5);
    assert_eq!(channel.subscribe(until(99), SHORT).unwrap(), 0);
    // The callback may publish; more messages do not prolong it.
    publisher.publish(&0u64.to_le_bytes(), None).unwrap();
    let begun = Instant::now();
    let again = |m: &Message| {
        assert!(begun.elapsed() < LONG);
        publisher.publish(m.data(), None).unwrap();
        ControlFlow::Continue(())
    };
    // A busy machine may let it have no more than one.
    eventually("more than one", || channel.subscribe(again, Some(Duration::from_millis(30))).unwrap() > 1);
    // Nor what is there.
    assert!(channel.subscribe(again, Some(Duration::ZERO)).unwrap() >= 1);
}
