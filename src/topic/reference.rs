//! What the definition of topics and patterns says, written down as directly as possible, for tests.

#![forbid(unsafe_code)]

use proptest::prelude::*;

/// Whether the pattern matches: by trying every way to divide the topic among the pattern's characters.
pub(super) fn matches(pattern: &str, topic: &str) -> bool {
    let (pattern, topic): (Vec<char>, Vec<char>) = (pattern.chars().collect(), topic.chars().collect());
    // known[p][t]: whether pattern[p..] matches topic[t..], filled from the end.
    let mut known = vec![vec![false; topic.len() + 1]; pattern.len() + 1];
    known[pattern.len()][topic.len()] = true;
    for p in (0..pattern.len()).rev() {
        for t in 0..topic.len() {
            let longest = if "=+".contains(pattern[p]) { topic.len() } else { t + 1 };
            known[p][t] = (t + 1..=longest).any(|end| known[p + 1][end] && stands_for(pattern[p], &topic[t..end]));
        }
    }
    known[0][0]
}

fn stands_for(item: char, text: &[char]) -> bool {
    let word = |w: &[char]| !w.is_empty() && w.iter().all(|&c| c.is_ascii_alphanumeric() || c == '-');
    match item {
        '=' => word(text),
        '+' => text.split(|&c| c == '.').all(word),
        literal => text == [literal],
    }
}

/// Every text of 1 to `longest` of these characters.
pub(super) fn every_text(alphabet: &str, longest: usize) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut start = 0;
    for _ in 0..longest {
        let end = texts.len();
        for i in start..end {
            let longer: Vec<String> = alphabet.chars().map(|c| format!("{}{c}", texts[i])).collect();
            texts.extend(longer);
        }
        start = end;
    }
    texts.split_off(1)
}

/// A long pattern and a topic made from it, with up to two characters changed, so that both answers are common.
pub(super) fn long_pattern_and_topic() -> impl Strategy<Value = (String, String)> {
    let items = prop::collection::vec(
        prop_oneof![
            4 => Just(("a", "a")), 2 => Just(("b", "b")), 2 => Just((".", ".")), 1 => Just(("=", "a")),
            1 => Just(("=", "ab")), 1 => Just(("+", "b")), 1 => Just(("+", "a.b")), 1 => Just(("+", "aa.-.b")),
        ],
        50..320,
    );
    let changes = prop::collection::vec((any::<prop::sample::Index>(), "[ab.]"), 0..3);
    (items, changes).prop_map(|(items, changes)| {
        let pattern = items.iter().map(|item| item.0).collect();
        let mut topic: String = items.iter().map(|item| item.1).collect();
        for (at, to) in changes {
            let at = at.index(topic.len());
            topic.replace_range(at..=at, &to);
        }
        (pattern, topic)
    })
}

mod tests {
    use super::*;

    #[test]
    fn the_reference_knows_the_documented_examples() {
        assert!(matches("logs.=.error", "logs.app.error") && !matches("logs.=.error", "logs.error"));
        assert!(matches("logs.+", "logs.app.error") && !matches("logs.+", "logs"));
        assert!(matches("tes=.match", "test.match") && !matches("+", "a..b") && !matches("=", "é"));
    }
}
