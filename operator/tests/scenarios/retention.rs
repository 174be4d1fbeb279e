//! Volumes stay when the manifest says so, whatever else is in the way.

use serde_json::{Value, json};

use crate::world::{NAME, NAMESPACE, World};
use crate::{installed, one_pass, until_ready};

const SETS: [&str; 3] = ["prod-chunk-default", "prod-master", "prod-shadow"];

fn delete() -> Value {
    json!({"deletionPolicy": "Delete", "deletionConfirmation": "yes-delete-data"})
}

/// What each StatefulSet says of its volumes.
fn policies(world: &World) -> [String; 3] {
    SETS.map(|name| {
        let set = world.get("statefulsets", name);
        let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"];
        policy.as_str().unwrap().to_owned()
    })
}

fn told(world: &World) -> Value {
    world.get("gfsclusters", NAME)["status"]["deletionPolicy"].clone()
}

/// A manifest that gives its data up, then is changed by `change`; and one pass.
async fn after(change: impl FnOnce(&mut Value)) -> World {
    let (world, ctx) = installed(delete()).await;
    assert_eq!(
        (policies(&world), told(&world)),
        (["Delete"; 3].map(str::to_owned), json!("Delete"))
    );
    world.edit(change);
    let _refused_or_not = one_pass(&ctx).await;
    world
}

#[track_caller]
fn assert_kept(world: &World) {
    assert_eq!(policies(world), ["Retain"; 3]);
    // The controllers of the sets have not seen it yet.
    assert_eq!(told(world), "Delete");
    assert!(world.state().events.contains(&"VolumesKept".to_owned()));
}

#[tokio::test]
async fn retain_is_carried_out_while_paused() {
    let world = after(|cluster| {
        cluster["metadata"]["annotations"] = json!({"gfs.rs/paused": "true"});
        cluster["spec"] = json!({"chunkservers": {"replicas": 5}});
    })
    .await;
    assert_kept(&world);
    let writes = world.take_writes();
    let sets: Vec<_> = writes.iter().filter(|write| write.contains("statefulsets")).collect();
    assert_eq!(
        sets,
        SETS.map(|name| format!("PATCH statefulsets {name}")).each_ref(),
        "{writes:?}"
    );
    assert!(!writes.iter().any(|write| write.starts_with("APPLY")), "{writes:?}");
    let set = world.get("statefulsets", "prod-chunk-default");
    assert_eq!(set["spec"]["replicas"], 3, "all else waits for the end of the pause");
    world.turn();
    let ctx = crate::operator(&world);
    one_pass(&ctx).await.unwrap();
    assert_eq!(told(&world), "Retain");
    world.take_calls();
    one_pass(&ctx).await.unwrap();
    assert!(world.take_writes().is_empty());
}

#[tokio::test]
async fn retain_is_carried_out_though_the_manifest_is_refused() {
    assert_kept(&after(|cluster| cluster["spec"] = json!({"replication": {"factor": 5}})).await);
    // One that cannot even be read.
    assert_kept(&after(|cluster| cluster["spec"] = json!({"chunkservers": "three"})).await);
    // Said only once, past the rule that it must be said twice.
    assert_kept(&after(|cluster| cluster["spec"] = json!({"deletionPolicy": "Delete"})).await);
}

#[tokio::test]
async fn retain_is_carried_out_though_a_name_is_taken() {
    let (world, ctx) = installed(delete()).await;
    world.edit(|cluster| cluster["spec"] = json!({}));
    let theirs = json!({"metadata": {"name": "prod-client", "namespace": NAMESPACE}});
    world.state().put("configmaps", "prod-client", theirs);
    one_pass(&ctx).await.unwrap_err();
    assert_kept(&world);
}

#[tokio::test]
async fn delete_waits_for_the_end_of_a_pause() {
    let (world, ctx) = installed(json!({})).await;
    assert_eq!(told(&world), "Retain");
    let pause = |value: &str| json!({"gfs.rs/paused": value});
    world.edit(|cluster| {
        cluster["metadata"]["annotations"] = pause("true");
        cluster["spec"] = delete();
    });
    one_pass(&ctx).await.unwrap();
    assert_eq!(
        (policies(&world), told(&world)),
        (["Retain"; 3].map(str::to_owned), json!("Retain"))
    );
    world.edit(|cluster| cluster["metadata"]["annotations"] = pause("false"));
    until_ready(&world, &ctx).await;
    assert_eq!(
        (policies(&world), told(&world)),
        (["Delete"; 3].map(str::to_owned), json!("Delete"))
    );
}

/// A StatefulSet of an earlier cluster of the name, or of somebody else, is not written.
#[tokio::test]
async fn sets_of_others_are_left_as_they_are() {
    let (world, ctx) = installed(delete()).await;
    world.state().change("statefulsets", "prod-shadow", |set| {
        set["metadata"]["ownerReferences"][0]["uid"] = json!("an older one");
    });
    world.edit(|cluster| cluster["spec"] = json!({}));
    one_pass(&ctx).await.unwrap();
    assert_eq!(policies(&world), ["Retain", "Retain", "Delete"]);
}
