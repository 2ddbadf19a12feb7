//! One WebSocket connection: what it asks for, and what it is sent.
//!
//! One task with three parts that run side by side: the reader does what requests ask, the writer goes on where the socket was
//! full and says goodbye, and the pulse finds out whether anybody is still there. What the queue gets is written by whoever put it
//! there. A peer that does not read stops its own reader only (answers wait for room), never a feed.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hyper::upgrade::{OnUpgrade, Parts, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tungstenite::Message;
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::frame::coding::CloseCode;

use super::app::{App, Shared};
use super::auth::Grants;
use super::frames::{self, Parsed, Refusal, Request, Subscribe};
use super::join::{self, Missing, Subscription};
use super::listen::Permit;
use super::metrics::{self, Counted};
use super::problem::Problem;
use super::publish::{Publishers, Texts};
use super::queue::{End, Offered, Outgoing, Queue};
use super::rate::Rate;
use super::wire::{self, Incoming, Next};

/// How long a peer has to answer a close.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How long a peer that is to be disconnected has to take what waits for it.
const FAREWELL_TIME: Duration = Duration::from_secs(10);
/// So many messages, and about so many bytes of them, are published at once.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 64 << 10;
/// Where few subscribe, what comes is passed on in such pieces: they read one while the next is being made, which is worth the
/// writes that it costs more.
const PIECE: usize = 32;
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
    mut request: HttpRequest,
) -> Response {
    let response = match create_response_with_body(&request, Body::empty) {
        Ok(response) => response,
        Err(error) => {
            return Problem::new(StatusCode::BAD_REQUEST, "not_a_websocket", error.to_string()).into_response();
        }
    };
    let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() else {
        let text = "this connection cannot become a WebSocket; HTTP/1.1 can";
        return Problem::new(StatusCode::UPGRADE_REQUIRED, "not_a_websocket", text).into_response();
    };
    if app.is_stopping() {
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is about to end")
            .into_response();
    }
    tokio::spawn(async move {
        // An error: the peer has gone before it was answered.
        if let Ok(upgraded) = upgrade.await {
            serve(app, grants, permit, upgraded).await;
        }
    });
    response
}

async fn serve(app: Arc<App>, grants: Grants, permit: Permit, upgraded: Upgraded) {
    let (incoming, queue) = match upgraded.downcast::<TokioIo<TcpStream>>() {
        // hyper's buffers are freed here: an idle connection would pay for them.
        Ok(Parts { io, read_buf, .. }) => {
            let (read, write) = io.into_inner().into_split();
            let incoming = Incoming::new(read, &read_buf, app.config.max_message);
            (incoming, Arc::new(Queue::new(app.config.queue, Some(write))))
        }
        Err(_) => return tracing::error!("a connection that is no TCP stream"),
    };
    let heard = AtomicBool::new(true);
    let remaining = grants.remaining();
    let connection = Connection {
        rate: Rate::new(app.config.max_publish_rate),
        publishers: Publishers::new(&app.hub),
        pending: Pending::default(),
        subscriptions: HashMap::new(),
        queue: Arc::clone(&queue),
        app: Arc::clone(&app),
        grants,
    };
    let _counted = Counted::connection();
    {
        let reader = connection.read(incoming, &heard);
        let writer = write_until_end(&queue);
        tokio::pin!(reader, writer);
        tokio::select! {
            () = &mut reader => {
                // It has closed, or sent what cannot be: what waits is not sent, but the close is.
                queue.end(End::Gone);
                let _ = tokio::time::timeout(CLOSE_TIME, writer).await;
            }
            () = &mut writer => {
                // Until it answers the close.
                let _ = tokio::time::timeout(CLOSE_TIME, reader).await;
            }
            () = pulse(app.config.ping_every, &heard, &queue) => {}
            () = deadline(&app, &queue, remaining) => {}
        }
    }
    metrics::dropped(queue.take_dropped());
    // Most that are too slow do not take the close either.
    if queue.end_reason() == Some(End::TooSlow) {
        metrics::too_slow();
    }
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
        End::TooSlow | End::Failed | End::TooLarge | End::Broken | End::NotUtf8 | End::Gone => CLOSE_TIME,
        End::Stopping => app.config.drain,
        End::TopicDeleted | End::Expired => FAREWELL_TIME,
    };
    tokio::time::sleep(time).await;
}

