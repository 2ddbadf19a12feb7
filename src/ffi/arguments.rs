//! Arguments on their way in: each helper checks one kind and names the argument and its value when it is wrong.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// In place of a string's or payload's length: up to its NUL. `PS_NUL_TERMINATED` in C.
pub(super) const NUL_TERMINATED: usize = usize::MAX;

/// The largest payload.
pub(super) const MAX_PAYLOAD: usize = u32::MAX as usize;

pub(super) fn invalid(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn null(what: &str) -> Error {
    invalid(format!("the argument '{what}' is NULL"))
}

/// An object lent by the caller.
///
/// # Safety
/// `pointer` is NULL or points to a live `T` that nobody changes meanwhile.
pub(super) unsafe fn object<'a, T>(what: &str, pointer: *const T) -> Result<&'a T> {
    // SAFETY: the caller's promise is ours.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// An object lent by the caller for a change.
///
/// # Safety
/// `pointer` is NULL or points to a live `T` that nobody else uses meanwhile.
pub(super) unsafe fn object_mut<'a, T>(what: &str, pointer: *mut T) -> Result<&'a mut T> {
    // SAFETY: the caller's promise is ours.
    unsafe { pointer.as_mut() }.ok_or_else(|| null(what))
}

/// A place for an output, which may hold anything yet.
pub(super) fn output<T>(what: &str, pointer: *mut T) -> Result<*mut T> {
    if pointer.is_null() { Err(null(what)) } else { Ok(pointer) }
}

/// Bytes: NULL with 0 is none, [`NUL_TERMINATED`] is up to the NUL, and `limit` is the most there may be.
///
/// # Safety
/// `pointer` is NULL or points to `len` bytes, or to bytes that end in NUL, that nobody changes meanwhile.
pub(super) unsafe fn bytes<'a>(what: &str, pointer: *const c_void, len: usize, limit: usize) -> Result<&'a [u8]> {
    if pointer.is_null() {
        return match len {
            0 => Ok(&[]),
            NUL_TERMINATED => Err(invalid(format!("the argument '{what}' is NULL, not text that ends in NUL"))),
            _ => Err(invalid(format!("the argument '{what}' is NULL, with a length of {len}"))),
        };
    }
    let found = if len == NUL_TERMINATED {
        // SAFETY: the caller promises text that ends in NUL.
        unsafe { CStr::from_ptr(pointer.cast()) }.to_bytes()
    } else if len <= limit.min(isize::MAX as usize) {
        // SAFETY: not NULL, `len` bytes by the caller's promise, and no more than a slice may have.
        unsafe { std::slice::from_raw_parts(pointer.cast(), len) }
    } else {
        return Err(too_large(what, len, limit));
    };
    if found.len() > limit { Err(too_large(what, found.len(), limit)) } else { Ok(found) }
}

fn too_large(what: &str, len: usize, limit: usize) -> Error {
    Error::new(ErrorKind::TooLarge, format!("'{what}' has {len} bytes, more than the {limit} that are possible"))
}

/// NUL-terminated UTF-8.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn string<'a>(what: &str, pointer: *const c_char) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: not NULL, and ends in NUL by the caller's promise.
    utf8(what, unsafe { CStr::from_ptr(pointer) }.to_bytes())
}

pub(super) fn utf8<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(bytes)
        .map_err(|e| invalid(format!("the argument '{what}' is not UTF-8 ({e}): '{}'", shown(bytes))))
}

/// Bytes for a sentence: escaped, and no more of them than one wants to read.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    match bytes.get(..MOST) {
        Some(start) => format!("{}...", start.escape_ascii()),
        None => bytes.escape_ascii().to_string(),
    }
}

/// A topic or pattern. What is not even UTF-8 is no topic, rather than no argument.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn topic<'a>(pointer: *const c_char) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null("topic"));
    }
    // SAFETY: not NULL, and ends in NUL by the caller's promise.
    let bytes = unsafe { CStr::from_ptr(pointer) }.to_bytes();
    std::str::from_utf8(bytes).map_err(|_| {
        let message = format!("'{}' is no topic: topics hold letters, digits, '-' and '.'", shown(bytes));
        Error::new(ErrorKind::InvalidTopic, message)
    })
}

/// A store's directory; NULL is the default store.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn home<'a>(pointer: *const c_char) -> Result<Option<&'a Path>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is ours.
    match unsafe { string("home", pointer) }? {
        "" => Err(invalid("the argument 'home' is empty; name a directory, or pass NULL for the default store")),
        path => Ok(Some(Path::new(path))),
    }
}

