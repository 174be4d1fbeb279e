//! Tests of the whole system: real processes, real sockets, real files, real signals.
//!
//! This library starts and stops clusters, puts load on them while they break, makes payloads that prove who wrote them, and
//! lists the decoders; the tests themselves stand in `tests/`, one file a subject.

pub mod apart;
pub mod cluster;
pub mod command;
pub mod decoders;
pub mod disks;
pub mod equal;
pub mod kubernetes;
pub mod load;
pub mod master_state;
pub mod network;
pub mod payload;
pub mod pod;
pub mod replicas;
pub mod rounds;
pub mod tree;
