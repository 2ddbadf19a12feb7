//! The version-1 message format, shared with formix-pubsub.

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

pub(crate) fn parse_prefix(bytes: &[u8]) -> Result<Prefix<'_>, PrefixError> {
    let _ = bytes;
    todo!()
}

/// Appends everything that stands before the content. The id is at offset 5 of what is appended.
pub(crate) fn write_prefix(
    out: &mut Vec<u8>,
    id: u64,
    timestamp_us: u64,
    topic: &str,
    headers_json: &str,
    data_len: u32,
) {
    let _ = (out, id, timestamp_us, topic, headers_json, data_len);
    todo!()
}
