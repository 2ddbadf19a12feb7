//! What `pubsub top` knows: the channels as of the last look, and how they changed since the one before.

#![forbid(unsafe_code)]

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Instant;

use pubsub::ChannelStats;

use crate::context::{Context, Failure};
use crate::disk::Disk;
use crate::format::printable;
use crate::program::Programs;
use crate::stats::Totals;

/// Looks that the curve of the rate remembers.
const CURVE: usize = 300;

/// What the channels are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    Rate,
    Queue,
    Lost,
    Pattern,
}

impl Sort {
    pub const ALL: [Sort; 4] = [Sort::Rate, Sort::Queue, Sort::Lost, Sort::Pattern];

    pub fn name(self) -> &'static str {
        match self {
            Sort::Rate => "rate",
            Sort::Queue => "queue",
            Sort::Lost => "lost",
            Sort::Pattern => "pattern",
        }
    }
}

/// A channel as it is shown.
#[derive(Debug, Clone)]
pub struct Row {
    pub pattern: String,
    pub program: String,
    pub pid: i64,
    /// Messages per second; `None` for formix-pubsub's.
    pub published: Option<f64>,
    pub received: Option<f64>,
    pub unread: u64,
    /// How full its queue is, 0 to 1; `None` for formix-pubsub's.
    pub fill: Option<f64>,
    /// Refused and dropped since it was opened; `None` for formix-pubsub's.
    pub lost: Option<u64>,
    /// Whether more were since the last look.
    pub is_losing: bool,
    pub alive: bool,
    pub foreign: bool,
}

/// Everything that is shown.
pub struct Model {
    home: Option<PathBuf>,
    pub home_shown: String,
    before: HashMap<PathBuf, ChannelStats>,
    looked: Instant,
    pub totals: Totals,
    pub disk: Option<Disk>,
    /// Messages per second received by all channels, the latest last.
    pub curve: VecDeque<f64>,
    pub published: f64,
    /// All of them; what the filter lets through is [`rows`](Model::rows).
    all: Vec<Row>,
    rows: Vec<Row>,
    filter: String,
    /// Whether keys go into the filter.
    pub is_typing: bool,
    pub sort: Sort,
    reversed: bool,
    pub paused: bool,
    /// The first row that is shown.
    offset: usize,
    /// Why the store could not be looked at.
    pub problem: Option<String>,
}

impl Model {
    pub fn new(context: &Context) -> Model {
        Model::of(context.home(), context.home_shown())
    }

    fn of(home: Option<&Path>, home_shown: String) -> Model {
        Model {
            home: home.map(Path::to_path_buf),
            home_shown,
            before: HashMap::new(),
            looked: Instant::now(),
            totals: Totals::default(),
            disk: None,
            curve: VecDeque::new(),
            published: 0.0,
            all: Vec::new(),
            rows: Vec::new(),
            filter: String::new(),
            is_typing: false,
            sort: Sort::Rate,
            reversed: false,
            paused: false,
            offset: 0,
            problem: None,
        }
    }

    /// Looks at the store.
    pub fn look(&mut self) -> Result<(), Failure> {
        let channels = pubsub::list_channels(self.home.as_deref())?;
        self.disk = Disk::of(self.home.as_deref().unwrap_or_else(|| pubsub::home())).ok();
        let seconds = self.looked.elapsed().as_secs_f64();
        self.looked = Instant::now();
        let mut programs = Programs::default();
        self.update(channels, seconds, |channel| programs.of(channel));
        Ok(())
    }

    /// Looks once more; what fails is shown, and may be over with the next look.
    pub fn look_again(&mut self) {
        self.problem = match self.look() {
            Ok(()) => None,
            Err(Failure::Failed(text) | Failure::Usage(text)) => Some(printable(text.as_bytes())),
            Err(_) => None,
        };
    }

