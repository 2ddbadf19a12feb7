//! The C programs beside this file, against the shared and the static library, alone and under memory checkers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::library::library;
use crate::tools::{cc, root, run, scratch, store, there_is};

const PROGRAMS: [&str; 5] = ["basics", "bad_arguments", "concurrency", "topics", "request"];

fn compile(program: &str, flags: &[&str], link: Vec<String>, dir: &Path) -> PathBuf {
    let executable = dir.join(program);
    run(cc()
        .args(["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"])
        .arg(root().join("include"))
        .args(flags)
        .args(["-o".as_ref(), executable.as_os_str()])
        .arg(root().join("tests/abi").join(format!("{program}.c")))
        .args(link));
    executable
}

/// Runs a program with a store of its own. Nothing of its channels and messages is left in there. `transport`: as in the
/// environment; empty is the default.
fn run_with_store(command: &mut Command, transport: &str) {
    let (_dir, store) = store();
    let said = run(command.env("PUBSUB_HOME", &store).env("PUBSUB_TRANSPORT", transport));
    assert!(said.ends_with("passed\n"), "{command:?} printed:\n{said}");
    let names = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    let mut left = names(&store);
    left.retain(|name| name != ".pubsub" && name != "tmp");
    left.extend(names(&store.join("tmp")));
    assert!(left.is_empty(), "{command:?} left {left:?}");
}

#[test]
fn c_programs_work_with_the_shared_library() {
    for program in PROGRAMS {
        let dir = scratch();
        let executable = compile(program, &[], library().link_shared(dir.path()), dir.path());
        for transport in ["", "files"] {
            run_with_store(&mut Command::new(&executable), transport);
        }
    }
}

#[test]
fn c_programs_work_with_the_static_library() {
    for program in PROGRAMS {
        let dir = scratch();
        let executable = compile(program, &[], library().link_static(), dir.path());
        run_with_store(&mut Command::new(executable), "");
    }
}

#[test]
fn valgrind_finds_no_error_and_no_leak_in_the_c_programs() {
    assert!(there_is("valgrind"), "valgrind is missing: install it (Debian: apt-get install valgrind)");
    for program in PROGRAMS {
        let dir = scratch();
        let executable = compile(program, &[], library().link_shared(dir.path()), dir.path());
        run_with_store(
            Command::new("valgrind")
                .args(["--quiet", "--error-exitcode=9", "--leak-check=full"])
                .args(["--errors-for-leak-kinds=definite,indirect", "--show-leak-kinds=definite,indirect"])
                .args(["--fair-sched=try"])
                .arg(executable),
            "",
        );
    }
}

#[test]
fn address_sanitizer_finds_no_error_and_no_leak_in_the_c_programs() {
    for program in PROGRAMS {
        let dir = scratch();
        let flags = ["-fsanitize=address", "-fno-omit-frame-pointer"];
        let executable = compile(program, &flags, library().link_shared(dir.path()), dir.path());
        run_with_store(Command::new(executable).env("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0"), "");
    }
}
