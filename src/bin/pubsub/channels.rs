//! Several subscriptions at once: opened, waited for, closed.

#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pubsub::{Channel, ChannelOptions};

use crate::context::{Context, Failure, counted};
use crate::format::printable;
use crate::signals::Signals;

/// No wait is longer: a fetch that finds nothing also notices that somebody deleted the channel's directory.
const LOOK: Duration = Duration::from_secs(1);

/// Dropped, they are closed, whatever happened.
pub struct Channels {
    list: Vec<Channel>,
}

impl Channels {
    /// Opens one for each pattern, and says so.
    pub fn open(patterns: &[String], options: &ChannelOptions, context: &Context) -> Result<Channels, Failure> {
        let mut list = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            let mut channel = Channel::open(pattern, options)?;
            // Asked for before the first fetch: from here on, it wakes us.
            channel.fd()?;
            context.say(&format!("subscribed: {}", printable(pattern.as_bytes())));
            list.push(channel);
        }
        Ok(Channels { list })
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn get(&mut self, i: usize) -> &mut Channel {
        &mut self.list[i]
    }

    /// Waits for a message, a signal, the deadline, or the end of whoever reads `output`.
    pub fn wait(
        &mut self,
        signals: &Signals,
        output: Option<BorrowedFd<'_>>,
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        let left = deadline.map_or(LOOK, |deadline| deadline.saturating_duration_since(Instant::now()));
        // Rounded up, so that the last fraction of a millisecond is not polled away.
        let timeout = PollTimeout::from(left.min(LOOK).as_nanos().div_ceil(1_000_000) as u16);
        let mut fds = Vec::with_capacity(self.list.len() + 2);
        fds.push(PollFd::new(signals.fd(), PollFlags::POLLIN));
        for channel in &mut self.list {
            fds.push(PollFd::new(channel.as_fd()?, PollFlags::POLLIN));
        }
        // poll(2) reports errors and hang-ups unasked.
        fds.extend(output.map(|output| PollFd::new(output, PollFlags::empty())));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Failure::io("waiting for messages", &errno.into())),
        }
        let reader_gone = output.is_some() && fds.last().and_then(PollFd::any).unwrap_or(false);
        if reader_gone { Err(Failure::ReaderGone) } else { Ok(()) }
    }

    /// Closes them and says what they did not get; answers how many messages that were.
    pub fn close(mut self, context: &Context) -> Result<u64, Failure> {
        let mut lost = 0;
        for channel in self.list.drain(..) {
            let stats = channel.stats()?;
            for (number, what) in [
                (stats.rejected, "refused because the queue was full"),
                (stats.dropped, "dropped because the queue was full"),
                (stats.malformed, "set aside because they are no messages"),
            ] {
                if number > 0 {
                    let pattern = printable(stats.topic.as_bytes());
                    context.say(&format!("{pattern}: {} {what}", counted(number, "message")));
                    lost += number;
                }
            }
            channel.close()?;
        }
        Ok(lost)
    }
}
