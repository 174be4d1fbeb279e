//! `gfs master`, `gfs chunkserver`: a configuration file becomes a running server.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use gfs_types::config::{
    ChunkserverConfig, ConfigError, HostError, ListenConfig, LogFormat, MasterConfig, host,
};
use gfs_types::topology::Topology;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context, Failure, Result};

/// Stands in for `--advertise`.
pub(crate) const ADVERTISE_VARIABLE: &str = "GFS_ADVERTISE";
/// Stands in for `--topology`; clients take it too.
pub(crate) const TOPOLOGY_VARIABLE: &str = gfs_client::TOPOLOGY_VARIABLE;

/// `gfs master`
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT end the server in order. The file is YAML; unknown keys are refused.

Examples:
  gfs master --config master1.yaml
  gfs master --config /etc/gfs/master.yaml --advertise 10.0.0.7")]
pub(crate) struct MasterArgs {
    #[command(flatten)]
    server: ServerArgs,
}

/// `gfs chunkserver`
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT end the server in order. The file is YAML; unknown keys are refused.

Examples:
  gfs chunkserver --config /etc/gfs/chunkserver.yaml
  gfs chunkserver --config chunkserver.yaml --advertise 10.0.0.8 --topology zone-a/node-3/disk-1")]
pub(crate) struct ChunkserverArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Where it stands, as in zone/host/disk; instead of the file's `topology`
    #[arg(long, value_name = "PATH", env = TOPOLOGY_VARIABLE)]
    topology: Option<Topology>,
}

/// What both take. What differs from one copy of a server to the next comes beside the file, which all of them share.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The host by which others reach it; instead of the file's `net.advertise`
    #[arg(long, value_name = "HOST", env = ADVERTISE_VARIABLE, value_parser = parse_host)]
    advertise: Option<String>,
    /// End, as by SIGKILL, when the process that started this one ends; PID says who that is
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "absent, without a value, with a value")]
    die_with_parent: Option<Option<i32>>,
}

fn parse_host(text: &str) -> std::result::Result<String, HostError> {
    host(text).map(str::to_owned)
}

/// Serves as the master until told to end.
pub(crate) fn master(args: &MasterArgs) -> Result<()> {
    begin(&args.server)?;
    let config = args.configuration()?;
    // One thread for network and core: between two of them every message would wake the other (docs/adr/0027).
    let runtime = Builder::new_current_thread();
    serve(runtime, config.log_format, |shutdown| gfs_master::run(config, shutdown))
}

/// Serves as a chunkserver until told to end.
pub(crate) fn chunkserver(args: &ChunkserverArgs) -> Result<()> {
    begin(&args.server)?;
    let config = args.configuration()?;
    let runtime = Builder::new_multi_thread();
    serve(runtime, config.log_format, |shutdown| gfs_chunkserver::run(config, shutdown))
}

impl MasterArgs {
    /// What the file says, and the command line instead of it.
    fn configuration(&self) -> Result<MasterConfig> {
        let mut config: MasterConfig = self.server.file()?;
        self.server.overrule(&mut config.net);
        self.server.checked(config.validate())?;
        Ok(config)
    }
}

impl ChunkserverArgs {
    /// What the file says, and the command line instead of it.
    fn configuration(&self) -> Result<ChunkserverConfig> {
        let mut config: ChunkserverConfig = self.server.file()?;
        self.server.overrule(&mut config.net);
        if let Some(topology) = &self.topology {
            config.topology = topology.clone();
        }
        self.server.checked(config.validate())?;
        Ok(config)
    }
}

impl ServerArgs {
    fn file<C: DeserializeOwned>(&self) -> Result<C> {
        let failed = || format!("cannot read {}", self.config.display());
        let text = fs::read_to_string(&self.config).during(failed)?;
        serde_yaml::from_str(&text).map_err(|error| self.wrong(error))
    }

    fn overrule(&self, net: &mut ListenConfig) {
        if let Some(host) = &self.advertise {
            net.advertise = Some(host.clone());
        }
    }

    fn checked(&self, outcome: std::result::Result<(), ConfigError>) -> Result<()> {
        outcome.map_err(|error| self.wrong(error))
    }

    fn wrong(&self, problem: impl std::fmt::Display) -> Failure {
        Failure::new(format!("{}: {problem}", self.config.display()))
    }
}

fn begin(args: &ServerArgs) -> Result<()> {
    args.die_with_parent.map_or(Ok(()), die_with_parent)
}

/// SIGKILL: what a crash of the parent leaves is what a crash of all of them leaves, at once.
fn die_with_parent(expected: Option<i32>) -> Result<()> {
    let expected = expected.and_then(Pid::from_raw).or_else(getppid);
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(std::io::Error::from)
        .during(|| "cannot ask to die with the parent")?;
    // It may have died before the line above.
    if getppid() != expected {
        return Err(Failure::new("the process that started this one is gone already"));
    }
    Ok(())
}

