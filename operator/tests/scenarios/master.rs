//! Formatting exactly once, whatever becomes of volumes, status and operators.

use gfs_operator::controller::Outlook;
use gfs_types::ids::ClusterUid;
use serde_json::json;

use crate::world::{NAME, World};
use crate::{installed, one_pass, operator, until_ready};

const MASTER: &str = "prod-master-0";

#[tokio::test]
async fn a_lost_master_volume_is_told_and_nothing_is_formatted_or_deleted() {
    let (world, ctx) = installed(json!({})).await;
    world.lose_volume(MASTER);
    world.turn();
    // Whatever else is asked for meanwhile.
    world.edit(|cluster| {
        cluster["spec"] = json!({
            "networkPolicy": {"enabled": false},
            "image": {"repository": "registry.example/gfs", "tag": "0.2.0"},
        });
    });
    for ctx in [&ctx, &operator(&world)] {
        for _ in 0..3 {
            assert_eq!(one_pass(ctx).await.unwrap(), Outlook::Stalled);
            world.turn();
        }
    }
    let writes = world.take_writes();
    assert!(
        !writes.iter().any(|write| write.starts_with("DELETE") || write == "format"),
        "{writes:?}"
    );
    assert_eq!(world.state().formatted, 1);
    assert!(world.state().volumes.is_empty());
    assert_eq!(world.state().events, ["MasterDataLost"]);
    for (type_, status) in [("Stalled", "True"), ("Ready", "False"), ("PrimaryAvailable", "False")]
    {
        let expected = (status.to_owned(), "MasterDataLost".to_owned());
        assert_eq!(world.condition(type_), expected, "{type_}");
    }
    // The volume comes back.
    let uid = world.get("gfsclusters", NAME)["status"]["clusterUid"].as_str().unwrap().to_owned();
    world.state().volumes.insert(MASTER.to_owned(), uid.parse().unwrap());
    world.turn();
    until_ready(&world, &ctx).await;
}

#[tokio::test]
async fn a_status_that_was_lost_is_found_again_by_asking_the_master() {
    let (world, ctx) = installed(json!({})).await;
    let before = world.get("gfsclusters", NAME)["status"].clone();
    world.state().change("gfsclusters", NAME, |cluster| {
        cluster.as_object_mut().unwrap().remove("status");
    });
    until_ready(&world, &ctx).await;
    let after = world.get("gfsclusters", NAME)["status"].clone();
    assert_eq!(after["clusterUid"], before["clusterUid"]);
    assert_eq!(after["initialized"], true);
    assert_eq!(world.state().formatted, 1);
    assert!(!world.state().events.contains(&"Adopted".to_owned()));
}

#[tokio::test]
async fn a_retained_volume_of_an_earlier_cluster_is_adopted() {
    let world = World::with(json!({}));
    let earlier = ClusterUid(42);
    world.state().volumes.insert(MASTER.to_owned(), earlier);
    until_ready(&world, &operator(&world)).await;
    let status = world.get("gfsclusters", NAME)["status"].clone();
    assert_eq!(status["clusterUid"], earlier.to_string());
    assert_eq!(world.state().formatted, 0);
    assert!(world.state().events.contains(&"Adopted".to_owned()));
}

#[tokio::test]
async fn a_master_that_does_not_come_up_says_why() {
    let world = World::with(json!({}));
    let ctx = operator(&world);
    one_pass(&ctx).await.unwrap();
    let message = world.message("PrimaryAvailable");
    assert!(message.contains("kubectl describe statefulset prod-master"), "{message}");
    world.turn();
    world.hold_up(MASTER, "ImagePullBackOff", "no such image");
    one_pass(&ctx).await.unwrap();
    for type_ in ["PrimaryAvailable", "Ready", "Reconciling"] {
        let message = world.message(type_);
        let why = "the master's pod prod-master-0 does not run: ImagePullBackOff: no such image";
        assert_eq!(message, why, "{type_}");
    }
}

#[tokio::test]
async fn a_volume_of_another_cluster_is_told_of() {
    let (world, ctx) = installed(json!({})).await;
    world.state().volumes.insert(MASTER.to_owned(), ClusterUid(42));
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    assert_eq!(world.condition("Stalled").1, "ForeignMaster");
    assert_eq!(world.state().events, ["ForeignMaster"]);
}

