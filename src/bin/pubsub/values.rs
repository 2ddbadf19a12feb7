//! Parsers of the values of options.

#![forbid(unsafe_code)]

use std::time::Duration;

use pubsub::{HeaderValue, Headers};

/// A time in seconds, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "not a number of seconds, such as 5 or 0.25".to_owned())
}

/// The same, and not none at all.
pub fn age(text: &str) -> Result<Duration, String> {
    let age = seconds(text)?;
    if age.is_zero() { Err("nothing can be kept for no time; leave it out for any age".to_owned()) } else { Ok(age) }
}

/// Permission bits in octal, as chmod takes them.
pub fn mode(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text, 8).map_err(|_| "not an octal mode, such as 770".to_owned())
}

/// `name=value`. A value that is JSON has JSON's type, any other is text.
pub fn header(text: &str) -> Result<(String, HeaderValue), String> {
    let (name, value) = text.split_once('=').ok_or("a header is NAME=VALUE")?;
    if name.is_empty() {
        return Err("the header has no name; it is NAME=VALUE".to_owned());
    }
    Ok((name.to_owned(), typed(value)))
}

fn typed(value: &str) -> HeaderValue {
    // The value has to be JSON by itself before it may stand inside an object: `1,"x":2` is not.
    if serde_json::from_str::<serde_json::Value>(value).is_ok() {
        if let Ok(headers) = Headers::parse(&format!("{{\"value\":{value}}}")) {
            if let Some(value) = headers.get("value") {
                return value.clone();
            }
        }
    }
    HeaderValue::String(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> HeaderValue {
        header(text).unwrap().1
    }

    #[test]
    fn header_values_have_the_type_that_json_gives_them() {
        assert_eq!(value("n=3"), HeaderValue::Int(3));
        assert_eq!(value("n=-0.5"), HeaderValue::Double(-0.5));
        assert_eq!(value("b=true"), HeaderValue::Bool(true));
        assert_eq!(value("z=null"), HeaderValue::Null);
        assert_eq!(value("s=\"3\""), HeaderValue::String("3".to_owned()));
        assert!(matches!(value("l=[1, 2]"), HeaderValue::Other(text) if text.contains('1')));
    }

    #[test]
    fn header_values_that_are_not_json_are_text() {
        for text in ["", "hello", "007", "NaN", "1,\"x\":2", "1}", "a=b", "{", "truefalse"] {
            assert_eq!(value(&format!("k={text}")), HeaderValue::String(text.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_header_needs_a_name_and_an_equals_sign() {
        assert!(header("novalue").is_err());
        assert!(header("=3").is_err());
    }

    #[test]
    fn seconds_are_finite_and_not_negative() {
        assert_eq!(seconds("0.25").unwrap(), Duration::from_millis(250));
        for text in ["-1", "NaN", "inf", "x", "", "1e300"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
