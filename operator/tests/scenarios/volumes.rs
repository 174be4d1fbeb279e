//! Volumes that go, and volumes that were there before: nothing of theirs is given up for a manifest.

use gfs_operator::controller::Outlook;
use gfs_types::ids::ClusterUid;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::world::World;
use crate::{installed, one_pass, operator, until_ready};

fn deleted_pods(calls: &[String]) -> Vec<&str> {
    calls.iter().filter_map(|call| call.strip_prefix("DELETE pods ")).collect()
}

/// Two chunkservers, and two replicas of each chunk.
fn two() -> Value {
    json!({"chunkservers": {"replicas": 2}, "replication": {"factor": 2}})
}

/// What only the chunkservers run otherwise.
fn change(world: &World) {
    world.edit(|cluster| {
        cluster["spec"]["chunkservers"]["config"] = json!({"logFormat": "text"});
    });
}

/// Every pod has been ready since.
fn ready_since(world: &World, since: Timestamp) {
    let condition =
        json!({"type": "Ready", "status": "True", "lastTransitionTime": since.to_string()});
    let mut state = world.state();
    let names: Vec<_> = state.all("pods").map(|pod| pod["metadata"]["name"].clone()).collect();
    for name in names {
        let name = name.as_str().unwrap();
        state.change("pods", name, |pod| pod["status"]["conditions"] = json!([condition]));
    }
}

fn ten_minutes_ago() -> Timestamp {
    Timestamp::now() - SignedDuration::from_mins(11)
}

/// The pods still use them, so the data is whole: a restart is what would take it.
#[tokio::test]
async fn no_pod_is_restarted_whose_claim_was_deleted() {
    let (world, ctx) = installed(two()).await;
    world.delete_claim("data-prod-chunk-default-0");
    world.delete_claim("data-prod-chunk-default-1");
    change(&world);
    one_pass(&ctx).await.unwrap();
    for _ in 0..3 {
        world.turn();
        ready_since(&world, ten_minutes_ago());
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    }
    let calls = world.take_calls();
    assert!(deleted_pods(&calls).is_empty(), "{calls:?}");
    assert_eq!(world.state().events, ["VolumeDeleted"]);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "VolumeDeleted".to_owned()));
    assert!(world.message("Stalled").contains("data-prod-chunk-default-0"));
    // It serves, and says so.
    assert_eq!(world.condition("Ready").0, "True");
}

#[tokio::test]
async fn a_master_whose_claim_was_deleted_is_not_restarted() {
    let (world, ctx) = installed(json!({})).await;
    world.delete_claim("data-prod-master-0");
    // Told before there is anything to restart.
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    world.edit(|cluster| cluster["spec"] = json!({"masters": {"config": {"heartbeat": "2s"}}}));
    for _ in 0..3 {
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
        world.turn();
    }
    let calls = world.take_calls();
    assert!(deleted_pods(&calls).is_empty(), "{calls:?}");
    assert_eq!(world.state().volumes.len(), 1, "it holds what it held");
    assert!(world.message("Stalled").contains("data-prod-master-0"));
}

/// Wherever in a pass the claim is deleted: the pod goes only if its claim was read, whole, by the request before.
#[tokio::test]
async fn a_claim_that_is_deleted_during_the_pass_keeps_its_pod() {
    const POD: &str = "prod-chunk-default-0";
    let read = format!("GET persistentvolumeclaims data-{POD}");
    let prepared = || async {
        let (world, ctx) = installed(two()).await;
        change(&world);
        one_pass(&ctx).await.unwrap();
        world.turn();
        world.take_calls();
        (world, ctx)
    };
    let (undisturbed, ctx) = prepared().await;
    let before = undisturbed.state().steps;
    one_pass(&ctx).await.unwrap();
    let steps = undisturbed.state().steps - before;
    assert_eq!(deleted_pods(&undisturbed.take_calls()), [POD]);
    let mut kept = 0;
    for step in 1..=steps {
        let (world, ctx) = prepared().await;
        let at = world.state().steps + step;
        world.state().hang_at = Some(at);
        let passing = one_pass(&ctx);
        tokio::pin!(passing);
        tokio::select! {
            _ = &mut passing => panic!("step {step} never came"),
            () = world.hung.notified() => {}
        }
        world.state().hang_at = None;
        let was_read = world.state().calls.contains(&read);
        world.delete_claim(&format!("data-{POD}"));
        world.wake.notify_one();
        passing.await.unwrap();
        let calls = world.take_calls();
        assert!(was_read || deleted_pods(&calls).is_empty(), "step {step} of {steps}: {calls:?}");
        kept += usize::from(deleted_pods(&calls).is_empty());
    }
    assert!(kept > 20, "{kept} of {steps}");
}

/// A claim that a person made by hand may have no labels, and is a claim all the same.
#[tokio::test]
async fn a_claim_without_labels_is_found_by_its_name() {
    let (world, ctx) = installed(json!({})).await;
    let claim = "data-prod-chunk-default-1";
    world.state().change("persistentvolumeclaims", claim, |claim| {
        drop(claim["metadata"].as_object_mut().unwrap().remove("labels"));
    });
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
    let calls = world.take_calls();
    let read = format!("GET persistentvolumeclaims {claim}");
    assert_eq!(calls.iter().filter(|call| **call == read).count(), 1, "{calls:?}");
    assert!(!calls.contains(&"GET persistentvolumeclaims data-prod-master-0".to_owned()));
    world.delete_claim(claim);
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
}

