//! Crates depend on one another in one direction only, and the cores on nothing that does I/O.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::Finding;
use crate::workspace::{Dependency, Metadata, Package, Workspace};

/// Which crates of the workspace each may depend on (ARCHITECTURE.md, "Dependencies point one way").
const ALLOWED: [(&str, &[&str]); 17] = [
    // What judges must not rest on what is judged.
    (JUDGE, &[]),
    ("gfs-types", &[]),
    ("gfs-protocol", &["gfs-types"]),
    ("gfs-telemetry", &["gfs-types"]),
    ("gfs-durable", &["gfs-types"]),
    ("gfs-membership", &["gfs-types", "gfs-durable"]),
    ("gfs-master-core", &["gfs-types"]),
    ("gfs-chunkserver-core", &["gfs-types"]),
    (
        "gfs-master",
        &[
            "gfs-types",
            "gfs-master-core",
            "gfs-protocol",
            "gfs-durable",
            "gfs-membership",
            "gfs-telemetry",
        ],
    ),
    (
        "gfs-chunkserver",
        &[
            "gfs-types",
            "gfs-chunkserver-core",
            "gfs-protocol",
            "gfs-durable",
            "gfs-membership",
            "gfs-telemetry",
        ],
    ),
    ("gfs-client", &["gfs-types", "gfs-protocol"]),
    (
        "gfs-cli",
        &[
            "gfs-types",
            "gfs-protocol",
            "gfs-durable",
            "gfs-membership",
            "gfs-telemetry",
            "gfs-client",
            "gfs-master",
            "gfs-chunkserver",
        ],
    ),
    ("gfs-operator", &["gfs-types", "gfs-protocol", "gfs-telemetry"]),
    (
        "gfs-tests",
        &[
            "gfs-history",
            "gfs-types",
            "gfs-protocol",
            "gfs-durable",
            "gfs-membership",
            "gfs-telemetry",
            "gfs-client",
            "gfs-master-core",
            "gfs-chunkserver-core",
            "gfs-master",
            "gfs-chunkserver",
        ],
    ),
    (
        "gfs-sim",
        &[
            "gfs-history",
            "gfs-types",
            "gfs-protocol",
            "gfs-durable",
            "gfs-membership",
            "gfs-client",
            "gfs-master-core",
            "gfs-chunkserver-core",
            "gfs-master",
            "gfs-chunkserver",
        ],
    ),
    // What is measured against must not rest on what is measured.
    ("gfs-yardsticks", &[]),
    ("xtask", &[]),
];

/// The one that the tests of all others may use.
const JUDGE: &str = "gfs-history";

/// The crates from outside that a core may name itself.
const CORE_MAY_USE: [&str; 2] = ["thiserror", "crc-fast"];

/// Crates that do I/O, run tasks or draw lots: no core may reach one, however indirectly.
const IMPURE: [&str; 8] =
    ["tokio", "mio", "hyper", "tonic", "socket2", "rustix", "getrandom", "rand"];

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let metadata = workspace.metadata()?;
    let members: Vec<_> = metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
        .collect();
    let names: BTreeSet<_> = members.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in &members {
        findings.extend(edges(package, &names));
        if is_core(&package.name) {
            findings.extend(purity(package, &metadata));
        }
    }
    Ok(findings)
}

fn is_core(name: &str) -> bool {
    name.ends_with("-core")
}

fn finding(message: String) -> Finding {
    Finding::whole("Cargo.toml", message)
}

/// Edges inside the workspace, those of tests included.
fn edges(package: &Package, members: &BTreeSet<&str>) -> Vec<Finding> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package.name) else {
        let message =
            format!("{} has no place yet: decide it in xtask, tidy/dependencies.rs", package.name);
        return vec![finding(message)];
    };
    let tests_judge = |dependency: &&Dependency| {
        dependency.name == JUDGE && dependency.kind.as_deref() == Some("dev")
    };
    let checked = package.dependencies.iter().filter(|dependency| !tests_judge(dependency));
    let inside = checked.map(|dependency| dependency.name.as_str());
    let wrong = inside.filter(|name| members.contains(name) && !allowed.contains(name));
    wrong.map(|name| finding(format!("{} must not depend on {name}", package.name))).collect()
}

