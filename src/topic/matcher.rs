//! Matches a topic against one pattern in time linear in the topic's length.
//!
//! # The algorithm
//!
//! What stands before the first wildcard of a pattern and what stands after the last one are literal, so a topic must
//! begin and end with just that, without overlap; what is left of it must match the *core*, from the first wildcard to
//! the last, both included. A core that is a single wildcard (`news.=`, `logs.+`, `a.=.b`) is one scan. Any other core
//! is run as a nondeterministic automaton whose set of states is a bit set, so that a byte of the topic costs a few
//! operations for every 64 bytes of the core, whatever the pattern.
//!
//! # Why it is right
//!
//! The automaton has one state for each byte of the core. State `i` is in the set after `n` bytes exactly when those
//! bytes can be divided among the core's bytes `0..=i` such that each of them got what it stands for, except that a `+`
//! at `i` may just have taken a dot, with more to come. By induction on `n`: a new byte is either the first one of core
//! byte `i`, which needs core byte `i - 1` to be complete (or `i` to be 0 and the byte to be the topic's first), or one
//! more of a wildcard `i` that was in the set.
//!
//! - A literal takes itself. `=` and `+` take a word character as their first byte and as one more.
//! - `+` takes a dot as one more when its last byte was none. It then is incomplete until it has taken a word
//!   character. So it never begins with a dot, ends with one or holds two in a row, which is
//!   `[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*`.
//!
//! A state needs no second bit for "incomplete": a `+` in the set has just taken a byte, namely the topic's last one,
//! so each of them is incomplete exactly when that is a dot. The core ends with a wildcard; it matches when the last
//! state is in the set at the end and complete.

#![forbid(unsafe_code)]

use super::pattern::is_wildcard;
use super::{is_word_byte, steps};

/// States that fit on the stack: more than a file name has bytes, which is where patterns come from.
const STACK_BLOCKS: usize = 4;

#[derive(Clone)]
pub(super) struct Matcher {
    /// Bytes before the first wildcard, and after the last one.
    prefix: usize,
    suffix: usize,
    core: Core,
}

#[derive(Clone)]
enum Core {
    Exact,
    One,
    Many,
    Automaton(Box<Automaton>),
}

impl Matcher {
    /// The matcher of a pattern, which has been checked to be of the patterns' alphabet.
    pub(super) fn new(pattern: &[u8]) -> Matcher {
        let first = pattern.iter().position(|&b| is_wildcard(b));
        let last = pattern.iter().rposition(|&b| is_wildcard(b));
        let (Some(first), Some(last)) = (first, last) else {
            return Matcher { prefix: pattern.len(), suffix: 0, core: Core::Exact };
        };
        let core = match &pattern[first..=last] {
            b"=" => Core::One,
            b"+" => Core::Many,
            core => Core::Automaton(Box::new(Automaton::new(core))),
        };
        Matcher { prefix: first, suffix: pattern.len() - last - 1, core }
    }

    pub(super) fn is_exact(&self) -> bool {
        matches!(self.core, Core::Exact)
    }

    /// Whether the topic matches `pattern`, which must be what this matcher was made of.
    pub(super) fn matches(&self, pattern: &[u8], topic: &[u8]) -> bool {
        if self.is_exact() {
            return pattern == topic;
        }
        let (prefix, suffix) = (&pattern[..self.prefix], &pattern[pattern.len() - self.suffix..]);
        let Some(middle) = topic.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)) else {
            return false;
        };
        match &self.core {
            Core::Exact => middle.is_empty(),
            Core::One => !middle.is_empty() && middle.iter().all(|&b| is_word_byte(b)),
            Core::Many => are_words(middle),
            Core::Automaton(automaton) => automaton.matches(middle),
        }
    }
}

/// Whether this is `[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)*`.
fn are_words(text: &[u8]) -> bool {
    let mut after_dot = true;
    for &byte in text {
        if !is_word_byte(byte) && (byte != b'.' || after_dot) {
            return false;
        }
        after_dot = byte == b'.';
    }
    !after_dot
}

/// Sets of states are slices of `blocks` blocks, the state of core byte `i` being bit `i % 64` of block `i / 64`.
#[derive(Clone)]
struct Automaton {
    blocks: usize,
    /// The last state.
    last: usize,
    /// For each byte, which of `rows` applies; [`INVALID`] for what no topic holds.
    row_of: [u8; 128],
    /// For a word character: the states that may take it. For the dot: the states of literal dots.
    rows: Vec<u64>,
    /// The states of `+`.
    many: Vec<u64>,
    /// The states of `=` and of `+`.
    wild: Vec<u64>,
}

const INVALID: u8 = u8::MAX;
/// The row of the word characters that the core does not hold, and that of the dot.
const ROW_OTHER: u8 = 0;
const ROW_DOT: u8 = 1;

