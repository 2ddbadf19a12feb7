//! Command lines that are wrong, and help.

use crate::support::{Running, Store, exists};

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
    let help = store.ok(["--help"]);
    let commands = help.lines().into_iter().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    let mut commands: Vec<Vec<&str>> = commands.filter(|name| *name != "help").map(|name| vec![name]).collect();
    assert!(commands.len() > 10, "{commands:?}");
    commands.extend(["list", "create", "delete", "history", "keep"].map(|name| vec!["topics", name]));
    for command in commands {
        let ended = store.ok(command.iter().chain(&["--help"]));
        assert!(ended.text().contains("Examples:\n  pubsub "), "{}", ended.text());
        assert!(ended.text().lines().all(|line| line.chars().count() <= 125), "{}", ended.text());
        assert_eq!(ended.words, "");
    }
}

#[test]
fn completions_are_printed_for_each_shell() {
    let store = Store::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = store.ok(["completions", shell]);
        assert!(["doctor", "topics", "replay"].iter().all(|word| ended.text().contains(word)), "{shell}");
    }
    store.run(["completions", "csh"]).assert_failed(2, &["csh"]);
    // What bash would run.
    let script = "\"$PUBSUB\" completions bash > \"$PUBSUB_HOME\" && exec bash -c '. \"$PUBSUB_HOME\"; \
        COMP_WORDS=(pubsub sub --rep); COMP_CWORD=2; _pubsub pubsub --rep sub; echo \"${COMPREPLY[@]}\"'";
    assert_eq!(Running::start(&mut store.shell(script)).end().text(), "--replay\n");
}

#[test]
fn the_pages_of_the_manual_are_written() {
    let store = Store::new();
    let directory = store.beside("man");
    let ended = store.ok(["man".as_ref(), directory.as_os_str()]);
    let pages = std::fs::read_dir(&directory).unwrap().count();
    assert!(pages > 15 && ended.words.starts_with(&format!("wrote {pages} pages")), "{ended:?}");
    assert!(std::fs::read_to_string(directory.join("pubsub-sub.1")).unwrap().contains("SH EXAMPLES"));
    store.run(["man", "/proc/none"]).assert_failed(1, &["/proc/none"]);
}

#[test]
fn version_is_that_of_the_library() {
    assert_eq!(Store::new().ok(["--version"]).text(), format!("pubsub {}\n", env!("CARGO_PKG_VERSION")));
}
