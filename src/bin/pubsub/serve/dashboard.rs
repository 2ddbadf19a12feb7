//! The page at `/` and what belongs to it, compiled in: it works with the network cut.

#![forbid(unsafe_code)]

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::app::App;

const ASSETS: [(&str, &str, &str); 6] = [
    ("/", "text/html; charset=utf-8", include_str!("assets/index.html")),
    ("/dashboard.css", "text/css; charset=utf-8", include_str!("assets/dashboard.css")),
    ("/dashboard.js", "text/javascript; charset=utf-8", include_str!("assets/dashboard.js")),
    ("/pubsub.js", "text/javascript; charset=utf-8", include_str!("assets/pubsub.js")),
    ("/pubsub.d.ts", "text/plain; charset=utf-8", include_str!("assets/pubsub.d.ts")),
    ("/icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Their routes. They hold no secret, so they need no key.
pub fn routes() -> Router<Arc<App>> {
    ASSETS.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        router.route(path, get(move || async move { asset(kind, text) }))
    })
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers =
        [(CONTENT_TYPE, HeaderValue::from_static(kind)), (CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    (headers, text).into_response()
}
