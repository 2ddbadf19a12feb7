//! The state that all requests share, the routes, and what every request passes first.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, extract};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::auth::{self, Grants};
use super::config::Config;
use super::hub::Hub;
use super::origin::{self, Wrong};
use super::problem::Problem;
use super::{dashboard, history, messages, metrics, openapi, rest, socket, sse};

/// A request whose body comes more slowly is given up; streams have their own clocks.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// What all requests share.
pub struct App {
    /// What was told.
    pub config: Config,
    /// The feeds.
    pub hub: Arc<Hub>,
    /// When it all began.
    pub started: Instant,
    /// Becomes true when the gateway is to end.
    pub stopping: watch::Receiver<bool>,
    /// The figures.
    pub figures: PrometheusHandle,
}

/// As handlers get it.
pub type Shared = State<Arc<App>>;

impl App {
    /// Whether the gateway is about to end.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Resolves when the gateway is to end.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that whoever could say so has gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    let origins = app.config.allowed.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::HeaderName::from_static("last-event-id")]);
    let closed = Router::new()
        .route("/topics", get(rest::list_topics).post(rest::create_topic))
        .route("/topics/{name}", axum::routing::delete(rest::delete_topic))
        .route("/topics/{name}/messages", post(messages::publish).get(history::read))
        .route("/topics/{name}/events", get(sse::events))
        .route("/stats", get(rest::stats))
        .route("/metrics", get(rest::metrics))
        .route("/ws", get(socket::connect))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&app), authenticate));
    let open = Router::new()
        .route("/health", get(rest::health))
        .route("/ready", get(rest::ready))
        .route("/openapi.json", get(openapi::document))
        .merge(dashboard::routes());
    let limit = app.config.max_message;
    closed
        .merge(open)
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(limit))
        .layer(cors)
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard))
        .with_state(app)
}

async fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no_route", "there is nothing here; /openapi.json says what there is")
}

async fn no_method() -> Problem {
    let text = "this is not done here; /openapi.json says what is";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
}

/// What every request passes: is it from a page that may, does it come in time; and headers of every answer.
async fn guard(State(app): Shared, request: Request, next: Next) -> Response {
    let refused = match origin::check(request.headers(), &app.config.allowed) {
        Ok(()) => None,
        Err(Wrong::Host) => Some((
            "wrong_host",
            "the Host header is neither an address nor localhost nor a name that --allow-host gives",
        )),
        Err(Wrong::Origin) => Some((
            "wrong_origin",
            "this web page may not use the gateway: its origin is neither the gateway's nor one that --allow-origin gives",
        )),
    };
    let mut response = match refused {
        Some((code, text)) => Problem::new(StatusCode::FORBIDDEN, code, text).into_response(),
        None => match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                let text = format!("the request took longer than {} s", REQUEST_TIME.as_secs());
                Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", text).into_response()
            }
        },
    };
    metrics::answered(response.status().as_u16());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Finds out what the client may; handlers get it as an extension.
async fn authenticate(State(app): Shared, mut request: Request, next: Next) -> Response {
    let grants = match &app.config.auth {
        None => Ok(Grants::all()),
        Some(auth) => match auth::token(request.headers(), request.uri().query()) {
            Some(token) => auth.grants(token).ok_or("the key or token is unknown here, not yet valid, or has expired"),
            None => Err("a key or token is needed: Authorization: Bearer …, or access_token=… in the query"),
        },
    };
    match grants {
        Ok(grants) => {
            request.extensions_mut().insert(grants);
            next.run(request).await
        }
        Err(text) => Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", text).into_response(),
    }
}

/// The name in the path.
pub struct TopicName(pub String);

impl<S: Send + Sync> extract::FromRequestParts<S> for TopicName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut axum::http::request::Parts, state: &S) -> Result<TopicName, Problem> {
        match extract::Path::<String>::from_request_parts(parts, state).await {
            Ok(extract::Path(name)) => Ok(TopicName(name)),
            Err(_) => {
                let text = "the name in the path is not UTF-8";
                Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_topic", text))
            }
        }
    }
}
