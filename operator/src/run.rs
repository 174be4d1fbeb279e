//! `gfs-operator run`: from its start to its end in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use gfs_telemetry::Health;
use gfs_types::config::LogFormat;
use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::{Api, Config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::RunArgs;
use crate::context::Context;
use crate::controller::{self, Backoffs};
use crate::crd::GfsCluster;
use crate::election::Candidate;
use crate::error::is_not_found;
use crate::events::Events;
use crate::master::Grpc;
use crate::metrics::Metrics;
use crate::validate::Defaults;
use crate::watches::Watches;

/// Between two looks whether the resource is defined.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Behind SIGTERM, passes under way get so long: less than the kubelet waits.
const LAST_PASSES: Duration = Duration::from_secs(20);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot begin: no configuration of an API server, or the address of `/metrics` is taken.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    gfs_telemetry::logs::init(LogFormat::from(args.log_format)).context("cannot begin to log")?;
    let stop = stop_signal()?;
    let registry = gfs_telemetry::http::registry()?;
    let metrics = Metrics::new(&registry)?;
    let watches = Watches::new(metrics.clone());
    let health = Health::starting().lives_unless({
        let watches = watches.clone();
        move || watches.silence()
    });
    let listener = TcpListener::bind(&args.http_listen)
        .await
        .with_context(|| format!("cannot listen on {} (--http-listen)", args.http_listen))?;
    let http = gfs_telemetry::http::serve(listener, health.clone(), registry, stop.clone());
    let http = tokio::spawn(http);
    let config = Config::infer()
        .await
        .context("no API server is configured: run in a pod, or set KUBECONFIG")?;
    let identity = args.identity.clone().unwrap_or_else(host_name);
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = ClientBuilder::try_from(config)?.with_layer(&watches).build();
    tracing::info!(identity, namespace, lease = args.lease, image = args.image, "started");
    let operator = Operator {
        ctx: Arc::new(Context {
            events: Events::new(client.clone(), &identity),
            client: client.clone(),
            metrics,
            masters: Arc::new(Grpc),
            defaults: Defaults {
                image: args.image.clone(),
                image_pull_policy: args.image_pull_policy.into(),
                operator_namespace: args.namespace.clone(),
            },
            backoffs: Backoffs::default(),
        }),
        namespaces: args.namespaces(),
        candidate: Candidate::new(client, &namespace, &args.lease, &identity),
        health,
        watches,
    };
    operator.run(stop).await;
    tracing::info!("ended in order");
    http.await.context("the HTTP server panicked")?.context("the HTTP server failed")
}

/// The name of this machine: in a pod, the pod's.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", name.trim(), std::process::id())
}

/// Ready at SIGTERM or SIGINT, for all who hold one.
fn stop_signal() -> anyhow::Result<Stop> {
    let failed = "cannot listen for signals";
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let either = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(either.boxed().shared())
}

type Stop = futures::future::Shared<futures::future::BoxFuture<'static, ()>>;

struct Operator {
    ctx: Arc<Context>,
    namespaces: Vec<String>,
    candidate: Candidate,
    health: Health,
    watches: Watches,
}

impl Operator {
    async fn run(mut self, stop: Stop) {
        tokio::select! {
            () = stop.clone() => return,
            () = self.until_defined() => {}
        }
        loop {
            let health = self.health.clone();
            tokio::select! {
                () = stop.clone() => return,
                // Who stands by is as ready as who leads: it would go on at once.
                () = self.candidate.campaign(|| health.ready()) => {}
            }
            self.lead(stop.clone()).await;
            if stop.peek().is_some() {
                self.candidate.release().await;
                return;
            }
        }
    }

    /// Acts as the leader until told to stop or the lease is lost. Then passes under way are dropped where they are,
    /// as when the process dies: the next leader goes on from there.
    async fn lead(&mut self, stop: Stop) {
        tracing::info!("leading");
        self.health.ready();
        self.watches.expect(&controller::WATCHED);
        self.ctx.metrics.leads(true);
        let too_long = async {
            stop.clone().await;
            tokio::time::sleep(LAST_PASSES).await;
        };
        tokio::select! {
            () = controller::run(self.ctx.clone(), &self.namespaces, stop.clone()) => {}
            () = self.candidate.keep() => {}
            () = too_long => tracing::warn!("passes under way are dropped where they are"),
        }
        self.ctx.metrics.leads(false);
        self.watches.expect_none();
    }

    /// Waits until there are clusters to watch: without their definition each watch would fail.
    async fn until_defined(&self) {
        let mut told = None;
        loop {
            let Err(problem) = self.is_defined().await else { return };
            if told.as_ref() != Some(&problem) {
                tracing::error!("{problem}");
                self.health.not_ready(problem.clone());
                told = Some(problem);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_defined(&self) -> Result<(), String> {
        let client = self.ctx.client.clone();
        let one = ListParams::default().limit(1);
        let list = match self.namespaces.first() {
            Some(namespace) => list(Api::namespaced(client, namespace), &one).await,
            None => list(Api::all(client), &one).await,
        };
        match list {
            Ok(()) => Ok(()),
            Err(error) if is_not_found(&error) => Err(
                "the resource GfsCluster is not defined here: gfs-operator crds | kubectl apply --server-side -f - \
                 (looking again every 5 s)"
                    .to_owned(),
            ),
            Err(error) => Err(format!("clusters cannot be listed: {error} (trying again every 5 s)")),
        }
    }
}

async fn list(
    api: Api<kube::core::DeserializeGuard<GfsCluster>>,
    params: &ListParams,
) -> kube::Result<()> {
    api.list(params).await.map(|_| ())
}
