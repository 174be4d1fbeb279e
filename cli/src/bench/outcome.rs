//! What came of the callers' work. Processes that a bench starts tell it as JSON.

use std::time::{Duration, Instant};

use gfs_client::Writer;
use serde::{Deserialize, Serialize};

use super::latency::Latencies;

/// What came of a caller's work, or of all.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) ops: u64,
    pub(super) bytes: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) latencies: Latencies,
    /// Operations a second of each caller, over the time that it worked.
    pub(super) rates: Vec<f64>,
    /// Of `mixed`.
    pub(super) slices: Vec<Slice>,
    /// Flushed, not synced.
    #[serde(skip)]
    pub(super) writers: Vec<Writer>,
}

/// What was done in one stretch of time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Slice {
    pub(super) bytes: u64,
    pub(super) reads: Latencies,
    pub(super) writes: Latencies,
}

/// The stretch of time.
pub(super) const SLICE: Duration = Duration::from_secs(10);

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        self.ops += other.ops;
        self.bytes += other.bytes;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latencies.extend(other.latencies);
        self.rates.extend(other.rates);
        for (index, slice) in other.slices.into_iter().enumerate() {
            self.slice(index).add(slice);
        }
        self.writers.extend(other.writers);
    }

    pub(super) fn failed(&mut self, error: impl std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn note(&mut self, begin: Instant, done: gfs_client::Result<usize>) {
        match done {
            Ok(bytes) => {
                self.latencies.add(begin.elapsed());
                self.ops += 1;
                self.bytes += bytes as u64;
            }
            Err(error) => self.failed(error),
        }
    }

    pub(super) fn slice(&mut self, index: usize) -> &mut Slice {
        if self.slices.len() <= index {
            self.slices.resize_with(index + 1, Slice::default);
        }
        &mut self.slices[index]
    }

    /// The rate of the slowest caller as a part of the mean; 1 where there is nothing to compare.
    pub(super) fn slowest_of_mean(&self) -> f64 {
        let count = u32::try_from(self.rates.len()).unwrap_or(u32::MAX);
        let mean = self.rates.iter().sum::<f64>() / f64::from(count);
        let slowest = self.rates.iter().copied().fold(f64::INFINITY, f64::min);
        if mean > 0.0 { slowest / mean } else { 1.0 }
    }
}

impl Slice {
    fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.reads.extend(other.reads);
        self.writes.extend(other.writes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_summed_up_and_the_slowest_is_told() {
        let caller = |ops: u64, rate| Outcome { ops, rates: vec![rate], ..Outcome::default() };
        let mut all = Outcome::default();
        assert!((all.slowest_of_mean() - 1.0).abs() < 1e-9);
        all.add(caller(10, 10.0));
        all.add(caller(30, 30.0));
        assert_eq!(all.ops, 40);
        assert!((all.slowest_of_mean() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn slices_are_added_by_their_time() {
        let mut one = Outcome::default();
        one.slice(1).bytes = 5;
        let mut other = Outcome::default();
        other.slice(0).bytes = 3;
        other.slice(2).bytes = 4;
        one.add(other);
        let bytes: Vec<u64> = one.slices.iter().map(|slice| slice.bytes).collect();
        assert_eq!(bytes, [3, 5, 4]);
    }
}
