//! Text on its way out: UTF-8 with a NUL behind it.

use std::ffi::c_char;

/// Bytes with a NUL behind them. They may hold NULs of their own (JSON strings may), so C gets their length too.
#[derive(Debug)]
pub(super) struct Text(Box<[u8]>);

impl Text {
    pub(super) fn new(text: impl AsRef<[u8]>) -> Text {
        let text = text.as_ref();
        let mut bytes = Vec::with_capacity(text.len() + 1);
        bytes.extend_from_slice(text);
        bytes.push(0);
        Text(bytes.into_boxed_slice())
    }

    /// Valid as long as this text.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// Bytes before the NUL at the end.
    pub(super) fn len(&self) -> usize {
        self.0.len() - 1
    }

    /// For a sentence.
    pub(super) fn lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0[..self.len()])
    }
}
