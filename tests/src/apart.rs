//! A cluster whose servers are each on a network of their own, so that any two can be cut off from one another.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use gfs_client::{Client, Options};
use gfs_types::ByteSize;
use gfs_types::config::{ChunkserverConfig, ListenConfig, MasterConfig};
use gfs_types::ids::ClusterUid;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::cluster::{keep_if_asked, read_logs};
use crate::command::gfs_binary;
use crate::network::Network;

const MASTER: &str = "master1";
const CHUNKSERVERS: [&str; 3] = ["cs1", "cs2", "cs3"];
const CLIENT: &str = "client";
/// How long until files can be stored.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everybody who can be cut off from another.
pub const MEMBERS: [&str; 5] = [MASTER, CHUNKSERVERS[0], CHUNKSERVERS[1], CHUNKSERVERS[2], CLIENT];

/// A running cluster. Dropping it ends its processes and removes its networks.
pub struct ClusterApart {
    dir: Option<TempDir>,
    servers: BTreeMap<&'static str, Child>,
    /// To cut and to heal.
    pub network: Network,
    /// What `GFS_MASTERS` must be; only the member `client` gets there.
    pub masters: String,
}

impl ClusterApart {
    /// A fresh cluster with chunks of 1 MiB. The thread that calls becomes the member `client`, and the servers end when it
    /// does.
    ///
    /// # Errors
    /// What the machine refuses.
    pub fn start() -> Result<Self> {
        let network = Network::new(&MEMBERS)?;
        let masters = format!("{}:7400", network.address(MASTER));
        let dir = tempfile::Builder::new().prefix("gfs-test-").tempdir()?;
        fs::create_dir(dir.path().join("logs"))?;
        network.enter(CLIENT)?;
        let mut cluster = Self { dir: Some(dir), servers: BTreeMap::new(), network, masters };
        cluster.spawn(MASTER, "master", &serde_yaml::to_string(&cluster.master_config()?)?)?;
        for role in CHUNKSERVERS {
            let config = serde_yaml::to_string(&cluster.chunkserver_config(role)?)?;
            cluster.spawn(role, "chunkserver", &config)?;
        }
        Ok(cluster)
    }

    /// Returns when files can be stored.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn ready(&self) -> Result<()> {
        let options = Options { timeout: PATIENCE, ..Options::new(&self.masters)? };
        let client = Client::connect_with(options).await?;
        let begun = Instant::now();
        while client.status().await?.chunkservers.iter().filter(|server| server.alive).count() < 3 {
            ensure!(begun.elapsed() < PATIENCE, "chunkservers are not in touch:\n{}", self.logs());
            sleep(Duration::from_millis(20)).await;
        }
        client.close().await;
        Ok(())
    }

    /// All log files, for the message of a failed test.
    #[must_use]
    pub fn logs(&self) -> String {
        read_logs(&self.path())
    }

    fn path(&self) -> PathBuf {
        self.dir.as_ref().map(|dir| dir.path().to_owned()).unwrap_or_default()
    }

    fn listen(&self, role: &str, port: u16) -> ListenConfig {
        let host = self.network.address(role);
        ListenConfig {
            listen: format!("{host}:{port}"),
            http_listen: format!("{host}:{}", port + 1),
            advertise: None,
        }
    }

    fn master_config(&self) -> Result<MasterConfig> {
        let config = MasterConfig {
            format: Some(ClusterUid(u128::from(std::process::id()))),
            chunk_size: ByteSize(1 << 20),
            ..serde_yaml::from_str("{dir: x, net: {listen: 'x:1', http_listen: 'x:2'}}")?
        };
        Ok(MasterConfig { dir: self.data(MASTER), net: self.listen(MASTER, 7400), ..config })
    }

    fn chunkserver_config(&self, role: &str) -> Result<ChunkserverConfig> {
        let text = "{dir: x, net: {listen: 'x:1', http_listen: 'x:2'}, masters: []}";
        Ok(ChunkserverConfig {
            dir: self.data(role),
            net: self.listen(role, 7500),
            masters: vec![self.masters.clone()],
            topology: format!("local/{role}/d1").parse()?,
            reserve: ByteSize(64 << 20),
            ..serde_yaml::from_str(text)?
        })
    }

    fn data(&self, role: &str) -> String {
        self.path().join(role).to_string_lossy().into_owned()
    }

    fn spawn(&mut self, role: &'static str, command: &str, config: &str) -> Result<()> {
        let path = self.path().join(format!("{role}.yaml"));
        fs::write(&path, config)?;
        let log = File::create(self.path().join("logs").join(format!("{role}.log")))?;
        let child = self
            .network
            .command(role, Path::new(&gfs_binary()))
            .arg(command)
            .arg("--config")
            .arg(path)
            .arg("--die-with-parent")
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {role}"))?;
        self.servers.insert(role, child);
        Ok(())
    }
}

impl Drop for ClusterApart {
    fn drop(&mut self) {
        for server in self.servers.values_mut() {
            let _ = server.kill();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        keep_if_asked(&mut self.dir);
    }
}
