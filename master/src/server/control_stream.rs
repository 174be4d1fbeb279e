//! One chunkserver's stream: registration, reports and heartbeats in, commands out.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::Stream;
use gfs_master_core::{Input, Link};
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::ProcessSession;
use gfs_types::ids::ServerUid;
use gfs_types::limits::HANDSHAKE_MS;
use gfs_types::message::control::{Command, FromChunkserver, Registration, ToChunkserver};
use tokio::sync::{oneshot, watch};
use tonic::{Status, Streaming};

use super::client_stream::ended;
use super::standing::{Member, Standing};
use crate::outbox::{Commands, Outbox};

/// A chunkserver that was let in.
struct Opened {
    commands: Commands,
    /// For the last word, if it is one of ours.
    epoch: MasterEpoch,
    session: ProcessSession,
}

/// A chunkserver that was not.
struct Refused {
    error: Error,
    epoch: MasterEpoch,
    session: ProcessSession,
}

/// Takes up a chunkserver's stream: what it sends is read by a task of its own.
pub(super) fn open(
    standing: watch::Receiver<Standing>,
    outbox: Arc<Outbox>,
    inbound: Streaming<pb::ChunkserverMessage>,
) -> CommandStream {
    let (opened, waiting) = oneshot::channel();
    tokio::spawn(converse(standing, outbox, inbound, opened));
    CommandStream(State::Handshake(waiting))
}

async fn converse(
    mut standing: watch::Receiver<Standing>,
    outbox: Arc<Outbox>,
    mut inbound: Streaming<pb::ChunkserverMessage>,
    opened: oneshot::Sender<Result<Opened, Refused>>,
) {
    let (member, registration) = match handshake(&standing, &mut inbound).await {
        Ok(met) => met,
        Err(refused) => {
            tracing::warn!(error = %refused.error, "a chunkserver was refused");
            // It may be gone already.
            let _ = opened.send(Err(refused));
            return;
        }
    };
    let (link, commands) = outbox.open_link();
    let (epoch, session) = (member.record.epoch, registration.session);
    if opened.send(Ok(Opened { commands, epoch, session })).is_ok() {
        tokio::select! {
            () = read(&member, link, registration, &mut inbound) => {}
            () = ended(&mut standing) => {}
        }
    }
    outbox.close_link(link);
    // The driver is gone only when the process ends.
    let _ = member.inputs.send(Input::ChunkserverGone { link }).await;
}

/// Who speaks, and whether it may.
async fn handshake(
    standing: &watch::Receiver<Standing>,
    inbound: &mut Streaming<pb::ChunkserverMessage>,
) -> Result<(Arc<Member>, Registration), Refused> {
    let nobody = (MasterEpoch(0), ProcessSession(0));
    let refuse = |(epoch, session), error| Refused { error, epoch, session };
    let registration = registration(inbound).await.map_err(|error| refuse(nobody, error))?;
    let session = registration.session;
    let member =
        standing.borrow().member().map_err(|error| refuse((MasterEpoch(0), session), error))?;
    let known = (member.record.epoch, session);
    member.check_cluster(registration.cluster).map_err(|error| refuse(known, error))?;
    if !member.is_primary() {
        let primary = member.record.primary;
        let error = Error::stale(format!("not the primary master: the record names {primary}"));
        return Err(refuse(known, error));
    }
    Ok((member, registration))
}

async fn registration(
    inbound: &mut Streaming<pb::ChunkserverMessage>,
) -> Result<Registration, Error> {
    let first = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS.0), inbound.message());
    let first = match first.await {
        Ok(Ok(Some(first))) => FromChunkserver::try_from(first)?,
        Ok(Ok(None)) => return Err(Error::invalid("the stream ended before the registration")),
        Ok(Err(status)) => return Err(Error::invalid(status.message())),
        Err(_) => return Err(Error::invalid(format!("no registration within {HANDSHAKE_MS}"))),
    };
    match first {
        FromChunkserver::Register(registration) => Ok(registration),
        _ => Err(Error::invalid("the first message of a chunkserver must be its registration")),
    }
}

/// Until the chunkserver is gone or says what nobody understands.
async fn read(
    member: &Member,
    link: Link,
    registration: Registration,
    inbound: &mut Streaming<pb::ChunkserverMessage>,
) {
    let chunkserver = registration.chunkserver;
    let mut message = FromChunkserver::Register(registration);
    loop {
        if member.inputs.send(Input::Chunkserver { link, message }).await.is_err() {
            return;
        }
        let next = match inbound.message().await {
            Ok(Some(next)) => FromChunkserver::try_from(next),
            Ok(None) => return,
            Err(status) => {
                tracing::info!(%chunkserver, %status, "the stream of a chunkserver broke");
                return;
            }
        };
        match next {
            Ok(next) => {
                note(chunkserver, &next);
                message = next;
            }
            Err(error) => {
                tracing::warn!(%chunkserver, %error, "a chunkserver's message is not understood");
                return;
            }
        }
    }
}

/// What a person may want to know later: the core decides by it, and drops the words.
fn note(chunkserver: ServerUid, message: &FromChunkserver) {
    if let FromChunkserver::MemberFailed { handle, version, member, reason, .. } = message {
        tracing::warn!(chunk = %handle, %version, %chunkserver, %member, %reason, "a member of a chunk does not answer its primary");
    }
}

/// What comes down a chunkserver's stream.
pub(super) struct CommandStream(State);

enum State {
    Handshake(oneshot::Receiver<Result<Opened, Refused>>),
    Open(Opened),
    Ended,
}

type Item = Result<pb::CommandMessage, Status>;

impl CommandStream {
    fn refuse(&mut self, refused: Refused) -> Option<Item> {
        self.0 = State::Ended;
        let Refused { error, epoch, session } = refused;
        Some(Ok(ToChunkserver { epoch, session, command: Command::Refused(error) }.into()))
    }

    /// Behind the last command. Without a word of the core the master ends, or the chunkserver was
    /// too slow to take what it was told.
    fn ended(&mut self) -> Option<Item> {
        self.0 = State::Ended;
        Some(Err(Status::unavailable(
            "the master closed the stream: it is ending, or the commands were not taken in time; \
             register anew",
        )))
    }
}

impl Stream for CommandStream {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = self.get_mut();
        loop {
            match &mut this.0 {
                State::Handshake(waiting) => match ready!(Pin::new(waiting).poll(cx)) {
                    Ok(Ok(opened)) => this.0 = State::Open(opened),
                    Ok(Err(refused)) => return Poll::Ready(this.refuse(refused)),
                    Err(_) => this.0 = State::Ended,
                },
                State::Open(open) => match ready!(open.commands.poll_recv(cx)) {
                    Some(Ok(command)) => return Poll::Ready(Some(Ok(command.into()))),
                    Some(Err(error)) => {
                        let (epoch, session) = (open.epoch, open.session);
                        return Poll::Ready(this.refuse(Refused { error, epoch, session }));
                    }
                    None => return Poll::Ready(this.ended()),
                },
                State::Ended => return Poll::Ready(None),
            }
        }
    }
}
