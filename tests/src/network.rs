//! A network of its own for each member of a test, all on one bridge, and cuts between them.
//!
//! Made of network namespaces and nftables, so it needs root. Nothing of it can be seen from outside, and all of it goes
//! when it is dropped; what a killed test left is removed by the next.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Where `ip netns` keeps the namespaces.
const NAMESPACES: &str = "/run/netns";
/// Namespaces of tests are named PREFIX, process id, count, member.
const PREFIX: &str = "gfs-test-";
/// The namespace that holds the bridge.
const HUB: &str = "hub";
/// Nobody else is on this network, so its addresses may be those of another.
const NETWORK: &str = "10.70.0";
/// What a member does not let in.
const FILTER: &str =
    "table inet cut { chain in { type filter hook input priority 0; policy accept; }; }";

/// The members, each with an address that only the others reach.
pub struct Network {
    prefix: String,
    members: Vec<String>,
}

impl Network {
    /// Why this machine cannot have one, if it cannot.
    #[must_use]
    pub fn obstacle() -> Option<String> {
        let runs = |program: &str, argument: &str| {
            let mut command = Command::new(program);
            command.arg(argument).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        for (program, argument, package) in
            [("ip", "-Version", "iproute2"), ("nft", "--version", "nftables")]
        {
            if !runs(program, argument) {
                return Some(format!(
                    "{program} is missing (on Debian: apt-get install {package})"
                ));
            }
        }
        // A container may be root and still not be allowed to.
        Self::new(&["probe"]).err().map(|error| format!("{error:#}"))
    }

    /// A network of these members.
    ///
    /// # Errors
    /// What this machine refuses.
    pub fn new(members: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        remove_what_dead_tests_left();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{}-{count}-", std::process::id());
        let members = members.iter().map(|&member| member.to_owned()).collect();
        // What was made of it goes when the rest cannot be made.
        let network = Self { prefix, members };
        network.make()?;
        Ok(network)
    }

    fn make(&self) -> Result<()> {
        let hub = self.namespace(HUB);
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for member in &self.members {
            let namespace = self.namespace(member);
            let address = format!("{}/24", self.address(member));
            ip(&["netns", "add", &namespace])?;
            let peer = ["type", "veth", "peer", "name", member, "netns", &hub];
            ip(&[&["-n", &namespace, "link", "add", "eth0"][..], &peer].concat())?;
            ip(&["-n", &hub, "link", "set", member, "master", "bridge", "up"])?;
            ip(&["-n", &namespace, "address", "add", &address, "dev", "eth0"])?;
            ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
            ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
            self.nft(member, FILTER)?;
        }
        Ok(())
    }

    /// The address of a member.
    ///
    /// # Panics
    /// When there is no such member.
    #[must_use]
    pub fn address(&self, member: &str) -> String {
        let place = self.members.iter().position(|other| other == member);
        format!("{NETWORK}.{}", place.unwrap_or_else(|| panic!("no member {member}")) + 1)
    }

    /// A command that will run as this member.
    pub fn command(&self, member: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(member)]).arg(program).stdin(Stdio::null());
        command
    }

    /// This thread, and those that it starts from now on, are this member.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn enter(&self, member: &str) -> Result<()> {
        let namespace = fs::File::open(Path::new(NAMESPACES).join(self.namespace(member)))?;
        let network = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), network)
            .with_context(|| format!("entering the network of {member}"))
    }

    /// From now on nothing that `from` sends comes through to `to`.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn cut(&self, from: &str, to: &str) -> Result<()> {
        self.nft(to, &format!("add rule inet cut in ip saddr {} drop", self.address(from)))
    }

    /// Everything comes through again.
    ///
    /// # Errors
    /// When the machine refuses.
    pub fn heal(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| self.nft(member, "flush chain inet cut in"))
    }

    fn namespace(&self, member: &str) -> String {
        format!("{}{member}", self.prefix)
    }

    fn nft(&self, member: &str, rule: &str) -> Result<()> {
        ip(&["netns", "exec", &self.namespace(member), "nft", rule])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(|name| name.starts_with(&self.prefix));
    }
}

/// Their process is gone, so nobody uses them.
fn remove_what_dead_tests_left() {
    remove(|name| {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    });
}

fn remove(which: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if which(&name)
            && let Err(error) = ip(&["netns", "delete", &name])
        {
            eprintln!("{error:#}");
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    let output = command.args(arguments).output().context("starting ip")?;
    ensure!(
        output.status.success(),
        "`ip {}` failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
