//! A gateway on a store of its own.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions};

use crate::client::Client;
use crate::http::{self, Answer};

/// Nothing here takes so long, on however busy a machine; what does hangs.
pub const HANGS: Duration = Duration::from_secs(300);

pub struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    pub fn new() -> Store {
        Store { directory: tempfile::Builder::new().prefix("t-gateway-").tempdir_in("/dev/shm").unwrap() }
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pubsub"));
        command.args(args).env("PUBSUB_HOME", self.home());
        command
    }

    pub fn serve(&self, args: &[&str]) -> Gateway {
        Gateway::start(self, self.command(&["serve"]), args)
    }

    /// With a small tmpfs at the place of the store, in a mount namespace of the gateway's own. Needs root.
    pub fn serve_on_small_file_system(&self, options: &str) -> Gateway {
        std::fs::create_dir(self.home()).unwrap();
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs -o "$1,mode=700" tmpfs "$PUBSUB_HOME" && shift && exec "$@""#;
        command.args(["--mount", "sh", "-c", script, "sh", options, env!("CARGO_BIN_EXE_pubsub"), "serve"]);
        command.env("PUBSUB_HOME", self.home());
        Gateway::start(self, command, &[])
    }

    pub fn channel(&self, pattern: &str) -> Channel {
        Channel::open(pattern, &ChannelOptions { home: Some(self.home()), ..Default::default() }).unwrap()
    }

    pub fn publisher(&self, topic: &str) -> Publisher {
        Publisher::open(topic, &PublisherOptions { home: Some(self.home()), ..Default::default() }).unwrap()
    }
}

pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
    _watch: mpsc::Sender<()>,
}

impl Gateway {
    fn start(store: &Store, mut command: Command, args: &[&str]) -> Gateway {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = store.beside(&format!("log-{number}"));
        let bind: &[&str] = if args.contains(&"--bind") { &[] } else { &["--bind", "127.0.0.1:0"] };
        command.args(bind).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_raw(child.id() as i32);
        let (watch, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(2 * HANGS) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("gateway {pid} hangs");
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").and_then(|address| address.parse().ok());
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        let address = address.unwrap_or_else(|| panic!("it printed {line:?} and said {:?}", said()));
        Gateway { child, address, log, _watch: watch }
    }

    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, None)
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, None)
    }

    pub fn request(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        http::request(self.address, method, path, &[], body)
    }

    /// A figure of /metrics.
    pub fn figure(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    }

    /// What it said on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse().unwrap()
    }

    /// It is there and does what it should.
    pub fn assert_works(&self) {
        let mut client = self.connect();
        client.subscribe("still.alive", 0);
        client.send(r#"{"action":"publish","topic":"still.alive","message":"yes"}"#);
        assert_eq!(client.message()["message"], "yes");
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway said: {}", self.log());
        }
    }
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Waits until something is so. For what no event tells.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < HANGS, "not within {HANGS:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub fn read_to_end(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
