//! What every subcommand is given, and what it can end with.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use pubsub::ErrorKind;

use crate::format::printable;

/// The options of every subcommand.
#[derive(clap::Args)]
pub struct Context {
    /// The store's directory [default: PUBSUB_HOME, else /dev/shm/pubsub]
    #[arg(long, global = true, value_name = "DIR", display_order = 100)]
    home: Option<PathBuf>,
    /// Say nothing on standard error unless something fails
    #[arg(short, long, global = true, display_order = 101)]
    quiet: bool,
}

impl Context {
    /// The store that `--home` names; `None` is the library's default.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The store's directory, for words.
    pub fn home_shown(&self) -> String {
        printable(self.home().unwrap_or_else(|| pubsub::home()).to_string_lossy().as_bytes())
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Words for a person, on standard error, unless `--quiet`.
    pub fn say(&self, words: &str) {
        if !self.quiet {
            // Standard error may be closed; there is nobody left to tell.
            let _ = writeln!(io::stderr(), "{words}");
        }
    }
}

/// How a subcommand ended when it did not fail.
pub enum Outcome {
    /// It did what it was asked to.
    Done,
    /// `sub`: the timeout passed before `--count` messages arrived; `request`: before a reply did.
    TooFew,
    /// `doctor`: it found something that is wrong.
    Faults,
    /// This signal ended it, in good order.
    Signal(i32),
}

/// Why a subcommand failed.
pub enum Failure {
    /// The command line asks for something that cannot be.
    Usage(String),
    /// It could not be done.
    Failed(String),
    /// Whoever read standard output has gone: the end of the work, not an error.
    ReaderGone,
    /// This signal came.
    Interrupted(i32),
}

impl From<pubsub::Error> for Failure {
    fn from(error: pubsub::Error) -> Failure {
        match error.kind() {
            // The library's arguments come from the command line and from nowhere else.
            ErrorKind::InvalidTopic | ErrorKind::InvalidHeaders | ErrorKind::InvalidArgument => {
                Failure::Usage(error.to_string())
            }
            _ => Failure::Failed(error.to_string()),
        }
    }
}

impl Failure {
    /// The failure to do `what`, such as "reading standard input".
    pub fn io(what: &str, error: &io::Error) -> Failure {
        Failure::Failed(format!("{what}: {error}"))
    }

    /// The failure to write standard output.
    pub fn output(error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderGone,
            _ => Failure::io("writing standard output", error),
        }
    }
}

/// Reports a failure: one line, whatever bytes of the store or of the command line stand in it.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "pubsub: {}", printable(text.as_bytes()));
}

/// Reports a failure whose text is our own and has several lines.
pub fn complain_in_lines(text: &str) {
    let _ = writeln!(io::stderr(), "pubsub: {text}");
}

/// `count` and the noun, in the plural unless it is one.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
