//! A channel's figures, read from beside it.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::files::Figures;
use crate::store::ChannelStats;

/// Reads a channel's counters while another thread receives from it; any thread. Get it from
/// [`Channel::monitor`](crate::Channel::monitor).
#[derive(Debug, Clone)]
pub struct Monitor {
    topic: String,
    path: PathBuf,
    figures: Arc<Figures>,
}

impl Monitor {
    pub(crate) fn new(topic: String, path: PathBuf, figures: Arc<Figures>) -> Monitor {
        Monitor { topic, path, figures }
    }

    /// Counters and bounds, now. [`Closed`](ErrorKind::Closed) in a forked child and once the channel is closed.
    pub fn stats(&self) -> Result<ChannelStats> {
        let figures = &self.figures;
        let unread = match figures.is_here() {
            true => figures.unread(),
            false => return Err(self.closed("belongs to the process that forked this one")),
        };
        match unread {
            Ok((unread, ring)) => {
                let (terms, counters) = (figures.control().terms(), figures.control().counters());
                Ok(ChannelStats::new(self.path.clone(), terms, counters, unread, ring, true))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(self.closed(&format!("has no directory any more ({})", self.path.display())))
            }
            Err(error) => Err(Error::os(format_args!("listing channel {}", self.path.display()), error)),
        }
    }

    fn closed(&self, why: &str) -> Error {
        Error::new(ErrorKind::Closed, format_args!("the channel on '{}' {why}; open one here", self.topic))
    }
}
