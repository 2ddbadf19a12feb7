//! A pattern: its text and the matcher made from it.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};

use super::matcher::Matcher;
use super::{is_word_byte, is_word_char, quote, validate};
use crate::error::{Error, ErrorKind, Result};

/// What a channel subscribes to: a topic that may hold the wildcards `=` (one word) and `+` (one or more words).
///
/// Two patterns are equal when their texts are.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

impl Pattern {
    /// A pattern as this library accepts it: 1 to 200 of `[a-zA-Z0-9.=+-]`, no two wildcards side by side.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTopic`], with the offending characters or the length in the text.
    pub fn parse(pattern: &str) -> Result<Pattern> {
        validate("pattern", pattern, |c| is_word_char(c) || matches!(c, '.' | '=' | '+'))?;
        let doubled = pattern.as_bytes().windows(2).position(|pair| pair.iter().all(|&b| is_wildcard(b)));
        if let Some(at) = doubled {
            let (quoted, pair) = (quote(pattern), &pattern[at..at + 2]);
            let text = format!(
                "the pattern {quoted} holds two wildcards side by side, '{pair}' at byte {at}; use one, or put a dot between them"
            );
            return Err(Error::new(ErrorKind::InvalidTopic, text));
        }
        Ok(Pattern::compile(pattern))
    }

    /// A pattern that another program put into the store: of any length, wildcards side by side. `None` when it holds
    /// characters that no pattern holds.
    pub(crate) fn foreign(pattern: &str) -> Option<Pattern> {
        let valid = |b: u8| is_word_byte(b) || b == b'.' || is_wildcard(b);
        (!pattern.is_empty() && pattern.bytes().all(valid)).then(|| Pattern::compile(pattern))
    }