impl Automaton {
    fn new(core: &[u8]) -> Automaton {
        let blocks = core.len().div_ceil(64);
        let mut many = vec![0; blocks];
        let mut wild = vec![0; blocks];
        for (i, _) in core.iter().enumerate().filter(|(_, b)| is_wildcard(**b)) {
            set(&mut wild, i);
            if core[i] == b'+' {
                set(&mut many, i);
            }
        }
        let mut row_of = [INVALID; 128];
        for byte in (0..128u8).filter(|&b| is_word_byte(b)) {
            row_of[usize::from(byte)] = ROW_OTHER;
        }
        row_of[usize::from(b'.')] = ROW_DOT;
        let mut rows = wild.clone();
        rows.resize(2 * blocks, 0);
        for (i, &byte) in core.iter().enumerate().filter(|(_, b)| !is_wildcard(**b)) {
            let row = &mut row_of[usize::from(byte)];
            if *row == ROW_OTHER {
                // At most 63 word characters and two other rows: far from INVALID.
                *row = (rows.len() / blocks) as u8;
                rows.extend_from_slice(&wild);
            }
            let start = usize::from(*row) * blocks;
            set(&mut rows[start..start + blocks], i);
        }
        Automaton { blocks, last: core.len() - 1, row_of, rows, many, wild }
    }

    fn matches(&self, text: &[u8]) -> bool {
        let mut on_stack = [0; STACK_BLOCKS];
        let mut on_heap;
        let states: &mut [u64] = match on_stack.get_mut(..self.blocks) {
            Some(states) => states,
            None => {
                on_heap = vec![0; self.blocks];
                &mut on_heap
            }
        };
        let mut after_dot = false;
        // Only the topic's first byte can be the first byte of core byte 0.
        let mut enter = 1;
        for &byte in text {
            let row = self.row_of.get(usize::from(byte)).copied().unwrap_or(INVALID);
            if row == INVALID || !self.step(states, row, after_dot, enter) {
                return false;
            }
            after_dot = byte == b'.';
            enter = 0;
        }
        !after_dot && states[self.last / 64] >> (self.last % 64) & 1 == 1
    }

    /// Takes one byte; whether any state is left.
    #[inline]
    fn step(&self, states: &mut [u64], row: u8, after_dot: bool, enter: u64) -> bool {
        let start = usize::from(row) * self.blocks;
        let row_bits = &self.rows[start..start + self.blocks];
        let incomplete = if after_dot { u64::MAX } else { 0 };
        let mut carry = enter;
        let mut any = 0;
        for (((state, &may_take), &many), &wild) in states.iter_mut().zip(row_bits).zip(&self.many).zip(&self.wild) {
            steps::count();
            let complete = *state & !(many & incomplete);
            let begun = complete << 1 | carry;
            carry = complete >> 63;
            *state = if row == ROW_DOT {
                begun & may_take | *state & many & !incomplete
            } else {
                (begun | *state & wild) & may_take
            };
            any |= *state;
        }
        any != 0
    }
}

fn set(bits: &mut [u64], i: usize) {
    bits[i / 64] |= 1 << (i % 64);
}

#[cfg(test)]
mod tests {
    use super::super::{Pattern, reference, steps};
    use proptest::prelude::*;

    #[test]
    fn matching_is_linear_in_the_topic_for_any_pattern() {
        let patterns =
            ["+=".repeat(100), "+".repeat(200), "+a".repeat(99), "+.".repeat(100) + "+", "=".repeat(200) + "+b"];
        let mut worst = 0;
        for text in patterns {
            let pattern = Pattern::foreign(&text).unwrap();
            let blocks = text.len().div_ceil(64) as u64;
            for word in ["a", "a.", "a.a", "ab", "-.-", "."] {
                for topic in [word.repeat(200), word.repeat(400) + "a", word.repeat(5000)] {
                    let steps = steps::of(|| {
                        pattern.matches(&topic);
                    });
                    assert!(steps <= blocks * topic.len() as u64, "{text} {topic}: {steps} steps");
                    worst = worst.max(steps);
                }
            }
        }
        assert!(worst > 5000, "the steps are not counted: {worst}");
    }

    /// Random texts seldom nearly match; these include every way to go wrong that is this short.
    #[test]
    fn every_short_pattern_and_topic_match_as_the_definition_says() {
        let topics = reference::every_text("a.", 7);
        for pattern in reference::every_text("a.=+", 5) {
            let compiled = Pattern::foreign(&pattern).unwrap();
            for topic in &topics {
                assert_eq!(compiled.matches(topic), reference::matches(&pattern, topic), "{pattern} {topic}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn matches_what_the_definition_says(pattern in "[ab.=+-]{1,10}", topic in "[ab.-]{0,12}") {
            let compiled = Pattern::foreign(&pattern).unwrap();
            prop_assert_eq!(compiled.matches(&topic), reference::matches(&pattern, &topic), "{} {}", pattern, topic);
        }

        #[test]
        fn matches_what_the_definition_says_of_hostile_topics(pattern in "[a.=+]{1,6}", topic in "[a.=+é\n]{0,8}") {
            let compiled = Pattern::foreign(&pattern).unwrap();
            prop_assert_eq!(compiled.matches(&topic), reference::matches(&pattern, &topic), "{} {}", pattern, topic);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Cores of several blocks of states, on the stack and beyond, with topics that nearly match.
        #[test]
        fn long_patterns_match_what_the_definition_says(
            (pattern, topic) in reference::long_pattern_and_topic(),
        ) {
            let compiled = Pattern::foreign(&pattern).unwrap();
            prop_assert_eq!(compiled.matches(&topic), reference::matches(&pattern, &topic), "{} {}", pattern, topic);
        }
    }
}
