//! A message file before and while it is linked into channels.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use crate::sys::chaos;
use crate::sys::directory::{Directory, EntryPath, can_link_files, set_mode, write_all};
use crate::sys::fd::status;
use crate::sys::lock;
use crate::sys::random::random;

/// The store's directory for what is being made or removed.
pub(crate) const TMP: &CStr = c"tmp";

/// Prefix of what is being made in [`TMP`]: a file is locked (byte 0) by who makes it; once the lock is free it is
/// rubbish.
pub(crate) const NEW: &str = "new.";

/// How the bits of a message file's mode come about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FileMode {
    pub mode: u32,
    /// Whether this process's umask takes bits away that are needed, so that the mode must be set again.
    pub enforce: bool,
}

/// A whole message in a file that no channel has yet. Unless it is linked, it goes away with this object, and where the
/// system has files without names, with the process.
#[derive(Debug)]
pub(crate) struct MessageFile {
    file: OwnedFd,
    /// Its name in `TMP`, where the system has no files without names.
    name: Option<EntryPath>,
    /// Whether a channel has taken it.
    linked: Cell<bool>,
}

impl MessageFile {
    /// Writes a message (what stands before the content, and the content) to a new file.
    pub(crate) fn write(base: &Directory, mode: FileMode, prefix: &[u8], data: &[u8]) -> io::Result<MessageFile> {
        let file = match MessageFile::create(base, mode.mode) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                // A store whose tmp directory somebody removed.
                crate::sys::directory::ensure(base, TMP)?;
                MessageFile::create(base, mode.mode)?
            }
            result => result?,
        };
        if mode.enforce {
            set_mode(&file.file, mode.mode)?;
        }
        let data = if chaos::planted("half a message") { &data[..data.len() / 2] } else { data };
        if let Err(error) = write_all(file.file.as_fd(), prefix, data) {
            file.discard(base);
            return Err(error);
        }
        chaos::point("publish.written");
        Ok(file)
    }

    fn create(base: &Directory, mode: u32) -> io::Result<MessageFile> {
        if let Some(file) = base.unnamed_file(TMP, mode)? {
            return Ok(MessageFile { file, name: None, linked: Cell::new(false) });
        }
        loop {
            let name = EntryPath::new(TMP.to_bytes(), format!("{NEW}{}", random(16)).as_bytes());
            match base.open_at(name.as_c_str(), libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, mode) {
                Ok(file) => {
                    // Between these two a cleanup may take it for rubbish; linking it fails then, and the publish says so.
                    lock::try_lock(&file, 0)?;
                    return Ok(MessageFile { file, name: Some(name), linked: Cell::new(false) });
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts it into a channel under this path; `EEXIST` when the name is taken, `ENOENT` when the channel is gone.
    pub(crate) fn link(&self, base: &Directory, path: &CStr) -> io::Result<()> {
        match &self.name {
            None => base.link_file(self.file.as_fd(), path)?,
            Some(name) => base.link(name.as_c_str(), path)?,
        }
        self.linked.set(true);
        Ok(())
    }

    /// Adds bytes at its end, before any channel has it.
    pub(crate) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        write_all(self.file.as_fd(), bytes, &[])
    }

    /// Gives it another mode.
    pub(crate) fn set_mode(&self, mode: FileMode) -> io::Result<()> {
        set_mode(&self.file, mode.mode)
    }

    /// Whether it is the file that cannot be linked: one without a name in which the kernel once saw a link and sees none any
    /// longer, because every channel that took it has fetched it already; or one without a name in a process that, as it
    /// now turned out, cannot link such files.
    pub(crate) fn is_spent(&self) -> bool {
        let fetched = || self.linked.get() && status(&self.file).is_ok_and(|stat| stat.st_nlink == 0);
        self.name.is_none() && (!can_link_files() || fetched())
    }

    /// Lets go of it; the channels keep theirs.
    pub(crate) fn discard(self, base: &Directory) {
        if let Some(name) = &self.name {
            // What cannot be removed now is removed by a later cleanup.
            let _ = base.unlink(name.as_c_str());
        }
    }
}

/// How old a formix-pubsub publisher's file in [`TMP`] must be to count as left behind: it links its file within
/// milliseconds, and nothing tells whether its process lives.
pub(crate) const FORMIX_TMP_AGE: Duration = Duration::from_secs(60);
