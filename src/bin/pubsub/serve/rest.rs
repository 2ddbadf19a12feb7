//! Topics and figures over HTTP.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, extract::State};
use pubsub::{ChannelOptions, TopicOptions};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::app::{Shared, TopicName};
use super::auth::Grants;
use super::body::JsonBody;
use super::managed::blocking;
use super::problem::{Problem, ProblemBody};

/// A topic to make.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewTopic {
    /// Its name.
    #[schema(min_length = 1, max_length = 200, pattern = "^[a-zA-Z0-9.-]+$")]
    name: String,
    /// The most messages that its history keeps; 0 or absent: 100.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295u64)]
    history_messages: Option<u32>,
    /// The most bytes that its history keeps; 0 or absent: 64 MiB.
    #[serde(default)]
    #[schema(maximum = 1_099_511_627_776u64)]
    history_bytes: Option<u64>,
    /// What is older is not returned any more; 0 or absent: no limit of age.
    #[serde(default)]
    #[schema(maximum = 4_294_967_295u64)]
    history_seconds: Option<u32>,
}

/// A topic.
#[derive(Debug, Serialize, ToSchema)]
pub struct Name {
    name: String,
}

/// A topic and how many hear it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Topic {
    name: String,
    /// Live subscribers, programs' channels and browsers alike, wildcards included.
    subscriber_count: u64,
}

/// The managed topics.
#[derive(Debug, Serialize, ToSchema)]
pub struct Topics {
    topics: Vec<Topic>,
}

/// A topic's figures.
#[derive(Debug, Serialize, ToSchema)]
pub struct TopicFigures {
    /// Live subscribers.
    subscribers: u64,
    /// Since the topic was made.
    messages_published: u64,
    /// Now.
    messages_in_history: u64,
}

/// The figures of all managed topics, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    topics: BTreeMap<String, TopicFigures>,
}

/// A sign of life.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    #[schema(value_type = String)]
    status: &'static str,
    /// Whole seconds since the gateway started.
    uptime_seconds: u64,
}

/// Whether it is time to send requests here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    #[schema(value_type = String)]
    status: &'static str,
}

/// The largest history that can be asked for, in bytes.
const HISTORY_BYTES_MAX: u64 = 1 << 40;

/// Make a topic
#[utoipa::path(post, path = "/topics", tag = "topics", request_body = NewTopic, responses(
    (status = 201, description = "It is made", body = Name),
    (status = 400, description = "The body is not JSON", body = ProblemBody),
    (status = 409, description = "There is such a topic", body = ProblemBody),
    (status = 422, description = "The name or another field cannot be", body = ProblemBody),
    (status = 507, description = "The store has no room for such a history", body = ProblemBody),
))]
pub async fn create_topic(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    body: JsonBody,
) -> Result<(StatusCode, Json<Name>), Problem> {
    let NewTopic { name, history_messages, history_bytes, history_seconds } = body.parse()?;
    pubsub::validate_topic(&name)?;
    if !grants.may_publish(&name) {
        return Err(Problem::forbidden("make", &name));
    }
    let history_bytes = history_bytes.unwrap_or(0);
    if history_bytes > HISTORY_BYTES_MAX {
        let text = format!("history_bytes is at most {HISTORY_BYTES_MAX}");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text));
    }
    let age = history_seconds.filter(|&seconds| seconds > 0);
    let options = TopicOptions {
        history_messages: history_messages.unwrap_or(0),
        history_bytes,
        history_ttl: age.map(|seconds| Duration::from_secs(seconds.into())),
        home: app.hub.home(),
    };
    let (topic, hub) = (name.clone(), Arc::clone(&app.hub));
    blocking(move || {
        pubsub::create_topic(&topic, &options)?;
        hub.recorders().take_up(&topic);
        Ok(())
    })
    .await?;
    Ok((StatusCode::CREATED, Json(Name { name })))
}

