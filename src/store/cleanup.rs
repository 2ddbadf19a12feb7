//! Liveness, and removing what the dead left.
//!
//! A channel of ours is dead when the lock of its control page is free: the kernel frees it with the process, in whatever
//! pid namespace that lived, and no channel is opened twice. A formix channel is dead when both its pid and its FIFO say
//! so. Either is removed as a living one is: renamed to `tmp/dead.*` in one step, and deleted there, where no publisher
//! looks. Everything called `dead.*` is rubbish that anybody may delete, so a cleaner that is killed leaves work, not harm.
//!
//! What is being made is called `tmp/new.*`. A channel's maker holds its lock soon after it made the directory; a cleaner
//! that comes in between removes an empty directory or renames an unlocked one, and the maker, whose next step fails,
//! begins again.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::Store;
use super::ids::{StorePage, is_missing};
use super::layout::{self, DEAD};
use crate::control;
use crate::error::{Error, Result};
use crate::files::{FORMIX_TMP_AGE, NEW, QUEUE, TMP};
use crate::history;
use crate::sys::chaos;
use crate::sys::clock::{self, Moment};
use crate::sys::directory::{Directory, EntryPath, Kind};
use crate::sys::fifo;
use crate::sys::lock;
use crate::sys::process;
use crate::sys::random::random;

/// Channels of a small store.
const SMALL: u64 = 64;
/// A small store is looked at by opens no more often than this, microseconds.
const SMALL_PAUSE_US: u64 = 200;
/// Channels that an open checks in a small store; in a large one as many more as it has sixty-fourths.
const STEP: u64 = 4;
/// A file that a history does not name (yet) may be its publisher's for this long.
pub(super) const STRAY_AGE: Duration = Duration::from_secs(3600);
/// How often deleting a directory begins anew when something came into it meanwhile.
const DELETE_ATTEMPTS: usize = 8;

/// Removes what dead processes left in the store (`None`: the default one); answers how many channels.
///
/// What belongs to other users stays where permissions say so. Safe while others use the store.
pub fn cleanup(home: Option<&Path>) -> Result<u64> {
    let path = home.unwrap_or_else(|| super::home());
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        _ => {}
    }
    let store = Store::at(home)?;
    let failed = |e| Error::os(format_args!("cleaning the store {}", store.home().display()), e);
    let base = store.base();
    let mut removed = 0;
    for name in channel_names(base).map_err(failed)? {
        if is_dead(base, &name) && reap(base, &name) {
            removed += 1;
        }
    }
    clean_tmp(base).map_err(failed)?;
    clean_histories(base).map_err(failed)?;
    Ok(removed)
}

/// What every open of a channel does for the store, now and then: looks at a few channels and removes the dead among them,
/// and what is left of them in `tmp`.
pub(crate) fn step(store: &Store) {
    let Ok((page, _)) = store.page(Moment::now()) else { return };
    // Nobody else takes this step for now; how long it pays to wait is known once the store has been listed.
    if page.claim_cleaning(|| 0) {
        take_step(store, &page);
    }
}

/// The same, due or not: there is no space.
pub(crate) fn make_space(store: &Store) {
    if let Ok((page, _)) = store.page(Moment::now()) {
        take_step(store, &page);
    }
}

fn take_step(store: &Store, page: &StorePage) {
    let Ok(names) = channel_names(store.base()) else { return };
    let count = names.len() as u64;
    // Listing takes 0.1 us a channel: at most 1 % of the time.
    page.set_cleaning_due(if count <= SMALL { SMALL_PAUSE_US } else { count * 10 });
    // Nobody is told of what cannot be removed: `cleanup` tries it again.
    let _ = clean_tmp(store.base());
    if count == 0 {
        return;
    }
    let step = STEP + count / SMALL;
    let from = page.cleaning_place(step) % count;
    for name in names.iter().cycle().skip(from as usize).take(step.min(count) as usize) {
        if is_dead(store.base(), name) {
            reap(store.base(), name);
        }
    }
}

fn channel_names(base: &Directory) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    base.list(c".", |entry| {
        if entry.kind == Kind::Directory && layout::parse(entry.name).is_some() {
            names.push(entry.name.to_vec());
        }
        true
    })?;
    Ok(names)
}

