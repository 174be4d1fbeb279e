//! Where things are in a pod, and which ports it has: both the servers' configuration and the objects say so.

/// The data directory, on the volume of the pod.
pub(crate) const DATA_DIR: &str = "/var/lib/gfs";
/// The folder of the configuration file.
pub(crate) const CONFIG_DIR: &str = "/etc/gfs";
/// The master's configuration file.
pub(crate) const MASTER_FILE: &str = "master.yaml";
/// The chunkserver's configuration file.
pub(crate) const CHUNKSERVER_FILE: &str = "chunkserver.yaml";

/// A master's own protocol.
pub(crate) const MASTER_PORT: u16 = 7400;
/// A master's `/livez`, `/readyz`, `/metrics`.
pub(crate) const MASTER_HTTP_PORT: u16 = 7401;
/// A chunkserver's own protocol.
pub(crate) const CHUNKSERVER_PORT: u16 = 7500;
/// A chunkserver's `/livez`, `/readyz`, `/metrics`.
pub(crate) const CHUNKSERVER_HTTP_PORT: u16 = 7501;
