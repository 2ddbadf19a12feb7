//! The JSON of the WebSocket: requests parsed, answers and messages encoded. Pure, and fuzzed (`fuzz/`): what arrives
//! here is whatever a stranger sends.
//!
//! A publish in its plain form, which is what comes by the thousand, is read in one go and borrows all that it has. Anything else is
//! parsed in two steps, so that an error can name the field at fault and echo the `request_id`: first the
//! object with its fields as they stand, then each field. A message is never parsed into a tree: it is checked, and its text
//! goes on byte for byte, numbers of any size included.

#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// How deep a frame, and a message that is passed on as JSON, may nest. Receivers parse recursively: serde_json gives up
/// at 128 levels, Python's json at about 1,000; and a message stands in a frame, that in a page of a history.
pub const DEPTH_MAX: usize = 100;
/// A `request_id` is echoed; so long it may be as it stands in the frame, escapes included and the quotes left out.
const REQUEST_ID_MAX: usize = 256;
/// What of a stranger's text is quoted in an error.
const QUOTED_MAX: usize = 64;

/// What a connection asks for.
#[derive(Debug)]
pub enum Request<'a> {
    /// Messages of a topic or pattern from now on, and what its history has.
    Subscribe(Subscribe),
    /// No more of them.
    Unsubscribe {
        /// As it was subscribed to.
        topic: String,
    },
    /// A message to a topic.
    Publish {
        /// The topic.
        topic: Cow<'a, str>,
        /// The message's JSON text.
        message: &'a RawValue,
    },
    /// Is anybody there?
    Ping,
}

/// What is asked of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// A topic or a pattern.
    pub topic: String,
    /// So many of the last messages first; `None`: the default.
    pub replay_last: Option<u32>,
    /// Everything behind this position first.
    pub since: Option<Position>,
    /// What happens when the subscriber is too slow.
    pub overflow: Overflow,
}

/// A place in a topic's history: everything up to `offset` is behind the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which history.
    pub epoch: u64,
    /// The last message that the reader has.
    pub offset: u64,
}

/// What happens to a subscriber whose queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is disconnected, and may resume where it was.
    #[default]
    Disconnect,
    /// The oldest waiting messages of the subscription are dropped, and it is told how many.
    DropOldest,
}

/// A request with what its answer echoes.
#[derive(Debug)]
pub struct Parsed<'a> {
    /// What is asked.
    pub request: Request<'a>,
    /// The text of the `request_id`, JSON.
    pub request_id: Option<&'a RawValue>,
}

/// Why something was not done; becomes an error frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Refusal {
    /// Says why.
    pub fn new(code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

/// A frame that is no request, with what could be made out of it.
#[derive(Debug)]
pub struct BadFrame<'a> {
    /// Why.
    pub refusal: Refusal,
    /// The action, if there was one.
    pub action: Option<String>,
    /// To echo, if there was one.
    pub request_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    action: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    topic: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    replay_last: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    since: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    overflow: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    request_id: Option<&'a RawValue>,
}

/// A field that is there, also when it is null.
fn raw<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Parses one text frame.
pub fn parse(text: &str) -> Result<Parsed<'_>, BadFrame<'_>> {
    let bad = |refusal| BadFrame { refusal, action: None, request_id: None };
    if depth(text.as_bytes()) > DEPTH_MAX {
        return Err(bad(Refusal::new("too_deep", format!("the frame nests deeper than {DEPTH_MAX} levels"))));
    }
    // A struct would be read from an array, too.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(bad(match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Refusal::new("invalid_frame", "a frame is a JSON object with an \"action\""),
            Err(error) => not_json(&error),
        }));
    }
    if let Some(parsed) = plain_publish(text) {
        return Ok(parsed);
    }
    let fields: Fields = match serde_json::from_str(text) {
        Ok(fields) => fields,
        Err(error) if error.is_data() => return Err(bad(Refusal::new("invalid_frame", said(&error)))),
        Err(error) => return Err(bad(not_json(&error))),
    };
    let (request_id, bad_id) = match fields.request_id.map(request_id).transpose() {
        Ok(id) => (id.flatten(), None),
        Err(refusal) => (None, Some(refusal)),
    };
    let action = match fields.action.map(string) {
        Some(Ok(action)) => action,
        found => {
            let what = if found.is_none() { "the frame has no \"action\"" } else { "\"action\" is no string" };
            let refusal = Refusal::new("invalid_frame", format!("{what}; {ACTIONS}"));
            return Err(BadFrame { refusal, action: None, request_id });
        }
    };
    let request = match bad_id {
        Some(refusal) => Err(refusal),
        None => fields.request(&action),
    };
    match request {
        Ok(request) => Ok(Parsed { request, request_id }),
        Err(refusal) => Err(BadFrame { refusal, action: Some(shorten(&action)), request_id }),
    }
}