    /// Takes in a look that came so many seconds after the last one.
    fn update(
        &mut self,
        channels: Vec<ChannelStats>,
        seconds: f64,
        mut program: impl FnMut(&ChannelStats) -> Option<String>,
    ) {
        let is_first = self.before.is_empty() && self.all.is_empty();
        self.totals = Totals::of(&channels);
        self.all.clear();
        for channel in &channels {
            // One that is new since the last look had nothing then.
            let before = self.before.get(&channel.path);
            self.all.push(row(channel, before, if is_first { 0.0 } else { seconds }, program(channel)));
        }
        let sum = |rate: fn(&Row) -> Option<f64>| self.all.iter().filter_map(rate).sum();
        let received: f64 = sum(|row| row.received);
        self.published = sum(|row| row.published);
        if !is_first {
            self.curve.push_back(received);
        }
        if self.curve.len() > CURVE {
            self.curve.pop_front();
        }
        self.before = channels.into_iter().map(|channel| (channel.path.clone(), channel)).collect();
        self.arrange();
    }

    /// Filters and sorts.
    fn arrange(&mut self) {
        let wanted = self.filter.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&wanted);
        self.rows = self.all.iter().filter(|row| has(&row.pattern) || has(&row.program)).cloned().collect();
        let rate = |row: &Row| row.received.unwrap_or(0.0) + row.published.unwrap_or(0.0);
        let (sort, reversed) = (self.sort, self.reversed);
        self.rows.sort_by(|a, b| {
            // The most first, and patterns from A to Z.
            let order = match sort {
                Sort::Rate => rate(b).total_cmp(&rate(a)),
                Sort::Queue => b.fill.unwrap_or(0.0).total_cmp(&a.fill.unwrap_or(0.0)).then(b.unread.cmp(&a.unread)),
                Sort::Lost => b.lost.cmp(&a.lost),
                Sort::Pattern => Ordering::Equal,
            };
            let order = order.then_with(|| (&a.pattern, a.pid).cmp(&(&b.pattern, b.pid)));
            if reversed { order.reverse() } else { order }
        });
        self.scroll(0);
    }

    /// What the filter lets through, sorted, from the row on that was scrolled to.
    pub fn rows(&self) -> &[Row] {
        &self.rows[self.offset.min(self.rows.len())..]
    }

    /// How many channels the filter lets through, and which of them is the first to be shown.
    pub fn place(&self) -> (usize, usize) {
        (self.rows.len(), self.offset)
    }

    pub fn filter(&self) -> &str {
        &self.filter
    }

    pub fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    pub fn sort_by_next(&mut self) {
        let place = Sort::ALL.iter().position(|sort| *sort == self.sort).unwrap_or(0);
        self.sort = Sort::ALL[(place + 1) % Sort::ALL.len()];
        self.reversed = false;
        self.arrange();
    }

    pub fn reverse(&mut self) {
        self.reversed = !self.reversed;
        self.arrange();
    }

    pub fn is_reversed(&self) -> bool {
        self.reversed
    }

    /// Moves by so many rows; the last stays in sight.
    pub fn scroll(&mut self, rows: isize) {
        self.offset = self.offset.saturating_add_signed(rows).min(self.rows.len().saturating_sub(1));
    }
}

