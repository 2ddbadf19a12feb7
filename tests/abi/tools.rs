//! Programs that the tests run, and places for what they write.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The C compiler.
pub fn cc() -> Command {
    Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
}

/// The C++ compiler.
pub fn cxx() -> Command {
    Command::new(env::var_os("CXX").unwrap_or_else(|| "c++".into()))
}

/// A new directory, for as long as the value lives, for what the compiler writes.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under the target directory")
}

/// A name in a new directory in memory, for a store; the store itself is not there yet.
pub fn store() -> (tempfile::TempDir, PathBuf) {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let dir = tempfile::Builder::new().prefix("t-abi-").tempdir_in(parent).expect("a directory for a store");
    let store = dir.path().join("store");
    (dir, store)
}

/// Runs it; what it printed. Panics with all of that when it fails.
pub fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = match command.output() {
        Ok(output) => output,
        Err(e) => panic!("{command:?} cannot be started: {e}"),
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?} ended with {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// Whether a program can be started.
pub fn there_is(program: impl AsRef<OsStr>) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
