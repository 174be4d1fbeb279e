//! The definition as the API server reads it: its file, its bounds, its defaults and its rules.

use kube_cel::Validator;
use serde_json::{Value, json};

use super::{GfsCluster, GfsClusterSpec, definition, yaml};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/gfsclusters.gfs.rs.yaml");

#[test]
fn the_file_is_what_the_code_says() {
    let file = std::fs::read_to_string(FILE).expect("crds/ is there");
    assert!(file == yaml().unwrap(), "crds/gfsclusters.gfs.rs.yaml is old: cargo xtask crds");
}

/// The schema of all objects.
fn schema() -> Value {
    let version = definition().spec.versions.remove(0);
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema);
    serde_json::to_value(schema.expect("it has one")).unwrap()
}

/// `spec` and all below it, with the path of each.
fn walk<'a>(path: &str, schema: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for inner in ["items", "additionalProperties"].iter().filter_map(|key| schema.get(key)) {
        walk(&format!("{path}[]"), inner, visit);
    }
}

#[test]
fn everything_that_can_grow_is_bounded() {
    let schema = schema();
    let mut seen = 0;
    walk("spec", &schema["properties"]["spec"], &mut |path, schema| {
        seen += 1;
        let has = |key: &str| schema.get(key).is_some();
        match schema["type"].as_str() {
            Some("string") => assert!(has("maxLength") || has("enum"), "{path}: no maxLength"),
            Some("array") => assert!(has("maxItems"), "{path}: no maxItems"),
            Some("object") => assert!(
                has("properties") || has("maxProperties"),
                "{path}: neither fields nor maxProperties"
            ),
            Some("integer" | "boolean") => {}
            other => assert!(has("x-kubernetes-int-or-string"), "{path} is a {other:?}"),
        }
        assert!(!has("nullable") && !has("x-kubernetes-preserve-unknown-fields"), "{path}");
    });
    assert!(seen > 60, "the walk went over {seen} fields only");
}

#[test]
fn the_page_of_the_resource_tells_of_every_field_and_its_default() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/gfscluster.md");
    let page = std::fs::read_to_string(page).expect("docs/ is there");
    let schema = schema();
    walk("", &schema["properties"]["spec"], &mut |path, schema| {
        let foreign = path.contains("olerations") || path.contains("Selector");
        let is_leaf = schema.get("properties").is_none() && schema.get("items").is_none();
        let name = path.trim_start_matches('.');
        if !is_leaf || foreign || name.ends_with("[]") {
            return;
        }
        let row = page.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for `{name}`"));
        if let Some(default) = schema.get("default") {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert!(row.contains(&format!("| `{default}` |")), "{name}: {default}\n{row}");
        }
    });
}

#[test]
fn the_api_server_fills_in_what_the_code_takes_for_left_out() {
    let filled = kube_cel::apply_defaults(&schema(), &object(json!({})))["spec"].clone();
    let filled: GfsClusterSpec = serde_json::from_value(filled).unwrap();
    let from_code: GfsClusterSpec = serde_json::from_value(json!({})).unwrap();
    assert_eq!(filled, from_code);
    // A part that is there without its fields is filled too.
    let parts = json!({"masters": {}, "shadows": {}, "chunkservers": {}, "replication": {}, "networkPolicy": {}});
    let filled = kube_cel::apply_defaults(&schema(), &object(parts))["spec"].clone();
    let filled: GfsClusterSpec = serde_json::from_value(filled).unwrap();
    assert_eq!(filled, from_code);
}

