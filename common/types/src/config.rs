//! What a server's configuration file says: YAML, one struct a server, unknown keys refused.
//!
//! `gfs dev` and the operator render these same structs.

use std::net::{Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::ids::ClusterUid;
use crate::limits;
use crate::topology::Topology;
use crate::units::{ByteSize, DurationMs};

/// Where a server listens and how others reach it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// `HOST:PORT` for its own protocol; port 0 takes a free one.
    pub listen: String,
    /// `HOST:PORT` for `/livez`, `/readyz`, `/metrics`.
    pub http_listen: String,
    /// The host others reach it by, when it listens on all addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

/// How a server writes its log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// `gfs master --config FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MasterConfig {
    /// Its data directory.
    pub dir: String,
    /// Its addresses; port 7400 and 7401 unless told otherwise.
    pub net: ListenConfig,
    /// Format the directory when it is blank, with this cluster uid. Without it a blank master waits for `Format`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<ClusterUid>,
    /// Bytes of a chunk; fixed when the cluster is formatted.
    #[serde(default = "default_chunk_bytes")]
    pub chunk_size: ByteSize,
    /// Replicas of a chunk unless a file asks otherwise.
    #[serde(default = "default_replication")]
    pub replication: u8,
    /// How long a lease runs (§3.1).
    #[serde(default = "default_lease")]
    pub lease: DurationMs,
    /// Time between heartbeats of chunkservers.
    #[serde(default = "default_heartbeat")]
    pub heartbeat: DurationMs,
    /// Deleted files can come back for this long (§4.4).
    #[serde(default = "default_trash_grace")]
    pub trash_grace: DurationMs,
    /// Bytes of one segment of the operation log; a checkpoint is due when a segment is full.
    #[serde(default = "default_segment")]
    pub log_segment_size: ByteSize,
    /// Disk space kept for log and checkpoints: below it nothing is added to the namespace. At most a twentieth of the disk.
    #[serde(default = "default_master_reserve")]
    pub reserve: ByteSize,
    /// How log lines look.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// `gfs chunkserver --config FILE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChunkserverConfig {
    /// Its data directory.
    pub dir: String,
    /// Its addresses; port 7500 and 7501 unless told otherwise.
    pub net: ListenConfig,
    /// `HOST:PORT` of the masters.
    pub masters: Vec<String>,
    /// The cluster it must belong to; without it a blank one takes the master's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterUid>,
    /// Where it stands: `zone/host/disk`.
    #[serde(default)]
    pub topology: Topology,
    /// Disk space never given to chunks, so that logs and deletes go on.
    #[serde(default = "default_reserve")]
    pub reserve: ByteSize,
    /// Pushed data held in memory for mutations to come.
    #[serde(default = "default_pushed")]
    pub push_buffer: ByteSize,
    /// How log lines look.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// A configuration that parses but cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Others could not reach it.
    #[error(
        "`net.listen` is {listen}: others cannot reach that; name a host in `net.advertise`, or with --advertise"
    )]
    NoAdvertise {
        /// The address in the file.
        listen: String,
    },
    /// No port, or no number.
    #[error("`{key}` is `{value}`: write HOST:PORT")]
    BadAddress {
        /// Which key.
        key: &'static str,
        /// The address in the file.
        value: String,
    },
    /// No host.
    #[error("`{key}`: {error}")]
    BadHost {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        error: HostError,
    },
    /// Outside of its limits.
    #[error("`{key}` is {value}: {reason}")]
    OutOfRange {
        /// Which key.
        key: &'static str,
        /// What the file says.
        value: String,
        /// What it may be.
        reason: String,
    },
}

/// A text that names no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host: write a name or an address alone, as in pod-1.example, 10.0.0.7 or fd00::7"
)]
pub struct HostError(String);

/// Bytes of the name of a host, as DNS has it.
const HOST_BYTES_MAX: usize = 253;

/// Takes a text that can stand before `:PORT`: a name, or an address, one of IPv6 with or without its brackets.
///
/// # Errors
/// What to write.
pub fn host(text: &str) -> Result<&str, HostError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<Ipv6Addr>().is_ok();
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let name = (1..=HOST_BYTES_MAX).contains(&text.len()) && text.bytes().all(letter);
    if address || name { Ok(text) } else { Err(HostError(text.to_owned())) }
}

