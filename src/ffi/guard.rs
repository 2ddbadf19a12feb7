//! The guard on every entry point: no panic crosses into C, none prints, and every failure leaves its sentence.

use std::cell::{Cell, RefCell};
use std::ffi::{c_char, c_int};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use super::text::Text;
use crate::error::{ErrorKind, Result};

thread_local! {
    /// The sentence of this thread's last failure.
    static LAST_ERROR: RefCell<Option<Text>> = const { RefCell::new(None) };
    /// Whether this thread runs the library's code on behalf of C: its panics are answered, not printed.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Where the panic that is being answered happened, and what it said.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// An integer that says how it went.
pub(super) trait Answer {
    fn failed(kind: ErrorKind) -> Self;
}

impl Answer for c_int {
    fn failed(kind: ErrorKind) -> c_int {
        kind.code()
    }
}

impl Answer for i64 {
    fn failed(kind: ErrorKind) -> i64 {
        kind.code().into()
    }
}

/// Runs a function that can fail. A failure's sentence becomes the thread's last error.
pub(super) fn fallible<T: Answer>(body: impl FnOnce() -> Result<T>) -> T {
    match caught(body) {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => {
            set_last_error(&error.to_string());
            T::failed(error.kind())
        }
        None => T::failed(ErrorKind::Internal),
    }
}

/// Runs a function that has no error to answer: `neutral` if it panics.
pub(super) fn infallible<T>(neutral: T, body: impl FnOnce() -> T) -> T {
    caught(body).unwrap_or(neutral)
}

/// Runs code that is not the library's own (a callback), whose panics are its own affair.
pub(super) fn outside<T>(body: impl FnOnce() -> T) -> T {
    let _restored = Mark::set(false);
    body()
}

/// The calling thread's last error, `""` before the first. Valid until the thread's next failure.
pub(super) fn last_error() -> *const c_char {
    // A thread that is ending may have lost its storage already.
    LAST_ERROR.try_with(|last| last.borrow().as_ref().map(Text::as_ptr)).ok().flatten().unwrap_or(c"".as_ptr())
}

fn set_last_error(sentence: &str) {
    let text = Text::new(sentence.replace('\0', "\\0"));
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = Some(text));
}

/// `None`: it panicked, and the last error says so.
fn caught<T>(body: impl FnOnce() -> T) -> Option<T> {
    static QUIET: Once = Once::new();
    // A panicking thread (of a Rust program that cleans up) may not change the hook; the next call does.
    if !std::thread::panicking() {
        QUIET.call_once(silence_panics);
    }
    let restored = Mark::set(true);
    // Unwind safety: what a panic may leave half done is reachable only through the caller's handles, which know that
    // PS_ERR_INTERNAL is a defect of the library.
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    drop(restored);
    match result {
        Ok(value) => Some(value),
        Err(_) => {
            let what = PANIC.try_with(|panic| panic.borrow_mut().take()).ok().flatten();
            let what = what.as_deref().unwrap_or("no more is known");
            set_last_error(&format!("a defect of libpubsub ({what}); please report it"));
            None
        }
    }
}

/// The library writes nothing to stderr, but the panic hook would. This one keeps what a panic inside the library said,
/// and leaves all others (of a Rust program that links the library) to the hook that was there.
fn silence_panics() {
    let others = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if INSIDE.try_with(Cell::get).unwrap_or(false) {
            let payload = info.payload();
            let said = payload.downcast_ref::<&str>().copied();
            let said = said.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic");
            let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
            let _ = PANIC.try_with(|panic| *panic.borrow_mut() = Some(format!("{said}{place}")));
        } else {
            others(info);
        }
    }));
}

/// Sets [`INSIDE`] until it is dropped: calls nest (a callback may publish).
struct Mark(bool);

impl Mark {
    fn set(inside: bool) -> Mark {
        Mark(INSIDE.try_with(|mark| mark.replace(inside)).unwrap_or(false))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|mark| mark.set(self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Error;

    fn last() -> String {
        // SAFETY: the text is NUL-terminated and lives until this thread's next failure.
        unsafe { CStr::from_ptr(last_error()) }.to_str().expect("UTF-8").to_owned()
    }

    #[test]
    fn failures_leave_their_sentence_and_success_leaves_it_alone() {
        std::thread::spawn(|| {
            assert_eq!(last(), "");
            let failed: c_int = fallible(|| Err(Error::new(ErrorKind::NotFound, "nobody listens on 'a\0b'")));
            assert_eq!((failed, last().as_str()), (-6, "nobody listens on 'a\\0b'"));
            assert_eq!(fallible(|| Ok(7i64)), 7);
            assert_eq!(last(), "nobody listens on 'a\\0b'");
        })
        .join()
        .expect("the thread");
    }

    #[test]
    fn panics_become_errors_and_print_nothing() {
        static PRINTED: AtomicU32 = AtomicU32::new(0);
        std::thread::Builder::new()
            .name("guarded".to_owned())
            .spawn(|| {
                let before = panic::take_hook();
                panic::set_hook(Box::new(move |info| {
                    if std::thread::current().name() == Some("guarded") {
                        PRINTED.fetch_add(1, Ordering::Relaxed);
                    } else {
                        before(info);
                    }
                }));
                silence_panics();

                let answer: i64 = fallible(|| panic!("wrong {}", 5));
                assert_eq!(answer, -15);
                assert!(last().contains("wrong 5") && last().contains("guard.rs"), "{}", last());
                assert_eq!(infallible(3, || panic!("again")), 3);
                assert!(last().contains("again"));
                assert_eq!(PRINTED.load(Ordering::Relaxed), 0);

                // A callback's panic is not ours to hide, and the mark comes back after it.
                let answer: i64 = fallible(|| {
                    let _ = outside(|| panic::catch_unwind(|| panic!("the callback's")));
                    panic!("ours")
                });
                assert_eq!((answer, PRINTED.load(Ordering::Relaxed)), (-15, 1));
                assert!(last().contains("ours"));
            })
            .expect("a thread")
            .join()
            .expect("the thread");
    }
}
