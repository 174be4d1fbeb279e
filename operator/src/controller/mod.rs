//! What wakes a pass, and what becomes of its outcome.

mod pass;
mod policy;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::channel::mpsc;
use futures::future::{join, join_all};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::PartialObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{Predicate, WatchStreamExt, predicates, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

pub use pass::pass;
pub use policy::{Backoffs, Outlook};

use crate::context::Context;
use crate::crd::GfsCluster;
use crate::deletion::{self, Clusters};
use crate::error::{Error, Result};
use crate::labels;

/// The object that is watched: one that cannot be read is an object too, and stops no other.
type Guarded = DeserializeGuard<GfsCluster>;

/// Clusters that are looked at at the same time.
const CONCURRENCY: u16 = 8;
/// What happens within this time wakes one pass.
const DEBOUNCE: Duration = Duration::from_millis(500);
/// No pass takes longer.
const PASS: Duration = Duration::from_secs(60);
/// Of it, what is not spent on telling how it went.
const CONVERGE: Duration = Duration::from_secs(45);
/// The kinds that are watched, as the API server names them.
pub const WATCHED: [&str; 8] = [
    "gfsclusters",
    "serviceaccounts",
    "services",
    "configmaps",
    "poddisruptionbudgets",
    "networkpolicies",
    "statefulsets",
    "pods",
];

/// Runs until `stop` is ready and the passes under way have ended. In all namespaces, or only in those named.
pub async fn run(
    ctx: Arc<Context>,
    namespaces: &[String],
    stop: impl Future<Output = ()> + Clone + Send + Sync + 'static,
) {
    let scopes: Vec<_> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    join_all(scopes.into_iter().map(|scope| run_in(ctx.clone(), scope, stop.clone()))).await;
}

async fn run_in(
    ctx: Arc<Context>,
    namespace: Option<&str>,
    stop: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (client, config) = (ctx.client.clone(), watcher::Config::default());
    let (reader, writer) = reflector::store();
    let api: Api<Guarded> = scoped(client.clone(), namespace);
    let mut known = Clusters::default();
    let (deletions, deleted) = mpsc::unbounded();
    let clusters = watcher(api, config).default_backoff().inspect_ok(move |event| {
        for deletion in known.hear(event) {
            // Nobody listens only when this ends.
            let _ = deletions.unbounded_send(deletion);
        }
    });
    let clusters = clusters.reflect(writer).applied_objects();
    // Without it each status that is written would wake the next pass.
    let clusters = clusters.predicate_filter(
        predicates::generation.combine(predicates::annotations),
        kube::runtime::PredicateConfig::default(),
    );
    let passes = Controller::for_stream(heard("gfsclusters", clusters), reader)
        .with_config(Config::default().concurrency(CONCURRENCY).debounce(DEBOUNCE))
        .owns_stream(children::<ServiceAccount>(&client, namespace))
        .owns_stream(children::<Service>(&client, namespace))
        .owns_stream(children::<ConfigMap>(&client, namespace))
        .owns_stream(children::<PodDisruptionBudget>(&client, namespace))
        .owns_stream(children::<NetworkPolicy>(&client, namespace))
        .owns_stream(children::<StatefulSet>(&client, namespace))
        .watches_stream(children::<Pod>(&client, namespace), cluster_of)
        .graceful_shutdown_on(stop)
        .run(reconcile, again, ctx.clone());
    // What went wrong was told where it did.
    let passes = passes.for_each(|_| std::future::ready(()));
    join(passes, deletion::carry_out_all(&ctx, deleted)).await;
}

fn scoped<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// Children of all clusters, by their metadata: that something changed is all that is wanted of them.
fn children<K>(
    client: &Client,
    namespace: Option<&str>,
) -> impl Stream<Item = watcher::Result<PartialObjectMeta<K>>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let config = watcher::Config::default().labels(labels::CHILDREN);
    let api: Api<PartialObjectMeta<K>> = scoped(client.clone(), namespace);
    let stream = watcher(api, config).default_backoff().touched_objects();
    heard(std::any::type_name::<K>(), stream)
}

/// A stream without its errors. It mends itself; given to the controller, they would hold up all other streams too.
fn heard<K: Send>(
    what: &'static str,
    stream: impl Stream<Item = watcher::Result<K>> + Send,
) -> impl Stream<Item = watcher::Result<K>> + Send {
    stream
        .inspect_err(move |error| tracing::warn!(what, %error, "a watch failed and is begun anew"))
        .filter(|item| std::future::ready(item.is_ok()))
}

/// A pod is owned by its StatefulSet; its labels say of which cluster it is.
fn cluster_of(pod: PartialObjectMeta<Pod>) -> Option<ObjectRef<Guarded>> {
    let name = labels::cluster_of(pod.labels())?;
    Some(ObjectRef::new(name).within(&pod.namespace()?))
}

/// One pass, within its time, counted.
async fn reconcile(cluster: Arc<Guarded>, ctx: Arc<Context>) -> Result<Action> {
    let (namespace, name) = key(&cluster);
    let started = Instant::now();
    let passing = tokio::time::timeout(PASS, pass(&ctx, &namespace, &name, CONVERGE));
    let outcome = passing.await.unwrap_or(Err(Error::Late(PASS)));
    ctx.metrics.passed(started.elapsed(), outcome.as_ref().err().map(Error::category));
    let outlook = outcome?;
    ctx.backoffs.forget(&namespace, &name);
    Ok(outlook.action())
}

/// When to look again behind an error.
fn again(cluster: Arc<Guarded>, error: &Error, ctx: Arc<Context>) -> Action {
    let (namespace, name) = key(&cluster);
    let category = error.category().label();
    tracing::warn!(namespace, cluster = name, category, %error, "the pass did not come to its end");
    ctx.backoffs.action(&namespace, &name, error.category(), jitter())
}

fn key(cluster: &Guarded) -> (String, String) {
    (cluster.namespace().unwrap_or_default(), cluster.name_any())
}

/// From 0 to 1, by the clock's last digits: it only spreads what failed together.
fn jitter() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    f64::from(now.unwrap_or_default().subsec_nanos() % 1_000_003) / 1_000_003.0
}
