//! The chunkserver: the shell around its core.
//!
//! [`driver`] owns the cores and carries their effects out; [`store`] keeps bytes and checksums on disk and knows
//! nothing of what a version means; [`data_plane`] moves bytes and decides nothing; `master_link` tells the master
//! what is here and brings its commands. What they decide together stands in `gfs-chunkserver-core`.

pub mod data_plane;
pub mod driver;
pub mod master_link;
pub mod metrics;
mod run;
pub mod store;

pub use run::run;

/// The exit code after a sync failed: what was promised may be gone, and only a start can tell.
pub const EXIT_DISK_FAILED: i32 = 70;
