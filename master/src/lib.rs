//! The master: the shell around its core (`gfs-master-core`).
//!
//! ```text
//! gRPC streams ──> Inputs ──> driver (owns the core) ──> Commit ──> log thread: append, flush
//!      ^                                                   │ ^            │ durable
//!      └────────────── Outbox <──── effects, FIFO ─────────┘ └────────────┘
//! ```
//!
//! One task steps the core, on the thread of the network; one thread appends and flushes the operation log; effects
//! leave when the record they rest on is durable ([`release`]). A thread of its own makes checkpoints
//! ([`checkpoint`]). This crate decides nothing about files, chunks or leases: the core does.

pub mod checkpoint;
pub mod clock;
pub mod commit;
pub mod driver;
mod duties;
pub mod fatal;
mod front;
pub mod lifecycle;
pub mod metrics;
pub mod oplog;
pub mod outbox;
pub mod release;
pub mod room;
mod run;
pub mod running;
pub mod server;

pub use run::{Event, run, run_observed};