    fn compile(text: &str) -> Pattern {
        Pattern { text: text.into(), matcher: Matcher::new(text.as_bytes()) }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it has no wildcard.
    pub fn is_exact(&self) -> bool {
        self.matcher.is_exact()
    }

    /// Whether it matches this topic. Linear in the topic's length, whatever the pattern.
    ///
    /// The topic may be any text; one that no program can publish with this library (longer than 200 bytes) is matched
    /// all the same, and characters outside of `[a-zA-Z0-9.-]` match nothing.
    pub fn matches(&self, topic: &str) -> bool {
        self.matcher.matches(self.text.as_bytes(), topic.as_bytes())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(super) fn is_wildcard(byte: u8) -> bool {
    byte == b'=' || byte == b'+'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(topic)
    }

    fn refusal(pattern: &str) -> String {
        let error = Pattern::parse(pattern).expect_err(pattern);
        assert_eq!(error.kind(), ErrorKind::InvalidTopic);
        error.to_string()
    }

    #[test]
    fn the_documented_examples_match_as_documented() {
        assert!(matches("logs.=.error", "logs.app.error"));
        assert!(!matches("logs.=.error", "logs.error"));
        assert!(!matches("logs.=.error", "logs.a.b.error"));
        assert!(matches("logs.+", "logs.error"));
        assert!(matches("logs.+", "logs.app.error"));
        assert!(!matches("logs.+", "logs"));
        assert!(matches("tes=.match", "test.match"));
        assert!(matches("news.=", "news.sports"));
        assert!(!matches("news.=", "news.sports.ball"));
    }

    #[test]
    fn wildcards_work_inside_words() {
        for topic in ["axb", "a-b", "axx.y.zb", "ax.b-b"] {
            assert!(matches("a+b", topic), "{topic}");
        }
        for topic in ["ab", "a.b", "a.xb", "ax.b", "ax..xb", "axb."] {
            assert!(!matches("a+b", topic), "{topic}");
        }
        assert!(matches("=x=", "axb") && !matches("=x=", "xb") && !matches("=x=", "a.xb"));
        assert!(matches("+.b.+", "a.b.c.b.d") && !matches("+.b.+", "b.c"));
    }

    #[test]
    fn a_dot_is_only_ever_a_dot() {
        assert!(!matches("a.b", "axb") && matches("a.b", "a.b"));
        assert!(!matches("a.=.c", "axbxc") && !matches("=", ".") && !matches("=", "a.b"));
    }

    #[test]
    fn a_wildcard_never_matches_an_empty_word() {
        for (pattern, topic) in [
            ("=", ""),
            ("+", ""),
            ("+", "."),
            ("+", "a."),
            ("+", ".a"),
            ("+", "a..b"),
            ("a.=", "a."),
            ("a.=.b", "a..b"),
        ] {
            assert!(!matches(pattern, topic), "{pattern} {topic}");
        }
        assert!(matches("+..+", "a.b..c") && !matches("+.+", "a..b") && matches("=.", "a.") && matches("a..b", "a..b"));
    }

    #[test]
    fn characters_outside_the_alphabet_match_nothing() {
        for pattern in ["=", "+", "a=", "+.=", "=-=+"] {
            let pattern = Pattern::foreign(pattern).unwrap();
            for topic in ["a b", "a-é", "é", "a_a", "a=a", "a+a", "a-a\n", "\0", "a.a/a", "aé"] {
                assert!(!pattern.matches(topic), "{pattern} {topic:?}");
            }
        }
        // Cut between the two bytes of a character by a literal prefix or suffix.
        assert!(!matches("a=b", "aéb") && !matches("=a", "é"));
    }

    #[test]
    fn case_matters() {
        assert!(!matches("News", "news") && !matches("News.=", "news.a"));
    }

    #[test]
    fn topics_longer_than_200_are_matched_all_the_same() {
        let long = format!("a.{}", "b".repeat(5000));
        assert!(matches("a.=", &long) && matches("+", &long) && matches("=.=b", &long) && !matches("=.=c", &long));
        assert!(Pattern::foreign(&long).unwrap().matches(&long));
    }

    #[test]
    fn what_is_not_a_pattern_is_refused_with_what_is_wrong() {
        assert!(refusal("").contains("empty"));
        assert!(refusal(&"=.".repeat(101)).contains("202 characters"));
        let text = refusal("a*.b_");
        assert!(
            text.contains("'a*.b_'") && text.contains("holds '*', '_'") && text.contains("a-zA-Z0-9.=+-"),
            "{text}"
        );
        assert!(!text.contains("subscribing"), "{text}");
        assert!(Pattern::parse(&"=.".repeat(100)).is_ok());
    }

    #[test]
    fn two_wildcards_side_by_side_are_refused_here_and_matched_from_others() {
        for pattern in ["==", "=+", "+=", "++", "a.=+.b"] {
            let text = refusal(pattern);
            assert!(text.contains("side by side") && text.contains(&format!("'{pattern}'")), "{text}");
        }
        let foreign = |p: &str, t: &str| Pattern::foreign(p).unwrap().matches(t);
        assert!(foreign("==", "ab") && !foreign("==", "a") && !foreign("==", "a.b"));
        assert!(foreign("=+", "ab") && foreign("=+", "ab.c") && !foreign("=+", "a") && !foreign("=+", "a.b"));
        assert!(foreign("+=", "a.bc") && !foreign("+=", "a.b") && foreign("++", "a.bc") && !foreign("++", "a."));
        assert!(foreign("++++++++=.Z", "123456789.Z") && !foreign("++++++++=.Z", "12345678.Z"));
    }

    #[test]
    fn foreign_patterns_are_of_any_length_and_of_the_alphabet() {
        assert!(Pattern::foreign("").is_none());
        for pattern in ["a_b", "a b", "é", "a*", "\n"] {
            assert!(Pattern::foreign(pattern).is_none(), "{pattern:?}");
        }
        assert_eq!(Pattern::foreign(&"=+.".repeat(1000)).unwrap().as_str().len(), 3000);
    }

    #[test]
    fn a_pattern_is_its_text() {
        let pattern = Pattern::parse("a.=.b").unwrap();
        assert_eq!(pattern.as_str(), "a.=.b");
        assert_eq!(pattern.to_string(), "a.=.b");
        assert_eq!(pattern, Pattern::foreign("a.=.b").unwrap());
        assert_ne!(pattern, Pattern::parse("a.+.b").unwrap());
        assert!(!pattern.is_exact() && !Pattern::parse("a+").unwrap().is_exact());
        assert!(Pattern::parse("a.b-").unwrap().is_exact());
    }
}
