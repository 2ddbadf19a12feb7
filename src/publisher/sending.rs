//! One message on its way into the channels that match.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::LAST_REJECTED;
use super::lane::Line;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{self, Delivery, FileMode, MessageFile, Outbox};
use crate::history::{Appended, Appender, Entry};
use crate::message::{DELETED, v1};
use crate::ring::Record;
use crate::store::{Store, note_used};
use crate::sys::clock::{Deadline, Moment};
use crate::sys::fifo::{self, Wait};

thread_local! {
    /// What stands before the content in a file, put together here.
    static PREFIX: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A publisher that keeps a larger prefix than this gives the memory back.
const PREFIX_KEPT: usize = 64 << 10;

/// Who took one message, and who did not.
pub(super) struct Tally<'a> {
    topic: &'a str,
    taken: usize,
    rejected: u32,
    /// The weightiest reason.
    reason: Option<Error>,
}

impl<'a> Tally<'a> {
    pub(super) fn new(topic: &'a str, taken: usize) -> Tally<'a> {
        Tally { topic, taken, rejected: 0, reason: None }
    }

    fn refused(&mut self, outbox: Option<&Outbox>, error: Error) {
        self.rejected = self.rejected.saturating_add(1);
        if let Some(outbox) = outbox {
            outbox.count_rejected();
        }
        self.weigh(error);
    }

    /// Notes a reason, to be told if no channel takes it.
    pub(super) fn weigh(&mut self, error: Error) {
        let weight = |error: &Error| match error.kind() {
            ErrorKind::StoreFull => 3,
            ErrorKind::Permission => 2,
            ErrorKind::QueueFull => 0,
            _ => 1,
        };
        if self.reason.as_ref().is_none_or(|reason| weight(&error) > weight(reason)) {
            self.reason = Some(error);
        }
    }

    fn full(&mut self, outbox: &Outbox) {
        // Worded only if it is the answer.
        self.rejected = self.rejected.saturating_add(1);
        outbox.count_rejected();
    }

    /// What the publish answers.
    pub(super) fn answer(self) -> Result<usize> {
        LAST_REJECTED.set(self.rejected);
        if self.taken > 0 || (self.rejected == 0 && self.reason.is_none()) {
            return Ok(self.taken);
        }
        Err(self.reason.unwrap_or_else(|| {
            Error::new(
                ErrorKind::QueueFull,
                format_args!(
                    "every channel that matches '{}' is full ({} of them); fetch from them, open them with a larger \
                     capacity or to drop the oldest, or let the publisher wait (full_timeout)",
                    self.topic, self.rejected
                ),
            )
        }))
    }
}

/// One message on its way.
pub(super) struct Sending<'a> {
    store: &'a Store,
    record: Record<'a>,
    /// When this is.
    now: Moment,
    /// Whether publishers of rings are kept.
    keeps: bool,
    /// What stands before the content in a file; empty until one is needed.
    prefix: Vec<u8>,
    /// The mode of its file, wide enough for the owners of the channels so far.
    mode: Option<FileMode>,
    /// The message in a file, once a channel has room for it.
    file: Option<MessageFile>,
    /// It is news of this library's, which formix-pubsub channels would take for a message.
    is_news: bool,
    /// It is a formix-pubsub program's, which may have brought it there already.
    is_brought: bool,
}

/// What became of a message in one channel.
enum Outcome {
    Settled,
    Full(Arc<Outbox>),
}

