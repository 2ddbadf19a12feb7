//! Publishing over HTTP.

#![forbid(unsafe_code)]

use axum::http::StatusCode;
use axum::{Extension, Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::app::{Shared, TopicName};
use super::auth::Grants;
use super::body::JsonBody;
use super::managed::blocking;
use super::metrics;
use super::problem::{Problem, ProblemBody};
use super::publish::{Publishers, Texts};

/// What is published: one message, or several in this order.
#[derive(Deserialize)]
struct Publish<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    messages: Option<Vec<&'a RawValue>>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// One message: `message`; or several, in this order: `messages`.
#[derive(ToSchema)]
#[schema(title = "Publish")]
#[allow(dead_code, reason = "for the description only")]
pub struct PublishBody {
    /// One message, any JSON.
    message: Option<serde_json::Value>,
    /// Several messages.
    messages: Option<Vec<serde_json::Value>>,
}

/// What was published.
#[derive(Debug, Serialize, ToSchema)]
pub struct Published {
    topic: String,
    /// How many messages.
    published: usize,
}

/// Publish
///
/// One message (`{"message": …}`) or several in this order (`{"messages": […]}`). The topic is made if there is none. When
/// one of several cannot be published, those before it are, and the error says how many.
#[utoipa::path(post, path = "/topics/{name}/messages", tag = "messages", request_body = PublishBody,
    params(("name" = String, Path, description = "The topic")), responses(
    (status = 201, description = "All is published", body = Published),
    (status = 400, description = "The body is not JSON", body = ProblemBody),
    (status = 413, description = "The body is too large", body = ProblemBody),
    (status = 422, description = "The name or the body cannot be", body = ProblemBody),
    (status = 503, description = "Every subscriber's queue is full", body = ProblemBody),
    (status = 507, description = "The store is full", body = ProblemBody),
))]
pub async fn publish(
    State(app): Shared,
    Extension(grants): Extension<Grants>,
    TopicName(topic): TopicName,
    body: JsonBody,
) -> Result<(StatusCode, Json<Published>), Problem> {
    pubsub::validate_topic(&topic)?;
    if !grants.may_publish(&topic) {
        return Err(Problem::forbidden("publish to", &topic));
    }
    let hub = app.hub.clone();
    // The body is borrowed from within, so it goes along.
    let work = move || {
        let messages = match body.parse()? {
            Publish { message: Some(message), messages: None } => vec![message],
            Publish { message: None, messages: Some(messages) } => messages,
            _ => {
                let text = "the body has either \"message\", any JSON, or \"messages\", a list of any JSON";
                return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text));
            }
        };
        let mut publishers = Publishers::new(&hub);
        let mut published = 0;
        let mut texts = Texts::default();
        messages.iter().for_each(|message| texts.push(message.get()));
        while published < texts.len() {
            match publishers.publish(&topic, &texts, published) {
                Ok(more) => published += more,
                Err(error) => {
                    metrics::published(published as u64);
                    let text = format!("after {published} of {} messages: {error}", texts.len());
                    return Err(if texts.len() == 1 { error } else { pubsub::Error::new(error.kind(), text) }.into());
                }
            }
        }
        metrics::published(published as u64);
        Ok(Published { topic, published })
    };
    // Errors of the work stand inside, those of the task outside.
    let published = blocking(move || Ok(work())).await??;
    Ok((StatusCode::CREATED, Json(published)))
}
