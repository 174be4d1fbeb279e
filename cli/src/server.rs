//! `gfs master`, `gfs chunkserver`: a configuration file becomes a running server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use gfs_types::config::{ChunkserverConfig, ConfigError, LogFormat, MasterConfig};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde::de::DeserializeOwned;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Context, Failure, Result};

/// `gfs master`, `gfs chunkserver`
#[derive(Debug, Args)]
#[command(after_help = "\
SIGTERM and SIGINT end the server in order. The file is YAML; unknown keys are refused.

Examples:
  gfs master --config master1.yaml
  gfs chunkserver --config /etc/gfs/chunkserver.yaml")]
pub(crate) struct ServerArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End, as by SIGKILL, when the process that started this one ends; PID says who that is
    #[arg(long, value_name = "PID", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "absent, without a value, with a value")]
    die_with_parent: Option<Option<i32>>,
}

/// Serves as the master until told to end.
pub(crate) fn master(args: &ServerArgs) -> Result<()> {
    let config: MasterConfig = begin(args)?;
    // One thread for network and core: between two of them every message would wake the other (docs/adr/0027).
    let runtime = Builder::new_current_thread();
    serve(runtime, config.log_format, |shutdown| gfs_master::run(config, shutdown))
}

/// Serves as a chunkserver until told to end.
pub(crate) fn chunkserver(args: &ServerArgs) -> Result<()> {
    let config: ChunkserverConfig = begin(args)?;
    let runtime = Builder::new_multi_thread();
    serve(runtime, config.log_format, |shutdown| gfs_chunkserver::run(config, shutdown))
}

/// What both kinds of configuration can do.
trait Checked: DeserializeOwned {
    fn check(&self) -> std::result::Result<(), ConfigError>;
}

impl Checked for MasterConfig {
    fn check(&self) -> std::result::Result<(), ConfigError> {
        self.validate()
    }
}

impl Checked for ChunkserverConfig {
    fn check(&self) -> std::result::Result<(), ConfigError> {
        self.validate()
    }
}

fn begin<C: Checked>(args: &ServerArgs) -> Result<C> {
    if let Some(parent) = args.die_with_parent {
        die_with_parent(parent)?;
    }
    load(&args.config)
}

fn load<C: Checked>(path: &Path) -> Result<C> {
    let text = fs::read_to_string(path).during(|| format!("cannot read {}", path.display()))?;
    parse(&text).map_err(|problem| Failure::new(format!("{}: {problem}", path.display())))
}

fn parse<C: Checked>(text: &str) -> std::result::Result<C, String> {
    let config: C = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
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
    runtime.block_on(async {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "dir: d\nnet:\n  listen: 127.0.0.1:0\n  http_listen: 127.0.0.1:0\n";

    fn refused(text: &str) -> String {
        parse::<MasterConfig>(text).unwrap_err()
    }

    #[test]
    fn a_wrong_file_is_refused_with_key_and_line() {
        assert!(parse::<MasterConfig>(GOOD).is_ok());
        let unknown = refused(&format!("{GOOD}colour: blue\n"));
        assert!(unknown.contains("colour") && unknown.contains("line 5"), "{unknown}");
        let nested = refused(&GOOD.replace("listen: 127.0.0.1:0\n  http", "lisen: x\n  http"));
        assert!(nested.contains("net") && nested.contains("lisen"), "{nested}");
        let unit = refused(&format!("{GOOD}lease: 10\n"));
        assert!(unit.contains("lease") && unit.contains("line 5"), "{unit}");
        let missing = refused("dir: d\n");
        assert!(missing.contains("net"), "{missing}");
        assert!(refused("dir: [\n").contains("line"));
        let range = refused(&format!("{GOOD}replication: 9\n"));
        assert!(range.contains("replication"), "{range}");
    }

    #[test]
    fn a_chunkserver_needs_a_master() {
        let problem = parse::<ChunkserverConfig>(&format!("{GOOD}masters: []\n")).unwrap_err();
        assert!(problem.contains("masters"), "{problem}");
        assert!(parse::<ChunkserverConfig>(&format!("{GOOD}masters: [a:7400]\n")).is_ok());
    }
}
