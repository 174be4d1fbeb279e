//! What becomes of the volumes of a cluster that was deleted.

use gfs_operator::deletion::{Deletion, LastWord, Overtaken, carry_out};
use gfs_operator::owner::Owner;
use serde_json::{Value, json};

use crate::operator;
use crate::world::{self, NAME, NAMESPACE, UID, World};
use crate::{installed, until_ready};

/// In the order in which they go.
const OURS: [&str; 4] = [
    "data-prod-master-0",
    "data-prod-chunk-default-0",
    "data-prod-chunk-default-1",
    "data-prod-chunk-default-2",
];

/// A cluster that ran, and was deleted.
async fn deleted() -> World {
    let (world, _) = installed(json!({})).await;
    world.state().objects.remove(&("gfsclusters".to_owned(), NAME.to_owned()));
    world
}

/// The same name, another uid.
fn make_again(world: &World) {
    let mut cluster = World::with(json!({})).get("gfsclusters", NAME);
    cluster["metadata"]["uid"] = json!("6a4cbe7e-8f5d-4c43-9a39-51a6ba2b9d5a");
    world.state().put("gfsclusters", NAME, cluster);
}

fn deletion(last_word: LastWord) -> Deletion {
    let owner =
        Owner { namespace: NAMESPACE.to_owned(), name: NAME.to_owned(), uid: UID.to_owned() };
    Deletion { owner, last_word, overtaken: Overtaken::default() }
}

async fn told(world: &World, deletion: Deletion) -> Vec<String> {
    world.take_calls();
    carry_out(&operator(world), deletion).await;
    std::mem::take(&mut world.state().events)
}

