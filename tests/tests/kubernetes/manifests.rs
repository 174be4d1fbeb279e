//! What cannot be is refused where it is typed, and the message names the field.

use anyhow::{Result, ensure};
use gfs_tests::kubernetes::gfs_cluster::manifest;
use gfs_tests::kubernetes::{GfsCluster, Namespace, refused};
use serde_json::{Value, json};

pub(crate) fn wrong_manifests_are_refused_and_name_the_field(namespace: &Namespace) -> Result<()> {
    fresh(namespace)?;
    changed(namespace)
}

/// Specs that nobody may begin with, and what must be named.
fn fresh(namespace: &Namespace) -> Result<()> {
    let digest = format!("sha256:{}", "0".repeat(64));
    let scheduling = |part: Value| json!({"masters": {"scheduling": part}});
    let domain = |labels: Value| json!({"chunkservers": {"domains": [{"name": "a", "nodeSelector": labels}]}});
    let clients = json!({"matchExpressions": [{"key": "k", "operator": "In"}]});
    let wrong = [
        (
            scheduling(json!({"tolerations": [{"operator": "Exists", "key": "k", "value": "v"}]})),
            "tolerations[0].value",
        ),
        (
            scheduling(json!({"tolerations": [{"operator": "Exists", "key": "bad key"}]})),
            "tolerations[0].key",
        ),
        (
            scheduling(json!({"priorityClassName": "Bad_Name"})),
            "masters.scheduling.priorityClassName",
        ),
        (json!({"masters": {"resources": {"requests": {"foo": 1}}}}), "masters.resources.requests"),
        (
            json!({"masters": {"resources": {"requests": {"memory": "lots"}}}}),
            "masters.resources.requests.memory",
        ),
        (
            json!({"networkPolicy": {"clientNamespaceSelector": clients}}),
            "matchExpressions[0].values",
        ),
        (
            json!({"masters": {"config": {"lease": "1s", "heartbeat": "2s"}}}),
            "masters.config.heartbeat",
        ),
        (json!({"masters": {"storage": {"size": "10"}}}), "masters.storage.size"),
        (json!({"masters": {"storage": {"size": "+10Gi"}}}), "masters.storage.size"),
        (
            json!({"masters": {"storage": {"storageClassName": "Not A Class"}}}),
            "masters.storage.storageClassName",
        ),
        (domain(json!({"zone": "not ok!"})), "chunkservers.domains[0].nodeSelector"),
        (domain(json!({"bad key": "a"})), "chunkservers.domains[0].nodeSelector"),
        (json!({"masters": {"storage": {"size": "a lot"}}}), "masters.storage.size"),
        (json!({"masters": {"config": {"lease": "soon"}}}), "masters.config.lease"),
        (json!({"masters": {"colour": "blue"}}), "masters.colour"),
        (json!({"shadows": {"replicas": 1}}), "shadows"),
        (json!({"chunkservers": {"replicas": 0}}), "chunkservers.replicas"),
        (json!({"chunkservers": {"replicas": "three"}}), "chunkservers.replicas"),
        (json!({"chunkservers": {"domains": []}}), "chunkservers.domains"),
        (
            json!({"chunkservers": {"domains": [{"name": "Zone A"}]}}),
            "chunkservers.domains[0].name",
        ),
        (
            json!({"chunkservers": {"domains": [{"name": "a"}, {"name": "a"}]}}),
            "chunkservers.domains",
        ),
        (
            json!({"chunkservers": {"config": {"pushBuffer": "big"}}}),
            "chunkservers.config.pushBuffer",
        ),
        (json!({"replication": {"factor": 0}}), "replication.factor"),
        (json!({"replication": {"factor": 8}}), "replication.factor"),
        (json!({"replication": {"factor": 4}}), "replication.factor"),
        (json!({"chunkSize": "65MB"}), "chunkSize"),
        (
            json!({"image": {"repository": "r", "tag": "t", "digest": digest}}),
            "set either tag or digest",
        ),
        (json!({"image": {"repository": "r", "digest": "sha256:0"}}), "spec.image.digest"),
        (json!({"image": {"repository": "x/gfs:0.1.0", "tag": "0.1.0"}}), "spec.image.repository"),
        (json!({"image": {"repository": "Registry/GFS", "tag": "0.1.0"}}), "spec.image.repository"),
        (json!({"deletionPolicy": "Perhaps"}), "deletionPolicy"),
        (json!({"deletionPolicy": "Delete"}), "deletionConfirmation"),
        (json!({"colour": "blue"}), "colour"),
    ];
    for (spec, field) in wrong {
        names(&namespace.apply_refused(&manifest("wrong", &spec))?, field, &spec)?;
    }
    let long = "a".repeat(31);
    let said = namespace.apply_refused(&manifest(&long, &json!({})))?;
    names(&said, "metadata.name", &json!(long))
}

/// Changes that a cluster does not go along with.
fn changed(namespace: &Namespace) -> Result<()> {
    GfsCluster::apply(namespace, "gfs", &json!({}))?;
    let wrong = [
        (
            json!({"chunkservers": {"replicas": 2}, "replication": {"factor": 2}}),
            "chunkservers.replicas",
        ),
        (json!({"chunkSize": "2MiB"}), "chunkSize"),
        (json!({"masters": {"storage": {"size": "2Gi"}}}), "masters.storage"),
        (json!({"chunkservers": {"storage": {"size": "2Gi"}}}), "chunkservers.storage"),
        (json!({"chunkservers": {"domains": [{"name": "another"}]}}), "chunkservers.domains"),
    ];
    for (spec, field) in wrong {
        names(&namespace.apply_refused(&manifest("gfs", &spec))?, field, &spec)?;
    }
    let here = ["--namespace", &namespace.name, "scale", "gfscluster", "gfs", "--replicas", "2"];
    names(&refused(&here, &[])?, "chunkservers.replicas", &json!("kubectl scale"))?;
    let object = namespace.get("gfscluster", "gfs")?;
    ensure!(object["metadata"]["generation"] == 1, "a refused change changed something: {object}");
    Ok(())
}

fn names(said: &str, field: &str, of: &Value) -> Result<()> {
    ensure!(said.contains(field), "{of} is refused, but {field} is not named: {said}");
    Ok(())
}
