//! Every decision of a chunkserver, without I/O: one state machine for each chunk replica.
//!
//! A [`Replica`] takes one [`Input`] at a time and pushes [`Effect`]s. The rules it follows are those of the
//! chunk protocol, by their names there: `raise-2` (which versions it accepts), `mut-2` (serial order),
//! `mut-3` (committed when all members acknowledged), `mut-4` (what readers may see), `mut-5` (sync), `equal-1`
//! (members that differ are made equal), `equal-4` (so are learners), `raise-4` (mutations in flight across a raise).
//!
//! | Module | Question |
//! |---|---|
//! | [`replica`] | what is this replica, and which command of the master does it obey? |
//! | `primary` | which mutation comes next, where, and who has acknowledged it? |
//! | `primary::teach` | may a replica that came back learn what the members hold? |
//! | `replica::equalise` | may this replica be made equal, and what is it worth? |
//! | `replica::carried` | who waits for a mutation across a raise? |
//! | `secondary` | is this the next order, and may I take it? |
//! | `sequence` | what is applied here, and up to where may I acknowledge? |
//! | [`view`] | what may a reader see? |
//! | [`deleted`] | is this chunk one that was deleted here? |
//! | [`report`] | what does the master not know yet? |
//! | [`fence`] | is this command from the newest master, and for this run of me? |
//! | [`buffer`] | is there room for pushed data, and what has aged out? |
//! | [`invariants`] | is the state one that can be? |
//!
//! Bytes never come in here: a core sees lengths, offsets and serials. It knows nothing of files, frames,
//! threads or clocks.

pub mod buffer;
pub mod deleted;
pub mod effect;
pub mod fence;
pub mod input;
pub mod invariants;
mod primary;
pub mod replica;
pub mod report;
mod secondary;
mod sequence;
#[cfg(test)]
mod testing;
pub mod view;

pub use effect::{Effect, LocalWrite, Message, MessageBody, StoreOp};
pub use input::{Copied, Input, Job, MemberAnswer, Mutation, Peer, ReadOut, Said, Ticket, Token};
pub use replica::{LeaseStatus, Recovered, Replica, Settings, state::Condition};
pub use view::View;
