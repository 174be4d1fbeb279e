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
use super::{Call, State};
use crate::retry::Backoff;

/// Requests with no answer yet, by their number on the stream.
type Pending = BTreeMap<u64, Call>;

/// Answers that came together are handed out in so many turns, and in between what their callers ask next is sent: else
/// client and master would wait for each other, as the whole window is at one of them (docs/adr/0053).
const TURNS: usize = 4;
/// Answers of one turn, at least: each turn costs both sides their system calls.
const TURN_MIN: usize = 4;

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
                // What came with it, too, but in turns: those of the first ask again while the others are handed their answers.
                let turn = (pending.len() / TURNS).max(TURN_MIN);
                let mut next = Some(message);
                let mut count = 0;
                while let Some(message) = next {
                    if let Err(problem) = received(message, lowest, pending) {
                        return Ended::Broken(problem);
                    }
                    count += 1;
                    next = if count < turn { inbound.message().now_or_never() } else { None };
                }
                // Not before: a master that lets in and ends at once must not be asked in a tight loop.
                backoff.reset();
                if count == turn {
                    tokio::task::yield_now().await;
                }
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
    pending.insert(id, call);
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
    call.asked.sends.fetch_add(1, Ordering::Relaxed);
    let request = (id, call.asked.request.clone()).into();
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
        // The caller may have given up meanwhile.
        let _ = call.reply.send(reply);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use futures::future::BoxFuture;
    use gfs_types::fence::{Incarnation, LogPosition};
    use gfs_types::ids::{ClusterUid, ServerUid};
    use gfs_types::message::client::{ClientHello, ClientWelcome, Query, Request, Response};
    use gfs_types::record::ConfigRecord;
    use gfs_types::topology::Topology;
    use tokio::time::Instant;

    use super::*;
    use crate::master_link::{Asked, MasterLink};
    use crate::network::{Broken, DataAnswer, DataCall, MasterStream, Network};

    const EPOCH: MasterEpoch = MasterEpoch(1);
    const CALLERS: usize = 16;

    /// A master with one stream, whose other end a test holds.
    #[derive(Debug)]
    struct OneStream(Mutex<Option<MasterStream>>);

    impl Network for OneStream {
        fn master(
            &self,
            _: &str,
            _: ClientHello,
        ) -> BoxFuture<'static, Result<MasterStream, gfs_types::Error>> {
            let stream = self.0.lock().unwrap().take();
            Box::pin(async { stream.ok_or_else(|| gfs_types::Error::busy("there was one stream")) })
        }

        fn ask(&self, _: DataCall) -> BoxFuture<'static, Result<DataAnswer, Broken>> {
            Box::pin(std::future::pending())
        }
    }

    fn welcome() -> ClientWelcome {
        let master = ServerUid(1);
        let record = ConfigRecord {
            cluster: ClusterUid(1),
            incarnation: Incarnation(1),
            epoch: EPOCH,
            version: 1,
            primary: master,
            in_sync: vec![master],
        };
        ClientWelcome { record, master, chunk_bytes: 64 << 20 }
    }

    fn done(message: pb::ClientMessage) -> pb::MasterMessage {
        let Some(pb::client_message::Kind::Request(request)) = message.kind else {
            panic!("no request: {message:?}")
        };
        let reply =
            Reply { epoch: EPOCH, log_position: LogPosition(0), result: Ok(Response::Done) };
        let kind = pb::master_message::Kind::Reply((request.id, reply).into());
        pb::MasterMessage { kind: Some(kind) }
    }

    #[tokio::test]
    async fn callers_of_the_first_turn_ask_again_before_all_others_have_their_answers() {
        // A task among theirs: it comes to its turn as they do.
        tokio::spawn(answer_all_at_once()).await.unwrap();
    }

    async fn answer_all_at_once() {
        let (out, mut requests) = mpsc::unbounded_channel();
        let (replies, inbound) = mpsc::unbounded_channel();
        let stream = MasterStream { welcome: welcome(), out, inbound };
        let network = Arc::new(OneStream(Mutex::new(Some(stream))));
        let masters = vec!["master".to_owned()];
        let link = MasterLink::start(masters, Topology::default(), Some(network), 1);
        let answered = Arc::new(AtomicUsize::new(0));
        for _ in 0..CALLERS {
            let (link, answered) = (link.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let deadline = Instant::now() + Duration::from_secs(60);
                for _ in 0..2 {
                    let asked = Asked::new(Request::Query(Query::Status));
                    link.call(&asked, deadline).await.unwrap();
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut first = Vec::new();
        while first.len() < CALLERS {
            first.push(requests.recv().await.unwrap());
        }
        first.into_iter().map(done).for_each(|reply| replies.send(reply).unwrap());
        let again = requests.recv().await.unwrap();
        assert_eq!(answered.load(Ordering::Relaxed), CALLERS / TURNS);
        replies.send(done(again)).unwrap();
        for _ in 1..CALLERS {
            replies.send(done(requests.recv().await.unwrap())).unwrap();
        }
        while answered.load(Ordering::Relaxed) < 2 * CALLERS {
            tokio::task::yield_now().await;
        }
    }
}
