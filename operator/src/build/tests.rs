//! Golden manifests, and what they must mean whatever they look like.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::api::networking::v1::NetworkPolicySpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;

use super::{CONFIG_HASH_ANNOTATION, Resources, build};
use crate::crd::{GfsCluster, PullPolicy};
use crate::testing::{defaults, manifest, validated};
use crate::validate::{Defaults, validate};

/// One cluster of each shape.
const MINIMAL: &str = "";
const DOMAINS: &str = "
    image:
      repository: registry.example/mirror/gfs
      digest: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      pullPolicy: Always
    imagePullSecrets: [{name: mirror}]
    masters:
      storage: {size: 50Gi, storageClassName: fast}
      resources: {requests: {cpu: 1, memory: 4Gi}, limits: {memory: 4Gi}}
      scheduling:
        nodeSelector: {pool: masters}
        tolerations: [{key: dedicated, operator: Equal, value: gfs, effect: NoSchedule}]
        priorityClassName: storage-critical
      config: {lease: 20s, heartbeat: 1s, trashGrace: 1d, logFormat: text}
    chunkservers:
      replicas: 7
      domains:
        - {name: zone-b, nodeSelector: {topology.kubernetes.io/zone: b}}
        - {name: zone-a, weight: 2, nodeSelector: {topology.kubernetes.io/zone: a}}
      storage: {size: 1Ti, storageClassName: local}
      resources: {requests: {cpu: 500m, memory: 1Gi}}
      scheduling: {nodeSelector: {disk: nvme}}
      config: {reserve: 4GiB, pushBuffer: 512MiB, logFormat: json}
    replication: {factor: 2}
    chunkSize: 32MiB
    networkPolicy:
      clientNamespaceSelector: {matchLabels: {gfs-clients: allowed}}";
const DELETE: &str = "{deletionPolicy: Delete, deletionConfirmation: yes-delete-data}";
const OPEN: &str = "{networkPolicy: {enabled: false}}";

const ALL: [&str; 4] = [MINIMAL, DOMAINS, DELETE, OPEN];

fn built(spec: &str) -> Resources {
    build(&validated(spec))
}

/// All objects in the order in which they are applied, as `kubectl apply -f` takes them.
fn yaml(resources: &Resources) -> String {
    fn documents<T: Serialize>(objects: &[T]) -> impl Iterator<Item = String> {
        objects.iter().map(|object| serde_yaml::to_string(object).unwrap())
    }
    let Resources {
        service_accounts,
        services,
        config_maps,
        pod_disruption_budgets,
        network_policies,
        stateful_sets,
    } = resources;
    let all = documents(service_accounts)
        .chain(documents(services))
        .chain(documents(config_maps))
        .chain(documents(pod_disruption_budgets))
        .chain(documents(network_policies))
        .chain(documents(stateful_sets));
    all.collect::<Vec<_>>().join("---\n")
}

#[test]
fn golden_manifests() {
    insta::assert_snapshot!("minimal", yaml(&built(MINIMAL)));
    insta::assert_snapshot!("domains", yaml(&built(DOMAINS)));
    // Nothing that is built goes with the cluster but what it owns.
    assert_eq!(yaml(&built(DELETE)), yaml(&built(MINIMAL)));
    insta::assert_snapshot!("no_network_policy", yaml(&built(OPEN)));
}

#[test]
fn the_same_manifest_gives_the_same_objects_even_with_its_lists_in_another_order() {
    for spec in ALL {
        assert_eq!(yaml(&built(spec)), yaml(&built(spec)));
    }
    let turned = DOMAINS.replace("zone-b,", "zone-x,").replace("zone-a,", "zone-b,");
    assert_ne!(yaml(&built(DOMAINS)), yaml(&built(&turned)));
    let mut cluster: GfsCluster = manifest(DOMAINS);
    cluster.spec.chunkservers.domains.reverse();
    let turned = validate(&cluster, &defaults()).unwrap();
    assert_eq!(yaml(&built(DOMAINS)), yaml(&build(&turned)));
}

