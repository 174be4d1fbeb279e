//! Whether a live object still has everything that was applied.
//!
//! The API server adds to what is applied: defaults, status, fields of other managers. So the question is not whether two
//! objects are equal, but whether one covers the other. Selectors, and who may connect, are the exception: there one label
//! or one peer more opens or closes something, and both must say the same.

use serde_json::{Map, Value};

use super::kinds::Kind;
use crate::validate::quantity;

/// The path of the first field of `wanted` that `live` lacks or has otherwise. `None`: nothing has to be written.
#[must_use]
pub fn first_difference(kind: Kind, wanted: &Value, live: &Value) -> Option<String> {
    let mut path = Vec::new();
    let comparison = Comparison { shared: kind.shared_lists(), exact: kind.exact_fields() };
    comparison.differs(wanted, live, &mut path).then(|| path.join("."))
}

struct Comparison {
    shared: &'static [&'static str],
    exact: &'static [&'static str],
}

impl Comparison {
    /// Whether they differ, and then `path` says where.
    fn differs(&self, wanted: &Value, live: &Value, path: &mut Vec<String>) -> bool {
        if self.is_exact(path) {
            return stored(wanted) != stored(live);
        }
        match (wanted, live) {
            (Value::Object(wanted), Value::Object(live)) => wanted.iter().any(|(key, wanted)| {
                path.push(key.clone());
                let live = live.get(key).unwrap_or(&Value::Null);
                let differs = self.differs(wanted, live, path);
                if !differs {
                    path.pop();
                }
                differs
            }),
            (Value::Array(wanted), Value::Array(live)) => self.lists_differ(wanted, live, path),
            // What is empty is not stored.
            (wanted, Value::Null) => !is_empty(wanted),
            (Value::Null, live) => !is_empty(live),
            (wanted, live) => wanted != live && !same_quantity(wanted, live, path),
        }
    }

    fn is_exact(&self, path: &[String]) -> bool {
        matches!(path, [spec, field] if spec == "spec" && self.exact.contains(&field.as_str()))
    }

