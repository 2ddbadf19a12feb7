//! Request and reply: a request is a message whose headers say where its reply is to go and how it is to be marked.
//!
//! The two headers are formix-pubsub's, so that its programs can be either side. A thread's replies come to one channel,
//! its inbox, which it opens with its first request and keeps: a request then costs two messages and nothing else. An
//! inbox never serves two requests at once, but what answered an earlier one may still come; it bears another correlation
//! id, by which it is known and dropped.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::channel::{Channel, ChannelOptions};
use crate::control::FullPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{HeaderValue, Headers, Message, MessageKind};
use crate::publisher::{self, Publisher};
use crate::store::{self, Store, homes};
use crate::sys::clock::Deadline;
use crate::sys::directory::Directory;
use crate::sys::exit;
use crate::sys::fork::PerProcess;
use crate::sys::random::random;
use crate::topic::validate_topic;

/// The topic that the reply is to be published to.
const RESPONSE_TOPIC: &str = "response-topic";
/// What the reply is to be marked with.
const CORRELATION_ID: &str = "correlation-id";

/// Replies that an inbox holds. One is waited for; others are late ones, of which the oldest go first. Few, because a
/// channel takes room in the store for as many as it may hold.
const CAPACITY: u64 = 64;
/// And their bytes. A larger one is taken alone. Few, too, so that an inbox on a ring takes some 40 KiB and a thousand of
/// them fit into the 64 MiB of a container's /dev/shm.
const CAPACITY_BYTES: u64 = 1 << 20;
/// Random characters (of 62) in an inbox's topic: 95 bits.
const RANDOM: usize = 16;

/// Publishes a request to a topic of the default store and waits up to `timeout` (`None`: without end) for its reply.
/// `Ok(None)`: it timed out. What comes later is dropped, and is never the answer to another request.
///
/// The request carries the headers `response-topic` and `correlation-id`, in place of any that `headers` have by these
/// names; whoever receives it answers with [`reply`]. When several do, the first reply is it.
///
/// Replies come to a channel that each thread opens with its first request and keeps until it ends; it takes two
/// descriptors. Any thread.
///
/// Errors: [`NotFound`](ErrorKind::NotFound), at once, when nobody listens on the topic;
/// [`Interrupted`](ErrorKind::Interrupted) when a signal was handled in this thread, after which a reply counts as late;
/// those of [`publish`](crate::publish()) and [`Channel::open`].
///
/// ```
/// # let home = tempfile::tempdir()?;
/// use std::time::Duration;
/// use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};
///
/// // Usually another program: it answers what comes to math.double.
/// let options = ChannelOptions { home: Some(home.path().into()), ..Default::default() };
/// let mut requests = Channel::open("math.double", &options)?;
/// let server = std::thread::spawn(move || {
///     let request = requests.fetch_wait(None)?.expect("waits without end");
///     let number: i64 = String::from_utf8_lossy(request.data()).parse().unwrap_or_default();
///     pubsub::reply(&request, (2 * number).to_string().as_bytes(), None)
/// });
///
/// // With the default store: pubsub::request("math.double", b"21", None, timeout).
/// let options = PublisherOptions { home: Some(home.path().into()), ..Default::default() };
/// let publisher = Publisher::open("math.double", &options)?;
/// let reply = publisher.request(b"21", None, Some(Duration::from_secs(10)))?.expect("a reply in time");
/// assert_eq!(reply.data(), b"42");
/// # assert_eq!(server.join().unwrap()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn request(
    topic: &str,
    data: &[u8],
    headers: Option<&Headers>,
    timeout: Option<Duration>,
) -> Result<Option<Message>> {
    validate_topic(topic)?;
    exchange(&Store::at(None)?, topic, headers, timeout, |headers| publisher::publish(topic, data, Some(headers)))
}

impl Publisher {
    /// Publishes a request to the publisher's topic and waits for the reply, as [`request`] does. Waiting for room
    /// ([`full_timeout`](crate::PublisherOptions::full_timeout)) may make it last that much longer than `timeout`.
    ///
    /// Errors: as [`request`] and [`publish`](Publisher::publish).
    pub fn request(
        &self,
        data: &[u8],
        headers: Option<&Headers>,
        timeout: Option<Duration>,
    ) -> Result<Option<Message>> {
        exchange(&self.store()?, self.topic(), headers, timeout, |headers| self.publish(data, Some(headers)))
    }
}

