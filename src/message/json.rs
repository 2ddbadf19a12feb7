//! JSON as Python's `json` module reads it: RFC 8259, and the bare words `NaN`, `Infinity` and `-Infinity`.
//!
//! One scanner serves the check of a received message's headers and their parsing. It goes over the text once, without
//! recursion and without allocation, whatever the text is.

#![forbid(unsafe_code)]

use std::collections::TryReserveError;
use std::fmt;

/// How deep lists and objects may be nested. A little more than formix-pubsub programs can read or write: Python's
/// recursion limit is 1,000 frames, of which a program uses some.
pub(crate) const MAX_DEPTH: usize = 1000;

/// What is wrong with a text, and where.
#[derive(Debug, PartialEq)]
pub(crate) struct JsonError {
    what: &'static str,
    found: Option<char>,
    at: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Some(found) => write!(f, "{} at byte {}, where {found:?} stands", self.what, self.at),
            None => write!(f, "{} at byte {}, where the text ends", self.what, self.at),
        }
    }
}

type Result<T> = std::result::Result<T, JsonError>;

/// Whether `text` is one JSON value of any kind.
pub(crate) fn check(text: &str) -> Result<()> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.skip(MAX_DEPTH)?;
    scanner.end()
}

/// A value on its outermost level.
#[derive(Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// Its text: a minus perhaps, and digits.
    Integer(&'a str),
    /// Its text, which `str::parse::<f64>` understands: with a point or an exponent, or a bare word.
    Float(&'a str),
    String(Text<'a>),
    /// The text of a list or an object.
    Nested(&'a str),
}

/// A string as it stands in the text.
#[derive(Debug, PartialEq)]
pub(crate) struct Text<'a> {
    /// With its quotes.
    pub raw: &'a str,
    escaped: bool,
    /// It has an escape of half a surrogate pair, which UTF-8 cannot hold.
    pub lone_surrogate: bool,
}

impl Text<'_> {
    /// What the string stands for; U+FFFD in the place of each lone surrogate.
    pub(crate) fn decode(&self) -> std::result::Result<String, TryReserveError> {
        let inner = &self.raw[1..self.raw.len() - 1];
        let mut out = String::new();
        out.try_reserve_exact(inner.len())?; // no escape is shorter than what it stands for
        if !self.escaped {
            out.push_str(inner);
            return Ok(out);
        }
        let mut rest = inner;
        while let Some(backslash) = rest.find('\\') {
            out.push_str(&rest[..backslash]);
            let Ok((char, next)) = escape(rest, backslash + 1) else { break }; // the scanner has seen that all are right
            out.push(char.unwrap_or(char::REPLACEMENT_CHARACTER));
            rest = &rest[next..];
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The escape whose letter is at `at`: the character, `None` for a lone surrogate, and where the text goes on. The
/// error is the position of what does not belong there.
fn escape(text: &str, at: usize) -> std::result::Result<(Option<char>, usize), usize> {
    let bytes = text.as_bytes();
    let char = match bytes.get(at) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let first = hex4(bytes, at + 1)?;
            let next = at + 5;
            if !(0xd800..0xdc00).contains(&first) || bytes.get(next..next + 2) != Some(b"\\u") {
                return Ok((char::from_u32(first), next));
            }
            let second = hex4(bytes, next + 2)?;
            if !(0xdc00..0xe000).contains(&second) {
                return Ok((None, next)); // the second escape is read on its own
            }
            return Ok((char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)), next + 6));
        }
        _ => return Err(at),
    };
    Ok((Some(char), at + 1))
}

fn hex4(bytes: &[u8], at: usize) -> std::result::Result<u32, usize> {
    (at..at + 4).try_fold(0, |value, i| {
        let digit = bytes.get(i).and_then(|&byte| char::from(byte).to_digit(16)).ok_or(i)?;
        Ok(value << 4 | digit)
    })
}

const NESTING_WORDS: usize = MAX_DEPTH.div_ceil(64);

/// Which of the open brackets are braces, outermost first: a stack of bits.
struct Nesting {
    objects: [u64; NESTING_WORDS],
    depth: usize,
}

impl Nesting {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.objects[word] = self.objects[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
    }

    fn in_object(&self) -> bool {
        let top = self.depth - 1;
        self.objects[top / 64] >> (top % 64) & 1 == 1
    }
}

