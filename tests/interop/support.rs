//! Stores, and the processes that use them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use pubsub::{Channel, ChannelOptions, Message, Publisher, PublisherOptions, Transport};
use serde_json::{Value, json};

/// A store of its own for a test, removed with it. It is not made: that is for those who use it.
/// Channels that are opened by it, and by its peers, have its transport.
pub struct Home(tempfile::TempDir, Transport);

impl Home {
    pub fn new() -> Home {
        Home::with(Transport::Default)
    }

    pub fn with(transport: Transport) -> Home {
        let parent = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
        Home(tempfile::Builder::new().prefix("t-interop-").tempdir_in(parent).unwrap(), transport)
    }

    /// One whose directory above users without rights can reach, and make a store in.
    pub fn of_everybody(transport: Transport) -> Home {
        let home = Home::with(transport);
        set_mode(home.0.path(), 0o777);
        home
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// Where other files of the test may be.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn channel(&self, pattern: &str) -> Channel {
        self.channel_with(pattern, ChannelOptions::default())
    }

    pub fn channel_with(&self, pattern: &str, options: ChannelOptions) -> Channel {
        Channel::open(pattern, &ChannelOptions { home: Some(self.path()), transport: self.1, ..options }).unwrap()
    }

    pub fn publisher(&self, topic: &str) -> Publisher {
        Publisher::open(topic, &PublisherOptions { home: Some(self.path()), ..Default::default() }).unwrap()
    }

    pub fn publish(&self, topic: &str, data: &[u8]) -> usize {
        self.publisher(topic).publish(data, None).unwrap()
    }

    pub fn formix(&self) -> Formix {
        Formix::start(&self.path())
    }

    pub fn peer(&self) -> Peer {
        Peer::start(&self.path(), self.1)
    }

    /// Names in the store, sorted.
    pub fn names(&self) -> Vec<String> {
        names(&self.path())
    }

    /// The channels' directories in the store.
    pub fn channels(&self) -> Vec<PathBuf> {
        self.names().iter().filter(|name| name.contains('_')).map(|name| self.path().join(name)).collect()
    }

    /// Asserts that no channel, and nothing half done, is left.
    pub fn assert_clean(&self) {
        assert_eq!(self.names(), [".pubsub", "tmp"], "left in the store");
        assert_eq!(names(&self.path().join("tmp")), [""; 0], "left in tmp");
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message files in a channel's directory.
pub fn messages_in(channel: &Path) -> Vec<String> {
    names(channel).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())).collect()
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything that is there now.
pub fn drain(channel: &mut Channel) -> Vec<Message> {
    std::iter::from_fn(|| channel.fetch().unwrap()).collect()
}

/// The contents of everything that is there now, as text.
pub fn texts(channel: &mut Channel) -> Vec<String> {
    drain(channel).iter().map(|message| String::from_utf8(message.data().to_vec()).unwrap()).collect()
}

pub fn topics(channel: &mut Channel) -> Vec<String> {
    drain(channel).iter().map(|message| message.topic().to_string()).collect()
}

/// Some bytes of every value.
pub fn noise(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

/// Whether this process may become other users. A test that needs to says so and passes otherwise.
pub fn is_root() -> bool {
    // SAFETY: cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("not run: it needs root, to become other users");
    }
    root
}

/// A process that is asked by lines of JSON and answers by such lines.
struct Asked {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asked {
    fn start(command: &mut Command) -> Asked {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Asked { child, input, output }
    }

    fn ask(&mut self, question: &Value) {
        writeln!(self.input, "{question}").unwrap();
        self.input.flush().unwrap();
    }

    fn answer(&mut self) -> Value {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                panic!("the peer process died: {:?}", self.child.wait());
            }
            // What libtest says stands on lines of its own.
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that uses formix-pubsub.
pub struct Formix(Asked);

impl Formix {
    pub fn start(home: &Path) -> Formix {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/peer.py");
        let mut command = Command::new(python());
        Formix(Asked::start(command.args(["-B", program]).env("PUBSUB_HOME", home)))
    }

    /// What this Python evaluates to, or what it leaves in `answer`.
    pub fn run(&mut self, code: &str) -> Value {
        self.begin(code);
        self.end()
    }

    /// Like [`run`](Formix::run), without waiting for the [`end`](Formix::end).
    pub fn begin(&mut self, code: &str) {
        self.0.ask(&json!(code));
    }

    pub fn end(&mut self) -> Value {
        let mut reply = self.0.answer();
        if let Some(error) = reply.get("error") {
            panic!("formix-pubsub raised:\n{}", error.as_str().unwrap());
        }
        reply["answer"].take()
    }

    pub fn publish(&mut self, topic: &str, data: &str) -> u64 {
        self.run(&format!("publish_apart({topic:?}, {data:?}.encode())")).as_u64().unwrap()
    }

    /// Opens a channel as `name`.
    pub fn open(&mut self, name: &str, pattern: &str) {
        self.run(&format!("{name} = Channel({pattern:?}); {name}.open()"));
    }

    /// Everything that waits in a channel.
    pub fn fetch_all(&mut self, name: &str) -> Vec<Received> {
        self.run(&format!("fetch_all({name})")).as_array().unwrap().iter().map(Received::of).collect()
    }

    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.fetch_all(name).into_iter().map(|message| String::from_utf8(message.data).unwrap()).collect()
    }

    pub fn topics(&mut self, name: &str) -> Vec<String> {
        self.fetch_all(name).into_iter().map(|message| message.topic).collect()
    }

