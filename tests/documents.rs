//! What the documents say is so: the tests that they name exist, and the bytes that they show are a message.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pubsub::{Channel, ChannelOptions, HeaderValue};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// What stands between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// A line that begins with an arrow names a file and tests in it: `fn` in Rust, a function in C, text elsewhere.
#[test]
fn the_tests_that_the_promises_name_exist() {
    let mut files = BTreeMap::new();
    let mut missing = Vec::new();
    let semantics = read("docs/semantics.md");
    for line in semantics.lines().filter(|line| line.trim_start().starts_with('→')) {
        let mut names = quoted(line);
        let file = names.next().unwrap_or_else(|| panic!("no file in: {line}"));
        // A file that is not there has none of the tests.
        let text = files.entry(file).or_insert_with(|| fs::read_to_string(root().join(file)).unwrap_or_default());
        for name in names {
            let there = match Path::new(file).extension().and_then(|ending| ending.to_str()) {
                Some("rs") => text.contains(&format!("fn {name}(")),
                Some("c") => text.contains(&format!("{name}(")),
                _ => text.contains(name),
            };
            if !there {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    assert!(files.len() > 5, "docs/semantics.md names tests in {} files only", files.len());
    assert!(missing.is_empty(), "docs/semantics.md names tests that do not exist: {missing:#?}");
}

#[test]
fn every_promise_is_followed_by_a_test() {
    let semantics = read("docs/semantics.md");
    let lines: Vec<&str> = semantics.lines().collect();
    let mut decided = false;
    let mut bare = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        // What was decided where the design is silent may stand without one.
        decided = (decided || line.starts_with("Decided here")) && !line.starts_with("## ");
        if line.starts_with("- ") && !decided {
            let proof = lines[i + 1..].iter().find(|line| !line.starts_with("  ") || line.starts_with("  →"));
            if !proof.is_some_and(|line| line.starts_with("  →")) {
                bare.push(line);
            }
        }
    }
    assert!(bare.is_empty(), "no test follows these promises: {bare:#?}");
}

#[test]
fn the_message_in_the_description_of_the_format_is_one() {
    let page = read("docs/store-format.md");
    let block = page.split("```hex message\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the hex block");
    let bytes: Vec<u8> = block
        .lines()
        .flat_map(|line| line.split('#').next().unwrap_or_default().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).expect("a byte in hex"))
        .collect();

    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
    let home = tempfile::Builder::new().prefix("t-documents-").tempdir_in(parent).unwrap();
    let options = ChannelOptions { home: Some(home.path().into()), ..ChannelOptions::default() };
    let mut channel = Channel::open("news.=", &options).unwrap();
    // As the page says that another program may do it: link, then ring.
    let id: u64 = 7_353_634_020_377_358_336;
    let draft = home.path().join("tmp/1");
    fs::write(&draft, &bytes).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o600)).unwrap();
    fs::hard_link(&draft, channel.path().join(id.to_string())).unwrap();
    fs::write(channel.path().join("queue"), id.to_be_bytes()).unwrap();

    let message = channel.fetch().unwrap().expect("the message");
    assert_eq!((message.id(), message.timestamp_us()), (id, 1_795_320_805_756_191));
    assert_eq!((message.topic(), message.data()), ("news.sports", &b"3:1"[..]));
    assert_eq!(message.headers().get("lap"), Some(&HeaderValue::Int(3)));
    assert!(channel.fetch().unwrap().is_none());
    assert_eq!(channel.stats().unwrap().malformed, 0);
}
