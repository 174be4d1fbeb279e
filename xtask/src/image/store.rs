//! Where buildah keeps its layers, and the base it can make without a registry.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::done;
use crate::process::succeeds;

/// What the programs are linked with.
const BASE_PACKAGES: &str = "libc6,libgcc-s1";
/// Names are looked up in /etc/hosts too, which Kubernetes writes; tables of character sets are for nobody here.
const BASE_HOOKS: [&str; 2] =
    ["echo hosts: files dns >\"$1/etc/nsswitch.conf\"", "rm -rf \"$1\"/usr/lib/*/gconv"];

/// A store in the target folder, so that nothing is left on the machine.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn in_folder(target: &Path) -> Self {
        Self { folder: target.join("kubernetes/image") }
    }

    /// The folder with the files that an image is made of.
    pub(super) fn context(&self, name: &str) -> Result<PathBuf> {
        let context = self.folder.join(format!("{name}-files"));
        fs::create_dir_all(&context)
            .with_context(|| format!("cannot make {}", context.display()))?;
        Ok(context)
    }

    pub(super) fn build(
        &self,
        reference: &str,
        containerfile: &Path,
        context: &Path,
        base: &str,
    ) -> Result<()> {
        let mut build =
            self.buildah(&["build", "--quiet", "--isolation", "chroot", "--tag", reference]);
        build.arg("--build-arg").arg(format!("BASE={base}"));
        done(build.arg("--file").arg(containerfile).arg(context))
    }

    /// Writes an image into its file, and drops what no name leads to any more.
    pub(super) fn archive(&self, name: &str, reference: &str) -> Result<PathBuf> {
        let archive = self.folder.join(format!("{name}.tar"));
        // buildah adds to an archive that is there.
        match fs::remove_file(&archive) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let target = format!("oci-archive:{}:{reference}", archive.display());
        done(self.buildah(&["push", "--quiet", reference]).arg(target))?;
        done(&mut self.buildah(&["rmi", "--prune"]))?;
        Ok(archive)
    }

    /// The C library of this Debian, since the programs were linked with it; made once.
    pub(super) fn debian_base(&self, sources: &Path) -> Result<String> {
        let release = debian_release()?;
        let reference = format!("localhost/gfs-base:{release}");
        if succeeds(self.buildah(&["inspect", "--type", "image"]).arg(&reference)) {
            return Ok(reference);
        }
        let context = self.context("base")?;
        let mut unpack = Command::new("mmdebstrap");
        unpack.args(["--variant=extract", "--include", BASE_PACKAGES]);
        unpack.args(BASE_HOOKS.map(|hook| format!("--extract-hook={hook}")));
        done(unpack.arg(&release).arg(context.join("base.tar")))?;
        self.build(&reference, &sources.join("debian-base.Containerfile"), &context, "none")?;
        Ok(reference)
    }

    fn buildah(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.folder.join("store"));
        command.arg("--runroot").arg(self.folder.join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    }
}

/// The name of this Debian, such as `trixie`.
pub(crate) fn debian_release() -> Result<String> {
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
