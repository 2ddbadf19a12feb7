//! The description of the interface, for programs.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{history, messages, problem, rest, socket, sse};

#[derive(OpenApi)]
#[openapi(
    info(title = "pubsub serve", description = "Browsers and HTTP clients on the topics of a libpubsub store"),
    paths(
        rest::create_topic,
        rest::delete_topic,
        rest::list_topics,
        rest::stats,
        rest::health,
        rest::ready,
        rest::metrics,
        messages::publish,
        history::read,
        sse::events,
        socket::connect,
    ),
    components(schemas(problem::ProblemBody, history::HistoryPage)),
    modifiers(&Everywhere),
    security((), ("token" = []))
)]
struct Document;

/// What every request may be answered.
struct Everywhere;

impl utoipa::Modify for Everywhere {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A key, or a JWT")).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.security_schemes.insert("token".into(), SecurityScheme::Http(bearer));
    }
}

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// `GET /openapi.json`.
pub async fn document() -> Json<&'static utoipa::openapi::OpenApi> {
    Json(&DOCUMENT)
}