/// The claims that nobody deleted, by name.
fn claims(world: &World) -> Vec<String> {
    let state = world.state();
    let kept = state.all(world::CLAIMS).filter(|claim| !world::is_ending(claim));
    let names = kept.map(|claim| claim["metadata"]["name"].clone());
    names.map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The claims that were asked to be deleted, in this order.
fn deletes(world: &World) -> Vec<String> {
    let calls = world.take_calls().into_iter();
    calls
        .filter_map(|call| {
            Some(call.strip_prefix("DELETE ")?.replace("persistentvolumeclaims ", ""))
        })
        .collect()
}

#[tokio::test]
async fn volumes_that_were_given_up_go_with_their_cluster_and_no_others() {
    let world = deleted().await;
    let labels = |instance: &str, component: &str| {
        json!({
            "app.kubernetes.io/name": "gfs", "app.kubernetes.io/instance": instance,
            "app.kubernetes.io/component": component,
        })
    };
    let others = [
        ("other-master-0", labels("other", "master")),
        // Somebody's own, though the name looks like ours, or the labels.
        ("prod-chunk-default-9", Value::Null),
        ("prod-copy", labels("prod", "master")),
        ("prod-web-0", labels("prod", "web")),
    ];
    for (pod, labels) in &others {
        world.state().put_claim(pod, labels, 0);
    }
    assert_eq!(told(&world, deletion(LastWord::Delete)).await, ["VolumesDeleted"]);
    assert_eq!(deletes(&world), OURS);
    let mut left = claims(&world);
    left.sort_unstable();
    let mut expected = others.map(|(pod, _)| format!("data-{pod}"));
    expected.sort_unstable();
    assert_eq!(left, expected);
    // It is done, and nothing is told twice.
    assert_eq!(told(&world, deletion(LastWord::Delete)).await, [""; 0]);
    assert_eq!(deletes(&world), [""; 0]);
}

#[tokio::test]
async fn volumes_stay_where_the_last_word_is_not_known_or_is_not_of_them() {
    for word in [LastWord::Unheard, LastWord::NeverFormatted] {
        let world = deleted().await;
        assert_eq!(told(&world, deletion(word)).await, ["VolumesKept"]);
        assert_eq!(claims(&world).len(), 4);
        world.state().objects.retain(|(plural, _), _| plural != world::CLAIMS);
        assert_eq!(told(&world, deletion(word)).await, [""; 0], "there are none");
    }
}

#[tokio::test]
async fn volumes_of_pods_that_live_on_stay() {
    let world = deleted().await;
    for set in ["prod-chunk-default", "prod-master", "prod-shadow"] {
        world.state().change("statefulsets", set, |set| {
            set["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        });
    }
    assert_eq!(told(&world, deletion(LastWord::Delete)).await, ["VolumesKept"]);
    assert_eq!(claims(&world).len(), 4);
}

#[tokio::test]
async fn volumes_that_a_new_cluster_of_the_name_takes_up_stay() {
    let world = deleted().await;
    make_again(&world);
    assert_eq!(told(&world, deletion(LastWord::Delete)).await, ["VolumesKept"]);
    assert_eq!(claims(&world).len(), 4);
}

#[tokio::test]
async fn volumes_that_a_later_cluster_of_the_name_had_are_that_ones() {
    let world = deleted().await;
    let deletion = deletion(LastWord::Delete);
    // It came and went, and kept them: there is none now.
    deletion.overtaken.set();
    assert_eq!(told(&world, deletion).await, ["VolumesKept"]);
    assert_eq!(claims(&world).len(), 4);
}

/// A cluster that is made while the volumes go gets new ones, not some of the old.
#[tokio::test]
async fn all_volumes_go_or_none() {
    let world = deleted().await;
    let steps = world.state().steps;
    // Claims, sets and the cluster are asked for, two steps each; the eighth is behind the first deletion.
    world.state().hang_at = Some(steps + 8);
    let acting = tokio::spawn({
        let world = world.clone();
        async move { told(&world, deletion(LastWord::Delete)).await }
    });
    world.hung.notified().await;
    assert_eq!(claims(&world).len(), 3);
    make_again(&world);
    world.wake.notify_one();
    assert_eq!(acting.await.unwrap(), ["VolumesDeleted"]);
    assert_eq!(claims(&world), [""; 0]);
}

#[tokio::test]
async fn a_cluster_that_is_made_again_behind_it_begins_anew() {
    let world = deleted().await;
    told(&world, deletion(LastWord::Delete)).await;
    // What the garbage collector and the kubelets do.
    world.state().objects.retain(|(plural, _), _| plural == world::CLAIMS);
    world.turn();
    make_again(&world);
    until_ready(&world, &operator(&world)).await;
    assert_eq!(world.state().formatted, 2);
}

#[tokio::test]
async fn what_the_api_server_does_not_delete_stays_and_is_told() {
    let world = deleted().await;
    world.state().refused.insert(OURS[2].to_owned());
    let events = told(&world, deletion(LastWord::Delete)).await;
    assert_eq!(events, ["VolumesDeleted", "VolumesKept"]);
    assert_eq!(
        deletes(&world),
        OURS[..3],
        "it is not tried again: another cluster may have it then"
    );
    assert_eq!(claims(&world), OURS[2..]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_nobody_answers_ends() {
    // Behind the list of claims, before the first deletion, and behind it.
    for (step, gone) in [(1, 0), (7, 0), (8, 1)] {
        let world = deleted().await;
        let steps = world.state().steps;
        world.state().hang_at = Some(steps + step);
        let began = tokio::time::Instant::now();
        let events = told(&world, deletion(LastWord::Delete)).await;
        assert_eq!(events, ["VolumesKept"], "{step}");
        assert_eq!(began.elapsed().as_secs(), 30);
        assert_eq!(claims(&world).len(), 4 - gone);
    }
}

#[tokio::test]
async fn a_set_of_another_cluster_of_the_name_is_that_cluster() {
    let world = deleted().await;
    world.state().change("statefulsets", "prod-shadow", |set| {
        set["metadata"]["ownerReferences"][0]["uid"] = json!("a later one");
    });
    assert_eq!(told(&world, deletion(LastWord::Delete)).await, ["VolumesKept"]);
    assert_eq!(claims(&world).len(), 4);
}
