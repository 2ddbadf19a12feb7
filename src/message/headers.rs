//! The headers of a message: typed values in order, read and written as Python's `json` does.

#![forbid(unsafe_code)]

use std::collections::TryReserveError;
use std::fmt::Write;

use super::json::{self, JsonError, Scanner, Value};
use super::python_float;
use crate::error::{Error, ErrorKind, Result};

/// The value of a header.
#[derive(Debug, Clone, PartialEq)]
pub enum HeaderValue {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// Any other number, NaN and the infinities included.
    Double(f64),
    /// Text.
    String(String),
    /// JSON that is none of these (nested, an integer beyond 64 bits, text that UTF-8 cannot hold): its text.
    Other(String),
}

/// The headers of a message: names and values in the order in which they were set.
///
/// Looking for a name goes through all of them; messages have few.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers {
    entries: Vec<(String, HeaderValue)>,
}

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// Parses a JSON object as Python's `json` reads it (NaN, Infinity and integers of any size included); of duplicate
    /// names the last counts, in the place of the first. In names, U+FFFD stands for what UTF-8 cannot hold. Lists and
    /// objects may be 1,000 deep, the headers themselves included.
    ///
    /// Anything else is [`ErrorKind::InvalidHeaders`], with what is wrong and at which byte.
    /// [`ErrorKind::TooLarge`] when memory does not suffice.
    pub fn parse(json: &str) -> Result<Headers> {
        let mut scanner = Scanner::new(json);
        scanner.space();
        if !scanner.eat(b'{') {
            return Err(invalid(scanner.error("headers are a JSON object: expected '{'")));
        }
        scanner.space();
        let mut entries = Vec::new();
        let mut more = !scanner.eat(b'}');
        while more {
            let name = scanner.name().map_err(invalid)?;
            let value = scanner.value(json::MAX_DEPTH - 1).map_err(invalid)?;
            entries.try_reserve(1).map_err(no_memory)?;
            entries.push((name.decode().map_err(no_memory)?, typed(value).map_err(no_memory)?));
            scanner.space();
            more = scanner.eat(b',');
            if more {
                scanner.space();
            } else if !scanner.eat(b'}') {
                return Err(invalid(scanner.error("expected ',' or '}'")));
            }
        }
        scanner.end().map_err(invalid)?;
        merge_duplicates(&mut entries).map_err(no_memory)?;
        Ok(Headers { entries })
    }

    /// Sets a header; a name that is there keeps its place.
    ///
    /// The text of [`HeaderValue::Other`] is kept as the value that it is as JSON (`Other("5")` is `Int(5)`), and as a
    /// string when it is not JSON, so that headers can always be read by those who receive them.
    pub fn set(&mut self, name: impl Into<String>, value: HeaderValue) -> &mut Headers {
        let (name, value) = (name.into(), canonical(value));
        match self.entries.iter_mut().find(|(there, _)| *there == name) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((name, value)),
        }
        self
    }

    /// A header's value.
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.entries.iter().find(|(there, _)| there == name).map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// As JSON text, as formix-pubsub writes it: byte for byte what Python's `json.dumps` makes of them with
    /// `ensure_ascii=False`, but for the text of [`HeaderValue::Other`], which stays as it is.
    pub fn to_json(&self) -> String {
        let mut out = String::from("{");
        for (i, (name, value)) in self.entries.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            json::write_string(&mut out, name);
            out.push_str(": ");
            match value {
                HeaderValue::Null => out.push_str("null"),
                HeaderValue::Bool(true) => out.push_str("true"),
                HeaderValue::Bool(false) => out.push_str("false"),
                HeaderValue::Int(number) => {
                    let _ = write!(out, "{number}"); // writing to a String does not fail
                }
                HeaderValue::Double(number) => python_float::write(&mut out, *number),
                HeaderValue::String(text) => json::write_string(&mut out, text),
                HeaderValue::Other(text) => out.push_str(text),
            }
        }
        out.push('}');
        out
    }
}

#[cold]
fn invalid(error: JsonError) -> Error {
    Error::new(ErrorKind::InvalidHeaders, format_args!("invalid headers: {error}"))
}

