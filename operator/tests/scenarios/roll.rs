//! A change of what pods run reaches them one at a time.

use gfs_operator::controller::Outlook;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::world::World;
use crate::{installed, one_pass};

fn pods(world: &World) -> usize {
    world.state().all("pods").count()
}

fn deleted(calls: &[String]) -> Vec<&str> {
    calls.iter().filter_map(|call| call.strip_prefix("DELETE pods ")).collect()
}

#[tokio::test]
async fn pods_of_all_domains_are_restarted_one_at_a_time_and_the_master_last() {
    let domains = json!([{"name": "a"}, {"name": "b"}]);
    let spec = |tag: &str| {
        json!({
            "image": {"repository": "registry.example/gfs", "tag": tag},
            "chunkservers": {"replicas": 3, "domains": domains},
        })
    };
    let (world, ctx) = installed(spec("1")).await;
    world.edit(|cluster| cluster["spec"] = spec("2"));
    // Seen by the controllers of the sets in the next turn only: until then nothing is known to be outdated.
    assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::OnTheWay);
    assert_eq!(world.condition("Reconciling"), ("True".to_owned(), "Settling".to_owned()));
    let mut order = Vec::new();
    for _ in 0..20 {
        world.turn();
        world.take_calls();
        let outlook = one_pass(&ctx).await.unwrap();
        let calls = world.take_calls();
        order.extend(deleted(&calls).into_iter().map(str::to_owned));
        assert!(pods(&world) >= 3, "two are away: {order:?}");
        // The pod is not back yet: nothing more goes.
        one_pass(&ctx).await.unwrap();
        let calls = world.take_calls();
        assert!(deleted(&calls).is_empty(), "{calls:?}");
        if outlook == Outlook::Ready {
            break;
        }
    }
    assert_eq!(order, ["prod-chunk-a-0", "prod-chunk-a-1", "prod-chunk-b-0", "prod-master-0"]);
    assert_eq!(world.condition("Reconciling").0, "False");
    // One for each, with its name: a repeated event would be counted in the first.
    let restarted: Vec<_> = order.iter().map(|pod| format!("PodRestarted {pod}")).collect();
    let state = world.state();
    let restarts = state.events.iter().filter(|event| event.starts_with("PodRestarted"));
    assert!(restarts.eq(&restarted), "{:?}", state.events);
    drop(state);
    for pod in world.state().all("pods") {
        assert_eq!(pod["spec"]["containers"][0]["image"], "registry.example/gfs:2");
    }
}

#[tokio::test]
async fn a_chunkserver_that_is_unwell_holds_up_the_others() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| {
        cluster["spec"] = json!({"chunkservers": {"config": {"reserve": "2GiB"}}});
    });
    one_pass(&ctx).await.unwrap();
    world.turn();
    let unwell = |ready: &str| {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let pod = "prod-chunk-default-1";
        world.state().change("pods", pod, |pod| pod["status"]["conditions"] = conditions);
    };
    world.take_calls();
    unwell("False");
    one_pass(&ctx).await.unwrap();
    // Outdated and out of touch, it is the one that may go.
    assert_eq!(deleted(&world.take_calls()), ["prod-chunk-default-1"]);
    one_pass(&ctx).await.unwrap();
    assert!(deleted(&world.take_calls()).is_empty());
    world.turn();
    unwell("False");
    one_pass(&ctx).await.unwrap();
    // New and unwell: the others wait.
    assert!(deleted(&world.take_calls()).is_empty());
    world.turn();
    one_pass(&ctx).await.unwrap();
    assert_eq!(deleted(&world.take_calls()).len(), 1);
}