#[test]
fn a_full_manifest_goes_through_the_code_and_back() {
    let spec = json!({
        "image": {"repository": "r", "tag": "t", "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "registry"}],
        "masters": {
            "storage": {"size": "10Gi", "storageClassName": "fast"},
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
            "scheduling": {
                "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "priorityClassName": "high",
            },
            "config": {"lease": "10s", "heartbeat": "1s", "trashGrace": "3d", "logFormat": "json"},
        },
        "shadows": {"replicas": 0},
        "chunkservers": {
            "replicas": 3,
            "domains": [{"name": "a", "weight": 1, "nodeSelector": {"zone": "a"}}],
            "storage": {"size": "100Gi"},
            "resources": {},
            "scheduling": {},
            "config": {"reserve": "1GiB", "pushBuffer": "256MiB", "logFormat": "text"},
        },
        "replication": {"factor": 3},
        "chunkSize": "64MiB",
        "networkPolicy": {"enabled": true, "clientNamespaceSelector": {"matchLabels": {"a": "b"}}},
        "deletionPolicy": "Delete",
        "deletionConfirmation": "yes-delete-data",
    });
    let typed: GfsClusterSpec = serde_json::from_value(spec.clone()).unwrap();
    assert_eq!(serde_json::to_value(typed).unwrap(), spec);
}

fn object(spec: Value) -> Value {
    json!({
        "apiVersion": "gfs.rs/v1alpha1",
        "kind": "GfsCluster",
        "metadata": {"name": "prod"},
        "spec": spec,
    })
}

/// What the rules say of a new object, or of one that was `old` before.
fn refusals(object: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = schema();
    let old = old.map(|old| kube_cel::apply_defaults(&schema, old));
    match Validator::new().validate(&schema, object, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.message).collect(),
    }
}

/// Where `spec` is refused by a rule, in the order of the fields.
fn refused_fields(spec: &Value) -> Vec<String> {
    match Validator::new().validate(&schema(), &object(spec.clone()), None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.into_vec().into_iter().map(|error| error.field_path).collect(),
    }
}

/// The one refusal of a new `spec`.
fn refused(spec: Value) -> String {
    let mut refusals = refusals(&object(spec), None);
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    refusals.remove(0)
}

#[track_caller]
fn taken(spec: Value) {
    assert_eq!(refusals(&object(spec), None), [""; 0]);
}

/// The one refusal of a change.
fn change_refused(old: Value, new: Value) -> String {
    let mut refusals = refusals(&object(new), Some(&object(old)));
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    refusals.remove(0)
}

#[track_caller]
fn change_taken(old: Value, new: Value) {
    assert_eq!(refusals(&object(new), Some(&object(old))), [""; 0]);
}

#[test]
fn a_name_becomes_part_of_other_names() {
    let named = |name: &str| {
        let mut object = object(json!({}));
        object["metadata"]["name"] = json!(name);
        refusals(&object, None)
    };
    for name in ["prod", "a", "a-1", &"a".repeat(30), "chunk", "chunky-a", "a-chunks"] {
        assert_eq!(named(name), [""; 0], "{name}");
    }
    for name in ["1a", "a.b", "a-", &"a".repeat(31), "a-chunk", "a-chunk-b"] {
        let refusals = named(name);
        assert_eq!(refusals.len(), 1, "{name}: {refusals:?}");
        assert!(refusals[0].starts_with("metadata.name: "), "{refusals:?}");
    }
}

#[test]
fn an_image_has_a_tag_or_a_digest() {
    let digest = format!("sha256:{}", "0".repeat(64));
    taken(json!({"image": {"repository": "r", "tag": "0.1.0"}}));
    taken(json!({"image": {"repository": "r", "digest": digest}}));
    let none = refused(json!({"image": {"repository": "r"}}));
    assert!(none.contains("spec.image: set either tag or digest"), "{none}");
    let both = refused(json!({"image": {"repository": "r", "tag": "t", "digest": digest}}));
    assert!(both.contains("not both"), "{both}");
    let tag = refused(json!({"image": {"repository": "r", "tag": digest}}));
    assert!(tag.contains("spec.image.tag") && tag.contains("spec.image.digest"), "{tag}");
    let short = refused(json!({"image": {"repository": "r", "digest": "sha256:00"}}));
    assert!(short.contains("64 hexadecimal digits"), "{short}");
}

