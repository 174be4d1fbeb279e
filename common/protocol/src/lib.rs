//! The wire: protobuf over gRPC for the control plane, raw TCP frames for the data plane.
//!
//! Knows how messages look in transit, checks them on receipt, and how both ends set up a socket for them; knows nothing of
//! what they do.
//! `proto/` is the schema, `docs/protocol.md` the contract.

pub mod checksum;
pub mod convert;
pub mod frame;
pub mod socket;
pub mod status;

/// What `proto/` compiles to.
#[allow(missing_docs, clippy::all, unreachable_pub, reason = "generated code")]
pub mod pb {
    tonic::include_proto!("gfs.v1");
}
