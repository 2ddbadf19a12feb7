//! `pubsub top`, and bars of progress, on a terminal: tmux is one.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{HANGS, Store, has_ended};

/// Nothing takes so long that is drawn at all.
const DRAWN: Duration = HANGS;

/// A terminal in which a shell runs a script; gone when it is dropped.
struct Terminal {
    socket: std::path::PathBuf,
}

impl Terminal {
    /// `$PUBSUB` is the command; the terminal stays when the script has ended.
    fn run(store: &Store, width: u16, height: u16, script: &str) -> Terminal {
        let terminal = Terminal { socket: store.beside("tmux") };
        let script = format!("{script}\nexec sleep 1000");
        let (width, height) = (width.to_string(), height.to_string());
        let mut command = Command::new("tmux");
        command.args(["-f", "/dev/null", "-S"]).arg(&terminal.socket);
        command.args(["new-session", "-d", "-x", &width, "-y", &height, "sh", "-c", &script]);
        command.env("PUBSUB_HOME", store.home()).env("PUBSUB", env!("CARGO_BIN_EXE_pubsub"));
        command.env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        let status = command.status().expect("these tests need tmux: scripts/setup.sh installs it");
        assert!(status.success());
        terminal
    }

    fn tmux(&self, args: &[&str]) -> String {
        let mut command = Command::new("tmux");
        let output = command.arg("-S").arg(&self.socket).args(args).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    /// Waits until the screen is as it should be; answers it.
    fn wait_for(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(start.elapsed() < DRAWN, "{what} does not come:\n{screen}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for_text(&self, text: &str) -> String {
        self.wait_for(text, |screen| screen.contains(text))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").status();
    }
}

/// What a script does around `top` so that one sees how the terminal is left.
fn around(top: &str) -> String {
    // icanon: lines are read as usual; a dash before it would mean raw mode.
    format!("echo the screen before; {top}; echo \"exit code $?\"; stty -a | grep -o -- '-*icanon'")
}

/// The terminal is as it was: the first screen is back, with what came since, and not in raw mode.
fn assert_given_back(terminal: &Terminal, exit_code: i32) -> String {
    let screen = terminal.wait_for("the shell's screen", |screen| screen.lines().any(|line| line.ends_with("icanon")));
    assert!(screen.starts_with("the screen before"), "{screen}");
    assert!(screen.contains(&format!("exit code {exit_code}\n")), "{screen}");
    assert!(screen.lines().any(|line| line == "icanon"), "raw mode: {screen}");
    assert_eq!(terminal.tmux(&["display-message", "-p", "#{cursor_flag}"]).trim(), "1", "the cursor is hidden");
    screen
}

#[test]
fn it_shows_the_channels_live_and_its_keys_work() {
    let store = Store::new();
    let (busy, stopped) = (store.sub(1, &["busy.="]), store.sub(1, &["full.+"]));
    let dead = store.sub(1, &["dead.x"]);
    dead.signal(Signal::SIGKILL);
    dead.end();
    stopped.stop();
    store.run_on(["pub", "--lines", "full.x"], "x\n".repeat(16_384).as_bytes());
    assert_eq!(store.run(["pub", "full.x", "x"]).code(), Some(1));

    let terminal = Terminal::run(&store, 120, 24, &around("\"$PUBSUB\" top --interval 0.1"));
    // The last line is drawn last.
    let screen = terminal.wait_for_text(" q  quit");
    let row = |screen: &str, pattern: &str| -> String {
        let row = screen.lines().find(|line| line.contains(&format!("│{pattern}")));
        row.unwrap_or_else(|| panic!("no {pattern}:\n{screen}")).to_owned()
    };
    assert!(screen.contains("2 live  1 dead  0 of formix-pubsub"), "{screen}");
    assert!(row(&screen, "dead.x").contains("dead  "), "{screen}");
    let full = row(&screen, "full.+");
    for part in ["pubsub", &stopped.pid().to_string(), "16.4 k", "██████████ 100%", " 1 ", "full"] {
        assert!(full.contains(part), "{part} is not in {full}");
    }

    // What is published shows as a rate. (A screen may be seen half drawn: so each is waited for until it is as it should be.)
    let seen = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !seen.load(SeqCst) && begun.elapsed() < DRAWN {
                store.run_on(["pub", "--lines", "busy.x"], "x\n".repeat(100).as_bytes());
                thread::sleep(Duration::from_millis(30));
            }
        });
        terminal.wait_for("a rate", |screen| {
            let row = screen.lines().find(|line| line.contains("│busy.=")).unwrap_or_default();
            row.split_whitespace().nth(3).is_some_and(|rate| rate != "0" && rate != "│busy.=")
        });
        seen.store(true, SeqCst);
    });

    // First comes the busiest, then the fullest, then who lost most, then by pattern.
    for (key, order, first) in [
        ("s", "by queue", "│full.+"),
        ("s", "by lost", "│full.+"),
        ("s", "by pattern", "│busy.="),
        ("r", "by pattern, reversed", "│full.+"),
    ] {
        terminal.press(&[key]);
        let is_first = |screen: &str| screen.lines().nth(8).is_some_and(|line| line.contains(first));
        terminal.wait_for(order, |screen| screen.contains(order) && is_first(screen));
    }

    // The filter; all keys at once, as a quick hand or a slow line may deliver them.
    terminal.press(&["-l", "/Bu"]);
    terminal.wait_for("the filter", |screen| {
        let shown = ["1 channel  with 'Bu'", "Enter keeps it"].iter().all(|text| screen.contains(text));
        shown && !screen.contains("│full.+")
    });
    terminal.press(&["Enter"]);
    terminal.wait_for_text(" q  quit");
    terminal.press(&["Escape"]);
    terminal.wait_for_text("3 channels");

    // Held, it does not change.
    terminal.press(&["p"]);
    terminal.wait_for_text(" held ");
    let late = store.sub(1, &["late"]);
    thread::sleep(Duration::from_millis(300));
    assert!(!terminal.screen().contains("│late"));
    terminal.press(&["p"]);
    terminal.wait_for_text("│late");

    terminal.press(&["q"]);
    assert_given_back(&terminal, 0);
    for sub in [busy, late, stopped] {
        sub.signal(Signal::SIGKILL);
        sub.end();
    }
}

