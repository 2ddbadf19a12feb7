//! What is wrong with a store, found by looking: for `pubsub doctor`.
//!
//! Nothing is changed, made or waited for. Other processes are at work meanwhile, so a look may catch a step of theirs half
//! done; what counts is what two looks, [`APART`] one from the other, both find, and of what such a step leaves for a moment, what
//! all looks find for [`PATIENCE`].

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::access::{self, Access};
use super::ids::{self, is_missing};
use super::layout::{self, DEAD, PRIVATE, STORE_FILE};
use super::{HOME, cleanup};
use crate::control::{self, FullPolicy, Unusable};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, FORMIX_TMP_AGE, NEW, QUEUE, TMP};
use crate::history;
use crate::ring;
use crate::sys::clock;
use crate::sys::directory::{Directory, EntryPath, Kind};
use crate::sys::fd::status;

/// Longer than any step of a living process takes, unless it is kept from the processor.
const APART: Duration = Duration::from_millis(100);
/// For so long a busy machine may do that.
const PATIENCE: Duration = Duration::from_secs(2);
/// What stands before the names of entries that a receiver has set aside.
const SET_ASIDE: &[u8] = b"malformed-";
/// What a maker of a store calls it until it is whole; beside the store.
const NEW_STORE: &[u8] = b".pubsub.";

/// A kind of thing that can be wrong with a store, or worth knowing.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// There is no store yet.
    NoStore,
    /// Something is there that is not what its name says: no directory, no file, no FIFO.
    WrongType,
    /// It may not be read or used by this user.
    NoAccess,
    /// It belongs to a user, or a group, that it should not.
    WrongOwner,
    /// Its permissions are wider or narrower than the store's.
    WrongMode,
    /// A page of another version.
    OtherVersion,
    /// A page whose contents cannot be.
    CorruptPage,
    /// The ids are ahead of the clock.
    ClockSetBack,
    /// The receiver of a channel has ended.
    DeadChannel,
    /// The same for a channel of a formix-pubsub program.
    DeadFormixChannel,
    /// A living channel of a formix-pubsub program.
    FormixChannel,
    /// A living channel has no FIFO.
    NoQueue,
    /// A living channel is full and refuses.
    QueueFull,
    /// Entries that were no messages, which the receiver has set aside.
    SetAside,
    /// Somebody died while making a channel, a message or a store.
    HalfMade,
    /// Somebody died while removing a channel.
    HalfRemoved,
    /// What a formix publisher left in `tmp`.
    FormixDraft,
    /// Something that does not belong there.
    Stray,
}

/// One thing that [`examine`] found.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub fault: Fault,
    /// Where.
    pub path: PathBuf,
    /// The rest of a sentence that begins with the path.
    pub detail: String,
}

/// Looks for everything that can be wrong with a store (`None`: the default one). Changes nothing.
#[doc(hidden)]
pub fn examine(home: Option<&Path>) -> Result<Vec<Finding>> {
    let home = home.unwrap_or_else(|| super::home());
    let home = std::path::absolute(home).map_err(|e| Error::os("finding the store", e))?;
    let first = look(&home)?;
    if first.iter().all(|finding| matches!(finding.fault, Fault::NoStore | Fault::FormixChannel)) {
        return Ok(first);
    }
    let (begin, mut found) = (Instant::now(), first);
    loop {
        thread::sleep(APART);
        let mut again = look(&home)?;
        again.retain(|finding| found.iter().any(|seen| (seen.fault, &seen.path) == (finding.fault, &finding.path)));
        found = again;
        let may_pass = found.iter().any(|finding| matches!(finding.fault, Fault::HalfMade | Fault::HalfRemoved));
        if !may_pass || begin.elapsed() >= PATIENCE {
            return Ok(found);
        }
    }
}

