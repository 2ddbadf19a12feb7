//! A trie of patterns with wildcards, walked by a topic.
//!
//! # The algorithm
//!
//! A path from the root spells patterns: a node is a run of literal bytes, a `=` or a `+`. Patterns share the nodes of
//! what they begin with. All of them together are one automaton like that of a single pattern (see the matcher), and a
//! topic runs through it byte by byte with the set of the places it can be at: "so many bytes into this literal node",
//! or "inside this wildcard". So a pattern costs something only while the topic matches its beginning, those that begin
//! alike cost that only once, and children are found by their first byte. A topic of `n` bytes costs at most `n` times
//! the places that exist, each visited once a byte: nothing is tried twice, and nothing recurs.
//!
//! # Why each entry is found once
//!
//! A place in a literal is entered only from the one before it, the first of a node only from the end of its parent.
//! So a set without duplicates gives one without duplicates, except that a wildcard can be entered from its parent and
//! from itself: these are kept apart and made unique after each byte. An entry belongs to one node.
//!
//! # Memory
//!
//! Nodes live in one vector and are used again. A node without entries and children is removed with the last entry below
//! it. A literal that was split for a pattern which is gone stays split, so there are at most as many nodes as the
//! patterns that are there have bytes.

#![forbid(unsafe_code)]

use std::mem;

use super::pattern::is_wildcard;
use super::{is_word_byte, steps};