fn row(channel: &ChannelStats, before: Option<&ChannelStats>, seconds: f64, program: Option<String>) -> Row {
    let ours = !channel.foreign;
    let since = |now: u64, before: Option<u64>| now.saturating_sub(before.unwrap_or(0));
    let received = since(channel.received, before.map(|before| before.received));
    let dropped = since(channel.dropped, before.map(|before| before.dropped));
    let rejected = since(channel.rejected, before.map(|before| before.rejected));
    // What came is what went, and what waits in addition. The figures are of slightly different moments.
    let waiting = channel.unread_messages as f64 - before.map_or(0, |before| before.unread_messages) as f64;
    let published = (received as f64 + dropped as f64 + waiting).max(0.0);
    let rate = |messages: f64| if ours { Some(if seconds > 0.0 { messages / seconds } else { 0.0 }) } else { None };
    let part = |used: u64, of: u64| if of == 0 { 0.0 } else { used as f64 / of as f64 };
    let fill = part(channel.unread_messages, channel.capacity_messages)
        .max(part(channel.unread_bytes, channel.capacity_bytes))
        .min(1.0);
    Row {
        pattern: printable(channel.topic.as_bytes()),
        program: program.map_or_else(|| "-".to_owned(), |name| printable(name.as_bytes())),
        pid: channel.pid,
        published: rate(published),
        received: rate(received as f64),
        unread: channel.unread_messages,
        fill: ours.then_some(fill),
        lost: ours.then(|| channel.rejected.saturating_add(channel.dropped)),
        is_losing: before.is_some() && dropped + rejected > 0,
        alive: channel.alive,
        foreign: channel.foreign,
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use pubsub::{FullPolicy, Transport};

    pub fn channel(pattern: &str, unread: u64, received: u64, rejected: u64) -> ChannelStats {
        ChannelStats {
            topic: pattern.to_owned(),
            path: PathBuf::from(format!("/store/{pattern}")),
            transport: Transport::Ring,
            full_policy: FullPolicy::Reject,
            alive: pattern != "dead",
            foreign: pattern == "formix",
            pid: 7,
            unread_messages: unread,
            unread_bytes: unread * 100,
            capacity_messages: 1000,
            capacity_bytes: 1 << 20,
            received,
            rejected,
            dropped: 0,
            malformed: 0,
        }
    }

    /// After two looks, two seconds apart.
    pub fn model() -> Model {
        let mut model = Model::of(None, "/store".to_owned());
        let program = |channel: &ChannelStats| channel.alive.then(|| "reader".to_owned());
        let at = |a: u64, b: u64| {
            vec![
                channel("busy.=", a, a * 100, 0),
                channel("full.+", 1000, 10, b),
                channel("dead", 3, 0, 0),
                channel("formix", 5, 0, 0),
            ]
        };
        model.update(at(10, 0), 1.0, program);
        model.update(at(20, 4), 2.0, program);
        model
    }

    fn patterns(model: &Model) -> Vec<&str> {
        model.rows().iter().map(|row| row.pattern.as_str()).collect()
    }

    #[test]
    fn rates_are_changes_by_time() {
        let model = model();
        let busy = &model.rows()[0];
        assert_eq!((busy.pattern.as_str(), busy.received, busy.published), ("busy.=", Some(500.0), Some(505.0)));
        assert_eq!((busy.fill, busy.lost, busy.is_losing), (Some(0.02), Some(0), false));
        let full = model.rows().iter().find(|row| row.pattern == "full.+").unwrap();
        assert_eq!((full.fill, full.lost, full.is_losing), (Some(1.0), Some(4), true));
        let formix = model.rows().iter().find(|row| row.foreign).unwrap();
        assert_eq!((formix.received, formix.fill, formix.lost, formix.unread), (None, None, None, 5));
        assert_eq!((model.curve.iter().copied().collect::<Vec<_>>(), model.published), (vec![500.0], 505.0));
    }

    #[test]
    fn the_first_look_has_no_rates() {
        let mut model = Model::of(None, String::new());
        model.update(vec![channel("a", 5, 1_000_000, 9)], 0.001, |_| None);
        assert_eq!((model.rows()[0].received, model.rows()[0].is_losing, model.curve.len()), (Some(0.0), false, 0));
    }

    #[test]
    fn channels_are_sorted_and_filtered() {
        let mut model = model();
        assert_eq!(patterns(&model), ["busy.=", "dead", "formix", "full.+"]);
        model.sort_by_next();
        assert_eq!(patterns(&model), ["full.+", "busy.=", "dead", "formix"]);
        model.sort_by_next();
        assert_eq!(patterns(&model)[0], "full.+");
        model.sort_by_next();
        assert_eq!(patterns(&model), ["busy.=", "dead", "formix", "full.+"]);
        model.reverse();
        assert_eq!(patterns(&model), ["full.+", "formix", "dead", "busy.="]);
        model.set_filter("F".to_owned());
        assert_eq!(patterns(&model), ["full.+", "formix"]);
        model.set_filter("READ".to_owned());
        assert_eq!(patterns(&model).len(), 3, "programs count, too");
        model.set_filter("nothing".to_owned());
        assert_eq!(patterns(&model), [""; 0]);
    }

    #[test]
    fn scrolling_keeps_the_last_row_in_sight() {
        let mut model = model();
        model.scroll(100);
        assert_eq!(patterns(&model), ["full.+"]);
        model.scroll(-2);
        assert_eq!(patterns(&model).len(), 3);
        model.scroll(isize::MIN);
        assert_eq!(model.place(), (4, 0));
        model.set_filter("nothing".to_owned());
        model.scroll(isize::MAX);
        assert_eq!(model.place(), (0, 0));
    }
}
