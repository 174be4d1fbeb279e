//! `cargo xtask image`: the images of GFS, from the programs that the tests run.

mod store;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use self::store::Store;
pub(crate) use self::store::debian_release;
use crate::process::{cargo, run};
use crate::test::tools;
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
    /// Also make that of the programs that tests run in pods (`GFS_TEST_IMAGE`): gfs-tests.tar beside the other
    #[arg(long)]
    tests: bool,
}

/// An image in a file.
pub(crate) struct Image {
    /// The name it has on a node.
    pub(crate) reference: String,
    pub(crate) archive: PathBuf,
}

/// What an image is made of.
struct Recipe {
    /// Its name, without registry and version.
    name: &'static str,
    containerfile: &'static str,
    /// What else than `cargo build --profile ci --locked` is said to build the programs.
    builds: &'static [&'static [&'static str]],
    /// Where each program lies in the folder of the profile, and its name in the image.
    programs: &'static [(&'static str, &'static str)],
}

/// Each program alone, with the features its users get: the very files that the other tests run.
const GFS: Recipe = Recipe {
    name: "gfs",
    containerfile: "image/Containerfile",
    builds: &[
        &["--package", "gfs-cli", "--bin", "gfs"],
        &["--package", "gfs-operator", "--bin", "gfs-operator"],
    ],
    programs: &[("gfs", "gfs"), ("gfs-operator", "gfs-operator")],
};

/// On top of it, what tests run in pods; selected as the tests are, so that little is built for it alone.
const TESTS: Recipe = Recipe {
    name: "gfs-tests",
    containerfile: "tests/kubernetes/images/tests.Containerfile",
    builds: &[&["--workspace", "--example", "load", "--example", "store_and_read"]],
    programs: &[("examples/load", "gfs-load"), ("examples/store_and_read", "store_and_read")],
};

/// Builds the image of GFS and says what it weighs.
pub(crate) fn run_build(workspace: &Workspace, options: &Options) -> Result<bool> {
    let out = options.out.as_deref();
    let gfs = build(workspace, out, options.base.as_deref())?;
    gfs.tell()?;
    if options.tests {
        let tests = build_for_tests(workspace, &gfs)?;
        match out {
            Some(out) => tests.moved_to(&out.with_file_name("gfs-tests.tar"))?.tell()?,
            None => tests.tell()?,
        }
    }
    Ok(true)
}

/// The image of GFS.
pub(crate) fn build(
    workspace: &Workspace,
    out: Option<&Path>,
    base: Option<&str>,
) -> Result<Image> {
    let mut lacking = tools::lacking(&tools::IMAGES);
    if base.is_none() {
        lacking.extend(tools::lacking(&tools::BASES));
    }
    anyhow::ensure!(lacking.is_empty(), "{}", lacking.join("; "));
    let target = workspace.metadata()?.target_directory;
    let store = Store::in_folder(&target);
    let base = match base {
        Some(base) => base.to_owned(),
        None => store.debian_base(&workspace.root.join("image"))?,
    };
    let image = GFS.build(workspace, &store, &base)?;
    match out {
        Some(out) => image.moved_to(out),
        None => Ok(image),
    }
}

/// The image of the programs that tests run in pods, on top of the image of GFS.
pub(crate) fn build_for_tests(workspace: &Workspace, gfs: &Image) -> Result<Image> {
    let store = Store::in_folder(&workspace.metadata()?.target_directory);
    TESTS.build(workspace, &store, &gfs.reference)
}

impl Image {
    fn moved_to(self, out: &Path) -> Result<Self> {
        fs::rename(&self.archive, out)
            .or_else(|_| fs::copy(&self.archive, out).map(|_| ()))
            .with_context(|| format!("cannot write {}", out.display()))?;
        Ok(Self { archive: out.to_owned(), ..self })
    }

    fn tell(&self) -> Result<()> {
        let mib = fs::metadata(&self.archive)?.len() >> 20;
        println!("{}: {} ({mib} MiB)", self.reference, self.archive.display());
        Ok(())
    }
}

impl Recipe {
    fn build(&self, workspace: &Workspace, store: &Store, base: &str) -> Result<Image> {
        let metadata = workspace.metadata()?;
        let version = metadata.version_of("gfs-cli")?;
        for build in self.builds {
            let arguments = ["build", "--profile", "ci", "--locked"];
            done(cargo(&workspace.root, &arguments).args(*build))?;
        }
        let context = store.context(self.name)?;
        for (path, name) in self.programs {
            let from = metadata.target_directory.join("ci").join(path);
            // The same code without the tables for debuggers, which are three quarters of the file.
            let mut strip = Command::new("strip");
            done(strip.arg("--strip-debug").arg("-o").arg(context.join(name)).arg(from))?;
        }
        let reference = format!("localhost/{}:{version}", self.name);
        store.build(&reference, &workspace.root.join(self.containerfile), &context, base)?;
        let archive = store.archive(self.name, &reference)?;
        Ok(Image { reference, archive })
    }
}

/// Runs it; an error when it fails.
fn done(command: &mut Command) -> Result<()> {
    let status = run(command)?;
    let name = command.get_program().to_string_lossy();
    anyhow::ensure!(status.success(), "{name} failed ({status}): see above");
    Ok(())
}