/// Whether nobody will ever receive from this channel again. In doubt it lives.
pub(crate) fn is_dead(base: &Directory, name: &[u8]) -> bool {
    let page = EntryPath::new(name, control::FILE);
    match base.open_at(page.as_c_str(), libc::O_RDONLY, 0) {
        Ok(file) => chaos::planted("reaps the living") || control::is_alive(&file).is_ok_and(|alive| !alive),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
            layout::parse(name).is_some_and(|channel| !process::exists(channel.pid)) && queue_is_abandoned(base, name)
        }
        Err(_) => false,
    }
}

fn queue_is_abandoned(base: &Directory, name: &[u8]) -> bool {
    let queue = EntryPath::new(name, QUEUE);
    let Ok(fd) = base.fd() else { return false };
    match fifo::open(fd, queue.as_c_str(), libc::O_WRONLY) {
        Ok(_) => false,
        Err(error) => {
            // No reader, no queue, or something that is none.
            matches!(error.raw_os_error(), Some(libc::ENXIO | libc::ENOENT | libc::ELOOP | libc::EISDIR))
                || error.kind() == io::ErrorKind::InvalidData
        }
    }
}

/// Removes a dead channel; whether it was this process that did.
fn reap(base: &Directory, name: &[u8]) -> bool {
    chaos::point("reap.begin");
    remove_channel(base, name).is_ok()
}

/// Takes a channel out of the store and deletes it; an error only when it could not be taken out.
pub(crate) fn remove_channel(base: &Directory, name: &[u8]) -> io::Result<()> {
    remove(base, name, &[])
}

/// The same for a channel that the caller has open: what it has for sure goes without a listing. (In place of somebody else's
/// there may be a symbolic link by now.)
pub(crate) fn remove_own_channel(base: &Directory, name: &[u8]) -> io::Result<()> {
    remove(base, name, &[QUEUE, control::FILE])
}

fn remove(base: &Directory, name: &[u8], files: &[&[u8]]) -> io::Result<()> {
    let from = std::ffi::CString::new(name)?;
    if chaos::planted("deleted in place") {
        delete(base, EntryPath::new(name, b"."));
        return base.remove_directory(&from);
    }
    let to = move_to_dead(base, &from)?;
    chaos::point("close.renamed");
    for file in files {
        if let Some(path) = inside(&to, file) {
            let _ = base.unlink(&path);
            chaos::point("close.unlinked");
        }
    }
    chaos::point("close.emptied");
    delete(base, to);
    Ok(())
}

/// The name in `tmp` of a directory that is being made, of this random part.
pub(crate) fn new_directory_name(random: &str) -> Vec<u8> {
    [TMP.to_bytes(), b"/", NEW.as_bytes(), random.as_bytes()].concat()
}

fn dead_path() -> EntryPath {
    EntryPath::new(TMP.to_bytes(), format!("{DEAD}{}", random(12)).as_bytes())
}

/// Renames an entry of the store to a name that says that it is rubbish.
pub(crate) fn move_to_dead(base: &Directory, from: &CStr) -> io::Result<EntryPath> {
    let to = dead_path();
    match base.rename(from, to.as_c_str()) {
        Err(error) if is_missing(&error) && base.status(from).is_ok() => {
            // Somebody removed `tmp`.
            crate::sys::directory::ensure(base, TMP)?;
            base.rename(from, to.as_c_str())?;
        }
        result => result?,
    }
    Ok(to)
}

/// Deletes a rubbish directory and all that is in it. Directories in it are first moved up beside it: paths stay short, and
/// symbolic links are never followed. What cannot be deleted stays for the next cleanup.
pub(crate) fn delete(base: &Directory, directory: EntryPath) {
    let mut directories = vec![directory];
    while let Some(directory) = directories.pop() {
        let path = directory.as_c_str();
        // A publisher that had found the directory before it was renamed may put one more message into it.
        for attempt in 0..=DELETE_ATTEMPTS {
            match base.remove_directory(path) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && attempt < DELETE_ATTEMPTS => {}
                _ => break,
            }
            empty(base, path, &mut directories);
            chaos::point("close.emptied");
        }
    }
}

fn empty(base: &Directory, path: &CStr, directories: &mut Vec<EntryPath>) {
    let mut entries = Vec::new();
    // What cannot be listed cannot be removed either.
    let _ = base.list(path, |entry| {
        entries.push((entry.name.to_vec(), entry.kind));
        true
    });
    for (name, kind) in entries {
        // Three names: too deep for EntryPath, and short enough for any system.
        let Ok(below) = std::ffi::CString::new([path.to_bytes(), b"/", &name].concat()) else { continue };
        if kind == Kind::Directory {
            directories.extend(move_to_dead(base, &below).ok());
        } else {
            // What is gone, another cleaner removed.
            if !chaos::planted("unread messages stay") {
                let _ = base.unlink(&below);
            }
            chaos::point("close.unlinked");
        }
    }
}

