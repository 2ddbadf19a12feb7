//! One WebSocket connection: what it asks for, and what it is sent.
//!
//! One task with three parts that run side by side: the reader does what requests ask, the writer sends what the queue has, a
//! burst with one flush, and the pulse finds out whether anybody is still there. A peer that does not read stops
//! its own reader only (answers wait for room), never a feed.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;

use super::app::{App, Shared};
use super::auth::Grants;
use super::frames::{self, Parsed, Refusal, Request, Subscribe};
use super::join::{self, Missing, Subscription};
use super::listen::Permit;
use super::metrics::{self, Counted};
use super::problem::Problem;
use super::publish::Publishers;
use super::queue::{End, Outgoing, Queue, Taken};
use super::rate::Rate;

/// Read buffer of a connection. tungstenite's own 128 KiB would cost every idle connection as much.
const READ_BUFFER: usize = 4 << 10;
/// So much is gathered before it is written; a burst is flushed at its end.
const WRITE_BUFFER: usize = 32 << 10;
/// How long a peer has to answer a close.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long a peer that is to be disconnected has to take what waits for it.
const FAREWELL_TIME: Duration = Duration::from_secs(10);
/// Silent pings after which nobody is there.
const PINGS_MAX: u32 = 2;

/// Connect a WebSocket
///
/// Each frame is a JSON object with an `action`; docs/gateway.md has them all.
#[utoipa::path(get, path = "/ws", tag = "messages", responses(
    (status = 101, description = "The WebSocket is open"),
    (status = 400, description = "This is no WebSocket handshake", body = super::problem::ProblemBody),
    (status = 426, description = "This is no WebSocket handshake", body = super::problem::ProblemBody),
    (status = 503, description = "The gateway is about to end", body = super::problem::ProblemBody),
))]
pub async fn connect(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    Extension(permit): Extension<Permit>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            let status = match rejection.status() {
                StatusCode::UPGRADE_REQUIRED => StatusCode::UPGRADE_REQUIRED,
                _ => StatusCode::BAD_REQUEST,
            };
            return Problem::new(status, "not_a_websocket", rejection.body_text()).into_response();
        }
    };
    if app.is_stopping() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is about to end")
            .into_response();
    }
    let limit = app.config.max_message;
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| serve(app, grants, permit, socket))
}

async fn serve(app: Arc<App>, grants: Grants, permit: Permit, socket: WebSocket) {
    let (sink, stream) = socket.split();
    let queue = Arc::new(Queue::new(app.config.queue));
    let heard = AtomicBool::new(true);
    let wants_ping = AtomicBool::new(false);
    let remaining = grants.remaining();
    let connection = Connection {
        rate: Rate::new(app.config.max_publish_rate),
        publishers: Publishers::new(&app.hub),
        subscriptions: HashMap::new(),
        queue: Arc::clone(&queue),
        app: Arc::clone(&app),
        grants,
    };
    let _counted = Counted::connection();
    {
        let reader = connection.read(stream, &heard);
        let writer = write(sink, &queue, &wants_ping);
        tokio::pin!(reader, writer);
        tokio::select! {
            () = &mut reader => {
                // It has closed, or broken the protocol: what waits is not sent, but the close is.
                queue.end(End::Gone);
                let _ = tokio::time::timeout(CLOSE_TIME, writer).await;
            }
            () = &mut writer => {
                // Until it answers the close.
                let _ = tokio::time::timeout(CLOSE_TIME, reader).await;
            }
            () = pulse(app.config.ping_every, &heard, &wants_ping, &queue) => {}
            () = deadline(&app, &queue, remaining) => {}
        }
    }
    metrics::dropped(queue.take_dropped());
    drop(permit);
}

