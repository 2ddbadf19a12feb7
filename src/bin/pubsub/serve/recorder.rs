//! Records what formix-pubsub programs publish: they know no histories. One process records each topic, whichever got there
//! first; when that ends another one takes over.
//!
//! A topic that a client subscribes or publishes to is recorded before the client is answered, the others soon after they are made.

#![forbid(unsafe_code)]

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pubsub::{ErrorKind, Recorder};

use super::app::App;
use super::doorbell::Doorbell;
use super::managed::blocking;

/// How often topics that other programs made, and topics whose recorder has ended, are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A look costs at most this part of the time: it reads every topic.
const LOOK_SHARE: u32 = 50;
/// How often a recorder is looked after.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// Each recorder is a channel. Who has more topics and formix-pubsub publishers runs `pubsub topics keep`.
const RECORDERS_MAX: usize = 256;

/// The topics that are recorded here.
pub struct Recorders {
    home: Option<PathBuf>,
    max: usize,
    topics: Mutex<HashSet<String>>,
}

impl Recorders {
    /// None yet, and never any unless it `is_on`.
    pub fn new(home: Option<PathBuf>, is_on: bool) -> Arc<Recorders> {
        Arc::new(Recorders { home, max: if is_on { RECORDERS_MAX } else { 0 }, topics: Mutex::default() })
    }

    /// Records the topic from now on, unless another process does. Within the runtime; blocks for file operations.
    pub fn take_up(self: &Arc<Recorders>, topic: &str) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics.len() >= self.max || topics.contains(topic) {
            return;
        }
        match Recorder::open(topic, self.home.as_deref()) {
            Ok(Some(recorder)) => {
                topics.insert(topic.to_owned());
                tokio::spawn(record(recorder, Arc::clone(self)));
            }
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(topic, %error, "the topic cannot be recorded"),
        }
    }

    /// Takes up the topics that there are. Within the runtime; blocks for file operations.
    fn look(self: &Arc<Recorders>) -> pubsub::Result<()> {
        for stats in pubsub::topics(self.home.as_deref())? {
            self.take_up(&stats.topic);
        }
        Ok(())
    }
}

/// Records what there is; what is made later is looked for until the gateway ends.
pub async fn run(app: &Arc<App>) {
    let recorders = app.hub.recorders();
    if recorders.max == 0 {
        return;
    }
    let mut pause = look(recorders).await;
    let (app, recorders) = (Arc::clone(app), Arc::clone(recorders));
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = app.stopped() => return,
            }
            pause = look(&recorders).await;
        }
    });
}

/// Answers how long it may take until the next look.
async fn look(recorders: &Arc<Recorders>) -> Duration {
    let started = Instant::now();
    let looking = Arc::clone(recorders);
    if let Err(error) = blocking(move || looking.look()).await {
        tracing::warn!(%error, "topics cannot be recorded now");
    }
    LOOK_EVERY.max(started.elapsed() * LOOK_SHARE)
}

async fn record(mut recorder: Recorder, recorders: Arc<Recorders>) {
    let topic = recorder.topic().to_owned();
    if let Err(error) = record_all(&mut recorder).await {
        if error.kind() != ErrorKind::NotFound {
            tracing::warn!(topic, %error, "recording has ended");
        }
    }
    drop(recorder);
    recorders.topics.lock().unwrap_or_else(PoisonError::into_inner).remove(&topic);
    // It may have been made again before this one noticed that it was deleted.
    let again = blocking(move || {
        recorders.take_up(&topic);
        Ok(())
    });
    again.await.unwrap_or_else(|error| tracing::warn!(%error, "a topic that was made again cannot be recorded now"));
}

async fn record_all(recorder: &mut Recorder) -> pubsub::Result<()> {
    let failed = |error: std::io::Error| pubsub::Error::new(ErrorKind::Io, format!("waiting for messages: {error}"));
    let doorbell = Doorbell::new(recorder.as_fd()?).map_err(failed)?;
    loop {
        while recorder.record(Some(Duration::ZERO))? > 0 {
            tokio::task::yield_now().await;
        }
        // The doorbell says nothing of a channel that somebody deleted, with the store as a rule.
        match tokio::time::timeout(CHECK_EVERY, doorbell.rung()).await {
            Ok(rung) => rung.map_err(failed)?,
            Err(_) => continue,
        }
    }
}
