//! The bare system calls that a message needs on the files transport: what no implementation of it can do without.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{linkat, mkfifo};

use crate::Result;

/// Directories with a FIFO each, and a reader for each, which empties them outside the clock.
pub struct Bare {
    base: File,
    targets: Vec<Target>,
    next_id: u64,
    /// Kernels before 6.10 let only root link an open file by its descriptor; others go through /proc.
    through_proc: bool,
}

struct Target {
    name: String,
    reader: File,
    writer: File,
}

impl Bare {
    pub fn new(base: &Path, targets: usize) -> Result<Bare> {
        std::fs::create_dir_all(base.join("tmp"))?;
        let targets = (0..targets)
            .map(|i| {
                // As long as a channel's name.
                let name = format!("bench.one_{i:012}_12345");
                let queue = base.join(&name).join("queue");
                std::fs::create_dir(base.join(&name))?;
                mkfifo(&queue, Mode::S_IRUSR | Mode::S_IWUSR)?;
                let reader = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&queue)?;
                let writer = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&queue)?;
                Ok(Target { name, reader, writer })
            })
            .collect::<Result<_>>()?;
        let mut bare = Bare { base: File::open(base)?, targets, next_id: 1 << 60, through_proc: false };
        let file = bare.write(&[], &[])?;
        if let Err(Errno::ENOENT) = bare.link(&file, "tmp/probe") {
            bare.through_proc = true;
            bare.link(&file, "tmp/probe")?;
        }
        Ok(bare)
    }

    fn write(&self, prefix: &[u8], data: &[u8]) -> Result<OwnedFd> {
        let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.base, c"tmp", flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        let written = (&file).write_vectored(&[IoSlice::new(prefix), IoSlice::new(data)])?;
        if written == prefix.len() + data.len() { Ok(file.into()) } else { Err("a write was cut short".into()) }
    }

    fn link(&self, file: &OwnedFd, path: &str) -> nix::Result<()> {
        use std::os::fd::AsRawFd;
        if self.through_proc {
            let name = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(AT_FDCWD, name.as_str(), &self.base, path, AtFlags::AT_SYMLINK_FOLLOW)
        } else {
            linkat(file.as_fd(), c"", &self.base, path, AtFlags::AT_EMPTY_PATH)
        }
    }

    /// Nanoseconds to publish one message to every target, by publishing `count`.
    pub fn publish(&mut self, count: usize, prefix: &[u8], data: &[u8]) -> Result<f64> {
        // Made outside the clock: building a path is no system call.
        let first = self.next_id;
        self.next_id += count as u64;
        let path = |target: &Target, id: u64| format!("{}/{id}", target.name);
        let ids = first..self.next_id;
        let paths: Vec<Vec<String>> =
            ids.map(|id| self.targets.iter().map(|target| path(target, id)).collect()).collect();
        let begin = Instant::now();
        for (id, paths) in (first..).zip(&paths) {
            let file = self.write(prefix, data)?;
            for (target, path) in self.targets.iter().zip(paths) {
                self.link(&file, path)?;
                if (&target.writer).write(&id.to_be_bytes())? != 8 {
                    return Err("a FIFO took part of an id".into());
                }
            }
            drop(file);
        }
        let elapsed = begin.elapsed();
        for target in &self.targets {
            let mut entries = vec![0; count * 8];
            (&target.reader).read_exact(&mut entries)?;
        }
        for path in paths.iter().flatten() {
            nix::unistd::unlinkat(&self.base, path.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir)?;
        }
        Ok(elapsed.as_nanos() as f64 / count as f64)
    }
}