/// The master came back a moment ago, and no chunkserver has found it yet: they say so and it says so, and all is well.
#[tokio::test]
async fn chunkservers_that_have_not_found_a_new_master_yet_are_left_alone() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| {
        cluster["spec"] = json!({"chunkservers": {"config": {"reserve": "2GiB"}}});
    });
    one_pass(&ctx).await.unwrap();
    world.turn();
    let says = |pod: &str, ready: &str, since: &str| {
        let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": since});
        world.state().change("pods", pod, |pod| pod["status"]["conditions"] = json!([condition]));
    };
    let (now, long_ago) = (Timestamp::now().to_string(), "2026-01-01T00:00:00Z");
    let chunkservers = [0, 1, 2].map(|index| format!("prod-chunk-default-{index}"));
    for (master_since, server_since) in
        [(now.as_str(), now.as_str()), (&now, long_ago), (long_ago, &now)]
    {
        says("prod-master-0", "True", master_since);
        for pod in &chunkservers {
            says(pod, "False", server_since);
        }
        world.take_calls();
        for _ in 0..3 {
            one_pass(&ctx).await.unwrap();
        }
        let calls = world.take_calls();
        assert!(deleted(&calls).is_empty(), "{master_since} {server_since}: {calls:?}");
    }
    // Two of them never find it, though it was there for long: they go, and not at once.
    for pod in &chunkservers[1..] {
        says(pod, "False", long_ago);
    }
    one_pass(&ctx).await.unwrap();
    assert_eq!(deleted(&world.take_calls()), ["prod-chunk-default-1"]);
}

#[tokio::test]
async fn the_next_chunkserver_waits_for_the_replicas_of_the_last() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| {
        cluster["spec"] = json!({"chunkservers": {"config": {"reserve": "2GiB"}}});
    });
    one_pass(&ctx).await.unwrap();
    world.turn();
    world.take_calls();
    one_pass(&ctx).await.unwrap();
    assert_eq!(deleted(&world.take_calls()), ["prod-chunk-default-0"]);
    world.turn();
    world.state().chunks_below_goal = 7;
    one_pass(&ctx).await.unwrap();
    assert!(deleted(&world.take_calls()).is_empty(), "what the first missed is not there yet");
    (world.state().chunks_below_goal, world.state().chunks_uncounted) = (0, 1);
    one_pass(&ctx).await.unwrap();
    assert!(deleted(&world.take_calls()).is_empty(), "the master has not counted them all");
    world.state().chunks_uncounted = 0;
    one_pass(&ctx).await.unwrap();
    assert_eq!(deleted(&world.take_calls()), ["prod-chunk-default-1"]);
}

#[tokio::test]
async fn a_rollout_that_hangs_says_at_which_pod_and_why() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| cluster["spec"] = json!({"image": {"repository": "r", "tag": "typo"}}));
    for _ in 0..2 {
        one_pass(&ctx).await.unwrap();
        world.turn();
    }
    assert_eq!(deleted(&world.take_calls()), ["prod-chunk-default-0"]);
    world.hold_up("prod-chunk-default-0", "ErrImagePull", "r:typo: not found");
    one_pass(&ctx).await.unwrap();
    let why = "; prod-chunk-default-0 does not run: ErrImagePull: r:typo: not found";
    for type_ in ["Reconciling", "ChunkserversAvailable"] {
        let message = world.message(type_);
        assert!(message.ends_with(why), "{type_}: {message}");
    }
}

#[tokio::test]
async fn more_chunkservers_are_added_without_a_restart() {
    let (world, ctx) = installed(json!({})).await;
    world.edit(|cluster| cluster["spec"] = json!({"chunkservers": {"replicas": 5}}));
    crate::until_ready(&world, &ctx).await;
    let calls = world.take_calls();
    assert!(deleted(&calls).is_empty());
    let applied: Vec<_> = calls.iter().filter(|call| call.starts_with("APPLY")).collect();
    assert_eq!(applied, ["APPLY statefulsets prod-chunk-default"]);
    assert!(world.state().events.contains(&"ScaledUp prod-chunk-default".to_owned()));
    assert_eq!(pods(&world), 6);
}
