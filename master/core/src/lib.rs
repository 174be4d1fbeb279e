//! Every decision of the master, without I/O.
//!
//! [`Master::step`] takes one input and the time and gives effects: records to append, replies, commands.
//! Durable state ([`Durable`]) changes only by [`Durable::apply`] of a [`Record`], in live traffic and in replay alike;
//! everything else (where replicas are, leases, raises under way) is soft and learned again after a start (§2.6).
//!
//! The crate knows nothing of files, sockets, threads, clocks or gRPC: the shell (`gfs-master`) reads the clock,
//! appends the records in order, flushes them, and lets an effect out only when the position it rests on is durable.

mod apply;
mod birth;
mod chunks;
mod chunkserver;
mod codec;
mod collection;
mod durable;
mod effect;
pub mod image;
mod input;
pub mod invariants;
mod learners;
mod leases;
mod lifecycle;
mod master;
mod namespace;
mod newcomers;
mod ops;
mod paged;
mod placement;
mod raise;
pub mod record;
mod registry;
mod repair;
mod replicas;
mod room;
mod sessions;

pub use durable::{ApplyError, Counts, Durable, ReplayError};
pub use effect::Effect;
pub use input::{Connection, Input, Link};
pub use master::{Master, Settings};
pub use record::Record;
pub use room::Room;

#[cfg(test)]
mod tests;
