//! The shared directory: layout, permissions, registry, liveness, cleanup.
//!
//! ```text
//! base/                          PUBSUB_HOME, /dev/shm/pubsub or TMP/pubsub
//!   {pattern}_{random}_{pid}/    a channel: queue (FIFO), control (page), one file a message
//!   .topic.{topic}/              a managed topic: history, and a file for each of its large messages
//!   tmp/                         what is being made (new.*) or removed (dead.*), and formix publishers' files
//!   .pubsub/store                the id counter
//! ```
//! Every step that others can see is one rename, link or unlink; `docs/store-format.md` has the whole of it.

#![forbid(unsafe_code)]

mod access;
mod cleanup;
mod examine;
pub(crate) mod homes;
mod ids;
mod layout;
mod listing;
mod registry;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock, Weak};

use once_cell::sync::Lazy;

pub use cleanup::cleanup;
pub(crate) use cleanup::{
    delete, make_space, move_to_dead, new_directory_name, remove_channel, remove_own_channel, step as clean_step,
};
pub use examine::{Fault, Finding, examine};
pub(crate) use ids::{Ids, note_used};
pub(crate) use layout::{new_channel_name, random_part};
pub(crate) use listing::subscriptions;
pub use listing::{ChannelStats, list_channels};
pub(crate) use registry::{FRESH_NS, Managed, Target};

use access::Access;
use ids::StorePage;
use registry::Registry;

use crate::error::{Error, ErrorKind, Result};
use crate::files::FileMode;
use crate::sys::chaos;
use crate::sys::clock::Moment;
use crate::sys::directory::{self, Directory};
use crate::sys::fd;
use crate::sys::fork::PerProcess;
use crate::sys::process;
use crate::sys::random::random;

/// A store of a given mode and group; other stores are made, private, on first use.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// Permission bits of the directory: 0 (0o770 with a group, else 0o700), 0o700, 0o770 or 0o777. A mode that others
    /// share gets the set-group-ID and sticky bits too.
    pub mode: u32,
    /// The group (a name or a number) that owns it; `None`: the caller's.
    pub group: Option<String>,
}

/// The store's directory: `PUBSUB_HOME` (empty counts as unset), else `/dev/shm/pubsub`, else `pubsub` in the system's
/// temporary directory. Decided at first use and kept.
pub fn home() -> &'static Path {
    &HOME.0
}

/// The default home, and whether it is one that nobody chose.
static HOME: Lazy<(PathBuf, bool)> = Lazy::new(|| match std::env::var_os("PUBSUB_HOME") {
    Some(home) if !home.is_empty() => (PathBuf::from(home), false),
    _ if Path::new("/dev/shm").is_dir() => (PathBuf::from("/dev/shm/pubsub"), true),
    _ => (std::env::temp_dir().join("pubsub"), true),
});

/// An open store.
#[derive(Debug)]
pub(crate) struct Store {
    home: PathBuf,
    /// The home's number, which messages carry.
    number: u64,
    base: Arc<Directory>,
    access: Access,
    page: RwLock<Arc<StorePage>>,
    /// When the page was last found in its place, nanoseconds of the wall clock.
    page_checked: AtomicU64,
    registry: Registry,
    /// Descriptors of channels open for sending.
    outboxes: Arc<AtomicUsize>,
    /// Who keeps such channels besides the registry.
    holders: Mutex<Vec<Weak<dyn Holder>>>,
    /// When they were last looked through for idle ones, nanoseconds of the wall clock.
    idle_looked: AtomicU64,
    gone: AtomicBool,
}

/// Something that keeps channels open for sending.
pub(crate) trait Holder: std::fmt::Debug + Send + Sync {
    /// Closes those that were last used before this time, nanoseconds of the wall clock; answers how many. Never waits.
    fn close_idle(&self, before: u64) -> usize;
}

/// How often the store's page is looked for in its place.
const PAGE_CHECK_NS: u64 = 10_000_000;
/// An end for sending that was not used for this long may be closed to keep the budget of descriptors.
const IDLE_NS: u64 = 1_000_000_000;

/// The stores that this process has open.
static OPEN: PerProcess<Mutex<HashMap<PathBuf, Weak<Store>>>> = PerProcess::new(Mutex::default);
/// The default store stays open once it has been used.
static DEFAULT: PerProcess<RwLock<Option<Arc<Store>>>> = PerProcess::new(RwLock::default);

impl Store {
    /// The store at `home` (`None`: the default one), made if it is not there.
    pub(crate) fn at(home: Option<&Path>) -> Result<Arc<Store>> {
        let Some(home) = home else { return Store::default_store() };
        let home = std::path::absolute(home)
            .map_err(|e| Error::os(format_args!("finding the store {}", home.display()), e))?;
        let mut open = OPEN.get().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(store) = open.get(&home).and_then(Weak::upgrade) {
            if store.is_there() {
                return Ok(store);
            }
        }
        let store = Arc::new(Store::open(&home)?);
        open.retain(|_, store| store.strong_count() > 0);
        open.insert(home, Arc::downgrade(&store));
        Ok(store)
    }

