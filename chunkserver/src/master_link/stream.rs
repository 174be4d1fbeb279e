//! One stream to one master, from the registration to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use gfs_chunkserver_core::Input;
use gfs_chunkserver_core::fence::Verdict;
use gfs_protocol::pb;
use gfs_protocol::pb::master_client::MasterClient;
use gfs_types::DurationMs;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::ClusterUid;
use gfs_types::limits::{CONTROL_MESSAGE_BYTES_MAX, HANDSHAKE_MS};
use gfs_types::message::control::{Command, FromChunkserver, Registration, Space, ToChunkserver};
use gfs_types::region::ChunkSize;
use gfs_types::time::Instant;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::{Identity, Parts, addresses};

/// Messages between this task and the connection.
const SENDING_MAX: usize = 64;
/// A master that answers no heartbeat for so many of their intervals, and this long, is given up.
const SILENT: (u32, Duration) = (6, Duration::from_secs(3));
/// Time for a master to take the last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a stream ended that should not have.
pub(super) struct Broken {
    pub(super) why: String,
    /// It had come as far as a registration.
    pub(super) registered: bool,
}

struct Opened {
    sending: mpsc::Sender<pb::ChunkserverMessage>,
    commands: Streaming<pb::CommandMessage>,
}

/// What a master says to a chunkserver that introduces itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction {
    /// The cluster.
    pub cluster: ClusterUid,
    /// The epoch of the master.
    pub epoch: MasterEpoch,
    /// The cluster's chunk size.
    pub chunk_size: ChunkSize,
}

