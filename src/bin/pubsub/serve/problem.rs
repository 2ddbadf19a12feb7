//! What went wrong, as clients see it: a code for programs and a sentence for people, `{"error": {"code", "message"}}`.

#![forbid(unsafe_code)]

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use pubsub::ErrorKind;
use serde::Serialize;
use utoipa::ToSchema;

use super::frames::Refusal;

/// The body of an answer that is an error.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    error: ErrorBody,
}

#[derive(Debug, Serialize, ToSchema)]
struct ErrorBody {
    /// For programs; does not change.
    #[schema(value_type = String)]
    code: &'static str,
    /// For people.
    message: String,
}

/// An error with its status.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    refusal: Refusal,
}

/// What may stand in an error of what a stranger sent, in characters.
const MESSAGE_MAX: usize = 400;

impl Problem {
    /// An error of this status.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Problem {
        Problem { status, refusal: Refusal::new(code, message) }
    }

    /// There is no such topic.
    pub fn no_topic(topic: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not_found", format!("there is no topic '{topic}'; POST /topics makes one"))
    }

    /// The client's key or token does not grant it.
    pub fn forbidden(what: &str, topic: &str) -> Problem {
        let text = format!("this key or token may not {what} '{}'", super::frames::shorten(topic));
        Problem::new(StatusCode::FORBIDDEN, "forbidden", text)
    }

    /// What a connection is told.
    pub fn into_refusal(self) -> Refusal {
        self.refusal
    }
}

impl From<pubsub::Error> for Problem {
    /// What the client is at fault for is told as it is; what is the store's goes to the log, since it names paths.
    fn from(error: pubsub::Error) -> Problem {
        let text = error.to_string();
        let text = match text.char_indices().nth(MESSAGE_MAX) {
            None => text,
            Some((end, _)) => format!("{}…", &text[..end]),
        };
        match error.kind() {
            ErrorKind::InvalidTopic => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_topic", text),
            ErrorKind::InvalidArgument => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text),
            ErrorKind::TooLarge => Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            ErrorKind::NotFound => Problem::new(StatusCode::NOT_FOUND, "not_found", text),
            ErrorKind::Exists => Problem::new(StatusCode::CONFLICT, "exists", text),
            ErrorKind::QueueFull => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue_full", text),
            ErrorKind::StoreFull => {
                tracing::warn!(%error, "the store is full");
                let text = "the gateway's store is full; delete topics, or receive what waits";
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "store_full", text)
            }
            kind => {
                tracing::error!(%error, kind = kind.name(), "the store");
                let text = "the gateway could not use its store; its log says why";
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "store_error", text)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Refusal { code, message } = self.refusal;
        let body = Json(ProblemBody { error: ErrorBody { code, message } });
        let mut response = (self.status, body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
