//! The programs of the cluster, built from their Go modules and kept.
//!
//! The folder `tests/kubernetes/modules` has a `go.mod` and a `go.sum` for each: they pin every byte of source. What a
//! program was built from is kept beside it, and it is built again only when that changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use super::go;
use crate::process::run;

/// Programs that come from the same module graph.
struct Module {
    /// Its folder.
    name: &'static str,
    /// Where each program goes, below `bin`, and its package.
    programs: &'static [(&'static str, &'static str)],
}

const MODULES: [Module; 8] = [
    Module {
        name: "kubernetes",
        programs: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
    },
    Module { name: "etcd", programs: &[("etcd", "go.etcd.io/etcd/server/v3")] },
    Module {
        name: "containerd",
        programs: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            (
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
    },
    Module {
        name: "cni",
        programs: &[
            ("cni/bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
            ("cni/loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            ("cni/host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            ("cni/tuning", "github.com/containernetworking/plugins/plugins/meta/tuning"),
        ],
    },
    Module { name: "coredns", programs: &[("coredns", "github.com/coredns/coredns")] },
    Module {
        name: "local-path",
        programs: &[("local-path-provisioner", "github.com/rancher/local-path-provisioner")],
    },
    Module { name: "helm", programs: &[("helm", "helm.sh/helm/v4/cmd/helm")] },
    Module {
        name: "kubeconform",
        programs: &[("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")],
    },
];

impl Module {
    /// All that decides what its programs are.
    fn pins(&self, sources: &Path) -> Result<String> {
        let read = |name: &str| {
            let path = sources.join(self.name).join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let manifest = read("go.mod")?;
        let flags = linker_flags(&manifest);
        Ok(format!("{:?}\n{flags}\n{manifest}\n{}", self.programs, read("go.sum")?))
    }

    /// Whether every program is there, built from these pins.
    fn is_built(&self, bin: &Path, pins: &str) -> bool {
        let all_there = self.programs.iter().all(|(program, _)| bin.join(program).is_file());
        all_there && fs::read_to_string(self.stamp(bin)).is_ok_and(|stamp| stamp == pins)
    }

    fn stamp(&self, bin: &Path) -> PathBuf {
        bin.join(".built-from").join(self.name)
    }
}

/// Builds what is missing or old of these modules (all where none is named), and says what it is at.
pub(super) fn build(sources: &Path, bin: &Path, only: &[&str]) -> Result<()> {
    let mut old = Vec::new();
    for module in MODULES.iter().filter(|module| only.is_empty() || only.contains(&module.name)) {
        let pins = module.pins(sources)?;
        if !module.is_built(bin, &pins) {
            old.push((module, pins));
        }
    }
    if old.is_empty() {
        return Ok(());
    }
    let go = go::find()?;
    let count: usize = old.iter().map(|(module, _)| module.programs.len()).sum();
    println!(
        "{count} programs are to be built; all of the cluster take a quarter of an hour when Go has built none of them before"
    );
    let mut done = 0;
    for (module, pins) in old {
        let folder = sources.join(module.name);
        for (program, package) in module.programs {
            let started = Instant::now();
            let mut build = go.command(&folder);
            build.args(["build", "-ldflags", &linker_flags(&pins), "-o"]);
            let status = run(build.arg(bin.join(program)).arg(package))?;
            anyhow::ensure!(status.success(), "{program} does not build: see above");
            done += 1;
            println!("[{done}/{count}] {program}: {:.0} s", started.elapsed().as_secs_f64());
        }
        let stamp = module.stamp(bin);
        fs::create_dir_all(stamp.parent().context("a stamp lies in a folder")?)?;
        fs::write(&stamp, pins).with_context(|| format!("cannot write {}", stamp.display()))?;
    }
    Ok(())
}

/// Without debug information. Kubernetes does not know its own version unless told: it would call itself v0.0.0, and charts refuse it.
fn linker_flags(manifest: &str) -> String {
    let version = manifest.lines().find_map(|line| {
        line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes v")
    });
    let Some(version) = version.and_then(|rest| rest.split(' ').next()) else {
        return "-s -w".to_owned();
    };
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let set = "-X k8s.io/component-base/version";
    format!(
        "-s -w {set}.gitVersion=v{version} {set}.gitMajor={major} {set}.gitMinor={minor} {set}.gitTreeState=clean"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_is_told_its_version_and_others_nothing() {
        let flags =
            linker_flags("module x\n\nrequire (\n\tk8s.io/kubernetes v1.36.3 // indirect\n)\n");
        for part in [".gitVersion=v1.36.3", ".gitMajor=1", ".gitMinor=36"] {
            assert!(flags.contains(part) && !flags.contains("//"), "{flags}");
        }
        assert_eq!(linker_flags("require k8s.io/api v0.36.3\n"), "-s -w");
    }

    #[test]
    fn a_module_is_built_again_when_its_pins_change_or_a_program_is_gone() {
        let bin = std::env::temp_dir().join(format!("gfs-xtask-programs-{}", std::process::id()));
        let module = Module { name: "m", programs: &[("p", "example.org/p")] };
        fs::create_dir_all(bin.join(".built-from")).expect("a folder for temporary files");
        assert!(!module.is_built(&bin, "pins"));
        fs::write(bin.join("p"), "").expect("a file");
        fs::write(module.stamp(&bin), "pins").expect("a file");
        assert!(module.is_built(&bin, "pins") && !module.is_built(&bin, "others"));
        fs::remove_file(bin.join("p")).expect("it is there");
        assert!(!module.is_built(&bin, "pins"));
        fs::remove_dir_all(&bin).expect("it is there");
    }

    #[test]
    fn every_module_is_pinned_and_every_pinned_one_is_built() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubernetes/modules");
        for module in &MODULES {
            let pins = module.pins(&sources).expect("go.mod and go.sum are there");
            for (_, package) in module.programs {
                assert!(
                    pins.contains(&format!("\t{package}\n"))
                        || pins.contains(&format!("tool {package}\n")),
                    "{package}: no tool of {}",
                    module.name
                );
            }
        }
        let folders = fs::read_dir(&sources).expect("the folder is there").count();
        assert_eq!(folders, MODULES.len());
    }
}