/// Answers a request: publishes to its `response-topic`, in the store that it came from, with its `correlation-id` in
/// place of any that `headers` have. Answers how many channels took it: 0 when whoever asked waits no more. Any thread, any
/// time, whether its channel is still open or not; more than one reply to one request is possible.
///
/// Errors: [`InvalidArgument`](ErrorKind::InvalidArgument) when the message asks for no reply (it has no `response-topic`)
/// or came from no channel; [`InvalidTopic`](ErrorKind::InvalidTopic) when it asks for one on what is no topic; those of
/// [`publish`](crate::publish()).
///
/// A request without a `correlation-id`, or with one that is no string, gets its reply without, or with the same.
/// See [`request`] for an example.
pub fn reply(request: &Message, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    reply_to(Origin { topic: request.topic(), headers: request.headers(), home: request.home() }, data, headers)
}

/// What a reply needs to know of its request.
pub(crate) struct Origin<'a> {
    pub topic: &'a str,
    pub headers: Headers,
    /// The number of the store.
    pub home: u64,
}

pub(crate) fn reply_to(request: Origin<'_>, data: &[u8], headers: Option<&Headers>) -> Result<usize> {
    let wrong =
        |what| Error::new(ErrorKind::InvalidArgument, format_args!("the message on '{}' {what}", request.topic));
    let response_topic = match request.headers.get(RESPONSE_TOPIC) {
        Some(HeaderValue::String(topic)) => topic,
        Some(_) => return Err(wrong("asks for no reply: its header 'response-topic' is no string")),
        None => return Err(wrong("asks for no reply: it has no header 'response-topic'")),
    };
    let home = homes::path(request.home).ok_or_else(|| wrong("came from no channel, so nobody waits for its reply"))?;
    let mut headers = headers.cloned().unwrap_or_default();
    if let Some(id) = request.headers.get(CORRELATION_ID) {
        headers.set(CORRELATION_ID, id.clone());
    }
    publisher::publish_in(Some(home), response_topic, data, Some(&headers))
}

/// Publishes a request with `send` and waits for its reply.
fn exchange(
    store: &Arc<Store>,
    topic: &str,
    headers: Option<&Headers>,
    timeout: Option<Duration>,
    send: impl FnOnce(&Headers) -> Result<usize>,
) -> Result<Option<Message>> {
    let deadline = Deadline::after(timeout);
    let mut headers = headers.cloned().unwrap_or_default();
    let mut inbox = Inbox::of_this_thread(store)?;
    let id = inbox.next_id();
    headers.set(RESPONSE_TOPIC, HeaderValue::String(inbox.channel.topic().to_string()));
    headers.set(CORRELATION_ID, HeaderValue::String(id.clone()));
    let sent = match send(&headers) {
        Ok(0) => Err(Error::new(
            ErrorKind::NotFound,
            format_args!(
                "nobody listens on '{topic}' in {}: no channel there matches it; start who answers first",
                store.home().display()
            ),
        )),
        result => result,
    };
    let reply = sent.and_then(|_| inbox.wait(topic, &id, deadline));
    inbox.keep();
    reply
}

/// A channel for replies.
struct Inbox {
    channel: Channel,
    /// How many requests it has served.
    requests: u64,
    _left: AtExit,
}

thread_local! {
    /// This thread's, one for each store; what is in use is not in it. They close when the thread ends.
    static INBOXES: RefCell<Vec<Inbox>> = const { RefCell::new(Vec::new()) };
}

impl Inbox {
    /// The thread's inbox in this store, or a new one.
    fn of_this_thread(store: &Arc<Store>) -> Result<Inbox> {
        let kept = INBOXES.try_with(|inboxes| {
            let mut inboxes = inboxes.borrow_mut();
            // Those inherited through fork, and those that somebody has deleted, with their store or alone.
            inboxes.retain(|inbox| inbox.channel.is_usable());
            let at = inboxes.iter().position(|inbox| Arc::ptr_eq(inbox.channel.store(), store))?;
            Some(inboxes.swap_remove(at))
        });
        // A thread that is ending has lost its storage, and uses a new one for each request.
        kept.ok().flatten().map_or_else(|| Inbox::open(store), Ok)
    }

