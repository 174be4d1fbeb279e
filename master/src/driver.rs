//! The thread that owns the core: takes a batch of inputs, steps each, hands on what comes out.
//!
//! There are no locks around the core and no waiting inside it: what arrives while a batch is
//! stepped is the next batch.

use std::sync::Arc;
use std::thread::JoinHandle;

use gfs_master_core::{Input, Master};
use tokio::sync::mpsc;

use crate::clock::Clock;
use crate::commit::Commit;
use crate::fatal::Fatal;

/// Inputs that may wait for the driver: more than all of a few busy connections, and no more memory
/// than anybody minds.
pub const INPUTS_MAX: usize = 8192;
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
        self.0.send(Message::Input(input)).await.map_err(|_| Ending)
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

/// Starts the thread. It gives the core back after [`Inputs::stop`], having told `commit` that
/// nothing more comes.
///
/// # Errors
/// No thread can be started.
pub fn start(
    master: Master,
    clock: Clock,
    commit: Arc<Commit>,
    fatal: Fatal,
) -> std::io::Result<(Inputs, JoinHandle<Master>)> {
    let (sender, receiver) = mpsc::channel(INPUTS_MAX);
    let thread = std::thread::Builder::new().name("driver".to_owned()).spawn(move || {
        let _guard = fatal.on_panic("driver");
        run(master, clock, &commit, receiver)
    })?;
    Ok((Inputs(sender), thread))
}

fn run(
    mut master: Master,
    clock: Clock,
    commit: &Commit,
    mut inputs: mpsc::Receiver<Message>,
) -> Master {
    let mut messages = Vec::with_capacity(BATCH_INPUTS_MAX);
    let mut effects = Vec::new();
    while inputs.blocking_recv_many(&mut messages, BATCH_INPUTS_MAX) > 0 {
        let (now, wall) = (clock.now(), clock.wall());
        for message in messages.drain(..) {
            match message {
                Message::Input(input) => master.step(now, wall, input, &mut effects),
                Message::Stop => inputs.close(),
            }
        }
        commit.accept(&mut effects);
    }
    commit.end();
    master
}
