//! Checkpoints (§2.6.2): the durable state up to a log position, so that the log behind it can go.
//!
//! They are made beside the service: from the checkpoint before and the log, with the same `apply`
//! (docs/adr/0020-checkpoint-beside-the-service.md). [`make`] keeps two of
//! them and the log from the older one on; [`newest_good`] takes the older one when the newest does
//! not verify, and the longer log makes up for it.

pub mod file;
pub mod keeper;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gfs_durable::fs::Fs;
use gfs_durable::log;
use gfs_master_core::Durable;
use gfs_types::fence::LogPosition;

use file::CheckpointError;

/// What a start begins from.
#[derive(Debug)]
pub struct Found {
    /// The state to replay the log on: blank when there is no good checkpoint.
    pub state: Durable,
    /// A position that must be in the log or before it, since a checkpoint of it was made.
    pub durable_at_least: LogPosition,
}

/// The newest checkpoint in `dir` that verifies. Without one, a blank state: then the log must
/// begin at its first record, which opening it checks, so a lost checkpoint never becomes an empty
/// cluster.
///
/// # Errors
/// The directory cannot be read. A damaged checkpoint is not an error but a WARN.
pub fn newest_good(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Found, CheckpointError> {
    let positions = file::list(fs.as_ref(), dir)?;
    // Even a damaged file tells by its name that the log was durable up to there.
    let durable_at_least = positions.last().copied().unwrap_or_default();
    for position in positions.into_iter().rev() {
        match file::load(fs, dir, position) {
            Ok(state) => return Ok(Found { state, durable_at_least }),
            Err(error) => tracing::warn!(
                log_pos = position.0,
                %error,
                "a checkpoint cannot be read and is not used; an older one and more of the log are"
            ),
        }
    }
    Ok(Found { state: Durable::blank(), durable_at_least })
}

/// What making a checkpoint came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// The position that it holds.
    pub position: LogPosition,
    /// The first record of the log that is still needed, by the checkpoint before.
    pub log_from: LogPosition,
}

/// Why no checkpoint was made. The log is as it was, and so are the checkpoints.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// A checkpoint cannot be read or written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log cannot be read.
    #[error("the log behind the checkpoint cannot be read: {0}")]
    Log(#[source] log::OpenError),
    /// What was written is not what it should be.
    #[error("{}: its digest is {found:016x} when read back, {written:016x} was written", path.display())]
    Differs {
        /// The checkpoint.
        path: PathBuf,
        /// Of what was read back.
        found: u64,
        /// Of what was written.
        written: u64,
    },
}

/// Makes the checkpoint of `position`, which must be durable in the log that `reader` reads: loads
/// the newest good one, replays the log behind it, writes, reads back, and only then removes the
/// checkpoints before the one it began from.
///
/// # Errors
/// No checkpoint was made; nothing that was there is gone.
pub fn make(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    reader: &log::Reader,
    position: LogPosition,
) -> Result<Made, MakeError> {
    let mut state = newest_good(fs, dir)?.state;
    let base = state.position();
    if base < position {
        reader
            .read(base.next(), position, &mut |at, epoch, bytes: &[u8]| {
                state.replay(at, epoch, bytes)
            })
            .map_err(MakeError::Log)?;
        write_verified(fs, dir, state)?;
    }
    let kept_from = keep_two(fs, dir, base.max(position), base)?;
    Ok(Made { position: base.max(position), log_from: kept_from.next() })
}

/// Writes and reads back. The state is dropped in between: memory holds one copy at a time.
fn write_verified(fs: &Arc<dyn Fs>, dir: &Path, state: Durable) -> Result<(), MakeError> {
    let (position, written) = (state.position(), file::write(fs, dir, &state)?);
    drop(state);
    let verified = verify(fs, dir, position, written);
    if verified.is_err() {
        // The error says what is wrong; the next start must not meet the file.
        let _ = file::remove(fs.as_ref(), dir, position);
    }
    verified
}

fn verify(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    position: LogPosition,
    written: u64,
) -> Result<(), MakeError> {
    let found = file::load(fs, dir, position)?.digest();
    if found == written {
        return Ok(());
    }
    Err(MakeError::Differs { path: file::path(dir, position), found, written })
}

/// Removes every checkpoint but `newest` and the one it was made from, and says from where on the
/// log is needed: behind the older of the two (behind nothing, if there is only one).
fn keep_two(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    newest: LogPosition,
    base: LogPosition,
) -> Result<LogPosition, CheckpointError> {
    if newest == base {
        // Nothing was made; what is there stays.
        let positions = file::list(fs.as_ref(), dir)?;
        return Ok(positions.first().copied().filter(|_| positions.len() > 1).unwrap_or_default());
    }
    for position in file::list(fs.as_ref(), dir)? {
        if position != newest && position != base {
            file::remove(fs.as_ref(), dir, position)?;
        }
    }
    Ok(base)
}
