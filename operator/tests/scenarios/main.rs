//! What the operator asks of the API server and of masters, call by call, in a cluster that is a map.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "modules of a test")]

mod api;
mod masters;
mod world;

mod beside;
mod converge;
mod crash;
mod deletion;
mod master;
mod refuse;
mod roll;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use gfs_operator::context::Context;
use gfs_operator::controller::{Backoffs, Outlook, pass};
use gfs_operator::crd::PullPolicy;
use gfs_operator::error::Result;
use gfs_operator::events::Events;
use gfs_operator::metrics::Metrics;
use gfs_operator::validate::Defaults;
use kube::Client;

use crate::api::Api;
use crate::masters::FakeMasters;
use crate::world::{NAME, NAMESPACE, World};

/// A new operator process.
fn operator(world: &World) -> Context {
    let client = Client::new(Api(world.clone()), "default");
    Context {
        events: Events::new(client.clone(), "test"),
        client,
        metrics: Metrics::new(&prometheus::Registry::new()).unwrap(),
        masters: Arc::new(FakeMasters(world.clone())),
        defaults: Defaults {
            image: "registry.example/gfs:0.1.0".to_owned(),
            image_pull_policy: PullPolicy::IfNotPresent,
            operator_namespace: Some("gfs-system".to_owned()),
        },
        backoffs: Backoffs::default(),
    }
}

async fn one_pass(ctx: &Context) -> Result<Outlook> {
    pass(ctx, NAMESPACE, NAME, Duration::from_secs(60)).await
}

/// Passes, and what the rest of the cluster does between them, until the cluster is ready.
async fn until_ready(world: &World, ctx: &Context) {
    for _ in 0..40 {
        let outlook = one_pass(ctx).await.unwrap();
        world.turn();
        if outlook == Outlook::Ready {
            return;
        }
    }
    panic!("not ready: {}", world.get("gfsclusters", NAME)["status"]);
}

/// A cluster that is ready, and its operator; the calls so far are forgotten.
async fn installed(spec: serde_json::Value) -> (World, Context) {
    let world = World::with(spec);
    let ctx = operator(&world);
    until_ready(&world, &ctx).await;
    one_pass(&ctx).await.unwrap();
    world.take_calls();
    world.state().events.clear();
    (world, ctx)
}
