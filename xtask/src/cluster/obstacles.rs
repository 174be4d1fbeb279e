//! Why a machine cannot have a cluster, as precisely as it can be told before trying.

use std::path::Path;
use std::process::Command;

use crate::process::succeeds;
use crate::test::tools;

/// Each reason with what to do about it; empty where nothing stands in the way.
pub(crate) fn obstacles() -> Vec<String> {
    if std::env::consts::OS != "linux" {
        return vec!["nodes are made of Linux namespaces, and this is no Linux".to_owned()];
    }
    let mut reasons = tools::lacking(&tools::KUBERNETES);
    if !tools::is_root() {
        reasons.push("it needs root, for namespaces and cgroups".to_owned());
    } else if reasons.is_empty() {
        reasons.extend(refused());
    }
    reasons
}

/// What a kernel, or the container one is in, may refuse to root; tried in namespaces that vanish by themselves.
fn refused() -> Vec<String> {
    let tries = [
        ("mount and process namespaces", "mount -t tmpfs tmpfs /mnt"),
        ("bridges", "ip link add bridge0 type bridge"),
        ("pairs of virtual network cards", "ip link add card0 type veth peer name card1"),
        ("the tables of nftables", "nft add table inet t"),
        ("bind mounts over /proc/sys", "mount --bind /dev/null /proc/sys/kernel/panic"),
    ];
    let isolated = ["--net", "--mount", "--pid", "--fork", "sh", "-c"];
    let mut reasons: Vec<_> = tries
        .iter()
        .filter(|(_, try_it)| !succeeds(Command::new("unshare").args(isolated).arg(try_it)))
        .map(|(what, try_it)| format!("this machine refuses {what} (`{try_it}` in namespaces)"))
        .collect();
    reasons.extend(cgroups_refused());
    reasons
}

/// With version 1 of cgroups each controller has a hierarchy of its own.
fn cgroups_refused() -> Option<String> {
    let root = Path::new("/sys/fs/cgroup");
    let unified = root.join("cgroup.controllers").is_file();
    let top = if unified { root.to_owned() } else { root.join("freezer") };
    let probe = top.join(format!("gfs-testbed-probe-{}", std::process::id()));
    let made = std::fs::create_dir(&probe).and_then(|()| std::fs::remove_dir(&probe));
    made.err().map(|error| format!("no cgroup can be made in {}: {error}", top.display()))
}
