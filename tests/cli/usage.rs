//! Command lines that are wrong, and help.

use crate::support::{Store, exists};

#[test]
fn wrong_command_lines_are_exit_code_two_and_say_what_is_wrong() {
    let store = Store::new();
    let wrong: &[(&[&str], &[&str])] = &[
        (&["pub", "a"], &["DATA"]),
        (&["pub"], &["TOPIC"]),
        (&["pub", "a b", "x"], &["a b"]),
        (&["pub", "a.=", "x"], &["a.="]),
        (&["pub", "", "x"], &["topic"]),
        (&["pub", "a", "x", "y"], &["y"]),
        (&["pub", "--lines", "a", "data"], &["--lines", "DATA"]),
        (&["pub", "-H", "novalue", "a", "x"], &["novalue", "NAME=VALUE"]),
        (&["pub", "-H", "=1", "a", "x"], &["=1"]),
        (&["pub", "--json", "[1]", "a", "x"], &["header", "object"]),
        (&["pub", "--json", "{\"n\":", "a", "x"], &["header"]),
        (&["pub", "--wait", "-1", "a", "x"], &["-1"]),
        (&["sub"], &["PATTERN"]),
        (&["sub", "a/b", "-t0"], &["a/b"]),
        (&["sub", "ok", "=+", "-t0"], &["=+"]),
        (&["sub", "a", "--format", "xml"], &["xml", "text, json, raw"]),
        (&["sub", "a", "--timeout", "soon"], &["soon", "seconds"]),
        (&["sub", "a", "--count", "-1"], &["-1"]),
        (&["ls", "x"], &["x"]),
        (&["frob"], &["frob"]),
        (&["--home", "", "ls"], &["--home"]),
    ];
    for (args, parts) in wrong {
        let ended = store.run(*args);
        // The announcement of a pattern that is right may stand before the failure of one that is not.
        let words = ended.words.strip_prefix("subscribed: ok\n").unwrap_or(&ended.words);
        assert_eq!(ended.code(), Some(2), "{args:?} {ended:?}");
        assert!(words.starts_with("pubsub: ") && ended.stdout.is_empty(), "{args:?} {ended:?}");
        for part in *parts {
            assert!(words.contains(part), "{args:?}: {part:?} is not in {words:?}");
        }
    }
    if exists(&store.home()) {
        assert_eq!(store.directories(), [""; 0]);
    }
}

#[test]
fn no_command_at_all_shows_the_help() {
    let ended = Store::new().run([""; 0]);
    assert_eq!((ended.code(), ended.text()), (Some(2), ""));
    assert!(ended.words.contains("Usage: pubsub"));
}

#[test]
fn help_has_examples_and_exit_codes() {
    let store = Store::new();
    assert!(store.ok(["--help"]).text().contains("Exit codes:"));
    for command in ["pub", "sub", "ls", "gc", "init"] {
        let ended = store.ok([command, "--help"]);
        assert!(ended.text().contains("Examples:\n  pubsub "), "{}", ended.text());
        assert!(ended.text().lines().all(|line| line.chars().count() <= 125), "{}", ended.text());
        assert_eq!(ended.words, "");
    }
}

#[test]
fn version_is_that_of_the_library() {
    assert_eq!(Store::new().ok(["--version"]).text(), format!("pubsub {}\n", env!("CARGO_PKG_VERSION")));
}
