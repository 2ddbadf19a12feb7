//! Names in the store.
//!
//! A channel is a directory `{pattern}_{free}_{pid}`; formix publishers read the pattern from what stands before the
//! first `_`, as a regex of their own, and the pid from what stands after the last. Their `=` matches one character and
//! their `+` any number, none included. So our channels spell `=` as `=+` ("one character and then anything"), which
//! covers what `=` means, and the receiver drops what it did not ask for. The true pattern stands in the control page.
//! No pattern of ours has two wildcards side by side, so `=+` in a name can be told from a pattern's own wildcards: a name
//! that has some side by side is read from its control page if it has one.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use rand::Rng;
use rand::distr::Alphanumeric;

/// The longest name that file systems take.
const NAME_MAX: usize = 255;
/// Characters of the random part of a channel's name, as formix-pubsub has it.
const RANDOM: usize = 12;
/// How a pattern is spelled that is too long to be: formix publishers try every message, the receiver sorts them out.
const TOO_LONG: &str = "++";

/// The directory of what only libpubsub knows.
pub(super) const PRIVATE: &CStr = c".pubsub";
/// The store's own page: see [`ids`](super::ids).
pub(super) const STORE_FILE: &CStr = c".pubsub/store";

/// Prefix in `tmp` of what is being removed: anyone may remove it.
pub(super) const DEAD: &str = "dead.";

/// What a channel's name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ChannelName<'a> {
    /// The pattern as formix publishers read it.
    pub spelled: &'a str,
    pub pid: i64,
}

/// Reads a name in the base; `None` when it is no channel's.
pub(crate) fn parse(name: &[u8]) -> Option<ChannelName<'_>> {
    let name = std::str::from_utf8(name).ok()?;
    let (spelled, rest) = name.split_once('_')?;
    let (_, pid) = rest.rsplit_once('_')?;
    let digits = pid.bytes().all(|b| b.is_ascii_digit());
    if spelled.is_empty() || !digits {
        return None;
    }
    Some(ChannelName { spelled, pid: pid.parse().ok()? })
}

/// Whether a spelling leaves open whether it is a formix pattern or one of ours.
pub(crate) fn is_ambiguous(spelled: &str) -> bool {
    spelled.as_bytes().windows(2).any(|pair| pair.iter().all(|b| matches!(b, b'=' | b'+')))
}

/// A name for a new channel. A pattern that is spelled otherwise than it is stands once more before the random part, where
/// nothing reads it but people, and programs that look for their channels by their patterns.
pub(crate) fn new_channel_name(pattern: &str, pid: u32) -> String {
    let tail = format!("{}_{pid}", random(RANDOM));
    let spelled = pattern.replace('=', "=+");
    let shown = if spelled == pattern { String::new() } else { format!("{pattern}.") };
    [format!("{spelled}_{shown}{tail}"), format!("{spelled}_{tail}")]
        .into_iter()
        .find(|name| name.len() <= NAME_MAX)
        .unwrap_or_else(|| format!("{TOO_LONG}_{tail}"))
}

/// Random letters and digits.
pub(crate) fn random(len: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(len).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_formix_reads_in_them() {
        assert_eq!(parse(b"news.sports_aB3_x_12"), Some(ChannelName { spelled: "news.sports", pid: 12 }));
        for name in
            [&b"tmp"[..], b"a_1", b"a_b_x", b"a_b_", b"_b_1", b"a_b_-1", b"\xff_b_1", b"a_b_99999999999999999999"]
        {
            assert_eq!(parse(name), None, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn a_new_name_has_the_shape_of_formix_and_covers_the_pattern() {
        let name = new_channel_name("tes=.match.+", 42);
        let parts: Vec<&str> = name.split('_').collect();
        assert_eq!((parts[0], parts[2], parts.len()), ("tes=+.match.+", "42", 3));
        let random = parts[1].strip_prefix("tes=.match.+.").expect("the pattern as it is");
        assert_eq!(random.len(), RANDOM);
        let name = new_channel_name("tes=", 42);
        assert_eq!(parse(name.as_bytes()), Some(ChannelName { spelled: "tes=+", pid: 42 }));
        let plain = new_channel_name("a.+", 42);
        assert_eq!((plain.split('_').count(), plain.split('_').nth(1).map(str::len)), (3, Some(RANDOM)));
        assert!(is_ambiguous(parts[0]) && !is_ambiguous("a.=.b.+"));
        let name = new_channel_name(&["long"; 30].join(".").replacen("long", "=", 1), 4_194_304);
        assert!(name.len() <= NAME_MAX && name.starts_with("=+.long."));
        let long = ["="; 100].join(".");
        let name = new_channel_name(&long, 4_194_304);
        assert!(name.len() <= NAME_MAX && name.starts_with("++_"));
    }
}
