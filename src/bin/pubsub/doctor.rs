//! `pubsub doctor`: finds what is wrong with a store and says what to do.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::pipe;
use pubsub::{Fault, Finding};
use serde_json::json;

use crate::context::{Context, Failure, Outcome, counted};
use crate::disk::Disk;
use crate::format::printable;
use crate::output;
use crate::table::bytes;

/// Less space than this is too little: one queue's worth of messages.
const SPACE: u64 = 16 << 20;
/// Or less than this part of the file system, if that is more; of its inodes likewise.
const PART: u64 = 20;
/// A file system smaller than this has no room for two full queues of the default size: what containers have.
const SMALL: u64 = 128 << 20;
/// A soft limit of open files below this is lower than any system's default.
const DESCRIPTORS: u64 = 256;
/// Bytes of a FIFO unless its user has too many: 8,192 ids.
const FIFO: i32 = 65_536;

/// Find what is wrong with a store, or would be, and say what to do
#[derive(clap::Args)]
#[command(after_help = "\
A line is 'wrong' or 'note', the name of what was found, where, what it is and what to do. Notes are things to know;
the exit code is 4 when something is wrong and 0 when there are notes at most. Nothing is changed.

It looks at the file system (kind, space, inodes), at the limits of this process (open files, inotify instances,
FIFOs), and at everything in the store: permissions and owners, pages of other versions or corrupt, dead and full
channels, what killed processes left half done, entries that do not belong there. docs/operations.md has a paragraph
for each name.

