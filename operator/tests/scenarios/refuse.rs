//! What cannot be done is told, and does not go on for ever.

use gfs_operator::controller::{Outlook, pass};
use gfs_operator::error::Category;
use serde_json::{Value, json};

use crate::world::{NAME, NAMESPACE, World};
use crate::{installed, one_pass, operator};

#[tokio::test]
async fn a_refused_manifest_is_told_with_its_field_and_touches_nothing() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| cluster["spec"] = json!({"replication": {"factor": 5}}));
    let error = one_pass(&ctx).await.unwrap_err();
    assert_eq!(error.category(), Category::Spec);
    assert!(error.to_string().contains("replication"), "{error}");
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status", "POST events SpecRefused"]);
    for (type_, status) in [("SpecValid", "False"), ("Stalled", "True"), ("Ready", "False")] {
        let expected = (status.to_owned(), "SpecRefused".to_owned());
        assert_eq!(world.condition(type_), expected, "{type_}");
    }
    // What was told of the running cluster stays.
    assert_eq!(world.condition("PrimaryAvailable").0, "True");
    assert_eq!(world.get("gfsclusters", NAME)["status"]["observedGeneration"], 2);
    one_pass(&ctx).await.unwrap_err();
    assert!(world.take_writes().is_empty());
    world.edit(|cluster| cluster["spec"] = json!({}));
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
}

#[tokio::test]
async fn what_cannot_be_read_is_told_too() {
    let world = World::with(json!({"chunkservers": "three"}));
    let ctx = operator(&world);
    let error = one_pass(&ctx).await.unwrap_err();
    assert_eq!(error.category(), Category::Spec);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "SpecRefused".to_owned()));
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status", "POST events SpecRefused"]);
    one_pass(&ctx).await.unwrap_err();
    assert!(world.take_writes().is_empty());
}

#[tokio::test]
async fn an_object_of_someone_else_is_not_taken() {
    let world = World::with(json!({}));
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "prod-client", "namespace": NAMESPACE}, "data": {"mine": "1"},
    });
    world.state().put("configmaps", "prod-client", theirs);
    let before = world.get("configmaps", "prod-client");
    let ctx = operator(&world);
    for _ in 0..2 {
        let error = one_pass(&ctx).await.unwrap_err();
        assert_eq!(error.category(), Category::NotOurs);
        assert!(error.to_string().contains("ConfigMap prod-client"), "{error}");
    }
    assert_eq!(world.get("configmaps", "prod-client"), before);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "NameTaken".to_owned()));
    assert_eq!(world.state().events, ["NameTaken"]);
    world.state().objects.remove(&("configmaps".to_owned(), "prod-client".to_owned()));
    crate::until_ready(&world, &ctx).await;
}

/// Children that lost their owner with `--cascade=orphan` are taken up again; those of an older object of the name are
/// left to the garbage collector, and those of another object are not touched.
#[tokio::test]
async fn orphans_are_taken_up_and_children_of_an_older_object_are_left_to_go() {
    let (world, ctx) = installed(json!({})).await;
    let service = |change: fn(&mut Value)| {
        world.state().change("services", "prod-masters", change);
    };
    service(|service| drop(service["metadata"].as_object_mut().unwrap().remove("ownerReferences")));
    one_pass(&ctx).await.unwrap();
    assert_eq!(world.take_writes(), ["APPLY services prod-masters", "POST events PutBack"]);
    service(|service| service["metadata"]["ownerReferences"][0]["uid"] = json!("an older one"));
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status"]);
    assert_eq!(world.condition("Reconciling"), ("True".to_owned(), "Waiting".to_owned()));
    assert_eq!(world.condition("Stalled").0, "False");
    service(|service| service["metadata"]["ownerReferences"][0]["name"] = json!("other"));
    let error = one_pass(&ctx).await.unwrap_err();
    assert_eq!(error.category(), Category::NotOurs);
    let writes = world.take_writes();
    assert!(!writes.iter().any(|write| write.starts_with("APPLY")), "{writes:?}");
}

