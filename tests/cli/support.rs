//! A store of its own for each test, and processes that are watched.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Nothing here takes so long, on however busy a machine; whoever does hangs.
pub const HANGS: Duration = Duration::from_secs(300);

pub struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    pub fn new() -> Store {
        Store { directory: tempfile::Builder::new().prefix("t-cli-").tempdir_in("/dev/shm").unwrap() }
    }

    /// The store; made on first use.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// A path beside the store.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pubsub"));
        command.args(args).env("PUBSUB_HOME", self.home());
        command
    }

    /// A shell in which `$PUBSUB` is the command.
    pub fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("PUBSUB", env!("CARGO_BIN_EXE_pubsub")).env("PUBSUB_HOME", self.home());
        command
    }

    /// Runs the command to its end, without input.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        Running::start(self.command(args).stdin(Stdio::null())).end()
    }

    /// Runs the command to its end on this input.
    pub fn run_on<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ended {
        let mut running = Running::start(self.command(args).stdin(Stdio::piped()));
        let mut stdin = running.child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = thread::spawn(move || drop(stdin.write_all(&input)));
        let ended = running.end();
        writer.join().unwrap();
        ended
    }

    /// Runs the command, which has to succeed.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        let ended = self.run(args);
        assert_eq!(ended.code(), Some(0), "{ended:?}");
        ended
    }

    /// Starts `pubsub sub` and answers once its `patterns` subscriptions are live.
    pub fn sub(&self, patterns: usize, args: &[&str]) -> Running {
        Running::start(self.command(["sub"].iter().chain(args)).stdin(Stdio::null())).subscribed(patterns)
    }

    /// The lines of `ls --json`.
    pub fn channels(&self) -> Vec<Value> {
        self.ok(["ls", "--json"]).lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The channel directories in the store, dead and alive.
    pub fn directories(&self) -> Vec<String> {
        let entries = fs::read_dir(self.home()).unwrap().map(|entry| entry.unwrap());
        let names = entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.matches('_').count() >= 2).collect()
    }
}

/// A process whose output is read here, killed when it hangs.
pub struct Running {
    pub child: Child,
    pub stdout: Option<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    /// What was read of standard error.
    words: String,
    _watch: mpsc::Sender<()>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let (watch, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(HANGS) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("process {pid} hangs");
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let stdout = Some(BufReader::new(child.stdout.take().unwrap()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Running { child, stdout, stderr, words: String::new(), _watch: watch }
    }

    /// Waits until so many subscriptions are live.
    pub fn subscribed(mut self, patterns: usize) -> Running {
        for _ in 0..patterns {
            let words = self.word_line();
            assert!(words.starts_with("subscribed: "), "{words:?}");
        }
        self
    }

    /// The next line of standard error.
    pub fn word_line(&mut self) -> String {
        let start = self.words.len();
        self.stderr.read_line(&mut self.words).unwrap();
        self.words[start..].to_owned()
    }

    /// The next line of standard output, without the newline.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "standard output ended: {line:?}");
        line.pop();
        line
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Stops it; answers once it has stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        loop {
            match state(self.pid()) {
                Some('T') => return,
                Some('Z') | None => panic!("{} ended instead of stopping", self.pid()),
                _ => thread::yield_now(),
            }
        }
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        let stdout = self.stdout.take();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.map(|mut stdout| stdout.read_to_end(&mut bytes).unwrap());
            bytes
        });
        self.stderr.read_to_string(&mut self.words).unwrap();
        let status = self.child.wait().unwrap();
        Ended { status, stdout: reader.join().unwrap(), words: self.words }
    }
}

#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub words: String,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal it died of.
    pub fn signal(&self) -> Option<Signal> {
        self.status.signal().map(|number| Signal::try_from(number).unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// It failed with this exit code and one line of words that has all of `parts` in it, and printed nothing.
    pub fn assert_failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code(), Some(code), "{self:?}");
        assert!(self.words.starts_with("pubsub: "), "{self:?}");
        assert_eq!(self.stdout, b"", "{self:?}");
        for part in parts {
            assert!(self.words.contains(part), "{part:?} is not in {:?}", self.words);
        }
    }
}

/// As the kernel shows a process: `R`, `S`, `T` (stopped), `Z` (has ended and was not waited for) and others; `None`: there is none.
pub fn state(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Waits until a process has ended whose parent is not this one.
pub fn has_ended(pid: Pid) {
    let begun = Instant::now();
    while !matches!(state(pid), None | Some('Z' | 'X')) {
        assert!(begun.elapsed() < HANGS, "process {pid} goes on");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether there is anything at this path.
pub fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
