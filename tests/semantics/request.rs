//! Request and reply.

use std::ffi::CStr;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use pubsub::*;

use crate::common::*;

/// Each test on each transport: in a process of its own, since the environment says how its inboxes receive.
macro_rules! on_each_transport {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::with(c"ring", super::$name); })*
        }
        mod files {
            $(#[test] fn $name() { super::with(c"files", super::$name); })*
        }
    };
}

on_each_transport! {
    a_reply_answers_its_request,
    a_request_that_nobody_listens_for_is_not_found_at_once,
    a_late_reply_is_dropped_and_answers_no_other_request,
    the_first_of_several_replies_is_the_answer,
    a_flood_into_the_inbox_answers_nothing_and_prolongs_nothing,
    a_request_inside_a_callback_is_answered,
    a_thread_keeps_its_inbox_and_it_closes_with_the_thread,
    an_exit_removes_the_inboxes_of_every_thread,
    a_forked_child_has_an_inbox_of_its_own,
    a_thousand_threads_ask_at_once,
    a_signal_ends_the_wait_for_a_reply,
    a_request_whose_replier_is_killed_times_out,
    a_deleted_inbox_is_made_anew,
    what_asks_for_no_reply_gets_none,
}

fn with(transport: &'static CStr, test: fn()) {
    // Before the fork: see there.
    let _home = Home::new();
    Child::fork(|| {
        // SAFETY: two strings; no other thread is in this process, and the standard library's lock, which a thread of the
        // parent may have held, is not taken.
        assert_eq!(unsafe { libc::setenv(c"PUBSUB_TRANSPORT".as_ptr(), transport.as_ptr(), 1) }, 0);
        test();
    })
    .succeeds();
}

fn text(message: &Message) -> String {
    String::from_utf8(message.data().to_vec()).unwrap()
}

fn header(message: &Message, name: &str) -> Option<HeaderValue> {
    message.headers().get(name).cloned()
}

/// Answers what comes to a channel with "re " and its content, until `end`.
fn serve(channel: &mut Channel, end: &AtomicBool) {
    while !end.load(SeqCst) {
        if let Some(request) = channel.fetch_wait(Some(Duration::from_millis(20))).unwrap() {
            reply(&request, &[b"re ", request.data()].concat(), None).unwrap();
        }
    }
}

/// The inboxes in a store.
fn inboxes(home: &Home) -> usize {
    home.channels().iter().filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("reply.")).count()
}

/// A request reaches who listens, with headers that say where to answer; the reply has its correlation id and whatever
/// headers the replier gave, and comes as a message of its own.
fn a_reply_answers_its_request() {
    let home = Home::new();
    let mut server = home.open("a.=");
    let client = home.publisher("a.b");
    thread::scope(|scope| {
        let client = scope.spawn(move || {
            let mut headers = Headers::new();
            headers.set("n", HeaderValue::Int(5));
            headers.set("correlation-id", HeaderValue::String("passed on from elsewhere".into()));
            client.request(b"question", Some(&headers), Some(LONG)).unwrap().expect("a reply")
        });
        let request = next(&mut server);
        assert_eq!((request.topic(), text(&request).as_str()), ("a.b", "question"));
        assert_eq!(header(&request, "n"), Some(HeaderValue::Int(5)));
        let Some(HeaderValue::String(topic)) = header(&request, "response-topic") else { panic!("{request:?}") };
        validate_topic(&topic).unwrap();
        let Some(id @ HeaderValue::String(_)) = header(&request, "correlation-id") else { panic!("{request:?}") };
        assert_ne!(id, HeaderValue::String("passed on from elsewhere".into()));

        let mut headers = Headers::new();
        headers.set("correlation-id", HeaderValue::Null);
        headers.set("status", HeaderValue::Bool(true));
        // The channel that it came from need not be open any more.
        server.close().unwrap();
        assert_eq!(reply(&request, b"answer", Some(&headers)).unwrap(), 1);
        let answer = client.join().unwrap();
        assert_eq!((answer.topic(), text(&answer).as_str()), (topic.as_str(), "answer"));
        assert_eq!(header(&answer, "status"), Some(HeaderValue::Bool(true)));
        assert_eq!(header(&answer, "correlation-id"), Some(id));
        // Whoever asked is gone.
        assert_eq!(reply(&request, b"again", None).unwrap(), 0);
        let error = reply(&answer, b"to a reply", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(&topic) && error.to_string().contains("response-topic"), "{error}");
    });
}

