//! Headers.

use std::ffi::{c_char, c_int};
use std::sync::OnceLock;

use super::arguments::{self, object, object_mut, output, string};
use super::guard::{fallible, infallible};
use super::text::Text;
use crate::error::{Error, ErrorKind, Result};
use crate::{HeaderValue, Headers};

/// `null`.
pub const PS_HEADER_NULL: i32 = 0;
/// `true` or `false`, in `boolean`.
pub const PS_HEADER_BOOL: i32 = 1;
/// An integer of 64 bits, in `integer`.
pub const PS_HEADER_INT: i32 = 2;
/// Any other number, NaN and the infinities included, in `number`.
pub const PS_HEADER_DOUBLE: i32 = 3;
/// Text, in `string` and `string_len`.
pub const PS_HEADER_STRING: i32 = 4;
/// JSON that is none of these (nested, or an integer beyond 64 bits): its text, in `string` and `string_len`.
pub const PS_HEADER_OTHER: i32 = 5;

/// Names and values that travel with a message, in the order in which they were set: a JSON object.
///
/// Functions that take it as `const` may run on several threads at once; one that changes or frees it must be alone.
pub struct ps_headers {
    headers: Headers,
    /// What C looks at, made when it first looks, dropped by a change. `OnceLock`, since several may look at once.
    views: OnceLock<Box<[View]>>,
    json: OnceLock<Text>,
}

/// A header's texts with a NUL behind each.
struct View {
    name: Text,
    string: Option<Text>,
}

/// The value of a header. This struct never changes.
#[repr(C)]
pub struct ps_header_value {
    /// One of `PS_HEADER_*`; it says which of the other fields holds the value. The others are 0.
    pub r#type: i32,
    /// For `PS_HEADER_BOOL`.
    pub boolean: bool,
    /// For `PS_HEADER_INT`.
    pub integer: i64,
    /// For `PS_HEADER_DOUBLE`; for `PS_HEADER_INT` the same number, rounded if need be.
    pub number: f64,
    /// For `PS_HEADER_STRING` and `PS_HEADER_OTHER`: UTF-8 that ends in NUL; else NULL. It belongs to the headers and is
    /// valid until they are changed or freed.
    pub string: *const c_char,
    /// Bytes of `string` before that NUL: a string may hold NULs of its own.
    pub string_len: usize,
}

impl ps_headers {
    fn new(headers: Headers) -> ps_headers {
        ps_headers { headers, views: OnceLock::new(), json: OnceLock::new() }
    }

    /// The Rust headers inside.
    pub(super) fn inner(&self) -> &Headers {
        &self.headers
    }

    fn into_raw(self) -> *mut ps_headers {
        Box::into_raw(Box::new(self))
    }

    fn set(&mut self, name: &str, value: HeaderValue) {
        self.headers.set(name, value);
        self.views.take();
        self.json.take();
    }

    fn views(&self) -> &[View] {
        self.views.get_or_init(|| {
            let view = |(name, value): (&str, &HeaderValue)| View {
                name: Text::new(name),
                string: match value {
                    HeaderValue::String(text) | HeaderValue::Other(text) => Some(Text::new(text)),
                    _ => None,
                },
            };
            self.headers.iter().map(view).collect()
        })
    }

