//! `pubsub serve`: browsers and HTTP clients on the topics of a store.
//!
//! A message's way in: [`socket`] or [`messages`] → [`publish`] → the store. Its way out: the store → [`feed`] (one channel and
//! task for each pattern, the message encoded once) → [`queue`] (one for each connection, bounded) → its socket, or [`sse`]. What a
//! WebSocket publishes to a topic goes all this way in its own task. [`wire`] has the WebSocket's bytes,
//! [`awake`] saves quick peers the time that a sleeper needs to wake.
//! [`join`] is how a subscriber gets the past without gap or duplicate. Nothing that matters is kept here: topics, histories
//! and figures are the store's, so several gateways serve one store, and one that was killed is started again.

#![forbid(unsafe_code)]

mod app;
mod auth;
mod awake;
mod body;
mod config;
mod dashboard;
mod doorbell;
mod feed;
mod frames;
mod history;
mod hub;
mod join;
mod listen;
mod managed;
mod messages;
mod metrics;
mod openapi;
mod origin;
mod problem;
mod publish;
mod queue;
mod rate;
mod recorder;
mod rest;
mod socket;
mod sse;
mod wire;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::Level;

pub use self::config::Args;
use self::config::Config;
use crate::context::{Context, Failure, Outcome};

/// Descriptors beside those of connections: the store, feeds and publishers.
const DESCRIPTORS_BESIDE: u64 = 512;
/// How long closing channels may take.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// Serves until a signal ends it.
pub fn run(args: Args, context: &Context) -> Result<Outcome, Failure> {
    let config = args.config(context.home().map(Into::into))?;
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_max_level(if context.is_quiet() { Level::WARN } else { Level::INFO })
        .init();
    raise_descriptor_limit(config.max_connections);
    // What cannot work is said before anybody connects.
    pubsub::Channel::open(
        "pubsub.gateway.start",
        &pubsub::ChannelOptions { home: config.home.clone(), ..Default::default() },
    )?
    .close()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .on_thread_park(awake::before_sleep)
        .build()
        .map_err(|error| Failure::io("starting the gateway's threads", &error))?;
    let result = runtime.block_on(serve(config));
    // Tasks are dropped, and with them their channels leave the store; what blocks there is not waited for.
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    result
}

async fn serve(config: Config) -> Result<Outcome, Failure> {
    let bind = config.bind;
    let listener =
        TcpListener::bind(bind).await.map_err(|error| Failure::io(&format!("listening on {bind}"), &error))?;
    let address = listener.local_addr().map_err(|error| Failure::io("asking for the port", &error))?;
    let figures = metrics::install().map_err(|error| Failure::Failed(format!("setting up the figures: {error}")))?;
    let (stop, stopping) = watch::channel(false);
    catch_signals(stop).map_err(|error| Failure::io("catching signals", &error))?;

    let hub = hub::Hub::new(config.home.clone(), config.max_message, config.record);
    let app = Arc::new(app::App { config, hub, started: Instant::now(), stopping, figures });
    recorder::run(&app).await;
    tokio::spawn(Arc::clone(&app.hub).watch());
    // Whoever started this may wait for it.
    let mut out = io::stdout();
    let announced = writeln!(out, "listening on http://{address}").and_then(|()| out.flush());
    if let Err(error) = announced {
        tracing::debug!(%error, "nobody reads the address");
    }
    tracing::info!(%address, authenticated = app.config.auth.is_some(), "serving");
    listen::serve(listener, app::router(Arc::clone(&app)), app).await;
    tracing::info!("ended");
    Ok(Outcome::Done)
}

/// SIGTERM and SIGINT end the gateway in good order; a second one at once.
fn catch_signals(stop: watch::Sender<bool>) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        for count in 0.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if count > 0 {
                tracing::warn!("asked twice: ending at once");
                std::process::exit(1);
            }
            tracing::info!("ending: connections get what waits for them");
            // Nobody to tell: then it has ended.
            let _ = stop.send(true);
        }
    });
    Ok(())
}

/// Raises the soft limit of open files to the hard one, and says if that is not enough.
fn raise_descriptor_limit(connections: usize) {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_err() {
        tracing::debug!("the limit of open files cannot be raised");
    }
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(soft, |(soft, _)| soft);
    let wanted = connections as u64 + DESCRIPTORS_BESIDE;
    if limit < wanted {
        tracing::warn!(limit, wanted, "the limit of open files (ulimit -n) is lower than --max-connections needs");
    }
}