fn pods(set: &StatefulSet) -> &PodSpec {
    set.spec.as_ref().unwrap().template.spec.as_ref().unwrap()
}

fn pod_labels(set: &StatefulSet) -> &BTreeMap<String, String> {
    let template = &set.spec.as_ref().unwrap().template;
    template.metadata.as_ref().unwrap().labels.as_ref().unwrap()
}

fn container(set: &StatefulSet) -> &Container {
    assert_eq!(pods(set).containers.len(), 1);
    &pods(set).containers[0]
}

fn name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap()
}

fn sets() -> Vec<StatefulSet> {
    ALL.iter().flat_map(|spec| built(spec).stateful_sets).collect()
}

/// Whether labels have all that a selector asks for.
fn selects(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

#[test]
fn no_pod_has_a_token() {
    for set in sets() {
        assert_eq!(pods(&set).automount_service_account_token, Some(false));
        let account = pods(&set).service_account_name.clone().unwrap();
        let accounts = built(MINIMAL).service_accounts;
        let account = accounts.iter().find(|found| found.metadata.name.as_ref() == Some(&account));
        assert_eq!(account.unwrap().automount_service_account_token, Some(false));
    }
}

#[test]
fn every_pod_is_restricted() {
    for set in sets() {
        let pod = pods(&set).security_context.as_ref().unwrap();
        assert_eq!(pod.run_as_non_root, Some(true));
        assert_eq!((pod.run_as_user, pod.run_as_group), (Some(65532), Some(65532)));
        assert_eq!(pod.fs_group, Some(65532));
        assert_eq!(pod.seccomp_profile.as_ref().unwrap().type_, "RuntimeDefault");
        let container = container(&set).security_context.as_ref().unwrap();
        assert_eq!(container.allow_privilege_escalation, Some(false));
        assert_eq!(container.read_only_root_filesystem, Some(true));
        assert_eq!(container.privileged, None);
        let capabilities = container.capabilities.as_ref().unwrap();
        assert_eq!(capabilities.drop.as_deref(), Some(&["ALL".to_owned()][..]));
        assert_eq!(capabilities.add, None);
        let pod = pods(&set);
        assert_eq!((pod.host_network, pod.host_pid, pod.host_ipc), (None, None, None));
        let volumes = pod.volumes.iter().flatten();
        assert!(volumes.into_iter().all(|volume| volume.host_path.is_none()));
    }
}

#[test]
fn no_pod_is_in_two_budgets_and_all_are_in_one() {
    for spec in ALL {
        let Resources { pod_disruption_budgets, stateful_sets, .. } = built(spec);
        for set in stateful_sets.iter().filter(|set| !name(set).ends_with("-shadow")) {
            let holding = pod_disruption_budgets.iter().filter(|budget| {
                let spec = budget.spec.as_ref().unwrap();
                let selector = spec.selector.as_ref().unwrap();
                selects(selector.match_labels.as_ref().unwrap(), pod_labels(set))
            });
            assert_eq!(holding.count(), 1, "{}", name(set));
        }
        for budget in pod_disruption_budgets {
            let spec = budget.spec.unwrap();
            assert_eq!(spec.max_unavailable, Some(IntOrString::Int(1)));
            assert_eq!(spec.min_available, None, "with one master it holds up every drain");
            // Without a master no chunkserver is ready, and they must not all be evicted for that.
            let of_chunkservers = budget.metadata.name.unwrap().ends_with("-chunk");
            let unready = if of_chunkservers { "IfHealthyBudget" } else { "AlwaysAllow" };
            assert_eq!(spec.unhealthy_pod_eviction_policy.as_deref(), Some(unready));
        }
    }
}

#[test]
fn a_set_selects_its_own_pods_and_no_others() {
    for spec in ALL {
        let sets = built(spec).stateful_sets;
        for set in &sets {
            let selector = set.spec.as_ref().unwrap().selector.match_labels.as_ref().unwrap();
            let selected = sets.iter().filter(|other| selects(selector, pod_labels(other)));
            assert_eq!(selected.map(name).collect::<Vec<_>>(), [name(set)]);
        }
    }
}

#[test]
fn the_service_of_a_set_has_its_pods_and_that_of_the_masters_all_masters() {
    for spec in ALL {
        let Resources { services, stateful_sets, .. } = built(spec);
        for set in &stateful_sets {
            let wanted = set.spec.as_ref().unwrap().service_name.as_ref();
            let service = services.iter().find(|found| found.metadata.name.as_ref() == wanted);
            let spec = service.unwrap().spec.as_ref().unwrap();
            assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
            let selector = spec.selector.as_ref().unwrap();
            let selected = stateful_sets.iter().filter(|set| selects(selector, pod_labels(set)));
            let selected: Vec<_> = selected.map(name).collect();
            if name(set) == "prod-master" || name(set) == "prod-shadow" {
                assert_eq!(selected, ["prod-master", "prod-shadow"]);
                assert_eq!(spec.publish_not_ready_addresses, Some(true));
            } else {
                assert_eq!(selected, [name(set)]);
            }
        }
    }
}

#[test]
fn pods_of_a_kind_are_spread_over_hosts() {
    for set in sets() {
        let pod = pods(&set);
        let spread = &pod.topology_spread_constraints.as_ref().unwrap()[0];
        assert_eq!(spread.topology_key, "kubernetes.io/hostname");
        assert_eq!((spread.max_skew, &*spread.when_unsatisfiable), (1, "ScheduleAnyway"));
        let affinity = pod.affinity.as_ref().unwrap().pod_anti_affinity.as_ref().unwrap();
        let wishes =
            affinity.preferred_during_scheduling_ignored_during_execution.as_ref().unwrap();
        let term = &wishes[0].pod_affinity_term;
        assert_eq!(term.topology_key, "kubernetes.io/hostname");
        assert_eq!(term.label_selector, spread.label_selector);
    }
    // Over all failure domains: two domains may share hosts.
    let sets = built(DOMAINS).stateful_sets;
    let group = |set: &StatefulSet| {
        let spread = &pods(set).topology_spread_constraints.as_ref().unwrap()[0];
        spread.label_selector.clone().unwrap().match_labels.unwrap()
    };
    for (set, apart) in sets.iter().flat_map(|set| sets.iter().map(move |other| (set, other))) {
        let kind = |set: &StatefulSet| name(set).starts_with("prod-chunk");
        assert_eq!(selects(&group(set), pod_labels(apart)), kind(set) == kind(apart));
    }
}

#[test]
fn a_pod_is_outdated_when_its_configuration_is() {
    let hashes = |spec: &str| -> BTreeMap<String, String> {
        let sets = built(spec).stateful_sets;
        let hash = |set: &StatefulSet| {
            let metadata = set.spec.as_ref().unwrap().template.metadata.as_ref().unwrap();
            metadata.annotations.as_ref().unwrap()[CONFIG_HASH_ANNOTATION].clone()
        };
        sets.iter().map(|set| (name(set).to_owned(), hash(set))).collect()
    };
    let plain = hashes("");
    assert_eq!(hashes("{chunkservers: {replicas: 5}}"), plain);
    let changed = hashes("{chunkservers: {config: {pushBuffer: 128MiB}}}");
    assert_eq!(changed["prod-master"], plain["prod-master"]);
    assert_ne!(changed["prod-chunk-default"], plain["prod-chunk-default"]);
}

#[test]
fn the_template_of_a_pod_does_not_change_when_only_counts_do() {
    let templates = |spec: &str| -> Vec<_> {
        built(spec).stateful_sets.into_iter().map(|set| set.spec.unwrap().template).collect()
    };
    let more = templates("{chunkservers: {replicas: 9}, networkPolicy: {enabled: false}}");
    assert_eq!(templates(""), more);
    assert_eq!(
        templates(""),
        templates(DELETE),
        "data that goes with the cluster restarts nothing"
    );
}

#[test]
fn nothing_of_a_claim_depends_on_what_may_change() {
    let claims = |spec: &str, image: &str| -> Vec<_> {
        let defaults = Defaults {
            image: image.to_owned(),
            image_pull_policy: PullPolicy::Never,
            operator_namespace: None,
        };
        let cluster = validate(&manifest(spec), &defaults).unwrap();
        let sets = build(&cluster).stateful_sets.into_iter();
        sets.map(|set| set.spec.unwrap().volume_claim_templates).collect()
    };
    let changed = "{masters: {config: {lease: 20s}, resources: {limits: {cpu: 1}}},
        chunkservers: {replicas: 8}, deletionPolicy: Delete, deletionConfirmation: yes-delete-data}";
    assert_eq!(claims("", "gfs:1"), claims(changed, "gfs:2"));
}