/// Nobody listening is NotFound at once, however long the caller would have waited.
fn a_request_that_nobody_listens_for_is_not_found_at_once() {
    let home = Home::new();
    let _other = home.open("other");
    for _ in 0..3 {
        let error = home.publisher("a.b").request(b"x", None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("a.b") && error.to_string().contains("store"), "{error}");
    }
}

/// A reply that comes when its request has timed out is dropped, and is never the answer to another request.
fn a_late_reply_is_dropped_and_answers_no_other_request() {
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    let mut late = Vec::new();
    for timeout in [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(20)] {
        let since = Instant::now();
        assert!(client.request(b"slow", None, Some(timeout)).unwrap().is_none());
        assert!(since.elapsed() >= timeout);
        late.push(next(&mut server));
    }
    // More of them than the inbox has room for.
    for _ in 0..100 {
        for request in &late {
            assert_eq!(reply(request, b"late", None).unwrap(), 1);
        }
    }
    // Nor do they take its room, were it larger than an inbox.
    let right = vec![b'r'; 5 << 20];
    thread::scope(|scope| {
        scope.spawn(|| {
            let request = next(&mut server);
            for request in late.iter().chain([&request]) {
                let data: &[u8] = if request.data() == b"slow" { b"late" } else { &right };
                assert_eq!(reply(request, data, None).unwrap(), 1);
            }
        });
        assert!(client.request(b"now", None, Some(LONG)).unwrap().unwrap().data() == right);
    });
}

/// Of several replies the first is it, and the others answer nothing later.
fn the_first_of_several_replies_is_the_answer() {
    let home = Home::new();
    let mut servers = [home.open("a"), home.open("=")];
    let client = home.publisher("a");
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&end);
        for server in &mut servers {
            scope.spawn(|| serve(server, &end));
        }
        for n in 0..100 {
            let answer = client.request(format!("{n}").as_bytes(), None, Some(LONG)).unwrap().unwrap();
            assert_eq!(text(&answer), format!("re {n}"));
        }
    });
}

/// What else comes into the inbox, of whatever kind, neither answers nor keeps a request from timing out.
fn a_flood_into_the_inbox_answers_nothing_and_prolongs_nothing() {
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&end);
        scope.spawn(|| {
            let request = next(&mut server);
            let Some(HeaderValue::String(topic)) = header(&request, "response-topic") else { panic!("{request:?}") };
            let flood = home.publisher(&topic);
            let mut wrong = Headers::new();
            wrong.set("correlation-id", HeaderValue::Int(7));
            thread::scope(|scope| {
                for headers in [None, Some(&wrong), Some(&wrong)] {
                    let (flood, end) = (&flood, &end);
                    scope.spawn(move || {
                        while !end.load(SeqCst) {
                            let _ = flood.publish(b"no reply", headers);
                        }
                    });
                }
            });
        });
        let since = Instant::now();
        assert!(client.request(b"x", None, Some(Duration::from_millis(100))).unwrap().is_none());
        // The flood would go on for ever.
        assert!(since.elapsed() < LONG / 6, "{:?}", since.elapsed());
    });
}

/// Who answers may itself ask first: a request inside a subscriber's callback.
fn a_request_inside_a_callback_is_answered() {
    let home = Home::new();
    let (mut front, mut back) = (home.open("front"), home.open("back"));
    let (to_front, to_back) = (home.publisher("front"), home.publisher("back"));
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&end);
        scope.spawn(|| serve(&mut back, &end));
        scope.spawn(|| {
            let ask = |request: &Message| {
                let answer = to_back.request(request.data(), None, Some(LONG)).unwrap().unwrap();
                reply(request, answer.data(), None).unwrap();
                ControlFlow::Break(())
            };
            front.subscribe(ask, Some(LONG)).unwrap();
        });
        assert_eq!(text(&to_front.request(b"x", None, Some(LONG)).unwrap().unwrap()), "re x");
    });
}

