//! The description of the interface, for programs.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, Ref, Response, ResponseBuilder};

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
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post, &mut item.delete].into_iter().flatten() {
                let mut add = |status: &str, what: &str| {
                    let responses = &mut operation.responses.responses;
                    responses.entry(status.into()).or_insert_with(|| problem(what).into());
                };
                add("403", "The page may not use the gateway, or the key or token does not grant this");
                add("408", "The request came too slowly");
                add("500", "The store cannot be used");
                if operation.security.is_none() {
                    add("401", "A key or token is needed");
                }
                if operation.request_body.is_some() {
                    add("413", "The body is too large");
                    add("415", "The body does not say that it is JSON");
                }
            }
        }
    }
}

fn problem(what: &str) -> Response {
    let body = Content::new(Some(Ref::from_schema_name("ProblemBody")));
    ResponseBuilder::new().description(what).content("application/json", body).build()
}

static DOCUMENT: LazyLock<utoipa::openapi::OpenApi> = LazyLock::new(Document::openapi);

/// `GET /openapi.json`.
pub async fn document() -> Json<&'static utoipa::openapi::OpenApi> {
    Json(&DOCUMENT)
}