/// Goes over a text. Every method expects to stand where its part begins and leaves behind its end.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Whether `byte` stands here; if so, goes behind it.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    pub(crate) fn error(&self, what: &'static str) -> JsonError {
        self.error_at(what, self.at)
    }

    #[cold]
    fn error_at(&self, what: &'static str, at: usize) -> JsonError {
        JsonError { what, found: self.text.get(at..).and_then(|rest| rest.chars().next()), at }
    }

    /// Nothing but space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("expected the end of the text")),
        }
    }

    /// A name and the colon, up to where the value begins.
    pub(crate) fn name(&mut self) -> Result<Text<'a>> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a name in double quotes"));
        }
        let name = self.string()?;
        self.space();
        if !self.eat(b':') {
            return Err(self.error("expected ':'"));
        }
        self.space();
        Ok(name)
    }

    /// A value in which lists and objects are at most `depth` deep.
    pub(crate) fn value(&mut self, depth: usize) -> Result<Value<'a>> {
        if let Some(b'{' | b'[') = self.peek() {
            let start = self.at;
            self.skip(depth)?;
            return Ok(Value::Nested(&self.text[start..self.at]));
        }
        self.scalar()
    }

    fn skip(&mut self, depth: usize) -> Result<()> {
        let mut open = Nesting { objects: [0; NESTING_WORDS], depth: 0 };
        loop {
            // A value begins here.
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    if open.depth >= depth.min(MAX_DEPTH) {
                        return Err(self.error("lists and objects are nested too deep (1,000 levels are read)"));
                    }
                    let object = bracket == b'{';
                    open.push(object);
                    self.at += 1;
                    self.space();
                    if self.eat(if object { b'}' } else { b']' }) {
                        open.depth -= 1;
                    } else {
                        if object {
                            self.name()?;
                        }
                        continue;
                    }
                }
                _ => {
                    self.scalar()?;
                }
            }
            // A value has ended here.
            while open.depth > 0 {
                self.space();
                let object = open.in_object();
                if self.eat(b',') {
                    self.space();
                    if object {
                        self.name()?;
                    }
                    break;
                }
                if !self.eat(if object { b'}' } else { b']' }) {
                    return Err(self.error(if object { "expected ',' or '}'" } else { "expected ',' or ']'" }));
                }
                open.depth -= 1;
            }
            if open.depth == 0 {
                return Ok(());
            }
        }
    }

    fn scalar(&mut self) -> Result<Value<'a>> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float("NaN")),
            ("Infinity", Value::Float("Infinity")),
            ("-Infinity", Value::Float("-Infinity")),
        ];
        match self.peek() {
            Some(b'"') => return self.string().map(Value::String),
            Some(b'0'..=b'9') => return self.number(),
            _ => {}
        }
        for (word, value) in words {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match self.peek() {
            Some(b'-') => self.number(),
            _ => Err(self.error("expected a value")),
        }
    }

    fn digits(&mut self) -> bool {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at > start
    }

    /// As far as it is a number; what follows is for the caller to refuse.
    fn number(&mut self) -> Result<Value<'a>> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') && !self.digits() {
            return Err(self.error("expected a digit"));
        }
        let mut float = false;
        if self.eat(b'.') {
            float = true;
            if !self.digits() {
                return Err(self.error("expected a digit"));
            }
        }
        if self.eat(b'e') || self.eat(b'E') {
            float = true;
            let _sign = self.eat(b'+') || self.eat(b'-');
            if !self.digits() {
                return Err(self.error("expected a digit"));
            }
        }
        let text = &self.text[start..self.at];
        Ok(if float { Value::Float(text) } else { Value::Integer(text) })
    }

    fn string(&mut self) -> Result<Text<'a>> {
        let start = self.at;
        let (mut escaped, mut lone_surrogate) = (false, false);
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => match escape(self.text, self.at + 1) {
                    Ok((char, next)) => {
                        escaped = true;
                        lone_surrogate |= char.is_none();
                        self.at = next;
                    }
                    Err(at) => return Err(self.error_at("expected an escape", at)),
                },
                Some(0..=0x1f) => return Err(self.error("control characters in a string must be escaped")),
                Some(_) => self.at += 1,
                None => return Err(self.error("expected '\"'")),
            }
        }
        self.at += 1;
        Ok(Text { raw: &self.text[start..self.at], escaped, lone_surrogate })
    }
}