/// Resolves when nobody is there any more: pings were not answered, and nothing else came.
async fn pulse(every: Duration, heard: &AtomicBool, queue: &Queue) {
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
        queue.control(wire::ping());
    }
}

/// Sends what the queue has until it ends, and then the close.
async fn write_until_end(queue: &Queue) {
    let (code, reason) = match queue.drive().await {
        End::TopicDeleted => (CloseCode::Normal, "the topic was deleted"),
        End::TooSlow => (CloseCode::Again, "too slow: connect again, and resume"),
        End::Failed => (CloseCode::Again, "the gateway's store has failed: connect again, and resume"),
        End::Stopping => (CloseCode::Away, "the gateway ends"),
        End::Expired => (CloseCode::Policy, "the token has expired"),
        End::TooLarge => (CloseCode::Size, "the frame is larger than the gateway takes (--max-message)"),
        End::NotUtf8 => (CloseCode::Invalid, "the frame is not UTF-8"),
        End::Broken => (CloseCode::Protocol, "that is no frame of a WebSocket client"),
        End::Gone => return,
    };
    queue.finish(wire::close(code, reason)).await;
}

/// What the reader needs.
struct Connection {
    app: Arc<App>,
    grants: Grants,
    queue: Arc<Queue>,
    subscriptions: HashMap<String, (Subscription, Counted)>,
    publishers: Publishers,
    pending: Pending,
    rate: Rate,
}

/// Messages to one topic that came one behind the other, not published yet: what a read of the socket brought is published at
/// once, and answered at once.
#[derive(Default)]
struct Pending {
    topic: String,
    texts: Texts,
    /// Their request ids.
    ids: Vec<Option<Box<RawValue>>>,
}

impl Connection {
    /// Does what requests ask until the peer goes.
    async fn read(mut self, mut incoming: Incoming, heard: &AtomicBool) {
        let mut goes_on = true;
        loop {
            let next = incoming.next();
            if let Some(answers) = incoming.answers() {
                // Behind the gateway's own close there is nothing to say.
                goes_on = goes_on && self.queue.send(Outgoing::Control(answers)).await;
            }
            match next {
                Next::Message(message) if goes_on => {
                    goes_on = match message {
                        Message::Text(text) => self.handle(&text).await,
                        Message::Binary(_) if !self.deliver_pending().await => false,
                        Message::Binary(_) => {
                            let refusal = Refusal::new("binary", "a frame is text: JSON");
                            self.refuse(&refusal, None, None).await
                        }
                        // Answered with the next look; behind a close there is nothing more.
                        _ => true,
                    };
                    // Who sends one message after the other must not keep others from their turn.
                    tokio::task::coop::consume_budget().await;
                }
                // The writer says that it ends; the peer answers its close.
                Next::Message(_) => {}
                Next::More => {
                    goes_on = goes_on && self.deliver_pending().await;
                    if !incoming.read().await {
                        return;
                    }
                    heard.store(true, Relaxed);
                }
                end @ (Next::TooLarge | Next::NotUtf8 | Next::Broken | Next::Closed | Next::Gone) => {
                    // What came before counts.
                    let _ = goes_on && self.deliver_pending().await;
                    match end {
                        Next::TooLarge => self.queue.end(End::TooLarge),
                        Next::NotUtf8 => self.queue.end(End::NotUtf8),
                        Next::Broken => self.queue.end(End::Broken),
                        _ => {}
                    }
                    return;
                }
            }
        }
    }

