//! The operator dies, at every point of an install and of a change; the next one goes on.

use gfs_operator::controller::Outlook;
use serde_json::{Value, json};

use crate::world::World;
use crate::{one_pass, operator, until_ready};

/// What is to be done to a cluster: it begins with the first manifest, and gets the second when it is ready.
async fn through(world: &World, second: &Value) {
    until_ready(world, &operator(world)).await;
    if world.get("gfsclusters", "prod")["spec"] != *second {
        world.edit(|cluster| cluster["spec"] = second.clone());
    }
    until_ready(world, &operator(world)).await;
}

/// The operator stops at this step of the whole, as killed; then everything goes on with a new one.
async fn killed_at(step: usize, second: &Value) -> World {
    let world = World::with(json!({}));
    world.state().hang_at = Some(step);
    tokio::select! {
        () = through(&world, second) => panic!("step {step} never came"),
        () = world.hung.notified() => {}
    }
    world.state().hang_at = None;
    through(&world, second).await;
    world
}

#[tokio::test]
async fn an_operator_killed_anywhere_is_followed_by_one_that_ends_up_the_same() {
    let second = json!({
        "chunkservers": {"replicas": 4},
        "networkPolicy": {"enabled": false},
        "image": {"repository": "registry.example/gfs", "tag": "0.2.0"},
    });
    let undisturbed = World::with(json!({}));
    through(&undisturbed, &second).await;
    let steps = undisturbed.state().steps;
    let wanted = undisturbed.snapshot();
    // Before and behind the effect of each of some hundred calls.
    assert!(steps > 200, "{steps}");
    for step in 1..=steps {
        let world = killed_at(step, &second).await;
        assert_eq!(world.snapshot(), wanted, "killed at step {step} of {steps}");
        assert_eq!(world.state().formatted, 1, "killed at step {step} of {steps}");
        let ctx = operator(&world);
        world.take_calls();
        assert_eq!(one_pass(&ctx).await.unwrap(), Outlook::Ready);
        assert!(world.take_writes().is_empty(), "killed at step {step}: it does not come to rest");
    }
}
