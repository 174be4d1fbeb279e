//! The programs the steps call, and how each comes onto a machine that lacks it.

use std::path::Path;
use std::process::Command;

use super::report::Tally;
use crate::process::{run, succeeds};

/// A program a step calls.
pub(crate) struct Tool {
    /// What proves that it is there: program and arguments.
    probe: &'static [&'static str],
    source: Source,
}

/// Where a tool comes from.
enum Source {
    /// A package of Debian.
    Debian(&'static str),
    /// A component of the Rust toolchain.
    Rustup(&'static str),
}

pub(crate) const GIT: Tool = Tool { probe: &["git", "--version"], source: Source::Debian("git") };
pub(crate) const RUSTFMT: Tool =
    Tool { probe: &["cargo", "fmt", "--version"], source: Source::Rustup("rustfmt") };
pub(crate) const CLIPPY: Tool =
    Tool { probe: &["cargo", "clippy", "--version"], source: Source::Rustup("clippy") };

/// With these two the tests of partitions make networks and cut them; they look for them by themselves.
const IP: Tool = Tool { probe: &["ip", "-Version"], source: Source::Debian("iproute2") };
const NFT: Tool = Tool { probe: &["nft", "--version"], source: Source::Debian("nftables") };

/// A Kubernetes of one's own is built by Go; an older one than it needs will do, since it fetches another.
pub(crate) const GO: Tool = Tool { probe: &["go", "version"], source: Source::Debian("golang-go") };
const RUNC: Tool = Tool { probe: &["runc", "--version"], source: Source::Debian("runc") };
const OPENSSL: Tool = Tool { probe: &["openssl", "version"], source: Source::Debian("openssl") };
const PROCPS: Tool = Tool { probe: &["sysctl", "--version"], source: Source::Debian("procps") };
/// In an image with nothing else: it must need no library.
const BUSYBOX: Tool = Tool {
    probe: &["sh", "-c", "busybox true && ! ldd \"$(command -v busybox)\""],
    source: Source::Debian("busybox-static"),
};
/// Images are built by these two.
const BUILDAH: Tool = Tool { probe: &["buildah", "--version"], source: Source::Debian("buildah") };
const MMDEBSTRAP: Tool =
    Tool { probe: &["mmdebstrap", "--version"], source: Source::Debian("mmdebstrap") };

const STRIP: Tool = Tool { probe: &["strip", "--version"], source: Source::Debian("binutils") };

/// What `cargo xtask image` needs on a base that is there.
pub(crate) const IMAGES: [&Tool; 2] = [&BUILDAH, &STRIP];
/// What it needs to make a base.
pub(crate) const BASES: [&Tool; 1] = [&MMDEBSTRAP];
/// What `cargo xtask cluster` needs, and the tests on it.
pub(crate) const KUBERNETES: [&Tool; 10] =
    [&GO, &RUNC, &IP, &NFT, &OPENSSL, &PROCPS, &BUSYBOX, &BUILDAH, &STRIP, &MMDEBSTRAP];

/// All there are.
fn tools() -> Vec<&'static Tool> {
    [&[&GIT, &RUSTFMT, &CLIPPY], &KUBERNETES[..]].concat()
}

impl Tool {
    fn here(&self) -> bool {
        let [program, arguments @ ..] = self.probe else { return false };
        succeeds(Command::new(program).args(arguments))
    }

    /// Whether this machine lets us run the remedy.
    fn installable(&self) -> bool {
        match self.source {
            Source::Debian(_) => Path::new("/etc/debian_version").exists() && is_root(),
            Source::Rustup(_) => succeeds(Command::new("rustup").arg("--version")),
        }
    }

    fn name(&self) -> &'static str {
        match self.source {
            Source::Debian(name) | Source::Rustup(name) => name,
        }
    }
}

impl Source {
    /// The commands that install these, all from a source like this, in order.
    fn remedy<'a>(&self, names: &[&'a str]) -> Vec<Vec<&'a str>> {
        let install: &[&str] = match self {
            Source::Debian(_) => &["apt-get", "install", "--yes", "--no-install-recommends"],
            Source::Rustup(_) => &["rustup", "component", "add"],
        };
        let install = [install, names].concat();
        match self {
            Source::Debian(_) => vec![vec!["apt-get", "update"], install],
            Source::Rustup(_) => vec![install],
        }
    }
}