#[test]
fn values_have_their_units() {
    for lease in ["10s", "1500ms", "3d"] {
        taken(json!({"masters": {"config": {"lease": lease}}}));
    }
    for lease in ["10", "1.5s", "s", "10 s", "10S", ""] {
        let text = refused(json!({"masters": {"config": {"lease": lease}}}));
        assert!(text.contains("spec.masters.config.lease") && text.contains("10s"), "{text}");
    }
    let text = refused(json!({"masters": {"config": {"trashGrace": "3 days"}}}));
    assert!(text.contains("spec.masters.config.trashGrace"), "{text}");
    let text = refused(json!({"masters": {"config": {"heartbeat": "1"}}}));
    assert!(text.contains("spec.masters.config.heartbeat"), "{text}");
    let text = refused(json!({"chunkSize": "64MB"}));
    assert!(text.contains("spec.chunkSize") && text.contains("MiB"), "{text}");
    let text = refused(json!({"chunkservers": {"config": {"pushBuffer": "1Gi"}}}));
    assert!(text.contains("spec.chunkservers.config.pushBuffer"), "{text}");
    let text = refused(json!({"chunkservers": {"config": {"reserve": "x"}}}));
    assert!(text.contains("spec.chunkservers.config.reserve"), "{text}");
    taken(json!({"masters": {"storage": {"size": "1.5Ti"}}}));
    for size in [
        "0",
        "10",
        "10GiB",
        "-1Gi",
        "+10Gi",
        "1m",
        "1e12",
        "100Ei",
        "1000000000000000000Gi",
        "255Mi",
        "x",
        "",
    ] {
        let text = refused(json!({"masters": {"storage": {"size": size}}}));
        assert!(text.contains("spec.masters.storage.size"), "{size}: {text}");
        let text = refused(json!({"chunkservers": {"storage": {"size": size}}}));
        assert!(text.contains("spec.chunkservers.storage.size"), "{size}: {text}");
    }
}

#[test]
fn what_could_not_be_mended_later_is_refused_at_once() {
    for size in ["128KiB", "512MiB", "131072", "131072B", "1024KiB", "0064MiB"] {
        taken(json!({"chunkSize": size}));
    }
    for size in ["100KiB", "64KiB", "129KiB", "1GiB", "0", "1B", "9999999TiB", "9999999999999TiB"] {
        let text = refused(json!({"chunkSize": size}));
        assert!(
            text.starts_with("spec.chunkSize: write a multiple of 64KiB from 128KiB"),
            "{text}"
        );
    }
    let volume = |size: &str, config: Value| json!({"chunkservers": {"storage": {"size": size}, "config": config}});
    taken(volume("500Mi", json!({"reserve": "100MiB"})));
    taken(volume("1.5Gi", json!({})));
    for spec in [
        volume("500Mi", json!({})),
        volume("1Gi", json!({})),
        volume("500Mi", json!({"reserve": "500MiB"})),
        volume("500M", json!({"reserve": "500000000"})),
        volume("100Gi", json!({"reserve": "1TiB"})),
    ] {
        let text = refused(spec);
        assert!(text.starts_with("spec.chunkservers.storage.size: must be above"), "{text}");
        assert!(text.contains("1GiB when it is left out"), "{text}");
    }
}

