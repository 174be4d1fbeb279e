//! One client's stream: hello, then requests in and replies out, many at a time and in any order.
//!
//! One task reads; replies go from the driver's threads straight into the queue that the connection
//! drains into HTTP/2 frames, all that are ready at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::Stream;
use gfs_master_core::{Connection, Effect, Input};
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::fence::LogPosition;
use gfs_types::limits::{HANDSHAKE_MS, LIST_PAGE_MAX};
use gfs_types::message::client::{ClientHello, ClientWelcome, Query, Reply, Request};
use pb::client_message::Kind as Said;
use pb::master_message::Kind as Answer;
use tokio::sync::{oneshot, watch};
use tonic::{Status, Streaming};

use super::in_flight::{Asked, InFlight, PAGE_WEIGHT};
use super::standing::{Member, Standing};
use crate::metrics::{Metrics, Operation};
use crate::outbox::{Outbox, Replies};

/// What the streams of clients need of the server.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) standing: watch::Receiver<Standing>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) metrics: Arc<Metrics>,
}

/// A client that was let in.
struct Opened {
    welcome: ClientWelcome,
    replies: Replies,
    in_flight: Arc<InFlight>,
}

/// Takes up a client's stream: what it sends is read by a task of its own.
pub(super) fn open(shared: Shared, inbound: Streaming<pb::ClientMessage>) -> ReplyStream {
    let (opened, waiting) = oneshot::channel();
    let metrics = shared.metrics.clone();
    tokio::spawn(converse(shared, inbound, opened));
    ReplyStream { state: State::Handshake(waiting), metrics }
}

async fn converse(
    mut shared: Shared,
    mut inbound: Streaming<pb::ClientMessage>,
    opened: oneshot::Sender<Result<Opened, Error>>,
) {
    let (member, welcome) = match handshake(&shared, &mut inbound).await {
        Ok(met) => met,
        Err(error) => {
            // The client may be gone already.
            let _ = opened.send(Err(error));
            return;
        }
    };
    let (connection, replies) = shared.outbox.open_client();
    let in_flight = Arc::new(InFlight::default());
    let reader = Reader { member, connection, in_flight, outbox: shared.outbox.clone() };
    if opened.send(Ok(Opened { welcome, replies, in_flight: reader.in_flight.clone() })).is_ok() {
        tokio::select! {
            () = reader.read(&mut inbound) => {}
            () = ended(&mut shared.standing) => {
                reader.in_flight.end(Error::busy("the master is ending: try again when it is back"));
            }
        }
        reader.in_flight.all_answered().await;
    }
    shared.outbox.close_client(connection);
    // The driver is gone only when the process ends.
    let _ = reader.member.inputs.send(Input::ClientGone { connection }).await;
}

/// Who speaks, and whether it may.
async fn handshake(
    shared: &Shared,
    inbound: &mut Streaming<pb::ClientMessage>,
) -> Result<(Arc<Member>, ClientWelcome), Error> {
    let hello = tokio::time::timeout(Duration::from_millis(HANDSHAKE_MS.0), inbound.message());
    let first = match hello.await {
        Ok(Ok(first)) => first.and_then(|message| message.kind),
        Ok(Err(status)) => return Err(Error::invalid(status.message())),
        Err(_) => return Err(Error::invalid(format!("no hello within {HANDSHAKE_MS}"))),
    };
    let Some(Said::Hello(hello)) = first else {
        return Err(Error::invalid("the first message of a client's stream must be its hello"));
    };
    let hello = ClientHello::try_from(hello)?;
    let member = shared.standing.borrow().member()?;
    member.check_cluster(hello.cluster)?;
    let welcome = ClientWelcome {
        record: member.record.clone(),
        master: member.master,
        chunk_bytes: member.chunk_bytes,
    };
    Ok((member, welcome))
}

/// The master ends.
pub(super) async fn ended(standing: &mut watch::Receiver<Standing>) {
    // An error says that the server itself is gone.
    let _ = standing.wait_for(|standing| matches!(standing, Standing::Ending)).await;
}

struct Reader {
    member: Arc<Member>,
    connection: Connection,
    in_flight: Arc<InFlight>,
    outbox: Arc<Outbox>,
}

