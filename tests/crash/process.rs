//! Processes of a run: started, killed, stopped, waited for, and never left behind.

use std::ffi::CString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::journal;

/// No process of a test needs this long for anything, on however busy a machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Process {
    child: Child,
    pub what: String,
    errors: PathBuf,
    journal: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// This program again, as a worker: see [`worker`](crate::worker).
    pub fn start(run: &Path, number: u64, role: &str, chaos: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "worker::worker", "--nocapture", "--test-threads=1"]);
        command.env("CRASH_WORKER", format!("role={role} run={} number={number}", run.display()));
        Process::spawn(command, run, number, format!("{number}: {role} [{chaos}]"), chaos)
    }

    pub fn spawn(mut command: Command, run: &Path, number: u64, what: String, chaos: &str) -> Process {
        let errors = run.join(format!("{number}.err"));
        let file = std::fs::File::create(&errors).unwrap();
        command.env("PUBSUB_CHAOS", chaos).env_remove("PUBSUB_TRANSPORT").env("PUBSUB_HOME", run.join("store"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let child = command.spawn().unwrap();
        Process { child, what, errors, journal: run.join(format!("{number}.journal")), status: None }
    }

    pub fn signal(&mut self, signal: libc::c_int) {
        if self.ended().is_none() {
            // SAFETY: our child, not yet waited for, so the pid is its own.
            unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        }
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// As the kernel shows it: `R`, `S`, `T` (stopped), `Z` and others.
    pub fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()).unwrap_or('?')
    }

    /// Whether its own thread, beside that of libtest, sleeps in the kernel.
    pub fn is_asleep(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).into_iter().flatten().flatten();
        let is_asleep = |task: PathBuf| {
            let stat = std::fs::read_to_string(task.join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
        };
        let asleep: Vec<bool> = tasks.map(|task| is_asleep(task.path())).collect();
        asleep.len() >= 2 && asleep.iter().all(|&is_asleep| is_asleep)
    }

    /// Waits until it ends; fails the test, saying what it did last, if it does not.
    pub fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "HANGS: {}", self.report());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it ends well.
    pub fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{status}: {}", self.report());
    }

    /// Whether it ended as a process does that fails (and not as one that was killed).
    pub fn failed(&mut self) -> bool {
        self.ended().is_some_and(|status| status.signal() != Some(libc::SIGKILL) && !status.success())
    }

    pub fn report(&self) -> String {
        let errors = std::fs::read_to_string(&self.errors).unwrap_or_default();
        let last = if self.journal.exists() { journal::read(&self.journal) } else { Vec::new() };
        let last = last.last().map(|(time, event)| (journal::now().saturating_sub(*time) / 1_000_000, *event));
        let wait = std::fs::read_to_string(format!("/proc/{}/wchan", self.child.id())).unwrap_or_default();
        format!(
            "{}: state {}, waits in '{wait}', last (ms ago) {last:?}, on stderr:\n{errors}",
            self.what,
            self.state()
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            // Its end is all that is asked for.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits for something to become true; fails the test with what `report` says if it does not.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool, report: impl Fn() -> String) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "HANGS: never {what}: {}", report());
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// A directory for one run, in memory or in `$CRASH_DIRECTORY`; `$CRASH_KEEP` keeps it for a look.
pub fn run_directory() -> tempfile::TempDir {
    let parent = std::env::var_os("CRASH_DIRECTORY").unwrap_or_else(|| "/dev/shm".into());
    let mut run = tempfile::Builder::new().prefix("t-crash-").tempdir_in(parent).unwrap();
    run.disable_cleanup(std::env::var_os("CRASH_KEEP").is_some());
    run
}

/// A small file system for the thread that made it and the processes that it starts.
pub struct Mount(CString);

impl Mount {
    pub fn new(on: &Path, size: &str) -> Mount {
        std::fs::create_dir_all(on).unwrap();
        let text = |text: &str| CString::new(text).unwrap();
        let (root, none, kind, options) = (text("/"), text("none"), text("tmpfs"), text(&format!("size={size}")));
        let on = text(on.to_str().unwrap());
        // SAFETY: every string is NUL-terminated and outlives the calls.
        unsafe {
            assert_eq!(libc::unshare(libc::CLONE_NEWNS), 0);
            let private = libc::MS_REC | libc::MS_PRIVATE;
            assert_eq!(libc::mount(none.as_ptr(), root.as_ptr(), none.as_ptr(), private, std::ptr::null()), 0);
            assert_eq!(libc::mount(kind.as_ptr(), on.as_ptr(), kind.as_ptr(), 0, options.as_ptr().cast()), 0);
        }
        Mount(on)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: NUL-terminated. What cannot be unmounted goes with the thread.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}

/// Whether this process may mount. A test that needs to says so and passes otherwise.
pub fn is_root() -> bool {
    // SAFETY: cannot fail.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        println!("skipped: it mounts a small file system, which needs root");
    }
    root
}
