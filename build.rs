//! The library's soname, and its header.
//!
//! The header is generated into OUT_DIR by every build, so that a test can compare it with include/pubsub.h, and
//! written there only when asked to (PUBSUB_WRITE_HEADER=1): a build of the library changes no source file.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// In the order in which the header declares them.
const NOUNS: [&str; 9] = ["error", "store", "headers", "message", "channel", "stats", "publisher", "topics", "rpc"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=src/ffi");
    println!("cargo:rerun-if-env-changed=PUBSUB_WRITE_HEADER");

    // Until 1.0, when the ABI is frozen. Elsewhere there are no sonames.
    if env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libpubsub.so.0");
    }

    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let header = header(&root);
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("pubsub.h"), &header).expect("writing the header into OUT_DIR");
    if env::var_os("PUBSUB_WRITE_HEADER").is_some_and(|value| value == "1") {
        fs::write(root.join("include/pubsub.h"), &header).expect("writing include/pubsub.h");
    }
}

fn header(root: &Path) -> String {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("reading cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    // File by file, which needs no `cargo metadata` (and hence no network and no lock) and keeps the order.
    for noun in NOUNS {
        builder = builder.with_src(root.join(format!("src/ffi/{noun}.rs")));
    }
    let mut header = Vec::new();
    builder.generate().expect("generating the header").write(&mut header);
    let header = String::from_utf8(header).expect("a header in UTF-8");
    tidied(&header)
}

/// One line for a comment that has one, one blank line where there are more, and negative numbers in parentheses.
fn tidied(header: &str) -> String {
    let lines: Vec<&str> = header.lines().map(str::trim_end).collect();
    let mut tidy = String::new();
    let mut at = 0;
    while let Some(&line) = lines.get(at) {
        at += 1;
        if line.trim_start() == "/**" && lines.get(at + 1).is_some_and(|end| end.trim_start() == "*/") {
            let text = lines[at].trim_start().trim_start_matches('*').trim_start();
            tidy += &format!("{line} {text} */\n");
            at += 2;
        } else if !(line.is_empty() && tidy.ends_with("\n\n")) {
            tidy += &parenthesised(line);
            tidy.push('\n');
        }
    }
    tidy
}

/// A negative number as a macro's value belongs into parentheses, and cbindgen sets none.
fn parenthesised(line: &str) -> String {
    match line.strip_prefix("#define ").and_then(|rest| rest.split_once(' ')) {
        Some((name, value)) if value.starts_with('-') => format!("#define {name} ({value})"),
        _ => line.to_owned(),
    }
}
