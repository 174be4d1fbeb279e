//! `cargo xtask image`: the image of GFS, from the programs that the tests run.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::process::{cargo, run, succeeds};
use crate::workspace::Workspace;

/// What `cargo xtask image` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Where the archive goes [default: kubernetes/image/gfs.tar in cargo's target folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What it is built on [default: made of packages of this Debian]
    #[arg(long, value_name = "IMAGE")]
    base: Option<String>,
}

/// What the programs are linked with.
const BASE_PACKAGES: &str = "libc6,libgcc-s1";
/// Names are looked up in /etc/hosts too, which Kubernetes writes; tables of character sets are for nobody here.
const BASE_HOOKS: [&str; 2] =
    ["echo hosts: files dns >\"$1/etc/nsswitch.conf\"", "rm -rf \"$1\"/usr/lib/*/gconv"];
/// The programs in it, and the package of each.
const PROGRAMS: [(&str, &str); 2] = [("gfs-cli", "gfs"), ("gfs-operator", "gfs-operator")];

/// An image in a file.
pub(crate) struct Image {
    /// The name it has on a node.
    pub(crate) reference: String,
    pub(crate) archive: PathBuf,
}

/// Builds it and says what it weighs.
pub(crate) fn run_build(workspace: &Workspace, options: &Options) -> Result<bool> {
    let image = build(workspace, options.out.as_deref(), options.base.as_deref())?;
    let mib = fs::metadata(&image.archive)?.len() as f64 / f64::from(1 << 20);
    println!("{}: {} ({mib:.1} MiB)", image.reference, image.archive.display());
    Ok(true)
}

/// Builds the programs and the image.
pub(crate) fn build(
    workspace: &Workspace,
    out: Option<&Path>,
    base: Option<&str>,
) -> Result<Image> {
    let metadata = workspace.metadata()?;
    let folder = metadata.target_directory.join("kubernetes/image");
    let version = metadata.version_of("gfs-cli")?;
    let image = Image {
        reference: format!("localhost/gfs:{version}"),
        archive: out.map_or_else(|| folder.join("gfs.tar"), Path::to_owned),
    };
    let context = folder.join("context");
    programs(workspace, &metadata.target_directory, &context)?;
    let (store, sources) = (Store { folder }, workspace.root.join("image"));
    let base = match base {
        Some(base) => base.to_owned(),
        None => store.debian_base(&sources)?,
    };
    let mut build = store.buildah(&["build", "--isolation", "chroot", "--tag", &image.reference]);
    build
        .arg("--build-arg")
        .arg(format!("BASE={base}"))
        .arg("--file")
        .arg(sources.join("Containerfile"));
    done(build.arg(&context))?;
    store.write_archive(&image)?;
    Ok(image)
}

/// Builds the programs, each alone with the features its users get, and puts them together.
fn programs(workspace: &Workspace, target: &Path, context: &Path) -> Result<()> {
    fs::create_dir_all(context).with_context(|| format!("cannot make {}", context.display()))?;
    for (package, program) in PROGRAMS {
        let arguments = ["build", "--profile", "ci", "--locked", "--package", package];
        done(cargo(&workspace.root, &arguments).args(["--bin", program]))?;
        let (from, to) = (target.join("ci").join(program), context.join(program));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(())
}

/// Where buildah keeps layers: in the target folder, so that nothing is left on the machine.
struct Store {
    folder: PathBuf,
}

impl Store {
    fn buildah(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.folder.join("store"));
        command.arg("--runroot").arg(self.folder.join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    }
}

impl Store {
    /// The C library of this Debian, since the programs were linked with it; made once.
    fn debian_base(&self, sources: &Path) -> Result<String> {
        let release = debian_release()?;
        let reference = format!("localhost/gfs-base:{release}");
        if succeeds(self.buildah(&["inspect", "--type", "image"]).arg(&reference)) {
            return Ok(reference);
        }
        let context = self.folder.join("base");
        fs::create_dir_all(&context)
            .with_context(|| format!("cannot make {}", context.display()))?;
        let mut unpack = Command::new("mmdebstrap");
        unpack.args(["--variant=extract", "--include", BASE_PACKAGES]);
        unpack.args(BASE_HOOKS.map(|hook| format!("--extract-hook={hook}")));
        done(unpack.arg(release).arg(context.join("base.tar")))?;
        let mut build = self.buildah(&["build", "--isolation", "chroot", "--tag", &reference]);
        build.arg("--file").arg(sources.join("debian-base.Containerfile"));
        done(build.arg(&context))?;
        Ok(reference)
    }

    /// Writes the image into its file, and drops what no name leads to any more.
    fn write_archive(&self, image: &Image) -> Result<()> {
        // buildah adds to an archive that is there.
        match fs::remove_file(&image.archive) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let target = format!("oci-archive:{}:{}", image.archive.display(), image.reference);
        done(self.buildah(&["push", "--quiet", &image.reference]).arg(target))?;
        done(&mut self.buildah(&["rmi", "--prune"]))
    }
}

/// The name of this Debian, such as `trixie`.
fn debian_release() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = release_name(&text);
    release.context("no base can be made where there is no Debian: name one with --base")
}

fn release_name(os_release: &str) -> Option<String> {
    let value = |key: &str| {
        let mut lines = os_release.lines();
        lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME").map(str::to_owned))?
}

/// Runs it; an error when it fails.
fn done(command: &mut Command) -> Result<()> {
    let status = run(command)?;
    let name = command.get_program().to_string_lossy();
    anyhow::ensure!(status.success(), "{name} failed ({status}): see above");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_debian_has_a_name() {
        let debian = "PRETTY_NAME=\"Debian\"\nID=debian\nVERSION_CODENAME=trixie\n";
        assert_eq!(release_name(debian).as_deref(), Some("trixie"));
        assert_eq!(release_name("ID=fedora\nVERSION_CODENAME=x\n"), None);
        assert_eq!(release_name(""), None);
    }
}
