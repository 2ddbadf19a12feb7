//! What the integration tests share: stores of their own, child processes, and conditions to wait for.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use pubsub::{Channel, ChannelOptions, Message, Publisher, PublisherOptions, Transport, last_rejected};
use tempfile::TempDir;

/// Longer than anything here takes, on however busy a machine; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(120);

/// A store of the test's own, removed with it.
pub struct Home {
    dir: TempDir,
    transport: Transport,
}

impl Home {
    /// Channels have the default transport.
    pub fn new() -> Home {
        Home::with(Transport::Default)
    }

    /// Channels that are opened with its options have this transport.
    pub fn with(transport: Transport) -> Home {
        let memory = Path::new("/dev/shm");
        Home::on(if memory.is_dir() { memory } else { Path::new("/tmp") }, transport)
    }

    /// A store below this directory, to choose the file system.
    pub fn on(parent: &Path, transport: Transport) -> Home {
        let home = Home { dir: tempfile::Builder::new().prefix("t-").tempdir_in(parent).unwrap(), transport };
        // What the library makes once in a process must not be half made in another thread while a test forks.
        static MADE: Once = Once::new();
        MADE.call_once(|| {
            pubsub::home();
            home.open("once").close().unwrap();
        });
        home
    }

    /// The store.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A directory beside the store.
    pub fn outside(&self) -> &Path {
        self.dir.path()
    }

    pub fn options(&self) -> ChannelOptions {
        ChannelOptions { home: Some(self.path()), transport: self.transport, ..Default::default() }
    }

    pub fn publisher_options(&self) -> PublisherOptions {
        PublisherOptions { home: Some(self.path()), ..Default::default() }
    }

    pub fn open(&self, pattern: &str) -> Channel {
        Channel::open(pattern, &self.options()).unwrap()
    }

    /// A channel with this bound of messages.
    pub fn open_with_room(&self, pattern: &str, messages: u64) -> Channel {
        Channel::open(pattern, &ChannelOptions { capacity_messages: messages, ..self.options() }).unwrap()
    }

    pub fn publisher(&self, topic: &str) -> Publisher {
        Publisher::open(topic, &self.publisher_options()).unwrap()
    }

    /// The channels' directories.
    pub fn channels(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.path()).into_iter().flatten().map(|entry| entry.unwrap().path());
        all.filter(|path| path.file_name().unwrap().to_string_lossy().matches('_').count() >= 2).collect()
    }

    /// What is being made or removed, or was left so.
    pub fn residue(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    pub fn cleanup(&self) -> u64 {
        pubsub::cleanup(Some(&self.path())).unwrap()
    }
}

/// Bytes that a file or a directory with all that is in it takes.
pub fn allocated(path: &Path) -> u64 {
    let stat = std::fs::symlink_metadata(path).unwrap();
    let below = match stat.is_dir() {
        true => std::fs::read_dir(path).unwrap().map(|entry| allocated(&entry.unwrap().path())).sum(),
        false => 0,
    };
    // A FIFO's own memory is the kernel's, not the store's.
    stat.blocks() * 512 * u64::from(!stat.file_type().is_fifo()) + below
}

/// Message files in a channel's directory.
pub fn message_files(channel: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(channel).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.file_name().unwrap().to_string_lossy().bytes().all(|b| b.is_ascii_digit())).collect()
}