/// Removes from `tmp` what the dead left there.
fn clean_tmp(base: &Directory) -> io::Result<()> {
    let mut entries = Vec::new();
    match base.list(TMP, |entry| {
        entries.push((entry.name.to_vec(), entry.kind));
        true
    }) {
        Err(error) if is_missing(&error) => return Ok(()),
        result => result?,
    }
    for (name, kind) in entries {
        chaos::point("cleanup.tmp");
        let path = EntryPath::new(TMP.to_bytes(), &name);
        if name.starts_with(DEAD.as_bytes()) {
            if kind == Kind::Directory {
                delete(base, path);
            } else {
                let _ = base.unlink(path.as_c_str());
            }
        } else if name.starts_with(NEW.as_bytes()) {
            clean_unfinished(base, &path, kind);
        } else if crate::files::message_id(&name).is_some() && is_old(base, &path) {
            let _ = base.unlink(path.as_c_str());
        }
    }
    Ok(())
}

/// What a maker has locked in the directory that it makes: of a channel, and of a managed topic.
const HELD: [(&[u8], i64); 2] = [(control::FILE, control::RECEIVER), (history::FILE, history::RECORDER)];

/// Whether what is being made at this path has no maker any more. A maker that is about to lock it looks so, too.
pub(super) fn is_unfinished(base: &Directory, path: &EntryPath, kind: Kind) -> bool {
    let is_free = |path: &CStr, byte| match base.open_at(path, libc::O_RDONLY, 0) {
        Ok(file) => !lock::is_locked(&file, byte).unwrap_or(true),
        Err(error) => is_missing(&error),
    };
    if kind != Kind::Directory {
        return is_free(path.as_c_str(), 0);
    }
    HELD.iter().all(|(file, byte)| inside(path, file).is_some_and(|held| is_free(&held, *byte)))
}

fn inside(path: &EntryPath, file: &[u8]) -> Option<std::ffi::CString> {
    std::ffi::CString::new([path.as_c_str().to_bytes(), b"/", file].concat()).ok()
}

/// Removes what was being made by a process that died.
fn clean_unfinished(base: &Directory, path: &EntryPath, kind: Kind) {
    if kind != Kind::Directory {
        let file = base.open_at(path.as_c_str(), libc::O_WRONLY, 0);
        if file.is_ok_and(|file| lock::try_lock(&file, 0).unwrap_or(false)) {
            let _ = base.unlink(path.as_c_str());
        }
        return;
    }
    for (file, byte) in HELD {
        let Some(held) = inside(path, file) else { return };
        match base.open_at(&held, libc::O_RDONLY, 0) {
            Ok(file) if !lock::is_locked(&file, byte).unwrap_or(true) => {
                if let Ok(dead) = move_to_dead(base, path.as_c_str()) {
                    delete(base, dead);
                }
                return;
            }
            Err(error) if is_missing(&error) => {}
            _ => return,
        }
    }
    // No such file yet: it goes if it is empty.
    let _ = base.remove_directory(path.as_c_str());
}

/// Removes the files of large messages that no history names: their publisher was killed between the two steps.
fn clean_histories(base: &Directory) -> io::Result<()> {
    let mut topics = Vec::new();
    base.list(c".", |entry| {
        topics.extend(history::topic_of(entry.name).filter(|_| entry.kind == Kind::Directory).map(str::to_owned));
        true
    })?;
    for topic in topics {
        // What cannot be read is not cleaned.
        let Ok(Some(stray)) = history::stray_files(base, &topic) else { continue };
        for name in stray {
            let path = EntryPath::new(&history::directory_name(&topic), &name);
            if is_older(base, &path, STRAY_AGE) {
                let _ = base.unlink(path.as_c_str());
            }
        }
    }
    Ok(())
}

/// Whether this file of a formix publisher is older than any that is about to be linked.
pub(super) fn is_old(base: &Directory, path: &EntryPath) -> bool {
    is_older(base, path, FORMIX_TMP_AGE)
}

pub(super) fn is_older(base: &Directory, path: &EntryPath, age: Duration) -> bool {
    let now = (clock::wall_us() / 1_000_000) as i64;
    base.status(path.as_c_str()).is_ok_and(|stat| now - stat.st_mtime >= age.as_secs() as i64)
}
