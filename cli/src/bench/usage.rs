//! What each process of the cluster uses, as it reports it of itself: processor time, memory, connections.

use std::collections::BTreeMap;
use std::time::Duration;

use gfs_client::{ChunkserverStatus, Client};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::{Context, Failure, Result};
use crate::http;

/// Processor seconds, user and system, by role; `client` is this process and those it started.
pub(super) type CpuSeconds = BTreeMap<String, f64>;
/// What every role uses at one moment.
pub(super) type Usage = BTreeMap<String, Used>;
/// Memory by role.
pub(super) type Memory = BTreeMap<String, MemoryBytes>;

/// What one role uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Used {
    pub(super) cpu_s: f64,
    pub(super) resident_bytes: u64,
    /// That others opened to it.
    pub(super) connections: u64,
}

/// Resident memory of one role over a bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct MemoryBytes {
    start: u64,
    /// The most that was seen while the bench looked.
    peak: u64,
    end: u64,
}

pub(super) const CLIENT: &str = "client";
const MASTER: &str = "master1";
const CPU: &str = "process_cpu_seconds_total";
const RESIDENT: &str = "process_resident_memory_bytes";
const CONNECTIONS: [&str; 2] =
    ["gfs_chunkserver_connections", "gfs_master_connections{peer=\"client\"}"];
const QUESTION_TIME: Duration = Duration::from_secs(5);

/// The roles of a cluster, and where each tells of itself.
#[derive(Debug, Clone)]
pub(super) struct Roles {
    http_addresses: Vec<(String, String)>,
}

impl Roles {
    /// Those that are alive.
    pub(super) async fn of(client: &Client) -> Result<Self> {
        let status = client.status().await?;
        let mut http_addresses = vec![(MASTER.to_owned(), status.master_http_address)];
        let alive = status.chunkservers.iter().filter(|server| server.alive);
        http_addresses.extend(alive.map(|server| (name(server), server.http_address.clone())));
        Ok(Self { http_addresses })
    }

    /// Asks them all.
    pub(super) async fn now(&self) -> Result<Usage> {
        let mut all = Usage::new();
        for (role, address) in &self.http_addresses {
            all.insert(role.clone(), ask(address).await?);
        }
        // Last, so that asking is counted on both sides.
        all.insert(CLIENT.to_owned(), own());
        Ok(all)
    }

    /// Looks every so often until the watch is ended.
    pub(super) fn watch(&self, every: Duration) -> Watch {
        let (roles, peaks) = (self.clone(), Peaks::default());
        let seen = peaks.clone();
        let looking = tokio::spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                // Who does not answer now is asked at the end again.
                if let Ok(usage) = roles.now().await {
                    seen.note(&usage);
                }
            }
        });
        Watch { looking, peaks }
    }
}

/// Most memory seen, by role.
#[derive(Debug, Clone, Default)]
struct Peaks(std::sync::Arc<std::sync::Mutex<BTreeMap<String, u64>>>);

impl Peaks {
    fn note(&self, usage: &Usage) {
        let mut peaks = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (role, used) in usage {
            let peak = peaks.entry(role.clone()).or_default();
            *peak = used.resident_bytes.max(*peak);
        }
    }
}

/// A look at the memory of all roles, again and again.
pub(super) struct Watch {
    looking: JoinHandle<()>,
    peaks: Peaks,
}

impl Watch {
    pub(super) fn end(self) -> BTreeMap<String, u64> {
        self.looking.abort();
        let mut peaks = self.peaks.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut peaks)
    }
}

/// Processor time that went from `before` to `after`, of those that are in both.
pub(super) fn cpu_spent(before: &Usage, after: &Usage) -> CpuSeconds {
    let spent = |(role, used): (&String, &Used)| {
        Some((role.clone(), (used.cpu_s - before.get(role)?.cpu_s).max(0.0)))
    };
    after.iter().filter_map(spent).collect()
}

/// Memory of those that are in both.
pub(super) fn memory(before: &Usage, peaks: &BTreeMap<String, u64>, after: &Usage) -> Memory {
    let of = |(role, used): (&String, &Used)| {
        let (start, end) = (before.get(role)?.resident_bytes, used.resident_bytes);
        let peak = peaks.get(role).copied().unwrap_or_default().max(start).max(end);
        Some((role.clone(), MemoryBytes { start, peak, end }))
    };
    after.iter().filter_map(of).collect()
}

