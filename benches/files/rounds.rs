//! Measuring several things side by side: in rounds, each thing once a round, in an order that turns from round to round,
//! so that what else the machine does hits all alike.

#![forbid(unsafe_code)]

use serde_json::{Value, json};

use crate::Result;

/// What one thing took, in nanoseconds an operation, one figure a round.
pub struct Series {
    pub name: String,
    samples: Vec<f64>,
}

impl Series {
    /// A series from samples taken otherwise.
    pub fn new(name: &str, mut samples: Vec<f64>) -> Series {
        samples.sort_by(f64::total_cmp);
        Series { name: name.to_string(), samples }
    }

    /// The value below which this share of the samples lies.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = (self.samples.len() as f64 * share) as usize;
        self.samples.get(at.min(self.samples.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn json(&self) -> Value {
        json!({
            "name": self.name, "samples": self.samples.len(), "median_ns": self.median(), "p25_ns": self.quantile(0.25),
            "p75_ns": self.quantile(0.75), "p99_ns": self.quantile(0.99),
        })
    }
}

/// One thing to measure: answers nanoseconds an operation.
type Measure<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// Things to measure side by side.
#[derive(Default)]
pub struct Contest<'a> {
    entries: Vec<(String, usize, Measure<'a>)>,
}

impl<'a> Contest<'a> {
    pub fn add(&mut self, name: impl Into<String>, measure: impl FnMut() -> Result<f64> + 'a) {
        self.add_rare(1, name, measure);
    }

    /// Something slow, measured in every `every`-th round only; a run has more rounds than that.
    pub fn add_rare(&mut self, every: usize, name: impl Into<String>, measure: impl FnMut() -> Result<f64> + 'a) {
        self.entries.push((name.into(), every, Box::new(measure)));
    }

    /// Measures in so many rounds, after one that does not count.
    pub fn run(mut self, rounds: usize) -> Result<Vec<Series>> {
        let count = self.entries.len();
        let mut samples = vec![Vec::new(); count];
        for round in 0..=rounds {
            for turn in 0..count {
                let at = (turn + round) % count;
                let (name, every, measure) = &mut self.entries[at];
                if round % *every != 0 {
                    continue;
                }
                let sample = measure().map_err(|error| format!("{name}: {error}"))?;
                if round > 0 {
                    samples[at].push(sample);
                }
            }
        }
        Ok(self.entries.iter().zip(samples).map(|((name, ..), samples)| Series::new(name, samples)).collect())
    }
}

/// A time in the unit in which it reads well.
pub fn readable(ns: f64) -> String {
    match ns {
        ns if ns.is_nan() => "-".to_string(),
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.2} us", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// How often a second.
pub fn rate(ns: f64) -> f64 {
    1e9 / ns
}