    fn default_store() -> Result<Arc<Store>> {
        let kept = DEFAULT.get();
        if let Some(store) = &*kept.read().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            // Not only when somebody else has noticed: a program may be long idle while its store is wiped.
            if store.is_there() {
                return Ok(Arc::clone(store));
            }
        }
        let store = Store::at(Some(home()))?;
        *kept.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::clone(&store));
        Ok(store)
    }

    fn open(home: &Path) -> Result<Store> {
        // Of two processes that make a store at once, the later may replace the earlier's, as long as that is empty: who had
        // that open begins again. How often is bounded by how many make it at once.
        for _ in 0..64 {
            if let Some(store) = Store::try_open(home)? {
                return Ok(store);
            }
        }
        Err(Error::new(ErrorKind::Io, format_args!("the store {} is replaced again and again", home.display())))
    }

    /// `None`: the directory was replaced or deleted meanwhile.
    fn try_open(home: &Path) -> Result<Option<Store>> {
        let base = match Directory::open(home) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(home, 0o700, None)
                    .or_else(|e| if e.kind() == ErrorKind::Exists { Ok(()) } else { Err(e) })?;
                Directory::open(home)
            }
            result => result,
        };
        let base = base.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR) => {
                Error::new(ErrorKind::InvalidArgument, format_args!("the store {} is not a directory", home.display()))
            }
            _ => Error::os(format_args!("opening the store {}", home.display()), error),
        })?;
        let stat = base.own_status().map_err(|e| Error::os("looking at the store", e))?;
        if HOME.1 && home == HOME.0 {
            access::check_default_store(home, &stat)?;
        }
        let access = Access::of_store(&stat);
        let page = match StorePage::kept(home, &base, access.file()) {
            Some(page) => page,
            None => {
                for part in [crate::files::TMP, layout::PRIVATE] {
                    match directory::ensure(&base, part) {
                        Err(e) if ids::is_missing(&e) && base.own_status().is_ok_and(|stat| stat.st_nlink == 0) => {
                            return Ok(None);
                        }
                        result => result.map_err(|e| {
                            let part = part.to_string_lossy();
                            Error::os(format_args!("making '{part}' in the store {}", home.display()), e)
                        })?,
                    }
                }
                StorePage::open(home, &base, access.file())?
            }
        };
        Ok(Some(Store {
            home: home.to_path_buf(),
            number: homes::number(home),
            base: Arc::new(base),
            access,
            page: RwLock::new(page),
            page_checked: AtomicU64::new(Moment::now().ns),
            registry: Registry::new(),
            outboxes: Arc::default(),
            holders: Mutex::default(),
            idle_looked: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }))
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// By which [`homes::path`] finds this home again.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn base(&self) -> &Arc<Directory> {
        &self.base
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn outboxes(&self) -> &Arc<AtomicUsize> {
        &self.outboxes
    }

    /// The mode of a message file for channels of these owners.
    pub(crate) fn message_file_mode(&self, owners: impl Iterator<Item = u32>) -> FileMode {
        self.access.message_file(owners)
    }

    /// Whether its directory is still where it was opened.
    fn is_there(&self) -> bool {
        if self.gone.load(Relaxed) {
            return false;
        }
        let there = self.base.own_status().is_ok_and(|ours| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(&self.home).is_ok_and(|found| (found.dev(), found.ino()) == (ours.st_dev, ours.st_ino))
        });
        if !there {
            self.gone.store(true, Relaxed);
        }
        there
    }

    /// Notes that the directory was deleted; whoever comes next opens, and makes, it anew.
    pub(crate) fn gone(&self) -> Error {
        self.gone.store(true, Relaxed);
        Error::new(ErrorKind::Io, format_args!("the store {} was deleted", self.home.display()))
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    /// The page, and when it was last seen to be the store's: it is good for [`PAGE_CHECK_NS`] from then.
    fn page(&self, now: Moment) -> Result<(Arc<StorePage>, u64)> {
        let checked = self.page_checked.load(Relaxed);
        let page = Arc::clone(&self.page.read().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if !now.is_since(checked, PAGE_CHECK_NS) {
            return Ok((page, checked));
        }
        self.page_checked.store(now.ns, Relaxed);
        if page.is_current(&self.base) {
            return Ok((page, now.ns));
        }
        let fresh = StorePage::open(&self.home, &self.base, self.access.file())?;
        *self.page.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::clone(&fresh);
        Ok((fresh, now.ns))
    }

    /// New ids for `count` messages published at this time: this one and those behind it.
    pub(crate) fn next_ids(&self, now: Moment, count: u64) -> Result<u64> {
        Ok(self.page(now)?.0.next_ids(now.wall_us(), count))
    }

    /// From now on asks this one too to close what is idle.
    pub(crate) fn add_holder(&self, holder: Weak<dyn Holder>) {
        let mut holders = self.holders.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if holders.len() == holders.capacity() {
            holders.retain(|holder| holder.strong_count() > 0);
        }
        holders.push(holder);
    }

    /// Whether one more channel may be kept open for sending.
    pub(crate) fn may_keep_open(&self, now: u64) -> bool {
        // A quarter of the process's descriptors, 16 to 1,024.
        let budget = (fd::limit() / 4).clamp(16, 1024) as usize;
        let within = || self.outboxes.load(Relaxed) <= budget;
        // Looking at all of them is not for every publish.
        let looked = self.idle_looked.load(Relaxed);
        within()
            || (now.wrapping_sub(looked) >= IDLE_NS / 10 && {
                self.idle_looked.store(now, Relaxed);
                self.close_idle(now.saturating_sub(IDLE_NS)) > 0 && within()
            })
    }

    /// Closes channels that were last used for sending before this time; answers how many.
    pub(crate) fn close_idle(&self, before: u64) -> usize {
        // Taken out of the lock, since the last one to go closes channels itself.
        let holders = self.holders.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        let held: usize = holders.iter().filter_map(Weak::upgrade).map(|holder| holder.close_idle(before)).sum();
        held + self.registry.close_idle(before)
    }
}

/// Makes a store; [`ErrorKind::Exists`] when it is there.
pub fn create_store(home: Option<&Path>, options: &StoreOptions) -> Result<()> {
    let home = home.unwrap_or_else(|| self::home());
    let mode = match (options.mode & 0o777, &options.group) {
        _ if options.mode & !0o3777 != 0 => None,
        (0, None) => Some(0o700),
        (0, Some(_)) => Some(0o3770),
        (0o700, _) => Some(0o700),
        (mode @ (0o770 | 0o777), _) => Some(0o3000 | mode),
        _ => None,
    };
    let Some(mode) = mode else {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format_args!("mode {:o} is none that a store can have: 700, 770 or 777", options.mode),
        ));
    };
    let group = match &options.group {
        None => None,
        Some(name) => Some(
            process::find_group(name)
                .map_err(|e| Error::os(format_args!("looking up the group '{name}'"), e))?
                .ok_or_else(|| Error::new(ErrorKind::NotFound, format_args!("there is no group '{name}'")))?,
        ),
    };
    make_directory(home, mode, group)?;
    Store::at(Some(home)).map(|_| ())
}