fn look(home: &Path) -> Result<Vec<Finding>> {
    let mut findings = Findings { home, list: Vec::new() };
    findings.list_beside();
    let base = match Directory::open(home) {
        Ok(base) => base,
        Err(error) => {
            match error.raw_os_error() {
                Some(libc::ENOENT) => findings.add(Fault::NoStore, b"", "is not there; the first program makes it"),
                Some(libc::ENOTDIR) => findings.add(Fault::WrongType, b"", "is not a directory"),
                Some(libc::EACCES) => findings.add(Fault::NoAccess, b"", format_args!("cannot be opened: {error}")),
                _ => return Err(Error::os(format_args!("opening the store {}", home.display()), error)),
            }
            return Ok(findings.list);
        }
    };
    let stat = base.own_status().map_err(|e| Error::os(format_args!("looking at {}", home.display()), e))?;
    let store = Examined { base: &base, access: Access::of_store(&stat), stat };
    findings.base(&store);
    findings.private(&store);
    findings.tmp(&store);
    let (mut channels, mut topics) = (Vec::new(), Vec::new());
    let listed = base.list(c".", |entry| {
        if entry.kind == Kind::Directory && layout::parse(entry.name).is_some() {
            channels.push(entry.name.to_vec());
        } else if let (Kind::Directory, Some(topic)) = (entry.kind, history::topic_of(entry.name)) {
            topics.push(topic.to_owned());
        } else if entry.name != TMP.to_bytes() && entry.name != PRIVATE.to_bytes() {
            findings.add(Fault::Stray, entry.name, "does not belong into a store");
        }
        true
    });
    if let Err(error) = listed {
        findings.add(Fault::NoAccess, b"", format_args!("cannot be listed: {error}"));
    }
    channels.sort();
    for channel in channels {
        findings.channel(&store, &channel);
    }
    topics.sort();
    for topic in topics {
        findings.topic(&store, &topic);
    }
    Ok(findings.list)
}

/// The store under examination.
struct Examined<'a> {
    base: &'a Directory,
    access: Access,
    stat: libc::stat,
}