#[test]
fn control_c_ends_it_and_the_terminal_is_given_back() {
    let store = Store::new();
    let terminal = Terminal::run(&store, 80, 24, &around("\"$PUBSUB\" top"));
    terminal.wait_for_text("Nobody listens here yet");
    terminal.press(&["C-c"]);
    assert_given_back(&terminal, 0);
    assert!(!store.home().exists(), "looking does not make the store");
}

#[test]
fn signals_give_the_terminal_back() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGINT, 130)] {
        let store = Store::new();
        let terminal = Terminal::run(
            &store,
            80,
            24,
            &around("sh -c 'echo $$ > pid; exec \"$PUBSUB\" top'")
                .replace("pid;", &format!("{};", store.beside("pid").display())),
        );
        terminal.wait_for_text("Nobody listens here yet");
        let pid = std::fs::read_to_string(store.beside("pid")).unwrap().trim().parse().unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        assert_given_back(&terminal, code);
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_panic_gives_the_terminal_back_and_is_read_there() {
    let store = Store::new();
    let terminal = Terminal::run(&store, 100, 24, &around("PUBSUB_PLANT='top panics' \"$PUBSUB\" top"));
    let screen = assert_given_back(&terminal, 101);
    assert!(screen.contains("planted"), "{screen}");
}

#[test]
fn it_ends_with_its_terminal() {
    let store = Store::new();
    // It ignores the hang-up, as under nohup, and sees that there is nobody any more.
    let script =
        "trap '' HUP; echo $$ > PID; exec \"$PUBSUB\" top".replace("PID", store.beside("pid").to_str().unwrap());
    let terminal = Terminal::run(&store, 80, 24, &script);
    terminal.wait_for_text("Nobody listens here yet");
    let pid: i32 = std::fs::read_to_string(store.beside("pid")).unwrap().trim().parse().unwrap();
    drop(terminal);
    has_ended(Pid::from_raw(pid));
}

#[test]
fn a_small_terminal_shows_what_fits_and_follows_its_size() {
    let store = Store::new();
    let subs: Vec<_> = (0..9).map(|i| store.sub(1, &[&format!("topic.{i}")])).collect();
    let terminal = Terminal::run(&store, 30, 8, "\"$PUBSUB\" top --interval 0.1");
    let screen = terminal.wait_for_text(" q  quit");
    assert!(screen.contains("topic.0") && !screen.contains("topic.8") && screen.contains("of 9"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 30));
    terminal.press(&["End"]);
    terminal.wait_for("the last", |screen| screen.contains("topic.8") && !screen.contains("topic.0"));
    terminal.press(&["Home"]);
    terminal.wait_for_text("topic.0");
    terminal.tmux(&["resize-window", "-x", "110", "-y", "30"]);
    terminal.wait_for("the rest", |screen| screen.contains("topic.8") && screen.contains("messages/s received"));
    for sub in subs {
        sub.signal(Signal::SIGTERM);
        sub.end();
    }
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let store = Store::new();
    store.run(["top"]).assert_failed(1, &["needs a terminal", "pubsub stats"]);
    store.run(["top", "--interval", "often"]).assert_failed(2, &["often"]);
    let terminal = Terminal::run(&store, 80, 24, "TERM=dumb \"$PUBSUB\" top; echo \"exit code $?\"");
    assert!(terminal.wait_for_text("exit code 1").contains("needs a terminal"));
}

#[test]
fn recording_and_playing_show_how_far_they_are_and_leave_nothing_of_it() {
    let store = Store::new();
    // The shell gets Ctrl-C as well.
    // Slowed down, the playing shows a bar until it is ended; as fast as can be, it plays to the end.
    let script = "trap : INT; \"$PUBSUB\" record \"$PUBSUB_HOME.psr\" a; \"$PUBSUB\" play --speed 1e-6 \"$PUBSUB_HOME.psr\"; \
                  \"$PUBSUB\" play --speed 0 \"$PUBSUB_HOME.psr\"; echo \"exit code $?\"";
    let terminal = Terminal::run(&store, 80, 24, script);
    terminal.wait_for_text("subscribed: a");
    // It shows how many there are now and then: of the first, and not of the last.
    let mut published = 0;
    let shows_some = |screen: &str| screen.contains("messages; Ctrl-C ends") && !screen.contains(" 0 messages;");
    while !shows_some(&terminal.screen()) {
        store.ok(["pub", "a", &"x".repeat(published * 1000)]);
        published += 1;
        assert!(published < 1000, "no count");
        thread::sleep(Duration::from_millis(20));
    }
    terminal.press(&["C-c"]);
    terminal.wait_for("a bar", |screen| screen.contains(" %  ") && screen.contains("░") | screen.contains("█"));
    terminal.press(&["C-c"]);
    let screen = terminal.wait_for_text("exit code 0");
    for done in ["recorded", "played"] {
        assert!(screen.contains(&format!("{done} {published} messages")), "{screen}");
    }
    assert!(!screen.contains(" %  ") && !screen.contains("Ctrl-C ends"), "{screen}");
}