impl Reader {
    /// Until the client says nothing more, breaks the protocol, or is gone.
    async fn read(&self, inbound: &mut Streaming<pb::ClientMessage>) {
        while let Ok(Some(message)) = inbound.message().await {
            let Some(Said::Request(wire)) = message.kind else {
                self.in_flight.end(Error::invalid("after the hello only requests may come"));
                return;
            };
            if self.request(wire).await.is_none() {
                return;
            }
        }
    }

    /// `None`: nobody waits for the reply, or nobody can give one.
    async fn request(&self, wire: pb::ClientRequest) -> Option<()> {
        let id = wire.id;
        let request = <(u64, Request)>::try_from(wire).map(|(_, request)| request);
        let operation = request.as_ref().ok().map(Operation::of);
        let weight = request.as_ref().map_or(1, weight);
        let asked = Asked { id, operation, at: Instant::now(), weight };
        let slot = self.in_flight.ask(asked).await.ok()?;
        match self.check(request) {
            Ok(message) => {
                let connection = self.connection;
                let input = Input::Client { connection, request: slot, message };
                self.member.inputs.send(input).await.ok()
            }
            Err(error) => {
                self.refuse(slot, error);
                Some(())
            }
        }
    }

    fn check(&self, request: Result<Request, Error>) -> Result<Request, Error> {
        if self.member.is_primary() {
            return request;
        }
        Err(Error::stale(format!(
            "this master is not the primary master; the configuration record names {}",
            self.member.record.primary
        )))
    }

    /// Rests on nothing, so it may leave at once.
    fn refuse(&self, slot: u64, error: Error) {
        let (epoch, after) = (self.member.record.epoch, LogPosition(0));
        let reply = Reply { epoch, log_position: after, result: Err(error) };
        let connection = self.connection;
        self.outbox.let_out([Effect::Reply { connection, request: slot, reply, after }]);
    }
}

/// How many ordinary requests the answer to this one counts as.
fn weight(request: &Request) -> usize {
    let entries = match request {
        Request::Query(Query::List { limit, .. } | Query::Trash { limit, .. }) => *limit,
        Request::Query(Query::Locate { count, .. }) => *count,
        Request::Query(Query::Status) => LIST_PAGE_MAX,
        _ => 0,
    };
    let page = usize::try_from(LIST_PAGE_MAX).unwrap_or(usize::MAX);
    let entries = usize::try_from(entries).unwrap_or(page).min(page);
    1 + entries * (PAGE_WEIGHT - 1) / page
}

/// What comes down a client's stream.
pub(super) struct ReplyStream {
    state: State,
    metrics: Arc<Metrics>,
}

enum State {
    Handshake(oneshot::Receiver<Result<Opened, Error>>),
    Open { replies: Replies, in_flight: Arc<InFlight> },
    Ended,
}

type Item = Result<pb::MasterMessage, Status>;

fn message(kind: Answer) -> Option<Item> {
    Some(Ok(pb::MasterMessage { kind: Some(kind) }))
}

impl ReplyStream {
    fn opened(&mut self, outcome: Result<Opened, Error>) -> Option<Item> {
        match outcome {
            Ok(Opened { welcome, replies, in_flight }) => {
                self.state = State::Open { replies, in_flight };
                message(Answer::Welcome(welcome.into()))
            }
            Err(error) => {
                self.state = State::Ended;
                message(Answer::Refused(error.into()))
            }
        }
    }
}

impl Stream for ReplyStream {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = self.get_mut();
        match &mut this.state {
            State::Handshake(waiting) => match ready!(Pin::new(waiting).poll(cx)) {
                Ok(outcome) => Poll::Ready(this.opened(outcome)),
                Err(_) => Poll::Ready(None),
            },
            State::Open { replies, in_flight } => {
                while let Some((slot, reply)) = ready!(replies.poll_recv(cx)) {
                    let Some(asked) = in_flight.answer(slot) else { continue };
                    if let Some(operation) = asked.operation {
                        this.metrics.answered(operation, &reply.result, asked.at.elapsed());
                    }
                    return Poll::Ready(message(Answer::Reply((asked.id, reply).into())));
                }
                let why = in_flight.why().cloned();
                this.state = State::Ended;
                Poll::Ready(why.and_then(|error| message(Answer::Refused(error.into()))))
            }
            State::Ended => Poll::Ready(None),
        }
    }
}

impl Drop for ReplyStream {
    fn drop(&mut self) {
        if let State::Open { in_flight, .. } = &self.state {
            in_flight.gone();
        }
    }
}
