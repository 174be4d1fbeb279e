//! How a client, a new file, an upload or a removal should be.

use std::time::Duration;

use gfs_types::message::client::Attributes;
use gfs_types::topology::Topology;

use crate::error::{Error, Result};

/// The environment variable that names the masters: `host:port,host:port`.
pub const MASTERS_VARIABLE: &str = "GFS_MASTERS";
/// The environment variable that says where this client stands: `zone/host`.
pub const TOPOLOGY_VARIABLE: &str = "GFS_TOPOLOGY";

/// How a [`crate::Client`] works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `HOST:PORT` of masters. Each name is resolved to all its addresses at every attempt.
    pub masters: Vec<String>,
    /// Time for one operation.
    pub timeout: Duration,
    /// Where this client stands, for "nearest"; empty if unknown.
    pub topology: Topology,
    /// Pieces of 1 MiB that a [`crate::Writer`] has on their way.
    pub write_window: usize,
    /// Pieces of 1 MiB that a [`crate::Reader`] asks for ahead.
    pub read_window: usize,
    /// Bytes of records that one [`crate::RecordWriter`] takes before it makes the caller wait.
    pub record_buffer_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            masters: Vec::new(),
            timeout: Duration::from_secs(60),
            topology: Topology::default(),
            write_window: 4,
            read_window: 4,
            record_buffer_bytes: 8 << 20,
        }
    }
}

impl Options {
    /// Defaults for these masters: `host:port,host:port`.
    ///
    /// # Errors
    /// When the list is empty or a part of it is not `HOST:PORT`.
    pub fn new(masters: &str) -> Result<Self> {
        let masters: Vec<String> = masters
            .split(',')
            .map(str::trim)
            .filter(|m| !m.is_empty())
            .map(str::to_owned)
            .collect();
        let options = Self { masters, ..Self::default() };
        options.check()?;
        Ok(options)
    }

    /// Defaults, masters from `GFS_MASTERS`, topology from `GFS_TOPOLOGY` if set.
    ///
    /// # Errors
    /// When `GFS_MASTERS` is not set or wrong.
    pub fn from_env() -> Result<Self> {
        let masters = std::env::var(MASTERS_VARIABLE).map_err(|_| {
            Error::Options(format!(
                "{MASTERS_VARIABLE} is not set: name the masters as HOST:PORT,…"
            ))
        })?;
        let mut options = Self::new(&masters)?;
        if let Ok(text) = std::env::var(TOPOLOGY_VARIABLE) {
            options.topology = text.parse()?;
        }
        Ok(options)
    }

    /// Whether they can be used.
    pub(crate) fn check(&self) -> Result<()> {
        if self.masters.is_empty() {
            return Err(Error::Options("no master is named: write HOST:PORT,…".to_owned()));
        }
        for master in &self.masters {
            let port = master.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            if !port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
                return Err(Error::Options(format!("`{master}` is not HOST:PORT")));
            }
        }
        if self.write_window == 0 || self.read_window == 0 || self.record_buffer_bytes == 0 {
            return Err(Error::Options("a window of nothing lets nothing through".to_owned()));
        }
        if self.timeout.is_zero() {
            return Err(Error::Options("a timeout of zero leaves no time".to_owned()));
        }
        Ok(())
    }
}

/// How a new file should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreateOptions {
    /// Replicas of each chunk; 0 takes the cluster's default.
    pub replication: u8,
    /// What to keep of the original.
    pub attributes: Attributes,
}

/// How to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// A directory goes with all that is in it; without it, only an empty one.
    pub recursive: bool,
    /// At once, without the days in the trash.
    pub purge: bool,
}

/// How an [`crate::Upload`] should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOptions {
    /// Replicas of each chunk; 0 takes the cluster's default.
    pub replication: u8,
    /// What to keep of the original.
    pub attributes: Attributes,
    /// A file that has the final name goes to the trash; without it, it is an error.
    pub replace: bool,
    /// The exact length, in bytes, if it is known before: leases of later chunks are then asked for ahead, and an
    /// upload of another length is refused.
    pub length: Option<u64>,
}

impl Default for UploadOptions {
    fn default() -> Self {
        Self { replication: 0, attributes: Attributes::default(), replace: true, length: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_masters_is_cut_and_checked() {
        let options = Options::new(" a:1, b.example:65535 ,,[::1]:7400").unwrap();
        assert_eq!(options.masters, ["a:1", "b.example:65535", "[::1]:7400"]);
        for text in ["", ",", "a", "a:", ":7400", "a:0", "a:65536", "a:x"] {
            let error = Options::new(text).unwrap_err();
            assert_eq!(error.kind(), gfs_types::ErrorKind::Invalid, "{text:?}");
        }
    }

    #[test]
    fn windows_and_times_of_nothing_are_refused() {
        let good = Options::new("a:1").unwrap();
        assert!(good.check().is_ok());
        assert!(Options { write_window: 0, ..good.clone() }.check().is_err());
        assert!(Options { timeout: Duration::ZERO, ..good }.check().is_err());
    }
}