/// Makes the store's directory, and those above it as they usually are, with its mode and group from the first moment in
/// which others can find it: it is made under another name and renamed.
fn make_directory(home: &Path, mode: u32, group: Option<u32>) -> Result<()> {
    let failed = |e: io::Error| match e.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => exists(home),
        io::ErrorKind::NotADirectory => Error::new(
            ErrorKind::InvalidArgument,
            format_args!("the store {} cannot be made: a part of its path is not a directory", home.display()),
        ),
        _ => Error::os(format_args!("making the store {}", home.display()), e),
    };
    let parent = home.parent().ok_or_else(|| exists(home))?;
    fs::create_dir_all(parent).map_err(failed)?;
    if fs::symlink_metadata(home).is_ok() {
        return Err(exists(home));
    }
    let parent = Directory::open(parent).map_err(failed)?;
    let name = home.file_name().ok_or_else(|| exists(home))?;
    use std::os::unix::ffi::OsStrExt;
    let c_name = |bytes: &[u8]| std::ffi::CString::new(bytes).map_err(|e| failed(e.into()));
    let made = c_name(format!(".pubsub.{}", random(12)).as_bytes())?;
    let name = c_name(name.as_bytes())?;
    parent.make_directory(&made, mode & 0o777).map_err(failed)?;
    let finish = || {
        let dir = parent.open_at(&made, libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        if let Some(gid) = group {
            directory::set_group(&dir, gid)?;
        }
        // After the group: changing it takes the set-group-ID bit away.
        directory::set_mode(&dir, mode)?;
        chaos::point("store.made");
        // Fails if another process was quicker and its store is in use already; replaces one that is still empty.
        parent.rename(&made, &name)
    };
    finish().map_err(|error| {
        let _ = parent.remove_directory(&made);
        failed(error)
    })
}

fn exists(home: &Path) -> Error {
    Error::new(ErrorKind::Exists, format_args!("the store {} is there already", home.display()))
}
