//! The version-1 message format, shared with formix-pubsub. All numbers are big-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `50 4D 53 47` |
//! | 1 | version, 1 |
//! | 8 | id |
//! | 8 | timestamp, microseconds since the Unix epoch |
//! | 4 + n | length of the topic, topic (UTF-8, any text) |
//! | 4 + n | length of the headers, headers (JSON in UTF-8; no text is `{}`) |
//! | 4 + n | length of the content, content |
//!
//! What follows the content is ignored. A reader takes any JSON as headers, as formix-pubsub does; what is no object
//! later reads as no headers.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::result::Result as StdResult;

use super::json;
use crate::error::{Error, ErrorKind, Result};

const MAGIC: [u8; 4] = *b"PMSG";
const VERSION: u8 = 1;

/// Where the id is, for a writer that has to take another one.
pub(crate) const ID_OFFSET: usize = 5;
const TIMESTAMP_OFFSET: usize = ID_OFFSET + 8;
const TOPIC_LEN_OFFSET: usize = TIMESTAMP_OFFSET + 8;
const TOPIC_OFFSET: usize = TOPIC_LEN_OFFSET + 4;

/// What stands before the content.
#[derive(Debug, PartialEq)]
pub(crate) struct Prefix<'a> {
    pub id: u64,
    pub timestamp_us: u64,
    pub topic: &'a str,
    /// `{}` when the text is empty.
    pub headers_json: &'a str,
    pub data_len: u32,
    /// Bytes before the content.
    pub len: usize,
}

#[derive(Debug, PartialEq)]
pub(crate) enum PrefixError {
    /// At least this many bytes are needed to go on.
    Incomplete {
        need: u64,
    },
    Malformed(String),
}

/// Reads what stands before the content from bytes that may end anywhere. What can be seen to be wrong is
/// `Malformed` even when bytes are missing.
pub(crate) fn parse_prefix(bytes: &[u8]) -> StdResult<Prefix<'_>, PrefixError> {
    let given = &bytes[..bytes.len().min(MAGIC.len())];
    if given != &MAGIC[..given.len()] {
        return malformed(format_args!("it begins with the bytes {given:02x?}, not with {MAGIC:02x?}"));
    }
    match bytes.get(MAGIC.len()) {
        Some(&VERSION) | None => {}
        Some(version) => return malformed(format_args!("its format has version {version}; only version 1 is known")),
    }
    let (topic, headers_at) = text_field(bytes, TOPIC_LEN_OFFSET as u64, "topic")?;
    let (headers_json, data_len_at) = text_field(bytes, headers_at, "headers text")?;
    let headers_json = match headers_json {
        "" | "{}" => "{}",
        json => match json::check(json) {
            Ok(()) => json,
            Err(error) => return malformed(format_args!("its headers are not JSON: {error}")),
        },
    };
    Ok(Prefix {
        id: read_u64(bytes, ID_OFFSET),
        timestamp_us: read_u64(bytes, TIMESTAMP_OFFSET),
        topic,
        headers_json,
        data_len: read_u32(bytes, data_len_at)?,
        len: data_len_at as usize + 4,
    })
}

/// Whether as much is there as the lengths announce; says nothing of what it is. Cheap.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    // Three lengths of 32 bits do not overflow.
    let skip = |at: u64| Some(at + 4 + u64::from(read_u32(bytes, at).ok()?));
    let end = skip(TOPIC_LEN_OFFSET as u64).and_then(skip).and_then(skip);
    end.is_some_and(|end| end <= bytes.len() as u64)
}

/// The text whose length stands at `at`, and where it ends. Offsets are u64, which two lengths of 32 bits cannot
/// overflow.
fn text_field<'a>(bytes: &'a [u8], at: u64, name: &'static str) -> StdResult<(&'a str, u64), PrefixError> {
    let start = at + 4;
    let end = start + u64::from(read_u32(bytes, at)?);
    // Another length stands behind every text; asking for both at once spares the caller a turn.
    let need = end + 4;
    if (bytes.len() as u64) < need {
        return Err(PrefixError::Incomplete { need });
    }
    match std::str::from_utf8(&bytes[start as usize..end as usize]) {
        Ok(text) => Ok((text, end)),
        Err(error) => malformed(format_args!("its {name} is not UTF-8 from byte {} on", error.valid_up_to())),
    }
}

fn read_u32(bytes: &[u8], at: u64) -> StdResult<u32, PrefixError> {
    let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
    match rest.and_then(|rest| rest.first_chunk()) {
        Some(chunk) => Ok(u32::from_be_bytes(*chunk)),
        None => Err(PrefixError::Incomplete { need: at + 4 }),
    }
}

/// Only for offsets before the topic's length, once that has been read.
fn read_u64(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_be_bytes(*chunk))
}

#[cold]
fn malformed<T>(what: impl Display) -> StdResult<T, PrefixError> {
    Err(PrefixError::Malformed(format!("not a version-1 message: {what}")))
}

#[cfg(any(test, fuzzing))]
/// Reads a whole message: what stands before the content, and the content. Bytes behind it are ignored.
pub(crate) fn parse(bytes: &[u8]) -> StdResult<(Prefix<'_>, &[u8]), String> {
    let cut_short = |need: u64| format!("cut short: {} bytes of at least {need}", bytes.len());
    let prefix = match parse_prefix(bytes) {
        Ok(prefix) => prefix,
        Err(PrefixError::Incomplete { need }) => return Err(cut_short(need)),
        Err(PrefixError::Malformed(text)) => return Err(text),
    };
    match bytes[prefix.len..].get(..prefix.data_len as usize) {
        Some(data) => Ok((prefix, data)),
        None => Err(cut_short(prefix.len as u64 + u64::from(prefix.data_len))),
    }
}