/// [`home`], to keep.
///
/// # Safety
/// As for [`bytes`].
pub(super) unsafe fn home_buf(pointer: *const c_char) -> Result<Option<PathBuf>> {
    // SAFETY: the caller's promise is ours.
    Ok(unsafe { home(pointer) }?.map(Path::to_path_buf))
}

/// Milliseconds; `None` is without end.
pub(super) fn timeout(timeout_ms: i64) -> Result<Option<Duration>> {
    match timeout_ms {
        -1 => Ok(None),
        0.. => Ok(Some(Duration::from_millis(timeout_ms.unsigned_abs()))),
        _ => Err(invalid(format!("timeout_ms is {timeout_ms}; it must be PS_FOREVER (-1), 0 or more"))),
    }
}

/// An option struct: plain old data that begins with `uint32_t size`.
///
/// # Safety
/// All bytes zero is a valid `Self`, as is every pattern of bits that a C program can store into it.
pub(super) unsafe trait Options: Sized {
    /// Its name in C.
    const NAME: &'static str;
    /// Its size in the first version that had it.
    const FIRST_SIZE: usize;
}

/// Reads an option struct of whatever version the caller was compiled with; `None` when it is NULL. Fields that the
/// caller does not know are zero; bytes that we do not know must be.
///
/// # Safety
/// `pointer` is NULL or points to as many bytes as its first `uint32_t` says.
pub(super) unsafe fn options<T: Options>(pointer: *const T) -> Result<Option<T>> {
    if pointer.is_null() {
        return Ok(None);
    }
    let start = pointer.cast::<u8>();
    // SAFETY: every option struct begins with its size. (Copied byte by byte: alignment is the caller's affair.)
    let size = unsafe { start.cast::<u32>().read_unaligned() } as usize;
    if size < T::FIRST_SIZE {
        return Err(invalid(format!(
            "{}.size is {size}, less than {}; begin with the initializer of pubsub.h",
            T::NAME,
            T::FIRST_SIZE
        )));
    }
    // SAFETY: `size` bytes by the caller's promise.
    let unknown = unsafe { std::slice::from_raw_parts(start, size) }.get(size_of::<T>()..).unwrap_or_default();
    if let Some(at) = unknown.iter().position(|&byte| byte != 0) {
        let message = format!(
            "{} has a value at byte {}, where this version ({}) of the library knows no field",
            T::NAME,
            size_of::<T>() + at,
            env!("CARGO_PKG_VERSION")
        );
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let mut options = MaybeUninit::<T>::zeroed();
    // SAFETY: both have at least that many bytes, and ours is new; what the copy leaves out is zero, which `Options`
    // makes valid.
    unsafe {
        std::ptr::copy_nonoverlapping(start, options.as_mut_ptr().cast::<u8>(), size.min(size_of::<T>()));
        Ok(Some(options.assume_init()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    struct Sample {
        size: u32,
        first: u32,
        later: u64,
    }

    // SAFETY: integers only.
    unsafe impl Options for Sample {
        const NAME: &'static str = "sample";
        const FIRST_SIZE: usize = 8;
    }

    fn read(words: &mut [u32], size: u32) -> Result<Option<Sample>> {
        words[0] = size;
        assert!(size as usize <= size_of_val(words));
        // SAFETY: there are as many bytes as `size` says.
        unsafe { options(words.as_ptr().cast::<Sample>()) }
    }

    #[test]
    fn options_of_every_version_are_read() {
        let older = read(&mut [0, 7, 8, 9], 8).expect("valid").expect("there");
        assert_eq!((older.size, older.first, older.later), (8, 7, 0));
        let same = read(&mut [0, 7, 8, 0], 16).expect("valid").expect("there");
        assert_eq!((same.first, same.later), (7, 8));
        let newer = read(&mut [0, 7, 8, 0, 0, 0], 24).expect("valid").expect("there");
        assert_eq!((newer.first, newer.later), (7, 8));

        let unknown = read(&mut [0, 7, 8, 0, 0, 1], 24).err().expect("refused");
        assert_eq!(unknown.kind(), ErrorKind::Unsupported);
        assert!(unknown.to_string().contains("byte 20"), "{unknown}");
        for size in [0, 4, 7] {
            let short = read(&mut [0, 7], size).err().expect("refused");
            assert_eq!(short.kind(), ErrorKind::InvalidArgument);
            assert!(short.to_string().contains(&format!("size is {size}")), "{short}");
        }
    }
}
