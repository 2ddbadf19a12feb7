//! `include/pubsub.h` as a file: it is what the code generates, it compiles everywhere, and so do its examples.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tools::{cc, cxx, root, run, scratch};

fn header() -> String {
    fs::read_to_string(root().join("include/pubsub.h")).expect("include/pubsub.h")
}

#[test]
fn the_header_is_what_the_code_generates() {
    let generated = include_str!(concat!(env!("OUT_DIR"), "/pubsub.h"));
    if header() != generated {
        let (ours, generated) = (header(), generated.to_owned());
        let differing = ours.lines().zip(generated.lines()).position(|(a, b)| a != b).map_or(0, |line| line + 1);
        panic!(
            "include/pubsub.h differs from what src/ffi generates (line {differing}).\n\
             Make it anew, look at the difference, and commit it:\n    PUBSUB_WRITE_HEADER=1 cargo build --lib"
        );
    }
}

fn compile(mut compiler: Command, flags: &[&str], source: &Path) {
    run(compiler
        .args(flags)
        .args(["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(source));
}

#[test]
fn the_header_compiles_alone_and_twice_in_strict_c_and_cpp() {
    let dir = scratch();
    let source = dir.path().join("twice.c");
    let text = "#include \"pubsub.h\"\n#include \"pubsub.h\"\n\
                ps_store_options a = PS_STORE_OPTIONS_INIT;\nps_channel_options b = PS_CHANNEL_OPTIONS_INIT;\n\
                ps_publisher_options c = PS_PUBLISHER_OPTIONS_INIT;\n";
    fs::write(&source, text).expect("writing a source file");
    for standard in ["-std=c99", "-std=c11", "-std=gnu17"] {
        compile(cc(), &[standard, "-pedantic", "-Wstrict-prototypes"], &source);
    }
    for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
        compile(cxx(), &["-x", "c++", standard, "-pedantic"], &source);
    }
}

#[test]
fn the_examples_in_the_header_compile_as_c_and_cpp() {
    let header = header();
    let mut source = String::from("#include <stdio.h>\n#include \"pubsub.h\"\n");
    let mut lines = header.lines().map(|line| line.strip_prefix(" * ").unwrap_or_default());
    let mut examples = 0;
    while lines.any(|line| line == "```c") {
        examples += 1;
        let body: Vec<&str> = lines.by_ref().take_while(|&line| line != "```").collect();
        let is_file = body.contains(&"}") && body.iter().any(|line| defines_a_function(line));
        let body = body.join("\n");
        source +=
            &if is_file { format!("{body}\n") } else { format!("void example_{examples}(void) {{\n{body}\n}}\n") };
    }
    assert!(examples >= 10, "only {examples} examples found");
    let dir = scratch();
    let path = dir.path().join("examples.c");
    fs::write(&path, source).expect("writing the examples");
    compile(cc(), &["-std=c99", "-D_POSIX_C_SOURCE=200809L"], &path);
    compile(cxx(), &["-x", "c++", "-std=c++17"], &path);
}

fn defines_a_function(line: &str) -> bool {
    let statement = ["if ", "for ", "while ", "} ", " "].iter().any(|start| line.starts_with(start));
    !statement && line.contains('(') && line.ends_with(") {")
}

#[test]
fn the_header_speaks_c() {
    let header = header();
    for rust in ["# Safety", "[`", "Option<", "Result<", "::", "u64", "usize"] {
        let line = header.lines().find(|line| line.replace("uint64_t", "").contains(rust));
        assert_eq!(line, None, "'{rust}' is no C");
    }
}
