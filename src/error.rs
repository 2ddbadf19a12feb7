//! What can go wrong: kinds with stable codes, and a sentence for people.

#![forbid(unsafe_code)]

use std::fmt;
use std::io;

/// The result of every fallible call.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of failure it was. The numbers are those of the C ABI and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument is NULL, out of range, not UTF-8, or used at the wrong time.
    InvalidArgument = -1,
    /// A topic or pattern holds what topics cannot hold.
    InvalidTopic = -2,
    /// Headers are not a JSON object.
    InvalidHeaders = -3,
    /// A message, or a buffer for one, is larger than what can be handled.
    TooLarge = -4,
    /// The channel or publisher is closed, or was inherited through fork.
    Closed = -5,
    /// There is no such thing: nobody listens, no such topic.
    NotFound = -6,
    /// It is there already.
    Exists = -7,
    /// Every matching channel is full and rejects.
    QueueFull = -8,
    /// The file system that holds the store is full.
    StoreFull = -9,
    /// The store, or something in it, may not be used by this user.
    Permission = -10,
    /// Something in the store is not what it should be.
    Corrupt = -11,
    /// A wait ended because of a signal or an interrupt.
    Interrupted = -12,
    /// Not available on this system, or in this version.
    Unsupported = -13,
    /// The operating system refused; the text says what and why.
    Io = -14,
    /// A defect of the library.
    Internal = -15,
}

impl ErrorKind {
    /// Every kind, in the order of its code.
    pub const ALL: [ErrorKind; 15] = [
        ErrorKind::InvalidArgument,
        ErrorKind::InvalidTopic,
        ErrorKind::InvalidHeaders,
        ErrorKind::TooLarge,
        ErrorKind::Closed,
        ErrorKind::NotFound,
        ErrorKind::Exists,
        ErrorKind::QueueFull,
        ErrorKind::StoreFull,
        ErrorKind::Permission,
        ErrorKind::Corrupt,
        ErrorKind::Interrupted,
        ErrorKind::Unsupported,
        ErrorKind::Io,
        ErrorKind::Internal,
    ];

    /// The code of the C ABI: `PS_ERR_*`, always negative.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// The name of the C constant, such as `PS_ERR_QUEUE_FULL`.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::InvalidArgument => "PS_ERR_INVALID_ARGUMENT",
            ErrorKind::InvalidTopic => "PS_ERR_INVALID_TOPIC",
            ErrorKind::InvalidHeaders => "PS_ERR_INVALID_HEADERS",
            ErrorKind::TooLarge => "PS_ERR_TOO_LARGE",
            ErrorKind::Closed => "PS_ERR_CLOSED",
            ErrorKind::NotFound => "PS_ERR_NOT_FOUND",
            ErrorKind::Exists => "PS_ERR_EXISTS",
            ErrorKind::QueueFull => "PS_ERR_QUEUE_FULL",
            ErrorKind::StoreFull => "PS_ERR_STORE_FULL",
            ErrorKind::Permission => "PS_ERR_PERMISSION",
            ErrorKind::Corrupt => "PS_ERR_CORRUPT",
            ErrorKind::Interrupted => "PS_ERR_INTERRUPTED",
            ErrorKind::Unsupported => "PS_ERR_UNSUPPORTED",
            ErrorKind::Io => "PS_ERR_IO",
            ErrorKind::Internal => "PS_ERR_INTERNAL",
        }
    }
}

/// A failure: its [kind](ErrorKind) and a sentence that names the topic, path or value at fault and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// An error of this kind with this sentence.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Error {
        Error { kind, message: message.to_string(), source: None }
    }

    /// An error that the operating system reported while doing `what` (such as "opening the queue of 'a.b'").
    ///
    /// Full, forbidden and descriptor-limit conditions get their own kind and advice.
    pub(crate) fn os(what: impl fmt::Display, source: io::Error) -> Error {
        let (kind, advice) = match source.raw_os_error() {
            Some(libc::ENOSPC) | Some(libc::EDQUOT) => {
                (ErrorKind::StoreFull, "; free space in the store's file system, or run 'pubsub gc'")
            }
            Some(libc::EACCES) | Some(libc::EPERM) | Some(libc::EROFS) => {
                (ErrorKind::Permission, "; check the store's owner and mode")
            }
            Some(libc::EMFILE) => (ErrorKind::Io, "; raise this process's limit of open files (ulimit -n)"),
            Some(libc::ENFILE) => (ErrorKind::Io, "; the system's limit of open files (fs.file-max) is reached"),
            _ => (ErrorKind::Io, ""),
        };
        Error { kind, message: format!("{what}: {source}{advice}"), source: Some(source) }
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The code of the C ABI, always negative.
    pub fn code(&self) -> i32 {
        self.kind.code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_abi() {
        for (i, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(kind.code(), -(i as i32) - 1);
            assert!(kind.name().starts_with("PS_ERR_"));
        }
    }

    #[test]
    fn os_errors_say_what_failed_and_what_to_do() {
        let e = Error::os("opening the queue of 'a.b'", io::Error::from_raw_os_error(libc::EMFILE));
        assert_eq!(e.kind(), ErrorKind::Io);
        assert!(e.to_string().contains("'a.b'") && e.to_string().contains("ulimit -n"));
        assert_eq!(Error::os("x", io::Error::from_raw_os_error(libc::ENOSPC)).kind(), ErrorKind::StoreFull);
    }
}