#[test]
fn volumes_have_no_owner_whatever_the_manifest_says() {
    for spec in [MINIMAL, DELETE] {
        for set in built(spec).stateful_sets {
            let spec = set.spec.unwrap();
            let retention = spec.persistent_volume_claim_retention_policy.unwrap();
            assert_eq!(retention.when_deleted.as_deref(), Some("Retain"));
            assert_eq!(retention.when_scaled.as_deref(), Some("Retain"));
            for claim in spec.volume_claim_templates.unwrap() {
                assert_eq!(claim.metadata.owner_references, None);
            }
        }
    }
}

#[test]
fn the_operator_decides_when_pods_are_renewed() {
    for set in sets() {
        let spec = set.spec.unwrap();
        assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
        assert_eq!(spec.update_strategy.unwrap().type_.as_deref(), Some("OnDelete"));
    }
}

#[test]
fn every_child_has_its_owner_and_the_recommended_labels() {
    for spec in ALL {
        let value = yaml(&built(spec));
        let mut names = BTreeSet::new();
        for document in serde_yaml::Deserializer::from_str(&value) {
            let child: serde_yaml::Value = serde::Deserialize::deserialize(document).unwrap();
            let metadata = &child["metadata"];
            let label = |key: &str| metadata["labels"][format!("app.kubernetes.io/{key}")].clone();
            assert_eq!(label("name"), "gfs");
            assert_eq!(label("instance"), "prod");
            assert_eq!(label("part-of"), "gfs");
            assert_eq!(label("managed-by"), "gfs-operator");
            assert!(label("version").is_string());
            let owner = &metadata["ownerReferences"][0];
            assert_eq!(owner["kind"], "GfsCluster");
            assert_eq!(owner["apiVersion"], "gfs.rs/v1alpha1");
            assert_eq!(owner["uid"], "0f6c1a52-53a7-4f4e-9d5e-2f1f8a8b1c3d");
            assert_eq!(owner["controller"], true);
            assert_eq!(metadata["namespace"], "storage");
            let name = (child["kind"].as_str().unwrap().to_owned(), metadata["name"].clone());
            assert!(names.insert(format!("{name:?}")), "{name:?} twice");
        }
    }
}

