//! The JSON body of a request, and its query.

#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::body::{Bytes, HttpBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::app::App;
use super::frames::{DEPTH_MAX, depth, said, shorten};
use super::problem::Problem;

/// A body that is a JSON object, unparsed.
pub struct JsonBody(Bytes);

impl FromRequest<Arc<App>> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<JsonBody, Problem> {
        if !is_json(request.headers()) {
            let text = "the body is JSON, and the header Content-Type: application/json says so";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text));
        }
        let too_large = || {
            let text = "the body is larger than the gateway takes (--max-message)";
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
        };
        // Who says how much is to come need not send it to hear that it is too much.
        if request.body().size_hint().lower() > app.config.max_message as u64 {
            return Err(too_large());
        }
        let bytes = Bytes::from_request(request, app).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => too_large(),
            _ => Problem::new(StatusCode::BAD_REQUEST, "invalid_body", "the body could not be read"),
        })?;
        Ok(JsonBody(bytes))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = value.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

impl JsonBody {
    /// Parses it.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let invalid = |text: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", text);
        let not_json = |text: String| Problem::new(StatusCode::BAD_REQUEST, "invalid_json", text);
        let text = std::str::from_utf8(&self.0).map_err(|_| not_json("the body is not UTF-8".into()))?;
        if depth(text.as_bytes()) > DEPTH_MAX {
            return Err(invalid(format!("the body nests deeper than {DEPTH_MAX} levels")));
        }
        // A struct would be read from an array, too.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => invalid("the body is a JSON object".into()),
                Err(error) => not_json(format!("the body is not JSON: {}", said(&error))),
            });
        }
        serde_json::from_str(text).map_err(|error| {
            let text = said(&error);
            if error.is_data() { invalid(text) } else { not_json(format!("the body is not JSON: {text}")) }
        })
    }
}

/// The parameters of a query. Unknown ones are ignored.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query<T>, Problem> {
        query(&parts.uri).map(Query)
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    axum::extract::Query::try_from_uri(uri).map(|query| query.0).map_err(|error| {
        let text = axum::Error::new(error).to_string();
        // In front of the parameter's name and what is wrong with it.
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", shorten(text))
    })
}

/// A parameter that is a number.
pub fn number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = |_| serde::de::Error::custom("this is a whole number from 0 to 4294967295");
    text.parse().map(Some).map_err(wrong)
}