#[cold]
fn no_memory(error: TryReserveError) -> Error {
    Error::new(ErrorKind::TooLarge, format_args!("headers do not fit into this process's memory: {error}"))
}

fn typed(value: Value<'_>) -> std::result::Result<HeaderValue, TryReserveError> {
    Ok(match value {
        Value::Null => HeaderValue::Null,
        Value::Bool(value) => HeaderValue::Bool(value),
        Value::Integer(text) => match text.parse() {
            Ok(number) => HeaderValue::Int(number),
            Err(_) => HeaderValue::Other(owned(text)?),
        },
        Value::Float(text) => match text.parse() {
            Ok(number) => HeaderValue::Double(number),
            Err(_) => HeaderValue::Other(owned(text)?),
        },
        Value::String(text) if text.lone_surrogate => HeaderValue::Other(owned(text.raw)?),
        Value::String(text) => HeaderValue::String(text.decode()?),
        Value::Nested(text) => HeaderValue::Other(owned(text)?),
    })
}

fn owned(text: &str) -> std::result::Result<String, TryReserveError> {
    let mut out = String::new();
    out.try_reserve_exact(text.len())?;
    out.push_str(text);
    Ok(out)
}

/// The value that `value` is after a journey as JSON.
fn canonical(value: HeaderValue) -> HeaderValue {
    let HeaderValue::Other(text) = value else { return value };
    let mut scanner = Scanner::new(&text);
    scanner.space();
    match scanner.value(json::MAX_DEPTH - 1) {
        Ok(value) if scanner.end().is_ok() => typed(value).unwrap_or_else(|_| HeaderValue::Other(text.clone())),
        _ => HeaderValue::String(text),
    }
}

