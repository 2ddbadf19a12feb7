//! Connections: accepted, counted, bounded, and ended.

#![forbid(unsafe_code)]

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tower::Service;

use super::app::App;

/// How long the head of a request may take, and a connection may be idle between two.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// Pause when the process is out of descriptors: until some are closed, accepting again is in vain.
const OUT_OF_DESCRIPTORS_PAUSE: Duration = Duration::from_millis(100);

/// What a connection that is one too many is told. There may be thousands of them, so nothing is allocated for them.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: 105\r\n\
connection: close\r\nretry-after: 5\r\n\r\n\
{\"error\":{\"code\":\"too_many_connections\",\"message\":\"the gateway has as many connections as it may have\"}} ";

/// One of the connections that there may be, for as long as it lives; WebSockets take theirs along.
#[derive(Clone)]
pub struct Permit(Arc<Inner>);

struct Inner {
    _permit: OwnedSemaphorePermit,
    end: Notify,
}

impl Permit {
    /// Ends the connection that carries an HTTP answer, whatever it is doing.
    pub fn end_connection(&self) {
        self.0.end.notify_one();
    }
}

/// Serves until the gateway is to end, then until the connections have ended or the time for that is over.
pub async fn serve(listener: TcpListener, router: Router, app: Arc<App>) {
    let max = app.config.max_connections;
    let permits = Arc::new(Semaphore::new(max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = app.stopped() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, or a connection that has gone again.
                if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
                    continue;
                }
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_DESCRIPTORS_PAUSE).await;
                continue;
            }
        };
        match Arc::clone(&permits).try_acquire_owned() {
            Ok(permit) => {
                let permit = Permit(Arc::new(Inner { _permit: permit, end: Notify::new() }));
                tokio::spawn(connection(stream, router.clone(), permit, Arc::clone(&app)));
            }
            Err(_) => {
                tracing::debug!("a connection too many");
                // A fresh connection has room for so little; if not, it is closed without.
                let _ = stream.try_write(TOO_MANY);
            }
        }
    }
    drop(listener);
    // When all permits are back, all connections have ended.
    let all = permits.acquire_many(u32::try_from(max).unwrap_or(u32::MAX));
    if tokio::time::timeout(app.config.drain, all).await.is_err() {
        tracing::warn!(connections = max - permits.available_permits(), "connections did not end in time");
    }
}

async fn connection(stream: TcpStream, router: Router, permit: Permit, app: Arc<App>) {
    // Frames are flushed in bursts already; waiting for more would only be latency.
    let _ = stream.set_nodelay(true);
    let ends = permit.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(permit.clone());
        router.clone().call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    // What goes wrong with one connection is its peer's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = ends.0.end.notified() => return,
        () = app.stopped() => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection.as_mut() => {}
        () = ends.0.end.notified() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_connection_too_many_is_whole() {
        let text = std::str::from_utf8(TOO_MANY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    }
}
