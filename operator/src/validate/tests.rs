//! Manifests with every kind of mistake, as they come when the API server did not see them.

use super::{Defaults, ValidatedCluster, validate};
use crate::crd::GfsCluster;
use crate::testing::{defaults, manifest, validated};

/// All that is wrong, as `field: message`.
fn wrong(cluster: &GfsCluster) -> Vec<String> {
    let problems = validate(cluster, &defaults()).expect_err("something is wrong with it");
    problems.iter().map(ToString::to_string).collect()
}

/// The only thing that is wrong.
fn refused(spec: &str) -> String {
    let mut wrong = wrong(&manifest(spec));
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    wrong.remove(0)
}

#[track_caller]
fn assert_refused(spec: &str, field: &str, why: &str) {
    let text = refused(spec);
    assert!(text.starts_with(&format!("{field}: ")) && text.contains(why), "{text}");
}

#[test]
fn an_empty_manifest_is_a_cluster() {
    let cluster = validated("");
    assert_eq!(cluster.image(), "registry.example/gfs:0.1.0");
    assert_eq!(cluster.cluster_uid().to_string(), "0f6c1a5253a74f4e9d5e2f1f8a8b1c3d");
    assert_eq!(cluster.chunkservers(), 3);
    assert_eq!(cluster.masters_address(), "prod-masters.storage.svc:7400");
    assert_eq!(
        cluster.first_master_address(),
        "prod-master-0.prod-masters.storage.svc:7400",
        "the name of the pod in the headless service"
    );
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let mut cluster = manifest(
        "
        image: {repository: r, tag: t, digest: d}
        masters:
          storage: {size: 10GiB, storageClassName: Fast_One}
          resources: {requests: {cpu: x}}
          scheduling: {nodeSelector: {zone: 'a b'}, priorityClassName: High}
          config: {lease: 1ms, heartbeat: 10, trashGrace: soon}
        shadows: {replicas: 2}
        chunkservers:
          replicas: 2
          domains: [{name: A}, {name: b, weight: 0}, {name: b}]
          storage: {size: 512Mi}
          config: {pushBuffer: 1MiB}
        replication: {factor: 9}
        chunkSize: 100KiB
        deletionPolicy: Delete",
    );
    cluster.metadata.name = Some("a-chunk-b.c".to_owned());
    cluster.metadata.uid = None;
    let wrong = wrong(&cluster);
    let fields: Vec<_> = wrong.iter().filter_map(|text| text.split(": ").next()).collect();
    let expected = [
        "metadata.name",
        "metadata.name",
        "metadata.uid",
        "spec.shadows.replicas",
        "spec.replication.factor",
        "spec.deletionConfirmation",
        "spec.image",
        "spec.masters.storage.size",
        "spec.masters.storage.storageClassName",
        "spec.masters.resources.requests.cpu",
        "spec.masters.scheduling.nodeSelector.zone",
        "spec.masters.scheduling.priorityClassName",
        "spec.masters.config.heartbeat",
        "spec.masters.config.trashGrace",
        "spec.chunkSize",
        "spec.replication.factor",
        "spec.masters.config.lease",
        "spec.chunkservers.config.pushBuffer",
        "spec.chunkservers.config.reserve",
        "spec.chunkservers.domains[A].name",
        "spec.chunkservers.domains[b].name",
        "spec.chunkservers.domains[b].weight",
    ];
    let mut fields_sorted = fields.clone();
    fields_sorted.sort_unstable();
    let mut expected_sorted = expected;
    expected_sorted.sort_unstable();
    assert_eq!(fields_sorted, expected_sorted, "{wrong:#?}");
}

#[test]
fn what_only_the_server_knows_is_told_with_the_field_of_the_manifest() {
    let lease = "spec.masters.config.lease";
    assert_refused("{masters: {config: {lease: 99ms}}}", lease, "is 99ms: from 100ms to 10m");
    validated("{masters: {config: {lease: 10m}}}");
    assert_refused("{masters: {config: {lease: 601s}}}", lease, "is 601s");
    let heartbeat = "spec.masters.config.heartbeat";
    assert_refused("{masters: {config: {heartbeat: 6s}}}", heartbeat, "from 10ms to 5s");
    assert_refused(
        "{masters: {config: {lease: 900ms}}}",
        heartbeat,
        "is 500ms: from 10ms to 450ms",
    );
    validated("{masters: {config: {lease: 900ms, heartbeat: 450ms}}}");
    assert_refused("{chunkSize: 65KiB}", "spec.chunkSize", "");
    let push = "spec.chunkservers.config.pushBuffer";
    assert_refused("{chunkservers: {config: {pushBuffer: 1MiB}}}", push, "from 4MiB to 64GiB");
    let factor = "spec.replication.factor";
    assert_refused(
        "{chunkservers: {replicas: 9}, replication: {factor: 8}}",
        factor,
        "from 1 to 7",
    );
    assert_refused("{replication: {factor: 0}}", factor, "from 1 to 7");
    validated("{chunkservers: {replicas: 9}, replication: {factor: 7}}");
}

