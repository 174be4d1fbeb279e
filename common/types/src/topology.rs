//! Where a chunkserver stands: a path of labels from the widest failure domain to the narrowest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `zone/host/disk`; fewer labels are allowed, the missing ones are unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Topology {
    labels: Vec<String>,
}

/// A text that is no topology path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a topology path: write up to 8 labels of 1 to 63 visible characters, as in zone/host/disk"
)]
pub struct TopologyError(String);

const LABELS_MAX: usize = 8;
const LABEL_BYTES_MAX: usize = 63;

impl Topology {
    /// The labels, widest domain first.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How many labels, from the widest, the two have in common: the larger, the nearer.
    #[must_use]
    pub fn shared_labels(&self, other: &Self) -> usize {
        self.labels.iter().zip(&other.labels).take_while(|(a, b)| a == b).count()
    }
}

impl FromStr for Topology {
    type Err = TopologyError;
    fn from_str(text: &str) -> Result<Self, TopologyError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let labels: Vec<String> = text.split('/').map(str::to_owned).collect();
        let good = |label: &String| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_graphic())
        };
        if labels.len() > LABELS_MAX || !labels.iter().all(good) {
            return Err(TopologyError(text.to_owned()));
        }
        Ok(Self { labels })
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.labels.join("/"))
    }
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Topology {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearness_counts_labels_from_the_widest() {
        let at = |text: &str| text.parse::<Topology>().unwrap();
        assert_eq!(at("a/h1/d1").shared_labels(&at("a/h1/d2")), 2);
        assert_eq!(at("a/h1").shared_labels(&at("b/h1")), 0);
        assert_eq!(at("").shared_labels(&at("a")), 0);
    }

    #[test]
    fn labels_have_limits() {
        let longest = "x".repeat(63);
        assert!(longest.parse::<Topology>().is_ok());
        assert!("x".repeat(64).parse::<Topology>().is_err());
        assert!(["x"; 8].join("/").parse::<Topology>().is_ok());
        assert!(["x"; 9].join("/").parse::<Topology>().is_err());
        assert!("a//b".parse::<Topology>().is_err());
        assert!("a b".parse::<Topology>().is_err());
    }
}