const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Trie<T> {
    /// The root is first: a literal node without bytes.
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Node<T> {
    kind: Kind,
    /// Nodes of literals by their first byte, in its order.
    literals: Vec<(u8, u32)>,
    one: Option<u32>,
    many: Option<u32>,
    values: Vec<T>,
}

#[derive(Debug)]
enum Kind {
    Literal(Box<[u8]>),
    One,
    Many,
}

/// Where a topic is after some of its bytes.
#[derive(Default)]
struct Places {
    /// A literal node and how many of its bytes are matched.
    literals: Vec<(u32, u32)>,
    /// Wildcards that took the last byte.
    wild: Vec<u32>,
}

impl<T> Node<T> {
    fn new(kind: Kind) -> Node<T> {
        Node { kind, literals: Vec::new(), one: None, many: None, values: Vec::new() }
    }

    fn is_unused(&self) -> bool {
        self.values.is_empty() && self.literals.is_empty() && self.one.is_none() && self.many.is_none()
    }

    /// The child whose pattern goes on with this byte.
    fn child(&self, first: u8) -> Option<u32> {
        match first {
            b'=' => self.one,
            b'+' => self.many,
            _ => self.literals.binary_search_by_key(&first, |child| child.0).ok().map(|i| self.literals[i].1),
        }
    }

    fn set_child(&mut self, first: u8, node: Option<u32>) {
        match first {
            b'=' => self.one = node,
            b'+' => self.many = node,
            _ => match (self.literals.binary_search_by_key(&first, |child| child.0), node) {
                (Ok(i), Some(node)) => self.literals[i].1 = node,
                (Ok(i), None) => drop(self.literals.remove(i)),
                (Err(i), Some(node)) => self.literals.insert(i, (first, node)),
                (Err(_), None) => {}
            },
        }
    }
}

impl<T: PartialEq> Trie<T> {
    pub(super) fn new() -> Trie<T> {
        Trie { nodes: vec![Node::new(Kind::Literal(Box::default()))], free: Vec::new() }
    }

    pub(super) fn insert(&mut self, pattern: &[u8], value: T) {
        let mut at = ROOT;
        let mut rest = pattern;
        while let Some(&first) = rest.first() {
            let child = self.node(at).child(first);
            let literals = rest.iter().position(|&b| is_wildcard(b)).unwrap_or(rest.len());
            let taken;
            (at, taken) = match (first, child) {
                (b'=' | b'+', Some(child)) => (child, 1),
                (b'=', None) => (self.add(at, first, Kind::One), 1),
                (b'+', None) => (self.add(at, first, Kind::Many), 1),
                (_, Some(child)) => self.split(at, child, &rest[..literals]),
                (_, None) => (self.add(at, first, Kind::Literal(rest[..literals].into())), literals),
            };
            rest = &rest[taken..];
        }
        self.node_mut(at).values.push(value);
    }

    /// Removes one entry; whether it was there.
    pub(super) fn remove(&mut self, pattern: &[u8], value: &T) -> bool {
        let mut path = Vec::new();
        let mut at = ROOT;
        let mut rest = pattern;
        while let Some(&first) = rest.first() {
            let Some(child) = self.node(at).child(first) else { return false };
            let matched = match &self.node(child).kind {
                Kind::Literal(literal) => rest.strip_prefix(&literal[..]),
                Kind::One | Kind::Many => Some(&rest[1..]),
            };
            let Some(matched) = matched else { return false };
            path.push((at, first));
            (at, rest) = (child, matched);
        }
        let removed = remove_value(&mut self.node_mut(at).values, value);
        while let Some((parent, first)) = path.pop() {
            if !self.node(at).is_unused() {
                break;
            }
            self.node_mut(parent).set_child(first, None);
            *self.node_mut(at) = Node::new(Kind::One);
            self.free.push(at);
            at = parent;
        }
        if self.node(ROOT).is_unused() {
            *self = Trie::new();
        }
        removed
    }

    /// Calls `found` with the value of every entry whose pattern matches the topic.
    pub(super) fn for_each_match(&self, topic: &[u8], mut found: impl FnMut(&T)) {
        let mut now = Places::default();
        let mut next = Places::default();
        let mut after_dot = false;
        if self.node(ROOT).is_unused() {
            return;
        }
        now.literals.push((ROOT, 0));
        for &byte in topic {
            if !is_word_byte(byte) && byte != b'.' {
                return;
            }
            self.step(byte, after_dot, &now, &mut next);
            mem::swap(&mut now, &mut next);
            if now.literals.is_empty() && now.wild.is_empty() {
                return;
            }
            after_dot = byte == b'.';
        }
        let literals = now.literals.iter().map(|&(at, matched)| (self.node(at), matched));
        let wild = now.wild.iter().map(|&at| (self.node(at), 0));
        for (node, matched) in literals.chain(wild) {
            let complete = match &node.kind {
                Kind::Literal(literal) => matched as usize == literal.len(),
                Kind::One => true,
                Kind::Many => !after_dot,
            };
            if complete {
                node.values.iter().for_each(&mut found);
            }
        }
    }

    /// The places after one more byte, a word character or a dot.
    fn step(&self, byte: u8, after_dot: bool, now: &Places, next: &mut Places) {
        next.literals.clear();
        next.wild.clear();
        let dot = byte == b'.';
        for &at in &now.wild {
            steps::count();
            let node = self.node(at);
            let many = matches!(node.kind, Kind::Many);
            if !dot || many && !after_dot {
                next.wild.push(at);
            }
            // A `+` that has just taken a dot must go on with a word.
            if !(many && after_dot) {
                self.leave(node, byte, next);
            }
        }
        for &(at, matched) in &now.literals {
            steps::count();
            let node = self.node(at);
            match &node.kind {
                Kind::Literal(literal) if (matched as usize) < literal.len() => {
                    if literal[matched as usize] == byte {
                        next.literals.push((at, matched + 1));
                    }
                }
                _ => self.leave(node, byte, next),
            }
        }
        if next.wild.len() > 1 {
            next.wild.sort_unstable();
            next.wild.dedup();
        }
    }

    /// Goes on from the end of a node to those of its children that take the byte.
    fn leave(&self, node: &Node<T>, byte: u8, next: &mut Places) {
        if let Some(child) = node.child(byte) {
            next.literals.push((child, 1));
        }
        if byte != b'.' {
            next.wild.extend(node.one);
            next.wild.extend(node.many);
        }
    }

    /// Makes the part of a literal child that `text` shares a node of its own; that node and its length.
    fn split(&mut self, parent: u32, child: u32, text: &[u8]) -> (u32, usize) {
        let Kind::Literal(literal) = &self.node(child).kind else { unreachable!("a wildcard among the literals") };
        let shared = literal.iter().zip(text).take_while(|(a, b)| a == b).count();
        if shared == literal.len() {
            return (child, shared);
        }
        let (head, tail): (Box<[u8]>, Box<[u8]>) = (literal[..shared].into(), literal[shared..].into());
        let tail_first = tail[0];
        let middle = self.add(parent, head[0], Kind::Literal(head));
        self.node_mut(middle).set_child(tail_first, Some(child));
        self.node_mut(child).kind = Kind::Literal(tail);
        (middle, shared)
    }

    /// A new node below `parent`, in the place of the child that begins with `first`, if any.
    fn add(&mut self, parent: u32, first: u8, kind: Kind) -> u32 {
        let node = Node::new(kind);
        let id = match self.free.pop() {
            Some(id) => {
                *self.node_mut(id) = node;
                id
            }
            None => {
                self.nodes.push(node);
                // 2^32 nodes would take hundreds of gigabytes.
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 nodes")
            }
        };
        self.node_mut(parent).set_child(first, Some(id));
        id
    }

    fn node(&self, id: u32) -> &Node<T> {
        &self.nodes[id as usize]
    }

    fn node_mut(&mut self, id: u32) -> &mut Node<T> {
        &mut self.nodes[id as usize]
    }
}

#[cfg(test)]
impl<T> Trie<T> {
    /// The nodes that memory is kept for, in use or free.
    pub(super) fn allocated_nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The places at which a topic can be.
    pub(super) fn node_states(&self) -> usize {
        let places = |kind: &Kind| if let Kind::Literal(literal) = kind { literal.len() } else { 1 };
        1 + self.nodes.iter().map(|node| places(&node.kind)).sum::<usize>()
    }
}

/// Removes one of the values that equal this one; whether there was one. Recent ones are found first.
pub(super) fn remove_value<T: PartialEq>(values: &mut Vec<T>, value: &T) -> bool {
    let Some(at) = values.iter().rposition(|v| v == value) else { return false };
    values.swap_remove(at);
    if values.len() < values.capacity() / 4 {
        values.shrink_to(values.len() * 2);
    }
    true
}