/// One chunkserver came back with an empty volume: the other has the only replica of every chunk, whatever the time.
#[tokio::test]
async fn the_last_replica_is_not_restarted_however_long_the_others_lack() {
    let (world, ctx) = installed(two()).await;
    change(&world);
    world.state().chunks_below_goal = 24;
    one_pass(&ctx).await.unwrap();
    world.turn();
    ready_since(&world, Timestamp::now());
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    assert_eq!(world.condition("Reconciling"), ("True".to_owned(), "RollingOut".to_owned()));
    for _ in 0..3 {
        ready_since(&world, ten_minutes_ago());
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    }
    let calls = world.take_calls();
    assert!(deleted_pods(&calls).is_empty(), "{calls:?}");
    assert_eq!(world.state().events, ["ReplicasMissing"]);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "ReplicasMissing".to_owned()));
    let message = world.message("Stalled");
    assert!(message.contains("24 of 24 chunks"), "{message}");
    assert!(message.contains("kubectl delete pod prod-chunk-default-0"), "{message}");
    // They are there again.
    world.state().chunks_below_goal = 0;
    until_ready(&world, &ctx).await;
    let calls = world.take_calls();
    let order = ["prod-chunk-default-0", "prod-chunk-default-1"];
    assert_eq!(deleted_pods(&calls), order);
    assert_eq!(world.condition("Stalled").0, "False");
}

/// Labels of a claim, by which it is found.
fn labels(component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "gfs",
        "app.kubernetes.io/instance": "prod",
        "app.kubernetes.io/component": component,
    })
}

/// The chunkservers' volumes were retained, and the master's was lost: a fresh empty cluster is not what was asked for.
#[tokio::test]
async fn nothing_is_formatted_beside_volumes_of_an_earlier_cluster() {
    // Its master's claim is made now; or it was made anew before, behind the loss.
    for masters in [None, Some(-30)] {
        let world = World::with(json!({}));
        let ctx = operator(&world);
        let retained = "prod-chunk-default-0";
        world.state().put_claim(retained, &labels("chunkserver"), -60);
        if let Some(minutes) = masters {
            world.state().put_claim("prod-master-0", &labels("master"), minutes);
        }
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
        for _ in 0..3 {
            world.turn();
            assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
        }
        let writes = world.take_writes();
        assert!(!writes.contains(&"format".to_owned()), "{writes:?}");
        assert_eq!(world.state().formatted, 0);
        assert_eq!(world.state().events, ["EarlierVolumes"]);
        for (type_, status) in [("Stalled", "True"), ("Ready", "False")] {
            let expected = (status.to_owned(), "EarlierVolumes".to_owned());
            assert_eq!(world.condition(type_), expected, "{type_}");
        }
        assert!(world.message("Stalled").contains("data-prod-chunk-default-0"));
        // The master's volume comes back, with what it held.
        world.state().volumes.insert("prod-master-0".to_owned(), ClusterUid(42));
        until_ready(&world, &ctx).await;
        assert_eq!(world.state().formatted, 0);
        assert!(world.state().events.contains(&"Adopted".to_owned()));
    }
}

/// An install that came to nothing, deleted and begun again: its volumes are all there, and all blank.
#[tokio::test]
async fn volumes_of_an_install_without_success_are_formatted() {
    let world = World::with(json!({}));
    let ctx = operator(&world);
    world.state().put_claim("prod-master-0", &labels("master"), -60);
    world.state().put_claim("prod-chunk-default-0", &labels("chunkserver"), -60);
    until_ready(&world, &ctx).await;
    assert_eq!(world.state().formatted, 1);
}

/// Adopted under other domains: the chunkservers are new and blank, and those that have the chunks are no more.
#[tokio::test]
async fn a_cluster_whose_chunks_are_all_missing_is_not_ready() {
    let (world, ctx) = installed(json!({})).await;
    world.state().put_claim("prod-chunk-other-0", &labels("chunkserver"), -60);
    (world.state().chunks_below_goal, world.state().chunks_missing) = (24, 24);
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    let told = ("False".to_owned(), "ChunksMissing".to_owned());
    assert_eq!(world.condition("ChunksAvailable"), told);
    assert_eq!(world.condition("Ready"), told);
    assert_eq!(world.condition("ChunkserversAvailable").0, "True");
    let message = world.message("Ready");
    assert!(message.contains("24 of 24 chunks"), "{message}");
    assert!(message.contains("data-prod-chunk-other-0"), "{message}");
    // Some have fewer than they should: all can be read.
    world.state().chunks_missing = 0;
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
    let told = ("True".to_owned(), "ReplicasMissing".to_owned());
    assert_eq!(world.condition("ChunksAvailable"), told);
    world.state().chunks_below_goal = 0;
    one_pass(&ctx).await.unwrap();
    assert_eq!(world.condition("ChunksAvailable").1, "AllThere");
}

#[tokio::test]
async fn an_adopted_volume_with_chunks_of_another_size_is_told_of() {
    let world = World::with(json!({"chunkSize": "4MiB"}));
    let ctx = operator(&world);
    world.state().volumes.insert("prod-master-0".to_owned(), ClusterUid(42));
    world.state().chunk_bytes = Some(1 << 20);
    for _ in 0..3 {
        one_pass(&ctx).await.unwrap();
        world.turn();
    }
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    let told = ("True".to_owned(), "ChunkSizeDiffers".to_owned());
    assert_eq!(world.condition("Stalled"), told);
    assert!(world.message("Stalled").contains("chunkSize: 1MiB"));
    assert_eq!(world.condition("Ready").0, "True");
    assert!(world.state().events.contains(&"ChunkSizeDiffers".to_owned()));
    world.state().chunk_bytes = Some(4 << 20);
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
}