/// A thread keeps its inbox from request to request, and it closes with the thread.
fn a_thread_keeps_its_inbox_and_it_closes_with_the_thread() {
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    thread::scope(|scope| {
        scope
            .spawn(|| {
                for _ in 0..3 {
                    assert!(client.request(b"x", None, Some(Duration::ZERO)).unwrap().is_none());
                    assert_eq!(inboxes(&home), 1);
                }
            })
            .join()
            .unwrap();
    });
    assert_eq!(inboxes(&home), 0);
    let topics: Vec<_> = drain(&mut server).iter().map(|request| header(request, "response-topic")).collect();
    assert!(topics.len() == 3 && topics.iter().all(|topic| *topic == topics[0]), "{topics:?}");
}

/// A normal exit removes the inboxes of all threads, of those in the midst of a request too; a child that exits leaves its
/// parent's alone.
fn an_exit_removes_the_inboxes_of_every_thread() {
    let home = Home::new();
    let mut server = home.open("a");
    let (mut here, mut there) = handover();
    let child = Child::fork(|| {
        let client: &'static Publisher = Box::leak(Box::new(home.publisher("a")));
        assert!(client.request(b"first", None, Some(Duration::ZERO)).unwrap().is_none());
        for _ in 0..3 {
            thread::spawn(|| client.request(b"x", None, None));
        }
        let grandchild = Child::fork(|| std::process::exit(0));
        assert_eq!(grandchild.wait(), 0);
        // They have all asked.
        there.take();
        std::process::exit(0);
    });
    for _ in 0..4 {
        next(&mut server);
    }
    assert_eq!(inboxes(&home), 4);
    here.give();
    assert_eq!(child.wait(), 0);
    assert_eq!((inboxes(&home), home.residue().len()), (0, 0));
}

/// A child makes an inbox of its own, and its parent's next request is answered as if nothing had happened.
fn a_forked_child_has_an_inbox_of_its_own() {
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = AtEnd(&end);
        scope.spawn(|| serve(&mut server, &end));
        let ask =
            |client: &Publisher, what: &str| text(&client.request(what.as_bytes(), None, Some(LONG)).unwrap().unwrap());
        assert_eq!(ask(&client, "before"), "re before");
        let child = Child::fork(|| {
            assert_eq!(client.request(b"x", None, None).unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(ask(&home.publisher("a"), "child"), "re child");
            assert_eq!(inboxes(&home), 2);
        });
        assert_eq!(ask(&client, "meanwhile"), "re meanwhile");
        child.succeeds();
        assert_eq!(ask(&client, "after"), "re after");
    });
}

/// A thousand threads at once, each with its inbox, are each answered with what they asked.
fn a_thousand_threads_ask_at_once() {
    const THREADS: u64 = 1000;
    let home = Home::new();
    // In a child: two descriptors for each inbox are more than the usual 1,024.
    Child::fork(|| {
        limit_files(8 * THREADS);
        let mut server = home.open("a");
        let client = home.publisher("a");
        let answered = AtomicU64::new(0);
        let all = Barrier::new(THREADS as usize);
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for n in 0..THREADS {
                let (client, answered, all) = (&client, &answered, &all);
                let ask = move || {
                    all.wait();
                    let answer = client.request(&n.to_le_bytes(), None, Some(4 * LONG)).unwrap().expect("a reply");
                    assert_eq!(number(&answer), n + THREADS);
                    answered.fetch_add(1, SeqCst);
                };
                threads.push(thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, ask).unwrap());
            }
            // All have asked before the first is answered.
            let requests: Vec<Message> = (0..THREADS).map(|_| next(&mut server)).collect();
            for request in requests.iter().rev() {
                assert_eq!(reply(request, &(number(request) + THREADS).to_le_bytes(), None).unwrap(), 1);
            }
            // Joined, they have closed their inboxes; the scope alone ends before what threads do last.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!((answered.load(SeqCst), inboxes(&home)), (THREADS, 0));
    })
    .succeeds();
}