    /// One frame. False: the connection ends.
    async fn handle(&mut self, text: &str) -> bool {
        let parsed = frames::parse(text);
        if let Ok(Parsed { request: Request::Publish { topic, message }, request_id }) = &parsed {
            return self.publish(topic, message, *request_id).await;
        }
        // Requests are done, and answered, in their order.
        if !self.deliver_pending().await {
            return false;
        }
        match parsed {
            Ok(Parsed { request, request_id }) => {
                let (action, done) = match request {
                    Request::Ping => return self.answer(frames::pong(request_id)).await,
                    // Done above.
                    Request::Publish { .. } => return true,
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

    /// Takes a message in, to be published with those around it.
    async fn publish(&mut self, topic: &str, message: &RawValue, id: Option<&RawValue>) -> bool {
        let texts = &self.pending.texts;
        let is_same = texts.len() > 0 && topic == self.pending.topic;
        let is_due = is_same
            && (texts.len() >= BATCH
                || texts.bytes() >= BATCH_BYTES
                || (texts.len() % PIECE == 0 && self.publishers.is_for_few(topic)));
        let goes_on = if is_due {
            self.deliver_pending().await
        } else {
            // Those of another topic are delivered when all that was read is published.
            is_same || self.publish_pending().await
        };
        if !goes_on {
            return false;
        }
        if let Err(refusal) = self.admit(topic, !is_same || is_due) {
            return self.deliver_pending().await && self.refuse(&refusal, Some("publish"), id).await;
        }
        if self.pending.texts.len() == 0 {
            self.pending.topic = topic.to_owned();
        }
        self.pending.texts.push(message.get());
        self.pending.ids.push(id.map(ToOwned::to_owned));
        true
    }

    /// Whether a message may be published, to a topic that is new or that of the one before.
    fn admit(&mut self, topic: &str, is_new: bool) -> Result<(), Refusal> {
        if is_new {
            pubsub::validate_topic(topic).map_err(refusal)?;
            if !self.grants.may_publish(topic) {
                return Err(Problem::forbidden("publish to", topic).into_refusal());
            }
        }
        if !self.rate.take() {
            let text = format!("this connection publishes more than {} messages a second", self.rate.per_second());
            return Err(Refusal::new("rate_limited", text));
        }
        Ok(())
    }

    /// Publishes what was taken in, and answers it. False: the connection ends.
    async fn publish_pending(&mut self) -> bool {
        let answers = self.publish_now();
        answers.is_empty() || self.queue.send(Outgoing::Control(answers)).await
    }

    /// The same, and delivers it, with everything that was published before, to those who subscribe here.
    async fn deliver_pending(&mut self) -> bool {
        let hushed = (self.pending.texts.len() > 0).then(|| self.publishers.hush(&self.pending.topic));
        let answers = self.publish_now();
        let offered = if answers.is_empty() { Offered::Taken } else { self.queue.offer(Outgoing::Control(answers)) };
        self.publishers.hurry();
        drop(hushed);
        // Nobody's doorbell is silent while this waits.
        match offered {
            Offered::Taken => true,
            Offered::Ended => false,
            Offered::Full(answers) => self.queue.send(answers).await,
        }
    }

    /// Publishes what was taken in; its answers, as they go over the wire.
    fn publish_now(&mut self) -> Vec<u8> {
        let Pending { topic, texts, ids } = std::mem::take(&mut self.pending);
        let (mut done, mut answers) = (0, Vec::new());
        while done < texts.len() {
            let before = done;
            // A write into memory, as a rule: no reason to go to another thread and back.
            match self.publishers.publish(&topic, &texts, before) {
                Ok(published) => {
                    done += published;
                    metrics::published(published as u64);
                    for id in ids[before..done].iter().flatten() {
                        wire::append(&mut answers, frames::ack(id, &topic));
                    }
                }
                // That of the first alone; the next one may be luckier.
                Err(error) => {
                    done += 1;
                    metrics::refused();
                    let frame = frames::error(&refusal(error), Some("publish"), ids[before].as_deref());
                    wire::append(&mut answers, frame);
                }
            }
        }
        if done > 0 {
            self.publishers.remember(topic, texts);
        }
        answers
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