/// The object was deleted with `--cascade=orphan` and made again with fewer: no rule of the definition saw both manifests. Nor does one
/// see what somebody did to the set itself.
#[tokio::test]
async fn a_live_set_of_chunkservers_is_never_made_smaller() {
    let (world, ctx) = installed(json!({})).await;
    let replicas = |set: &str| world.get("statefulsets", set)["spec"]["replicas"].clone();
    let one = json!({"chunkservers": {"replicas": 1}, "replication": {"factor": 1}});
    let mut body = world.get("gfsclusters", NAME);
    body["metadata"]["uid"] = json!("7a1b7f0e-0000-4000-8000-000000000001");
    body["spec"] = one;
    body.as_object_mut().unwrap().remove("status");
    for stored in world.state().objects.values_mut() {
        // Pods stay those of their sets.
        if let Some(owners) = stored.body["metadata"].get_mut("ownerReferences")
            && owners[0]["kind"] == "GfsCluster"
        {
            *owners = json!([]);
        }
    }
    world.state().put("gfsclusters", NAME, body);
    for _ in 0..2 {
        let error = one_pass(&ctx).await.unwrap_err();
        assert_eq!(error.category(), Category::Fewer);
        world.turn();
    }
    let writes = world.take_writes();
    assert!(!writes.contains(&"APPLY statefulsets prod-chunk-default".to_owned()), "{writes:?}");
    assert_eq!(replicas("prod-chunk-default"), 3);
    assert_eq!(world.state().all("pods").count(), 4);
    let told = ("True".to_owned(), "FewerChunkservers".to_owned());
    assert_eq!(world.condition("Stalled"), told);
    assert_eq!(world.state().events, ["FewerChunkservers"]);
    assert!(world.message("Stalled").contains("prod-chunk-default has 3 replicas"));
    // As many as there are: the set is taken up.
    world.edit(|cluster| cluster["spec"] = json!({}));
    crate::until_ready(&world, &ctx).await;
    // Larger by hand.
    world.state().change("statefulsets", "prod-chunk-default", |set| {
        set["spec"]["replicas"] = json!(5);
    });
    assert_eq!(one_pass(&ctx).await.unwrap_err().category(), Category::Fewer);
    assert_eq!(replicas("prod-chunk-default"), 5);
    // A master without a cluster holds nothing.
    world.edit(|cluster| cluster["spec"] = json!({"chunkservers": {"replicas": 5}}));
    world.state().change("statefulsets", "prod-master", |set| {
        set["spec"]["replicas"] = json!(2);
    });
    one_pass(&ctx).await.unwrap();
    assert_eq!(replicas("prod-master"), 1);
}

/// A refused manifest is not looked at again before it changes: not before the refusal is told, then.
#[tokio::test]
async fn a_refusal_that_could_not_be_told_is_told_by_the_next_pass() {
    let world = World::with(json!({"replication": {"factor": 5}}));
    let ctx = operator(&world);
    // Behind the read of the cluster.
    world.state().hang_at = Some(3);
    let passing = one_pass(&ctx);
    tokio::pin!(passing);
    tokio::select! {
        _ = &mut passing => panic!("it does not hang"),
        () = world.hung.notified() => {}
    }
    world.state().hang_at = None;
    world.edit(|cluster| cluster["metadata"]["labels"] = json!({"theirs": "1"}));
    world.wake.notify_one();
    assert_eq!(passing.await.unwrap_err().category(), Category::Conflict);
    assert_eq!(one_pass(&ctx).await.unwrap_err().category(), Category::Spec);
    assert_eq!(world.condition("Stalled"), ("True".to_owned(), "SpecRefused".to_owned()));
}

#[tokio::test]
async fn who_wrote_in_the_meantime_wins_and_the_next_pass_sees_it() {
    let world = World::with(json!({}));
    let ctx = operator(&world);
    // Behind the first read of the cluster.
    world.state().hang_at = Some(3);
    let passing = one_pass(&ctx);
    tokio::pin!(passing);
    tokio::select! {
        _ = &mut passing => panic!("it does not hang"),
        () = world.hung.notified() => {}
    }
    world.state().hang_at = None;
    world.edit(|cluster| cluster["metadata"]["labels"] = json!({"theirs": "1"}));
    world.wake.notify_one();
    let error = passing.await.unwrap_err();
    assert_eq!(error.category(), Category::Conflict);
    crate::until_ready(&world, &ctx).await;
    assert_eq!(world.get("gfsclusters", NAME)["metadata"]["labels"]["theirs"], "1");
}

#[tokio::test]
async fn what_is_being_deleted_or_is_gone_is_left_alone() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| cluster["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Done);
    assert_eq!(world.take_calls(), ["GET gfsclusters prod"]);
    world.state().objects.remove(&("gfsclusters".to_owned(), NAME.to_owned()));
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Done);
    assert_eq!(world.take_calls(), ["GET gfsclusters prod"]);
}

/// A pass that takes too long tells it, and the next one goes on.
#[tokio::test]
async fn a_pass_that_came_to_no_end_in_time_is_told() {
    let (world, ctx) = installed(json!({})).await;
    // Behind the read of the cluster, before the first list.
    let at = world.state().steps + 3;
    world.state().hang_at = Some(at);
    let limit = std::time::Duration::from_millis(50);
    let error = pass(&ctx, NAMESPACE, NAME, limit).await.unwrap_err();
    assert_eq!(error.category(), Category::Late);
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status"]);
    assert_eq!(world.condition("Reconciling"), ("True".to_owned(), "Slow".to_owned()));
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
    assert_eq!(world.condition("Reconciling").0, "False");
}
