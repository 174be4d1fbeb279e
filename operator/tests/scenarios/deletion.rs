//! What becomes of the volumes of a cluster that was deleted.

use gfs_operator::deletion::{Deletion, LastWord, once};
use gfs_operator::owner::Owner;
use serde_json::{Value, json};

use crate::operator;
use crate::world::{self, NAME, NAMESPACE, UID, World};
use crate::{installed, until_ready};

const OURS: [&str; 4] = [
    "data-prod-chunk-default-0",
    "data-prod-chunk-default-1",
    "data-prod-chunk-default-2",
    "data-prod-master-0",
];

/// A cluster that ran, and was deleted.
async fn deleted() -> World {
    let (world, _) = installed(json!({})).await;
    world.state().objects.remove(&("gfsclusters".to_owned(), NAME.to_owned()));
    world
}

async fn carry_out(world: &World, last_word: LastWord) {
    let owner =
        Owner { namespace: NAMESPACE.to_owned(), name: NAME.to_owned(), uid: UID.to_owned() };
    world.state().events.clear();
    world.take_calls();
    once(&operator(world), &Deletion { owner, last_word }).await.unwrap();
}

/// The claims that nobody deleted, by name.
fn claims(world: &World) -> Vec<String> {
    let state = world.state();
    let kept = state.all(world::CLAIMS).filter(|claim| !world::is_ending(claim));
    let names = kept.map(|claim| claim["metadata"]["name"].clone());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn assert_kept(world: &World) {
    assert_eq!(claims(world), OURS);
    assert_eq!(world.state().events, ["VolumesKept"]);
    assert!(!world.take_writes().iter().any(|write| write.starts_with("DELETE")));
}

#[tokio::test]
async fn volumes_that_were_given_up_go_with_their_cluster_and_no_others() {
    let world = deleted().await;
    let others = [
        (
            "other-master-0",
            json!({"app.kubernetes.io/name": "gfs", "app.kubernetes.io/instance": "other"}),
        ),
        // Somebody's own, though its name looks like ours.
        ("prod-chunk-default-9", Value::Null),
    ];
    for (pod, labels) in &others {
        world.state().put_claim(pod, labels, 0);
    }
    carry_out(&world, LastWord::Delete).await;
    assert_eq!(
        world.take_writes(),
        OURS.map(|name| format!("DELETE persistentvolumeclaims {name}"))
            .into_iter()
            .chain(["POST events VolumesDeleted".to_owned()])
            .collect::<Vec<_>>()
    );
    assert_eq!(claims(&world), others.map(|(pod, _)| format!("data-{pod}")));
    carry_out(&world, LastWord::Delete).await;
    assert!(world.take_writes().is_empty(), "it is done, and nothing is told twice");
}

#[tokio::test]
async fn volumes_of_a_cluster_whose_last_word_nobody_heard_stay() {
    let world = deleted().await;
    carry_out(&world, LastWord::Unheard).await;
    assert_kept(&world);
}

#[tokio::test]
async fn volumes_of_pods_that_live_on_stay() {
    let world = deleted().await;
    for set in ["prod-chunk-default", "prod-master", "prod-shadow"] {
        world.state().change("statefulsets", set, |set| {
            set["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        });
    }
    carry_out(&world, LastWord::Delete).await;
    assert_kept(&world);
}

#[tokio::test]
async fn volumes_that_a_new_cluster_of_the_name_takes_up_stay() {
    let world = deleted().await;
    let (again, name) = (World::with(json!({})), "gfsclusters");
    let mut cluster = again.get(name, NAME);
    cluster["metadata"]["uid"] = json!("6a4cbe7e-8f5d-4c43-9a39-51a6ba2b9d5a");
    world.state().put(name, NAME, cluster);
    carry_out(&world, LastWord::Delete).await;
    assert_kept(&world);
}

/// It is made while the first claim is being deleted: what is left then is its.
#[tokio::test]
async fn a_new_cluster_has_what_is_left_when_it_comes() {
    let world = deleted().await;
    let cluster = World::with(json!({})).get("gfsclusters", NAME);
    let steps = world.state().steps;
    // List, cluster and sets are asked for, two steps each; the next is behind the first deletion.
    world.state().hang_at = Some(steps + 8);
    let acting = tokio::spawn({
        let world = world.clone();
        async move { carry_out(&world, LastWord::Delete).await }
    });
    world.hung.notified().await;
    assert_eq!(claims(&world), OURS[1..]);
    world.state().put("gfsclusters", NAME, cluster);
    world.wake.notify_one();
    acting.await.unwrap();
    assert_eq!(claims(&world), OURS[1..]);
    assert_eq!(world.state().events, ["VolumesDeleted", "VolumesKept"]);
}

#[tokio::test]
async fn a_cluster_that_is_made_again_behind_it_begins_anew() {
    let world = deleted().await;
    carry_out(&world, LastWord::Delete).await;
    // What the garbage collector and the kubelets do.
    world.state().objects.retain(|(plural, _), _| plural == world::CLAIMS);
    world.turn();
    let mut cluster = World::with(json!({})).get("gfsclusters", NAME);
    cluster["metadata"]["uid"] = json!("6a4cbe7e-8f5d-4c43-9a39-51a6ba2b9d5a");
    world.state().put("gfsclusters", NAME, cluster);
    until_ready(&world, &operator(&world)).await;
    let formatted = world.state().formatted;
    assert_eq!(formatted, 2);
}