    pub fn kill(&mut self) {
        self.0.kill();
    }
}

/// A message as formix-pubsub, or a peer, reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    pub id: u64,
    pub timestamp: u64,
    pub topic: String,
    pub headers: String,
    pub data: Vec<u8>,
}

impl Received {
    pub fn of(value: &Value) -> Received {
        Received {
            id: value["id"].as_u64().unwrap(),
            timestamp: value["timestamp"].as_u64().unwrap(),
            topic: value["topic"].as_str().unwrap().into(),
            headers: value["headers"].as_str().unwrap().into(),
            data: unhex(value["data"].as_str().unwrap()),
        }
    }
}

impl From<&Message> for Received {
    fn from(message: &Message) -> Received {
        Received {
            id: message.id(),
            timestamp: message.timestamp_us() as u64,
            topic: message.topic().into(),
            headers: message.headers_json().into(),
            data: message.data().to_vec(),
        }
    }
}

/// Another process that uses this library; see `peer.rs` for what it can be asked.
pub struct Peer(Asked);

impl Peer {
    pub fn start(home: &Path, transport: Transport) -> Peer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        match transport {
            Transport::Ring => command.env("PUBSUB_TRANSPORT", "ring"),
            Transport::Files => command.env("PUBSUB_TRANSPORT", "files"),
            Transport::Default => &mut command,
        };
        Peer(Asked::start(Peer::command(home, &mut command)))
    }

    /// One whose command line is appended to this command.
    pub fn start_by(home: &Path, mut wrapper: Command) -> Peer {
        wrapper.arg(std::env::current_exe().unwrap());
        Peer(Asked::start(Peer::command(home, &mut wrapper)))
    }

    fn command<'a>(home: &Path, command: &'a mut Command) -> &'a mut Command {
        command.args(["--exact", "peer::peer", "--nocapture", "--test-threads=1"]);
        // Empty counts as unset.
        command.env("INTEROP_PEER", home).env("PUBSUB_HOME", "")
    }

    pub fn ask(&mut self, question: Value) -> Value {
        self.0.ask(&question);
        self.0.answer()
    }

    /// What a question is answered that must not fail.
    pub fn run(&mut self, question: Value) -> Value {
        let mut answer = self.ask(question.clone());
        assert!(answer.get("kind").is_none(), "{question}: {answer}");
        answer["answer"].take()
    }

    /// The error that a question is answered with: its name and text.
    pub fn fail(&mut self, question: Value) -> (String, String) {
        let answer = self.ask(question.clone());
        let text = |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("{question}: {answer}")).to_string();
        (text("kind"), text("text"))
    }

    pub fn become_user(&mut self, user: u32, groups: &[u32]) {
        self.run(json!({"do": "become", "user": user, "groups": groups}));
    }

    pub fn publish(&mut self, topic: &str, data: &str) -> u64 {
        self.run(json!({"do": "publish", "topic": topic, "data": hex(data.as_bytes())})).as_u64().unwrap()
    }

    pub fn open(&mut self, pattern: &str) {
        self.run(json!({"do": "open", "topic": pattern}));
    }

    /// The contents of what waits in the channel that was opened last.
    pub fn texts(&mut self) -> Vec<String> {
        let found = self.run(json!({"do": "fetch"}));
        let text = |value| String::from_utf8(Received::of(value).data).unwrap();
        found.as_array().unwrap().iter().map(text).collect()
    }

    pub fn kill(&mut self) {
        self.0.kill();
    }
}

/// The Python that has formix-pubsub 1.0.0: `PUBSUB_FORMIX_PYTHON`, else the one that the project's set-up made, else one that
/// is made here, once.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        if let Some(python) = std::env::var_os("PUBSUB_FORMIX_PYTHON").filter(|python| !python.is_empty()) {
            let python = PathBuf::from(python);
            assert!(has_formix(&python), "PUBSUB_FORMIX_PYTHON, {}, has no formix-pubsub 1.0.0", python.display());
            return python;
        }
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/venv/bin/python");
        let own = Path::new(env!("CARGO_TARGET_TMPDIR")).join("formix-venv");
        let python = own.join("bin/python");
        if has_formix(&project) {
            return project;
        }
        if !has_formix(&python) {
            make_python(&own);
        }
        python
    })
}

fn has_formix(python: &Path) -> bool {
    let check = "import importlib.metadata as m; raise SystemExit(m.version('formix-pubsub') != '1.0.0')";
    let mut command = Command::new(python);
    command.args(["-c", check]).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn make_python(place: &Path) {
    let run = |program: PathBuf, args: &[&str]| {
        let result = Command::new(&program).args(args).output();
        let output =
            result.unwrap_or_else(|e| panic!("{}: {e}; these tests need Python 3.10 or later", program.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{} {args:?} failed; these tests need formix-pubsub 1.0.0: name a Python that has it in PUBSUB_FORMIX_PYTHON, or \
             make PyPI reachable\n{said}",
            program.display()
        );
    };
    // Made under another name, so that a run that is broken off leaves nothing that looks whole.
    let draft = place.with_extension(std::process::id().to_string());
    run("python3".into(), &["-m", "venv", draft.to_str().unwrap()]);
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "formix-pubsub==1.0.0"];
    run(draft.join("bin/python"), &pip);
    let _ = fs::remove_dir_all(place);
    fs::rename(&draft, place).unwrap();
}
