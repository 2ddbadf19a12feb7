//! What the gateway is told on its command line.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::auth::Auth;
use super::origin::{self, Allowed};
use super::queue::Bounds;
use crate::context::Failure;
use crate::values;

/// The gateway: browsers and HTTP clients on the topics of this store
///
/// REST and an event stream over HTTP, a WebSocket at /ws, a dashboard at /, the description of it all at /openapi.json.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  pubsub serve
  pubsub serve --bind 0.0.0.0:8000 --auth keys.json --allow-host bus.example --allow-origin https://app.example

The address it listens on is printed on standard output. SIGTERM and SIGINT end it in good order: connections get
what waits for them and are closed with 1001.")]
pub struct Args {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8000")]
    bind: SocketAddr,
    /// A JSON file of keys, and of the issuer of tokens: see docs/gateway.md
    #[arg(long, value_name = "FILE")]
    auth: Option<PathBuf>,
    /// Listen beyond this machine although everybody may then publish and read everything
    #[arg(long, conflicts_with = "auth")]
    without_authentication: bool,
    /// A name under which clients reach the gateway, beside localhost and addresses
    #[arg(long = "allow-host", value_name = "NAME")]
    hosts: Vec<String>,
    /// The origin of a web page that may use the gateway, beside the gateway's own
    #[arg(long = "allow-origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// The most connections
    #[arg(long, value_name = "N", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// The most subscriptions of a connection
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_subscriptions: u32,
    /// The largest message, frame and request body, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 30))]
    max_message: u32,
    /// The most messages a second that a WebSocket may publish; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_publish_rate: u32,
    /// The most frames that wait for a connection that reads slowly
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(16..))]
    queue_messages: u32,
    /// The most bytes that wait for a connection that reads slowly
    #[arg(long, value_name = "BYTES", default_value_t = 8 << 20, value_parser = clap::value_parser!(u32).range(4096..))]
    queue_bytes: u32,
    /// How often a silent connection is asked whether it is still there; after two questions without answer it is closed
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = values::seconds)]
    ping_every: Duration,
    /// How long connections have to take what waits for them when the gateway is ended
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = values::seconds)]
    drain: Duration,
    /// Do not put the messages of formix-pubsub programs into histories; another process does
    #[arg(long)]
    no_recorder: bool,
}

/// What is served, and to whom.
pub struct Config {
    /// The store; `None`: the default one.
    pub home: Option<PathBuf>,
    /// Where to listen.
    pub bind: SocketAddr,
    /// Who may what; `None`: everybody everything.
    pub auth: Option<Auth>,
    /// Hosts and origins.
    pub allowed: Allowed,
    /// The most connections.
    pub max_connections: usize,
    /// The most subscriptions of a connection.
    pub max_subscriptions: usize,
    /// The largest message, in bytes.
    pub max_message: usize,
    /// Messages a second that a connection may publish; 0: no limit.
    pub max_publish_rate: u32,
    /// Bounds of each connection's queue.
    pub queue: Bounds,
    /// How often a silent connection is pinged.
    pub ping_every: Duration,
    /// How long ending takes at most.
    pub drain: Duration,
    /// Whether to record what formix-pubsub programs publish.
    pub record: bool,
}

impl Args {
    /// Checks what can be checked before anything is opened.
    pub fn config(self, home: Option<PathBuf>) -> Result<Config, Failure> {
        if !self.bind.ip().is_loopback() && self.auth.is_none() && !self.without_authentication {
            return Err(Failure::Usage(format!(
                "listening on {} lets other machines publish and read everything; give --auth FILE, or say \
                 --without-authentication if that is meant",
                self.bind
            )));
        }
        for origin in &self.origins {
            if !origin::is_origin(origin) {
                return Err(Failure::Usage(format!(
                    "--allow-origin '{origin}' is no origin; one looks like https://app.example or http://localhost:3000"
                )));
            }
        }
        if let Some(host) = self.hosts.iter().find(|host| host.contains([':', '/']) || host.is_empty()) {
            return Err(Failure::Usage(format!("--allow-host '{host}' is no name; give it without scheme and port")));
        }
        if self.ping_every < Duration::from_millis(100) {
            return Err(Failure::Usage("--ping-every is at least 0.1 seconds".into()));
        }
        let auth = self.auth.as_deref().map(Auth::read).transpose().map_err(Failure::Failed)?;
        Ok(Config {
            home,
            bind: self.bind,
            auth,
            allowed: Allowed { hosts: self.hosts, origins: self.origins },
            max_connections: self.max_connections as usize,
            max_subscriptions: self.max_subscriptions as usize,
            max_message: self.max_message as usize,
            max_publish_rate: self.max_publish_rate,
            queue: Bounds { bytes: self.queue_bytes as usize, frames: self.queue_messages as usize },
            ping_every: self.ping_every,
            drain: self.drain,
            record: !self.no_recorder,
        })
    }
}