#[test]
fn servers_are_told_who_and_where_they_are() {
    let arguments = |set: &StatefulSet| container(set).args.clone().unwrap().join(" ");
    let of = |wanted: &str| {
        let sets = built(DOMAINS).stateful_sets;
        sets.into_iter().find(|set| name(set) == wanted).unwrap()
    };
    assert_eq!(
        arguments(&of("prod-master")),
        "master --config /etc/gfs/master.yaml --advertise $(POD_IP)"
    );
    assert_eq!(
        arguments(&of("prod-chunk-zone-a")),
        "chunkserver --config /etc/gfs/chunkserver.yaml --advertise $(POD_IP) \
         --topology zone-a/$(NODE_NAME)/$(POD_NAME)"
    );
    for set in sets() {
        let container = container(&set);
        let known: BTreeSet<_> = container.env.iter().flatten().map(|env| &*env.name).collect();
        let text = arguments(&set);
        let named = text.split("$(").skip(1).filter_map(|rest| rest.split(')').next());
        assert!(named.into_iter().all(|name| known.contains(name)), "{text}");
    }
}

#[test]
fn domains_get_their_share_and_their_nodes() {
    let sets = built(DOMAINS).stateful_sets;
    let replicas: Vec<_> =
        sets.iter().map(|set| (name(set), set.spec.as_ref().unwrap().replicas.unwrap())).collect();
    let expected = [
        ("prod-master", 1),
        ("prod-shadow", 0),
        ("prod-chunk-zone-a", 5),
        ("prod-chunk-zone-b", 2),
    ];
    assert_eq!(replicas, expected);
    let nodes = pods(&sets[3]).node_selector.as_ref().unwrap();
    assert_eq!(nodes["topology.kubernetes.io/zone"], "b");
    assert_eq!(nodes["disk"], "nvme");
}

