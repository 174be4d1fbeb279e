//! `client.proto`: a client and the master.
//!
//! A request and its id travel together as `(u64, Request)`, a reply as `(u64, Reply)`.

mod reply;
mod request;

use gfs_types::Error;
use gfs_types::ids::{ClusterUid, ServerUid};
use gfs_types::message::client::{ClientHello, ClientWelcome};

use super::{
    Result, required, topology_from_wire, uid_bytes, uid_from_bytes, uid_from_bytes_or_none,
};
use crate::pb;

impl From<ClientHello> for pb::ClientHello {
    fn from(hello: ClientHello) -> Self {
        Self {
            cluster: hello.cluster.map(|uid| uid_bytes(uid.0)).unwrap_or_default(),
            topology: hello.topology.to_string(),
        }
    }
}

impl TryFrom<pb::ClientHello> for ClientHello {
    type Error = Error;
    fn try_from(wire: pb::ClientHello) -> Result<Self> {
        Ok(Self {
            cluster: uid_from_bytes_or_none("ClientHello.cluster", &wire.cluster)?.map(ClusterUid),
            topology: topology_from_wire(&wire.topology)?,
        })
    }
}

impl From<ClientWelcome> for pb::ClientWelcome {
    fn from(welcome: ClientWelcome) -> Self {
        Self {
            record: Some(welcome.record.into()),
            master: uid_bytes(welcome.master.0),
            chunk_bytes: welcome.chunk_bytes,
        }
    }
}

impl TryFrom<pb::ClientWelcome> for ClientWelcome {
    type Error = Error;
    fn try_from(wire: pb::ClientWelcome) -> Result<Self> {
        Ok(Self {
            record: required("ClientWelcome.record", wire.record)?.try_into()?,
            master: ServerUid(uid_from_bytes("ClientWelcome.master", &wire.master)?),
            chunk_bytes: wire.chunk_bytes,
        })
    }
}
