//! How fast the files transport is, next to formix-pubsub and to the bare system calls, in one run.
//!
//! `cargo bench --bench files` prints a table; see `benches/README.md` for the options and for what each row means.

#![forbid(unsafe_code)]

mod bare;
mod formix;
mod measure;
mod peers;
mod report;
mod rounds;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Anything that ends a benchmark is told to a person and not handled.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("files benchmark: {error}");
            ExitCode::FAILURE
        }
    }
}

/// False: it ran, and missed a promise that it was told to check.
fn run(arguments: &[String]) -> Result<bool> {
    if let [flag, role @ ..] = arguments {
        if flag == "--role" && role.first().is_some_and(|role| role != "measure") {
            return peers::play(role).map(|()| true);
        }
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if !has("--bench") {
        // `cargo test --all-targets` runs it too: tests do not depend on time.
        println!("run by 'cargo bench --bench files'");
        return Ok(true);
    }
    if let Some(unknown) =
        arguments.iter().find(|a| !matches!(a.as_str(), "--bench" | "--check" | "--quick" | "--role" | "measure"))
    {
        return Err(format!("unknown argument '{unknown}'; there are --check and --quick").into());
    }
    if has("--role") {
        let dir = PathBuf::from(std::env::var_os("PUBSUB_HOME").ok_or("no PUBSUB_HOME")?);
        let dir = dir.parent().ok_or("PUBSUB_HOME has no parent")?;
        return measure::run(dir, has("--quick"))?.print(has("--check"));
    }
    // The default store is decided by the environment, which only a process to come can be given.
    let dir = match std::env::var_os("PUBSUB_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()),
    }?;
    let status = Command::new(std::env::current_exe()?)
        .args(arguments)
        .args(["--role", "measure"])
        .env("PUBSUB_HOME", dir.path().join("alone"))
        .status()?;
    Ok(status.success())
}
