//! Names in the store.
//!
//! A channel is a directory `{pattern}_{free}_{pid}`; formix publishers read the pattern from what stands before the
//! first `_`, as a regex of their own, and the pid from what stands after the last. Their `=` matches one character and
//! their `+` any number, none included. So our channels spell `=` as `=+` ("one character and then anything"), which
//! covers what `=` means, and the receiver drops what it did not ask for. The true pattern stands in the control page.
//! A pattern of more than two wildcards is spelled by what stands before the first and behind the last, with `++` between: a
//! regex with many stars would take formix publishers minutes. What is spelled matches all that is meant, and more.
//! No pattern of ours has two wildcards side by side, so a name that has some is read from its control page if it has one.

#![forbid(unsafe_code)]

use std::ffi::CStr;

use crate::sys::random::random;

/// The longest name that file systems take.
const NAME_MAX: usize = 255;
/// Characters of the random part of a channel's name, as formix-pubsub has it.
const RANDOM: usize = 12;
/// How everything from the first wildcard to the last is spelled where there are more than [`SPELLED`].
const ANYTHING: &str = "++";
/// Wildcards that a name may spell. Each is a `*` in formix publishers' regex, which backtracks: the time that a topic costs
/// them has their number as its exponent.
const SPELLED: usize = 2;

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

/// Random letters and digits as names of channels have them.
pub(crate) fn random_part() -> String {
    random(RANDOM)
}

/// A name for a new channel. A pattern that is spelled otherwise than it is stands once more before the random part, where
/// nothing reads it but people, and programs that look for their channels by their patterns.
pub(crate) fn new_channel_name(pattern: &str, random: &str, pid: u32) -> String {
    let (spelled, tail) = (spelled(pattern), format!("{random}_{pid}"));
    let shown = format!("{spelled}_{pattern}.{tail}");
    if spelled != pattern && shown.len() <= NAME_MAX { shown } else { format!("{spelled}_{tail}") }
}

/// A pattern as formix publishers shall read it: at most 201 characters of our longest patterns, so the name always fits.
fn spelled(pattern: &str) -> String {
    let mut wildcards = pattern.match_indices(['=', '+']).map(|(at, _)| at);
    match (wildcards.next(), wildcards.next_back(), wildcards.count() + 2) {
        (Some(first), Some(last), count) if count > SPELLED => {
            [&pattern[..first], ANYTHING, &pattern[last + 1..]].concat()
        }
        _ => pattern.replace('=', "=+"),
    }
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
        let name = new_channel_name("tes=.match.+", &random_part(), 42);
        let parts: Vec<&str> = name.split('_').collect();
        assert_eq!((parts[0], parts[2], parts.len()), ("tes=+.match.+", "42", 3));
        let random = parts[1].strip_prefix("tes=.match.+.").expect("the pattern as it is");
        assert_eq!(random.len(), RANDOM);
        let name = new_channel_name("tes=", &random_part(), 42);
        assert_eq!(parse(name.as_bytes()), Some(ChannelName { spelled: "tes=+", pid: 42 }));
        let plain = new_channel_name("a.+", &random_part(), 42);
        assert_eq!((plain.split('_').count(), plain.split('_').nth(1).map(str::len)), (3, Some(RANDOM)));
        assert!(is_ambiguous(parts[0]) && !is_ambiguous("a.=.b.+"));
    }

    #[test]
    fn what_a_name_spells_has_few_stars_and_fits() {
        for (pattern, name) in [
            ("a.b", "a.b"),
            ("a.=.b.=.c", "a.=+.b.=+.c"),
            ("+.=", "+.=+"),
            ("a.=.b.+.c.=x.d", "a.++x.d"),
            ("=.=.=", "++"),
        ] {
            assert_eq!(spelled(pattern), name);
        }
        let literal = "x".repeat(98);
        for pattern in [["="; 100].join("."), format!("{literal}=.=.={}", &literal[1..])] {
            let name = new_channel_name(&pattern, &random_part(), u32::MAX);
            assert!(name.len() <= NAME_MAX && is_ambiguous(&name), "{name}");
        }
    }
}
