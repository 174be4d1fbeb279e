//! What clients of a cluster saw, and whether one file system could have shown it.
//!
//! A *history* is a list of calls and returns in the order of real time: one JSON line each ([`event`],
//! docs/formats/history.md). [`check()`] says whether the calls of the namespace are
//! *linearizable* (META-1): whether every call can be given one instant between its call and its return, such that a file
//! system that does them one after another ([`namespace`]) gives the same answers. A call whose outcome nobody knows may
//! have its instant at any time after its call, or never.
//!
//! The crate knows nothing of the product, not even its types: what judges must not rest on what is judged.

pub mod check;
pub mod event;
pub mod linear;
pub mod namespace;
pub mod operation;
mod split;

pub use check::{Report, check};
pub use event::{Event, History, HistoryError};
pub use linear::{Model, Verdict};
pub use namespace::Namespace;
pub use operation::{Answer, Entry, Kind, Operation, Outcome, Refusal};