/// Resolves when the connection had its time: it was told to end, and did not.
pub async fn deadline(app: &App, queue: &Queue, remaining: Option<Duration>) {
    let expiry = async {
        match remaining {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let end = tokio::select! {
        end = queue.ended() => end,
        () = app.stopped() => End::Stopping,
        () = expiry => End::Expired,
    };
    queue.end(end);
    let time = match end {
        End::TooSlow | End::TooLarge | End::Gone => CLOSE_TIME,
        End::Stopping => app.config.drain,
        End::TopicDeleted | End::Expired => FAREWELL_TIME,
    };
    tokio::time::sleep(time).await;
}

/// Resolves when nobody is there any more: pings were not answered, and nothing else came.
async fn pulse(every: Duration, heard: &AtomicBool, wants_ping: &AtomicBool, queue: &Queue) {
    let mut silent = 0;
    loop {
        tokio::time::sleep(every).await;
        if heard.swap(false, Relaxed) {
            silent = 0;
            continue;
        }
        silent += 1;
        if silent > PINGS_MAX {
            return;
        }
        wants_ping.store(true, Relaxed);
        queue.wake();
    }
}

/// Sends what the queue has until it ends, and then the close.
async fn write(mut sink: SplitSink<WebSocket, Message>, queue: &Queue, wants_ping: &AtomicBool) {
    let mut items = Vec::new();
    let end = loop {
        match queue.take(&mut items, WRITE_BUFFER) {
            Taken::Some => {
                let (mut messages, mut bytes) = (0, 0);
                for item in items.drain(..) {
                    let text = match item {
                        Outgoing::Answer(text) | Outgoing::Gap(text) => text,
                        Outgoing::Message(delivery) => {
                            messages += 1;
                            delivery.text.clone()
                        }
                    };
                    bytes += text.len() as u64;
                    if sink.feed(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                if sink.flush().await.is_err() {
                    return;
                }
                metrics::sent(messages, bytes);
            }
            Taken::Nothing => {
                items = Vec::new();
                queue.readable().await;
            }
            Taken::End(end) => break end,
        }
        if wants_ping.swap(false, Relaxed) && sink.send(Message::Ping(Bytes::new())).await.is_err() {
            return;
        }
    };
    let (code, reason) = match end {
        End::TopicDeleted => (close_code::NORMAL, "the topic was deleted"),
        End::TooSlow => {
            metrics::too_slow();
            (close_code::AGAIN, "too slow: connect again, and resume")
        }
        End::Stopping => (close_code::AWAY, "the gateway ends"),
        End::Expired => (close_code::POLICY, "the token has expired"),
        End::TooLarge => (close_code::SIZE, "the frame is larger than the gateway takes (--max-message)"),
        End::Gone => return,
    };
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
    // It may have gone; that is what was wanted.
    let _ = sink.send(Message::Close(Some(frame))).await;
}

/// What the reader needs.
struct Connection {
    app: Arc<App>,
    grants: Grants,
    queue: Arc<Queue>,
    subscriptions: HashMap<String, (Subscription, Counted)>,
    publishers: Publishers,
    rate: Rate,
}

impl Connection {
    /// Does what requests ask until the peer goes.
    async fn read(mut self, mut stream: SplitStream<WebSocket>, heard: &AtomicBool) {
        while let Some(received) = stream.next().await {
            heard.store(true, Relaxed);
            let goes_on = match received {
                Ok(Message::Text(text)) => self.handle(&text).await,
                Ok(Message::Binary(_)) => {
                    let refusal = Refusal::new("binary", "a frame is text: JSON");
                    self.refuse(&refusal, None, None).await
                }
                // Pings and closes are answered below, with the next read; behind a close there is nothing more.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_)) => true,
                Err(error) => {
                    let error = error.into_inner();
                    return self.queue.end(if is_too_large(&*error) { End::TooLarge } else { End::Gone });
                }
            };
            if !goes_on {
                // The writer says so; the peer answers its close.
                while let Some(Ok(_)) = stream.next().await {}
                return;
            }
        }
    }

    /// One frame. False: the connection ends.
    async fn handle(&mut self, text: &str) -> bool {
        match frames::parse(text) {
            Ok(Parsed { request, request_id }) => {
                let (action, done) = match request {
                    Request::Ping => return self.answer(frames::pong(request_id)).await,
                    Request::Publish { topic, message } => ("publish", self.publish(&topic, message, request_id)),
                    Request::Unsubscribe { topic } => ("unsubscribe", self.unsubscribe(&topic, request_id)),
                    // The largest future by far, and the rarest.
                    Request::Subscribe(subscribe) => {
                        ("subscribe", Box::pin(self.subscribe(subscribe, request_id)).await)
                    }
                };
                match done {
                    Ok(Some(answer)) => self.answer(answer).await,
                    Ok(None) => true,
                    Err(refusal) => self.refuse(&refusal, Some(action), request_id).await,
                }
            }
            Err(bad) => self.refuse(&bad.refusal, bad.action.as_deref(), bad.request_id).await,
        }
    }

    async fn answer(&self, frame: String) -> bool {
        self.queue.send(Outgoing::Answer(frame.into())).await
    }

    async fn refuse(&self, refusal: &Refusal, action: Option<&str>, request_id: Option<&RawValue>) -> bool {
        metrics::refused();
        self.answer(frames::error(refusal, action, request_id)).await
    }

    fn publish(&mut self, topic: &str, message: &RawValue, id: Option<&RawValue>) -> Result<Option<String>, Refusal> {
        pubsub::validate_topic(topic).map_err(refusal)?;
        if !self.grants.may_publish(topic) {
            return Err(Problem::forbidden("publish to", topic).into_refusal());
        }
        if !self.rate.take() {
            let text = format!("this connection publishes more than {} messages a second", self.rate.per_second());
            return Err(Refusal::new("rate_limited", text));
        }
        // A write into memory, as a rule: no reason to go to another thread and back.
        self.publishers.publish(topic, message.get()).map_err(refusal)?;
        metrics::published(1);
        Ok(id.map(|id| frames::ack(id, topic)))
    }

    fn unsubscribe(&mut self, topic: &str, id: Option<&RawValue>) -> Result<Option<String>, Refusal> {
        pubsub::Pattern::parse(topic).map_err(refusal)?;
        if self.subscriptions.remove(topic).is_none() {
            return Err(Refusal::new("not_subscribed", format!("this connection is not subscribed to '{topic}'")));
        }
        Ok(id.map(|id| frames::ack(id, topic)))
    }

    /// Its answer is sent from here, since what is replayed comes behind it.
    async fn subscribe(&mut self, subscribe: Subscribe, id: Option<&RawValue>) -> Result<Option<String>, Refusal> {
        let topic = subscribe.topic.clone();
        let pattern = pubsub::Pattern::parse(&topic).map_err(refusal)?;
        if !self.grants.may_subscribe(&topic) {
            return Err(Problem::forbidden("subscribe to", &topic).into_refusal());
        }
        if subscribe.since.is_some() && !pattern.is_exact() {
            return Err(Refusal::new("invalid_frame", "\"since\" is for topics; a pattern has no position"));
        }
        // Who subscribes again begins again.
        self.subscriptions.remove(&topic);
        let max = self.app.config.max_subscriptions;
        if self.subscriptions.len() >= max {
            return Err(Refusal::new(
                "too_many_subscriptions",
                format!("a connection has at most {max} subscriptions"),
            ));
        }
        let joining = join::join(&self.app.hub, &self.queue, subscribe, Missing::Make).await.map_err(refusal)?;
        if let Some(id) = id {
            if !self.answer(frames::subscribed(id, &topic, joining.begin)).await {
                return Ok(None);
            }
        }
        if let Some(subscription) = joining.replay().await.map_err(refusal)? {
            self.subscriptions.insert(topic, (subscription, Counted::subscription()));
        }
        Ok(None)
    }
}

fn refusal(error: pubsub::Error) -> Refusal {
    Problem::from(error).into_refusal()
}

/// Whether a frame was larger than what the gateway takes. The kind of the error is not to be had through axum's.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    error.to_string().contains("too long")
}