/// A core names few crates from outside and reaches none that is impure.
fn purity(core: &Package, metadata: &Metadata) -> Vec<Finding> {
    let direct = core.dependencies.iter().filter(|dependency| dependency.kind.is_none());
    let foreign = direct
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !name.starts_with("gfs-") && !CORE_MAY_USE.contains(name));
    let named = foreign
        .map(|name| format!("{} must not use {name}: a core decides, it does not act", core.name));
    let reached = reachable(&core.id, metadata);
    let impure = reached.iter().filter(|name| IMPURE.contains(&name.as_str()));
    let impure =
        impure.map(|name| format!("{} reaches {name} through its dependencies", core.name));
    named.chain(impure).map(finding).collect()
}

/// The names of all packages below one, by ordinary dependencies.
fn reachable(from: &str, metadata: &Metadata) -> BTreeSet<String> {
    let nodes: BTreeMap<_, _> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop().and_then(|id| nodes.get(id)) {
        let ordinary =
            node.deps.iter().filter(|edge| edge.dep_kinds.iter().any(|of| of.kind.is_none()));
        open.extend(ordinary.map(|edge| edge.pkg.as_str()).filter(|id| seen.insert(*id)));
    }
    let named = metadata.packages.iter().filter(|package| seen.contains(package.id.as_str()));
    named.map(|package| package.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages `gfs-x-core` (an edge of tests to `proptest`) → `helper` → `tokio`.
    fn metadata() -> Metadata {
        let text = r#"{
            "packages": [
                {"id": "core", "name": "gfs-x-core", "dependencies": [
                    {"name": "gfs-types", "kind": null}, {"name": "helper", "kind": null},
                    {"name": "proptest", "kind": "dev"}]},
                {"id": "helper", "name": "helper", "dependencies": [{"name": "tokio", "kind": null}]},
                {"id": "tokio", "name": "tokio", "dependencies": []},
                {"id": "proptest", "name": "rand", "dependencies": []}
            ],
            "workspace_members": ["core"],
            "target_directory": "target",
            "resolve": {"nodes": [
                {"id": "core", "deps": [
                    {"pkg": "helper", "dep_kinds": [{"kind": null}]},
                    {"pkg": "proptest", "dep_kinds": [{"kind": "dev"}]}]},
                {"id": "helper", "deps": [{"pkg": "tokio", "dep_kinds": [{"kind": null}]}]},
                {"id": "tokio", "deps": []},
                {"id": "proptest", "deps": []}
            ]}
        }"#;
        serde_json::from_str(text).expect("the sample is well formed")
    }

    fn package(name: &str, dependencies: &[&str]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|name| Dependency { name: (*name).to_owned(), kind: None })
            .collect();
        Package { id: name.to_owned(), name: name.to_owned(), dependencies, ..Package::default() }
    }

    #[test]
    fn an_edge_against_the_direction_is_found() {
        let members = BTreeSet::from(["gfs-master", "gfs-chunkserver", "gfs-types"]);
        assert!(edges(&package("gfs-master", &["gfs-types", "serde"]), &members).is_empty());
        let findings = edges(&package("gfs-master", &["gfs-chunkserver"]), &members);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].message.contains("gfs-master must not depend on gfs-chunkserver"));
    }

    #[test]
    fn the_judge_is_for_tests() {
        let members = BTreeSet::from(["gfs-master", JUDGE]);
        let mut master = package("gfs-master", &[JUDGE]);
        assert_eq!(edges(&master, &members).len(), 1);
        master.dependencies[0].kind = Some("dev".to_owned());
        assert!(edges(&master, &members).is_empty());
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        assert_eq!(edges(&package("gfs-new", &[]), &BTreeSet::from(["gfs-new"])).len(), 1);
    }

    #[test]
    fn impurity_is_found_at_a_distance_but_tests_may_use_what_they_like() {
        let metadata = metadata();
        let messages: Vec<_> = purity(&metadata.packages[0], &metadata)
            .into_iter()
            .map(|found| found.message)
            .collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[0].contains("must not use helper"));
        assert!(messages[1].contains("reaches tokio"));
    }

    #[test]
    fn the_table_names_each_crate_once_and_has_no_cycle() {
        // Each row may name only rows above it: then no cycle can be.
        let mut above = BTreeSet::new();
        for (name, allowed) in ALLOWED {
            assert!(allowed.iter().all(|other| above.contains(other)), "{name}");
            assert!(above.insert(name), "{name} twice");
        }
    }
}
