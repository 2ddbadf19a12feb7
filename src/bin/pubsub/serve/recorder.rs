//! Records what formix-pubsub programs publish: they know no histories. One process records each topic, whichever got there
//! first; when that ends another one takes over.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pubsub::{ErrorKind, Recorder};

use super::app::App;
use super::doorbell::Doorbell;
use super::managed::blocking;

/// How often new topics, and topics whose recorder has ended, are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Each recorder is a channel. Who has more topics and formix-pubsub publishers runs `pubsub topics keep`.
const RECORDERS_MAX: usize = 256;

/// Records until the gateway ends.
pub async fn run(app: Arc<App>) {
    let recorded: Arc<Mutex<HashSet<String>>> = Arc::default();
    loop {
        let (home, known) = (app.hub.home(), Arc::clone(&recorded));
        match blocking(move || open_new(home, &known)).await {
            Ok(recorders) => {
                for recorder in recorders {
                    tokio::spawn(record(recorder, Arc::clone(&recorded)));
                }
            }
            Err(error) => tracing::warn!(%error, "topics cannot be recorded now"),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = app.stopped() => return,
        }
    }
}

fn open_new(home: Option<PathBuf>, recorded: &Mutex<HashSet<String>>) -> pubsub::Result<Vec<Recorder>> {
    let mut recorders = Vec::new();
    for stats in pubsub::topics(home.as_deref())? {
        let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
        if recorded.len() >= RECORDERS_MAX {
            break;
        }
        if recorded.contains(&stats.topic) {
            continue;
        }
        match Recorder::open(&stats.topic, home.as_deref()) {
            Ok(Some(recorder)) => {
                recorded.insert(stats.topic);
                recorders.push(recorder);
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(topic = stats.topic, %error, "the topic cannot be recorded"),
        }
    }
    Ok(recorders)
}

async fn record(mut recorder: Recorder, recorded: Arc<Mutex<HashSet<String>>>) {
    let topic = recorder.topic().to_owned();
    if let Err(error) = record_all(&mut recorder).await {
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!(topic, %error, "recording has ended");
        }
    }
    drop(recorder);
    recorded.lock().unwrap_or_else(PoisonError::into_inner).remove(&topic);
}

async fn record_all(recorder: &mut Recorder) -> pubsub::Result<()> {
    let failed = |error: std::io::Error| pubsub::Error::new(ErrorKind::Io, format!("waiting for messages: {error}"));
    let doorbell = Doorbell::new(recorder.as_fd()?).map_err(failed)?;
    loop {
        while recorder.record(Some(Duration::ZERO))? > 0 {
            tokio::task::yield_now().await;
        }
        doorbell.rung().await.map_err(failed)?;
    }
}
