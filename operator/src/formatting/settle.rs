//! Carrying out what was decided about the master.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use super::{Remembered, Step, decide};
use crate::context::Context;
use crate::crd::PAUSED_ANNOTATION;
use crate::dereference;
use crate::error::{Error, Result};
use crate::events::Reason;
use crate::master::{Glance, Line, MasterError, Member, Told};
use crate::place::MASTER_PORT;
use crate::rollout::is_running;
use crate::status::{LiveCluster, MasterView, remember};
use crate::validate::ValidatedCluster;
use crate::volumes::Volumes;

/// The cluster as its master sees it, when that could be asked.
pub(super) type Known = Option<Glance>;

/// Asks the master what it is, and formats or remembers it if that is the step.
///
/// `pods` are those of this very cluster: a master of an earlier one of its name would be taken for ours.
/// It is asked at its pod's address, which was read a moment ago; a name would be an answer that some cache remembers.
///
/// # Errors
/// The API server did not take what is to be remembered. That a master does not answer is no error but what is told.
pub async fn settle(
    ctx: &Context,
    live: &mut LiveCluster,
    cluster: &ValidatedCluster,
    pods: &[Pod],
    volumes: &Volumes,
) -> Result<(MasterView, Known)> {
    let name = format!("{}-0", cluster.master_name());
    let Some(pod) = pods.iter().find(|pod| pod.name_any() == name) else {
        return Ok((MasterView::NoPod(name), None));
    };
    let Some(address) = address(pod) else { return Ok((MasterView::NoPod(name), None)) };
    let line = match ctx.masters.dial(&address).await {
        Ok(line) => line,
        Err(error) => return Ok((MasterView::Silent(error), None)),
    };
    let told = match line.status().await {
        Ok(told) => told,
        Err(error) => return Ok((MasterView::Silent(error), None)),
    };
    let chunkservers = format!("{}-", cluster.chunk_name());
    let earlier = volumes.of_earlier_chunkserver(&chunkservers, &name, live.created());
    let remembered = Remembered::of(Some(&live.status));
    let step = decide(cluster.cluster_uid(), remembered, earlier, Some(&told));
    let mut member = match told {
        Told::Formatted(member) => Some(member),
        Told::Blank | Told::Starting => None,
    };
    match &step {
        Step::Wait | Step::Known | Step::DataLost | Step::Foreign(_) | Step::EarlierVolumes(_) => {}
        Step::Format => match format(ctx, live, cluster, pod, line.as_ref()).await? {
            Ok(formatted) => member = formatted,
            Err(error) => return Ok((MasterView::Silent(error), None)),
        },
        Step::Remember { cluster: found, adopted } => {
            remember(ctx, live, &found.to_string()).await?;
            if *adopted {
                let note = format!(
                    "{name} holds cluster {found}, of an earlier GfsCluster of this name: its files were taken over, nothing was formatted"
                );
                ctx.events.tell(&live.owner.reference(), Reason::Adopted, &note).await;
            }
        }
    }
    let known = cluster_of(line.as_ref(), member.as_ref()).await;
    let in_touch = known.as_ref().map(|known| {
        let alive = known.status.chunkservers.iter().filter(|server| server.alive).count();
        i32::try_from(alive).unwrap_or(i32::MAX)
    });
    Ok((MasterView::Answered { pod: name, step, member, in_touch }, known))
}

fn address(pod: &Pod) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_deref()?;
    let address = if ip.contains(':') {
        format!("[{ip}]:{MASTER_PORT}")
    } else {
        format!("{ip}:{MASTER_PORT}")
    };
    (is_running(pod) && pod.metadata.deletion_timestamp.is_none()).then_some(address)
}

async fn cluster_of(line: &dyn Line, member: Option<&Member>) -> Known {
    if !member?.serving {
        return None;
    }
    // Not to know them is told as such, and holds up what would need to.
    line.cluster().await.ok()
}

/// Formats the process at the other end of `line`, which said that it is blank, and remembers it.
async fn format(
    ctx: &Context,
    live: &mut LiveCluster,
    cluster: &ValidatedCluster,
    pod: &Pod,
    line: &dyn Line,
) -> Result<std::result::Result<Option<Member>, MasterError>> {
    if !confirm(ctx, live, pod).await? {
        return Ok(Ok(None));
    }
    let record = match line.format(cluster.cluster_uid()).await {
        Ok(record) => record,
        // Whether it did or not is seen by the next pass.
        Err(error) => return Ok(Err(error)),
    };
    ctx.metrics.formatted();
    remember(ctx, live, &record.cluster.to_string()).await?;
    let note = format!(
        "{} was blank and this cluster was never formatted: it was formatted as cluster {}",
        pod.name_any(),
        record.cluster
    );
    ctx.events.tell(&live.owner.reference(), Reason::Formatted, &note).await;
    Ok(Ok(match line.status().await {
        Ok(Told::Formatted(member)) => Some(member),
        Ok(Told::Blank | Told::Starting) | Err(_) => None,
    }))
}

/// Reads once more, behind the connection, on what the order rests: that no one formatted this cluster, and that the
/// address was this pod's all the while. Another operator, or this one before a long sleep, may have been here.
async fn confirm(ctx: &Context, live: &mut LiveCluster, pod: &Pod) -> Result<bool> {
    let owner = &live.owner;
    let Some(object) = dereference::cluster(ctx, &owner.namespace, &owner.name).await? else {
        return Ok(false);
    };
    let fresh = LiveCluster::new(object)?;
    let same = fresh.owner == *owner && !fresh.is_ending() && !fresh.says(PAUSED_ANNOTATION);
    if !same || fresh.status.initialized {
        return Ok(false);
    }
    let pods: Api<Pod> = Api::namespaced(ctx.client.clone(), &owner.namespace);
    let name = pod.name_any();
    let found = pods.get_opt(&name).await;
    let found = found.map_err(|source| Error::api(format!("reading pod {name}"), source))?;
    let Some(found) = found else { return Ok(false) };
    if found.uid() != pod.uid() || address(&found) != address(pod) {
        return Ok(false);
    }
    *live = fresh;
    Ok(true)
}
