//! Errors, version, and the constants that belong to no noun.

use std::ffi::{CStr, c_char, c_int};

use super::guard::{infallible, last_error};
use crate::error::ErrorKind;

/// An argument is NULL, out of range, not UTF-8, or used at the wrong time.
pub const PS_ERR_INVALID_ARGUMENT: c_int = -1;
/// A topic or pattern holds what topics cannot hold.
pub const PS_ERR_INVALID_TOPIC: c_int = -2;
/// Headers are not a JSON object.
pub const PS_ERR_INVALID_HEADERS: c_int = -3;
/// A message, or a buffer for one, is larger than what can be handled.
pub const PS_ERR_TOO_LARGE: c_int = -4;
/// The channel or publisher is closed, or was inherited through fork.
pub const PS_ERR_CLOSED: c_int = -5;
/// There is no such thing: nobody listens, no such topic.
pub const PS_ERR_NOT_FOUND: c_int = -6;
/// It is there already.
pub const PS_ERR_EXISTS: c_int = -7;
/// Every matching channel is full and rejects.
pub const PS_ERR_QUEUE_FULL: c_int = -8;
/// The file system that holds the store is full.
pub const PS_ERR_STORE_FULL: c_int = -9;
/// The store, or something in it, may not be used by this user.
pub const PS_ERR_PERMISSION: c_int = -10;
/// Something in the store is not what it should be.
pub const PS_ERR_CORRUPT: c_int = -11;
/// A wait ended because of a signal or `ps_channel_interrupt`.
pub const PS_ERR_INTERRUPTED: c_int = -12;
/// Not available on this system, or in this version.
pub const PS_ERR_UNSUPPORTED: c_int = -13;
/// The operating system refused; `ps_last_error` says what and why.
pub const PS_ERR_IO: c_int = -14;
/// A defect of the library.
pub const PS_ERR_INTERNAL: c_int = -15;

/// As `timeout_ms`: wait without end.
pub const PS_FOREVER: i64 = -1;

/// The library's version, such as "0.1.0": the one that is loaded, which may differ from the one compiled against.
///
/// Never NULL; never freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ps_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The name of an error: "PS_ERR_QUEUE_FULL" for -8.
///
/// `code`: what a function of this library answered. Zero and positive numbers are no errors, "success"; a negative
/// number that is no `PS_ERR_*` is "unknown". Never NULL; never freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ps_error_name(code: c_int) -> *const c_char {
    let name = match code {
        0.. => c"success",
        _ => ErrorKind::ALL.iter().position(|kind| kind.code() == code).map_or(c"unknown", |at| NAMES[at]),
    };
    name.as_ptr()
}

/// What the calling thread's last failure was: a sentence that names the topic, path or value at fault.
///
/// Never NULL; "" when nothing failed yet. Valid until this thread's next failure: copy it to keep it. Success leaves
/// it, so ask only after a negative answer. Any thread; each has its own.
///
/// ```c
/// ps_channel *channel;
/// int code = ps_channel_open("news.+", NULL, &channel);
/// if (code < 0) {
///     fprintf(stderr, "%s: %s\n", ps_error_name(code), ps_last_error());
/// } else {
///     ps_channel_close(channel);
/// }
/// ```
#[unsafe(no_mangle)]
pub extern "C" fn ps_last_error() -> *const c_char {
    infallible(c"".as_ptr(), last_error)
}

/// How many matching channels refused the calling thread's last publish: they were full or could not be written.
///
/// 0 after a publish that reached all, and before the first. After a batch: those that refused its last message. Any
/// thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn ps_last_rejected() -> u32 {
    // Unguarded: a look at a number, which bindings take after each publish.
    crate::last_rejected()
}

/// In the order of [`ErrorKind::ALL`], with the NUL that C wants.
const NAMES: [&CStr; ErrorKind::ALL.len()] = [
    c"PS_ERR_INVALID_ARGUMENT",
    c"PS_ERR_INVALID_TOPIC",
    c"PS_ERR_INVALID_HEADERS",
    c"PS_ERR_TOO_LARGE",
    c"PS_ERR_CLOSED",
    c"PS_ERR_NOT_FOUND",
    c"PS_ERR_EXISTS",
    c"PS_ERR_QUEUE_FULL",
    c"PS_ERR_STORE_FULL",
    c"PS_ERR_PERMISSION",
    c"PS_ERR_CORRUPT",
    c"PS_ERR_INTERRUPTED",
    c"PS_ERR_UNSUPPORTED",
    c"PS_ERR_IO",
    c"PS_ERR_INTERNAL",
];

/// The constants of the header are the codes of the Rust API.
const _: () = {
    let constants = [
        PS_ERR_INVALID_ARGUMENT,
        PS_ERR_INVALID_TOPIC,
        PS_ERR_INVALID_HEADERS,
        PS_ERR_TOO_LARGE,
        PS_ERR_CLOSED,
        PS_ERR_NOT_FOUND,
        PS_ERR_EXISTS,
        PS_ERR_QUEUE_FULL,
        PS_ERR_STORE_FULL,
        PS_ERR_PERMISSION,
        PS_ERR_CORRUPT,
        PS_ERR_INTERRUPTED,
        PS_ERR_UNSUPPORTED,
        PS_ERR_IO,
        PS_ERR_INTERNAL,
    ];
    let mut at = 0;
    while at < constants.len() {
        assert!(constants[at] == ErrorKind::ALL[at] as c_int);
        at += 1;
    }
    assert!(PS_FOREVER == -1);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_name() {
        for (kind, name) in ErrorKind::ALL.iter().zip(NAMES) {
            assert_eq!(name.to_str(), Ok(kind.name()));
            // SAFETY: a static, NUL-terminated text.
            assert_eq!(unsafe { CStr::from_ptr(ps_error_name(kind.code())) }, name);
        }
        for (code, name) in [(0, c"success"), (7, c"success"), (-16, c"unknown"), (c_int::MIN, c"unknown")] {
            // SAFETY: as above.
            assert_eq!(unsafe { CStr::from_ptr(ps_error_name(code)) }, name);
        }
    }
}