impl ListenConfig {
    /// `HOST:PORT` by which others reach what listens at `local`.
    #[must_use]
    pub fn reached(&self, local: SocketAddr) -> String {
        match self.advertise.as_deref() {
            Some(host) if host.contains(':') && !host.starts_with('[') => {
                format!("[{host}]:{}", local.port())
            }
            Some(host) => format!("{host}:{}", local.port()),
            None => local.to_string(),
        }
    }

    /// Checks the addresses.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, value) in [("net.listen", &self.listen), ("net.http_listen", &self.http_listen)] {
            let port = value.rsplit_once(':').and_then(|(host, port)| {
                (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
            });
            if port.is_none() {
                return Err(ConfigError::BadAddress { key, value: value.clone() });
            }
        }
        let everywhere = ["0.0.0.0:", "[::]:"].iter().any(|any| self.listen.starts_with(any));
        if everywhere && self.advertise.is_none() {
            return Err(ConfigError::NoAdvertise { listen: self.listen.clone() });
        }
        if let Some(advertise) = &self.advertise {
            host(advertise)
                .map_err(|error| ConfigError::BadHost { key: "net.advertise", error })?;
        }
        Ok(())
    }
}

impl MasterConfig {
    /// What a file says that names nothing but these.
    #[must_use]
    pub fn new(dir: String, net: ListenConfig) -> Self {
        Self {
            dir,
            net,
            format: None,
            chunk_size: default_chunk_bytes(),
            replication: default_replication(),
            lease: default_lease(),
            heartbeat: default_heartbeat(),
            trash_grace: default_trash_grace(),
            log_segment_size: default_segment(),
            reserve: default_master_reserve(),
            log_format: LogFormat::default(),
        }
    }

    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.net.validate()?;
        crate::region::ChunkSize::new(self.chunk_size.0).map_err(|error| {
            ConfigError::OutOfRange {
                key: "chunk_size",
                value: self.chunk_size.to_string(),
                reason: error.to_string(),
            }
        })?;
        range("replication", self.replication, 1, limits::REPLICATION_MAX)?;
        range("lease", self.lease, DurationMs(100), DurationMs(600_000))?;
        range("heartbeat", self.heartbeat, DurationMs(10), DurationMs(self.lease.0 / 2))?;
        range("log_segment_size", self.log_segment_size, ByteSize(2 << 20), ByteSize(1 << 30))
    }
}

impl ChunkserverConfig {
    /// What a file says that names nothing but these.
    #[must_use]
    pub fn new(dir: String, net: ListenConfig, masters: Vec<String>) -> Self {
        Self {
            dir,
            net,
            masters,
            cluster: None,
            topology: Topology::default(),
            reserve: default_reserve(),
            push_buffer: default_pushed(),
            log_format: LogFormat::default(),
        }
    }

    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// The key that is wrong, and what to write.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.net.validate()?;
        range("masters (how many)", self.masters.len(), 1, 16)?;
        let (least, most) = (ByteSize(4 * limits::FRAME_BYTES_MAX), ByteSize(64 << 30));
        range("push_buffer", self.push_buffer, least, most)
    }
}

