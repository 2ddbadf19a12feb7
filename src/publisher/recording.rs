//! Bringing formix-pubsub programs' messages into a topic's history, and to the channels that missed them.
//!
//! A formix-pubsub program looks for channels, and the recorder's gets its message among others'. A channel that opens behind that
//! look does not, and if it reads the history before the recorder has put the message there, it has no way to it but this:
//! behind the append, the recorder sends the message to channels that joined later than it was made. Those know messages of
//! that age by id and time, and take each once, whoever brought it (see [`crate::replay`]).

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::time::Duration;

use super::lane::Line;
use super::sending::{Sending, Tally};
use crate::error::Result;
use crate::history::{Appended, Appender};
use crate::message::Message;
use crate::replay::FOREIGN_US;
use crate::ring::Record;
use crate::store::{Store, Target};
use crate::sys::clock::{self, Moment};

/// What a topic's recorder knows of the channels that read its history.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Before the recorder's channel could be seen. Who joined before that is known to all who know the recorder.
    since_us: u64,
    /// [`Appender::openings`] when `joined` was looked up.
    openings: u64,
    /// Channels, and since when they can be seen.
    joined: Vec<(Arc<Target>, u64)>,
}

impl Recording {
    /// To be made before the recorder's channel is.
    pub(crate) fn new() -> Recording {
        Recording { since_us: clock::wall_us(), openings: 0, joined: Vec::new() }
    }

    /// Puts a message of another program into the history.
    pub(crate) fn record(&mut self, store: &Store, appender: &Appender, message: &Message) -> Appended {
        let made_us = message.timestamp_us().max(0) as u64;
        let record = Record {
            id: message.id(),
            timestamp_us: made_us,
            topic: message.topic(),
            headers_json: message.headers_json(),
            data: message.data(),
            managed: None,
        };
        let mut sending = Sending::of_another(store, record);
        let appended = sending.append(appender);
        if matches!(appended, Appended::At(_)) {
            // Behind the append: who is not counted yet finds the message in the history.
            let openings = appender.openings();
            if openings != self.openings && self.look(store, message.topic()).is_ok() {
                self.openings = openings;
            }
            self.joined.retain(|(_, joined_us)| joined_us.saturating_add(FOREIGN_US) >= made_us);
            for (target, _) in self.joined.iter().filter(|(_, joined_us)| made_us <= *joined_us) {
                // Who is full counts it as rejected, and the history has it.
                let mut tally = Tally::new(record.topic, 0);
                let _ = sending.send_to_all(&mut [Line::new(Arc::clone(target))], None, Duration::ZERO, &mut tally);
            }
        }
        sending.finish();
        appended
    }

    fn look(&mut self, store: &Store, topic: &str) -> Result<()> {
        store.registry().look_now(store)?;
        self.joined.clear();
        for target in store.registry().matching(topic) {
            // One that cannot be opened for sending is none that gets messages.
            let Ok(Some(outbox)) = target.outbox(store, Moment::now().ns) else { continue };
            let joined_us = outbox.joined_us();
            if joined_us > self.since_us {
                self.joined.push((target, joined_us));
            }
        }
        Ok(())
    }
}