/// What is in a channel's directory.
pub fn in_directory(channel: &Channel) -> Vec<String> {
    let entries = std::fs::read_dir(channel.path()).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Messages that wait in a channel, by its own account.
pub fn unread(channel: &Channel) -> u64 {
    channel.stats().unwrap().unread_messages
}

/// Publishes until the death of the only receiver is noticed, as soon as is promised: with the 1,001st message, or the first
/// after 10 ms. (Where the dead are noticed at once, with the first.)
pub fn notices_that_nobody_is_there(publisher: &Publisher) {
    let since = Instant::now();
    for i in 0.. {
        let late = since.elapsed() > Duration::from_millis(10);
        let taken = publisher.publish(b"is somebody there?", None).unwrap();
        if taken == 0 {
            return assert_eq!(last_rejected(), 0);
        }
        assert!(!late && i < 1_000, "not noticed after {i} messages and {:?}", since.elapsed());
    }
}

/// The number that a message carries.
pub fn number(message: &Message) -> u64 {
    u64::from_le_bytes(message.data()[..8].try_into().unwrap())
}

pub fn drain(channel: &mut Channel) -> Vec<Message> {
    std::iter::from_fn(|| channel.fetch().unwrap()).collect()
}

pub fn numbers(channel: &mut Channel) -> Vec<u64> {
    drain(channel).iter().map(number).collect()
}

/// The next message, which must come.
pub fn next(channel: &mut Channel) -> Message {
    channel.fetch_wait(Some(LONG)).unwrap().expect("a message in time")
}

/// Raises a flag at the end of a scope, also when an assertion fails there: threads that wait for it end.
pub struct AtEnd<'a>(pub &'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// Waits for something that another process or thread does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A wake-up that is lost costs a second: until the receiver looks around by itself. This tells such a second from one for which a
/// busy machine let a woken thread wait for a processor.
pub struct Wakings {
    began: Instant,
    /// When each was given, nanoseconds since then; 0: not yet.
    given: Vec<AtomicU64>,
}

impl Wakings {
    pub fn new(count: usize) -> Wakings {
        Wakings { began: Instant::now(), given: std::iter::repeat_with(|| AtomicU64::new(0)).take(count).collect() }
    }

    /// What wakes the other thread has been done.
    pub fn give(&self, number: usize) {
        self.given[number].store(self.began.elapsed().as_nanos() as u64, SeqCst);
    }

    /// The calling thread has been woken, before whose wait [`time_awake`] was `awake`.
    pub fn assert_prompt(&self, number: usize, awake: Duration) {
        let given = self.given[number].load(SeqCst);
        // Not told yet: it cannot have taken long.
        let since = if given == 0 { Duration::ZERO } else { self.began.elapsed() - Duration::from_nanos(given) };
        let asleep = since.saturating_sub(time_awake() - awake);
        assert!(asleep < Duration::from_millis(900), "{number} was slept through for {asleep:?} of {since:?}");
    }
}

/// For how long this thread has had a processor or waited for one, as the kernel counts it.
pub fn time_awake() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').take(2).filter_map(|word| word.parse::<u64>().ok()).sum())
}

pub fn is_root() -> bool {
    // SAFETY: cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// A forked child, killed if it outlives the test.
pub struct Child {
    pid: libc::pid_t,
    ended: bool,
}

impl Child {
    /// Runs this in a forked child, which ends with it.
    pub fn fork(run: impl FnOnce()) -> Child {
        // SAFETY: the child runs Rust code on a heap that glibc makes usable after fork, takes no lock of the test
        // harness, and ends with _exit.
        Child::run(unsafe { libc::fork() }, run)
    }

    fn run(pid: libc::pid_t, run: impl FnOnce()) -> Child {
        assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
        if pid == 0 {
            let result = std::panic::catch_unwind(AssertUnwindSafe(run));
            if let Err(panic) = &result {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
                let text = format!("child: {text}\n");
                // SAFETY: the text is valid for its length.
                unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
            }
            // SAFETY: ends the child without the harness's exit handlers.
            unsafe { libc::_exit(if result.is_ok() { 0 } else { 101 }) };
        }
        Child { pid, ended: false }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so the pid is its.
        assert_eq!(unsafe { libc::kill(self.pid, signal) }, 0);
    }

    /// Waits until it has stopped.
    pub fn stop(&self) {
        self.signal(libc::SIGSTOP);
        let mut status = 0;
        // SAFETY: waits for a child of this process.
        assert_eq!(unsafe { libc::waitpid(self.pid, &mut status, libc::WUNTRACED) }, self.pid);
        assert!(libc::WIFSTOPPED(status), "it ended instead of stopping: {status:#x}");
    }

    /// The status with which it ended.
    pub fn wait(mut self) -> i32 {
        self.ended = true;
        let mut status = 0;
        // SAFETY: waits for a child of this process.
        while unsafe { libc::waitpid(self.pid, &mut status, 0) } < 0 {}
        status
    }

    pub fn succeeds(self) {
        assert_eq!(self.wait(), 0, "the child failed");
    }

    pub fn dies_of(self, signal: i32) {
        let status = self.wait();
        assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == signal, "{status:#x}");
    }

    pub fn kill(self) {
        self.signal(libc::SIGKILL);
        self.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: a child of this process that was not waited for.
            unsafe {
                libc::kill(self.pid, libc::SIGKILL);
                libc::waitpid(self.pid, &mut 0, 0);
            }
        }
    }
}

