//! `cargo xtask cluster`: a real Kubernetes of some nodes on this machine, made for the tests.
//!
//! What starts and ends it are the scripts of `tests/kubernetes`, which says more; here is what they need: the programs,
//! two images, and the reasons why a machine cannot have it.

mod go;
mod obstacles;
mod programs;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

pub(crate) use self::obstacles::obstacles;
use crate::process::run;
use crate::workspace::Workspace;

/// What `cargo xtask cluster` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start a cluster; builds its programs first, which takes a quarter of an hour once
    #[command(
        after_help = "Examples:\n  cargo xtask cluster up\n  cargo xtask cluster up --nodes 1\n\n\
        The cluster that this checkout has had before is ended. It needs root, Linux, and some 1.2 GB of memory for three nodes."
    )]
    Up {
        /// How many nodes; node N has the label topology.kubernetes.io/zone=zoneN
        #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
        nodes: u8,
    },
    /// End the cluster, whatever state it is in, and leave nothing of it but its logs
    #[command(after_help = "Example:\n  cargo xtask cluster down")]
    Down,
    /// Print what a shell needs to use the cluster
    #[command(after_help = "Example:\n  eval \"$(cargo xtask cluster env)\" && kubectl get nodes")]
    Env,
    /// Cut a node from the network and kill all of it at one moment
    #[command(
        after_help = "Example:\n  cargo xtask cluster power-off node2   # NotReady after some 12 s"
    )]
    PowerOff {
        /// Its name, such as node2
        #[arg(value_parser = node_number)]
        node: u8,
    },
    /// Boot a node that is off, with the disk it had
    #[command(after_help = "Example:\n  cargo xtask cluster power-on node2")]
    PowerOn {
        /// Its name, such as node2
        #[arg(value_parser = node_number)]
        node: u8,
    },
    /// Kill the API server; nodes and pods go on
    #[command(
        after_help = "Example:\n  cargo xtask cluster stop-api && sleep 60 && cargo xtask cluster start-api"
    )]
    StopApi,
    /// Start the API server again and wait until it is ready
    #[command(after_help = "Example:\n  cargo xtask cluster start-api")]
    StartApi,
    /// Put images onto all nodes that are on; no registry is needed
    #[command(
        after_help = "Example:\n  cargo xtask image --out gfs.tar && cargo xtask cluster load gfs.tar"
    )]
    Load {
        /// Archives of images, as `cargo xtask image` writes them
        #[arg(required = true, value_name = "IMAGE.tar")]
        images: Vec<PathBuf>,
    },
}

/// Carries out one of the commands.
pub(crate) fn run_action(workspace: &Workspace, options: &Options) -> Result<bool> {
    let testbed = Testbed::of(workspace)?;
    match &options.action {
        Action::Up { nodes } => testbed.up(*nodes)?,
        Action::Down => testbed.down()?,
        Action::Env => print!("{}", testbed.environment()?.for_shell()),
        Action::PowerOff { node } => testbed.script("power-off.sh", &[&node.to_string()])?,
        Action::PowerOn { node } => testbed.script("power-on.sh", &[&node.to_string()])?,
        Action::StopApi => testbed.script("stop-api.sh", &[])?,
        Action::StartApi => testbed.script("start-api.sh", &[])?,
        Action::Load { images } => testbed.load(images.iter().map(PathBuf::as_path))?,
    }
    Ok(true)
}

/// The cluster of this checkout, whether it runs or not.
pub(crate) struct Testbed {
    /// The folder `tests/kubernetes`.
    sources: PathBuf,
    /// The folder `kubernetes` of cargo's target folder.
    folder: PathBuf,
}

/// What a user of the cluster has in the environment.
pub(crate) struct Environment {
    /// The folder of the cluster's state.
    state: PathBuf,
    programs: PathBuf,
}

/// Programs and sources by which charts are judged.
pub(crate) struct Judges {
    pub(crate) helm: PathBuf,
    pub(crate) kubeconform: PathBuf,
    /// What the API of Kubernetes takes.
    pub(crate) openapi: PathBuf,
    /// For what is rendered, and for schemas.
    pub(crate) folder: PathBuf,
}

impl Testbed {
    pub(crate) fn of(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.metadata()?.target_directory.join("kubernetes");
        Ok(Self { sources: workspace.root.join("tests/kubernetes"), folder })
    }

    fn programs(&self) -> PathBuf {
        self.folder.join("bin")
    }