/// The content's length as the format holds it. `TooLarge` when a part of the message is longer than the format's
/// 32-bit lengths can say.
pub(crate) fn checked_data_len(topic: &str, headers_json: &str, data_len: usize) -> Result<u32> {
    for (name, len) in [("topic", topic.len()), ("headers", headers_json.len())] {
        if u32::try_from(len).is_err() {
            return Err(too_large(format_args!("the {name} of a message, {len} bytes as text,")));
        }
    }
    u32::try_from(data_len).map_err(|_| too_large(format_args!("a payload of {data_len} bytes on topic '{topic}'")))
}

#[cold]
fn too_large(what: impl Display) -> Error {
    Error::new(ErrorKind::TooLarge, format_args!("{what} is longer than a message can hold ({} bytes)", u32::MAX))
}

/// Appends everything that stands before the content. The id is at [`ID_OFFSET`] of what is appended. That the
/// lengths fit has been established by [`checked_data_len`].
pub(crate) fn write_prefix(
    out: &mut Vec<u8>,
    id: u64,
    timestamp_us: u64,
    topic: &str,
    headers_json: &str,
    data_len: u32,
) {
    debug_assert!(checked_data_len(topic, headers_json, 0).is_ok());
    out.reserve(TOPIC_OFFSET + topic.len() + 4 + headers_json.len() + 4);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&timestamp_us.to_be_bytes());
    for text in [topic, headers_json] {
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&data_len.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(topic: &str, headers: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_prefix(&mut bytes, 7, 8, topic, headers, 1);
        bytes
    }

    #[test]
    fn every_cut_says_how_many_bytes_it_needs_and_never_too_many() {
        for (topic, headers) in [("", "{}"), ("t", ""), ("news.sports", "{\"a\": [1, 2]}")] {
            let bytes = sample(topic, headers);
            for cut in 0..bytes.len() {
                match parse_prefix(&bytes[..cut]) {
                    Err(PrefixError::Incomplete { need }) => {
                        assert!(need > cut as u64 && need <= bytes.len() as u64, "cut {cut} need {need}")
                    }
                    other => panic!("cut {cut}: {other:?}"),
                }
            }
            assert_eq!(parse_prefix(&bytes).unwrap().len, bytes.len());
            assert_eq!(
                parse(&bytes).unwrap_err(),
                format!("cut short: {0} bytes of at least {1}", bytes.len(), bytes.len() + 1)
            );
        }
    }

    #[test]
    fn a_message_is_whole_with_its_last_byte() {
        for (topic, headers) in [("", "{}"), ("t", ""), ("news.sports", "{\"a\": [1, 2]}")] {
            let mut bytes = sample(topic, headers);
            bytes.push(1);
            assert!((0..bytes.len()).all(|cut| !is_whole(&bytes[..cut])), "{topic}");
            assert!(is_whole(&bytes));
            assert!(is_whole(&[&bytes[..], b"more"].concat()));
            for at in [TOPIC_LEN_OFFSET, TOPIC_OFFSET + topic.len(), bytes.len() - 5] {
                let mut hostile = bytes.clone();
                hostile[at..at + 4].fill(0xff);
                assert!(!is_whole(&hostile));
            }
        }
    }

    #[test]
    fn hostile_lengths_do_not_overflow() {
        let mut bytes = sample("t", "{}");
        bytes[21..25].fill(0xff);
        let need = 25 + u64::from(u32::MAX) + 4;
        assert_eq!(parse_prefix(&bytes), Err(PrefixError::Incomplete { need }));
        let mut bytes = sample("t", "{}");
        bytes[26..30].fill(0xff);
        assert_eq!(parse_prefix(&bytes), Err(PrefixError::Incomplete { need: need + 1 + 4 }));
        let mut bytes = sample("t", "{}");
        let len = bytes.len();
        bytes[len - 4..].fill(0xff);
        assert_eq!(parse_prefix(&bytes).unwrap().data_len, u32::MAX);
        assert!(parse(&bytes).unwrap_err().starts_with("cut short: 36 bytes of at least 42949673"));
    }

    #[test]
    fn what_is_wrong_is_seen_before_the_end_and_named() {
        let text = |bytes: &[u8]| match parse_prefix(bytes) {
            Err(PrefixError::Malformed(text)) => text,
            other => panic!("{other:?}"),
        };
        assert!(text(b"PX").contains("begins with the bytes [50, 58]"));
        assert!(text(b"PMSG\x02").contains("version 2"));
        let mut bytes = sample("ab\u{e9}", "{}");
        bytes[28] = b'x';
        assert!(text(&bytes).contains("its topic is not UTF-8 from byte 2 on"), "{}", text(&bytes));
        // The headers are still to come, and the topic is refused already.
        assert!(text(&bytes[..33]).contains("topic"));
        assert!(text(&sample("t", "{}}")).contains("at byte 2"));
        assert!(text(&sample("t", " ")).contains("at byte 1"));
        assert!(text(&sample("t", "{\"a\": 1,}")).contains("at byte 8"), "{}", text(&sample("t", "{\"a\": 1,}")));
    }

    #[test]
    fn lengths_that_the_format_cannot_hold_are_too_large() {
        assert_eq!(checked_data_len("t", "{}", u32::MAX as usize).unwrap(), u32::MAX);
        let error = checked_data_len("a.b", "{}", 1 << 32).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge);
        assert!(error.to_string().contains("4294967296 bytes on topic 'a.b'"), "{error}");
    }

    #[test]
    fn the_id_is_where_writers_replace_it() {
        let mut bytes = sample("t", "{}");
        bytes[ID_OFFSET..ID_OFFSET + 8].copy_from_slice(&99u64.to_be_bytes());
        assert_eq!(parse_prefix(&bytes).unwrap().id, 99);
    }
}
