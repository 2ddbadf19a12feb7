//! How a message looks on standard output.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pubsub::{HeaderValue, Message};

/// The output formats of `sub`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line a message, for people
    Text,
    /// A line a message, for programs
    Json,
    /// The contents and nothing else
    Raw,
}

/// Appends the message in this format.
pub fn write_message(out: &mut Vec<u8>, format: Format, message: &Message) {
    match format {
        Format::Text => write_text(out, message.topic(), message.data()),
        Format::Json => write_json(out, message),
        Format::Raw => out.extend_from_slice(message.data()),
    }
}

fn write_text(out: &mut Vec<u8>, topic: &str, data: &[u8]) {
    // What `echo` or a file's last line left behind is no part of what a person wants to see.
    let data = data.strip_suffix(b"\n").unwrap_or(data);
    write_printable(out, topic.as_bytes());
    out.push(b' ');
    write_printable(out, data);
    out.push(b'\n');
}

/// Appends what [`printable`] makes of it; most is printable as it is.
fn write_printable(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        out.extend_from_slice(bytes);
    } else {
        out.extend_from_slice(printable(bytes).as_bytes());
    }
}

fn write_json(out: &mut Vec<u8>, message: &Message) {
    // The id is text: almost every id is above 2^53, and jq and JavaScript would round it.
    let _ = write!(out, r#"{{"id":"{}","timestamp":{},"topic":"#, message.id(), message.timestamp_us());
    write_json_string(out, message.topic());
    out.extend_from_slice(br#","headers":"#);
    write_headers(out, message);
    match std::str::from_utf8(message.data()) {
        Ok(text) => {
            out.extend_from_slice(br#","content":"#);
            write_json_string(out, text);
        }
        Err(_) => {
            out.extend_from_slice(br#","content_base64":""#);
            out.extend_from_slice(STANDARD.encode(message.data()).as_bytes());
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

/// The headers as they were received, if they can stand in a line of JSON; else what the library makes of them.
fn write_headers(out: &mut Vec<u8>, message: &Message) {
    let text = message.headers_json();
    if text == "{}" {
        out.extend_from_slice(b"{}");
    } else if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok() {
        // A line break in JSON stands between tokens, where a space says the same.
        out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    } else {
        out.push(b'{');
        for (i, (name, value)) in message.headers().iter().enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            write_json_string(out, name);
            out.extend_from_slice(b": ");
            write_header_value(out, value);
        }
        out.push(b'}');
    }
}

/// A header's value in strict JSON. Formix programs also write NaN and the infinities, for which JSON has no word: null.
fn write_header_value(out: &mut Vec<u8>, value: &HeaderValue) {
    match value {
        HeaderValue::Null => out.extend_from_slice(b"null"),
        HeaderValue::Bool(value) => drop(write!(out, "{value}")),
        HeaderValue::Int(value) => drop(write!(out, "{value}")),
        HeaderValue::Double(value) if !value.is_finite() => out.extend_from_slice(b"null"),
        HeaderValue::Double(value) => drop(serde_json::to_writer(out, value)),
        HeaderValue::String(value) => write_json_string(out, value),
        HeaderValue::Other(text) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => out.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte })),
            Err(_) => write_json_string(out, text),
        },
    }
}

/// Appends `text` as a JSON string.
pub fn write_json_string(out: &mut Vec<u8>, text: &str) {
    // Writing into memory cannot fail, and text is always representable.
    let _ = serde_json::to_writer(out, text);
}

/// Text that is safe on a terminal and stays in its line: control characters and bytes that are not UTF-8 become
/// escapes. Made for people: a backslash stays as it is, so the escapes cannot be undone with certainty.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => text.push(c),
                // Beside the control characters, those that change the direction of what follows.
                '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => text.extend(c.escape_unicode()),
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_leaves_text_alone() {
        for text in ["", "plain", "Grüße\t日本", r"C:\dir", r#"{"a": "x\"y"}"#] {
            assert_eq!(printable(text.as_bytes()), text);
        }
    }

    #[test]
    fn printable_lets_nothing_through_that_a_terminal_obeys() {
        assert_eq!(printable(b"a\nb\r\x1b[31m\x00"), r"a\nb\r\u{1b}[31m\u{0}");
        assert_eq!(printable(b"\xff\xfeok\xc3"), r"\xff\xfeok\xc3");
        assert_eq!(printable("\u{9b}2J\u{202e}x".as_bytes()), r"\u{9b}2J\u{202e}x");
    }

    #[test]
    fn a_final_newline_is_not_shown() {
        let mut out = Vec::new();
        write_text(&mut out, "a.b", b"one\ntwo\n");
        assert_eq!(out, b"a.b one\\ntwo\n");
    }
}