impl<'a> Sending<'a> {
    pub(super) fn new(store: &'a Store, record: Record<'a>, now: Moment, keeps: bool) -> Sending<'a> {
        Sending {
            store,
            record,
            now,
            keeps,
            prefix: Vec::new(),
            mode: None,
            file: None,
            is_news: false,
            is_brought: false,
        }
    }

    /// A formix-pubsub program's.
    pub(super) fn of_another(store: &'a Store, record: Record<'a>) -> Sending<'a> {
        Sending { is_brought: true, ..Sending::new(store, record, Moment::now(), false) }
    }

    /// Puts it into this history, or has the history note that it lacks one.
    pub(super) fn append(&mut self, appender: &Appender) -> Appended {
        let entry = Entry::of(&self.record);
        let mut appended = Appended::NoSpace;
        if !appender.wants_file(&entry) {
            appended = appender.append(self.store.base(), &entry, self.now.wall_us());
        }
        if matches!(appended, Appended::NoSpace) {
            appended = self.append_by_file(appender, &entry).unwrap_or_else(Appended::Failed);
        }
        match appended {
            Appended::At(offset) => {
                self.record.managed = Some((appender.epoch(), offset));
                // The channels get another file if this one cannot say where it is.
                let trailer = files::trailer(appender.epoch(), offset);
                if let Some(file) = self.file.take_if(|file| file.append(&trailer).is_err()) {
                    file.discard(self.store.base());
                }
            }
            Appended::Failed(_) | Appended::NoSpace => appender.note_lost(),
            Appended::Gone => {}
        }
        appended
    }

    fn append_by_file(&mut self, appender: &Appender, entry: &Entry<'_>) -> Result<Appended> {
        self.write_prefix()?;
        self.admit(appender.owner)?;
        let (base, now) = (Arc::clone(self.store.base()), self.now.wall_us());
        Ok(appender.append_file(&base, self.file()?, entry, now))
    }

    /// It is where it could be brought; answers how late it has become.
    pub(super) fn finish(self) -> Moment {
        if let Some(file) = self.file {
            file.discard(self.store.base());
        }
        if (1..=PREFIX_KEPT).contains(&self.prefix.capacity()) {
            let _ = PREFIX.try_with(|kept| kept.replace(self.prefix));
        }
        self.now
    }

    /// Puts together what stands before the content in a file, if that was not done yet; how many bytes the file has.
    fn write_prefix(&mut self) -> Result<u64> {
        if self.prefix.is_empty() {
            let Record { id, timestamp_us, topic, headers_json, data, managed: _ } = self.record;
            let len = v1::checked_data_len(topic, headers_json, data.len())?;
            // What a program publishes while it ends (in the destructors of static objects) finds its thread's storage gone,
            // and has one of its own.
            self.prefix = PREFIX.try_with(RefCell::take).unwrap_or_default();
            self.prefix.clear();
            v1::write_prefix(&mut self.prefix, id, timestamp_us, topic, headers_json, len);
        }
        let trailer = if self.record.managed.is_some() { files::TRAILER } else { 0 };
        Ok((self.prefix.len() + self.record.data.len() + trailer) as u64)
    }

    /// To every target; waits for room in the full ones up to `full_timeout`. `first`: what the first of them said to it
    /// already.
    pub(super) fn send_to_all(
        &mut self,
        lines: &mut [Line],
        mut first: Option<Delivery>,
        full_timeout: Duration,
        tally: &mut Tally<'_>,
    ) -> Result<()> {
        // One after the other: each is open for sending only as long as it is its turn, unless the budget of descriptors has
        // room for it.
        let mut full = Vec::new();
        for (at, line) in lines.iter_mut().enumerate() {
            let outcome = match first.take() {
                Some(delivery) => self.settle(delivery, line, tally),
                None => self.send_to(line, tally),
            };
            match outcome {
                Outcome::Settled => {}
                Outcome::Full(outbox) if full_timeout.is_zero() => tally.full(&outbox),
                Outcome::Full(_) => full.push(at),
            }
        }
        if full.is_empty() { Ok(()) } else { self.send_to_full(full, lines, full_timeout, tally) }
    }

    #[cold]
    fn send_to_full(
        &mut self,
        mut full: Vec<usize>,
        lines: &mut [Line],
        full_timeout: Duration,
        tally: &mut Tally<'_>,
    ) -> Result<()> {
        let interrupted = self.wait_for_room(&mut full, lines, full_timeout, tally);
        for at in full {
            match lines[at].target.outbox(self.store, self.now.ns) {
                Ok(Some(outbox)) => tally.full(&outbox),
                Ok(None) => {}
                Err(error) => tally.refused(None, error),
            }
        }
        if interrupted && tally.taken == 0 {
            LAST_REJECTED.set(tally.rejected);
            return Err(Error::new(
                ErrorKind::Interrupted,
                format_args!("a signal ended the wait for room in the channels that match '{}'", tally.topic),
            ));
        }
        Ok(())
    }

    fn send_to(&mut self, line: &mut Line, tally: &mut Tally<'_>) -> Outcome {
        let delivery = match line.send_now(self.store, &self.record, self.now.wall_us(), false) {
            Ok(()) => Delivery::Taken,
            Err(Some(delivery)) => delivery,
            Err(None) => return self.send_slowly(line, false, tally),
        };
        self.settle(delivery, line, tally)
    }

    /// What a channel said to a message that was sent to it by what is kept open.
    fn settle(&mut self, delivery: Delivery, line: &mut Line, tally: &mut Tally<'_>) -> Outcome {
        match (delivery, &line.kept) {
            (Delivery::NoSpace, _) => return self.send_slowly(line, true, tally),
            (Delivery::Taken, _) => tally.taken += 1,
            (Delivery::Full, Some(kept)) => return Outcome::Full(Arc::clone(&kept.outbox)),
            (Delivery::Failed(error), kept) => tally.refused(kept.as_ref().map(|kept| &*kept.outbox), error),
            // Gone. The others concern files.
            _ => line.close(),
        }
        Outcome::Settled
    }

    /// To a channel on the files transport, or to a ring by a file or (unless `by_file`) for the first time.
    #[cold]
    fn send_slowly(&mut self, line: &mut Line, mut by_file: bool, tally: &mut Tally<'_>) -> Outcome {
        let now = self.now.ns;
        let outbox = match line.target.outbox(self.store, now) {
            Ok(Some(outbox)) => outbox,
            Ok(None) => return Outcome::Settled,
            Err(error) => {
                tally.refused(None, error);
                return Outcome::Settled;
            }
        };
        line.passed_by = outbox.is_for_foreign() && !self.is_news;
        if line.passed_by || (self.is_news && outbox.is_foreign()) {
            return Outcome::Settled;
        }
        let is_ring = outbox.is_ring();
        by_file |= !is_ring || outbox.wants_file(&self.record);
        if !by_file && self.keeps && line.kept.is_none() && line.keep(&outbox, self.store, now) {
            return self.send_to(line, tally);
        }
        let mut bytes = 0;
        if !is_ring {
            bytes = match self.write_prefix() {
                Ok(bytes) => bytes,
                Err(error) => {
                    tally.refused(Some(&outbox), error);
                    return Outcome::Settled;
                }
            };
            if !outbox.reserve(self.store.base(), bytes) {
                // A dead receiver makes no room.
                if outbox.is_abandoned() {
                    line.close();
                    return Outcome::Settled;
                }
                return Outcome::Full(outbox);
            }
        }
        // Two ids cannot both be taken unless something else makes files here.
        for _ in 0..4 {
            let delivery = if by_file {
                self.try_by_file(&outbox, bytes).unwrap_or_else(|error| {
                    if !is_ring {
                        outbox.release(bytes);
                    }
                    Delivery::Failed(error)
                })
            } else {
                outbox.deliver_record(self.store.base(), &self.record, self.now.wall_us())
            };
            match delivery {
                Delivery::Taken => {
                    tally.taken += 1;
                    return Outcome::Settled;
                }
                Delivery::Full => return Outcome::Full(outbox),
                Delivery::Gone => {
                    line.close();
                    return Outcome::Settled;
                }
                Delivery::Failed(error) => {
                    tally.refused(Some(&outbox), error);
                    return Outcome::Settled;
                }
                Delivery::NoSpace => by_file = true,
                // Earlier receivers were faster than this publish: the others get the same message in a new file. Or it
                // takes one with a name.
                Delivery::FileSpent => self.file = None,
                // It is there.
                Delivery::IdTaken if self.is_brought => return Outcome::Settled,
                Delivery::IdTaken => {
                    // The channels that have the file keep its id: the others get a file with a new one.
                    if let Err(error) = self.renumber() {
                        tally.refused(Some(&outbox), error);
                        return Outcome::Settled;
                    }
                }
            }
            if !is_ring {
                outbox.reserve_anyway(bytes);
            }
        }
        if !is_ring {
            outbox.release(bytes);
        }
        tally.refused(
            Some(&outbox),
            Error::new(ErrorKind::Corrupt, "message ids are taken again and again in a channel"),
        );
        Outcome::Settled
    }

    fn try_by_file(&mut self, outbox: &Outbox, bytes: u64) -> Result<Delivery> {
        let base = Arc::clone(self.store.base());
        if outbox.is_ring() {
            // Before the file is written, which may be large.
            match outbox.make_room(&base, &self.record) {
                Delivery::Taken => {}
                refused => return Ok(refused),
            }
        }
        self.write_prefix()?;
        self.admit(outbox.owner)?;
        let record = self.record;
        let file = self.file()?;
        Ok(if outbox.is_ring() {
            outbox.deliver_file(&base, file, &record)
        } else {
            outbox.deliver(&base, file, record.id, bytes)
        })
    }

    /// Lets a channel's owner read the file, besides those whose channels came before.
    fn admit(&mut self, owner: u32) -> Result<()> {
        let mode = self.store.message_file_mode(std::iter::once(owner));
        if self.mode.is_none_or(|before| mode.mode & !before.mode != 0) {
            if let Some(file) = &self.file {
                file.set_mode(mode).map_err(|e| Error::os("letting another user read a message", e))?;
            }
            self.mode = Some(mode);
        }
        Ok(())
    }

    /// The message in a file, written once.
    fn file(&mut self) -> Result<&MessageFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let mode = self.mode.unwrap_or_else(|| self.store.message_file_mode(std::iter::empty()));
                let home = self.store.home();
                let failed = |e| Error::os(format_args!("writing a message in the store {}", home.display()), e);
                let file =
                    MessageFile::write(self.store.base(), mode, &self.prefix, self.record.data).map_err(failed)?;
                if let Some((epoch, offset)) = self.record.managed {
                    file.append(&files::trailer(epoch, offset)).map_err(failed)?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }

    fn renumber(&mut self) -> Result<()> {
        let id = self.store.next_ids(Moment::now(), 1)?;
        note_used(self.store, id);
        self.record.id = id;
        if let Some(place) = self.prefix.get_mut(v1::ID_OFFSET..v1::ID_OFFSET + 8) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        if let Some(file) = self.file.take() {
            file.discard(self.store.base());
        }
        Ok(())
    }

    /// Tries the full channels again and again until they took it, are gone, or the time is over; whether a signal ended it.
    fn wait_for_room(
        &mut self,
        full: &mut Vec<usize>,
        lines: &mut [Line],
        timeout: Duration,
        tally: &mut Tally<'_>,
    ) -> bool {
        /// A receiver that is at work makes room within microseconds: at first its processor is left to it.
        const YIELDS: u32 = 8;
        /// The first pause, doubled up to [`LONGEST`].
        const FIRST: Duration = Duration::from_micros(20);
        const LONGEST: Duration = Duration::from_millis(1);
        if timeout.is_zero() {
            return false;
        }
        let deadline = Deadline::after(Some(timeout));
        let mut pause = FIRST;
        let mut yields = 0;
        loop {
            let remaining = deadline.remaining().unwrap_or(LONGEST);
            if full.is_empty() || remaining.is_zero() {
                return false;
            }
            if yields < YIELDS {
                yields += 1;
                std::thread::yield_now();
            } else {
                if fifo::sleep(pause.min(remaining)) == Wait::Signal {
                    return true;
                }
                pause = (pause * 2).min(LONGEST);
            }
            self.now = Moment::now();
            full.retain(|&at| matches!(self.send_to(&mut lines[at], tally), Outcome::Full(_)));
        }
    }
}

/// How long the news that a topic was deleted waits for room in a channel that is full and rejects.
const NEWS_WAIT: Duration = Duration::from_millis(100);

/// Tells the channels on exactly this topic that it was deleted.
pub(crate) fn announce_deletion(store: &Store, topic: &str, epoch: u64) -> Result<()> {
    let now = Moment::now();
    store.registry().refresh(store, now)?;
    let mut targets = store.registry().matching(topic);
    targets.retain(|target| target.pattern.as_str() == topic);
    let mut lines: Vec<Line> = targets.into_iter().map(Line::new).collect();
    let record = Record {
        id: store.next_ids(now, 1)?,
        timestamp_us: now.wall_us(),
        topic,
        headers_json: "{}",
        data: b"",
        managed: Some((epoch, DELETED)),
    };
    let mut sending = Sending::new(store, record, now, false);
    note_used(store, record.id);
    sending.is_news = true;
    let result = sending.send_to_all(&mut lines, None, NEWS_WAIT, &mut Tally::new(topic, 0));
    sending.finish();
    result
}