With --json, a line is an object of severity (\"wrong\" or \"note\"), name, path, text, advice.

Examples:
  pubsub doctor
  pubsub doctor --home /srv/pubsub --json | jq -r .name
  pubsub doctor -q >/dev/null || alert            its exit code is enough")]
pub struct Args {
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

/// A finding as it is told.
struct Line {
    wrong: bool,
    name: &'static str,
    path: String,
    text: String,
    advice: String,
}

pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let home = context.home().unwrap_or_else(|| pubsub::home());
    let mut lines = Vec::new();
    file_system(home, &mut lines);
    limits(&mut lines);
    lines.extend(pubsub::examine(context.home())?.into_iter().map(line));

    let mut text = String::new();
    for line in &lines {
        let severity = if line.wrong { "wrong" } else { "note" };
        if args.json {
            let object = json!({
                "severity": severity, "name": line.name, "path": line.path, "text": line.text, "advice": line.advice,
            });
            text += &format!("{object}\n");
        } else {
            let words = format!("{} {}; {}", line.path, line.text, line.advice);
            text += &format!("{severity:<5}  {:<15}  {}\n", line.name, printable(words.as_bytes()));
        }
    }
    output::print(text.as_bytes())?;
    let wrong = lines.iter().filter(|line| line.wrong).count() as u64;
    let notes = lines.len() as u64 - wrong;
    context.say(&match (wrong, notes) {
        (0, 0) => format!("{}: nothing is wrong", context.home_shown()),
        (0, _) => format!("{}: nothing is wrong; {}", context.home_shown(), counted(notes, "note")),
        _ => format!("{}: {wrong} wrong, {}", context.home_shown(), counted(notes, "note")),
    });
    Ok(if wrong > 0 { Outcome::Faults } else { Outcome::Done })
}

/// What to call a finding in the store, how bad it is, and what to do.
fn line(finding: Finding) -> Line {
    const GC: &str = "run 'pubsub gc'";
    let (wrong, name, advice) = match finding.fault {
        Fault::NoStore => (false, "no-store", "nothing to do, unless you expected one: see PUBSUB_HOME and --home"),
        Fault::WrongType => (true, "wrong-type", "remove it; what belongs there is made again"),
        Fault::NoAccess => (true, "no-access", "let its owner allow it, or share the store: 'pubsub init --group'"),
        Fault::WrongOwner => (true, "wrong-owner", "change it (chown), or end the program that made it and remove it"),
        Fault::WrongMode => (true, "wrong-mode", "change it (chmod); to share a store, make one with 'pubsub init'"),
        Fault::OtherVersion => {
            (true, "other-version", "use one version of libpubsub in every program; restart those that have another")
        }
        Fault::CorruptPage => (true, "corrupt-page", "end the program whose it is and run 'pubsub gc', or remove it"),
        Fault::ClockSetBack => {
            (false, "clock-set-back", "nothing: ids go on from there, and tell no time until the clock is there")
        }
        Fault::DeadChannel => (true, "dead-channel", GC),
        Fault::DeadFormixChannel => (true, "dead-formix", GC),
        Fault::FormixChannel => (false, "formix-channel", "nothing: formix-pubsub programs take part"),
        Fault::NoQueue => (true, "no-queue", "restart its program"),
        Fault::QueueFull => {
            (true, "queue-full", "look why its program is slow or stopped, or give it a larger capacity")
        }
        Fault::SetAside => (true, "set-aside", "look at them to learn who writes them; they go with the channel"),
        Fault::HalfMade => (true, "half-made", "run 'pubsub gc'; what stays is to be removed"),
        Fault::HalfRemoved => (true, "half-removed", GC),
        Fault::FormixDraft => (true, "formix-draft", GC),
        Fault::Stray => (true, "stray", "remove it, if you know what it is"),
        _ => (true, "unknown", "ask for a newer version of this command"),
    };
    Line {
        wrong,
        name,
        path: finding.path.to_string_lossy().into_owned(),
        text: finding.detail,
        advice: advice.to_owned(),
    }
}

/// The file system of the store.
fn file_system(home: &Path, lines: &mut Vec<Line>) {
    let path = home.to_string_lossy().into_owned();
    let mut add = |wrong, name, text: String, advice: &str| {
        lines.push(Line { wrong, name, path: path.clone(), text, advice: advice.to_owned() });
    };
    let disk = match Disk::of(home) {
        Ok(disk) => disk,
        Err(errno) => return add(true, "no-access", format!("cannot be looked at: {errno}"), "check its path"),
    };
    if disk.is_network {
        let text = format!("is on a network file system ({})", disk.kind);
        add(true, "network", text, "put the store on this machine: FIFOs and locks do not cross hosts");
    }
    if disk.is_read_only {
        add(true, "read-only", "is on a file system that is mounted read-only".to_owned(), "mount it for writing");
    }
    // A file system that does not count has no bounds to reach.
    if disk.bytes > 0 && disk.available_bytes < SPACE.max(disk.bytes / PART).min(disk.bytes / 2) {
        let text = format!("has {} left of {}", bytes(disk.available_bytes), bytes(disk.bytes));
        add(
            true,
            "space",
            text,
            "free some, enlarge the file system, or run 'pubsub gc'; publishers get STORE_FULL soon",
        );
    } else if disk.bytes > 0 && disk.bytes < SMALL {
        let text = format!("is on a file system of {}; one full queue may hold 64 MiB", bytes(disk.bytes));
        add(false, "small", text, "enlarge it (docker run --shm-size), or open channels with a smaller capacity");
    }
    if disk.inodes > 0 && disk.available_inodes < disk.inodes / PART {
        let text = format!("has {} inodes left of {}", disk.available_inodes, disk.inodes);
        add(true, "inodes", text, "remove files, or mount it with more (tmpfs: nr_inodes)");
    }
}

/// The limits of this process, which those of its user's other programs are like.
fn limits(lines: &mut Vec<Line>) {
    let mut add = |name, text: String, advice: &str| {
        lines.push(Line { wrong: true, name, path: "this process".to_owned(), text, advice: advice.to_owned() });
    };
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < DESCRIPTORS {
            let text = format!("may open {soft} files; a channel takes 2, and each that is published to 1");
            add("descriptors", text, "raise it: ulimit -n 1024, or LimitNOFILE= of its service");
        }
    }
    if let Err(Errno::EMFILE) = Inotify::init(InitFlags::IN_CLOEXEC) {
        add(
            "inotify",
            "gets no inotify instance, of which each publishing process takes one: publishing works, but slowly"
                .to_owned(),
            "raise it: sysctl fs.inotify.max_user_instances=1024",
        );
    }
    // A new pipe has what a new FIFO would have.
    let size = pipe().and_then(|(reader, _writer)| fcntl(reader.as_fd(), FcntlArg::F_GETPIPE_SZ));
    if let Ok(size) = size {
        if size < FIFO {
            let text = format!("gets FIFOs of {size} bytes instead of {FIFO}: its user has too many pipes open");
            add("pipes", text, "raise it: sysctl fs.pipe-user-pages-soft=65536");
        }
    }
}