    fn open(store: &Arc<Store>) -> Result<Inbox> {
        let options = ChannelOptions {
            // A late reply must not take the room of the one that is waited for.
            full_policy: FullPolicy::DropOldest,
            capacity_messages: CAPACITY,
            capacity_bytes: CAPACITY_BYTES,
            home: Some(store.home().to_path_buf()),
            ..Default::default()
        };
        let channel = Channel::open(&format!("reply.{}", random(RANDOM)), &options)?;
        Ok(Inbox { _left: AtExit::remove(&channel), channel, requests: 0 })
    }

    /// A correlation id that no other request has, whoever makes it.
    fn next_id(&mut self) -> String {
        self.requests += 1;
        format!("{}-{}", self.channel.topic().trim_start_matches("reply."), self.requests)
    }

    fn wait(&mut self, topic: &str, id: &str, deadline: Deadline) -> Result<Option<Message>> {
        loop {
            let message = self.channel.fetch_wait(deadline.remaining()).map_err(|error| reworded(topic, error))?;
            match message {
                Some(message) if answers(&message, id) => return Ok(Some(message)),
                // A flood of other messages does not make it last longer.
                Some(_) if !deadline.passed() => {}
                _ => return Ok(None),
            }
        }
    }

    /// For this thread's next request; closes when it cannot be kept.
    fn keep(self) {
        if self.channel.is_usable() && !EXITING.load(SeqCst) {
            let _ = INBOXES.try_with(|inboxes| inboxes.borrow_mut().push(self));
        }
    }
}

fn answers(message: &Message, id: &str) -> bool {
    message.kind() == MessageKind::Data
        && matches!(message.headers().get(CORRELATION_ID), Some(HeaderValue::String(theirs)) if theirs == id)
}

/// What kept a reply from coming, in the words of who asked: nobody knows of the channel but this module.
fn reworded(topic: &str, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Interrupted => Error::new(
            ErrorKind::Interrupted,
            format_args!("a signal ended the wait for the reply to a request on '{topic}'"),
        ),
        ErrorKind::Corrupt => Error::new(
            ErrorKind::Corrupt,
            format_args!(
                "another program deleted the channel for the reply to a request on '{topic}'; ask again ({error})"
            ),
        ),
        _ => error,
    }
}

/// Whether the process is exiting: inboxes are not kept any more.
static EXITING: AtomicBool = AtomicBool::new(false);
/// The store and the directory of each of some inboxes.
type Places = Vec<(Arc<Directory>, String)>;
/// The inboxes that are open in this process. Threads that still run when it exits do not close theirs.
static OPEN: PerProcess<Mutex<Places>> = PerProcess::new(Mutex::default);

/// Removes an inbox's directory when the process exits, unless it was closed before.
struct AtExit {
    name: String,
}

impl AtExit {
    fn remove(channel: &Channel) -> AtExit {
        static ASKED: AtomicBool = AtomicBool::new(false);
        // No lock, as everywhere: a child forked meanwhile would inherit it. Where it fails, what is left counts as dead and
        // goes with the next opens.
        if !ASKED.swap(true, SeqCst) {
            exit::at_exit(remove_all);
        }
        open_inboxes().push((Arc::clone(channel.store().base()), channel.name().to_string()));
        AtExit { name: channel.name().to_string() }
    }
}

impl Drop for AtExit {
    fn drop(&mut self) {
        open_inboxes().retain(|(_, name)| *name != self.name);
    }
}

fn open_inboxes() -> MutexGuard<'static, Places> {
    OPEN.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

extern "C" fn remove_all() {
    EXITING.store(true, SeqCst);
    // A thread that was stopped inside, or that a signal handler interrupted to exit, gives it back no more.
    let open = match OPEN.get().try_lock() {
        Ok(open) => open,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for (base, name) in open.iter() {
        let _ = store::remove_channel(base, name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_no_reply_prolong_no_wait() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(Some(home.path())).unwrap();
        let mut inbox = Inbox::of_this_thread(&store).unwrap();
        let topic = inbox.channel.topic().to_owned();
        for _ in 0..3 {
            assert_eq!(publisher::publish_in(Some(home.path()), &topic, b"x", None).unwrap(), 1);
        }
        let no_time = Deadline::after(Some(Duration::ZERO));
        assert!(inbox.wait("a", "id", no_time).unwrap().is_none());
        // It looked at one, and the time was up.
        assert_eq!(inbox.channel.stats().unwrap().unread_messages, 2);
    }
}
