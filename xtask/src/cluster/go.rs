//! A Go that is new enough for the programs of the cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{output, run};

/// The oldest that is good as it is, 1.X.Y, and what is fetched where the machine's own is older.
const NEEDED: (u32, u32) = (26, 6);
/// From this one on, Go fetches another by itself.
const FETCHES: (u32, u32) = (21, 0);

/// The command `go` in `folder`: the machine's own, or the one it fetched.
///
/// Another Go is a module like any other: it comes from the module proxy (`GOPROXY`), and the checksum database
/// (`GOSUMDB`) vouches for it, so nothing is taken on trust that the programs themselves are not taken on.
pub(super) fn find() -> Result<Go> {
    let told = output(Command::new("go").arg("version").env("GOTOOLCHAIN", "local"))?;
    let here = version(&told)?;
    if here >= NEEDED {
        return Ok(Go { program: "go".into(), toolchain: "local".to_owned() });
    }
    let (minor, patch) = NEEDED;
    let wanted = format!("go1.{minor}.{patch}");
    println!("{}: too old; it is to fetch {wanted}", told.trim());
    if here >= FETCHES {
        return Ok(Go { program: "go".into(), toolchain: wanted });
    }
    Ok(Go { program: fetch(&wanted)?, toolchain: "local".to_owned() })
}

/// A way to call Go.
pub(super) struct Go {
    program: PathBuf,
    toolchain: String,
}

impl Go {
    /// A command that depends on nothing but the module in `folder`.
    pub(super) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(folder).env("GOTOOLCHAIN", &self.toolchain).env("CGO_ENABLED", "0");
        command.env("GOFLAGS", "-mod=readonly -buildvcs=false -trimpath").env("GOWORK", "off");
        command
    }
}

impl Go {
    /// The sources of a module that the one in `folder` requires.
    pub(super) fn sources(&self, folder: &Path, module: &str) -> Result<PathBuf> {
        downloaded(self.command(folder).args(["mod", "download", "-json", module]))
    }
}

/// Where `go mod download -json` put the module.
fn downloaded(download: &mut Command) -> Result<PathBuf> {
    let found: Downloaded = serde_json::from_str(&output(download)?)
        .context("go mod download: not the JSON that was expected")?;
    Ok(found.folder)
}

/// X and Y of the 1.X.Y that `go version` prints; what is not released counts as too old.
fn version(told: &str) -> Result<(u32, u32)> {
    let text = told.split_once(" go1.").map(|(_, rest)| rest.split(' ').next().unwrap_or(rest));
    let text = text.with_context(|| format!("go version printed {told:?}: no Go 1"))?;
    let (minor, patch) = text.trim_end().split_once('.').unwrap_or((text, "0"));
    Ok((minor.parse().unwrap_or(0), patch.parse().unwrap_or(0)))
}

/// The part that is used of what `go mod download -json` prints.
#[derive(Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    folder: PathBuf,
}

/// What Go does by itself from 1.21 on, by one that does not know it yet.
fn fetch(wanted: &str) -> Result<PathBuf> {
    let machine = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    let module = format!("golang.org/toolchain@v0.0.1-{wanted}.linux-{machine}");
    let mut download = Command::new("go");
    download.args(["mod", "download", "-json", &module]).current_dir(std::env::temp_dir());
    let folder = downloaded(&mut download)?;
    // A module has no executable files, so whoever fetched one as a program makes them so.
    let mut allow = Command::new("chmod");
    allow.args(["-R", "a+x"]).arg(folder.join("bin"));
    let status = run(allow.arg(folder.join("pkg/tool")))?;
    anyhow::ensure!(status.success(), "chmod of {} failed: {status}", folder.display());
    Ok(folder.join("bin/go"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_in_each_of_its_forms() {
        let told = |told: &str| version(&format!("go version go{told} linux/amd64\n")).ok();
        assert_eq!(told("1.19.8"), Some((19, 8)));
        assert_eq!(told("1.26"), Some((26, 0)));
        assert_eq!(told("1.27rc1"), Some((0, 0)));
        assert!(version("no such command").is_err());
    }

    #[test]
    fn no_module_asks_for_a_newer_one() {
        let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubernetes/modules");
        for module in std::fs::read_dir(modules).expect("the folder is there") {
            let manifest = module.expect("a folder").path().join("go.mod");
            let text = std::fs::read_to_string(manifest).expect("every module has one");
            let line = text.lines().find(|line| line.starts_with("go ")).expect("a go line");
            let asked = version(&format!("go version {}", line.replace("go ", " go"))).expect(line);
            assert!(asked <= NEEDED, "{line}");
        }
    }
}
