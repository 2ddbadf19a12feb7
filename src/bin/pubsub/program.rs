//! The program behind a channel's process id.

#![forbid(unsafe_code)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use pubsub::ChannelStats;

/// Names of processes, each process looked at once.
#[derive(Default)]
pub struct Programs {
    seen: HashMap<i64, Option<Program>>,
}

struct Program {
    name: String,
    /// The directories in which it has files open.
    directories: HashSet<PathBuf>,
}

impl Programs {
    /// The name of a living channel's program.
    pub fn of(&mut self, channel: &ChannelStats) -> Option<String> {
        let name = if channel.alive { self.name(channel.pid, &channel.path) } else { None };
        name.map(str::to_owned)
    }

    /// The name of process `pid` if it is the one that receives from the channel at `path`.
    ///
    /// The id is that of the receiver's own PID namespace and may be another process's here, so the name counts only
    /// when the process has a file of the channel open. Processes that may not be looked into stay without a name.
    pub fn name(&mut self, pid: i64, path: &Path) -> Option<&str> {
        let program = self.seen.entry(pid).or_insert_with(|| look(pid)).as_ref()?;
        let path = fs::canonicalize(path).ok()?;
        program.directories.contains(&path).then_some(&program.name)
    }
}

fn look(pid: i64) -> Option<Program> {
    let process = Path::new("/proc").join(pid.to_string());
    let name = String::from_utf8_lossy(&fs::read(process.join("comm")).ok()?).trim_end().to_owned();
    let files = fs::read_dir(process.join("fd")).ok()?;
    let files = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Some(Program { name, directories: files.filter_map(|file| file.parent().map(Path::to_path_buf)).collect() })
}
