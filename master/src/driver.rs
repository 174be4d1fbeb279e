//! The task that owns the core: takes a batch of inputs, steps each, hands on what comes out.
//!
//! There are no locks around the core and no waiting inside it: what arrives while a batch is
//! stepped is the next batch. It runs on the thread of the network, so that what comes in, what is
//! decided and what goes out wake no other thread (docs/adr/0027).

use std::sync::Arc;

use gfs_master_core::{Input, Master};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::commit::Commit;
use crate::fatal::Fatal;

/// Inputs that may wait for the driver: two batches, so that it always has the next. Whoever finds the
/// queue full waits outside with one input, and they come in in turn: clients that ask without end
/// have no more than so many inputs, and one batch, in front of anybody else's.
pub const INPUTS_MAX: usize = 2 * BATCH_INPUTS_MAX;
/// Inputs that are stepped before their effects are handed on.
const BATCH_INPUTS_MAX: usize = 512;

/// The way in.
#[derive(Debug, Clone)]
pub struct Inputs(mpsc::Sender<Message>);

#[derive(Debug)]
enum Message {
    Input(Input),
    Stop,
}

/// The driver is not there any more: the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master is ending")]
pub struct Ending;

impl Inputs {
    /// Hands an input to the core; waits while too many wait.
    ///
    /// # Errors
    /// The driver is gone.
    pub async fn send(&self, input: Input) -> Result<(), Ending> {
        match self.0.try_send(Message::Input(input)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(Ending),
            // On the heap: it is seldom, and would make what every input goes through three times as large.
            Err(TrySendError::Full(message)) => {
                Box::pin(self.0.send(message)).await.map_err(|_| Ending)
            }
        }
    }

    /// As [`Inputs::send`], from a thread that may block.
    ///
    /// # Errors
    /// The driver is gone.
    pub fn send_blocking(&self, input: Input) -> Result<(), Ending> {
        self.0.blocking_send(Message::Input(input)).map_err(|_| Ending)
    }

    /// Lets the driver end when everything sent before is stepped.
    pub async fn stop(&self) {
        // An error says that it ended already.
        let _ = self.0.send(Message::Stop).await;
    }
}

/// Starts the task, on the runtime of whoever calls. It gives the core back after [`Inputs::stop`],
/// having told `commit` that nothing more comes.
#[must_use]
pub fn start(
    master: Master,
    clock: Clock,
    commit: Arc<Commit>,
    fatal: Fatal,
) -> (Inputs, JoinHandle<Master>) {
    let (sender, receiver) = mpsc::channel(INPUTS_MAX);
    let task = tokio::spawn(async move {
        let _guard = fatal.on_panic("driver");
        run(master, clock, &commit, receiver).await
    });
    (Inputs(sender), task)
}

async fn run(
    mut master: Master,
    clock: Clock,
    commit: &Commit,
    mut inputs: mpsc::Receiver<Message>,
) -> Master {
    let mut messages = Vec::with_capacity(BATCH_INPUTS_MAX);
    let mut effects = Vec::new();
    while next_batch(commit, &mut inputs, &mut messages).await > 0 {
        let (now, wall) = (clock.now(), clock.wall());
        for message in messages.drain(..) {
            match message {
                Message::Input(input) => master.step(now, wall, input, &mut effects),
                Message::Stop => inputs.close(),
            }
        }
        commit.accept(&mut effects);
        commit.room().await;
        // The replies go out, and others bring their inputs, before the next batch.
        tokio::task::yield_now().await;
    }
    commit.end();
    master
}

/// Waits for inputs, and lets out meanwhile what becomes durable. 0: there will be none.
async fn next_batch(
    commit: &Commit,
    inputs: &mut mpsc::Receiver<Message>,
    batch: &mut Vec<Message>,
) -> usize {
    loop {
        tokio::select! {
            biased;
            () = commit.let_out_when_durable() => {}
            count = inputs.recv_many(batch, BATCH_INPUTS_MAX) => return count,
        }
    }
}

#[cfg(test)]
mod tests {
    use gfs_types::fence::LogPosition;

    use super::*;

    fn input(number: u64) -> Input {
        Input::CheckpointDone(LogPosition(number))
    }

    #[tokio::test]
    async fn one_past_the_limit_waits_until_the_driver_takes_a_batch() {
        let (sender, mut receiver) = mpsc::channel(INPUTS_MAX);
        let inputs = Inputs(sender);
        for number in 0..INPUTS_MAX as u64 {
            inputs.send(input(number)).await.unwrap();
        }
        let mut next = Box::pin(inputs.send(input(0)));
        assert!(futures::poll!(next.as_mut()).is_pending());
        receiver.recv().await.unwrap();
        next.await.unwrap();
    }

    /// However much the others ask: only what is in the queue, and the batch that comes in with it, goes first.
    #[tokio::test]
    async fn who_asks_once_is_not_behind_all_that_others_ask() {
        const GREEDY: usize = 8;
        let (sender, mut receiver) = mpsc::channel(INPUTS_MAX);
        let inputs = Inputs(sender);
        for _ in 0..GREEDY {
            let inputs = inputs.clone();
            tokio::spawn(async move { while inputs.send(input(0)).await.is_ok() {} });
        }
        while inputs.0.capacity() > 0 {
            tokio::task::yield_now().await;
        }
        let polite = tokio::spawn(async move { inputs.send(input(1)).await });
        for _ in 0..GREEDY + 1 {
            tokio::task::yield_now().await;
        }
        let mut batch = Vec::new();
        let mut before = 0;
        loop {
            receiver.recv_many(&mut batch, BATCH_INPUTS_MAX).await;
            for message in batch.drain(..) {
                if matches!(message, Message::Input(Input::CheckpointDone(LogPosition(1)))) {
                    polite.await.unwrap().unwrap();
                    let most = INPUTS_MAX + BATCH_INPUTS_MAX;
                    assert!(before <= most, "{before} inputs went first");
                    return;
                }
                before += 1;
            }
            tokio::task::yield_now().await;
        }
    }
}
