//! An index from topics to the values of the patterns that match them.
//!
//! Patterns without a wildcard are found by their text in a hash map, the others by walking a [`Trie`].

#![forbid(unsafe_code)]

use std::collections::HashMap;

use super::Pattern;
use super::trie::{Trie, remove_value};

/// Patterns with a value each, found by topic at a cost that depends on what matches, not on what is there.
///
/// The same pattern may be there with many values, and with the same value several times.
#[derive(Debug)]
pub(crate) struct Index<T> {
    // Keys are chosen by other programs: the standard hasher, which they cannot make collide.
    exact: HashMap<Box<str>, Vec<T>>,
    wild: Trie<T>,
}

impl<T: PartialEq> Index<T> {
    pub fn new() -> Index<T> {
        Index { exact: HashMap::new(), wild: Trie::new() }
    }

    /// Adds an entry, in time linear in the pattern's length.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        if !pattern.is_exact() {
            self.wild.insert(pattern.as_str().as_bytes(), value);
        } else if let Some(values) = self.exact.get_mut(pattern.as_str()) {
            values.push(value);
        } else {
            self.exact.insert(pattern.as_str().into(), vec![value]);
        }
    }

    /// Removes one entry; whether it was there. Linear in the pattern's length and in the values of this very pattern.
    pub fn remove(&mut self, pattern: &Pattern, value: &T) -> bool {
        if !pattern.is_exact() {
            return self.wild.remove(pattern.as_str().as_bytes(), value);
        }
        let Some(values) = self.exact.get_mut(pattern.as_str()) else { return false };
        let removed = remove_value(values, value);
        if values.is_empty() {
            self.exact.remove(pattern.as_str());
            if self.exact.is_empty() {
                self.exact.shrink_to_fit();
            }
        }
        removed
    }

    /// Calls `found` with every value whose pattern matches, each entry once, in no particular order.
    pub fn for_each_match(&self, topic: &str, mut found: impl FnMut(&T)) {
        if let Some(values) = self.exact.get(topic) {
            values.iter().for_each(&mut found);
        }
        self.wild.for_each_match(topic.as_bytes(), found);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{reference, steps};
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::foreign(text).unwrap()
    }

    fn index_of<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Index<usize> {
        let mut index = Index::new();
        for (i, text) in patterns.into_iter().enumerate() {
            index.insert(&pattern(text.as_ref()), i);
        }
        index
    }

    fn found(index: &Index<usize>, topic: &str) -> Vec<usize> {
        let mut values = Vec::new();
        index.for_each_match(topic, |&v| values.push(v));
        values.sort_unstable();
        values
    }

    #[test]
    fn every_entry_that_matches_is_found_once() {
        let index =
            index_of(["a.b", "a.=", "+", "a.+", "=.b", "+b", "a.b", "a.=", "b.+", "a", "a.b.=", "a=", "++", "+.+"]);
        assert_eq!(found(&index, "a.b"), [0, 1, 2, 3, 4, 6, 7, 13]);
        assert_eq!(found(&index, "a.b.bb"), [2, 3, 5, 10, 12, 13]);
        assert_eq!(found(&index, ""), [] as [usize; 0]);
        assert_eq!(found(&index, "é"), [] as [usize; 0]);
    }

    #[test]
    fn of_every_short_pattern_those_that_match_are_found() {
        let patterns: Vec<Pattern> = reference::every_text("ab.=+", 4).iter().map(|text| pattern(text)).collect();
        let index = index_of(patterns.iter().map(Pattern::as_str));
        for topic in reference::every_text("ab.", 6) {
            let matching: Vec<usize> = (0..patterns.len()).filter(|&i| patterns[i].matches(&topic)).collect();
            assert_eq!(found(&index, &topic), matching, "{topic}");
        }
    }

    #[test]
    fn an_entry_is_removed_once_and_only_if_it_is_there() {
        for text in ["a.b", "a.=", "a.+b", "+=+"] {
            let mut index = index_of([text, "a.b.c", "a.b.=", "a.=="]);
            index.insert(&pattern(text), 7);
            index.insert(&pattern(text), 7);
            assert!(!index.remove(&pattern(text), &8), "{text}");
            assert!(index.remove(&pattern(text), &7) && index.remove(&pattern(text), &7), "{text}");
            assert!(!index.remove(&pattern(text), &7), "{text}");
            assert!(index.remove(&pattern(text), &0) && !index.remove(&pattern(text), &0), "{text}");
        }
        let mut index = index_of(["abc.=", "abd.="]);
        for absent in ["a", "ab", "abc", "abc.", "abc.+", "abc.==", "abe.=", "=", "ab=", "abc.=."] {
            assert!(!index.remove(&pattern(absent), &0), "{absent}");
        }
        assert_eq!(found(&index, "abc.x"), [0]);
    }

    fn steps_of(index: &Index<usize>, topic: &str, expected: usize) -> u64 {
        let mut count = 0;
        let steps = steps::of(|| index.for_each_match(topic, |_| count += 1));
        assert_eq!(count, expected, "{topic}");
        steps
    }

    #[test]
    fn ten_thousand_patterns_that_do_not_match_cost_next_to_nothing() {
        let kinds: [fn(usize) -> String; 10] = [
            |i| format!("app.{i}"),
            |i| format!("app.x{i}.="),
            |i| format!("x{i}.+"),
            |i| format!("=.x{i}"),
            |i| format!("+.x{i}"),
            |i| format!("app.=.x{i}"),
            |i| format!("app.+.x{i}.="),
            |i| format!("app.s{i}-="),
            |i| format!("app.=-{i}"),
            |i| format!("a+{i}b"),
        ];
        let topic = "app.server-one.errors";
        for kind in kinds {
            let one = steps_of(&index_of((0..1).map(kind)), topic, 0);
            let many = steps_of(&index_of((0..10_000).map(kind)), topic, 0);
            assert!(many <= one + topic.len() as u64, "{}: {one} steps for one, {many} for 10,000", kind(0));
        }
    }

    #[test]
    fn a_match_among_ten_thousand_costs_what_it_costs_alone() {
        let topic = "app.server-one.errors";
        let others = (0..10_000).map(|i| if i % 2 == 0 { format!("app.=.x{i}") } else { format!("app.+.s{i}") });
        let alone = steps_of(&index_of(["app.=.errors", "+"]), topic, 2);
        let among = steps_of(&index_of(others.chain(["app.=.errors".into(), "+".into()])), topic, 2);
        assert!(among <= 4 * alone, "{alone} {among}");
    }

    #[test]
    fn walks_are_bounded_by_the_nodes_that_exist() {
        let topic = "a.".repeat(100) + "a";
        for unit in ["=.", "+.", "a.", "+", "=", "+a", "=.+."] {
            let patterns: Vec<String> = (1..=100).map(|n| unit.repeat(n) + "=.b").collect();
            let index = index_of(&patterns);
            let limit = (index.wild.node_states() * topic.len()) as u64;
            let steps = steps::of(|| index.for_each_match(&topic, |_| panic!("{unit} matched")));
            assert!(steps <= limit, "{unit}: {steps} steps, limit {limit}");
        }
        // Every choice of `=` or the word at 12 places: all match, none is visited twice.
        let choices = (0..1 << 12)
            .map(|bits: u32| (0..12).map(|i| if bits >> i & 1 == 1 { "=" } else { "a" }).collect::<Vec<_>>().join("."));
        let index = index_of(choices);
        let topic = ["a"; 12].join(".");
        assert!(steps_of(&index, &topic, 1 << 12) <= (index.wild.node_states() * 2) as u64);
    }

    #[test]
    fn long_patterns_and_topics_do_not_overflow_the_stack() {
        let long = "=+.".repeat(30_000);
        let mut index = index_of([&long, &long.replace("=", "a"), &long.replace("+", "a")]);
        assert_eq!(found(&index, &"ab".repeat(50)), [] as [usize; 0]);
        assert!(index.remove(&pattern(&long), &0));
        drop(index);
    }

    #[test]
    fn nothing_stays_of_what_is_removed() {
        let texts = ["keep.me.=", "keep.me.too.=", "k=", "+.x", "keep.+"];
        let mut index = index_of(texts);
        let mut exact_capacity = 0;
        for round in 0..20_000usize {
            for text in [format!("keep.{round}.="), format!("+.{round}+"), format!("exact.{round}"), "keep.m=".into()] {
                index.insert(&pattern(&text), round);
            }
            if round == 100 {
                exact_capacity = index.exact.capacity();
            }
            for text in [format!("keep.{round}.="), format!("+.{round}+"), format!("exact.{round}"), "keep.m=".into()] {
                assert!(index.remove(&pattern(&text), &round));
            }
        }
        assert!(index.wild.allocated_nodes() < 50, "{}", index.wild.allocated_nodes());
        assert!(index.exact.is_empty() && exact_capacity < 10);
        for (i, text) in texts.iter().enumerate() {
            assert!(index.remove(&pattern(text), &i));
        }
        assert_eq!(index.wild.allocated_nodes(), 1);
    }

    #[derive(Debug, Clone)]
    enum Change {
        Insert(String, usize),
        Remove(prop::sample::Index),
        RemoveAbsent(String, usize),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            5 => ("[ab.=+]{1,6}", 0..3usize).prop_map(|(p, v)| Change::Insert(p, v)),
            3 => any::<prop::sample::Index>().prop_map(Change::Remove),
            1 => ("[ab.=+]{1,4}", 0..3usize).prop_map(|(p, v)| Change::RemoveAbsent(p, v)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn finds_what_a_plain_list_finds(
            changes in prop::collection::vec(change(), 1..60),
            topics in prop::collection::vec("[ab.]{0,8}", 1..12),
        ) {
            let mut index = Index::new();
            let mut list: Vec<(String, usize)> = Vec::new();
            for change in changes {
                match change {
                    Change::Insert(text, value) => {
                        index.insert(&pattern(&text), value);
                        list.push((text, value));
                    }
                    Change::Remove(_) if list.is_empty() => {}
                    Change::Remove(which) => {
                        let (text, value) = list.swap_remove(which.index(list.len()));
                        prop_assert!(index.remove(&pattern(&text), &value));
                    }
                    Change::RemoveAbsent(text, value) => {
                        let there = list.iter().position(|entry| *entry == (text.clone(), value));
                        prop_assert_eq!(index.remove(&pattern(&text), &value), there.is_some());
                        if let Some(at) = there {
                            list.swap_remove(at);
                        }
                    }
                }
            }
            for topic in &topics {
                let matching = list.iter().filter(|(text, _)| reference::matches(text, topic));
                let mut expected: Vec<usize> = matching.map(|entry| entry.1).collect();
                expected.sort_unstable();
                prop_assert_eq!(found(&index, topic), expected, "{} in {:?}", topic, list);
            }
            for (text, value) in list {
                prop_assert!(index.remove(&pattern(&text), &value));
            }
            prop_assert!(index.exact.is_empty() && index.wild.allocated_nodes() == 1);
        }
    }
}
