//! Messages that tell who sent them and whether they are whole.

use pubsub::{HeaderValue, Headers, Message};

/// What stands at the beginning of a content that is long enough: magic, publisher, number, length, checksum.
pub const HEAD: usize = 40;
const MAGIC: &[u8; 8] = b"crashtst";

/// Adler-32: formix-pubsub programs compute it with `zlib`.
fn checksum(bytes: &[u8]) -> u64 {
    let (mut a, mut b) = (1u32, 0u32);
    // As many additions as cannot overflow.
    for piece in bytes.chunks(5552) {
        for &byte in piece {
            a += u32::from(byte);
            b += a;
        }
        (a, b) = (a % 65521, b % 65521);
    }
    u64::from(b << 16 | a)
}

/// The content of a publisher's message of this number.
pub fn content(publisher: u64, seq: u64, len: usize) -> Vec<u8> {
    let seed = publisher.wrapping_mul(31).wrapping_add(seq.wrapping_mul(17));
    let pattern: Vec<u8> = (0..251u64).map(|i| (seed.wrapping_add(i * 7)) as u8).collect();
    let mut content: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
    if len >= HEAD {
        let sum = checksum(&content[HEAD..]);
        content[..8].copy_from_slice(MAGIC);
        for (i, word) in [publisher, seq, len as u64, sum].into_iter().enumerate() {
            content[8 + i * 8..16 + i * 8].copy_from_slice(&word.to_be_bytes());
        }
    }
    content
}

/// Its headers: those that are too short for a head say it here, and some others as well.
pub fn headers(publisher: u64, seq: u64, len: usize) -> Option<Headers> {
    (len < HEAD || seq % 5 == 0).then(|| {
        let mut headers = Headers::new();
        headers.set("publisher", HeaderValue::Int(publisher as i64));
        headers.set("seq", HeaderValue::Int(seq as i64));
        headers.set("len", HeaderValue::Int(len as i64));
        headers
    })
}

/// Who sent it; an error says what is not as it was sent.
pub fn check(message: &Message) -> Result<(u64, u64), String> {
    check_parts(message.data(), message.headers_json())
}

/// The same of a content and the text of its headers.
pub fn check_parts(data: &[u8], headers_json: &str) -> Result<(u64, u64), String> {
    let headers = Headers::parse(headers_json).map_err(|error| format!("{error}: {headers_json}"))?;
    let header = |name: &str| match headers.get(name) {
        Some(HeaderValue::Int(value)) => Some(*value as u64),
        _ => None,
    };
    let word = |i: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&data[8 + i * 8..16 + i * 8]);
        u64::from_be_bytes(bytes)
    };
    let (publisher, seq, len) = match (header("publisher"), header("seq"), header("len")) {
        (Some(publisher), Some(seq), Some(len)) => (publisher, seq, len),
        _ if data.len() >= HEAD && data[..8] == MAGIC[..] => (word(0), word(1), word(2)),
        _ => return Err(format!("no head and no headers: {} bytes, {}", data.len(), headers_json)),
    };
    if data.len() as u64 != len || data != content(publisher, seq, data.len()) {
        return Err(format!("message {seq} of publisher {publisher} is not whole ({} of {len} bytes)", data.len()));
    }
    Ok((publisher, seq))
}

/// Sizes as they come: most are small, some are nothing, a few are hundreds of KiB.
pub fn size(random: u64) -> usize {
    let within = |n: u64| ((random >> 8) % n) as usize;
    match random & 0xff {
        0..=15 => 0,
        16..=200 => within(200),
        201..=240 => within(4096),
        241..=253 => within(40 << 10),
        _ => within(300 << 10),
    }
}