/// A child of this process in a pid namespace of its own, in which it is process 1. Needs root.
pub fn fork_in_pid_namespace(run: impl FnOnce()) -> Child {
    Child::fork(|| {
        // SAFETY: no pointers; later children of this process go to the new namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        Child::fork(|| {
            assert_eq!(std::process::id(), 1);
            // SAFETY: no pointers. It must not outlive the process that the test kills.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            run();
        })
        .succeeds();
    })
}

/// Two ends over which processes or threads hand over to each other.
pub fn handover() -> (Baton, Baton) {
    let (a, b) = UnixStream::pair().unwrap();
    for end in [&a, &b] {
        end.set_read_timeout(Some(LONG)).unwrap();
    }
    (Baton(a), Baton(b))
}

pub struct Baton(UnixStream);

impl Baton {
    pub fn give(&mut self) {
        self.0.write_all(b"x").unwrap();
    }

    pub fn take(&mut self) {
        self.0.read_exact(&mut [0]).unwrap();
    }

    /// Waits until it is given, without taking it: for many at once.
    pub fn given(&self) {
        readable_within(std::os::fd::AsRawFd::as_raw_fd(&self.0), LONG.as_millis() as i32);
    }

    /// Whether it is given, without taking it.
    pub fn is_given(&self) -> bool {
        readable_within(std::os::fd::AsRawFd::as_raw_fd(&self.0), 0)
    }

    /// Whether the other end was given up.
    pub fn ended(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }
}

/// Ends this process (a forked child) with SIGALRM if it still runs then.
pub fn kill_after(seconds: u32) {
    // SAFETY: takes a number.
    unsafe { libc::alarm(seconds) };
}

/// Sets this process's limit of open files (for a forked child). Answers the one before.
pub fn limit_files(files: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid to read and write.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = files.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        before
    }
}

/// The least limit of open files at which no further file can be opened now.
pub fn files_open() -> u64 {
    // The lowest free descriptor: those above it do not matter to what is opened next.
    std::os::fd::AsRawFd::as_raw_fd(&std::fs::File::open("/dev/null").unwrap()) as u64
}

/// Something that a signal handler does while it is installed for SIGUSR1 or SIGALRM, without SA_RESTART.
pub fn on_signal(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: an all-zero sigaction is valid; the handler is a plain function that lives for ever.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(signal, &action, std::ptr::null_mut()), 0);
    }
}

pub extern "C" fn ignore(_signal: i32) {}

/// The calling thread, to send it signals.
#[derive(Clone, Copy)]
pub struct ThisThread(libc::pthread_t);

pub fn this_thread() -> ThisThread {
    // SAFETY: cannot fail.
    ThisThread(unsafe { libc::pthread_self() })
}

impl ThisThread {
    /// The thread must still run.
    pub fn signal(self, signal: i32) {
        // SAFETY: the callers keep the thread alive.
        unsafe { libc::pthread_kill(self.0, signal) };
    }
}

/// Whether the descriptor is readable now.
pub fn readable(fd: i32) -> bool {
    readable_within(fd, 0)
}

pub fn readable_within(fd: i32, millis: i32) -> bool {
    let mut entry = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut entry, 1, millis) == 1 }
}
