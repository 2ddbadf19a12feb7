//! The JSON body of a request, and its query.

#![forbid(unsafe_code)]

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::frames::{DEPTH_MAX, depth, shorten};
use super::problem::Problem;

/// A body that is a JSON object, unparsed.
pub struct JsonBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<JsonBody, Problem> {
        if !is_json(request.headers()) {
            let text = "the body is JSON, and the header Content-Type: application/json says so";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", text));
        }
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let text = "the body is larger than the gateway takes (--max-message)";
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
            }
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
                Err(error) => not_json(format!("the body is not JSON: {}", shorten(&error.to_string()))),
            });
        }
        serde_json::from_str(text).map_err(|error| {
            let said = shorten(&error.to_string());
            if error.is_data() { invalid(said) } else { not_json(format!("the body is not JSON: {said}")) }
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
        let said = shorten(&axum::Error::new(error).to_string());
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", said)
    })
}
