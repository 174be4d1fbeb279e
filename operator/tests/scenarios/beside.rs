//! The controller: clusters beside each other.

use std::sync::Arc;
use std::time::Duration;

use gfs_operator::controller;
use serde_json::json;

use crate::operator;
use crate::world::{NAME, NAMESPACE, World};

#[tokio::test]
async fn a_cluster_that_cannot_be_read_stops_no_other() {
    let world = World::with(json!({}));
    let body = json!({
        "apiVersion": "gfs.rs/v1alpha1", "kind": "GfsCluster",
        "metadata": {"name": "bad", "namespace": NAMESPACE, "uid": "of the bad", "generation": 1},
        "spec": {"chunkservers": "three"},
    });
    world.state().put("gfsclusters", "bad", body);
    let both = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.turn();
            let formatted = world.get("gfsclusters", NAME)["status"]["initialized"] == true;
            let refused = world.state().events.contains(&"SpecRefused".to_owned());
            if formatted && refused {
                return;
            }
        }
    };
    let namespaces = [NAMESPACE.to_owned()];
    let running =
        controller::run(Arc::new(operator(&world)), &namespaces, std::future::pending::<()>());
    tokio::select! {
        () = running => panic!("the controller ended"),
        both = tokio::time::timeout(Duration::from_secs(60), both) => both.expect("passes over both"),
    }
    assert_eq!(world.get("gfsclusters", "bad")["status"]["phase"], "Stalled");
}