struct Findings<'a> {
    home: &'a Path,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, fault: Fault, below: &[u8], detail: impl Display) {
        let path = if below.is_empty() { self.home.to_path_buf() } else { self.home.join(OsStr::from_bytes(below)) };
        self.list.push(Finding { fault, path, detail: detail.to_string() });
    }

    /// Stores that somebody died while making, beside this one.
    fn list_beside(&mut self) {
        let Some(Ok(parent)) = self.home.parent().map(Directory::open) else { return };
        let mut found = Vec::new();
        // What may not be listed holds nothing of this user's.
        let _ = parent.list(c".", |entry| {
            let random = entry.name.strip_prefix(NEW_STORE);
            let ours = random.is_some_and(|name| name.len() == 12 && name.iter().all(u8::is_ascii_alphanumeric));
            if ours && entry.kind == Kind::Directory {
                found.push(OsStr::from_bytes(entry.name).to_owned());
            }
            true
        });
        for name in found {
            let path = self.home.with_file_name(name);
            let detail = "was being made into a store by a process that has died".to_owned();
            self.list.push(Finding { fault: Fault::HalfMade, path, detail });
        }
    }

    fn base(&mut self, store: &Examined) {
        if HOME.1 && self.home == HOME.0 {
            if let Err(error) = access::check_default_store(self.home, &store.stat) {
                self.add(Fault::WrongOwner, b"", format_args!("is refused: {error}"));
            }
        }
        let mode = store.stat.st_mode & 0o7777;
        if !store.access.shared && mode & 0o022 != 0 {
            self.add(
                Fault::WrongMode,
                b"",
                format_args!(
                    "has mode {mode:04o}: others may write to it, so they can read, forge and remove messages, and it lacks \
                     the bits (3000) of a store that is meant to be shared"
                ),
            );
        }
        use nix::unistd::{AccessFlags, access};
        match access(self.home, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
            // That the file system is read-only is told of the file system.
            Ok(()) | Err(nix::Error::EROFS) => {}
            Err(errno) => self.add(Fault::NoAccess, b"", format_args!("cannot be used by this user: {errno}")),
        }
    }

    /// Owner and permissions of what libpubsub made in the store, as they should be.
    fn entry(&mut self, store: &Examined, name: &[u8], stat: &libc::stat, expected: u32) {
        let (mode, shared) = (stat.st_mode & 0o7777, store.access.shared);
        if shared && stat.st_gid != store.stat.st_gid {
            let (has, wants) = (stat.st_gid, store.stat.st_gid);
            self.add(Fault::WrongOwner, name, format_args!("belongs to group {has}, and the store to group {wants}"));
        } else if !shared && stat.st_uid != store.stat.st_uid {
            let (has, wants) = (stat.st_uid, store.stat.st_uid);
            self.add(Fault::WrongOwner, name, format_args!("belongs to user {has}, and the store to user {wants}"));
        }
        // In a private store formix's directories are open for reading, which the store's own mode makes up for.
        let (must, may_not) = if shared { (0o777, 0o777) } else { (0o700, 0o022) };
        let (wider, narrower) = (mode & !expected & may_not, !mode & expected & must);
        if wider != 0 || narrower != 0 {
            self.add(Fault::WrongMode, name, format_args!("has mode {mode:04o} and should have {expected:04o}"));
        }
    }

    /// The status of a directory of the store; `None` when it is not there, or no directory, which is said.
    fn directory(&mut self, store: &Examined, name: &std::ffi::CStr) -> Option<libc::stat> {
        match store.base.status(name) {
            Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFDIR => Some(stat),
            Ok(_) => {
                self.add(Fault::WrongType, name.to_bytes(), "is not a directory");
                None
            }
            Err(error) if is_missing(&error) => None,
            Err(error) => {
                self.add(Fault::NoAccess, name.to_bytes(), format_args!("cannot be looked at: {error}"));
                None
            }
        }
    }

    /// `.pubsub` and the page in it.
    fn private(&mut self, store: &Examined) {
        let Some(stat) = self.directory(store, PRIVATE) else { return };
        self.entry(store, PRIVATE.to_bytes(), &stat, store.stat.st_mode & 0o7777);
        let listed = store.base.list(PRIVATE, |entry| {
            let path = EntryPath::new(PRIVATE.to_bytes(), entry.name);
            if path.as_c_str() != STORE_FILE {
                self.add(Fault::Stray, path.as_c_str().to_bytes(), "does not belong there");
            }
            true
        });
        if let Err(error) = listed {
            self.add(Fault::NoAccess, PRIVATE.to_bytes(), format_args!("cannot be listed: {error}"));
        }
        let page = STORE_FILE.to_bytes();
        match store.base.open_at(STORE_FILE, libc::O_RDONLY, 0) {
            Err(error) if is_missing(&error) => {}
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                self.add(Fault::WrongType, page, "is a symbolic link")
            }
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => self.add(Fault::WrongType, page, "is a socket"),
            Err(error) => self.add(Fault::NoAccess, page, format_args!("cannot be opened: {error}")),
            Ok(file) => {
                if let Ok(stat) = status(&file) {
                    self.entry(store, page, &stat, store.access.file());
                }
                match ids::inspect(file.as_fd()) {
                    Ok(last_us) => {
                        let ahead = Duration::from_micros(last_us.saturating_sub(clock::wall_us())).as_secs();
                        if ahead >= 60 {
                            self.add(
                                Fault::ClockSetBack,
                                page,
                                format_args!("has given out ids {ahead} seconds ahead of the clock: it was set back"),
                            );
                        }
                    }
                    Err(error) => self.add(fault_of(&error), page, &error),
                }
            }
        }
    }

    fn tmp(&mut self, store: &Examined) {
        let Some(stat) = self.directory(store, TMP) else { return };
        self.entry(store, TMP.to_bytes(), &stat, store.stat.st_mode & 0o7777);
        let mut entries = Vec::new();
        let listed = store.base.list(TMP, |entry| {
            entries.push((entry.name.to_vec(), entry.kind));
            true
        });
        if let Err(error) = listed {
            self.add(Fault::NoAccess, TMP.to_bytes(), format_args!("cannot be listed: {error}"));
        }
        for (name, kind) in entries {
            let path = EntryPath::new(TMP.to_bytes(), &name);
            let shown = path.as_c_str().to_bytes();
            if name.starts_with(DEAD.as_bytes()) {
                self.add(Fault::HalfRemoved, shown, "was being removed by a process that has died");
            } else if name.starts_with(NEW.as_bytes()) {
                if cleanup::is_unfinished(store.base, &path, kind) {
                    self.add(Fault::HalfMade, shown, "was being made by a process that has died");
                }
            } else if files::message_id(&name).is_some() {
                if cleanup::is_old(store.base, &path) {
                    let age = FORMIX_TMP_AGE.as_secs();
                    let detail = format_args!("was left by a publisher of formix-pubsub more than {age} seconds ago");
                    self.add(Fault::FormixDraft, shown, detail);
                }
            } else {
                self.add(Fault::Stray, shown, "does not belong there");
            }
        }
    }

    fn channel(&mut self, store: &Examined, name: &[u8]) {
        let base = store.base;
        let page = EntryPath::new(name, control::FILE);
        let (opened, dead) = (base.open_at(page.as_c_str(), libc::O_RDONLY, 0), cleanup::is_dead(base, name));
        let Some(parsed) = layout::parse(name) else { return };
        if dead {
            let ours = opened.is_ok();
            let fault = if ours { Fault::DeadChannel } else { Fault::DeadFormixChannel };
            let whose = if ours { "" } else { " of a formix-pubsub program" };
            return self.add(fault, name, format_args!("is a channel{whose} whose process ({}) has ended", parsed.pid));
        }
        let file = match opened {
            Ok(file) => file,
            Err(error) if is_missing(&error) => {
                if base.status(EntryPath::new(name, b".").as_c_str()).is_ok() {
                    self.add(Fault::FormixChannel, name, format_args!("is a channel of process {}", parsed.pid));
                    self.queue(base, name);
                }
                return;
            }
            Err(error) => {
                let fault = match error.raw_os_error() {
                    Some(libc::ELOOP | libc::ENXIO) => Fault::WrongType,
                    _ => Fault::NoAccess,
                };
                return self.add(fault, page.as_c_str().to_bytes(), format_args!("cannot be opened: {error}"));
            }
        };
        let terms = match control::inspect(file.as_fd()) {
            Ok((terms, _)) => terms,
            Err(unusable) => return self.page(page.as_c_str().to_bytes(), unusable),
        };
        let drop_oldest = terms.policy == FullPolicy::DropOldest;
        if let (Ok(directory), Ok(stat)) = (base.status(EntryPath::new(name, b".").as_c_str()), status(&file)) {
            self.entry(store, name, &directory, store.access.channel_directory(drop_oldest));
            self.entry(store, page.as_c_str().to_bytes(), &stat, store.access.file());
        }
        self.queue(base, name);
        self.contents(base, name);
        if let Some(stats) = super::listing::look_at(self.home, base, name) {
            let full = stats.unread_messages >= stats.capacity_messages || stats.unread_bytes >= stats.capacity_bytes;
            if full && !drop_oldest && stats.alive {
                let (pid, unread, refused) = (stats.pid, stats.unread_messages, stats.rejected);
                self.add(
                    Fault::QueueFull,
                    name,
                    format_args!(
                        "is full with {unread} messages; {refused} were refused; process {pid} does not fetch them"
                    ),
                );
            }
        }
    }

    /// A managed topic.
    fn topic(&mut self, store: &Examined, topic: &str) {
        let (base, name) = (store.base, history::directory_name(topic));
        let file = EntryPath::new(&name, history::FILE);
        let shown = file.as_c_str().to_bytes();
        match history::Reader::open(base, topic) {
            Ok(Some(_)) => {}
            Ok(None) if base.status(EntryPath::new(&name, b".").as_c_str()).is_err() => return,
            Ok(None) => return self.add(Fault::CorruptPage, &name, "is a managed topic without its file 'history'"),
            Err(error) => return self.add(fault_of(&error), shown, format_args!("cannot be used: {error}")),
        }
        if let (Ok(directory), Ok(stat)) =
            (base.status(EntryPath::new(&name, b".").as_c_str()), base.status(file.as_c_str()))
        {
            self.entry(store, &name, &directory, store.access.channel_directory(true));
            self.entry(store, shown, &stat, store.access.file());
        }
        let _ = base.list(EntryPath::new(&name, b".").as_c_str(), |entry| {
            if entry.kind != Kind::File {
                let path = EntryPath::new(&name, entry.name);
                self.add(Fault::WrongType, path.as_c_str().to_bytes(), "is not a file");
            }
            true
        });
        for stray in history::stray_files(base, topic).ok().flatten().unwrap_or_default() {
            let path = EntryPath::new(&name, &stray);
            if cleanup::is_older(base, &path, cleanup::STRAY_AGE) {
                let detail = "is a large message whose publisher died before its history named it";
                self.add(Fault::HalfMade, path.as_c_str().to_bytes(), detail);
            }
        }
    }

    /// The FIFO of a living channel.
    fn queue(&mut self, base: &Directory, name: &[u8]) {
        let path = EntryPath::new(name, QUEUE);
        match base.status(path.as_c_str()) {
            Ok(stat) if stat.st_mode & libc::S_IFMT == libc::S_IFIFO => {}
            Ok(_) => self.add(Fault::WrongType, path.as_c_str().to_bytes(), "is not a FIFO"),
            Err(error) if is_missing(&error) => {
                self.add(Fault::NoQueue, name, "has no FIFO 'queue': it cannot be woken")
            }
            Err(error) => self.add(Fault::NoAccess, path.as_c_str().to_bytes(), format_args!("{error}")),
        }
    }

    fn page(&mut self, shown: &[u8], unusable: Unusable) {
        match unusable {
            Unusable::Version(version) => self.add(
                Fault::OtherVersion,
                shown,
                format_args!("has version {version}; this libpubsub knows {}", control::VERSION),
            ),
            Unusable::Corrupt(what) => self.add(Fault::CorruptPage, shown, format_args!("cannot be used: {what}")),
            Unusable::Io(error) => self.add(Fault::NoAccess, shown, format_args!("cannot be read: {error}")),
        }
    }

    /// What lies in a living channel's directory.
    fn contents(&mut self, base: &Directory, name: &[u8]) {
        let (mut set_aside, mut strays) = (0, Vec::new());
        let listed = base.list(EntryPath::new(name, b".").as_c_str(), |entry| {
            if entry.name.starts_with(SET_ASIDE) {
                set_aside += 1;
            } else if entry.name != QUEUE
                && entry.name != control::FILE
                && files::message_id(entry.name).is_none()
                && !ring::is_file_name(entry.name)
            {
                strays.push(entry.name.to_vec());
            }
            true
        });
        if let Err(error) = listed {
            self.add(Fault::NoAccess, name, format_args!("cannot be listed: {error}"));
        }
        if set_aside > 0 {
            let detail = format_args!("holds {set_aside} entries 'malformed-*' that were no messages");
            self.add(Fault::SetAside, name, detail);
        }
        for stray in strays {
            self.add(
                Fault::Stray,
                EntryPath::new(name, &stray).as_c_str().to_bytes(),
                "does not belong into a channel",
            );
        }
    }
}

fn fault_of(error: &Error) -> Fault {
    match error.kind() {
        ErrorKind::Unsupported => Fault::OtherVersion,
        ErrorKind::Corrupt => Fault::CorruptPage,
        ErrorKind::InvalidArgument => Fault::WrongType,
        _ => Fault::NoAccess,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_under_way_at_some_of_the_looks_is_no_finding() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("tmp/dead.lasting")).unwrap();
        std::fs::create_dir_all(home.path().join("tmp/dead.passing")).unwrap();
        let passing = home.path().join("tmp/dead.passing");
        let remover = thread::spawn(move || {
            // Whenever it comes about before the last look.
            thread::sleep(APART * 3);
            std::fs::remove_dir(passing).unwrap();
        });
        let found: Vec<PathBuf> = examine(Some(home.path())).unwrap().into_iter().map(|finding| finding.path).collect();
        remover.join().unwrap();
        assert_eq!(found, [home.path().join("tmp/dead.lasting")]);
    }
}
