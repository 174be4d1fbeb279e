//! Files that survive a crash: a small file-system trait with a real and a simulated disk, the
//! operation log, framed streams, atomic replacement, and the data directory of a server.
//!
//! Everything here answers one question: what is on the disk after the power failed at any moment?
//! The rule that all modules keep is *synced, or never promised*: a function that says "durable"
//! has synced the file, and the directory too when a name changed. An error of a sync is never
//! retried, because the kernel may have dropped the pages and the second try "succeeds"; the
//! object is poisoned, and the process that owns it must end.
//!
//! This crate knows nothing of what the bytes mean: no record types, no chunks, no protocol.

pub mod atomic;
mod crc;
pub mod data_dir;
pub mod frame;
pub mod fs;
pub mod log;
pub mod slots;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod testing;