    fn at(&self, index: usize) -> Option<(&View, ps_header_value)> {
        let (_, value) = self.headers.iter().nth(index)?;
        let view = self.views().get(index)?;
        let mut out = ps_header_value {
            r#type: PS_HEADER_NULL,
            boolean: false,
            integer: 0,
            number: 0.0,
            string: std::ptr::null(),
            string_len: 0,
        };
        match value {
            HeaderValue::Null => {}
            HeaderValue::Bool(boolean) => (out.r#type, out.boolean) = (PS_HEADER_BOOL, *boolean),
            HeaderValue::Int(integer) => {
                (out.r#type, out.integer, out.number) = (PS_HEADER_INT, *integer, *integer as f64);
            }
            HeaderValue::Double(number) => (out.r#type, out.number) = (PS_HEADER_DOUBLE, *number),
            HeaderValue::String(_) => out.r#type = PS_HEADER_STRING,
            HeaderValue::Other(_) => out.r#type = PS_HEADER_OTHER,
        }
        if let Some(text) = &view.string {
            (out.string, out.string_len) = (text.as_ptr(), text.len());
        }
        Some((view, out))
    }
}

/// Hands parsed headers out.
///
/// # Safety
/// `place` is valid for a write.
pub(super) unsafe fn hand_out(headers: Headers, place: *mut *mut ps_headers) {
    // SAFETY: the caller's promise is ours.
    unsafe { place.write(ps_headers::new(headers).into_raw()) };
}

/// Empty headers, to be filled with `ps_headers_set_*` and freed with `ps_headers_free`.
///
/// Never NULL, but for a defect of the library. Any thread.
///
/// ```c
/// ps_headers *headers = ps_headers_new();
/// ps_headers_set_string(headers, "unit", "celsius", PS_NUL_TERMINATED);
/// ps_headers_set_int(headers, "sensor", 7);
/// ps_publish("lab.temperature", "21.5", PS_NUL_TERMINATED, headers);
/// ps_headers_free(headers);
/// ```
#[unsafe(no_mangle)]
pub extern "C" fn ps_headers_new() -> *mut ps_headers {
    infallible(std::ptr::null_mut(), || ps_headers::new(Headers::new()).into_raw())
}

/// Reads headers from JSON text: an object, with NaN, Infinity and integers of any size as Python writes them. Of
/// duplicate names the last counts.
///
/// `json`, `len`: UTF-8, `len` bytes or `PS_NUL_TERMINATED`. `headers`: to be freed with `ps_headers_free`.
///
/// Answers 0. Errors: `PS_ERR_INVALID_HEADERS` for anything that is not an object; `PS_ERR_INVALID_ARGUMENT`. Any
/// thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_parse(json: *const c_char, len: usize, headers: *mut *mut ps_headers) -> c_int {
    fallible(|| {
        let place = output("headers", headers)?;
        // SAFETY: NULL or text of that length by the header's terms.
        let json = unsafe { arguments::bytes("json", json.cast(), len, isize::MAX as usize) }?;
        let json = std::str::from_utf8(json).map_err(|e| {
            let message = format!("headers are not UTF-8 ({e}): '{}'", arguments::shown(json));
            Error::new(ErrorKind::InvalidHeaders, message)
        })?;
        let parsed = Headers::parse(json)?;
        // SAFETY: checked above, and a place for a pointer by the header's terms.
        unsafe { hand_out(parsed, place) };
        Ok(0)
    })
}

/// # Safety
/// `headers` is NULL or live headers that nobody else uses meanwhile; `key` is NULL or ends in NUL.
unsafe fn set(headers: *mut ps_headers, key: *const c_char, value: impl FnOnce() -> Result<HeaderValue>) -> c_int {
    fallible(|| {
        // SAFETY: the caller's promise is ours.
        let (headers, key) = unsafe { (object_mut("headers", headers)?, string("key", key)?) };
        headers.set(key, value()?);
        Ok(0)
    })
}

/// Sets a header to text. A name that is there keeps its place.
///
/// `key`: NUL-terminated UTF-8. `value`, `len`: UTF-8, `len` bytes or `PS_NUL_TERMINATED`; NULL with 0 is "".
///
/// Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_set_string(
    headers: *mut ps_headers,
    key: *const c_char,
    value: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: NULL or what the header asks for, in each place.
    unsafe {
        set(headers, key, || {
            let text = arguments::bytes("value", value.cast(), len, isize::MAX as usize)?;
            Ok(HeaderValue::String(arguments::utf8("value", text)?.to_owned()))
        })
    }
}

/// Sets a header to an integer. A name that is there keeps its place.
///
/// `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_set_int(headers: *mut ps_headers, key: *const c_char, value: i64) -> c_int {
    // SAFETY: NULL or what the header asks for, in each place.
    unsafe { set(headers, key, || Ok(HeaderValue::Int(value))) }
}

/// Sets a header to a number; NaN and the infinities travel as Python's `json` writes them. A name that is there keeps
/// its place.
///
/// `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_set_double(headers: *mut ps_headers, key: *const c_char, value: f64) -> c_int {
    // SAFETY: NULL or what the header asks for, in each place.
    unsafe { set(headers, key, || Ok(HeaderValue::Double(value))) }
}

