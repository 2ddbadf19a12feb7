//! What must hold for any bytes at all. Run by the fuzz target (`fuzz/`) and, on mutations of known messages, by
//! the tests.

#![forbid(unsafe_code)]

use super::v1::{self, PrefixError};
use super::{Headers, Message, MessageHead, MessageKind, json};

/// Any bytes as a version-1 message. Panics when the parser breaks a promise.
pub fn message(bytes: &[u8]) {
    match v1::parse_prefix(bytes) {
        Err(PrefixError::Incomplete { need }) => assert!(need > bytes.len() as u64),
        Err(PrefixError::Malformed(text)) => assert!(!text.is_empty()),
        Ok(prefix) => {
            assert!(prefix.len <= bytes.len());
            let cut = v1::parse_prefix(&bytes[..prefix.len - 1]);
            assert_eq!(cut, Err(PrefixError::Incomplete { need: prefix.len as u64 }));
            assert_eq!(v1::parse_prefix(&bytes[..prefix.len]).as_ref(), Ok(&prefix));
        }
    }
    let Ok((prefix, data)) = v1::parse(bytes) else { return };
    assert_eq!(data.len(), prefix.data_len as usize);

    let mut written = Vec::new();
    let v1::Prefix { id, timestamp_us, topic, headers_json, data_len, .. } = prefix;
    v1::write_prefix(&mut written, id, timestamp_us, topic, headers_json, data_len);
    written.extend_from_slice(data);
    if bytes[prefix.len - 8..].starts_with(&0u32.to_be_bytes()) {
        // The headers may have had no text, which is written as `{}`.
        assert_eq!(v1::parse(&written).map(|(again, _)| (again.topic, again.headers_json)), Ok((topic, headers_json)));
    } else {
        assert!(bytes.starts_with(&written));
    }

    headers(headers_json);
    let head = MessageHead { id, timestamp_us: 0, kind: MessageKind::Data, dropped_before: 0, epoch: 0, offset: 0 };
    let Ok(mut message) = Message::new(head, topic, headers_json, data.len()) else { return };
    message.data_mut().copy_from_slice(data);
    assert_eq!((message.topic(), message.headers_json(), message.data()), (topic, headers_json, data));
    assert_eq!(message.headers().is_empty(), Headers::parse(headers_json).unwrap_or_default().is_empty());
}

/// Any text as headers. Panics when the parser breaks a promise.
pub fn headers(text: &str) {
    let valid = json::check(text).is_ok();
    let object = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    match Headers::parse(text) {
        Ok(headers) => {
            assert!(valid && object);
            let written = headers.to_json();
            let again = Headers::parse(&written).map(|again| again.to_json());
            assert_eq!(again.ok().as_deref(), Some(written.as_str()));
        }
        Err(error) => assert!(!(valid && object), "{error}"),
    }
}
