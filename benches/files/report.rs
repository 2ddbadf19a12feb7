//! What was measured, as a table and as JSON, and whether it is what was promised.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use crate::Result;
use crate::rounds::{Series, rate, readable};

/// Sections and rows that the promises speak of.
pub mod names {
    pub const PUBLISH: &str = "Publish 64 bytes to one channel";
    pub const UNHEARD: &str = "Publish 64 bytes where nobody listens";
    pub const FAN_OUT: &str = "Publish 64 bytes to 10 channels";
    pub const RECEIVE: &str = "Receive 64 bytes, all waiting in the queue";
    pub const OPEN: &str = "Open a channel and close it";
    pub const LATENCY: &str = "Half a round trip between two processes that wait";

    pub const ALONE: &str = "alone";
    pub const THOUSAND: &str = "among 1,000 others";
    pub const BARE: &str = "bare system calls";
    pub const PUBLISHER: &str = "libpubsub, Publisher";
    pub const FORMIX: &str = "formix-pubsub";
    pub const FETCH: &str = "libpubsub, fetch";
    pub const SUBSCRIBE: &str = "formix-pubsub, subscribe";
    pub const WAIT: &str = "libpubsub, fetch_wait";
}

/// One promise: a ratio of medians and its bound.
struct Promise {
    what: &'static str,
    ratio: f64,
    bound: f64,
    /// Whether the ratio must be at least the bound, not at most.
    at_least: bool,
}

impl Promise {
    fn kept(&self) -> bool {
        // What is no number, because something was not measured, is not kept.
        if self.at_least { self.ratio >= self.bound } else { self.ratio <= self.bound }
    }
}

pub struct Report {
    with_formix: bool,
    sections: Vec<(&'static str, Vec<Series>)>,
}

impl Report {
    pub fn new(with_formix: bool) -> Report {
        Report { with_formix, sections: Vec::new() }
    }

    pub fn add(&mut self, section: &'static str, series: Vec<Series>) {
        print_section(section, &series);
        self.sections.push((section, series));
    }

    fn median(&self, section: &str, name: &str) -> f64 {
        let series = self.sections.iter().filter(|(title, _)| *title == section).flat_map(|(_, series)| series);
        series.filter(|series| series.name == name).map(Series::median).next().unwrap_or(f64::NAN)
    }

    fn promises(&self) -> Vec<Promise> {
        use names::*;
        let publish = |name: &str, others: &str| self.median(PUBLISH, &format!("{name}, {others}"));
        let (alone, crowded) = (publish(PUBLISHER, ALONE), publish(PUBLISHER, THOUSAND));
        let at_least = |what, ratio, bound| Promise { what, ratio, bound, at_least: true };
        let at_most = |what, ratio, bound| Promise { what, ratio, bound, at_least: false };
        vec![
            at_least("publish: times as fast as formix-pubsub", publish(FORMIX, ALONE) / alone, 3.0),
            at_most("publish: times the bare system calls", alone / self.median(PUBLISH, BARE), 1.5),
            at_most("publish: among 1,000 others, times alone", crowded / alone, 1.1),
            at_least(
                "receive: times as fast as formix-pubsub's subscribe",
                self.median(RECEIVE, SUBSCRIBE) / self.median(RECEIVE, FETCH),
                200.0,
            ),
            at_least(
                "latency: formix-pubsub's p50, times ours",
                self.median(LATENCY, SUBSCRIBE) / self.median(LATENCY, WAIT),
                100.0,
            ),
        ]
    }

    /// Prints the promises and writes the JSON that `PUBSUB_BENCH_JSON` asks for; false when they are to be checked and
    /// one is not kept.
    pub fn print(&self, check: bool) -> Result<bool> {
        let promises = self.promises();
        println!("\n{:<58} {:>9} {:>12}", "Promises", "measured", "promised");
        for Promise { what, ratio, bound, at_least } in &promises {
            println!("  {what:<56} {ratio:>9.2} {:>9} {bound:>5}", if *at_least { "at least" } else { "at most" });
        }
        if let Some(path) = std::env::var_os("PUBSUB_BENCH_JSON") {
            std::fs::write(path, format!("{:#}\n", self.json(&promises)))?;
        }
        let missed: Vec<&str> = promises.iter().filter(|promise| !promise.kept()).map(|promise| promise.what).collect();
        if missed.is_empty() || !check {
            return Ok(true);
        }
        eprintln!("not kept: {}", missed.join("; "));
        if !self.with_formix {
            eprintln!("formix-pubsub was not there to be measured");
        }
        Ok(false)
    }

    fn json(&self, promises: &[Promise]) -> Value {
        let sections = self.sections.iter().map(
            |(title, series)| json!({ "section": title, "rows": series.iter().map(Series::json).collect::<Vec<_>>() }),
        );
        let promises = promises.iter().map(|promise| {
            json!({
                "promise": promise.what, "measured": promise.ratio, "bound": promise.bound,
                "at_least": promise.at_least, "kept": promise.kept(),
            })
        });
        json!({ "sections": sections.collect::<Vec<_>>(), "promises": promises.collect::<Vec<_>>() })
    }
}

fn print_section(title: &str, series: &[Series]) {
    // The first row is what the others are compared with: the bare system calls where there are any.
    let reference = series.first().map_or(f64::NAN, Series::median);
    println!("\n{title:<58} {:>9} {:>9} {:>9} {:>11} {:>8}", "p25", "p50", "p99", "a second", "x first");
    for row in series {
        let [p25, p50, p99] = [0.25, 0.5, 0.99].map(|share| readable(row.quantile(share)));
        let factor = row.median() / reference;
        println!("  {:<56} {p25:>9} {p50:>9} {p99:>9} {:>11.0} {factor:>8.2}", row.name, rate(row.median()));
    }
}