/// Sets a header to true or false. A name that is there keeps its place.
///
/// `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_set_bool(headers: *mut ps_headers, key: *const c_char, value: bool) -> c_int {
    // SAFETY: NULL or what the header asks for, in each place.
    unsafe { set(headers, key, || Ok(HeaderValue::Bool(value))) }
}

/// Sets a header to null. A name that is there keeps its place.
///
/// `key`: NUL-terminated UTF-8. Answers 0. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_set_null(headers: *mut ps_headers, key: *const c_char) -> c_int {
    // SAFETY: NULL or what the header asks for, in each place.
    unsafe { set(headers, key, || Ok(HeaderValue::Null)) }
}

/// How many headers there are; 0 for NULL. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_count(headers: *const ps_headers) -> usize {
    // SAFETY: NULL or live headers by the header's terms.
    infallible(0, || unsafe { headers.as_ref() }.map_or(0, |headers| headers.inner().len()))
}

/// Looks a header up by its name.
///
/// `key`: NUL-terminated UTF-8. `value`: written when there is one.
///
/// Answers 1 when there is one, 0 when there is none. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
///
/// ```c
/// ps_headers *headers;
/// if (ps_headers_parse("{\"sensor\": 7}", PS_NUL_TERMINATED, &headers) == 0) {
///     ps_header_value value;
///     if (ps_headers_get(headers, "sensor", &value) == 1 && value.type == PS_HEADER_INT) {
///         printf("sensor %lld\n", (long long)value.integer);
///     }
///     ps_headers_free(headers);
/// }
/// ```
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_get(
    headers: *const ps_headers,
    key: *const c_char,
    value: *mut ps_header_value,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or what the header asks for, in each place.
        let (headers, key) = unsafe { (object("headers", headers)?, string("key", key)?) };
        let place = output("value", value)?;
        let index = headers.inner().iter().position(|(name, _)| name == key);
        let Some((_, found)) = index.and_then(|index| headers.at(index)) else { return Ok(0) };
        // SAFETY: checked above, and a place for a value by the header's terms.
        unsafe { place.write(found) };
        Ok(1)
    })
}

/// The header at a position, 0 to `ps_headers_count` - 1, in the order in which they were set.
///
/// `key`, `key_len`: its name, which ends in NUL, and the bytes before that; valid until the headers are changed or
/// freed. `value`: its value.
///
/// Answers 1, or 0 when the position is behind the last. Errors: `PS_ERR_INVALID_ARGUMENT`. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_at(
    headers: *const ps_headers,
    index: usize,
    key: *mut *const c_char,
    key_len: *mut usize,
    value: *mut ps_header_value,
) -> c_int {
    fallible(|| {
        // SAFETY: NULL or live headers by the header's terms.
        let headers = unsafe { object("headers", headers) }?;
        let (key, key_len, value) = (output("key", key)?, output("key_len", key_len)?, output("value", value)?);
        let Some((view, found)) = headers.at(index) else { return Ok(0) };
        // SAFETY: none is NULL, so each is a place for its output by the header's terms.
        unsafe {
            key.write(view.name.as_ptr());
            key_len.write(view.name.len());
            value.write(found);
        }
        Ok(1)
    })
}

/// All of them as JSON text, as it travels; "{}" when there are none, and for NULL.
///
/// Never NULL; ends in NUL; valid until the headers are changed or freed. Any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_json(headers: *const ps_headers) -> *const c_char {
    infallible(c"{}".as_ptr(), || {
        // SAFETY: NULL or live headers by the header's terms.
        let headers = unsafe { headers.as_ref() };
        headers.map_or(c"{}".as_ptr(), |headers| {
            headers.json.get_or_init(|| Text::new(headers.inner().to_json())).as_ptr()
        })
    })
}

/// Frees headers. NULL is ignored. Any thread, one at a time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ps_headers_free(headers: *mut ps_headers) {
    if headers.is_null() {
        return;
    }
    infallible((), || {
        // SAFETY: not NULL, so what `into_raw` gave, not yet freed by the header's terms.
        drop(unsafe { Box::from_raw(headers) });
    })
}
