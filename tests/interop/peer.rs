//! What another process of this library does for a test: this test program run again.

use std::fs::File;
use std::io::{BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pubsub::{Channel, ChannelOptions, Error, FullPolicy, Publisher, PublisherOptions, StoreOptions};
use serde_json::{Value, json};

use crate::support::{Received, hex, unhex};

/// No test, but the other process: does nothing unless it is started as one.
#[test]
fn peer() {
    let Some(home) = std::env::var_os("INTEROP_PEER") else { return };
    // SAFETY: takes a number. A peer that hangs ends all the same.
    unsafe { libc::alarm(600) };
    // An empty home is the default store.
    let home = Some(PathBuf::from(home)).filter(|home| !home.as_os_str().is_empty());
    let mut peer = State { home, channels: Vec::new(), publisher: None, held: Vec::new() };
    println!();
    for line in std::io::stdin().lock().lines() {
        let question: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let reply = match peer.does(&question) {
            Ok(answer) => json!({"answer": answer}),
            Err(error) => json!({"kind": error.kind().name(), "text": error.to_string()}),
        };
        println!("{reply}");
        std::io::stdout().flush().unwrap();
    }
}

struct State {
    home: Option<PathBuf>,
    channels: Vec<Channel>,
    /// The last one, kept as a program would keep it.
    publisher: Option<Publisher>,
    held: Vec<i32>,
}

impl State {
    fn does(&mut self, question: &Value) -> Result<Value, Error> {
        let text = |field: &str| question[field].as_str().unwrap_or_default();
        let number = |field: &str| question[field].as_u64().unwrap_or_default();
        let home = self.home.as_deref();
        Ok(match text("do") {
            "become" => {
                let groups: Vec<u32> =
                    question["groups"].as_array().unwrap().iter().map(|g| g.as_u64().unwrap() as u32).collect();
                become_user(number("user") as u32, &groups);
                Value::Null
            }
            "umask" => {
                // SAFETY: cannot fail.
                unsafe { libc::umask(number("mask") as libc::mode_t) };
                Value::Null
            }
            "default sigpipe" => {
                // SAFETY: the default action is a valid handler. Rust programs ignore this signal, C programs do not.
                unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
                Value::Null
            }
            "old kernel" => {
                link_by_descriptor_no_more();
                Value::Null
            }
            "create" => {
                let group = Some(text("group")).filter(|group| !group.is_empty()).map(String::from);
                pubsub::create_store(home, &StoreOptions { mode: number("mode") as u32, group })?;
                Value::Null
            }
            "open" => {
                let policy = if text("full") == "drop" { FullPolicy::DropOldest } else { FullPolicy::Reject };
                let options = ChannelOptions {
                    full_policy: policy,
                    capacity_messages: number("capacity"),
                    home: self.home.clone(),
                    ..Default::default()
                };
                self.channels.push(Channel::open(text("topic"), &options)?);
                Value::Null
            }
            "fetch" => {
                let mut found = Vec::new();
                while let Some(message) = self.channels.last_mut().unwrap().fetch()? {
                    let Received { id, timestamp, topic, headers, data } = Received::from(&message);
                    let dropped = message.dropped_before();
                    let data = hex(&data);
                    found.push(json!({"id": id, "timestamp": timestamp, "topic": topic, "headers": headers,
                                      "data": data, "dropped": dropped}));
                }
                found.into()
            }
            "close" => {
                self.channels.pop().unwrap().close()?;
                Value::Null
            }
            "publish" => {
                if self.publisher.as_ref().is_none_or(|publisher| publisher.topic() != text("topic")) {
                    let options = PublisherOptions { home: self.home.clone(), ..Default::default() };
                    self.publisher = Some(Publisher::open(text("topic"), &options)?);
                }
                self.publisher.as_ref().unwrap().publish(&unhex(text("data")), None)?.into()
            }
            "open in rounds" => open_in_rounds(home, text("topic"), Path::new(text("bell")), number("rounds"))?.into(),
            "publish in rounds" => {
                publish_in_rounds(home, text("topic"), Path::new(text("bell")), number("rounds"))?.into()
            }
            "cleanup" => pubsub::cleanup(home)?.into(),
            "use up inotify" => {
                // SAFETY: takes flags only.
                while let fd @ 0.. = unsafe { libc::inotify_init1(libc::IN_CLOEXEC) } {
                    self.held.push(fd);
                }
                // SAFETY: as above, and a descriptor that is ours.
                json!(unsafe { (libc::inotify_init1(0), *libc::__errno_location()).1 } == libc::EMFILE)
            }
            other => panic!("asked to '{other}'"),
        })
    }
}

/// Becomes a user that is in no table, for good.
fn become_user(user: u32, groups: &[u32]) {
    // SAFETY: a valid list of groups; the other two take numbers.
    let result = unsafe { (libc::setgroups(groups.len(), groups.as_ptr()), libc::setgid(user), libc::setuid(user)) };
    assert_eq!(result, (0, 0, 0), "{}", std::io::Error::last_os_error());
}

/// From now on the kernel answers this process as those before 6.10 answer one without rights: no link is made from a mere
/// descriptor (`linkat` with `AT_EMPTY_PATH` is `ENOENT`).
fn link_by_descriptor_no_more() {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let answer = libc::BPF_RET | libc::BPF_K;
    // Offsets in struct seccomp_data: the number at 0, the low half of the fifth argument at 16 + 4 * 8.
    let mut filter = [
        instruction(load, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 3, libc::SYS_linkat as u32),
        instruction(load, 0, 0, 48),
        instruction(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, libc::AT_EMPTY_PATH as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOENT as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: a valid program, which the kernel copies; it holds for this thread, which is the one that publishes.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// A file of two counters that two processes hand the turn over with: the opener's, the publisher's.
pub struct Bell(File);

impl Bell {
    pub fn open(path: &Path) -> Bell {
        Bell(File::options().read(true).write(true).open(path).unwrap())
    }

    /// Made for the two of them.
    pub fn make(path: &Path) {
        std::fs::write(path, [0; 16]).unwrap();
        crate::support::set_mode(path, 0o666);
    }

    pub fn get(&self, counter: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, counter * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    pub fn set(&self, counter: u64, value: u64) {
        self.0.write_all_at(&value.to_ne_bytes(), counter * 8).unwrap();
    }

    pub fn wait(&self, counter: u64, value: u64) {
        let since = Instant::now();
        while self.get(counter) != value {
            assert!(since.elapsed().as_secs() < 300, "the other side does not take its turn");
            // Leaves the processor to the other side.
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Opens a channel again and again, each time that the publisher is at work; tells it in the moment in which `open` returns,
/// waits for it to have published, and answers in how many rounds the message was not there.
fn open_in_rounds(home: Option<&Path>, topic: &str, bell: &Path, rounds: u64) -> Result<u64, Error> {
    let bell = Bell::open(bell);
    let options = ChannelOptions { home: home.map(PathBuf::from), ..Default::default() };
    let mut missed = 0;
    for round in 1..=rounds {
        bell.set(0, 2 * round - 1);
        bell.wait(1, 2 * round - 1);
        let mut channel = Channel::open(topic, &options)?;
        bell.set(0, 2 * round);
        bell.wait(1, 2 * round);
        let wanted = format!("after {round}");
        let mut found = false;
        while let Some(message) = channel.fetch()? {
            found |= message.data() == wanted.as_bytes();
        }
        missed += u64::from(!found);
    }
    Ok(missed)
}

/// Publishes without pause while the opener opens, so that it has always looked at the store just now; once the opener has told
/// that its channel is open, the next message is the one that must arrive. Answers how often the publisher says that it did
/// not.
pub fn publish_in_rounds(home: Option<&Path>, topic: &str, bell: &Path, rounds: u64) -> Result<u64, Error> {
    let bell = Bell::open(bell);
    let options = PublisherOptions { home: home.map(PathBuf::from), ..Default::default() };
    let publisher = Publisher::open(topic, &options)?;
    let mut missed = 0;
    for round in 1..=rounds {
        bell.wait(0, 2 * round - 1);
        publisher.publish(b"before", None)?;
        bell.set(1, 2 * round - 1);
        let (mut taken, since) = (0, Instant::now());
        while bell.get(0) != 2 * round {
            assert!(since.elapsed().as_secs() < 300, "the opener does not take its turn");
            // An opener that is not scheduled for long must not find its queue full.
            if taken < 100 {
                taken += publisher.publish(b"before", None)?;
            }
        }
        missed += u64::from(publisher.publish(format!("after {round}").as_bytes(), None)? != 1);
        bell.set(1, 2 * round);
    }
    Ok(missed)
}