/// Appends `text` as a JSON string, as Python's `json.dumps(text, ensure_ascii=False)` writes it.
pub(crate) fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut written = 0;
    for (i, byte) in text.bytes().enumerate() {
        let short = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x0c => "\\f",
            0x08 => "\\b",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[written..i]);
        out.push_str(short);
        if short.is_empty() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u00");
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
        written = i + 1;
    }
    out.push_str(&text[written..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_reads_is_accepted() {
        for text in [
            "{}",
            "[]",
            "\"\"",
            "0",
            "-0",
            "-1",
            "10",
            "1.5",
            "1e5",
            "1E+05",
            "-0.0e-0",
            "true",
            "false",
            "null",
            "NaN",
            "Infinity",
            "-Infinity",
            " \t\n\r[ 1 , { \"a\" : [ ] } ] \n",
            "[[[]],{}]",
            "{\"a\":1,\"a\":2}",
            "\"\\u00e9\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\\ud800\\ud83d\\ude00\"",
            "\"\u{7f}\u{2028}\"",
            "\"\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
            "{\"a\": NaN, \"b\": [-Infinity]}",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_python_refuses_is_refused_where_it_is_wrong() {
        for (text, at) in [
            ("", 0),
            (" ", 1),
            ("{", 1),
            ("[", 1),
            ("]", 0),
            ("[1", 2),
            ("[1,", 3),
            ("[1,]", 3),
            ("[1 2]", 3),
            ("{1:2}", 1),
            ("{\"a\"}", 4),
            ("{\"a\":}", 5),
            ("{\"a\":1,}", 7),
            ("{\"a\":1]", 6),
            ("[1}", 2),
            ("{'a':1}", 1),
            ("01", 1),
            ("-", 1),
            ("+1", 0),
            ("1.", 2),
            (".5", 0),
            ("1e", 2),
            ("1e+", 3),
            ("0x1", 1),
            ("nul", 0),
            ("nan", 0),
            ("-Inf", 1),
            ("infinity", 0),
            ("truex", 4),
            ("\"a", 2),
            ("\"\n\"", 1),
            ("\"\0\"", 1),
            ("\"\u{1f}\"", 1),
            ("\"\\x41\"", 2),
            ("\"\\u12g4\"", 5),
            ("\"\\u12\"", 5),
            ("\"\\ud800\\uzzzz\"", 9),
            ("\"\\", 2),
            ("\u{feff}{}", 0),
            ("{}{}", 2),
            ("\u{a0}1", 0),
            ("\u{b}1", 0),
            ("1 // x", 2),
            ("\0", 0),
        ] {
            let error = check(text).expect_err(text);
            assert_eq!(error.at, at, "{text}: {error}");
        }
        assert_eq!(check("[1 2]").unwrap_err().to_string(), "expected ',' or ']' at byte 3, where '2' stands");
        assert_eq!(
            check("{").unwrap_err().to_string(),
            "expected a name in double quotes at byte 1, where the text ends"
        );
    }

    #[test]
    fn depth_has_a_limit_and_costs_no_stack() {
        let lists = |n: usize| "[".repeat(n) + &"]".repeat(n);
        let objects = |n: usize| "{\"a\":".repeat(n) + "1" + &"}".repeat(n);
        for deep in [990, MAX_DEPTH] {
            assert_eq!(check(&lists(deep)), Ok(()));
            assert_eq!(check(&objects(deep)), Ok(()));
        }
        assert_eq!(check(&lists(MAX_DEPTH + 1)).unwrap_err().at, MAX_DEPTH);
        assert_eq!(check(&objects(MAX_DEPTH + 1)).unwrap_err().at, MAX_DEPTH * 5);
        assert!(check(&lists(200_000)).unwrap_err().to_string().contains("1,000 levels"));
        assert!(check(&"[{\"a\":".repeat(200_000)).is_err());
        // Lists and objects that take turns, so that every bit of the stack matters.
        let mut mixed = String::new();
        for i in 0..MAX_DEPTH {
            mixed.push_str(if i % 3 == 0 { "{\"a\":" } else { "[" });
        }
        mixed.push('0');
        for i in (0..MAX_DEPTH).rev() {
            mixed.push(if i % 3 == 0 { '}' } else { ']' });
        }
        assert_eq!(check(&mixed), Ok(()));
    }

    #[test]
    fn strings_decode() {
        let decode = |text: &str| {
            let mut scanner = Scanner::new(text);
            let string = scanner.string().unwrap();
            assert_eq!(scanner.end(), Ok(()));
            (string.decode().unwrap(), string.lone_surrogate)
        };
        assert_eq!(decode(r#""""#), (String::new(), false));
        assert_eq!(decode(r#""aéb""#), ("aéb".into(), false));
        assert_eq!(decode(r#""a\u00E9\n\/\"\\\u0000b""#), ("aé\n/\"\\\0b".into(), false));
        assert_eq!(decode(r#""\ud83d\ude00!""#), ("😀!".into(), false));
        assert_eq!(decode(r#""\ud800\udc00\udbff\udfff""#), ("\u{10000}\u{10ffff}".into(), false));
        assert_eq!(decode(r#""\ud7ff\ue000""#), ("\u{d7ff}\u{e000}".into(), false));
        assert_eq!(decode(r#""x\ud83dy""#), ("x\u{fffd}y".into(), true));
        assert_eq!(decode(r#""\ude00\ud83d""#), ("\u{fffd}\u{fffd}".into(), true));
        assert_eq!(decode(r#""\ud800\ud83d\ude00\ud800\u0041""#), ("\u{fffd}😀\u{fffd}A".into(), true));
    }

    #[test]
    fn strings_are_written_as_python_writes_them() {
        let mut out = String::new();
        write_string(&mut out, "a\"\\\n\r\t\u{8}\u{c}\0\u{1f}\u{7f}/é😀z");
        assert_eq!(out, "\"a\\\"\\\\\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}/é😀z\"");
    }
}