/// Leaves one entry of each name: the last value in the place of the first. A hostile text has as many names as it
/// likes, so more than a few are sorted rather than compared each with each.
fn merge_duplicates(entries: &mut Vec<(String, HeaderValue)>) -> std::result::Result<(), TryReserveError> {
    const FEW: usize = 16;
    if entries.len() <= FEW && !(1..entries.len()).any(|i| entries[..i].iter().any(|entry| entry.0 == entries[i].0)) {
        return Ok(());
    }
    let mut order = Vec::new();
    order.try_reserve_exact(entries.len())?;
    order.extend(0..entries.len());
    // The place is part of the sort key, so equal names stay in the order of the text.
    order.sort_unstable_by(|&a: &usize, &b: &usize| entries[a].0.cmp(&entries[b].0).then(a.cmp(&b)));
    let mut keep = Vec::new();
    keep.try_reserve_exact(entries.len())?;
    keep.resize(entries.len(), true);
    let mut same_from = 0;
    for i in 1..order.len() {
        let (first, this) = (order[same_from], order[i]);
        if entries[first].0 == entries[this].0 {
            entries[first].1 = std::mem::replace(&mut entries[this].1, HeaderValue::Null);
            keep[this] = false;
        } else {
            same_from = i;
        }
    }
    let mut kept = keep.iter();
    entries.retain(|_| kept.next() == Some(&true));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, HeaderValue)> {
        Headers::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).entries
    }

    fn value(text: &str) -> HeaderValue {
        let mut entries = parsed(&format!("{{\"a\":{text}}}"));
        assert_eq!(entries.len(), 1);
        entries.remove(0).1
    }

    #[test]
    fn values_have_the_types_that_python_gives_them() {
        use HeaderValue::*;
        for (text, expected) in [
            ("null", Null),
            ("true", Bool(true)),
            ("false", Bool(false)),
            ("0", Int(0)),
            ("-0", Int(0)),
            ("9223372036854775807", Int(i64::MAX)),
            ("-9223372036854775808", Int(i64::MIN)),
            ("9223372036854775808", Other("9223372036854775808".into())),
            ("-9223372036854775809", Other("-9223372036854775809".into())),
            ("1.0", Double(1.0)),
            ("1e2", Double(100.0)),
            ("1e400", Double(f64::INFINITY)),
            ("-1e400", Double(f64::NEG_INFINITY)),
            ("1e-400", Double(0.0)),
            ("Infinity", Double(f64::INFINITY)),
            ("-Infinity", Double(f64::NEG_INFINITY)),
            ("\"x\\n\"", String("x\n".into())),
            (r#""\ud83d\ude00""#, String("😀".into())),
            (r#""\ud83d""#, Other(r#""\ud83d""#.into())),
            ("[1,2 ]", Other("[1,2 ]".into())),
            ("{\"b\":{}}", Other("{\"b\":{}}".into())),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
        assert!(matches!(value("NaN"), Double(number) if number.is_nan()));
        assert!(matches!(value("-0.0"), Double(number) if number == 0.0 && number.is_sign_negative()));
        assert_eq!(value(&"9".repeat(5000)), Other("9".repeat(5000)));
    }

    #[test]
    fn of_duplicate_names_the_last_value_counts_in_the_first_place() {
        let names = |text: &str| -> Vec<(String, i64)> {
            let int = |value| if let HeaderValue::Int(number) = value { number } else { -1 };
            parsed(text).into_iter().map(|(name, value)| (name, int(value))).collect()
        };
        assert_eq!(
            names(r#"{"a":1,"b":2,"a":3,"c":4,"b":5,"a":6}"#),
            [("a".into(), 6), ("b".into(), 5), ("c".into(), 4)]
        );
        assert_eq!(names(r#"{"a":1,"\u0061":2}"#), [("a".into(), 2)]);
        assert_eq!(names(r#"{"\ud800":1,"x":2,"\udfff":3}"#), [("\u{fffd}".into(), 3), ("x".into(), 2)]);

        let n = 100_000;
        let mut text = std::string::String::from("{");
        for i in 0..2 * n {
            text += &format!("\"k{}\":{i},", i % n);
        }
        text += "\"last\":0}";
        let all = names(&text);
        assert_eq!(all.len(), n + 1);
        for (i, (name, value)) in all[..n].iter().enumerate() {
            assert_eq!((name.as_str(), *value), (format!("k{i}").as_str(), (n + i) as i64));
        }
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_and_where() {
        for (text, expected) in [
            ("", "expected '{' at byte 0, where the text ends"),
            ("[1]", "expected '{' at byte 0, where '[' stands"),
            ("{\"a\":1,}", "expected a name in double quotes at byte 7, where '}' stands"),
            ("{\"a\":1 \"b\":2}", "expected ',' or '}' at byte 7, where '\"' stands"),
            ("{\"a\":[1 2]}", "expected ',' or ']' at byte 8, where '2' stands"),
            ("{} x", "expected the end of the text at byte 3, where 'x' stands"),
            ("\u{feff}{}", "expected '{' at byte 0, where '\\u{feff}' stands"),
        ] {
            let error = Headers::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidHeaders);
            assert!(error.to_string().ends_with(expected), "{text}: {error}");
        }
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(parsed(&deep(999)).len(), 1);
        assert!(Headers::parse(&deep(1000)).is_err());
    }

    #[test]
    fn setting_keeps_places_and_never_makes_text_that_is_not_json() {
        let mut headers = Headers::new();
        assert_eq!(headers.to_json(), "{}");
        headers
            .set("b", HeaderValue::Int(-7))
            .set("a", HeaderValue::String("é\n".into()))
            .set("b", HeaderValue::Double(1e16))
            .set("n", HeaderValue::Null)
            .set("t", HeaderValue::Bool(true))
            .set("o", HeaderValue::Other(" [1,2] ".into()))
            .set("five", HeaderValue::Other("5".into()))
            .set("no", HeaderValue::Other("1} ,{".into()))
            .set("deep", HeaderValue::Other("[".repeat(1000) + &"]".repeat(1000)));
        assert_eq!(headers.len(), 8);
        assert_eq!(headers.get("five"), Some(&HeaderValue::Int(5)));
        assert_eq!(headers.get("no"), Some(&HeaderValue::String("1} ,{".into())));
        assert!(matches!(headers.get("deep"), Some(HeaderValue::String(_))));
        assert_eq!(headers.get("x"), None);
        let text = headers.to_json();
        assert!(
            text.starts_with(
                r#"{"b": 1e+16, "a": "é\n", "n": null, "t": true, "o": [1,2], "five": 5, "no": "1} ,{", "#
            ),
            "{text}"
        );
        assert_eq!(Headers::parse(&text).unwrap(), headers);
    }
}
