//! The C programs in README.md compile without a warning against the header and the library, run, and succeed.

#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fenced blocks of this language, in order.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}");
    let mut lines = text.lines();
    let mut blocks = Vec::new();
    while lines.any(|line| line.trim_end() == fence) {
        let block: Vec<&str> = lines.by_ref().take_while(|line| line.trim_end() != "```").collect();
        blocks.push(block.join("\n") + "\n");
    }
    blocks
}

/// Runs it; what it printed. Panics with all of that when it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The shared library, built by cargo as a user would.
fn library() -> PathBuf {
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(root()).args(["build", "--lib", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let said = run(&mut build);
    said.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["filenames"].as_array().cloned())
        .flatten()
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .find(|file| file.ends_with("libpubsub.so"))
        .expect("cargo builds libpubsub.so")
}

/// A directory in memory, where there is one.
fn memory() -> tempfile::TempDir {
    let parent = Some(PathBuf::from("/dev/shm")).filter(|dir| dir.is_dir()).unwrap_or_else(env::temp_dir);
    tempfile::Builder::new().prefix("t-readme-").tempdir_in(parent).expect("a directory for a store")
}

#[test]
fn the_c_programs_in_the_readme_compile_and_run() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let programs = blocks(&readme, "c");
    assert!(!programs.is_empty(), "README.md has no ```c block");
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    // By its soname: what the program asks for at run time.
    let library = library();
    for name in ["libpubsub.so", "libpubsub.so.0"] {
        std::os::unix::fs::symlink(&library, scratch.path().join(name)).expect("a link to the library");
    }
    let in_scratch = |option: &str| {
        let mut option = OsString::from(option);
        option.push(scratch.path());
        option
    };
    for (i, program) in programs.iter().enumerate() {
        let source = scratch.path().join(format!("readme-{i}.c"));
        let executable = scratch.path().join(format!("readme-{i}"));
        fs::write(&source, program).expect("writing the program");
        run(Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()))
            .args(["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(root().join("include"))
            .args(["-o".as_ref(), executable.as_os_str(), source.as_os_str()])
            .args([in_scratch("-L"), "-lpubsub".into(), in_scratch("-Wl,-rpath,")]));
        let store = memory();
        let printed = run(Command::new(&executable).env("PUBSUB_HOME", store.path().join("store")));
        for line in printed.lines() {
            assert!(readme.contains(&format!("`{line}`")), "README.md does not say that program {i} prints '{line}'");
        }
    }
}