/// Each of these stopped a cluster behind its acceptance once, or could never be mended again.
#[test]
fn what_kubernetes_would_refuse_later_is_refused_with_its_field() {
    let masters = |part: Value| json!({"masters": part});
    let scheduling = |part: Value| json!({"masters": {"scheduling": part}});
    let tolerates = |one: Value| scheduling(json!({"tolerations": [{"operator": "Exists"}, one]}));
    let clients = |one: Value| json!({"networkPolicy": {"clientNamespaceSelector": {"matchExpressions": [one]}}});
    let domain = |selector: Value| json!({"chunkservers": {"domains": [{"name": "a", "nodeSelector": selector}]}});
    let long = "a".repeat(64);
    let table = [
        (json!({"image": {"repository": "x/gfs:0.1.0", "tag": "0.1.0"}}), "spec.image.repository"),
        (json!({"image": {"repository": "Registry/GFS", "tag": "0.1.0"}}), "spec.image.repository"),
        (
            tolerates(json!({"key": "k", "operator": "Exists", "value": "v"})),
            "spec.masters.scheduling.tolerations[1].value",
        ),
        (
            tolerates(json!({"key": "k", "value": "not ok!"})),
            "spec.masters.scheduling.tolerations[1].value",
        ),
        (
            tolerates(json!({"key": "bad key", "operator": "Exists"})),
            "spec.masters.scheduling.tolerations[1].key",
        ),
        (tolerates(json!({"value": "v"})), "spec.masters.scheduling.tolerations[1].key"),
        (
            tolerates(json!({"key": "k", "effect": "NoSchedule", "tolerationSeconds": 1})),
            "spec.masters.scheduling.tolerations[1].tolerationSeconds",
        ),
        (
            masters(json!({"resources": {"requests": {"foo": 1}}})),
            "spec.masters.resources.requests",
        ),
        (
            masters(json!({"resources": {"limits": {"example.org/foo": "1"}}})),
            "spec.masters.resources.limits",
        ),
        (
            clients(json!({"key": "k", "operator": "In"})),
            "spec.networkPolicy.clientNamespaceSelector.matchExpressions[0].values",
        ),
        (
            clients(json!({"key": "k", "operator": "NotIn", "values": []})),
            "spec.networkPolicy.clientNamespaceSelector.matchExpressions[0].values",
        ),
        (
            clients(json!({"key": "k", "operator": "Exists", "values": ["v"]})),
            "spec.networkPolicy.clientNamespaceSelector.matchExpressions[0].values",
        ),
        (
            clients(json!({"key": "k", "operator": "In", "values": ["a b"]})),
            "spec.networkPolicy.clientNamespaceSelector.matchExpressions[0].values",
        ),
        (
            clients(json!({"key": "bad key", "operator": "Exists"})),
            "spec.networkPolicy.clientNamespaceSelector.matchExpressions[0].key",
        ),
        (
            json!({"networkPolicy": {"clientNamespaceSelector": {"matchLabels": {"k": "a b"}}}}),
            "spec.networkPolicy.clientNamespaceSelector.matchLabels",
        ),
        (
            scheduling(json!({"priorityClassName": "Bad_Name"})),
            "spec.masters.scheduling.priorityClassName",
        ),
        (
            scheduling(json!({"nodeSelector": {"zone": "a b"}})),
            "spec.masters.scheduling.nodeSelector",
        ),
        (
            masters(json!({"storage": {"size": "1Gi", "storageClassName": "Not A Class"}})),
            "spec.masters.storage.storageClassName",
        ),
        (masters(json!({"storage": {"size": "10"}})), "spec.masters.storage.size"),
        (
            masters(json!({"config": {"lease": "1s", "heartbeat": "2s"}})),
            "spec.masters.config.heartbeat",
        ),
        (masters(json!({"config": {"lease": "999ms"}})), "spec.masters.config.heartbeat"),
        (masters(json!({"config": {"heartbeat": "1m"}})), "spec.masters.config.heartbeat"),
        (domain(json!({"zone": "not ok!"})), "spec.chunkservers.domains[0].nodeSelector"),
        (domain(json!({"bad key": "a"})), "spec.chunkservers.domains[0].nodeSelector"),
        (domain(json!({(long): "a"})), "spec.chunkservers.domains[0].nodeSelector"),
    ];
    for (spec, field) in table {
        assert_eq!(refused_fields(&spec), [field], "{spec}");
        let cluster = crate::testing::manifest(&spec.to_string());
        let problems = crate::validate::validate(&cluster, &crate::testing::defaults());
        let fields: Vec<_> =
            problems.expect_err("as wrong").into_iter().map(|it| it.field).collect();
        // There it knows the name of the domain, and which label it is.
        let field = field.replace("[0].nodeSelector", "[a].nodeSelector");
        assert!(fields.len() == 1 && fields[0].starts_with(&field), "{spec}: {fields:?}");
    }
}

