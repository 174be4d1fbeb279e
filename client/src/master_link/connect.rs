//! Finding the primary master: every address of every name is asked, the highest configuration record is followed.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gfs_protocol::pb;
use gfs_protocol::pb::master_client::MasterClient;
use gfs_types::fence::{Incarnation, MasterEpoch};
use gfs_types::limits::{CONTROL_MESSAGE_BYTES_MAX, HANDSHAKE_MS};
use gfs_types::message::client::{ClientHello, ClientWelcome};
use gfs_types::record::ConfigRecord;
use gfs_types::topology::Topology;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::network::{MasterStream, Network};

/// Time for one TCP connection. A machine that is gone must not hold up one that is back.
const CONNECT: Duration = Duration::from_millis(1_000);
/// Once one master answered, how long the others are waited for: one of them may know better.
const STRAGGLERS: Duration = Duration::from_millis(250);
/// A stream on which nothing was heard for this long is asked whether it lives, and given up after as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Windows and frames of HTTP/2 in bytes: the defaults cost twice the CPU for larger answers.
const WINDOW_BYTES: u32 = 4 << 20;
const FRAME_BYTES: u32 = 1 << 20;

/// Where to look, and what to say.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) masters: Vec<String>,
    pub(super) topology: Topology,
    /// What stands for sockets.
    pub(super) network: Option<Arc<dyn Network>>,
}

/// A stream to the primary master, hello and welcome exchanged.
pub(super) struct Connection {
    pub(super) welcome: ClientWelcome,
    pub(super) out: mpsc::UnboundedSender<pb::ClientMessage>,
    pub(super) inbound: Inbound,
}

/// What the master says.
pub(super) enum Inbound {
    /// Over HTTP/2.
    Stream(Box<Streaming<pb::MasterMessage>>),
    /// Over what stands for it.
    Network(mpsc::UnboundedReceiver<pb::MasterMessage>),
}

impl Inbound {
    /// The next message; `None` at the end of the stream.
    pub(super) async fn message(&mut self) -> Result<Option<pb::MasterMessage>, tonic::Status> {
        match self {
            Self::Stream(stream) => stream.message().await,
            Self::Network(stream) => Ok(stream.recv().await),
        }
    }
}

/// Why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoMaster {
    /// It may change: try again.
    NotNow(String),
    /// Who answers belongs to another cluster.
    Foreign(String),
}

/// Asks all masters and gives the stream to the primary. `known` is the record followed so far: an older one, or one
/// of another cluster, is not.
pub(super) async fn connect(
    target: &Target,
    known: Option<&ConfigRecord>,
) -> Result<Connection, NoMaster> {
    let hello = ClientHello {
        cluster: known.map(|record| record.cluster),
        topology: target.topology.clone(),
    };
    let mut problems = Vec::new();
    let mut tries: FuturesUnordered<_> = match &target.network {
        Some(network) => {
            let masters = target.masters.iter();
            masters.map(|master| greet_over(network, master, hello.clone()).boxed()).collect()
        }
        None => {
            let (addresses, unresolved) = resolve(&target.masters).await;
            problems = unresolved;
            addresses.into_iter().map(|address| greet(address, hello.clone()).boxed()).collect()
        }
    };
    let mut found: Vec<Connection> = Vec::new();
    let mut foreign = None;
    loop {
        let next = if found.is_empty() {
            tries.next().await
        } else {
            timeout(STRAGGLERS, tries.next()).await.ok().flatten()
        };
        match next {
            None => break,
            Some(Ok(connection)) => match refuse(&connection.welcome, known) {
                None => found.push(connection),
                Some(NoMaster::Foreign(reason)) => foreign = Some(reason),
                Some(NoMaster::NotNow(reason)) => problems.push(reason),
            },
            Some(Err(NoMaster::NotNow(problem))) => problems.push(problem),
            Some(Err(NoMaster::Foreign(reason))) => foreign = Some(reason),
        }
    }
    match (choose(found, &mut problems), foreign) {
        (Some(connection), _) => Ok(connection),
        (None, Some(reason)) if problems.is_empty() => Err(NoMaster::Foreign(reason)),
        (None, foreign) => {
            problems.extend(foreign);
            Err(NoMaster::NotNow(problems.join("; ")))
        }
    }
}

/// All addresses of all names, and what went wrong with some.
async fn resolve(masters: &[String]) -> (BTreeSet<SocketAddr>, Vec<String>) {
    let mut addresses = BTreeSet::new();
    let mut problems = Vec::new();
    for master in masters {
        match tokio::net::lookup_host(master.as_str()).await {
            Ok(found) => addresses.extend(found),
            Err(error) => problems.push(format!("cannot resolve {master}: {error}")),
        }
    }
    (addresses, problems)
}

/// One master: stream, hello, welcome.
async fn greet(address: SocketAddr, hello: ClientHello) -> Result<Connection, NoMaster> {
    let limit = Duration::from_millis(HANDSHAKE_MS.0);
    match timeout(limit, greet_unlimited(address, hello)).await {
        Ok(result) => result,
        Err(_) => {
            Err(NoMaster::NotNow(format!("master at {address} takes connections but is silent")))
        }
    }
}

