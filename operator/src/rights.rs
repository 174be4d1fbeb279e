//! What the chart grants is what the page says, and no more.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

const TEMPLATES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/gfs-operator/templates");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operator.md");

/// Verbs of each resource.
type Rights = BTreeMap<String, BTreeSet<String>>;

#[derive(Deserialize)]
struct Rule {
    resources: Vec<String>,
    verbs: BTreeSet<String>,
}

/// The rules of the chart's helper, which are YAML without a template.
fn granted() -> Rights {
    let file = std::fs::read_to_string(format!("{TEMPLATES}/_helpers.tpl")).unwrap();
    let (_, rest) = file.split_once("{{- define \"gfs-operator.rules\" -}}").unwrap();
    let (rules, _) = rest.split_once("{{- end }}").unwrap();
    let rules: Vec<Rule> = serde_yaml::from_str(rules).unwrap();
    let each = |rule: Rule| rule.resources.into_iter().map(move |name| (name, rule.verbs.clone()));
    rules.into_iter().flat_map(each).collect()
}

/// The rows of the page's table: resources in backquotes, then verbs.
fn told() -> Rights {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (_, rest) = page.split_once("| Resource | Verbs |").unwrap();
    let rows = rest.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.flat_map(|row| {
        let (names, verbs) = row.trim_matches('|').split_once('|').unwrap();
        let verbs: BTreeSet<_> = verbs.split(',').map(|verb| verb.trim().to_owned()).collect();
        // A remark in brackets is about the row, not a resource.
        let names = names.split('(').next().unwrap_or(names).split('`').skip(1).step_by(2);
        names.map(|name| (name.to_owned(), verbs.clone())).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn the_chart_grants_what_the_page_says() {
    let (mut granted, mut told) = (granted(), told());
    let verbs = |text: &[&str]| text.iter().map(|verb| (*verb).to_owned()).collect::<BTreeSet<_>>();
    // In its own namespace, by a Role of its own; and for one admission plugin, of which the page speaks below.
    assert_eq!(told.remove("leases"), Some(verbs(&["get", "create", "update"])));
    assert_eq!(granted.remove("gfsclusters/finalizers"), Some(verbs(&["update"])));
    assert_eq!(granted, told);
    assert!(granted.len() > 8, "{granted:?}");
    let deleted = granted.iter().filter(|(_, verbs)| verbs.contains("delete"));
    let deleted: Vec<_> = deleted.map(|(name, _)| name.as_str()).collect();
    assert_eq!(deleted, ["networkpolicies", "persistentvolumeclaims", "pods"]);
    let role = std::fs::read_to_string(format!("{TEMPLATES}/role.yaml")).unwrap();
    let lease = "resources: [leases]\n    resourceNames: [{{ $name }}]\n    verbs: [get, update]\n";
    assert!(role.contains(lease), "{role}");
}
