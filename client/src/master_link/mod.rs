//! The one long-lived stream to the primary master: many requests in flight, repeated by itself on a new stream when
//! the old one breaks.
//!
//! Every request is safe to repeat: questions and leases by their nature, mutations by their request id. So a caller
//! only ever waits for an answer or for its own deadline, however often the master restarts in between.

mod connect;
mod session;
mod stream;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use gfs_types::message::client::{ClientWelcome, Reply, Request};
use gfs_types::record::ConfigRecord;
use gfs_types::topology::Topology;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub(crate) use session::{MutationError, Sessions};

use crate::lock;
use crate::network::Network;

/// Requests waiting for the stream; more make their callers wait.
const QUEUE_MAX: usize = 1024;

/// A cheap handle; the stream ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(crate) struct MasterLink {
    queue: mpsc::Sender<Call>,
    state: Arc<State>,
}

/// What everybody wants to know of the link.
#[derive(Debug, Default)]
pub(crate) struct State {
    welcome: Mutex<Option<ClientWelcome>>,
    problem: Mutex<Option<String>>,
    /// No master will ever do: why.
    fatal: Mutex<Option<String>>,
}

/// A request, shared by who waits for its answer and by the stream, which repeats it.
#[derive(Debug)]
pub(crate) struct Asked {
    request: Request,
    sends: AtomicU32,
}

impl Asked {
    /// Not sent yet.
    pub(crate) fn new(request: Request) -> Arc<Self> {
        Arc::new(Self { request, sends: AtomicU32::new(0) })
    }

    fn sends(&self) -> u32 {
        self.sends.load(Ordering::Relaxed)
    }
}

/// A request on its way.
#[derive(Debug)]
struct Call {
    asked: Arc<Asked>,
    reply: oneshot::Sender<Reply>,
}

/// A reply, and how often its request was sent since it was asked for.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) reply: Reply,
    pub(crate) sends: u32,
}

/// No reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Time ran out.
    TimedOut {
        /// How often the request was sent; 0 is never.
        sends: u32,
        /// What is wrong with the link, if anything.
        last: String,
    },
    /// It makes no sense to wait: the masters belong to another cluster.
    Foreign {
        /// How often the request was sent.
        sends: u32,
        /// Who they are.
        reason: String,
    },
}

impl MasterLink {
    /// Starts the task that keeps the stream.
    pub(crate) fn start(
        masters: Vec<String>,
        topology: Topology,
        network: Option<Arc<dyn Network>>,
        seed: u64,
    ) -> Self {
        let (queue, calls) = mpsc::channel(QUEUE_MAX);
        let state = Arc::new(State::default());
        let target = connect::Target { masters, topology, network };
        tokio::spawn(stream::run(target, calls, Arc::clone(&state), seed));
        Self { queue, state }
    }

    /// Waits for the answer, however often the stream breaks in between.
    ///
    /// Dropped, the request is not repeated any more.
    pub(crate) async fn call(
        &self,
        asked: &Arc<Asked>,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        let call = Call { asked: Arc::clone(asked), reply };
        let before = asked.sends();
        let sent = || asked.sends() - before;
        let timed_out = || NoAnswer::TimedOut { sends: sent(), last: self.problem(sent()) };
        if let Err(TrySendError::Full(call)) = self.queue.try_send(call) {
            // On the heap: it is seldom, and every caller would carry it around.
            let place = Box::pin(timeout_at(deadline, self.queue.reserve())).await;
            // Where nobody takes calls any more, the dropped call says so.
            if let Ok(place) = place.map_err(|_| timed_out())? {
                place.send(call);
            }
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(reply)) => Ok(Answer { reply, sends: sent() }),
            Ok(Err(_)) => Err(NoAnswer::Foreign { sends: sent(), reason: self.state.fatal_text() }),
            Err(_) => Err(timed_out()),
        }
    }

    /// The last welcome, once there was one.
    pub(crate) fn welcome(&self) -> Option<ClientWelcome> {
        lock(&self.state.welcome).clone()
    }

    fn problem(&self, sends: u32) -> String {
        lock(&self.state.problem).clone().unwrap_or_else(|| match sends {
            0 if self.welcome().is_none() => "no master has answered yet".to_owned(),
            0 => "the master takes no more requests".to_owned(),
            _ => "the master is connected and does not answer".to_owned(),
        })
    }
}

impl State {
    fn connected(&self, welcome: ClientWelcome) {
        *lock(&self.welcome) = Some(welcome);
        *lock(&self.problem) = None;
    }

    fn record(&self) -> Option<ConfigRecord> {
        lock(&self.welcome).as_ref().map(|welcome| welcome.record.clone())
    }

    fn broken(&self, problem: String) {
        tracing::debug!(problem, "no stream to the master");
        *lock(&self.problem) = Some(problem);
    }

    fn fatal(&self, reason: String) {
        *lock(&self.fatal) = Some(reason);
    }

    fn fatal_text(&self) -> String {
        lock(&self.fatal).clone().unwrap_or_else(|| "the client's runtime is ending".to_owned())
    }
}