/// Deleted and made again under the same name before the garbage collector came: what the old one left is waited for. Its
/// master still answers, and its volume is about to go.
#[tokio::test]
async fn a_cluster_made_again_waits_for_the_end_of_the_one_before() {
    let (world, ctx) = installed(json!({})).await;
    let uid = "7a1b7f0e-0000-4000-8000-000000000001";
    let mut body = world.get("gfsclusters", NAME);
    body["metadata"]["uid"] = json!(uid);
    body.as_object_mut().unwrap().remove("status");
    world.state().put("gfsclusters", NAME, body);
    for _ in 0..2 {
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    }
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status"]);
    assert_eq!(world.condition("Stalled").0, "False");
    assert_eq!(world.condition("Reconciling"), ("True".to_owned(), "Waiting".to_owned()));
    assert_eq!(world.condition("PrimaryAvailable").1, "NoPod");
    // The garbage collector: first what was owned by the object, its set among it, then pods and volumes.
    world.state().objects.retain(|(plural, _), _| plural == "gfsclusters" || plural == "pods");
    one_pass(&ctx).await.unwrap();
    assert_ne!(world.get("gfsclusters", NAME)["status"]["initialized"], true);
    world.state().objects.retain(|(plural, _), _| plural != "pods");
    world.state().volumes.clear();
    until_ready(&world, &ctx).await;
    let status = world.get("gfsclusters", NAME)["status"].clone();
    assert_eq!(status["clusterUid"], uid.replace('-', ""));
    assert_eq!(world.state().formatted, 2);
}

/// Written by another version, or by hand: whether the cluster was formatted is not known, so nothing is done.
#[tokio::test]
async fn a_status_that_cannot_be_read_is_no_cluster_that_was_never_formatted() {
    for (field, value) in [
        ("initialized", json!("yes")),
        ("initialized", json!(null)),
        ("clusterUid", json!(7)),
        ("clusterUid", json!("no uid")),
    ] {
        let (world, ctx) = installed(json!({})).await;
        world.lose_volume(MASTER);
        world.turn();
        world.state().change("gfsclusters", NAME, |cluster| {
            cluster["status"][field] = value.clone();
        });
        let before = world.get("gfsclusters", NAME);
        for _ in 0..3 {
            let error = one_pass(&ctx).await.unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
            world.turn();
        }
        assert_eq!(world.get("gfsclusters", NAME), before, "{field}: {value}");
        assert_eq!(world.state().formatted, 1, "{field}: {value}");
        assert_eq!(world.state().events, ["StatusUnreadable"]);
    }
}

#[tokio::test]
async fn a_status_with_a_uid_and_without_initialized_is_of_a_formatted_cluster() {
    let (world, ctx) = installed(json!({})).await;
    world.lose_volume(MASTER);
    world.turn();
    world.state().change("gfsclusters", NAME, |cluster| {
        let status = cluster["status"].as_object_mut().expect("a status");
        assert!(status.remove("initialized").is_some());
    });
    let error = one_pass(&ctx).await.unwrap_err();
    assert!(error.to_string().contains("initialized"), "{error}");
    assert_eq!(world.state().formatted, 1);
}

#[tokio::test]
async fn what_is_unreadable_beside_it_does_not_make_a_cluster_unformatted() {
    let (world, ctx) = installed(json!({})).await;
    world.lose_volume(MASTER);
    world.turn();
    world.state().change("gfsclusters", NAME, |cluster| {
        cluster["status"]["masters"] = json!("of another version");
    });
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Stalled);
    assert_eq!(world.condition("Stalled").1, "MasterDataLost");
    assert_eq!(world.state().formatted, 1);
}

/// An operator that slept through everything, between any two of its calls, while another formatted the cluster and the
/// volume was lost: it does not format the new one.
#[tokio::test]
async fn an_operator_that_slept_formats_nothing() {
    let prepared = || async {
        let world = World::with(json!({}));
        one_pass(&operator(&world)).await.unwrap();
        world.turn();
        world
    };
    let undisturbed = prepared().await;
    let before = undisturbed.state().steps;
    one_pass(&operator(&undisturbed)).await.unwrap();
    let steps = undisturbed.state().steps - before;
    let mut slept = 0;
    for step in 1..=steps {
        let world = prepared().await;
        let sleeper = operator(&world);
        let at = world.state().steps + step;
        world.state().hang_at = Some(at);
        let sleeping = one_pass(&sleeper);
        tokio::pin!(sleeping);
        tokio::select! {
            _ = &mut sleeping => panic!("step {step} never came"),
            () = world.hung.notified() => {}
        }
        world.state().hang_at = None;
        until_ready(&world, &operator(&world)).await;
        assert_eq!(world.state().formatted, 1, "step {step}");
        world.lose_volume(MASTER);
        world.turn();
        slept += 1;
        world.wake.notify_one();
        // Whether it fails or not: it does no harm.
        let _ = sleeping.await;
        assert_eq!(world.state().formatted, 1, "asleep at step {step}");
        assert!(world.state().volumes.is_empty(), "asleep at step {step}");
        assert_eq!(one_pass(&operator(&world)).await.unwrap(), Outlook::Stalled);
    }
    assert!(slept > 20, "{slept}");
}