#[test]
fn what_kubernetes_takes_is_taken() {
    for spec in [
        json!({"image": {"repository": "registry.example:5000/team/gfs", "tag": "0.1.0"}}),
        json!({"image": {"repository": "localhost/gfs", "tag": "0.1.0"}}),
        json!({"image": {"repository": "[::1]:5000/gfs", "tag": "0.1.0"}}),
        json!({"masters": {"scheduling": {
            "nodeSelector": {"topology.kubernetes.io/zone": "a", "x": "", "A_b.c": "D-e_f.G"},
            "tolerations": [
                {"operator": "Exists"},
                {"key": "example.org/dedicated", "value": "gfs", "effect": "NoSchedule"},
                {"key": "k", "operator": "Equal", "value": ""},
                {"key": "k", "operator": "Exists", "value": "", "effect": "NoExecute", "tolerationSeconds": 60},
            ],
            "priorityClassName": "system-cluster-critical",
        }}}),
        json!({"masters": {"resources": {"requests": {"cpu": 1, "memory": "1Gi", "ephemeral-storage": "1M"}}}}),
        json!({"masters": {"storage": {"size": "256Mi", "storageClassName": "a.b-c"}}}),
        json!({"masters": {"storage": {"size": "1Ei"}}}),
        json!({"masters": {"config": {"lease": "1s", "heartbeat": "500ms"}}}),
        json!({"masters": {"config": {"lease": "10m", "heartbeat": "5m"}}}),
        json!({"networkPolicy": {"clientNamespaceSelector": {}}}),
        json!({"networkPolicy": {"clientNamespaceSelector": {"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "k", "operator": "In", "values": ["v", ""]},
            {"key": "example.org/k", "operator": "DoesNotExist"},
            {"key": "k", "operator": "Exists", "values": []},
        ]}}}),
    ] {
        assert_eq!(refused_fields(&spec), [""; 0], "{spec}");
        crate::testing::validated(&spec.to_string());
    }
}

/// A text that only `validate` refused could not be mended where a field is fixed; nor may it refuse less, for its own sake.
mod agreement {
    use super::*;
    use proptest::prelude::*;

    fn agree(field: &str, spec: &Value) -> Result<(), TestCaseError> {
        let by_rule = refused_fields(spec).iter().any(|path| path.starts_with(field));
        let cluster = crate::testing::manifest(&spec.to_string());
        let checked = crate::validate::validate(&cluster, &crate::testing::defaults());
        let problems = checked.err().unwrap_or_default();
        let by_hand = problems.iter().any(|it| it.field.starts_with(field));
        prop_assert_eq!(by_rule, by_hand, "{} {}: {:?}", field, spec, problems);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn on_sizes_of_volumes(size in "[+-]?[0-9]{0,5}([.][0-9]{0,4})?(k|K|m|u|n|e|[KMGTPE]i?|e[0-9]{1,2})?") {
            agree("spec.masters.storage.size", &json!({"masters": {"storage": {"size": size}}}))?;
        }

        #[test]
        fn on_names_of_classes(name in "[a-zA0._-]{1,6}") {
            let storage = json!({"size": "1Gi", "storageClassName": name});
            agree("spec.masters.storage.storageClassName", &json!({"masters": {"storage": storage}}))?;
        }

        #[test]
        fn on_labels_of_nodes(key in "[a-zA0._/-]{0,6}", value in "[a-zA0._/-]{0,4}") {
            let domain = json!({"name": "a", "nodeSelector": {(key): value}});
            agree("spec.chunkservers.domains", &json!({"chunkservers": {"domains": [domain]}}))?;
        }

        #[test]
        fn on_repositories(repository in "[aA0._/:-]{1,8}") {
            agree("spec.image.repository", &json!({"image": {"repository": repository, "tag": "t"}}))?;
        }
    }
}

/// Patterns are the schema's own: `kube-cel` looks at rules only, so it is asked as by one.
#[test]
fn amounts_are_quantities() {
    let schema = schema();
    let masters = &schema["properties"]["spec"]["properties"]["masters"]["properties"];
    let amount = &masters["resources"]["properties"]["requests"]["additionalProperties"];
    let pattern = amount["pattern"].as_str().unwrap();
    let rule = json!([{"rule": format!("self.matches('{pattern}')")}]);
    let text = json!({"type": "string", "x-kubernetes-validations": rule});
    let is_taken = |value: &str| Validator::new().validate(&text, &json!(value), None).is_ok();
    for value in ["1", "0.5", ".5", "2.", "500m", "1Gi", "1e3", "1E-3", "1E", "100k"] {
        assert!(
            is_taken(value) && crate::validate::quantity::thousandths(value).is_some(),
            "{value}"
        );
    }
    for value in ["lots", "", ".", "-1", "+1", "1 Gi", "1GiB", "1,5", "1.2.3", "1K", "e3"] {
        assert!(
            !is_taken(value) && crate::validate::quantity::thousandths(value).is_none(),
            "{value}"
        );
    }
    assert_eq!(amount["minimum"], json!(0.0), "a number is no text");
}