/// Whether a pod with these labels, in a namespace with those, may connect to a port.
fn lets_in(
    policy: &NetworkPolicySpec,
    namespace: Option<&BTreeMap<String, String>>,
    pod: &BTreeMap<String, String>,
    port: i32,
) -> bool {
    policy.ingress.iter().flatten().any(|rule| {
        let ports = rule.ports.iter().flatten();
        let port = ports.into_iter().any(|found| found.port == Some(IntOrString::Int(port)));
        let from = rule.from.as_ref().is_some_and(|peers| {
            peers.iter().any(|peer| {
                let labels = |selector: &Option<
                    k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
                >| {
                    selector.clone().unwrap_or_default().match_labels.unwrap_or_default()
                };
                let place = match (&peer.namespace_selector, namespace) {
                    (None, own) => own.is_none(),
                    (Some(_), None) => false,
                    (Some(_), Some(theirs)) => selects(&labels(&peer.namespace_selector), theirs),
                };
                place && selects(&labels(&peer.pod_selector), pod)
            })
        });
        port && from
    })
}

fn label(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

#[test]
fn who_may_connect() {
    let policy = |spec: &str| built(spec).network_policies.remove(0).spec.unwrap();
    let (own, anyone) = (None, BTreeMap::new());
    let sets = built(MINIMAL).stateful_sets;
    let elsewhere = label("kubernetes.io/metadata.name", "elsewhere");
    let system = label("kubernetes.io/metadata.name", "gfs-system");
    let operator = label("app.kubernetes.io/name", "gfs-operator");
    let minimal = policy(MINIMAL);
    assert_eq!(minimal.policy_types.as_deref(), Some(&["Ingress".to_owned()][..]));
    for set in &sets {
        let applies = minimal.pod_selector.clone().unwrap().match_labels.unwrap();
        assert!(selects(&applies, pod_labels(set)), "{}", name(set));
        assert!(lets_in(&minimal, own, pod_labels(set), 7400));
        assert!(lets_in(&minimal, own, pod_labels(set), 7500));
    }
    for port in [7400, 7500] {
        assert!(lets_in(&minimal, own, &anyone, port), "clients of its own namespace");
        assert!(!lets_in(&minimal, Some(&elsewhere), &anyone, port));
        assert!(!lets_in(&minimal, Some(&system), &anyone, port));
    }
    for port in [7401, 7501] {
        assert!(lets_in(&minimal, Some(&elsewhere), &anyone, port), "metrics");
    }
    assert!(!lets_in(&minimal, own, &anyone, 22));
    assert!(lets_in(&minimal, Some(&system), &operator, 7400));
    assert!(!lets_in(&minimal, Some(&system), &operator, 7500));
    assert!(!lets_in(&minimal, Some(&elsewhere), &operator, 7400));

    let chosen = policy(DOMAINS);
    let allowed = label("gfs-clients", "allowed");
    assert!(lets_in(&chosen, Some(&allowed), &anyone, 7400));
    assert!(!lets_in(&chosen, Some(&elsewhere), &anyone, 7400));
    assert!(!lets_in(&chosen, own, &anyone, 7400), "its own namespace was not chosen");
    let all = policy("{networkPolicy: {clientNamespaceSelector: {}}}");
    assert!(lets_in(&all, Some(&elsewhere), &anyone, 7500));
}