/// Installs what is missing where that is possible, and says so; elsewhere names the commands.
pub(crate) fn install() -> Tally {
    let tools = tools();
    let mut ran = Vec::new();
    for tool in &tools {
        match (tool.here(), tool.installable()) {
            (true, _) => println!("{}: here", tool.name()),
            (false, true) => install_one(tool, &mut ran),
            (false, false) => println!("{}: missing, and cannot be installed here", tool.name()),
        }
    }
    let lacking = lacking(&tools);
    if lacking.is_empty() { Tally::passed() } else { Tally::skipped(lacking.join("; ")) }
}

/// What of these is not on this machine: a line for each place where such things come from, with what to do about it.
pub(crate) fn lacking(tools: &[&Tool]) -> Vec<String> {
    let absent: Vec<_> = tools.iter().filter(|tool| !tool.here()).copied().collect();
    let of = |kind: fn(&Source) -> bool| {
        let tools: Vec<_> = absent.iter().filter(|tool| kind(&tool.source)).copied().collect();
        how_to(&tools)
    };
    let debian = of(|source| matches!(source, Source::Debian(_)));
    debian.into_iter().chain(of(|source| matches!(source, Source::Rustup(_)))).collect()
}

/// Whether it worked shows when the tool is looked for again. A command that `ran` for another tool is not run again.
fn install_one(tool: &Tool, ran: &mut Vec<Vec<&'static str>>) {
    println!("{}: missing; installing it", tool.name());
    for line in tool.source.remedy(&[tool.name()]) {
        if ran.contains(&line) {
            continue;
        }
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).env("DEBIAN_FRONTEND", "noninteractive");
        match run(&mut command) {
            Ok(status) if status.success() => {}
            Ok(status) => println!("{}: {status}", line.join(" ")),
            Err(error) => println!("{error:#}"),
        }
        ran.push(line);
    }
}

/// Of tools from the same source; nothing where there is none.
fn how_to(tools: &[&Tool]) -> Option<String> {
    let source = &tools.first()?.source;
    let names: Vec<_> = tools.iter().map(|tool| tool.name()).collect();
    let lines: Vec<_> = source.remedy(&names).iter().map(|line| line.join(" ")).collect();
    let elsewhere = match source {
        Source::Debian(_) => " (on Debian, as root; elsewhere by your own package manager)",
        Source::Rustup(_) => "",
    };
    Some(format!("missing: {}; install with: {}{elsewhere}", names.join(", "), lines.join(" && ")))
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABSENT: Tool =
        Tool { probe: &["gfs-no-such-program"], source: Source::Debian("gfs-no-such-package") };

    #[test]
    fn a_tool_that_cannot_be_started_is_not_here() {
        assert!(!ABSENT.here());
        assert!(!Tool { probe: &[], source: Source::Debian("none") }.here());
    }

    #[test]
    fn what_is_missing_is_told_with_the_line_that_installs_it() {
        let line = how_to(&[&ABSENT, &GIT]).unwrap();
        assert!(line.starts_with("missing: gfs-no-such-package, git; "), "{line}");
        assert!(line.contains("apt-get update && apt-get install --yes"), "{line}");
        assert!(line.contains(" gfs-no-such-package git "), "{line}");
        assert!(how_to(&[&CLIPPY]).unwrap().ends_with("rustup component add clippy"));
    }

    #[test]
    fn only_what_is_absent_is_lacking_in_a_line_for_each_source() {
        assert!(lacking(&[]).is_empty());
        assert_eq!(lacking(&[&GIT, &ABSENT]), [how_to(&[&ABSENT]).unwrap()]);
        let component = Tool { probe: ABSENT.probe, source: Source::Rustup("gfs-no-such") };
        assert_eq!(lacking(&[&component, &ABSENT, &ABSENT]).len(), 2);
    }
}