fn serve<Serving>(
    mut runtime: Builder,
    log_format: LogFormat,
    run: impl FnOnce(std::pin::Pin<Box<dyn Future<Output = ()> + Send>>) -> Serving,
) -> Result<()>
where
    Serving: Future<Output = anyhow::Result<()>>,
{
    gfs_telemetry::logs::init(log_format)
        .map_err(|error| Failure::new(format!("cannot begin to log: {error}")))?;
    gfs_telemetry::process::raise_open_files_limit();
    let runtime = runtime.enable_all().build().during(|| "cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let failed = || "cannot listen for signals";
        let mut interrupt = signal(SignalKind::interrupt()).during(failed)?;
        let mut terminate = signal(SignalKind::terminate()).during(failed)?;
        let shutdown = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        // The whole chain of causes: this is where it is handled.
        run(Box::pin(shutdown)).await.map_err(|error| Failure::new(format!("{error:#}")))
    });
    // Nothing is left that must end in order; a thread that waits for a silent name server would be waited for, for minutes.
    runtime.shutdown_background();
    outcome
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const GOOD: &str = "dir: d\nnet:\n  listen: 127.0.0.1:0\n  http_listen: 127.0.0.1:0\n";
    const EVERYWHERE: &str =
        "dir: d\nnet:\n  listen: 0.0.0.0:7500\n  http_listen: 0.0.0.0:7501\nmasters: [m:7400]\n";

    #[derive(Debug, Parser)]
    enum Program {
        Master(MasterArgs),
        Chunkserver(ChunkserverArgs),
    }

    fn typed(server: &str, more: &[&str]) -> std::result::Result<Program, String> {
        let line = [&["gfs", server], more].concat();
        Program::try_parse_from(line).map_err(|error| error.to_string())
    }

    fn with_file<T>(text: &str, then: impl FnOnce(&str) -> T) -> T {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.yaml");
        fs::write(&path, text).unwrap();
        then(path.to_str().unwrap())
    }

    fn master(text: &str, more: &[&str]) -> Result<MasterConfig> {
        with_file(text, |path| {
            match typed("master", &[&["--config", path], more].concat()).unwrap() {
                Program::Master(args) => args.configuration(),
                other @ Program::Chunkserver(_) => panic!("{other:?}"),
            }
        })
    }

    fn chunkserver(text: &str, more: &[&str]) -> Result<ChunkserverConfig> {
        with_file(text, |path| {
            match typed("chunkserver", &[&["--config", path], more].concat()).unwrap() {
                Program::Chunkserver(args) => args.configuration(),
                other @ Program::Master(_) => panic!("{other:?}"),
            }
        })
    }

    fn refused(text: &str) -> String {
        master(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_file_is_refused_with_key_and_line() {
        assert!(master(GOOD, &[]).is_ok());
        let unknown = refused(&format!("{GOOD}colour: blue\n"));
        assert!(unknown.contains("colour") && unknown.contains("line 5"), "{unknown}");
        let nested = refused(&GOOD.replace("listen: 127.0.0.1:0\n  http", "lisen: x\n  http"));
        assert!(nested.contains("net") && nested.contains("lisen"), "{nested}");
        let unit = refused(&format!("{GOOD}lease: 10\n"));
        assert!(unit.contains("lease") && unit.contains("line 5"), "{unit}");
        let missing = refused("dir: d\n");
        assert!(missing.contains("net") && missing.contains("server.yaml"), "{missing}");
        assert!(refused("dir: [\n").contains("line"));
        let range = refused(&format!("{GOOD}replication: 9\n"));
        assert!(range.contains("replication") && range.contains("server.yaml"), "{range}");
    }

    #[test]
    fn a_chunkserver_needs_a_master() {
        let problem = chunkserver(&format!("{GOOD}masters: []\n"), &[]).unwrap_err().to_string();
        assert!(problem.contains("masters"), "{problem}");
        assert!(chunkserver(&format!("{GOOD}masters: [a:7400]\n"), &[]).is_ok());
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let nowhere = chunkserver(EVERYWHERE, &[]).unwrap_err().to_string();
        assert!(nowhere.contains("--advertise"), "{nowhere}");
        let flags = ["--advertise", "10.0.0.8", "--topology", "a/n-1/d"];
        let config = chunkserver(EVERYWHERE, &flags).unwrap();
        assert_eq!(config.net.advertise.as_deref(), Some("10.0.0.8"));
        assert_eq!(config.topology.to_string(), "a/n-1/d");
        let both = format!("{EVERYWHERE}topology: b/n-2\n")
            .replace("  http_listen", "  advertise: pod-1\n  http_listen");
        assert_eq!(chunkserver(&both, &flags).unwrap(), config);
        let of_file = chunkserver(&both, &[]).unwrap();
        assert_eq!(of_file.net.advertise.as_deref(), Some("pod-1"));
        assert_eq!(of_file.topology.to_string(), "b/n-2");
        let config = master(&GOOD.replace("127.0.0.1:0", "'[::]:0'"), &["--advertise", "fd00::7"]);
        assert_eq!(config.unwrap().net.advertise.as_deref(), Some("fd00::7"));
    }

    #[test]
    fn a_bad_value_is_refused_with_the_name_of_its_flag() {
        let refused = |server, flag, value| {
            let error = typed(server, &["--config", "f", flag, value]).unwrap_err();
            assert!(error.contains(flag) && error.contains(value), "{error}");
        };
        for host in ["10.0.0.8:7500", "a b", ""] {
            refused("master", "--advertise", host);
            refused("chunkserver", "--advertise", host);
        }
        refused("chunkserver", "--topology", "a//b");
        let long = "n".repeat(64);
        refused("chunkserver", "--topology", &long);
        refused("chunkserver", "--topology", "1/2/3/4/5/6/7/8/9");
        assert!(typed("master", &["--config", "f", "--topology", "a"]).is_err());
    }
}