    fn state(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// A new cluster, with names and volumes; all nodes are ready when it returns.
    pub(crate) fn up(&self, nodes: u8) -> Result<()> {
        let obstacles = obstacles();
        anyhow::ensure!(obstacles.is_empty(), "no cluster here: {}", obstacles.join("; "));
        programs::build(&self.sources.join("modules"), &self.programs(), &[])?;
        let images = self.own_images()?;
        self.down()?;
        let started = self.start(nodes, &images);
        if started.is_err() {
            // Its logs stay, and say why.
            self.down()?;
        }
        started
    }

    /// What judges charts: it needs no cluster, only programs and sources that a cluster is made of.
    pub(crate) fn judges(&self) -> Result<Judges> {
        let modules = self.sources.join("modules");
        programs::build(&modules, &self.programs(), &["helm", "kubeconform"])?;
        let kubernetes = go::find()?.sources(&modules.join("kubernetes"), "k8s.io/kubernetes")?;
        Ok(Judges {
            helm: self.programs().join("helm"),
            kubeconform: self.programs().join("kubeconform"),
            openapi: kubernetes.join("api/openapi-spec/v3"),
            folder: self.folder.join("charts"),
        })
    }

    fn start(&self, nodes: u8, images: &[PathBuf]) -> Result<()> {
        self.script("control-plane.sh", &[])?;
        for node in 1..=nodes {
            self.script("power-on.sh", &[&node.to_string()])?;
        }
        self.load(images.iter().map(PathBuf::as_path))?;
        self.script("addons.sh", &[])
    }

    /// The images that the cluster itself needs, made when its programs were.
    fn own_images(&self) -> Result<Vec<PathBuf>> {
        let folder = self.folder.join("images");
        let images = ["busybox.tar", "coredns.tar"].map(|name| folder.join(name));
        let made = |path: &Path| path.metadata().and_then(|found| found.modified()).ok();
        let program = made(&self.programs().join("coredns"));
        if images.iter().any(|image| made(image) < program) {
            self.script("images.sh", &[&folder.to_string_lossy()])?;
        }
        Ok(images.to_vec())
    }

    pub(crate) fn down(&self) -> Result<()> {
        self.script("down.sh", &[])
    }

    /// Puts archives of images onto all nodes that are on.
    pub(crate) fn load<'a>(&self, images: impl Iterator<Item = &'a Path>) -> Result<()> {
        let mut found = Vec::new();
        for image in images {
            let path = image.canonicalize();
            let path = path.with_context(|| format!("there is no image {}", image.display()))?;
            found.push(path.to_string_lossy().into_owned());
        }
        self.script("load.sh", &found.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What its users need; an error when it is not up.
    pub(crate) fn environment(&self) -> Result<Environment> {
        let environment = Environment { state: self.state(), programs: self.programs() };
        anyhow::ensure!(
            environment.kubeconfig().is_file(),
            "no cluster is up: start one with cargo xtask cluster up"
        );
        Ok(environment)
    }

    /// Whoever holds this may die in any way: the cluster is ended.
    pub(crate) fn ended_with_us(&self) -> Result<Guard> {
        let mut command = Command::new("setsid");
        // Ctrl-C reaches neither: they are of another session. The end of the pipe reaches them whatever ends us.
        command.args(["--wait", "sh", "-c", "cat; exec \"$0\""]).arg(self.sources.join("down.sh"));
        self.state_for(&mut command).stdin(Stdio::piped());
        Ok(Guard(command.spawn().context("cannot start setsid")?))
    }

    fn script(&self, name: &str, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(self.sources.join(name));
        let status = run(self.state_for(&mut command).args(arguments).stdin(Stdio::null()))?;
        anyhow::ensure!(status.success(), "{name} failed ({status}): see above");
        Ok(())
    }

    fn state_for<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("BIN", self.programs()).env("RUN", self.state())
    }
}

impl Environment {
    /// Sets it for a command.
    pub(crate) fn set(&self, command: &mut Command) {
        let mut path = self.programs.clone().into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command.env("KUBECONFIG", self.kubeconfig()).env("PATH", path);
        command.env("GFS_TESTBED", self.buttons());
        let others = std::env::var("NO_PROXY").map(|others| format!(",{others}"));
        command.env("NO_PROXY", format!("{NO_PROXY}{}", others.unwrap_or_default()));
    }

    fn for_shell(&self) -> String {
        let (kubeconfig, buttons) = (self.kubeconfig(), self.buttons());
        format!(
            "export KUBECONFIG='{}'\nexport PATH='{}':\"$PATH\"\n\
             export GFS_TESTBED='{}'\nexport NO_PROXY='{NO_PROXY}'\"${{NO_PROXY:+,$NO_PROXY}}\"\n",
            kubeconfig.display(),
            self.programs.display(),
            buttons.display()
        )
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.conf")
    }

    /// The program by which tests turn nodes and the API server off and on.
    fn buttons(&self) -> PathBuf {
        self.state.join("testbed")
    }
}

/// The addresses of clusters (`common.sh`): no proxy knows a way to them.
const NO_PROXY: &str = "localhost,127.0.0.0/8,198.18.0.0/15";

/// Ends the cluster when it is dropped, or when this process dies.
pub(crate) struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        match self.0.wait() {
            Ok(status) if status.success() => {}
            other => eprintln!("the cluster did not end ({other:?}): cargo xtask cluster down"),
        }
    }
}

fn node_number(name: &str) -> Result<u8, String> {
    let number = name.strip_prefix("node").unwrap_or(name).parse().ok();
    number
        .filter(|number| (1..=9).contains(number))
        .ok_or_else(|| "nodes are named node1 to node9".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn every_command_shows_an_example_in_its_help() {
        let mut command = Arguments::command();
        command.build();
        for action in command.get_subcommands_mut().filter(|action| action.get_name() != "help") {
            let help = action.render_help().to_string();
            assert!(help.contains("cargo xtask cluster"), "no example in\n{help}");
        }
    }

    #[test]
    fn a_node_goes_by_name_or_number() {
        assert_eq!((node_number("node2"), node_number("9")), (Ok(2), Ok(9)));
        for name in ["node0", "node10", "zone1", ""] {
            assert!(node_number(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_shell_gets_what_a_command_gets() {
        let environment = Environment { state: "/a b".into(), programs: "/p".into() };
        let mut command = Command::new("true");
        environment.set(&mut command);
        let text = environment.for_shell();
        for (name, _) in command.get_envs() {
            assert!(text.contains(&format!("export {}=", name.to_string_lossy())), "{text}");
        }
        assert!(text.contains("KUBECONFIG='/a b/admin.conf'"), "{text}");
    }
}
