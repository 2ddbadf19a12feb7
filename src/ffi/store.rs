//! The store.

use std::ffi::{c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::sync::OnceLock;

use super::arguments::{self, Options};
use super::guard::{fallible, infallible};
use super::text::Text;
use crate::StoreOptions;
use crate::error::{Error, ErrorKind};

/// A store of a given mode and group. Begin with `PS_STORE_OPTIONS_INIT`.
#[repr(C)]
pub struct ps_store_options {
    /// `sizeof(ps_store_options)`.
    pub size: u32,
    /// Permission bits of the directory: 0 (0770 with a group, else 0700), 0700, 0770 or 0777. A mode that others share
    /// gets the set-group-ID and sticky bits too.
    pub mode: u32,
    /// The group that owns it, by name or number; NULL: the caller's.
    pub group: *const c_char,
}

// SAFETY: integers and a pointer, which may be NULL.
unsafe impl Options for ps_store_options {
    const NAME: &'static str = "ps_store_options";
    const FIRST_SIZE: usize = 16;
}

/// The default store's directory: the environment's PUBSUB_HOME (empty counts as unset), else /dev/shm/pubsub, else
/// `pubsub` in the system's temporary directory. Decided at first use and kept.
///
/// Never NULL; never freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ps_home() -> *const c_char {
    static HOME: OnceLock<Text> = OnceLock::new();
    infallible(c"".as_ptr(), || HOME.get_or_init(|| Text::new(crate::home().as_os_str().as_bytes())).as_ptr())
}

/// Makes a store, for instance one that a group shares. Others are made on first use, private to their user.
///
/// `home`: the directory; NULL: the default store's. `options`: NULL: private.
///
/// Answers 0. Errors: `PS_ERR_EXISTS` when it is there; `PS_ERR_INVALID_ARGUMENT` for another mode; `PS_ERR_NOT_FOUND` for
/// a group that is not known; `PS_ERR_UNSUPPORTED` for options of a later version; `PS_ERR_PERMISSION`;
/// `PS_ERR_STORE_FULL`; `PS_ERR_IO`. Any thread.
///
/// ```c
/// ps_store_options options = PS_STORE_OPTIONS_INIT;
/// options.group = "sensors";
/// if (ps_store_create("/dev/shm/sensors", &options) < 0) {
///     fprintf(stderr, "%s\n", ps_last_error());
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_store_create(home: *const c_char, options: *const ps_store_options) -> c_int {
    fallible(|| {
        // SAFETY: the caller passes NULL or what the header asks for, in each place.
        let (home, given) = unsafe { (arguments::home(home)?, arguments::options(options)?) };
        let mut options = StoreOptions::default();
        if let Some(given) = given {
            options.mode = given.mode;
            if !given.group.is_null() {
                // SAFETY: not NULL, so a string by the header's terms.
                options.group = Some(unsafe { arguments::string("group", given.group) }?.to_owned());
            }
        }
        crate::create_store(home, &options)?;
        Ok(0)
    })
}

/// Removes what dead processes left in a store; the living notice nothing. Opening channels does it step by step, so
/// this is for those who want it done at once.
///
/// `home`: the store; NULL: the default one.
///
/// Answers how many channels were removed. Errors: `PS_ERR_INVALID_ARGUMENT`, `PS_ERR_PERMISSION`, `PS_ERR_IO`. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_cleanup(home: *const c_char) -> i64 {
    fallible(|| {
        // SAFETY: NULL or a string by the header's terms.
        let removed = crate::cleanup(unsafe { arguments::home(home) }?)?;
        i64::try_from(removed).map_err(|_| Error::new(ErrorKind::Internal, format!("{removed} channels removed")))
    })
}
