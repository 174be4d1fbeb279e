//! Waiting until roles listen, answer, and can store files.

use std::time::Duration;

use gfs_client::{Client, Options};
use rustix::process::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::children::{Children, describe};
use super::layout::Layout;
use super::plan::Plan;
use super::process::{self, Addresses};
use super::role::Role;
use super::tables::{self, Lock};
use crate::failure::{Failure, Result};
use crate::http;

/// How often to look again: short, since people and tests wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Time for a cluster to come up; a long log is replayed in it.
const START_TIME: Duration = Duration::from_secs(120);
/// Time for one question while coming up.
const QUESTION_TIME: Duration = Duration::from_secs(2);
/// A killed process may first have to come back from the disk.
pub(crate) const GONE_TIME: Duration = Duration::from_secs(10);
/// Chunkservers needed to store files: replicas of a chunk, if there are so many.
const CHUNKSERVERS_NEEDED: u16 = 3;

/// Waits until the role wrote where it listens, and puts that into `addresses`.
pub(crate) async fn listening(
    layout: &Layout,
    role: Role,
    children: &mut Children,
) -> Result<Addresses> {
    let found = || async { process::addresses(layout, role).ok_or_else(String::new) };
    let addresses =
        unless_ended(layout, children, &format!("{role} does not listen"), found).await?;
    let _lock = Lock::wait(&layout.tables_lock())?;
    let mut table = tables::read(&layout.addresses())?;
    table.insert(role, addresses.data.clone());
    tables::write(&layout.addresses(), &table)?;
    Ok(addresses)
}

/// Waits until the master serves the cluster of the plan.
pub(crate) async fn serving(
    layout: &Layout,
    plan: &Plan,
    master: &str,
    children: &mut Children,
) -> Result<Client> {
    let ask = || async {
        let client = connect(master).await?;
        let cluster = client.record().cluster;
        if cluster == plan.cluster { Ok(client) } else { Err(format!("it serves {cluster}")) }
    };
    unless_ended(layout, children, "the master does not serve", ask).await
}

/// Waits until enough chunkservers are in touch with the master to store files.
pub(crate) async fn storing(
    layout: &Layout,
    plan: &Plan,
    client: &Client,
    children: &mut Children,
) -> Result<()> {
    let needed = usize::from(plan.chunkservers.min(CHUNKSERVERS_NEEDED));
    let ask = || async {
        let status = timeout(QUESTION_TIME, client.status()).await;
        let status = status.map_err(|_| "the master is silent".to_owned())?;
        let status = status.map_err(|error| error.to_string())?;
        let alive = status.chunkservers.iter().filter(|server| server.alive).count();
        if alive >= needed { Ok(()) } else { Err(format!("{alive} of {needed} are in touch")) }
    };
    unless_ended(layout, children, "too few chunkservers", ask).await
}

/// Whether the server can serve its role, as it says itself.
pub(crate) async fn serves(http_address: &str) -> std::result::Result<(), String> {
    match http::get(http_address, "/readyz", QUESTION_TIME).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.body.trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

async fn connect(master: &str) -> std::result::Result<Client, String> {
    let options = Options::new(master).map_err(|error| error.to_string())?;
    let options = Options { timeout: QUESTION_TIME, ..options };
    Client::connect_with(options).await.map_err(|error| error.to_string())
}

/// Asks until the answer is good; ends when a role ends or the time does.
async fn unless_ended<T, Asked>(
    layout: &Layout,
    children: &mut Children,
    trouble: &str,
    ask: impl Fn() -> Asked,
) -> Result<T>
where
    Asked: Future<Output = std::result::Result<T, String>>,
{
    let asking = poll_until(Instant::now() + START_TIME, ask);
    tokio::select! {
        (role, status) = children.ended() => {
            Err(process::ended_early(layout, role, describe(&status)))
        }
        answer = asking => answer.map_err(|last| {
            let logs = layout.dir().join("logs");
            Failure::new(format!(
                "{trouble} after {START_TIME:?} ({last}); look into {}", logs.display()
            ))
        }),
    }
}

/// Asks until the answer is good or the time is over; then the last answer is the error.
pub(crate) async fn poll_until<T, Asked>(
    deadline: Instant,
    ask: impl Fn() -> Asked,
) -> std::result::Result<T, String>
where
    Asked: Future<Output = std::result::Result<T, String>>,
{
    loop {
        match ask().await {
            Err(last) if Instant::now() >= deadline => return Err(last),
            Err(_) => sleep(LOOK_AGAIN).await,
            Ok(answer) => return Ok(answer),
        }
    }
}

/// Waits until a killed process has let go of its files and ports.
pub(crate) async fn until_ended(pid: Pid) -> std::result::Result<(), String> {
    let ended = || async { if process::has_ended(pid) { Ok(()) } else { Err(String::new()) } };
    poll_until(Instant::now() + GONE_TIME, ended).await
}
