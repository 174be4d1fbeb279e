//! The servers' configuration files, rendered from the servers' own structs and checked by them.

use std::str::FromStr;

use crc_fast::CrcAlgorithm;
use gfs_types::config::{self, ChunkserverConfig, ConfigError, ListenConfig, MasterConfig};
use gfs_types::{ByteSize, DurationMs};
use serde::Serialize;

use super::problem::Problems;
use crate::crd::{ChunkserverSettings, LogFormat, MasterSettings};
use crate::place;

/// Stands for the pod's address, which the flag `--advertise` names when the server starts.
const ADVERTISED_LATER: &str = "pod";

/// A configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedConfig {
    pub(crate) text: String,
    /// Changes with the text, and only then.
    pub(crate) hash: String,
}

/// What the manifest says to the master outside of `spec.masters.config`.
pub(super) struct ClusterWide<'a> {
    pub(super) chunk_size: &'a str,
    pub(super) factor: i32,
}

/// `master.yaml`
pub(super) fn master(
    settings: &MasterSettings,
    cluster: &ClusterWide<'_>,
    problems: &mut Problems,
) -> RenderedConfig {
    let MasterSettings { lease, heartbeat, trash_grace, log_format } = settings;
    let mut config = plain_master();
    set(&mut config.chunk_size, Some(cluster.chunk_size), "spec.chunkSize", problems);
    set(&mut config.lease, lease.as_deref(), "spec.masters.config.lease", problems);
    set(&mut config.heartbeat, heartbeat.as_deref(), "spec.masters.config.heartbeat", problems);
    set(
        &mut config.trash_grace,
        trash_grace.as_deref(),
        "spec.masters.config.trashGrace",
        problems,
    );
    // 0 is as wrong as what does not fit, and the server says what is right.
    config.replication = u8::try_from(cluster.factor).unwrap_or(0);
    config.log_format = server_log_format(*log_format);
    all_refusals(config.clone(), problems);
    rendered(&config, "spec.masters.config", problems)
}

/// The server tells of one error at a time: what was wrong is put back as it was, and it is asked again.
fn all_refusals(mut config: MasterConfig, problems: &mut Problems) {
    let plain = plain_master();
    config.net.advertise = Some(ADVERTISED_LATER.to_owned());
    while let Err(error) = config.validate() {
        let field = match key(&error) {
            "chunk_size" => {
                config.chunk_size = plain.chunk_size;
                "spec.chunkSize"
            }
            "replication" => {
                config.replication = plain.replication;
                "spec.replication.factor"
            }
            "lease" => {
                config.lease = plain.lease;
                "spec.masters.config.lease"
            }
            "heartbeat" if config.heartbeat != plain.heartbeat => {
                config.heartbeat = plain.heartbeat;
                "spec.masters.config.heartbeat"
            }
            // The plain heartbeat is too slow for a lease as short as this.
            "heartbeat" => {
                config.lease = plain.lease;
                "spec.masters.config.heartbeat"
            }
            _ => return problems.add("spec.masters.config", error.to_string()),
        };
        problems.add(field, refusal(&error));
    }
}

/// `chunkserver.yaml`
pub(super) fn chunkserver(
    settings: &ChunkserverSettings,
    masters: String,
    volume_bytes: u64,
    problems: &mut Problems,
) -> RenderedConfig {
    let at = "spec.chunkservers.config";
    let ChunkserverSettings { reserve, push_buffer, log_format } = settings;
    let mut config = plain_chunkserver(masters);
    set(&mut config.reserve, reserve.as_deref(), &format!("{at}.reserve"), problems);
    set(&mut config.push_buffer, push_buffer.as_deref(), &format!("{at}.pushBuffer"), problems);
    config.log_format = server_log_format(*log_format);
    let mut reachable = config.clone();
    reachable.net.advertise = Some(ADVERTISED_LATER.to_owned());
    if let Err(error) = reachable.validate() {
        let field = if key(&error) == "push_buffer" { ".pushBuffer" } else { "" };
        problems.add(format!("{at}{field}"), refusal(&error));
    }
    if volume_bytes > 0 && config.reserve.0 >= volume_bytes {
        let message = format!(
            "{} is kept free on a volume of {}: no room is left for chunks; lower it or ask for larger volumes",
            config.reserve,
            ByteSize(volume_bytes)
        );
        problems.add(format!("{at}.reserve"), message);
    }
    rendered(&config, at, problems)
}

fn plain_master() -> MasterConfig {
    let net = listening(place::MASTER_PORT, place::MASTER_HTTP_PORT);
    MasterConfig::new(place::DATA_DIR.to_owned(), net)
}

fn plain_chunkserver(masters: String) -> ChunkserverConfig {
    let net = listening(place::CHUNKSERVER_PORT, place::CHUNKSERVER_HTTP_PORT);
    ChunkserverConfig::new(place::DATA_DIR.to_owned(), net, vec![masters])
}

/// What a chunkserver keeps free that is not told otherwise.
pub(crate) fn plain_reserve() -> ByteSize {
    plain_chunkserver(String::new()).reserve
}

/// The lease and the heartbeat of a master that is not told otherwise.
pub(crate) fn plain_lease_and_heartbeat() -> (DurationMs, DurationMs) {
    let plain = plain_master();
    (plain.lease, plain.heartbeat)
}

fn listening(port: u16, http_port: u16) -> ListenConfig {
    let everywhere = |port| format!("0.0.0.0:{port}");
    ListenConfig { listen: everywhere(port), http_listen: everywhere(http_port), advertise: None }
}

fn server_log_format(wanted: Option<LogFormat>) -> config::LogFormat {
    match wanted {
        // In a cluster a program reads them first.
        None | Some(LogFormat::Json) => config::LogFormat::Json,
        Some(LogFormat::Text) => config::LogFormat::Text,
    }
}

fn set<T: Copy + FromStr<Err: ToString>>(
    value: &mut T,
    wanted: Option<&str>,
    field: &str,
    problems: &mut Problems,
) {
    match wanted.map(str::parse).transpose() {
        Ok(parsed) => *value = parsed.unwrap_or(*value),
        Err(error) => problems.add(field, error.to_string()),
    }
}

/// The server's key that an error is about.
fn key(error: &ConfigError) -> &'static str {
    match error {
        ConfigError::NoAdvertise { .. } => "net.advertise",
        ConfigError::BadAddress { key, .. }
        | ConfigError::BadHost { key, .. }
        | ConfigError::OutOfRange { key, .. } => key,
    }
}

/// The error without the server's name for the key, which is not the manifest's.
fn refusal(error: &ConfigError) -> String {
    match error {
        ConfigError::OutOfRange { key: _, value, reason } => format!("is {value}: {reason}"),
        other => other.to_string(),
    }
}

fn rendered(config: &impl Serialize, at: &str, problems: &mut Problems) -> RenderedConfig {
    let text = serde_yaml::to_string(config).unwrap_or_else(|error| {
        problems.add(at, format!("cannot be written as YAML: {error}"));
        String::new()
    });
    let hash = crc_fast::checksum(CrcAlgorithm::Crc64Nvme, text.as_bytes());
    RenderedConfig { text, hash: format!("{hash:016x}") }
}
