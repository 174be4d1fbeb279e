//! One stream to one master, from the registration to its end.

use std::net::SocketAddr;
use std::time::Duration;

use gfs_protocol::pb;
use gfs_protocol::pb::master_client::MasterClient;
use gfs_types::DurationMs;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::ClusterUid;
use gfs_types::limits::{CONTROL_MESSAGE_BYTES_MAX, HANDSHAKE_MS};
use gfs_types::message::control::{Command, FromChunkserver, Registration, Space, ToChunkserver};
use gfs_types::region::ChunkSize;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::conversation::{Ended, registration};
use super::{Identity, Linked, addresses};

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

/// Connects, registers, and serves until the stream breaks. `Ok`: this process ends.
pub(super) async fn serve(
    parts: &mut Linked,
    master: &SocketAddr,
    outbox: &mut mpsc::Receiver<FromChunkserver>,
    ended: &mut watch::Receiver<bool>,
) -> Result<(), Broken> {
    let registered = tokio::select! {
        registered = register(parts, master) => registered,
        _ = ended.wait_for(|ended| *ended) => return Ok(()),
    };
    let registered = registered.map_err(|why| Broken { why, registered: false })?;
    tracing::info!(%master, epoch = %parts.conversation.epoch(), "registered with the master");
    parts.metrics.registered(true);
    parts.health.ready();
    let outcome = converse(parts, registered, outbox, ended).await;
    outcome.map_err(|why| Broken { why, registered: true })
}

async fn register(parts: &mut Linked, master: &SocketAddr) -> Result<Registered, String> {
    let register = parts.conversation.register(parts.clock.now(), space(parts));
    let Opened { sending, mut commands } = open(master, register).await?;
    let heartbeat = welcome(parts, &mut commands).await?;
    report_all(parts, &sending).await?;
    Ok(Registered { sending, commands, heartbeat })
}

async fn converse(
    parts: &mut Linked,
    registered: Registered,
    outbox: &mut mpsc::Receiver<FromChunkserver>,
    ended: &mut watch::Receiver<bool>,
) -> Result<(), String> {
    let Registered { sending, mut commands, heartbeat } = registered;
    let mut ticks = tokio::time::interval(heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let silent = (heartbeat * SILENT.0).max(SILENT.1);
    let mut answered = tokio::time::Instant::now();
    loop {
        tokio::select! {
            message = commands.message() => {
                let message = message.map_err(|status| status.to_string())?;
                let message = message.ok_or("the master closed the stream")?;
                let command = ToChunkserver::try_from(message).map_err(|error| error.to_string())?;
                if parts.conversation.obey(command).map_err(reason)? {
                    answered = tokio::time::Instant::now();
                }
            }
            Some(message) = outbox.recv() => send(&sending, message).await?,
            _ = ticks.tick() => {
                if answered.elapsed() > silent {
                    return Err(format!("no heartbeat was answered for {silent:?}"));
                }
                beat(parts, &sending).await?;
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
    parts: &mut Linked,
    commands: &mut Streaming<pb::CommandMessage>,
) -> Result<Duration, String> {
    let waiting = tokio::time::timeout(ms(HANDSHAKE_MS), commands.message());
    let message = waiting.await.map_err(|_| "no answer to the registration".to_owned())?;
    let message = message.map_err(|status| status.to_string())?.ok_or("the stream ended")?;
    let answer = ToChunkserver::try_from(message).map_err(|error| error.to_string())?;
    parts.conversation.welcomed(&answer).map_err(reason)
}

/// The whole of it, one page after another.
async fn report_all(
    parts: &Linked,
    sending: &mpsc::Sender<pb::ChunkserverMessage>,
) -> Result<(), String> {
    for page in parts.conversation.report() {
        send(sending, page).await?;
    }
    Ok(())
}

async fn beat(
    parts: &mut Linked,
    sending: &mpsc::Sender<pb::ChunkserverMessage>,
) -> Result<(), String> {
    let (replicas, leases) = parts.conversation.counts();
    parts.metrics.holds(replicas, leases);
    let (now, space) = (parts.clock.now(), space(parts));
    send(sending, parts.conversation.beat(now, space)).await
}

/// Why the stream ends. Nobody knows which epoch a disk has that fails: then the process ends.
fn reason(ended: Ended) -> String {
    match ended {
        Ended::Said(why) => why,
        Ended::Disk(error) => {
            tracing::error!(%error, "the process ends: the epoch of the master cannot be made durable");
            std::process::exit(crate::EXIT_DISK_FAILED)
        }
    }
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

/// Space now; nothing where the disk does not tell: then nothing new is placed here.
fn space(parts: &Linked) -> Space {
    let space = parts.store.space().unwrap_or_else(|error| {
        tracing::warn!(%error, "the disk does not tell how much space it has");
        Space::default()
    });
    parts.metrics.space(space.capacity_bytes, space.free_bytes);
    space
}

fn ms(duration: DurationMs) -> Duration {
    Duration::from_millis(duration.0)
}
