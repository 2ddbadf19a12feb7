//! Counters and gauges for Prometheus. No label comes from outside, so their number is fixed.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

const CONNECTIONS: &str = "pubsub_connections";
const SUBSCRIPTIONS: &str = "pubsub_subscriptions";
const FEEDS: &str = "pubsub_feeds";
const UPTIME: &str = "pubsub_uptime_seconds";
const PUBLISHED: &str = "pubsub_published_total";
const DELIVERED: &str = "pubsub_delivered_total";
const SENT: &str = "pubsub_sent_bytes_total";
const DROPPED: &str = "pubsub_dropped_total";
const TOO_LARGE: &str = "pubsub_too_large_total";
const TOO_SLOW: &str = "pubsub_too_slow_total";
const REFUSED: &str = "pubsub_refused_total";
const REQUESTS: &str = "pubsub_http_requests_total";

/// Installs the recorder of this process.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    describe_gauge!(CONNECTIONS, "WebSocket and event-stream connections");
    describe_gauge!(SUBSCRIPTIONS, "Subscriptions of all connections");
    describe_gauge!(FEEDS, "Patterns subscribed to: store channels that the gateway has open");
    describe_gauge!(UPTIME, Unit::Seconds, "Time since the gateway started");
    describe_counter!(PUBLISHED, "Messages published by clients");
    describe_counter!(DELIVERED, "Messages sent to clients");
    describe_counter!(SENT, Unit::Bytes, "Bytes of frames and events sent to clients");
    describe_counter!(DROPPED, "Messages that subscriptions with overflow drop_oldest lost");
    describe_counter!(TOO_LARGE, "Messages of programs that were too large to pass on");
    describe_counter!(TOO_SLOW, "Connections ended because they did not read fast enough");
    describe_counter!(REFUSED, "Requests of WebSocket connections that were answered by an error");
    describe_counter!(REQUESTS, "HTTP requests, by the class of their answer");
    for name in [PUBLISHED, DELIVERED, SENT, DROPPED, TOO_LARGE, TOO_SLOW, REFUSED] {
        counter!(name).absolute(0);
    }
    gauge!(CONNECTIONS).set(0);
    gauge!(SUBSCRIPTIONS).set(0);
    Ok(handle)
}

/// What is looked up only when somebody asks.
pub fn observe(uptime_seconds: f64, feeds: usize) {
    gauge!(UPTIME).set(uptime_seconds);
    gauge!(FEEDS).set(feeds as f64);
}

/// A thing that is counted as long as it lives.
pub struct Counted(&'static str);

impl Counted {
    /// A connection.
    pub fn connection() -> Counted {
        gauge!(CONNECTIONS).increment(1);
        Counted(CONNECTIONS)
    }

    /// A subscription.
    pub fn subscription() -> Counted {
        gauge!(SUBSCRIPTIONS).increment(1);
        Counted(SUBSCRIPTIONS)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1);
    }
}

/// Counters of every message: looked up once. After [`install`].
static OF_MESSAGES: LazyLock<[Counter; 3]> = LazyLock::new(|| [PUBLISHED, DELIVERED, SENT].map(|name| counter!(name)));

/// Clients published so many.
pub fn published(messages: u64) {
    OF_MESSAGES[0].increment(messages);
}

/// A burst went out.
pub fn sent(messages: u64, bytes: u64) {
    OF_MESSAGES[1].increment(messages);
    OF_MESSAGES[2].increment(bytes);
}

/// A slow subscription lost so many.
pub fn dropped(messages: u64) {
    if messages > 0 {
        counter!(DROPPED).increment(messages);
    }
}

/// A program's message was not passed on.
pub fn too_large() {
    counter!(TOO_LARGE).increment(1);
}

/// A connection was ended for its slowness.
pub fn too_slow() {
    counter!(TOO_SLOW).increment(1);
}

/// A frame was answered by an error.
pub fn refused() {
    counter!(REFUSED).increment(1);
}

/// An HTTP request was answered.
pub fn answered(status: u16) {
    let class = match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    counter!(REQUESTS, "status" => class).increment(1);
}
