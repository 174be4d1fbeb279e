//! Replicas as the master tells of them, and as they lie on the disks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use crate::cluster::Cluster;
use crate::command::run;

/// A chunk as `gfs locate` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// 16 hexadecimal digits.
    pub handle: String,
    /// The version the master knows.
    pub version: u64,
    /// `clean`, `unclean`, `suspect` or `corrupt`, one for each replica.
    pub states: Vec<String>,
}

/// The chunks of a file.
///
/// # Panics
/// When `gfs locate` does not say what it promises to.
#[must_use]
pub fn locate(cluster: &Cluster, path: &str) -> Vec<Chunk> {
    let text = cluster.ok(&["locate", "--output", "json", path]);
    let located: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let chunk = |chunk: &serde_json::Value| Chunk {
        handle: chunk["handle"].as_str().expect("a handle").to_owned(),
        version: chunk["version"].as_u64().expect("a version"),
        states: chunk["replicas"]
            .as_array()
            .expect("replicas")
            .iter()
            .map(|replica| replica["state"].as_str().expect("a state").to_owned())
            .collect(),
    };
    located["chunks"].as_array().expect("chunks").iter().map(chunk).collect()
}

/// The chunk files of a chunkserver by their handles.
///
/// # Panics
/// When its directory cannot be read.
#[must_use]
pub fn files(cluster: &Cluster, role: &str) -> BTreeMap<String, PathBuf> {
    let dir = cluster.dir().join(role).join("chunks");
    let mut found = BTreeMap::new();
    for folder in std::fs::read_dir(&dir).expect("the folder of the chunks") {
        let Ok(files) = std::fs::read_dir(folder.expect("a folder").path()) else { continue };
        for file in files {
            let path = file.expect("a file").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if let Some(handle) = name.strip_suffix(".chunk") {
                found.insert(handle.to_owned(), path);
            }
        }
    }
    found
}

/// Waits until this holds.
///
/// # Panics
/// When it does not in time: with what it said last.
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + patience;
    loop {
        match holds() {
            Ok(()) => return,
            Err(why) if Instant::now() > deadline => panic!("{what}: not in {patience:?}: {why}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Kills a role and waits until it is gone: before, its directory is in use.
///
/// # Panics
/// When it does not go.
pub fn kill(cluster: &Cluster, role: &str) {
    let pid = Pid::from_raw(cluster.pids()[role]).expect("a process id");
    cluster.kill(role);
    eventually("its end", Duration::from_secs(20), || match test_kill_process(pid) {
        Ok(()) => Err(format!("{role} lives")),
        Err(_) => Ok(()),
    });
}

/// Waits until every chunk has all its replicas and they are equal.
///
/// # Panics
/// When they are not in time.
pub fn await_equal(cluster: &Cluster, patience: Duration) {
    eventually("fsck --replicas", patience, || {
        let output = run(&mut cluster.gfs(&["fsck", "--replicas", "/"]));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    });
}