/// Memory that each new connection took, of those roles that got any.
pub(super) fn memory_by_connection(before: &Usage, after: &Usage) -> BTreeMap<String, u64> {
    let of = |(role, used): (&String, &Used)| {
        let start = before.get(role)?;
        let bytes = used.resident_bytes.saturating_sub(start.resident_bytes);
        let by_one = bytes.checked_div(used.connections.saturating_sub(start.connections))?;
        Some((role.clone(), by_one))
    };
    after.iter().filter_map(of).collect()
}

/// Its host in the topology, which `gfs dev` makes the role; else its uid.
fn name(server: &ChunkserverStatus) -> String {
    let host = server.topology.labels().get(1);
    host.cloned().unwrap_or_else(|| server.uid.to_string())
}

/// Of this process.
pub(super) fn own() -> Used {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    let cpu_s = (Duration::from_secs(seconds) + Duration::from_nanos(nanos)).as_secs_f64();
    Used { cpu_s, resident_bytes: own_resident_bytes().unwrap_or_default(), connections: 0 }
}

fn own_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    field.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

async fn ask(http_address: &str) -> Result<Used> {
    let asking = || format!("cannot read the metrics of {http_address}");
    let answer = http::get(http_address, "/metrics", QUESTION_TIME).await.during(asking)?;
    parse(&answer.body).ok_or_else(|| Failure::new(format!("{}: no {CPU}", asking())))
}

fn parse(metrics: &str) -> Option<Used> {
    let value = |metric: &str| {
        metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '))
    };
    let count = |metric: &str| value(metric).and_then(whole);
    Some(Used {
        cpu_s: value(CPU)?.parse().ok()?,
        resident_bytes: count(RESIDENT).unwrap_or_default(),
        connections: CONNECTIONS.iter().find_map(|metric| count(metric)).unwrap_or_default(),
    })
}

/// A number without a fraction, however it is written (`1e6`).
fn whole(text: &str) -> Option<u64> {
    format!("{:.0}", text.parse::<f64>().ok()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_found_among_others() {
        let metrics = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total_x 9\n\
                       process_cpu_seconds_total 1.5\nprocess_resident_memory_bytes 4096\n\
                       gfs_master_connections{peer=\"chunkserver\"} 3\n\
                       gfs_master_connections{peer=\"client\"} 7\n";
        let used = Used { cpu_s: 1.5, resident_bytes: 4096, connections: 7 };
        assert_eq!(parse(metrics), Some(used));
        assert_eq!(parse("# nothing\n"), None);
        assert_eq!((whole("1e6"), whole("12"), whole("x")), (Some(1_000_000), Some(12), None));
    }

    fn usage(list: &[(&str, f64, u64, u64)]) -> Usage {
        let used = |&(role, cpu_s, resident_bytes, connections): &(&str, f64, u64, u64)| {
            (role.to_owned(), Used { cpu_s, resident_bytes, connections })
        };
        list.iter().map(used).collect()
    }

    #[test]
    fn only_roles_seen_twice_have_spent_anything() {
        let before = usage(&[("client", 1.0, 10, 0), ("cs1", 5.0, 10, 0), ("cs2", 1.0, 10, 0)]);
        // cs1 was started again in between, cs3 is new.
        let after = usage(&[("client", 1.5, 20, 0), ("cs1", 0.5, 5, 0), ("cs3", 2.0, 1, 0)]);
        let spent = CpuSeconds::from([("client".to_owned(), 0.5), ("cs1".to_owned(), 0.0)]);
        assert_eq!(cpu_spent(&before, &after), spent);
        let peaks = BTreeMap::from([("client".to_owned(), 30)]);
        let memory = memory(&before, &peaks, &after);
        assert_eq!(memory["client"], MemoryBytes { start: 10, peak: 30, end: 20 });
        assert_eq!(memory["cs1"], MemoryBytes { start: 10, peak: 10, end: 5 });
        assert_eq!(memory.len(), 2);
        assert!(own().cpu_s > 0.0 && own().resident_bytes > 100_000);
    }

    #[test]
    fn memory_is_shared_out_to_the_connections_that_came() {
        let before = usage(&[("cs1", 0.0, 1000, 2), ("cs2", 0.0, 1000, 2), ("cs3", 0.0, 9, 0)]);
        let after = usage(&[("cs1", 0.0, 5000, 12), ("cs2", 0.0, 5000, 2), ("cs3", 0.0, 5, 1)]);
        let by_one = BTreeMap::from([("cs1".to_owned(), 400), ("cs3".to_owned(), 0)]);
        assert_eq!(memory_by_connection(&before, &after), by_one);
    }
}