/// A signal that is handled in the waiting thread ends the wait; the thread's next request is answered.
fn a_signal_ends_the_wait_for_a_reply() {
    on_signal(libc::SIGUSR1, ignore);
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    let (tell, told) = mpsc::channel();
    let end = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            tell.send(this_thread()).unwrap();
            let error = client.request(b"x", None, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Interrupted);
            assert!(error.to_string().contains("'a'"), "{error}");
            end.store(true, SeqCst);
            assert_eq!(text(&client.request(b"y", None, Some(LONG)).unwrap().unwrap()), "right");
        });
        let thread = told.recv().unwrap();
        let first = next(&mut server);
        // Until one has come while it waits.
        while !end.load(SeqCst) && !asking.is_finished() {
            thread.signal(libc::SIGUSR1);
            thread::sleep(Duration::from_millis(1));
        }
        reply(&first, b"late", None).unwrap();
        reply(&next(&mut server), b"right", None).unwrap();
    });
}

/// Who was to answer is killed: the request times out, and the next one finds nobody.
fn a_request_whose_replier_is_killed_times_out() {
    let home = Home::new();
    let (mut here, mut there) = handover();
    let server = Child::fork(|| {
        let mut channel = home.open("a");
        there.give();
        next(&mut channel);
        // As it dies after it has taken the request.
        std::process::abort();
    });
    here.take();
    let client = home.publisher("a");
    assert!(client.request(b"x", None, Some(Duration::from_millis(200))).unwrap().is_none());
    server.dies_of(libc::SIGABRT);
    eventually("the dead channel is noticed", || match client.request(b"x", None, Some(Duration::ZERO)) {
        Ok(None) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
        Ok(Some(reply)) => panic!("{reply:?}"),
    });
}

/// An inbox that somebody deletes, alone or with the whole store, is made anew by the next request.
fn a_deleted_inbox_is_made_anew() {
    let home = Home::new();
    let client = home.publisher("a");
    for whole in [false, true, false] {
        let mut server = home.open("a");
        assert!(client.request(b"x", None, Some(Duration::ZERO)).unwrap().is_none());
        drop(server);
        for path in home.channels() {
            std::fs::remove_dir_all(path).unwrap();
        }
        if whole {
            std::fs::remove_dir_all(home.path()).unwrap();
        }
        server = home.open("a");
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = AtEnd(&end);
            scope.spawn(|| serve(&mut server, &end));
            assert_eq!(text(&client.request(b"y", None, Some(LONG)).unwrap().unwrap()), "re y");
        });
    }
}

/// A request says where its reply goes: what is no topic is an error of whoever answers, and what asks for none, too.
fn what_asks_for_no_reply_gets_none() {
    let home = Home::new();
    let mut server = home.open("a");
    let client = home.publisher("a");
    let mut answers = home.open("answers");
    let mut send = |headers: &str| {
        client.publish(b"x", Some(&Headers::parse(headers).unwrap())).unwrap();
        reply(&next(&mut server), b"y", None)
    };
    for (headers, kind) in [
        ("{}", ErrorKind::InvalidArgument),
        (r#"{"correlation-id": "1"}"#, ErrorKind::InvalidArgument),
        (r#"{"response-topic": 5, "correlation-id": "1"}"#, ErrorKind::InvalidArgument),
        (r#"{"response-topic": "a.+", "correlation-id": "1"}"#, ErrorKind::InvalidTopic),
        (r#"{"response-topic": "../a", "correlation-id": "1"}"#, ErrorKind::InvalidTopic),
        (r#"{"response-topic": "", "correlation-id": "1"}"#, ErrorKind::InvalidTopic),
    ] {
        assert_eq!(send(headers).unwrap_err().kind(), kind, "{headers}");
    }
    // A correlation id of any kind comes back as it is, and none as none.
    for id in ["\"1\"", "17", "null", "[1, {\"a\": 2}]", "123456789012345678901234567890"] {
        let headers = format!("{{\"response-topic\": \"answers\", \"correlation-id\": {id}}}");
        assert_eq!(send(&headers).unwrap(), 1);
        assert_eq!(next(&mut answers).headers_json(), format!("{{\"correlation-id\": {id}}}"));
    }
    assert_eq!(send(r#"{"response-topic": "answers"}"#).unwrap(), 1);
    assert_eq!(next(&mut answers).headers_json(), "{}");
}
