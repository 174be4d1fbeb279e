//! Install, nothing to do, changes by users and by meddlers, pause.

use gfs_operator::controller::Outlook;
use serde_json::json;

use crate::world::{NAME, UID, World};
use crate::{installed, one_pass, operator, until_ready};

#[tokio::test]
async fn an_install_applies_in_order_formats_once_and_tells() {
    let world = World::with(json!({}));
    let ctx = operator(&world);
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    assert_eq!(
        world.take_writes(),
        [
            "APPLY serviceaccounts prod-master",
            "APPLY serviceaccounts prod-chunk",
            "APPLY services prod-masters",
            "APPLY services prod-chunk-default",
            "APPLY configmaps prod-master",
            "APPLY configmaps prod-chunk",
            "APPLY configmaps prod-client",
            "APPLY poddisruptionbudgets prod-master",
            "APPLY poddisruptionbudgets prod-chunk",
            "APPLY networkpolicies prod",
            "APPLY statefulsets prod-master",
            "APPLY statefulsets prod-shadow",
            "APPLY statefulsets prod-chunk-default",
            "PUT gfsclusters prod status",
        ]
    );
    assert_eq!(world.condition("Ready").0, "False");
    assert_eq!(world.condition("Reconciling").0, "True");
    world.turn();
    one_pass(&ctx).await.unwrap();
    assert_eq!(
        world.take_writes(),
        [
            "format",
            // At once, and then the rest.
            "PUT gfsclusters prod status",
            "POST events Formatted",
            "PUT gfsclusters prod status",
        ]
    );
    until_ready(&world, &ctx).await;
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status", "POST events BecameReady"]);
    for (type_, status) in [
        ("Ready", "True"),
        ("Reconciling", "False"),
        ("Stalled", "False"),
        ("SpecValid", "True"),
        ("PrimaryAvailable", "True"),
        ("ChunkserversAvailable", "True"),
        ("ChunksAvailable", "True"),
        ("Paused", "False"),
    ] {
        assert_eq!(world.condition(type_).0, status, "{type_}");
    }
    let status = world.get("gfsclusters", NAME)["status"].clone();
    assert_eq!(status["initialized"], true);
    assert_eq!(status["clusterUid"], UID.replace('-', ""));
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["phase"], "Healthy");
    assert_eq!(status["masters"]["primary"], "prod-master-0");
    assert_eq!(status["chunkservers"]["readyReplicas"], 3);
    assert_eq!(status["chunkservers"]["registered"], 3);
    assert_eq!(status["image"], "registry.example/gfs:0.1.0");
    assert_eq!(world.state().formatted, 1);
}

#[tokio::test]
async fn an_unchanged_cluster_is_only_read_by_this_operator_and_by_the_next() {
    let (world, ctx) = installed(json!({})).await;
    for ctx in [&ctx, &operator(&world)] {
        assert_eq!(one_pass(ctx).await.unwrap(), Outlook::Ready);
        assert_eq!(
            world.take_calls(),
            [
                "GET gfsclusters prod",
                "LIST serviceaccounts",
                "LIST services",
                "LIST configmaps",
                "LIST poddisruptionbudgets",
                "LIST networkpolicies",
                "LIST statefulsets",
                "LIST pods",
                "LIST persistentvolumeclaims",
                "ask status",
                "ask cluster",
            ]
        );
    }
}

#[tokio::test]
async fn a_field_of_ours_that_someone_changed_is_changed_back_and_nothing_else() {
    let (world, ctx) = installed(json!({})).await;
    world.state().change("statefulsets", "prod-chunk-default", |set| {
        set["spec"]["replicas"] = json!(1);
        set["metadata"]["labels"]["theirs"] = json!("kept");
    });
    world.state().objects.remove(&("configmaps".to_owned(), "prod-client".to_owned()));
    one_pass(&ctx).await.unwrap();
    let writes = world.take_writes();
    assert!(writes.contains(&"APPLY configmaps prod-client".to_owned()), "{writes:?}");
    assert!(writes.contains(&"APPLY statefulsets prod-chunk-default".to_owned()), "{writes:?}");
    assert_eq!(writes.iter().filter(|write| write.starts_with("APPLY")).count(), 2, "{writes:?}");
    assert_eq!(world.state().events, ["ChildCreated prod-client", "PutBack prod-chunk-default"]);
    let set = world.get("statefulsets", "prod-chunk-default");
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["metadata"]["labels"]["theirs"], "kept");
}

