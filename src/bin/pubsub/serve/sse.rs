//! A subscription as a stream of events (Server-Sent Events), for what speaks HTTP only.

#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use tokio::task::JoinHandle;
use utoipa::IntoParams;

use super::app::{App, Shared, TopicName};
use super::auth::Grants;
use super::body::{Query, number};
use super::frames::{Begin, Overflow, Position, Subscribe};
use super::history::{cursor, parse_cursor};
use super::join::{self, Joining, Missing};
use super::listen::Permit;
use super::metrics::{self, Counted};
use super::problem::{Problem, ProblemBody};
use super::queue::{End, Outgoing, Queue, Taken};
use super::socket::deadline;

/// Proxies close what is silent for longer.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// So much is written at once.
const BURST: usize = 32 << 10;

/// What part of the past.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Past {
    /// So many of the last messages first; absent: 100. Not when the header Last-Event-ID says where to go on.
    #[serde(default, deserialize_with = "number")]
    replay_last: Option<u32>,
}

/// Subscribe to a stream of events
///
/// Each message is an event whose data is the message's frame. Its id, sent back in `Last-Event-ID`, resumes behind it (for
/// topics; patterns have no position). The first event, `subscribed`, tells the position; `gap` and `topic_deleted` are as
/// the frames of that name.
#[utoipa::path(get, path = "/topics/{name}/events", tag = "messages", params(
    ("name" = String, Path, description = "The topic, or a pattern of topics"), Past,
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event had")), responses(
    (status = 200, description = "The stream", content_type = "text/event-stream", body = String),
    (status = 404, description = "There is no such topic", body = ProblemBody),
    (status = 422, description = "The name or a parameter cannot be", body = ProblemBody),
    (status = 503, description = "The gateway is about to end", body = ProblemBody),
))]
pub async fn events(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    Extension(permit): Extension<Permit>,
    TopicName(topic): TopicName,
    Query(past): Query<Past>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let pattern = pubsub::Pattern::parse(&topic)?;
    if !grants.may_subscribe(&topic) {
        return Err(Problem::forbidden("subscribe to", &topic));
    }
    if app.is_stopping() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is about to end"));
    }
    // What is no cursor of ours is an id from elsewhere: begin anew.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(parse_cursor);
    let subscribe = Subscribe {
        topic: topic.clone(),
        replay_last: past.replay_last,
        since: last.filter(|_| pattern.is_exact()),
        overflow: Overflow::Disconnect,
    };
    let queue = Arc::new(Queue::new(app.config.queue, None));
    let joining = join::join(&app.hub, &queue, subscribe, Missing::Fail).await.map_err(|error| match error.kind() {
        pubsub::ErrorKind::NotFound => Problem::no_topic(&topic),
        _ => error.into(),
    })?;
    let first = subscribed(&topic, joining.begin);
    let has_ids = pattern.is_exact();
    let keeper = tokio::spawn(keep(Arc::clone(&app), Arc::clone(&queue), grants, permit, joining));
    let keeper = Keeper(keeper, Arc::clone(&queue));
    let events = Events { queue, has_ids, first: Some(first), _keeper: keeper };
    let body = Body::from_stream(stream::unfold(events, |mut events| async {
        let next = events.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(next)), events))
    }));
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))], body).into_response())
}

/// Holds the subscription for as long as the stream lives, and ends a connection that does not take what ends it.
async fn keep(app: Arc<App>, queue: Arc<Queue>, grants: Grants, permit: Permit, joining: Joining) {
    let _counted = (Counted::connection(), Counted::subscription());
    let subscription = async {
        match joining.replay().await {
            Ok(Some(_subscription)) => std::future::pending().await,
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "a history could not be sent");
                queue.end(End::Failed);
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = subscription => {}
        () = deadline(&app, &queue, grants.remaining()) => permit.end_connection(),
    }
}

struct Keeper(JoinHandle<()>, Arc<Queue>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
        if self.1.end_reason() == Some(End::TooSlow) {
            metrics::too_slow();
        }
    }
}

struct Events {
    queue: Arc<Queue>,
    has_ids: bool,
    first: Option<String>,
    _keeper: Keeper,
}

impl Events {
    /// The next bytes; `None`: that was all.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let mut items = Vec::new();
        loop {
            match self.queue.take(&mut items, BURST) {
                Taken::Some => break,
                Taken::End => return None,
                Taken::Nothing => {}
            }
            if tokio::time::timeout(COMMENT_EVERY, self.queue.readable()).await.is_err() {
                return Some(":\n\n".into());
            }
        }
        let mut text = String::new();
        let mut messages = 0;
        for item in items {
            match item {
                Outgoing::Answer(frame) | Outgoing::Gap(frame) => event(&mut text, None, frame.text()),
                Outgoing::Control(_) => {}
                Outgoing::Message(delivery) => {
                    messages += 1;
                    event(
                        &mut text,
                        delivery.position.filter(|_| self.has_ids && !delivery.is_end),
                        delivery.frame.text(),
                    );
                }
            }
        }
        metrics::sent(messages, text.len() as u64);
        Some(text)
    }
}

/// The first event: where the stream begins.
fn subscribed(topic: &str, begin: Begin) -> String {
    let mut text = "event: subscribed\n".to_owned();
    // Writing into memory cannot fail, and a pattern needs no escape in JSON.
    if let Some(position) = begin.position {
        let _ = writeln!(text, "id: {}", cursor(position));
    }
    let _ = write!(text, r#"data: {{"topic":"{topic}""#);
    if let Some(Position { epoch, offset }) = begin.position {
        let _ = write!(text, r#","epoch":"{epoch}","offset":"{offset}""#);
    }
    if let Some(recovered) = begin.recovered {
        let _ = write!(text, r#","recovered":{recovered}"#);
    }
    text.push_str("}\n\n");
    text
}

/// An event whose data is a frame. A frame is JSON, in which line breaks are nothing but space.
fn event(text: &mut String, position: Option<Position>, frame: &str) {
    for name in ["gap", "topic_deleted"] {
        if frame.strip_prefix(r#"{"action":""#).is_some_and(|rest| rest.starts_with(name)) {
            let _ = writeln!(text, "event: {name}");
        }
    }
    if let Some(position) = position {
        let _ = writeln!(text, "id: {}", cursor(position));
    }
    text.push_str("data: ");
    text.extend(frame.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    text.push_str("\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_of_data_whatever_the_message() {
        let mut text = String::new();
        let position = Some(Position { epoch: 7, offset: 9 });
        event(&mut text, position, "{\"action\":\"message\",\"message\":[1,\r\n2]}");
        assert_eq!(text, "id: 7-9\ndata: {\"action\":\"message\",\"message\":[1,  2]}\n\n");
    }

    #[test]
    fn what_is_no_message_has_a_name() {
        let mut text = String::new();
        event(&mut text, None, r#"{"action":"gap","topic":"a","missed":3}"#);
        assert_eq!(text, "event: gap\ndata: {\"action\":\"gap\",\"topic\":\"a\",\"missed\":3}\n\n");
    }
}