    fn lists_differ(&self, wanted: &[Value], live: &[Value], path: &mut Vec<String>) -> bool {
        let shared = path.last().is_some_and(|name| self.shared.contains(&name.as_str()));
        if shared {
            return wanted.iter().any(|wanted| {
                let covers = |live| !self.differs(wanted, live, &mut path.clone());
                !live.iter().any(covers)
            });
        }
        if wanted.len() != live.len() {
            return true;
        }
        wanted.iter().zip(live).enumerate().any(|(index, (wanted, live))| {
            path.push(index.to_string());
            let differs = self.differs(wanted, live, path);
            if !differs {
                path.pop();
            }
            differs
        })
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// The value without what is empty, as the API server stores it. An empty selector stays: it is another than none.
fn stored(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let stored = fields.iter().map(|(key, value)| (key, stored(value)));
            let kept = stored.filter(|(key, value)| {
                !is_empty(value) || (value.is_object() && key.ends_with("Selector"))
            });
            Value::Object(kept.map(|(key, value)| (key.clone(), value)).collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(stored).collect()),
        other => other.clone(),
    }
}

/// The API server writes 1024Mi as 1Gi.
fn same_quantity(wanted: &Value, live: &Value, path: &[String]) -> bool {
    let parent = path.len().checked_sub(2).and_then(|index| path.get(index));
    let is_quantity = parent.is_some_and(|parent| parent == "requests" || parent == "limits")
        || path.last().is_some_and(|name| name == "sizeLimit");
    let parse = |value: &Value| match value {
        Value::String(text) => quantity::thousandths(text),
        Value::Number(number) => quantity::thousandths(&number.to_string()),
        _ => None,
    };
    is_quantity && parse(wanted).is_some() && parse(wanted) == parse(live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differs(wanted: Value, live: Value) -> Option<String> {
        first_difference(Kind::StatefulSet, &wanted, &live)
    }

    #[test]
    fn what_the_server_and_others_add_is_no_difference() {
        let wanted = json!({
            "metadata": {"name": "a", "labels": {"x": "1"}, "ownerReferences": [{"uid": "u"}]},
            "spec": {
                "replicas": 1, "selector": {}, "nodes": [], "gone": null,
                "containers": [{"name": "gfs", "env": [{"name": "A", "value": "1"}]}],
            },
        });
        let live = json!({
            "metadata": {
                "name": "a", "uid": "7", "labels": {"x": "1", "theirs": "2"},
                "ownerReferences": [{"uid": "v"}, {"uid": "u", "controller": true}],
            },
            "spec": {
                "replicas": 1, "policy": "default",
                "containers": [
                    {"name": "sidecar"},
                    {"name": "gfs", "image": "i", "env": [{"name": "B"}, {"name": "A", "value": "1"}]},
                ],
            },
            "status": {"replicas": 1},
        });
        assert_eq!(differs(wanted, live), None);
    }

    #[test]
    fn what_is_ours_and_was_changed_is_found() {
        let table = [
            (json!({"spec": {"replicas": 3}}), json!({"spec": {"replicas": 4}}), "spec.replicas"),
            (json!({"spec": {"replicas": 3}}), json!({"spec": {}}), "spec.replicas"),
            (json!({"spec": {"replicas": 3}}), json!({}), "spec"),
            (json!({"data": {"a": "1"}}), json!({"data": {"a": "1 "}}), "data.a"),
            (json!({"a": {}}), json!({"a": 1}), "a"),
            // The whole list is ours.
            (json!({"args": ["a"]}), json!({"args": ["a", "b"]}), "args"),
            (json!({"args": ["a", "b"]}), json!({"args": ["b", "a"]}), "args.0"),
            (json!({"rules": [{"port": 1}]}), json!({"rules": [{"port": 2}]}), "rules.0.port"),
            (
                json!({"env": [{"name": "A", "value": "1"}]}),
                json!({"env": [{"name": "A", "value": "2"}]}),
                "env",
            ),
        ];
        for (wanted, live, path) in table {
            assert_eq!(differs(wanted.clone(), live).as_deref(), Some(path), "{wanted}");
        }
        // Where others may add in one kind, they may not in another.
        let (wanted, live) = (json!({"env": [{"a": 1}]}), json!({"env": [{"a": 1}, {"a": 2}]}));
        assert_eq!(first_difference(Kind::StatefulSet, &wanted, &live), None);
        assert_eq!(first_difference(Kind::NetworkPolicy, &wanted, &live).as_deref(), Some("env"));
    }

    #[test]
    fn what_opens_or_closes_the_fence_is_found() {
        let spec = json!({"spec": {
            "podSelector": {"matchLabels": {"a": "1"}},
            "policyTypes": ["Ingress"],
            "ingress": [{
                "from": [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {}}}],
                "ports": [{"port": 7400, "protocol": "TCP"}],
            }],
        }});
        let edited = |pointer: &str, key: &str, value: Value| {
            let mut live = spec.clone();
            let at = live.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            at.insert(key.to_owned(), value);
            first_difference(Kind::NetworkPolicy, &spec, &live)
        };
        let table = [
            ("/spec/podSelector/matchLabels", "b", json!("2"), "spec.podSelector"),
            ("/spec/ingress/0/from/0", "namespaceSelector", json!({}), "spec.ingress"),
            (
                "/spec/ingress/0/from/0",
                "podSelector",
                json!({"matchLabels": {}, "x": 1}),
                "spec.ingress",
            ),
            ("/spec/ingress/0/from/1", "podSelector", json!({}), "spec.ingress"),
            ("/spec/ingress/0/ports/0", "endPort", json!(65535), "spec.ingress"),
            ("/spec/ingress/0", "ports", json!([]), "spec.ingress"),
            ("/spec", "ingress", json!([{}]), "spec.ingress"),
            ("/spec", "policyTypes", json!(["Egress"]), "spec.policyTypes"),
        ];
        for (pointer, key, value, field) in table {
            let found = edited(pointer, key, value);
            assert_eq!(found.as_deref(), Some(field), "{pointer}/{key}");
        }
        // Empty maps are not stored; egress, which is not ours, opens nothing and would not go by a write of ours.
        let none = edited("/spec/ingress/0/from/1", "namespaceSelector", json!({}));
        assert_eq!(none, None);
        assert_eq!(edited("/spec", "egress", json!([{}])), None);
        for kind in [Kind::Service, Kind::PodDisruptionBudget] {
            let wanted = json!({"spec": {"selector": {"a": "1"}}});
            let live = json!({"spec": {"selector": {"a": "1", "b": "2"}}});
            let field = first_difference(kind, &wanted, &live);
            assert_eq!(field.as_deref(), Some("spec.selector"), "{kind:?}");
            assert_eq!(first_difference(kind, &wanted, &wanted), None);
        }
    }

    #[test]
    fn entries_that_a_write_would_not_take_away_are_no_difference() {
        let table = [
            (Kind::Service, "ports", json!({"port": 7400, "protocol": "TCP"})),
            (Kind::StatefulSet, "ports", json!({"containerPort": 7400, "protocol": "TCP"})),
            (Kind::StatefulSet, "topologySpreadConstraints", json!({"topologyKey": "host"})),
        ];
        for (kind, list, entry) in table {
            let wanted = json!({"spec": {list: [entry]}});
            let live = json!({"spec": {list: [{"theirs": 1}, entry]}});
            assert_eq!(first_difference(kind, &wanted, &live), None, "{kind:?} {list}");
            let live = json!({"spec": {list: [{"theirs": 1}]}});
            assert!(first_difference(kind, &wanted, &live).is_some(), "{kind:?} {list}");
        }
    }

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        let request = |amount: Value| json!({"resources": {"requests": {"memory": amount}}});
        assert_eq!(differs(request(json!("1024Mi")), request(json!("1Gi"))), None);
        assert_eq!(differs(request(json!("0.5")), request(json!("500m"))), None);
        assert!(differs(request(json!("1Gi")), request(json!("1G"))).is_some());
        assert!(differs(request(json!("x")), request(json!("y"))).is_some());
        // Elsewhere a text is a text.
        assert!(differs(json!({"data": {"a": "1024Mi"}}), json!({"data": {"a": "1Gi"}})).is_some());
    }
}
