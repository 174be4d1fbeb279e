//! The task behind the link: connect, repeat what has no answer yet, exchange, and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use gfs_protocol::pb;
use gfs_types::fence::MasterEpoch;
use gfs_types::limits::CONNECTION_REQUESTS_MAX;
use gfs_types::message::client::Reply;
use tokio::sync::mpsc;

use super::connect::{Connection, NoMaster, Target, connect};
use super::{Answer, Call, State};
use crate::retry::Backoff;

/// Requests with no answer yet, by their number on the stream. Boxed: they come and go at the two ends of the tree's leaves,
/// whose entries move with every one.
type Pending = BTreeMap<u64, Box<Call>>;

/// How a stream ended.
enum Ended {
    /// It broke: why.
    Broken(String),
    /// Nobody asks any more.
    Idle,
}

/// Runs until the last handle of the link is dropped, or the masters turn out to be another cluster's.
pub(super) async fn run(
    target: Target,
    mut calls: mpsc::Receiver<Call>,
    state: Arc<State>,
    seed: u64,
) {
    let mut pending = Pending::new();
    let mut backoff = Backoff::new(seed);
    let mut next_id = 1;
    loop {
        let known = state.record();
        let connected = tokio::select! {
            biased;
            connected = connect(&target, known.as_ref()) => connected,
            () = abandoned(&calls) => return,
        };
        let problem = match connected {
            Ok(connection) => {
                state.connected(connection.welcome.clone());
                match serve(connection, &mut calls, &mut pending, &mut next_id, &mut backoff).await
                {
                    Ended::Idle => return,
                    Ended::Broken(problem) => problem,
                }
            }
            // Dropping the queue and what is pending tells every caller, now and later.
            Err(NoMaster::Foreign(reason)) => return state.fatal(reason),
            Err(NoMaster::NotNow(problem)) => problem,
        };
        state.broken(problem);
        pending.retain(|_, call| !call.reply.is_closed());
        tokio::time::sleep(Duration::from_millis(backoff.pause_ms(0))).await;
    }
}

/// Resolves when every handle is gone.
async fn abandoned(calls: &mpsc::Receiver<Call>) {
    // A receiver cannot be asked to wait for this; looking now and then is enough for a task that is ending.
    while !calls.is_closed() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn serve(
    connection: Connection,
    calls: &mut mpsc::Receiver<Call>,
    pending: &mut Pending,
    next_id: &mut u64,
    backoff: &mut Backoff,
) -> Ended {
    let Connection { welcome, out, mut inbound } = connection;
    let lowest = welcome.record.epoch;
    for (id, call) in pending.iter() {
        if !send(&out, *id, call) {
            return Ended::Broken("the stream closed".to_owned());
        }
    }
    let mut taken = Vec::new();
    loop {
        let room = CONNECTION_REQUESTS_MAX.saturating_sub(pending.len());
        tokio::select! {
            // In this order: the same run of a simulation takes the same way. Neither starves the other: calls are taken while there
            // is room, and room comes with answers.
            biased;
            count = calls.recv_many(&mut taken, room), if room > 0 => {
                if count == 0 {
                    return Ended::Idle;
                }
                // All of them, also behind one that did not leave: what is pending is repeated on the next stream.
                let mut sent = true;
                for call in taken.drain(..) {
                    sent &= ask(&out, call, pending, next_id);
                }
                if !sent {
                    return Ended::Broken("the stream closed".to_owned());
                }
            }
            message = inbound.message() => {
                let mut next = Some(message);
                while let Some(message) = next {
                    if let Err(problem) = received(message, lowest, pending) {
                        return Ended::Broken(problem);
                    }
                    // What came with it.
                    next = inbound.message().now_or_never();
                }
                // Not before: a master that lets in and ends at once must not be asked in a tight loop.
                backoff.reset();
            }
        }
    }
}

/// Sends a call that somebody waits for; whether the stream took it.
fn ask(
    out: &mpsc::UnboundedSender<pb::ClientMessage>,
    call: Call,
    pending: &mut Pending,
    next_id: &mut u64,
) -> bool {
    if call.reply.is_closed() {
        return true;
    }
    let (id, sent) = (*next_id, send(out, *next_id, &call));
    *next_id += 1;
    pending.insert(id, Box::new(call));
    sent
}

/// What came down the stream, or why nothing comes any more.
fn received(
    message: Result<Option<pb::MasterMessage>, tonic::Status>,
    lowest: MasterEpoch,
    pending: &mut Pending,
) -> Result<(), String> {
    match message {
        Ok(Some(message)) => receive(message, lowest, pending),
        Ok(None) => Err("the master closed the stream".to_owned()),
        Err(status) => Err(format!("the stream broke: {}", status.message())),
    }
}

/// Whether the stream took it. Counted before: what may have left counts as sent.
fn send(out: &mpsc::UnboundedSender<pb::ClientMessage>, id: u64, call: &Call) -> bool {
    call.sends.fetch_add(1, Ordering::Relaxed);
    let request = (id, call.request.clone()).into();
    let kind = Some(pb::client_message::Kind::Request(request));
    out.send(pb::ClientMessage { kind }).is_ok()
}

/// Hands an answer to its caller; an answer nobody waits for is dropped.
fn receive(
    message: pb::MasterMessage,
    lowest: MasterEpoch,
    pending: &mut Pending,
) -> Result<(), String> {
    let reply = match message.kind {
        Some(pb::master_message::Kind::Reply(reply)) => reply,
        Some(pb::master_message::Kind::Refused(error)) => return Err(error.message),
        _ => return Err("the master sent what is no reply".to_owned()),
    };
    let (id, reply): (u64, Reply) =
        reply.try_into().map_err(|error: gfs_types::Error| format!("bad reply: {error}"))?;
    if reply.epoch < lowest {
        return Err(format!("a reply of epoch {}, below {lowest}", reply.epoch));
    }
    if let Some(call) = pending.remove(&id) {
        let sends = call.sends.load(Ordering::Relaxed);
        // The caller may have given up meanwhile.
        let _ = call.reply.send(Answer { reply, sends });
    }
    Ok(())
}