/// Delete a topic
///
/// Its history goes with it. Subscribers of exactly this topic are told and disconnected.
#[utoipa::path(delete, path = "/topics/{name}", tag = "topics", params(("name" = String, Path, description = "The topic")),
    responses(
    (status = 200, description = "It is deleted", body = Name),
    (status = 404, description = "There is no such topic", body = ProblemBody),
    (status = 422, description = "The name cannot be", body = ProblemBody),
))]
pub async fn delete_topic(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    TopicName(name): TopicName,
) -> Result<Json<Name>, Problem> {
    pubsub::validate_topic(&name)?;
    if !grants.may_publish(&name) {
        return Err(Problem::forbidden("delete", &name));
    }
    let (topic, home) = (name.clone(), app.hub.home());
    blocking(move || pubsub::delete_topic(&topic, home.as_deref())).await.map_err(|error| match error.kind() {
        pubsub::ErrorKind::NotFound => Problem::no_topic(&name),
        _ => error.into(),
    })?;
    app.hub.deleted();
    Ok(Json(Name { name }))
}

/// List topics
#[utoipa::path(get, path = "/topics", tag = "topics", responses(
    (status = 200, description = "All managed topics that the client may know of", body = Topics),
))]
pub async fn list_topics(State(app): Shared, Extension(grants): Extension<Grants>) -> Result<Json<Topics>, Problem> {
    let home = app.hub.home();
    let all = blocking(move || pubsub::topics(home.as_deref())).await?;
    let seen = all.into_iter().filter(|stats| grants.may_see(&stats.topic));
    let topics = seen.map(|stats| Topic { name: stats.topic, subscriber_count: stats.subscribers }).collect();
    Ok(Json(Topics { topics }))
}

/// Figures of all topics
#[utoipa::path(get, path = "/stats", tag = "observability", responses(
    (status = 200, description = "By topic", body = Stats),
))]
pub async fn stats(State(app): Shared, Extension(grants): Extension<Grants>) -> Result<Json<Stats>, Problem> {
    let home = app.hub.home();
    let all = blocking(move || pubsub::topics(home.as_deref())).await?;
    let figures = |stats: pubsub::TopicStats| {
        let (subscribers, messages_published) = (stats.subscribers, stats.messages_published);
        let figures = TopicFigures { subscribers, messages_published, messages_in_history: stats.messages_in_history };
        (stats.topic, figures)
    };
    let topics = all.into_iter().filter(|stats| grants.may_see(&stats.topic)).map(figures).collect();
    Ok(Json(Stats { topics }))
}

/// A sign of life
#[utoipa::path(get, path = "/health", tag = "observability", security(()), responses(
    (status = 200, description = "It runs", body = Health),
))]
pub async fn health(State(app): Shared) -> Json<Health> {
    Json(Health { status: "healthy", uptime_seconds: app.started.elapsed().as_secs() })
}

/// Whether it is time to send requests here
///
/// Not while the gateway ends, and not while its store cannot be used.
#[utoipa::path(get, path = "/ready", tag = "observability", security(()), responses(
    (status = 200, description = "It is", body = Ready),
    (status = 503, description = "It is not", body = ProblemBody),
))]
pub async fn ready(State(app): Shared) -> Result<Json<Ready>, Problem> {
    if app.is_stopping() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the gateway is about to end"));
    }
    let home = app.hub.home();
    // What a subscription needs: directories made, pages mapped, room in the file system.
    let opened = blocking(move || {
        let options = ChannelOptions { home, capacity_messages: 16, ..ChannelOptions::default() };
        pubsub::Channel::open("pubsub.gateway.ready", &options)?.close()
    });
    opened.await.map_err(|error| {
        tracing::warn!(%error, "not ready");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_error",
            "the store cannot be used; the gateway's log says why",
        )
    })?;
    Ok(Json(Ready { status: "ready" }))
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "observability", responses(
    (status = 200, description = "In the text format, version 0.0.4", content_type = "text/plain", body = String),
))]
pub async fn metrics(State(app): Shared) -> Response {
    super::metrics::observe(app.started.elapsed().as_secs_f64(), app.hub.feeds());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, kind)], app.figures.render()).into_response()
}
