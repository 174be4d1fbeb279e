//! Processor time, as each process reports it of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use gfs_client::{ChunkserverStatus, Client};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::{Context, Failure, Result};
use crate::http;

/// Processor seconds, user and system, by role; `client` is this process.
pub(super) type CpuSeconds = BTreeMap<String, f64>;

const METRIC: &str = "process_cpu_seconds_total";
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// Asks all servers of the cluster.
pub(super) async fn now(client: &Client) -> Result<CpuSeconds> {
    let status = client.status().await?;
    let mut all = CpuSeconds::new();
    all.insert("master1".to_owned(), of(&status.master_http_address).await?);
    for server in status.chunkservers.iter().filter(|server| server.alive) {
        all.insert(name(server), of(&server.http_address).await?);
    }
    // Last, so that asking is counted on both sides.
    all.insert("client".to_owned(), own());
    Ok(all)
}

/// What was spent from `before` to `after` by those that are in both.
pub(super) fn spent(before: &CpuSeconds, after: &CpuSeconds) -> CpuSeconds {
    let spent = |(role, seconds): (&String, &f64)| {
        Some((role.clone(), (seconds - before.get(role)?).max(0.0)))
    };
    after.iter().filter_map(spent).collect()
}

/// Its host in the topology, which `gfs dev` makes the role; else its uid.
fn name(server: &ChunkserverStatus) -> String {
    let host = server.topology.labels().get(1);
    host.cloned().unwrap_or_else(|| server.uid.to_string())
}

fn own() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    (Duration::from_secs(seconds) + Duration::from_nanos(nanos)).as_secs_f64()
}

async fn of(http_address: &str) -> Result<f64> {
    let asking = || format!("cannot read the metrics of {http_address}");
    let answer = http::get(http_address, "/metrics", QUESTION_TIME).await.during(asking)?;
    parse(&answer.body).ok_or_else(|| Failure::new(format!("{}: no {METRIC}", asking())))
}

fn parse(metrics: &str) -> Option<f64> {
    let value = |line: &str| line.strip_prefix(METRIC)?.strip_prefix(' ')?.trim().parse().ok();
    metrics.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_is_found_among_others() {
        let metrics = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total_x 9\n\
                       process_cpu_seconds_total 1.5\n";
        assert_eq!(parse(metrics), Some(1.5));
        assert_eq!(parse("# nothing\n"), None);
    }

    #[test]
    fn only_roles_seen_twice_have_spent_anything() {
        let seconds = |list: &[(&str, f64)]| -> CpuSeconds {
            list.iter().map(|(role, seconds)| ((*role).to_owned(), *seconds)).collect()
        };
        let before = seconds(&[("client", 1.0), ("cs1", 5.0), ("cs2", 1.0)]);
        // cs1 was started again in between, cs3 is new.
        let after = seconds(&[("client", 1.5), ("cs1", 0.5), ("cs3", 2.0)]);
        assert_eq!(spent(&before, &after), seconds(&[("client", 0.5), ("cs1", 0.0)]));
        assert!(own() > 0.0);
    }
}
