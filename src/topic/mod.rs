//! Topics and patterns: what is valid, what matches, and an index of patterns. Pure.
//!
//! A topic is words separated by dots, 1 to 200 of `[a-zA-Z0-9.-]`; words may be empty. A [`Pattern`] may also hold
//! wildcards:
//!
//! - `=` stands for one or more of `[a-zA-Z0-9-]`: exactly one word when it stands alone between dots, a part of a word
//!   otherwise (`tes=.match` matches `test.match`);
//! - `+` stands for one or more words, `[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*`, and may also begin or end inside a word.
//!
//! A dot is only ever a dot, a wildcard never matches an empty word, and case matters.

#![forbid(unsafe_code)]

mod index;
mod matcher;
mod pattern;
mod trie;

#[cfg(test)]
mod reference;

pub(crate) use index::Index;
pub use pattern::Pattern;

use crate::error::{Error, ErrorKind, Result};

/// The longest topic, and the longest pattern, that this library accepts, in bytes.
const MAX_LENGTH: usize = 200;

/// How many characters of a refused text, and how many different offending characters, an error quotes.
const QUOTED_TEXT: usize = 60;
const QUOTED_OFFENDERS: usize = 8;

/// Checks that `topic` can be published to: 1 to 200 of `[a-zA-Z0-9.-]`.
///
/// # Errors
/// [`ErrorKind::InvalidTopic`], with the offending characters or the length in the text.
pub fn validate_topic(topic: &str) -> Result<()> {
    validate("topic", topic, |c| is_word_char(c) || c == '.')
}

/// The checks that topics and patterns share; `what` names the text in errors.
fn validate(what: &str, text: &str, allowed: impl Fn(char) -> bool) -> Result<()> {
    if !text.is_empty() && text.len() <= MAX_LENGTH && text.chars().all(&allowed) {
        return Ok(());
    }
    let wildcards_allowed = allowed('=');
    let alphabet = if wildcards_allowed { "[a-zA-Z0-9.=+-]" } else { "[a-zA-Z0-9.-]" };
    let rule = format!("a {what} is 1 to {MAX_LENGTH} of {alphabet}");
    if text.is_empty() {
        return Err(Error::new(ErrorKind::InvalidTopic, format!("the {what} is empty; {rule}")));
    }
    let quoted = quote(text);
    let mut offenders: Vec<char> = Vec::new();
    let mut wildcard = false;
    for c in text.chars().filter(|&c| !allowed(c)) {
        wildcard |= c == '=' || c == '+';
        if offenders.len() <= QUOTED_OFFENDERS && !offenders.contains(&c) {
            offenders.push(c);
        }
    }
    if offenders.is_empty() {
        let length = text.len();
        return Err(Error::new(
            ErrorKind::InvalidTopic,
            format!("the {what} {quoted} has {length} characters; {rule}"),
        ));
    }
    let more = if offenders.len() > QUOTED_OFFENDERS { " and others" } else { "" };
    let listed: Vec<String> =
        offenders.iter().take(QUOTED_OFFENDERS).map(|c| format!("'{}'", c.escape_debug())).collect();
    let hint = if wildcard { "; the wildcards '=' and '+' are for subscribing only" } else { "" };
    let listed = listed.join(", ");
    Err(Error::new(ErrorKind::InvalidTopic, format!("the {what} {quoted} holds {listed}{more}; {rule}{hint}")))
}

/// The text in quotes, harmless to a terminal and cut short when it is long.
fn quote(text: &str) -> String {
    let mut chars = text.chars();
    let head: String = chars.by_ref().take(QUOTED_TEXT).collect();
    let rest = if chars.next().is_some() { "..." } else { "" };
    format!("'{}{rest}'", head.escape_debug())
}

/// What words and wildcards are made of.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

/// Counts the units of work of matching, so that tests can bound them without a clock.
#[cfg(test)]
mod steps {
    use std::cell::Cell;

    thread_local!(static STEPS: Cell<u64> = const { Cell::new(0) });

    pub(super) fn count() {
        STEPS.set(STEPS.get() + 1);
    }

    /// The steps that `work` takes.
    pub(super) fn of(work: impl FnOnce()) -> u64 {
        let before = STEPS.get();
        work();
        STEPS.get() - before
    }
}

#[cfg(not(test))]
mod steps {
    #[inline(always)]
    pub(super) fn count() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(topic: &str) -> String {
        let error = validate_topic(topic).expect_err(topic);
        assert_eq!(error.kind(), ErrorKind::InvalidTopic);
        error.to_string()
    }

    #[test]
    fn a_topic_is_1_to_200_of_its_alphabet_and_words_may_be_empty() {
        for topic in ["a", "Z9-", "a.b", "a..b", "d.", ".", "..", "-", "host.name-1.cpu.0", &"x".repeat(200)] {
            assert!(validate_topic(topic).is_ok(), "{topic}");
        }
        let alphabet: String = (0..=255u8).map(char::from).filter(|c| validate_topic(&c.to_string()).is_ok()).collect();
        assert_eq!(alphabet, "-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    }

    #[test]
    fn a_refused_topic_is_named_with_its_offending_characters() {
        let text = refusal("a b/c b");
        assert!(text.contains("'a b/c b'") && text.contains("holds ' ', '/';"), "{text}");
        assert!(!text.contains("subscribing"), "{text}");
        let text = refusal("a\n\u{1b}_\u{e9}");
        assert!(text.contains(r"'\n', '\u{1b}', '_', 'é'"), "{text}");
        assert!(!text.contains('\n') && !text.contains('\u{1b}'), "{text:?}");
        let text = refusal("!\"#$%&'()*,/");
        assert!(text.contains(" and others"), "{text}");
    }

    #[test]
    fn a_wildcard_in_a_topic_is_refused_with_a_hint() {
        for topic in ["news.=", "logs.+", "+"] {
            assert!(refusal(topic).contains("for subscribing only"), "{topic}");
        }
    }

    #[test]
    fn empty_and_long_topics_are_refused_with_what_is_wrong() {
        assert!(refusal("").contains("empty"));
        let text = refusal(&"x".repeat(201));
        assert!(text.contains("201 characters") && text.contains("1 to 200"), "{text}");
        assert!(text.contains("xxx...'") && text.len() < 200, "{text}");
    }
}