fn range<T>(key: &'static str, value: T, min: T, max: T) -> Result<(), ConfigError>
where
    T: Copy + PartialOrd + std::fmt::Display,
{
    if (min..=max).contains(&value) {
        return Ok(());
    }
    let reason = format!("from {min} to {max} is allowed");
    Err(ConfigError::OutOfRange { key, value: value.to_string(), reason })
}

fn default_chunk_bytes() -> ByteSize {
    ByteSize(limits::CHUNK_BYTES_DEFAULT)
}
fn default_replication() -> u8 {
    limits::REPLICATION_DEFAULT
}
fn default_lease() -> DurationMs {
    limits::LEASE_MS
}
fn default_heartbeat() -> DurationMs {
    limits::HEARTBEAT_MS
}
fn default_trash_grace() -> DurationMs {
    limits::TRASH_GRACE_MS
}
fn default_segment() -> ByteSize {
    ByteSize(limits::LOG_SEGMENT_BYTES)
}
fn default_master_reserve() -> ByteSize {
    ByteSize(limits::MASTER_RESERVE_BYTES)
}
fn default_reserve() -> ByteSize {
    ByteSize(1 << 30)
}
fn default_pushed() -> ByteSize {
    ByteSize(limits::PUSHED_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(listen: &str) -> ListenConfig {
        ListenConfig {
            listen: listen.to_owned(),
            http_listen: "127.0.0.1:0".to_owned(),
            advertise: None,
        }
    }

    #[test]
    fn what_is_out_of_range_is_told_with_its_unit() {
        let plain = MasterConfig::new("d".to_owned(), net("127.0.0.1:0"));
        assert_eq!(plain.validate(), Ok(()));
        let slow = MasterConfig { heartbeat: DurationMs(5_001), ..plain };
        let error = slow.validate().expect_err("slower than half a lease").to_string();
        assert_eq!(error, "`heartbeat` is 5001ms: from 10ms to 5s is allowed");
    }

    #[test]
    fn a_configuration_made_here_is_that_of_the_shortest_file() {
        let text = "dir: d\nnet:\n  listen: h:1\n  http_listen: h:2\n";
        let net = || ListenConfig {
            listen: "h:1".to_owned(),
            http_listen: "h:2".to_owned(),
            advertise: None,
        };
        let master: MasterConfig = serde_yaml::from_str(text).unwrap();
        assert_eq!(master, MasterConfig::new("d".to_owned(), net()));
        let masters = vec!["m:7400".to_owned()];
        let text = format!("{text}masters: [m:7400]\n");
        let chunkserver: ChunkserverConfig = serde_yaml::from_str(&text).unwrap();
        assert_eq!(chunkserver, ChunkserverConfig::new("d".to_owned(), net(), masters));
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_refused() {
        assert_eq!(net("127.0.0.1:0").validate(), Ok(()));
        assert!(matches!(net("0.0.0.0:7400").validate(), Err(ConfigError::NoAdvertise { .. })));
        assert!(matches!(net("127.0.0.1").validate(), Err(ConfigError::BadAddress { .. })));
        assert!(matches!(net(":7400").validate(), Err(ConfigError::BadAddress { .. })));
        assert!(matches!(net("h:99999").validate(), Err(ConfigError::BadAddress { .. })));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_without_a_port() {
        let long = format!("{}.example", ["a".repeat(63).as_str(); 3].join("."));
        for good in ["10.0.0.7", "fd00::7", "[fd00::7]", "gfs-master-0", "pod_1.x.svc", &long] {
            assert_eq!(host(good), Ok(good));
        }
        let longest = "a".repeat(HOST_BYTES_MAX);
        assert!(host(&longest).is_ok() && host(&format!("{longest}a")).is_err());
        for bad in ["", "10.0.0.7:7400", "[fd00::7]:7400", "a b", "a/b", "[a]", "http://a", "é"] {
            let error = host(bad).expect_err(bad).to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
        let advertise = Some("h:1".to_owned());
        let error = ListenConfig { advertise, ..net("0.0.0.0:7400") }.validate().unwrap_err();
        assert!(error.to_string().starts_with("`net.advertise`: `h:1`"), "{error}");
    }

    #[test]
    fn others_reach_a_server_at_the_host_it_advertises() {
        let local: SocketAddr = "127.0.0.1:7500".parse().unwrap();
        let reached = |advertise: Option<&str>| {
            let advertise = advertise.map(str::to_owned);
            ListenConfig { advertise, ..net("0.0.0.0:7500") }.reached(local)
        };
        assert_eq!(reached(None), "127.0.0.1:7500");
        assert_eq!(reached(Some("pod-1.example")), "pod-1.example:7500");
        assert_eq!(reached(Some("fd00::1")), "[fd00::1]:7500");
        assert_eq!(reached(Some("[fd00::1]")), "[fd00::1]:7500");
    }
}
