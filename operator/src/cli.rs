//! The command line of `gfs-operator`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use gfs_types::config::LogFormat;

use crate::crd::PullPolicy;

/// Keeps GFS clusters on Kubernetes as their manifests say.
#[derive(Debug, Parser)]
#[command(
    name = "gfs-operator",
    version,
    about = "Keeps GFS clusters on Kubernetes as their manifests say",
    after_help = "\
Examples:
  gfs-operator crds | kubectl apply --server-side -f -
  gfs-operator run --image registry.example/gfs:0.1.0"
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM
    Run(RunArgs),
    /// Print the definitions of the resources, as YAML
    #[command(after_help = "Example:\n  gfs-operator crds | kubectl apply --server-side -f -")]
    Crds,
}

/// `gfs-operator run`
#[derive(Debug, Args)]
#[command(after_help = "\
In a pod it finds the API server and who it is by itself; elsewhere KUBECONFIG says which cluster is meant. Of several
operators one acts, the holder of their Lease (--lease); the others stand by. GFS_LOG says what is logged, as in
info,gfs_operator=debug.

Examples:
  gfs-operator run --image registry.example/gfs:0.1.0
  gfs-operator run --image localhost/gfs:dev --image-pull-policy Never --namespace default --identity me \\
    --watch-namespaces team-a,team-b --http-listen 127.0.0.1:8080 --log-format text")]
pub struct RunArgs {
    /// The image of clusters that name none: the operator's own
    #[arg(long, env = "GFS_IMAGE", value_name = "IMAGE")]
    pub image: String,
    /// When nodes fetch that image
    #[arg(
        long,
        env = "GFS_IMAGE_PULL_POLICY",
        value_enum,
        ignore_case = true,
        default_value = "IfNotPresent",
        value_name = "POLICY"
    )]
    pub image_pull_policy: Policy,
    /// The operator's own namespace, of its Lease; the current one of the configuration when it is left out
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The Lease of which one operator of several is the holder. Operators of different --watch-namespaces in one namespace
    /// need different ones, or all but one of them wait for ever
    #[arg(
        long,
        env = "GFS_LEASE",
        default_value = "gfs-operator",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        value_name = "NAME"
    )]
    pub lease: String,
    /// Who this process is, unlike any other; the host's name when it is left out
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,
    /// Look after clusters in these namespaces only; in all of them when it is left out or empty
    #[arg(
        long,
        env = "GFS_WATCH_NAMESPACES",
        value_delimiter = ',',
        default_value = "",
        hide_default_value = true,
        value_name = "NAMESPACES"
    )]
    pub watch_namespaces: Vec<String>,
    /// Where /livez, /readyz and /metrics are answered
    #[arg(long, env = "GFS_HTTP_LISTEN", default_value = "0.0.0.0:8080", value_name = "ADDRESS")]
    pub http_listen: String,
    /// How log lines look
    #[arg(long, env = "GFS_LOG_FORMAT", value_enum, default_value = "json", value_name = "FORMAT")]
    pub log_format: Lines,
}

impl RunArgs {
    /// The namespaces to look into; none stands for all.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let named = self.watch_namespaces.iter().map(|name| name.trim().to_owned());
        named.filter(|name| !name.is_empty()).collect()
    }
}

/// When nodes fetch an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Each time a container starts
    #[value(name = "Always")]
    Always,
    /// When they have none
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    /// Never: it must be there
    #[value(name = "Never")]
    Never,
}

impl From<Policy> for PullPolicy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Always => Self::Always,
            Policy::IfNotPresent => Self::IfNotPresent,
            Policy::Never => Self::Never,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

impl From<Lines> for LogFormat {
    fn from(lines: Lines) -> Self {
        match lines {
            Lines::Json => Self::Json,
            Lines::Text => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(arguments: &[&str]) -> RunArgs {
        let all = [&["gfs-operator", "run", "--image", "i"], arguments].concat();
        match Arguments::try_parse_from(all).unwrap().command {
            Command::Run(args) => args,
            Command::Crds => unreachable!(),
        }
    }

    #[test]
    fn the_command_line_is_well_formed_and_helps() {
        Arguments::command().debug_assert();
        let mut command = Arguments::command();
        for name in ["run", "crds"] {
            let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
            assert!(help.contains("Example") && help.contains("gfs-operator"), "{help}");
        }
    }

    #[test]
    fn no_namespace_is_all_of_them() {
        assert!(run(&[]).namespaces().is_empty());
        assert!(run(&["--watch-namespaces", ""]).namespaces().is_empty());
        assert_eq!(run(&["--watch-namespaces", "a, b"]).namespaces(), ["a", "b"]);
    }

    #[test]
    fn operators_of_different_tasks_have_different_leases() {
        assert_eq!(run(&[]).lease, "gfs-operator");
        assert_eq!(run(&["--lease", "team-a-gfs-operator"]).lease, "team-a-gfs-operator");
        assert!(Arguments::try_parse_from(["g", "run", "--image", "i", "--lease", ""]).is_err());
    }

    #[test]
    fn pull_policies_are_written_as_in_manifests() {
        let policy = |text| PullPolicy::from(run(&["--image-pull-policy", text]).image_pull_policy);
        assert_eq!(policy("Never"), PullPolicy::Never);
        assert_eq!(policy("ifnotpresent"), PullPolicy::IfNotPresent);
        assert!(
            Arguments::try_parse_from(["gfs-operator", "run"]).is_err()
                || std::env::var("GFS_IMAGE").is_ok()
        );
    }
}