/// A publish without a fault, an escape or anything that it does not need.
fn plain_publish(text: &str) -> Option<Parsed<'_>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain<'a> {
        action: &'a str,
        topic: &'a str,
        #[serde(borrow)]
        message: &'a RawValue,
        #[serde(borrow, default, deserialize_with = "raw")]
        request_id: Option<&'a RawValue>,
    }
    let Plain { action, topic, message, request_id: id } = serde_json::from_str(text).ok()?;
    if action != "publish" {
        return None;
    }
    let request_id = id.map(request_id).transpose().ok()?.flatten();
    Some(Parsed { request: Request::Publish { topic: topic.into(), message }, request_id })
}

const ACTIONS: &str = "it is one of subscribe, unsubscribe, publish, ping";

fn not_json(error: &serde_json::Error) -> Refusal {
    Refusal::new("invalid_json", format!("the frame is not JSON: {}", said(error)))
}

/// Null counts as absent, as elsewhere.
fn request_id(raw: &RawValue) -> Result<Option<&RawValue>, Refusal> {
    if raw.get() == "null" {
        return Ok(None);
    }
    let text = raw.get();
    let quotes = if text.starts_with('"') { 2 } else { 0 };
    if text.len() - quotes > REQUEST_ID_MAX
        || !has_whole_characters(text)
        || !text.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit())
    {
        let rule = format!("\"request_id\" is a string or a number of at most {REQUEST_ID_MAX} bytes");
        return Err(Refusal::new("invalid_frame", rule));
    }
    Ok(Some(raw))
}

/// A string, which as a rule stands there without escapes.
fn string(raw: &RawValue) -> serde_json::Result<Cow<'_, str>> {
    match serde_json::from_str::<&str>(raw.get()) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str(raw.get()).map(Cow::Owned),
    }
}

impl<'a> Fields<'a> {
    fn request(&self, action: &str) -> Result<Request<'a>, Refusal> {
        match action {
            "subscribe" => Ok(Request::Subscribe(Subscribe {
                topic: self.topic()?,
                replay_last: field(self.replay_last, "replay_last", "a whole number from 0 to 4294967295")?,
                since: self.since.map(position).transpose()?.flatten(),
                overflow: self.overflow()?,
            })),
            "unsubscribe" => Ok(Request::Unsubscribe { topic: self.topic()? }),
            "publish" => Ok(Request::Publish {
                topic: self.topic()?.into(),
                message: self.message.ok_or_else(|| missing("message", "any JSON value"))?,
            }),
            "ping" => Ok(Request::Ping),
            other => Err(Refusal::new("unknown_action", format!("there is no action '{}'; {ACTIONS}", shorten(other)))),
        }
    }

    fn topic(&self) -> Result<String, Refusal> {
        field(self.topic, "topic", "a string")?.ok_or_else(|| missing("topic", "a string"))
    }

    fn overflow(&self) -> Result<Overflow, Refusal> {
        let rule = "\"disconnect\" or \"drop_oldest\"";
        match field::<String>(self.overflow, "overflow", rule)?.as_deref() {
            None | Some("disconnect") => Ok(Overflow::Disconnect),
            Some("drop_oldest") => Ok(Overflow::DropOldest),
            Some(_) => Err(wrong("overflow", rule)),
        }
    }
}

fn missing(name: &str, rule: &str) -> Refusal {
    Refusal::new("invalid_frame", format!("the frame has no \"{name}\", which is {rule}"))
}

fn wrong(name: &str, rule: &str) -> Refusal {
    Refusal::new("invalid_frame", format!("\"{name}\" is {rule}"))
}

/// A field of type `T`; null counts as absent.
fn field<T: for<'de> Deserialize<'de>>(raw: Option<&RawValue>, name: &str, rule: &str) -> Result<Option<T>, Refusal> {
    match raw {
        None => Ok(None),
        Some(raw) => serde_json::from_str::<Option<T>>(raw.get()).map_err(|_| wrong(name, rule)),
    }
}

