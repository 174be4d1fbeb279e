//! What stands for sockets where there are none: a client in a simulation reaches its servers through a [`Network`].
//!
//! It carries the messages of the protocol. All that a client does above them is the same as over sockets: sessions and
//! request ids, repetitions, leases and locations that are remembered, checksums that are compared.

use std::fmt::Debug;

use bytes::Bytes;
use futures::future::BoxFuture;
use gfs_protocol::pb;
use gfs_types::Error;
use gfs_types::ids::ServerUid;
use gfs_types::message::client::{ClientHello, ClientWelcome};
use gfs_types::message::data::{DataRequest, DataResponse, Target};
use tokio::sync::mpsc;

/// Carries messages between a client and the servers.
pub trait Network: Debug + Send + Sync + 'static {
    /// Opens a stream to the master at this address and says hello. An error ends the attempt: `Denied` for good.
    fn master(
        &self,
        address: &str,
        hello: ClientHello,
    ) -> BoxFuture<'static, Result<MasterStream, Error>>;

    /// Asks a chunkserver. What is asked of one server on one lane arrives in the order of the calls, or not at all.
    fn ask(&self, call: DataCall) -> BoxFuture<'static, Result<DataAnswer, Broken>>;
}

/// A stream to a master, hello and welcome exchanged. Dropped, it ends.
#[derive(Debug)]
pub struct MasterStream {
    /// The master's first message.
    pub welcome: ClientWelcome,
    /// To the master.
    pub out: mpsc::UnboundedSender<pb::ClientMessage>,
    /// From the master; ends with the stream.
    pub inbound: mpsc::UnboundedReceiver<pb::MasterMessage>,
}

/// A request to a chunkserver.
#[derive(Debug)]
pub struct DataCall {
    /// To whom.
    pub chunkserver: ServerUid,
    /// `HOST:PORT` of its data plane.
    pub address: String,
    /// Of the connections to this server: each has one for every purpose.
    pub lane: u8,
    /// Chunk, version, epoch, and the time left.
    pub target: Target,
    /// What is asked.
    pub request: DataRequest,
    /// Bytes that go with it.
    pub payload: Bytes,
    /// Their checksums, one for each block.
    pub checksums: Vec<u32>,
}

/// What a chunkserver answers.
#[derive(Debug)]
pub struct DataAnswer {
    /// The reply.
    pub result: Result<DataResponse, Error>,
    /// Bytes that come with it.
    pub payload: Bytes,
    /// Their checksums.
    pub checksums: Vec<u32>,
}

/// There is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Nothing was sent.
    NotSent,
    /// The request may have arrived.
    Lost,
}