#[test]
fn a_chunk_has_no_more_replicas_than_there_are_chunkservers() {
    taken(json!({"chunkservers": {"replicas": 2}, "replication": {"factor": 2}}));
    let text = refused(json!({"chunkservers": {"replicas": 2}}));
    assert!(text.contains("spec.replication.factor") && text.contains("chunkservers"), "{text}");
}

#[test]
fn data_is_deleted_only_when_it_was_said_twice() {
    taken(json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes-delete-data"}));
    taken(json!({"deletionConfirmation": "yes-delete-data"}));
    for spec in [
        json!({"deletionPolicy": "Delete"}),
        json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes"}),
    ] {
        let text = refused(spec);
        assert!(text.contains("set spec.deletionConfirmation to yes-delete-data"), "{text}");
    }
}

#[test]
fn shadows_wait_until_masters_replicate() {
    let text = refused(json!({"shadows": {"replicas": 1}}));
    assert!(text.contains("spec.shadows.replicas must be 0"), "{text}");
}

#[test]
fn a_domain_has_a_name_of_its_own() {
    taken(json!({"chunkservers": {"domains": [{"name": "zone-a"}, {"name": "b", "weight": 2}]}}));
    let text = refused(json!({"chunkservers": {"domains": [{"name": "Zone"}]}}));
    assert!(text.contains("spec.chunkservers.domains[].name"), "{text}");
}

#[test]
fn chunkservers_only_become_more() {
    let with = |replicas: i32| json!({"chunkservers": {"replicas": replicas}});
    change_taken(with(3), with(3));
    change_taken(with(3), with(5));
    let text = change_refused(with(5), with(4));
    assert!(text.contains("spec.chunkservers.replicas cannot be lowered"), "{text}");
    let text = change_refused(with(5), json!({}));
    assert!(text.contains("spec.chunkservers.replicas"), "the default is fewer: {text}");
}

#[test]
fn what_is_fixed_at_creation_does_not_change() {
    let changes = [
        ("spec.chunkSize", json!({"chunkSize": "1MiB"})),
        ("spec.masters.storage", json!({"masters": {"storage": {"size": "11Gi"}}})),
        (
            "spec.masters.storage",
            json!({"masters": {"storage": {"size": "10Gi", "storageClassName": "x"}}}),
        ),
        ("spec.chunkservers.storage", json!({"chunkservers": {"storage": {"size": "2Gi"}}})),
        ("spec.chunkservers.domains", json!({"chunkservers": {"domains": [{"name": "a"}]}})),
        (
            "spec.chunkservers.domains",
            json!({"chunkservers": {"domains": [{"name": "default"}, {"name": "a"}]}}),
        ),
        (
            "spec.chunkservers.domains",
            json!({"chunkservers": {"domains": [{"name": "default", "weight": 2}]}}),
        ),
    ];
    for (field, changed) in changes {
        let text = change_refused(json!({}), changed.clone());
        assert!(text.starts_with(field) && text.contains("cannot be changed"), "{text}");
        assert!(text.contains("status.initialized") && text.contains("delete it"), "{text}");
        change_refused(changed.clone(), json!({}));
        change_taken(changed.clone(), changed);
    }
    change_taken(json!({}), json!({"chunkSize": "64MiB", "masters": {"config": {"lease": "5s"}}}));
}

#[test]
fn it_can_be_scaled_and_shown() {
    let definition = definition();
    let version = &definition.spec.versions[0];
    let scale = version.subresources.as_ref().and_then(|sub| sub.scale.as_ref()).expect("/scale");
    assert_eq!(scale.spec_replicas_path, ".spec.chunkservers.replicas");
    assert_eq!(scale.status_replicas_path, ".status.chunkservers.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.chunkservers.selector"));
    let columns = version.additional_printer_columns.iter().flatten();
    let names: Vec<_> = columns.map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["Ready", "Reason", "Primary", "Chunkservers", "Wanted", "Image", "Age"]);
    let conditions = &schema()["properties"]["status"]["properties"]["conditions"];
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
}

#[test]
fn an_object_of_the_types_is_one_of_the_schema() {
    let cluster = GfsCluster::new("prod", serde_json::from_value(json!({})).unwrap());
    assert_eq!(refusals(&serde_json::to_value(&cluster).unwrap(), None), [""; 0]);
}
