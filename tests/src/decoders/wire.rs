//! Messages of the control plane: protobuf to the types and back.

use std::fmt::Debug;

use gfs_protocol::pb;
use gfs_protocol::status::{from_status, to_status};
use gfs_types::message::client::{ClientHello, ClientWelcome, Reply, Request};
use gfs_types::message::control::{FromChunkserver, ToChunkserver};
use prost::Message;
use tonic::{Code, Status};

use super::{Decoder, MANY, MemoryBound, SMALL, Verdict, wire_samples};

/// An empty message takes two bytes on the wire and a whole struct in memory; the messages that hold lists are below
/// `CONTROL_MESSAGE_BYTES_MAX`, so the factor is what a peer can make of that.
const MESSAGE: MemoryBound = MemoryBound { fixed_bytes: 64 << 10, per_byte: 512 };

pub(super) const CLIENT_HELLO: Decoder = Decoder {
    name: "client-hello",
    run: comes_back::<pb::ClientHello, ClientHello>,
    samples: wire_samples::client_hellos,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const CLIENT_WELCOME: Decoder = Decoder {
    name: "client-welcome",
    run: comes_back::<pb::ClientWelcome, ClientWelcome>,
    samples: wire_samples::client_welcomes,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const CLIENT_REQUEST: Decoder = Decoder {
    name: "client-request",
    run: comes_back::<pb::ClientRequest, (u64, Request)>,
    samples: wire_samples::client_requests,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const CLIENT_REPLY: Decoder = Decoder {
    name: "client-reply",
    run: comes_back::<pb::ClientReply, (u64, Reply)>,
    samples: wire_samples::client_replies,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const CHUNKSERVER_MESSAGE: Decoder = Decoder {
    name: "chunkserver-message",
    run: comes_back::<pb::ChunkserverMessage, FromChunkserver>,
    samples: wire_samples::chunkserver_messages,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const COMMAND: Decoder = Decoder {
    name: "command",
    run: comes_back::<pb::CommandMessage, ToChunkserver>,
    samples: wire_samples::commands,
    memory: MESSAGE,
    mutations: MANY,
};
pub(super) const STATUS: Decoder = Decoder {
    name: "status",
    run: status,
    samples: || (0..17).map(|code| [&[code], &b"what happened"[..]].concat()).collect(),
    memory: SMALL,
    mutations: 50,
};

/// As it travels.
pub(super) fn bytes<W: Message + From<T>, T>(message: T) -> Vec<u8> {
    W::from(message).encode_to_vec()
}

/// What is understood goes to the wire and comes back the same.
fn comes_back<W, T>(bytes: &[u8]) -> Verdict
where
    W: Message + Default + From<T>,
    T: TryFrom<W> + Clone + PartialEq + Debug,
{
    let decode = |bytes: &[u8]| W::decode(bytes).ok().and_then(|wire| T::try_from(wire).ok());
    let Some(message) = decode(bytes) else { return Verdict::Refused };
    let again = W::from(message.clone()).encode_to_vec();
    assert_eq!(decode(&again), Some(message));
    Verdict::Accepted
}

/// The first byte is the code, the rest the message: any text makes an error, and no code claims success.
fn status(bytes: &[u8]) -> Verdict {
    let Some((code, message)) = bytes.split_first() else { return Verdict::Refused };
    let code = Code::from_i32((*code).into());
    let error = from_status(&Status::new(code, String::from_utf8_lossy(message)));
    let again = from_status(&to_status(&error));
    assert_eq!(again.message, error.message);
    Verdict::Accepted
}