/// `{"epoch", "offset"}`, each a decimal string, or a number as long as it is whole.
fn position(raw: &RawValue) -> Result<Option<Position>, Refusal> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Number(u64),
        Text(String),
    }
    #[derive(Deserialize)]
    struct Since {
        epoch: Word,
        offset: Word,
    }
    let number = |word| match word {
        Word::Number(number) => Some(number),
        Word::Text(text) => decimal(&text),
    };
    let rule = "{\"epoch\", \"offset\"}, the strings of an earlier answer";
    let since = if raw.get().starts_with(['{', 'n']) { field::<Since>(Some(raw), "since", rule)? } else { None };
    match since {
        None if raw.get() == "null" => Ok(None),
        None => Err(wrong("since", rule)),
        Some(since) => match (number(since.epoch), number(since.offset)) {
            (Some(epoch), Some(offset)) => Ok(Some(Position { epoch, offset })),
            _ => Err(wrong("since", rule)),
        },
    }
}

/// A decimal number without sign or space.
pub fn decimal(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// The start of a text that came from outside, for an error.
pub fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// What is wrong with a JSON text: what may quote it is cut short, where it is stays.
pub fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => shorten(what) + &place,
        None => shorten(&text),
    }
}

/// How deep brackets nest, strings left out; an upper bound where the text is no JSON, and where it cannot be too deep anyway.
pub fn depth(text: &[u8]) -> usize {
    // Counted many at a time by the processor, unlike what follows.
    let opening = text.iter().filter(|&&byte| byte == b'[' || byte == b'{').count();
    if opening < DEPTH_MAX { opening } else { exact_depth(text) }
}

fn exact_depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for &byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A message as it is passed on.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The pattern that it was heard through, when that is not the topic.
    pub pattern: Option<&'a str>,
    /// Its content.
    pub data: &'a [u8],
    /// Whether that has been read as JSON already, without space around it.
    pub is_json: bool,
    /// Its id.
    pub id: u64,
    /// Microseconds since the Unix epoch.
    pub timestamp_us: i64,
    /// Its place in the history of a managed topic.
    pub position: Option<Position>,
}

