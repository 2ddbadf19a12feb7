//! Processes of this same program that hold channels or answer messages.

#![forbid(unsafe_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use pubsub::{Channel, ChannelOptions, Publisher, PublisherOptions, Transport};

use crate::Result;

/// Channels that one process of a crowd holds: each takes two descriptors, of which a process has 1,024 at least.
const PER_PROCESS: usize = 400;
/// What tells an echo to end.
pub const STOP: &[u8] = b"stop";

/// A process that ends when this goes.
pub struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Peer {
    /// Starts this program in another role and waits until it says that it is ready.
    fn start(arguments: &[&str]) -> Result<Peer> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("no pipe from a helper process")?;
        let peer = Peer { child, stdin };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() == "ready" { Ok(peer) } else { Err(format!("the helper {arguments:?} failed").into()) }
    }

    /// A process that answers messages on `topic`.ping by the same on `topic`.pong.
    pub fn echo(home: &Path, topic: &str) -> Result<Peer> {
        Peer::start(&["--role", "echo", path(home)?, topic])
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// Processes that hold `channels` open channels which match nothing that is measured.
pub fn crowd(home: &Path, channels: usize) -> Result<Vec<Peer>> {
    let starts = (0..channels).step_by(PER_PROCESS);
    starts
        .map(|from| {
            let count = PER_PROCESS.min(channels - from);
            Peer::start(&["--role", "crowd", path(home)?, &from.to_string(), &count.to_string()])
        })
        .collect()
}

fn path(home: &Path) -> Result<&str> {
    home.to_str().ok_or_else(|| "the directory for the benchmark is no UTF-8".into())
}

pub fn channel_options(home: &Path) -> ChannelOptions {
    ChannelOptions { transport: Transport::Files, home: Some(home.into()), ..Default::default() }
}

pub fn publisher_options(home: &Path) -> PublisherOptions {
    PublisherOptions { home: Some(home.into()), ..Default::default() }
}

/// What a process started by [`Peer::start`] does.
pub fn play(role: &[String]) -> Result<()> {
    let role: Vec<&str> = role.iter().map(String::as_str).collect();
    match role[..] {
        ["crowd", home, from, count] => hold(Path::new(home), from.parse()?, count.parse()?),
        ["echo", home, topic] => answer(Path::new(home), topic),
        _ => Err(format!("no role {role:?}").into()),
    }
}

fn hold(home: &Path, from: usize, count: usize) -> Result<()> {
    let options = channel_options(home);
    // Every kind of pattern, some of which share words with the topics that are measured.
    let pattern = |i: usize| match i % 4 {
        0 => format!("other.{i}"),
        1 => format!("bench.{i}.="),
        2 => format!("=.host{i}.cpu"),
        _ => format!("bench.x{i}.+"),
    };
    let channels: Vec<Channel> =
        (from..from + count).map(|i| Channel::open(&pattern(i), &options)).collect::<std::result::Result<_, _>>()?;
    ready()?;
    // Until the parent closes the pipe, or ends.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(channels);
    Ok(())
}

fn answer(home: &Path, topic: &str) -> Result<()> {
    let mut channel = Channel::open(&format!("{topic}.ping"), &channel_options(home))?;
    let publisher = Publisher::open(&format!("{topic}.pong"), &publisher_options(home))?;
    ready()?;
    while let Some(message) = channel.fetch_wait(None)? {
        if message.data() == STOP {
            break;
        }
        publisher.publish(message.data(), None)?;
    }
    Ok(())
}

fn ready() -> Result<()> {
    println!("ready");
    Ok(std::io::stdout().flush()?)
}
