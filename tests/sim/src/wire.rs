//! What clients have instead of sockets: every message is mail for the world.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use gfs_client::network::{Broken, DataAnswer, DataCall, MasterStream, Network};
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::ClientHello;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::net::Who;

/// What a client wants carried.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A stream to the master.
    Dial { client: usize, hello: ClientHello, reply: Dialed },
    /// Said on a stream; `None` ends it.
    Said { stream: u64, message: Option<pb::ClientMessage> },
    /// A request to a chunkserver.
    Ask { client: usize, call: DataCall, reply: Answered },
    /// No message: a doubt about what is there, which the world itself answers.
    Look { handle: ChunkHandle, range: Range<u64>, reply: oneshot::Sender<Vec<Held>> },
}

/// What a replica holds.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) who: Who,
    pub(crate) version: ChunkVersion,
    pub(crate) bytes: Vec<u8>,
}

/// Who waits for a stream.
pub(crate) type Dialed = oneshot::Sender<Result<MasterStream, Error>>;
/// Who waits for an answer.
pub(crate) type Answered = oneshot::Sender<Result<DataAnswer, Broken>>;

/// Mail that waits for the world.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Vec<Mail>>,
    bell: Notify,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Mail>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn post(&self, mail: Mail) {
        self.lock().push(mail);
        self.bell.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut *self.lock())
    }

    /// Returns when there is mail.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

/// The network as one client sees it.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) client: usize,
    pub(crate) mailbox: Arc<Mailbox>,
}

impl Network for Wire {
    fn master(
        &self,
        _address: &str,
        hello: ClientHello,
    ) -> BoxFuture<'static, Result<MasterStream, Error>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.post(Mail::Dial { client: self.client, hello, reply });
        async move { answer.await.unwrap_or_else(|_| Err(Error::busy("no connection"))) }.boxed()
    }

    fn ask(&self, call: DataCall) -> BoxFuture<'static, Result<DataAnswer, Broken>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.post(Mail::Ask { client: self.client, call, reply });
        async move { answer.await.unwrap_or(Err(Broken::Lost)) }.boxed()
    }
}

/// Brings what a client says on a stream to the world, until it ends it.
pub(crate) async fn pump(
    mailbox: Arc<Mailbox>,
    stream: u64,
    mut said: mpsc::UnboundedReceiver<pb::ClientMessage>,
) {
    while let Some(message) = said.recv().await {
        mailbox.post(Mail::Said { stream, message: Some(message) });
    }
    mailbox.post(Mail::Said { stream, message: None });
}
