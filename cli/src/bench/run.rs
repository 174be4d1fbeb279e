//! The course of a bench: prepare, measure, sync, verify, clean up.

use std::time::Instant;

use gfs_client::Client;

use super::crew::{self, Crew};
use super::outcome::Outcome;
use super::place::{self, Place};
use super::plan::Plan;
use super::report::{Measured, Report};
use super::usage::{self, Roles};
use super::work::{self, Caller};
use super::{Kind, stored};
use crate::cluster::ClusterArgs;
use crate::failure::{Context, Failure, Result};
use crate::output::note;

pub(super) async fn run(plan: &Plan, cluster: &ClusterArgs, client: &Client) -> Result<Report> {
    let place = place::take(plan, client).await?;
    let outcome = measure(plan, &place, cluster, client).await;
    let cleaned = place::clean(plan, &place, client).await;
    let report = outcome?;
    cleaned.map(|()| report)
}

async fn measure(
    plan: &Plan,
    place: &Place,
    cluster: &ClusterArgs,
    client: &Client,
) -> Result<Report> {
    // Idle clients connect within the measurement: what they take is what is measured.
    let roles = Roles::of(client).await?;
    let idle_before = if plan.kind == Kind::Idle { Some(roles.now().await?) } else { None };
    let here = if plan.processes == 0 { plan.connections } else { 1 };
    let callers = crew::callers(plan, &place.dir, 0..plan.clients, here, (cluster, client)).await?;
    place::prepare(plan, place, client, &callers).await.during(|| "while preparing")?;
    let mut crew = Crew::gather(plan, &place.dir, cluster, callers.clone()).await?;

    let before = match idle_before {
        Some(before) => before,
        None => roles.now().await?,
    };
    let watch = plan.watch_every().map(|every| roles.watch(every));
    let begin = Instant::now();
    let (outcome, cpu_apart_s) = crew.work(plan.seconds).await?;
    let seconds = begin.elapsed().as_secs_f64();
    let peaks = watch.map(usage::Watch::end).unwrap_or_default();
    let after = roles.now().await?;
    let mut cpu_s = usage::cpu_spent(&before, &after);
    *cpu_s.entry(usage::CLIENT.to_owned()).or_default() += cpu_apart_s;

    let begin = Instant::now();
    let sync_apart_s = crew.sync().await?;
    let sync_s = begin.elapsed().as_secs_f64();
    let sync_cpu_s: f64 = usage::cpu_spent(&after, &roles.now().await?).values().sum();

    if plan.verify {
        verify(plan, place, client, &callers, &outcome).await?;
    }
    if let Some(error) = &outcome.first_error {
        note(format_args!("{} operations failed, the first: {error}", outcome.errors));
    }
    Ok(Report::from(Measured {
        plan,
        seconds,
        sync_s,
        sync_cpu_s: sync_cpu_s + sync_apart_s,
        cpu_s,
        memory: usage::memory(&before, &peaks, &after),
        memory_by_connection: (plan.kind == Kind::Idle)
            .then(|| usage::memory_by_connection(&before, &after)),
        outcome,
    }))
}

/// Compares what is there with what was written.
async fn verify(
    plan: &Plan,
    place: &Place,
    client: &Client,
    callers: &[Caller],
    outcome: &Outcome,
) -> Result<()> {
    match plan.kind {
        Kind::Read if stored::knows(plan) => {
            for caller in callers {
                stored::compare(caller).await?;
            }
            Ok(())
        }
        Kind::Write if !plan.random => {
            for caller in callers {
                work::verify_file(caller).await?;
            }
            Ok(())
        }
        Kind::Append => {
            let (log, ops) = (place::log_path(&place.dir), outcome.ops);
            let found = work::count_records(client, &log, &callers[0].payload).await?;
            if found >= ops {
                return Ok(());
            }
            Err(Failure::new(format!("{log} has {found} records, {ops} were acknowledged")))
        }
        // Smaller reads and listings compare as they go; the others have no bytes.
        _ => Ok(()),
    }
}
