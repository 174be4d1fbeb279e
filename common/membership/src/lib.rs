//! Who is the primary master: the configuration record, and the stores that keep it.
//!
//! The record (incarnation, epoch, primary, in-sync set) changes only by compare-and-swap, and the
//! epoch only grows; that rule stands in [`record`] and every store keeps it. A master serves only
//! while the record names it as the primary.
//!
//! This crate knows nothing of the operation log, of clients or of who is alive: it says what the
//! record is and lets nobody change it behind another's back.

pub mod record;
pub mod store;