/// One master, over what stands for sockets.
async fn greet_over(
    network: &Arc<dyn Network>,
    master: &str,
    hello: ClientHello,
) -> Result<Connection, NoMaster> {
    let limit = Duration::from_millis(HANDSHAKE_MS.0);
    match timeout(limit, network.master(master, hello)).await {
        Ok(Ok(MasterStream { welcome, out, inbound })) => {
            Ok(Connection { welcome, out, inbound: Inbound::Network(inbound) })
        }
        Ok(Err(error)) => Err(refused(master, &error)),
        Err(_) => Err(NoMaster::NotNow(format!("master at {master} is silent"))),
    }
}

/// Only a foreign cluster is refused for good; a blank or recovering master will change.
fn refused(address: impl std::fmt::Display, error: &gfs_types::Error) -> NoMaster {
    let reason = format!("master at {address}: {error}");
    match error.kind {
        gfs_types::ErrorKind::Denied => NoMaster::Foreign(reason),
        _ => NoMaster::NotNow(reason),
    }
}

async fn greet_unlimited(address: SocketAddr, hello: ClientHello) -> Result<Connection, NoMaster> {
    let not_now = |what: &str, error: &dyn std::fmt::Display| {
        NoMaster::NotNow(format!("master at {address}: {what}: {error}"))
    };
    let channel = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| not_now("no address", &error))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .connect()
        .await
        .map_err(|error| not_now("cannot connect", &root_of(&error)))?;
    let (out, outbound) = mpsc::unbounded_channel();
    let kind = Some(pb::client_message::Kind::Hello(hello.into()));
    // The receiver is held below: sending cannot fail.
    let _ = out.send(pb::ClientMessage { kind });
    let mut inbound = MasterClient::new(channel)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .client(UnboundedReceiverStream::new(outbound))
        .await
        .map_err(|status| not_now("refuses", &status.message()))?
        .into_inner();
    let first = inbound.message().await.map_err(|status| not_now("gave up", &status.message()))?;
    match first.and_then(|message| message.kind) {
        Some(pb::master_message::Kind::Welcome(welcome)) => {
            let welcome = welcome.try_into().map_err(|e| not_now("bad welcome", &e))?;
            Ok(Connection { welcome, out, inbound: Inbound::Stream(Box::new(inbound)) })
        }
        Some(pb::master_message::Kind::Refused(error)) => {
            let error = gfs_types::Error::try_from(error).map_err(|e| not_now("bad answer", &e))?;
            Err(refused(address, &error))
        }
        _ => Err(NoMaster::NotNow(format!("master at {address}: closed without a welcome"))),
    }
}

/// The innermost cause says most: "Connection refused" rather than "transport error".
fn root_of(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Why a master that answered is not to be followed.
fn refuse(welcome: &ClientWelcome, known: Option<&ConfigRecord>) -> Option<NoMaster> {
    let known = known?;
    if welcome.record.cluster != known.cluster {
        return Some(NoMaster::Foreign(format!(
            "the master belongs to cluster {}, this client to cluster {}; connect anew",
            welcome.record.cluster, known.cluster
        )));
    }
    (rank(&welcome.record) < rank(known)).then(|| {
        NoMaster::NotNow(format!(
            "the master speaks for epoch {}, epoch {} was seen already",
            welcome.record.epoch, known.epoch
        ))
    })
}

fn rank(record: &ConfigRecord) -> (Incarnation, MasterEpoch, u64) {
    (record.incarnation, record.epoch, record.version)
}

/// The primary that the highest record names, if it is among those who answered.
fn choose(found: Vec<Connection>, problems: &mut Vec<String>) -> Option<Connection> {
    let highest = found.iter().map(|c| &c.welcome.record).max_by_key(|record| rank(record))?;
    let (primary, epoch) = (highest.primary, highest.epoch);
    let chosen = found.into_iter().find(|c| c.welcome.master == primary);
    if chosen.is_none() {
        problems.push(format!("master {primary}, the primary of epoch {epoch}, did not answer"));
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_types::ids::{ClusterUid, ServerUid};

    fn welcome(cluster: u128, epoch: u64) -> ClientWelcome {
        let record = ConfigRecord {
            cluster: ClusterUid(cluster),
            incarnation: Incarnation(1),
            epoch: MasterEpoch(epoch),
            version: 1,
            primary: ServerUid(1),
            in_sync: vec![ServerUid(1)],
        };
        ClientWelcome { record, master: ServerUid(1), chunk_bytes: 64 << 20 }
    }

    #[test]
    fn a_foreign_cluster_and_an_old_epoch_are_not_followed() {
        let known = welcome(1, 5).record;
        assert_eq!(refuse(&welcome(2, 9), None), None);
        assert_eq!(refuse(&welcome(1, 5), Some(&known)), None);
        assert_eq!(refuse(&welcome(1, 6), Some(&known)), None);
        assert!(matches!(refuse(&welcome(2, 9), Some(&known)), Some(NoMaster::Foreign(_))));
        assert!(matches!(refuse(&welcome(1, 4), Some(&known)), Some(NoMaster::NotNow(_))));
    }
}
