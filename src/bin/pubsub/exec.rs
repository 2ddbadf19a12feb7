//! A command of the shell's, run on a message.

#![forbid(unsafe_code)]

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::context::Failure;
use crate::signals::Signals;

/// The largest content of a message.
const LARGEST: usize = u32::MAX as usize;
/// How often a command that has closed its output is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How long a command that was asked to end may take for it.
const GRACE: Duration = Duration::from_secs(2);

/// What to run.
pub struct Job<'a> {
    /// For `sh -c`.
    pub command: &'a str,
    pub input: &'a [u8],
    pub topic: &'a str,
    pub headers: &'a str,
    /// The store, unless it is the default one.
    pub home: Option<&'a Path>,
    /// When it is killed.
    pub deadline: Option<Instant>,
}

/// What came of it.
pub struct Done {
    pub output: Vec<u8>,
    pub ended: Ended,
}

/// How it ended.
pub enum Ended {
    By(ExitStatus),
    TooLate,
    TooLarge,
    /// A signal told this process to end.
    Signalled,
}

/// Runs it to its end.
pub fn run(job: &Job<'_>, signals: &mut Signals) -> Result<Done, Failure> {
    let mut command = Command::new("sh");
    // A group of its own, so that what it starts can be ended with it.
    command.args(["-c", job.command]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.env("PUBSUB_TOPIC", job.topic).env("PUBSUB_HEADERS", job.headers);
    command.envs(job.home.map(|home| ("PUBSUB_HOME", home)));
    let mut child = command.spawn().map_err(|error| Failure::io("running sh", &error))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = job.input.to_vec();
        // By a thread, since it may be more than a pipe holds. A command need not read it: then this fails.
        thread::spawn(move || stdin.write_all(&input));
    }
    let mut output = Vec::new();
    let ended = watch(&mut child, &mut output, job.deadline, signals);
    if !matches!(ended, Ok(Watched::Gone(_))) {
        end(&child, Signal::SIGKILL);
        child.wait().map_err(|error| Failure::io("waiting for the command", &error))?;
    }
    let (Watched::Gone(ended) | Watched::Running(ended)) = ended?;
    Ok(Done { output, ended })
}

enum Watched {
    Gone(Ended),
    /// To be killed, whatever it does.
    Running(Ended),
}

fn watch(
    child: &mut Child,
    output: &mut Vec<u8>,
    mut deadline: Option<Instant>,
    signals: &mut Signals,
) -> Result<Watched, Failure> {
    let mut stdout = child.stdout.take();
    let mut ended_as = None; // once it was asked to end
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if stdout.is_none() {
            if let Some(status) = child.try_wait().map_err(|error| Failure::io("waiting for the command", &error))? {
                return Ok(Watched::Gone(ended_as.unwrap_or(Ended::By(status))));
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(Watched::Running(ended_as.unwrap_or(Ended::TooLate)));
        }
        if signals.caught().is_some() && ended_as.is_none() {
            signals.count();
            end(child, Signal::SIGTERM);
            ended_as = Some(Ended::Signalled);
            deadline = Some(Instant::now() + GRACE);
            continue;
        }
        let longest = if stdout.is_some() { Duration::from_secs(60) } else { LOOK };
        // Rounded up, so that the last fraction of a millisecond is not polled away.
        let timeout = left.unwrap_or(longest).min(longest).as_nanos().div_ceil(1_000_000) as u16;
        let mut fds = vec![PollFd::new(signals.fd(), PollFlags::POLLIN)];
        fds.extend(stdout.as_ref().map(|stdout| PollFd::new(stdout.as_fd(), PollFlags::POLLIN)));
        match poll(&mut fds, PollTimeout::from(timeout)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::io("waiting for the command", &errno.into())),
        }
        let [signal, readable] = [0, 1].map(|i| fds.get(i).and_then(PollFd::any).unwrap_or(false));
        if signal && ended_as.is_some() {
            // A second one.
            return Ok(Watched::Running(Ended::Signalled));
        }
        if !readable {
            continue;
        }
        let Some(pipe) = &mut stdout else { continue };
        match pipe.read(&mut buffer) {
            Ok(0) => stdout = None,
            Ok(n) if output.len() + n > LARGEST => {
                output.clear();
                return Ok(Watched::Running(Ended::TooLarge));
            }
            Ok(n) => output.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::io("reading from the command", &error)),
        }
    }
}

/// Sends a signal to the command and what it started.
fn end(child: &Child, signal: Signal) {
    // It has not been waited for, so the group is still its own. Nobody left is fine.
    let _ = killpg(Pid::from_raw(child.id() as i32), signal);
}
