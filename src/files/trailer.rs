//! What stands behind the content in the file of a message that is in a history: which one, and where in it.
//!
//! formix-pubsub ignores what stands there, so its programs receive such a message as any other. 24 bytes: the magic
//! `"\0pubsubH"`, epoch, offset (big-endian, as all of the file).

#![forbid(unsafe_code)]

pub(crate) const TRAILER: usize = 24;

const MAGIC: &[u8; 8] = b"\0pubsubH";

/// The bytes for this place.
pub(crate) fn bytes(epoch: u64, offset: u64) -> [u8; TRAILER] {
    let mut bytes = [0; TRAILER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&epoch.to_be_bytes());
    bytes[16..].copy_from_slice(&offset.to_be_bytes());
    bytes
}

/// The epoch and offset in what stands behind a content; `None`: something else, or nothing.
pub(super) fn parse(behind: &[u8]) -> Option<(u64, u64)> {
    let rest = behind.strip_prefix(MAGIC)?;
    let (epoch, offset) = (rest.first_chunk()?, rest.get(8..)?.first_chunk()?);
    Some((u64::from_be_bytes(*epoch), u64::from_be_bytes(*offset))).filter(|&(epoch, offset)| epoch != 0 && offset != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_was_written_and_nothing_else_is_one() {
        let bytes = bytes(7, 9);
        assert_eq!(parse(&bytes), Some((7, 9)));
        assert_eq!(parse(&[&bytes[..], b"more"].concat()), Some((7, 9)));
        assert!((0..TRAILER).all(|cut| parse(&bytes[..cut]).is_none()));
        assert_eq!(parse(&[b"\0pubsubX", &bytes[8..]].concat()), None);
        assert_eq!(parse(&super::bytes(0, 1)), None, "no epoch");
    }
}