/// The frame of a message. Content that is JSON stands there as it is; any other as base64.
pub fn message(out: &Outgoing<'_>) -> String {
    // 200 bytes hold everything but topic and content.
    let mut frame = String::with_capacity(out.topic.len() + out.data.len() + 200);
    frame.push_str(r#"{"action":"message","topic":"#);
    push_string(&mut frame, out.topic);
    if let Some(pattern) = out.pattern {
        frame.push_str(r#","pattern":"#);
        push_string(&mut frame, pattern);
    }
    push_content(&mut frame, out.data, out.is_json);
    frame.push_str(r#","id":""#);
    push_number(&mut frame, out.id);
    frame.push_str(r#"","timestamp":""#);
    push_time(&mut frame, out.timestamp_us);
    frame.push('"');
    if let Some(position) = out.position {
        push_position(&mut frame, position);
    }
    frame.push('}');
    frame
}

/// `,"message":…`, and `,"content_base64"` where the content is no JSON.
fn push_content(frame: &mut String, data: &[u8], is_json: bool) {
    frame.push_str(r#","message":"#);
    match json(data, is_json) {
        Some(text) => frame.push_str(text),
        None => {
            frame.push_str(r#"null,"content_base64":""#);
            STANDARD.encode_string(data, frame);
            frame.push('"');
        }
    }
}

/// The content, if it is a JSON text that every receiver can parse.
fn json(data: &[u8], is_json: bool) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    let value = if is_json { text } else { serde_json::from_str::<&RawValue>(text).ok()?.get() };
    (depth(data) <= DEPTH_MAX && has_whole_characters(text)).then_some(value)
}

/// Whether every `\u` escape of a JSON text is a character or half of a pair whose other half is there. JSON's grammar allows others,
/// and some receivers refuse the whole frame for one.
fn has_whole_characters(text: &str) -> bool {
    let mut rest = text;
    let mut wants_low = false;
    while let Some((before, behind)) = rest.split_once('\\') {
        let escape = behind.strip_prefix('u').and_then(|hex| u16::from_str_radix(hex.get(..4)?, 16).ok());
        let is_low = matches!(escape, Some(0xdc00..=0xdfff));
        if wants_low != is_low || (wants_low && !before.is_empty()) {
            return false;
        }
        wants_low = matches!(escape, Some(0xd800..=0xdbff));
        // What is escaped may be a backslash, or, where the text is no JSON, anything.
        let mut chars = behind.chars();
        chars.nth(if escape.is_some() { 4 } else { 0 });
        rest = chars.as_str();
    }
    !wants_low
}

fn push_position(frame: &mut String, position: Position) {
    frame.push_str(r#","epoch":""#);
    push_number(frame, position.epoch);
    frame.push_str(r#"","offset":""#);
    push_number(frame, position.offset);
    frame.push('"');
}

/// `{"action":"pong"}`, with the `request_id` if there was one.
pub fn pong(request_id: Option<&RawValue>) -> String {
    let mut frame = r#"{"action":"pong""#.to_owned();
    push_request_id(&mut frame, request_id);
    frame.push('}');
    frame
}

/// The answer to a request that was done.
pub fn ack(request_id: &RawValue, topic: &str) -> String {
    let mut frame = r#"{"action":"ack""#.to_owned();
    push_request_id(&mut frame, Some(request_id));
    frame.push_str(r#","topic":"#);
    push_string(&mut frame, topic);
    frame.push('}');
    frame
}

/// How a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where: the first message behind it comes first. Not for patterns.
    pub position: Option<Position>,
    /// Whether everything behind the position asked for is delivered. Only where one was asked for.
    pub recovered: Option<bool>,
}

/// The answer to a subscription.
pub fn subscribed(request_id: &RawValue, topic: &str, begin: Begin) -> String {
    let mut frame = ack(request_id, topic);
    frame.pop();
    if let Some(position) = begin.position {
        push_position(&mut frame, position);
    }
    if let Some(recovered) = begin.recovered {
        // Writing into memory cannot fail, here and below.
        let _ = write!(frame, r#","recovered":{recovered}"#);
    }
    frame.push('}');
    frame
}

/// The answer to a request that was not done.
pub fn error(refusal: &Refusal, action: Option<&str>, request_id: Option<&RawValue>) -> String {
    let mut frame = r#"{"action":"error","error":{"code":"#.to_owned();
    push_string(&mut frame, refusal.code);
    frame.push_str(r#","message":"#);
    push_string(&mut frame, &refusal.message);
    frame.push_str(r#"},"request":"#);
    match action {
        Some(action) => push_string(&mut frame, action),
        None => frame.push_str("null"),
    }
    push_request_id(&mut frame, request_id);
    frame.push('}');
    frame
}

/// A topic is no more.
pub fn topic_deleted(topic: &str) -> String {
    let mut frame = r#"{"action":"topic_deleted","topic":"#.to_owned();
    push_string(&mut frame, topic);
    frame.push('}');
    frame
}

/// So many messages of a subscription were lost here.
pub fn gap(topic: &str, missed: u64) -> String {
    let mut frame = r#"{"action":"gap","topic":"#.to_owned();
    push_string(&mut frame, topic);
    let _ = write!(frame, r#","missed":{missed}}}"#);
    frame
}

fn push_request_id(frame: &mut String, request_id: Option<&RawValue>) {
    if let Some(id) = request_id {
        frame.push_str(r#","request_id":"#);
        frame.push_str(id.get());
    }
}

/// Appends `text` as a JSON string.
fn push_string(frame: &mut String, text: &str) {
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'=' | b'+' | b'_')) {
        // Every topic, and no escapes.
        frame.push('"');
        frame.push_str(text);
        return frame.push('"');
    }
    // A string is always representable.
    frame.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Appends a time as RFC 3339 writes it, in UTC with microseconds. Times that it cannot write, which only a hostile
/// program makes, become the nearest that it can.
fn push_time(frame: &mut String, timestamp_us: i64) {
    const DAY: i64 = 86_400_000_000;
    // 9999-12-31T23:59:59.999999Z
    let time = timestamp_us.clamp(0, 253_402_300_799_999_999);
    let (days, of_day) = (time / DAY, time % DAY);
    // Howard Hinnant's days_to_civil, for days since 1970: eras of 400 years that begin on the first of March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, micros) = (of_day / 1_000_000, of_day % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let parts = [
        (0, year / 100),
        (2, year % 100),
        (5, month),
        (8, day),
        (11, hour),
        (14, minute),
        (17, second),
        (20, micros / 10_000),
        (22, micros / 100 % 100),
        (24, micros % 100),
    ];
    for (at, value) in parts {
        // Less than a hundred.
        text[at] += (value / 10) as u8;
        text[at + 1] += (value % 10) as u8;
    }
    frame.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

/// Appends a number. A message has three of them, and `fmt` takes some 20 ns for each.
fn push_number(frame: &mut String, number: u64) {
    frame.push_str(itoa::Buffer::new().format(number));
}

#[cfg(test)]
mod tests;
