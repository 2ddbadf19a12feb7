//! Reading a topic's history over HTTP, a page at a time.

#![forbid(unsafe_code)]

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::HeaderValue};
use pubsub::Pattern;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::app::{Shared, TopicName};
use super::auth::Grants;
use super::body::{Query, number};
use super::feed::{Delivery, FeedPattern};
use super::frames::{self, Position};
use super::managed::{self, blocking};
use super::problem::{Problem, ProblemBody};

/// The most messages of a page, and how many there are when nobody says.
const LIMIT_MAX: u32 = 1000;
const LIMIT_DEFAULT: u32 = 100;
/// A page ends with the message that reaches so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Range {
    /// The `next` of an earlier page: what comes behind it. Absent: the last messages.
    #[param(pattern = "^[0-9]{1,20}-[0-9]{1,20}$")]
    after: Option<String>,
    /// The most messages, 1 to 1000; absent: 100.
    #[serde(default, deserialize_with = "number")]
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A message of a history, as a frame has it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the description only")]
pub struct HistoryMessage {
    /// Always `message`.
    action: String,
    topic: String,
    /// The message; null when it is not JSON.
    message: serde_json::Value,
    /// A message that is not JSON, in base64.
    content_base64: Option<String>,
    /// A decimal number.
    id: String,
    /// RFC 3339.
    timestamp: String,
    epoch: String,
    offset: String,
}

/// A page of a history.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the description only")]
pub struct HistoryPage {
    topic: String,
    /// Oldest first.
    messages: Vec<HistoryMessage>,
    /// What to ask for `after` to go on from here, now or later.
    next: String,
    /// How many messages between `after` and these the history does not have any more.
    missed: u64,
}

/// Where a reader is, in one word.
pub fn cursor(position: Position) -> String {
    format!("{}-{}", position.epoch, position.offset)
}

/// The position of a [`cursor`].
pub fn parse_cursor(text: &str) -> Option<Position> {
    let (epoch, offset) = text.split_once('-')?;
    Some(Position { epoch: frames::decimal(epoch)?, offset: frames::decimal(offset)? })
}

/// Read a history
///
/// Without `after` the last messages, with it those that follow. Go on with `next` as often as you like.
#[utoipa::path(get, path = "/topics/{name}/messages", tag = "messages",
    params(("name" = String, Path, description = "The topic"), Range), responses(
    (status = 200, description = "A page", body = HistoryPage),
    (status = 404, description = "There is no such topic", body = ProblemBody),
    (status = 410, description = "The topic was deleted and made again since `after`", body = ProblemBody),
    (status = 422, description = "The name or a parameter cannot be", body = ProblemBody),
))]
pub async fn read(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    TopicName(topic): TopicName,
    Query(range): Query<Range>,
) -> Result<Response, Problem> {
    pubsub::validate_topic(&topic)?;
    let pattern = Pattern::parse(&topic)?;
    if !grants.may_subscribe(&topic) {
        return Err(Problem::forbidden("read", &topic));
    }
    let invalid = |text: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text);
    let limit = range.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(invalid("limit is 1 to 1000"));
    }
    let after = match range.after {
        None => None,
        Some(text) => Some(parse_cursor(&text).ok_or_else(|| invalid("after is the \"next\" of an earlier page"))?),
    };
    let (home, largest) = (app.hub.home(), app.hub.limit());
    let page = blocking(move || Ok(page(&pattern, home.as_deref(), after, limit, largest))).await??;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], page).into_response())
}

fn page(
    topic: &Pattern,
    home: Option<&std::path::Path>,
    after: Option<Position>,
    limit: u32,
    largest: usize,
) -> Result<String, Problem> {
    let name = topic.as_str();
    let stats = managed::stats(name, home)?.ok_or_else(|| Problem::no_topic(name))?;
    let mut position = after.unwrap_or_else(|| managed::before_last(&stats, limit));
    if position.epoch != stats.epoch {
        let text = format!("the topic '{name}' was deleted and made again since; read it without \"after\"");
        return Err(Problem::new(StatusCode::GONE, "gone", text));
    }
    // A reader that claims to be ahead of the history is at its end.
    position.offset = position.offset.min(stats.next_offset.saturating_sub(1));
    let pattern = FeedPattern::new(topic);
    let (mut messages, mut count, mut missed) = (String::new(), 0, 0);
    'pages: while let Some(slice) = managed::page(name, home, position)? {
        // Without `after` nobody was promised what has gone meanwhile.
        missed += if after.is_some() || count > 0 { slice.missed } else { 0 };
        for message in &slice.messages {
            if count == limit || messages.len() >= PAGE_BYTES {
                break 'pages;
            }
            position.offset = message.offset();
            if message.data().len() > largest {
                missed += 1;
                continue;
            }
            if count > 0 {
                messages.push(',');
            }
            messages.push_str(Delivery::new(message, false, &pattern, largest).frame.text());
            count += 1;
        }
        if slice.messages.is_empty() {
            position.offset = position.offset.max(slice.next_offset.saturating_sub(1));
            break;
        }
    }
    let next = cursor(position);
    Ok(format!(r#"{{"topic":"{name}","messages":[{messages}],"next":"{next}","missed":{missed}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_two_decimal_numbers() {
        let position = Position { epoch: u64::MAX, offset: 0 };
        assert_eq!(parse_cursor(&cursor(position)), Some(position));
        for text in ["", "-", "1", "1-", "-1", "+1-1", "1-1-1", "1-99999999999999999999", "1 -1"] {
            assert_eq!(parse_cursor(text), None, "{text}");
        }
    }
}