#[test]
fn the_reserve_leaves_room_for_chunks() {
    let at = "spec.chunkservers.config.reserve";
    assert_refused("{chunkservers: {storage: {size: 1Gi}}}", at, "no room is left for chunks");
    validated("{chunkservers: {storage: {size: 1025Mi}}}");
    validated("{chunkservers: {storage: {size: 1Gi}, config: {reserve: 64MiB}}}");
}

#[test]
fn a_container_cannot_ask_for_more_than_it_may_use() {
    let of = |requests: &str, limits: &str| {
        format!("{{masters: {{resources: {{requests: {requests}, limits: {limits}}}}}}}")
    };
    validated(&of("{cpu: 500m, memory: 1Gi}", "{cpu: 0.5, memory: 1024Mi}"));
    validated(&of("{cpu: 2}", "{memory: 1Gi}"));
    let at = "spec.masters.resources.requests.cpu";
    assert_refused(&of("{cpu: 501m}", "{cpu: 0.5}"), at, "spec.masters.resources.limits.cpu");
    assert_refused(&of("{}", "{memory: 1GiB}"), "spec.masters.resources.limits.memory", "1GiB");
}

#[test]
fn a_node_cannot_be_in_two_places() {
    let of = |zone: &str| {
        format!(
            "{{chunkservers: {{scheduling: {{nodeSelector: {{zone: a, disk: ssd}}}},
             domains: [{{name: x, nodeSelector: {{zone: {zone}}}}}]}}}}"
        )
    };
    let cluster = validated(&of("a"));
    let labels: Vec<_> = cluster.domains()[0].node_selector().iter().collect();
    assert_eq!(format!("{labels:?}"), r#"[("disk", "ssd"), ("zone", "a")]"#);
    assert_refused(
        &of("b"),
        "spec.chunkservers.domains[x].nodeSelector.zone",
        "spec.chunkservers.scheduling.nodeSelector",
    );
}

#[test]
fn domains_have_limits() {
    let of = |replicas: i32, domains: &[(String, i32)]| {
        let domains: Vec<_> = domains
            .iter()
            .map(|(name, weight)| format!("{{name: {name}, weight: {weight}}}"))
            .collect();
        format!("{{chunkservers: {{replicas: {replicas}, domains: [{}]}}}}", domains.join(", "))
    };
    let some = |count: i32| -> Vec<_> { (0..count).map(|i| (format!("d{i}"), 1)).collect() };
    assert_eq!(validated(&of(1000, &some(16))).chunkservers(), 1000);
    assert_refused(&of(1001, &some(1)), "spec.chunkservers.replicas", "from 1 to 1000");
    assert_refused(&of(3, &some(17)), "spec.chunkservers.domains", "from 1 to 16");
    assert_refused(&of(3, &[]), "spec.chunkservers.domains", "from 1 to 16");
    validated(&of(3, &[("a".repeat(15), 100)]));
    let long = "a".repeat(16);
    let at = format!("spec.chunkservers.domains[{long}].name");
    assert_refused(&of(3, &[(long, 1)]), &at, "at most 15");
    assert_refused(&of(3, &[("a".to_owned(), 101)]), "spec.chunkservers.domains[a].weight", "100");
}

#[test]
fn names_of_pods_are_labels_even_the_longest() {
    let mut cluster =
        manifest(&format!("{{chunkservers: {{domains: [{{name: {}}}]}}}}", "b".repeat(15)));
    cluster.metadata.name = Some("a".repeat(30));
    let cluster = validate(&cluster, &defaults()).unwrap();
    // The StatefulSet controller adds a hyphen and a hash of ten characters, and makes a label of it.
    let revision = format!("{}-{}", cluster.domain_name(&cluster.domains()[0]), "0".repeat(10));
    assert_eq!(revision.len(), 63);
}