/// Asks the masters, for ever, which cluster this is: for a chunkserver whose directory is blank.
pub async fn introduce(masters: &[String], identity: &Identity) -> Introduction {
    loop {
        for master in addresses::resolve(masters).await {
            let registration = registration(identity, MasterEpoch(0), Space::default(), Vec::new());
            match ask(&master, registration).await {
                Ok(introduction) => return introduction,
                Err(why) => {
                    tracing::info!(%master, why, "this master does not take a new chunkserver")
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn ask(master: &SocketAddr, registration: Registration) -> Result<Introduction, String> {
    let session = registration.session;
    let mut opened = open(master, registration).await?;
    let waiting = tokio::time::timeout(ms(HANDSHAKE_MS), opened.commands.message());
    let message = waiting.await.map_err(|_| "no answer".to_owned())?;
    let message = message.map_err(|status| status.to_string())?.ok_or("the stream ended")?;
    let answer = ToChunkserver::try_from(message).map_err(|error| error.to_string())?;
    match answer.command {
        Command::Welcome { cluster, chunk_bytes, .. } if answer.session == session => {
            let chunk_size = ChunkSize::new(chunk_bytes).map_err(|error| error.to_string())?;
            Ok(Introduction { cluster, epoch: answer.epoch, chunk_size })
        }
        Command::Refused(error) => Err(error.message),
        _ => Err("the first answer is no welcome".to_owned()),
    }
}

/// A stream on which a master knows this server and all of its replicas.
struct Registered {
    sending: mpsc::Sender<pb::ChunkserverMessage>,
    commands: Streaming<pb::CommandMessage>,
    heartbeat: Duration,
}

/// Heartbeats of this stream.
struct Beats {
    /// When each was sent that is not answered.
    sent: BTreeMap<u64, Instant>,
    seq: u64,
    answered: tokio::time::Instant,
}

/// Connects, registers, and serves until the stream breaks. `Ok`: this process ends.
pub(super) async fn serve(
    parts: &mut Parts,
    master: &SocketAddr,
    outbox: &mut mpsc::Receiver<FromChunkserver>,
    ended: &mut watch::Receiver<bool>,
) -> Result<(), Broken> {
    let registered = tokio::select! {
        registered = register(parts, master) => registered,
        _ = ended.wait_for(|ended| *ended) => return Ok(()),
    };
    let registered = registered.map_err(|why| Broken { why, registered: false })?;
    tracing::info!(%master, epoch = %parts.obeyed.epoch(), "registered with the master");
    parts.metrics.registered(true);
    parts.health.ready();
    let outcome = converse(parts, registered, outbox, ended).await;
    outcome.map_err(|why| Broken { why, registered: true })
}

async fn register(parts: &mut Parts, master: &SocketAddr) -> Result<Registered, String> {
    let held = lock(parts).held(parts.clock.now());
    let register = registration(&parts.identity, parts.obeyed.epoch(), space(parts), held);
    let Opened { sending, mut commands } = open(master, register).await?;
    let heartbeat = welcome(parts, &mut commands).await?;
    report_all(parts, &sending).await?;
    Ok(Registered { sending, commands, heartbeat })
}

async fn converse(
    parts: &mut Parts,
    registered: Registered,
    outbox: &mut mpsc::Receiver<FromChunkserver>,
    ended: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let Registered { sending, mut commands, heartbeat } = registered;
    let mut ticks = tokio::time::interval(heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let silent = (heartbeat * SILENT.0).max(SILENT.1);
    let mut beats = Beats { sent: BTreeMap::new(), seq: 0, answered: tokio::time::Instant::now() };
    loop {
        tokio::select! {
            message = commands.message() => {
                let message = message.map_err(|status| status.to_string())?;
                obey(parts, message.ok_or("the master closed the stream")?, &mut beats)?;
            }
            Some(message) = outbox.recv() => send(&sending, message).await?,
            _ = ticks.tick() => {
                if beats.answered.elapsed() > silent {
                    return Err(format!("no heartbeat was answered for {silent:?}"));
                }
                beat(parts, &sending, &mut beats).await?;
            }
            _ = ended.wait_for(|ended| *ended) => {
                farewell(sending, commands, outbox).await;
                return Ok(());
            }
        }
    }
}

async fn open(master: &SocketAddr, register: Registration) -> Result<Opened, String> {
    let endpoint = Endpoint::from_shared(format!("http://{master}"))
        .map_err(|error| error.to_string())?
        .connect_timeout(ms(HANDSHAKE_MS))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10));
    let channel = endpoint.connect().await.map_err(|error| error_chain(&error))?;
    let mut client = MasterClient::new(channel)
        .max_decoding_message_size(CONTROL_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(CONTROL_MESSAGE_BYTES_MAX);
    let (sending, sent) = mpsc::channel(SENDING_MAX);
    send(&sending, FromChunkserver::Register(register)).await?;
    let opening = tokio::time::timeout(ms(HANDSHAKE_MS), client.control(ReceiverStream::new(sent)));
    let opened = opening.await.map_err(|_| "no answer to the call".to_owned())?;
    let commands = opened.map_err(|status| status.to_string())?.into_inner();
    Ok(Opened { sending, commands })
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The answer to the registration: how often to send heartbeats.
async fn welcome(
    parts: &mut Parts,
    commands: &mut Streaming<pb::CommandMessage>,
) -> Result<Duration, String> {
    let waiting = tokio::time::timeout(ms(HANDSHAKE_MS), commands.message());
    let message = waiting.await.map_err(|_| "no answer to the registration".to_owned())?;
    let message = message.map_err(|status| status.to_string())?.ok_or("the stream ended")?;
    let answer = ToChunkserver::try_from(message).map_err(|error| error.to_string())?;
    let heartbeat = welcomed(&answer, &parts.identity, parts.obeyed.chunk_size())?;
    // Only now: the epoch of a foreign master would shut out the own one for ever.
    admit(parts, &answer)?;
    Ok(heartbeat)
}

/// Whether the first answer welcomes this server, into the cluster it belongs to.
fn welcomed(
    answer: &ToChunkserver,
    identity: &Identity,
    chunk_size: ChunkSize,
) -> Result<Duration, String> {
    if let Command::Refused(error) = &answer.command {
        return Err(error.message.clone());
    }
    let Command::Welcome { cluster, chunk_bytes, heartbeat_ms, .. } = answer.command else {
        return Err("the first answer is no welcome".to_owned());
    };
    if answer.session != identity.session {
        return Err(format!("this master welcomes session {}", answer.session.0));
    }
    if identity.cluster != Some(cluster) {
        return Err(format!("this master belongs to cluster {cluster}"));
    }
    if chunk_bytes != chunk_size.bytes() {
        return Err(format!("this master says that chunks have {chunk_bytes} bytes"));
    }
    Ok(Duration::from_millis(heartbeat_ms.max(10)))
}

/// Whether a command may be obeyed; its epoch is durable then.
fn admit(parts: &mut Parts, command: &ToChunkserver) -> Result<bool, String> {
    match parts.obeyed.judge(command) {
        Ok(Verdict::Refuse(error)) => Err(error.message),
        Ok(Verdict::Drop) => Ok(false),
        Ok(Verdict::Obey | Verdict::PersistFirst(_)) => Ok(true),
        Err(error) => {
            tracing::error!(%error, "the process ends: the epoch of the master cannot be made durable");
            std::process::exit(crate::EXIT_DISK_FAILED)
        }
    }
}

async fn report_all(
    parts: &Parts,
    sending: &mpsc::Sender<pb::ChunkserverMessage>,
) -> Result<(), String> {
    let pages = lock(parts).pages();
    let count = pages.len();
    for (index, replicas) in pages.into_iter().enumerate() {
        let last = index + 1 == count;
        send(sending, FromChunkserver::ReportPage { replicas, last }).await?;
    }
    Ok(())
}

/// One heartbeat. Leases it extends run from this moment (raise-7).
async fn beat(
    parts: &Parts,
    sending: &mpsc::Sender<pb::ChunkserverMessage>,
    beats: &mut Beats,
) -> Result<(), String> {
    let now = parts.clock.now();
    let (changed, extend) = {
        let mut holdings = lock(parts);
        parts.metrics.holds(holdings.count(), holdings.lease_count());
        (holdings.take_changed(), holdings.to_extend(now))
    };
    beats.seq += 1;
    let seq = beats.seq;
    beats.sent.insert(seq, now);
    send(sending, FromChunkserver::Heartbeat { seq, space: space(parts), changed, extend }).await
}

fn obey(parts: &mut Parts, message: pb::CommandMessage, beats: &mut Beats) -> Result<(), String> {
    let command = ToChunkserver::try_from(message).map_err(|error| error.to_string())?;
    if let Command::Refused(error) = &command.command {
        return Err(error.message.clone());
    }
    if !admit(parts, &command)? {
        return Ok(());
    }
    let epoch = command.epoch;
    match command.command {
        Command::HeartbeatAnswer { seq, extended, lease_ms } => {
            beats.answered = tokio::time::Instant::now();
            if let Some(at) = beats.sent.get(&seq) {
                parts.driver.extended(extended, *at + DurationMs(lease_ms));
            }
            beats.sent = beats.sent.split_off(&(seq + 1));
        }
        Command::CreateReplica { handle, version } => {
            let chunk_size = parts.obeyed.chunk_size();
            parts.driver.command(handle, Input::Create { version, epoch, chunk_size });
        }
        Command::Raise { handle, version, from } => {
            parts.driver.command(handle, Input::Raise { version, from, epoch });
        }
        Command::GrantLease { handle, version, members, lease_ms, start, brief } => {
            let lease_ms = DurationMs(lease_ms);
            let grant = Input::Grant { version, members, lease_ms, start, brief };
            parts.driver.command(handle, grant);
        }
        Command::Teach { handle, version, learner } => {
            parts.driver.command(handle, Input::Teach { version, learner });
        }
        Command::RevokeLease { handle, version } => {
            parts.driver.command(handle, Input::Revoke { version });
        }
        Command::DeleteReplica { handle, version } => {
            parts.driver.command(handle, Input::Delete { version });
        }
        // A second welcome says nothing new.
        Command::Welcome { .. } | Command::Refused(_) => {}
    }
    Ok(())
}

/// Says what is left to say (leases given up, above all), and lets the master take it.
async fn farewell(
    sending: mpsc::Sender<pb::ChunkserverMessage>,
    mut commands: Streaming<pb::CommandMessage>,
    outbox: &mut mpsc::Receiver<FromChunkserver>,
) {
    while let Ok(message) = outbox.try_recv() {
        if send(&sending, message).await.is_err() {
            return;
        }
    }
    drop(sending);
    let closed = async { while let Ok(Some(_)) = commands.message().await {} };
    // Who does not take it in time learns it from the silence.
    let _ = tokio::time::timeout(FAREWELL, closed).await;
}

async fn send(
    sending: &mpsc::Sender<pb::ChunkserverMessage>,
    message: FromChunkserver,
) -> Result<(), String> {
    sending.send(message.into()).await.map_err(|_| "the connection is gone".to_owned())
}

fn registration(
    identity: &Identity,
    epoch: MasterEpoch,
    space: Space,
    leases: Vec<gfs_types::message::control::HeldLease>,
) -> Registration {
    Registration {
        cluster: identity.cluster,
        chunkserver: identity.chunkserver,
        session: identity.session,
        address: identity.address.clone(),
        http_address: identity.http_address.clone(),
        topology: identity.topology.clone(),
        space,
        epoch,
        leases,
    }
}

/// Space now; nothing where the disk does not tell: then nothing new is placed here.
fn space(parts: &Parts) -> Space {
    let space = parts.store.space().unwrap_or_else(|error| {
        tracing::warn!(%error, "the disk does not tell how much space it has");
        Space::default()
    });
    parts.metrics.space(space.capacity_bytes, space.free_bytes);
    space
}

fn lock(parts: &Parts) -> std::sync::MutexGuard<'_, gfs_chunkserver_core::report::Holdings> {
    parts.holdings.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ms(duration: DurationMs) -> Duration {
    Duration::from_millis(duration.0)
}

#[cfg(test)]
mod tests {
    use gfs_types::ids::{ProcessSession, ServerUid};

    use super::*;

    #[test]
    fn only_a_welcome_to_this_run_into_the_own_cluster_counts() {
        let identity = Identity {
            cluster: Some(ClusterUid(1)),
            chunkserver: ServerUid(2),
            session: ProcessSession(3),
            address: String::new(),
            http_address: String::new(),
            topology: "zone/host/disk".parse().expect("a topology"),
        };
        let chunk_size = ChunkSize::new(1 << 20).expect("a chunk size");
        let judge = |session, cluster, chunk_bytes| {
            let command = Command::Welcome {
                cluster: ClusterUid(cluster),
                master_session: ProcessSession(1),
                chunk_bytes,
                heartbeat_ms: 500,
            };
            let session = ProcessSession(session);
            let answer = ToChunkserver { epoch: MasterEpoch(9), session, command };
            welcomed(&answer, &identity, chunk_size)
        };
        assert_eq!(judge(3, 1, 1 << 20), Ok(Duration::from_millis(500)));
        assert!(judge(4, 1, 1 << 20).is_err_and(|why| why.contains("session 4")));
        assert!(judge(3, 2, 1 << 20).is_err_and(|why| why.contains("cluster")));
        assert!(judge(3, 1, 2 << 20).is_err_and(|why| why.contains("chunks")));
    }
}
