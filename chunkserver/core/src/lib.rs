//! Every decision of a chunkserver, without I/O: one state machine for each chunk replica.
//!
//! The rules are those of `docs/protocol.md`, by their names there (mut-1, raise-2, …). Bytes never come in
//! here: a core sees lengths, offsets, serials. It knows nothing of files, frames, threads or clocks.

pub mod view;

pub use view::View;