#[test]
fn the_order_of_domains_means_nothing() {
    let shares = |cluster: &ValidatedCluster| -> Vec<_> {
        let domains = cluster.domains().iter();
        domains.map(|domain| (domain.name().to_owned(), domain.replicas())).collect()
    };
    let one =
        validated("{chunkservers: {replicas: 4, domains: [{name: a}, {name: b}, {name: c}]}}");
    let other =
        validated("{chunkservers: {replicas: 4, domains: [{name: c}, {name: b}, {name: a}]}}");
    assert_eq!(shares(&one), [("a".to_owned(), 2), ("b".to_owned(), 1), ("c".to_owned(), 1)]);
    assert_eq!(shares(&one), shares(&other));
}

#[test]
fn an_image_is_the_manifests_or_the_operators() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let cluster = validated(&format!("{{image: {{repository: r/gfs, digest: '{digest}'}}}}"));
    assert_eq!(cluster.image(), format!("r/gfs@{digest}"));
    let nothing = Defaults { image: String::new(), ..defaults() };
    let problems = validate(&manifest(""), &nothing).expect_err("no image");
    assert_eq!(problems[0].field, "spec.image");
    assert!(problems[0].message.contains("GFS_IMAGE"), "{}", problems[0]);
    let secrets = |names: &[&str]| {
        let all: Vec<_> = names.iter().map(|name| format!("{{name: '{name}'}}")).collect();
        format!("{{imagePullSecrets: [{}]}}", all.join(", "))
    };
    assert_eq!(validated(&secrets(&["a", "b"])).validated_image().pull_secrets, ["a", "b"]);
    validated(&secrets(&["a"; 8]));
    assert_refused(&secrets(&["a"; 9]), "spec.imagePullSecrets", "at most 8");
    assert_refused(&secrets(&[""]), "spec.imagePullSecrets", "no name");
    assert_refused("{image: {repository: 'r@x', tag: t}}", "spec.image.repository", "r@x");
}

#[test]
fn a_configuration_has_another_hash_exactly_when_it_says_something_else() {
    let hashes = |spec: &str| {
        let cluster = validated(spec);
        (cluster.master().config.hash.clone(), cluster.chunkserver().config.hash.clone())
    };
    let plain = hashes("");
    assert_eq!(hashes("{masters: {config: {lease: 10s}}}"), plain, "the default, said aloud");
    assert_eq!(hashes("{masters: {config: {lease: 10000ms}}}"), plain, "in another unit");
    assert_eq!(hashes("{chunkservers: {replicas: 9, resources: {requests: {cpu: 1}}}}"), plain);
    let lease = hashes("{masters: {config: {lease: 11s}}}");
    assert!(lease.0 != plain.0 && lease.1 == plain.1);
    let reserve = hashes("{chunkservers: {config: {reserve: 2GiB}}}");
    assert!(reserve.0 == plain.0 && reserve.1 != plain.1);
    let factor = hashes("{replication: {factor: 2}}");
    assert!(factor.0 != plain.0 && factor.1 == plain.1);
}

#[test]
fn the_servers_take_the_files_they_are_given() {
    use gfs_types::config::{ChunkserverConfig, MasterConfig};
    let cluster = validated("{masters: {config: {logFormat: text, trashGrace: 1h}}}");
    let mut master: MasterConfig = serde_yaml::from_str(&cluster.master().config.text).unwrap();
    assert_eq!(master.trash_grace, gfs_types::DurationMs(3_600_000));
    assert!(master.validate().is_err(), "without --advertise it is not started");
    master.net.advertise = Some("10.0.0.1".to_owned());
    assert_eq!(master.validate(), Ok(()));
    let mut server: ChunkserverConfig =
        serde_yaml::from_str(&cluster.chunkserver().config.text).unwrap();
    server.net.advertise = Some("10.0.0.1".to_owned());
    assert_eq!(server.validate(), Ok(()));
    assert_eq!(server.masters, [cluster.masters_address()]);
    assert_eq!(server.cluster, None, "a retained volume may be of an older cluster of this name");
}

#[test]
fn a_network_policy_is_there_unless_it_is_not_wanted() {
    assert!(validated("").network_policy().is_some());
    assert!(validated("{networkPolicy: {enabled: false}}").network_policy().is_none());
}
