//! What `put` and `get` have in common.

pub(crate) mod destination;
pub(crate) mod local;
pub(crate) mod tally;
pub(crate) mod tree;

/// Files in flight unless asked otherwise: enough to hide the round trips of small files.
pub(crate) const JOBS_DEFAULT: u16 = 16;
/// Small files in flight unless asked otherwise: what they wait for, all of them wait for together.
pub(crate) const SMALL_JOBS_DEFAULT: u16 = 128;
/// Most files in flight: each may hold a few MiB.
pub(crate) const JOBS_MAX: i64 = 256;
