//! Latencies, kept exactly: four bytes an operation are cheaper than an argument about buckets.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Latencies of one caller, or of all, in microseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Latencies {
    micros: Vec<u32>,
}

/// What is told of them, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Percentiles {
    p50: u32,
    p90: u32,
    p99: u32,
    p999: u32,
    max: u32,
}

impl Latencies {
    pub(super) fn add(&mut self, latency: Duration) {
        self.micros.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    pub(super) fn count(&self) -> u64 {
        self.micros.len() as u64
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.micros.extend(other.micros);
    }

    pub(super) fn percentiles(mut self) -> Percentiles {
        self.micros.sort_unstable();
        let at = |thousandths: usize| self.at(thousandths);
        Percentiles { p50: at(500), p90: at(900), p99: at(990), p999: at(999), max: at(1000) }
    }

    /// The smallest value that so many thousandths of all do not exceed; 0 where there is none.
    fn at(&self, thousandths: usize) -> u32 {
        let rank = (self.micros.len() * thousandths).div_ceil(1000);
        self.micros.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentiles(micros: impl IntoIterator<Item = u64>) -> Percentiles {
        let mut all = Latencies::default();
        micros.into_iter().for_each(|us| all.add(Duration::from_micros(us)));
        all.percentiles()
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let hundred = percentiles((1..=100).rev());
        assert_eq!((hundred.p50, hundred.p90, hundred.p99), (50, 90, 99));
        assert_eq!((hundred.p999, hundred.max), (100, 100));
        let one = percentiles([7]);
        assert_eq!((one.p50, one.max), (7, 7));
        assert_eq!(percentiles([]).max, 0);
        assert_eq!(percentiles([u64::MAX / 2]).max, u32::MAX);
    }
}