#[tokio::test]
async fn a_field_that_is_not_wanted_any_more_goes() {
    let selector = json!({"masters": {"scheduling": {"nodeSelector": {"disk": "fast"}}}});
    let (world, ctx) = installed(selector).await;
    let selector = || {
        let set = world.get("statefulsets", "prod-master");
        set["spec"]["template"]["spec"]["nodeSelector"].clone()
    };
    assert_eq!(selector(), json!({"disk": "fast"}));
    world.edit(|cluster| cluster["spec"] = json!({}));
    one_pass(&ctx).await.unwrap();
    assert!(selector().get("disk").is_none());
    assert!(world.take_writes().contains(&"APPLY statefulsets prod-master".to_owned()));
}

#[tokio::test]
async fn what_is_not_built_any_more_is_deleted_as_it_was_seen() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| cluster["spec"] = json!({"networkPolicy": {"enabled": false}}));
    until_ready(&world, &ctx).await;
    let writes = world.take_writes();
    assert!(writes.contains(&"DELETE networkpolicies prod".to_owned()), "{writes:?}");
    assert_eq!(world.state().events, ["ChildDeleted"]);
    assert_eq!(world.state().all("networkpolicies").count(), 0);
}

/// No manifest can stop asking for one, and the operator has no right to delete them.
#[tokio::test]
async fn what_an_older_operator_built_stays_unless_it_is_a_network_policy() {
    let (world, ctx) = installed(json!({})).await;
    for (plural, name) in
        [("configmaps", "prod-client"), ("services", "prod-masters"), ("networkpolicies", "prod")]
    {
        let mut body = world.get(plural, name);
        body["metadata"]["name"] = json!("prod-old");
        world.state().put(plural, "prod-old", body);
    }
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
    let writes = world.take_writes();
    assert_eq!(writes, ["DELETE networkpolicies prod-old", "POST events ChildDeleted"]);
}

#[tokio::test]
async fn a_paused_cluster_is_read_and_told_of_and_no_child_is_written() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| {
        cluster["metadata"]["annotations"] = json!({"gfs.rs/paused": "true"});
        cluster["spec"] = json!({"image": {"repository": "other", "tag": "2"}});
    });
    world.state().change("configmaps", "prod-client", |map| map["data"] = json!({}));
    one_pass(&ctx).await.unwrap();
    assert_eq!(world.take_writes(), ["PUT gfsclusters prod status"]);
    assert_eq!(world.condition("Paused").0, "True");
    assert_eq!(world.condition("Reconciling"), ("False".to_owned(), "Paused".to_owned()));
    // Whatever the word for it is.
    for word in ["True", "yes", "1", ""] {
        let annotations = json!({"gfs.rs/paused": word});
        world.edit(|cluster| cluster["metadata"]["annotations"] = annotations);
        one_pass(&ctx).await.unwrap();
        assert!(world.take_writes().is_empty(), "{word}");
    }
    world.edit(|cluster| cluster["metadata"]["annotations"] = json!({}));
    until_ready(&world, &ctx).await;
    assert_eq!(world.condition("Paused").0, "False");
    let image = world.get("statefulsets", "prod-master");
    assert_eq!(image["spec"]["template"]["spec"]["containers"][0]["image"], "other:2");
}

/// Paused before its master was formatted: it is not.
#[tokio::test]
async fn a_paused_cluster_is_not_formatted() {
    let world = World::with(json!({}));
    let ctx = operator(&world);
    one_pass(&ctx).await.unwrap();
    world.turn();
    let pause = |value: &str| {
        let annotations = json!({"gfs.rs/paused": value});
        world.edit(|cluster| cluster["metadata"]["annotations"] = annotations);
    };
    pause("true");
    one_pass(&ctx).await.unwrap();
    assert_eq!(world.state().formatted, 0);
    pause("false");
    until_ready(&world, &ctx).await;
    assert_eq!(world.state().formatted, 1);
}
