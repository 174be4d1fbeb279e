//! The highest epoch of a master that was obeyed, on disk before it is obeyed; and the cluster's chunk size, which must
//! be known before any master answers. The file is that of docs/formats/master-seen.md.

use std::path::Path;

use gfs_chunkserver_core::fence::{MasterFence, Verdict};
use gfs_durable::fs::Fs;
use gfs_durable::slots::{Slots, SlotsError};
use gfs_types::fence::MasterEpoch;
use gfs_types::ids::ProcessSession;
use gfs_types::message::control::ToChunkserver;
use gfs_types::region::{ChunkSize, ChunkSizeError};

/// The file's name in the data directory.
const FILE: &str = "master-seen";
const VALUE_BYTES: usize = 16;

/// The fence and its place on disk.
#[derive(Debug)]
pub struct Obeyed {
    slots: Slots,
    fence: MasterFence,
    chunk_size: ChunkSize,
}

/// A file that says nothing useful.
#[derive(Debug, thiserror::Error)]
pub enum ObeyedError {
    /// The disk, or the slots.
    #[error(transparent)]
    Slots(#[from] SlotsError),
    /// The value cannot be.
    #[error("`{FILE}` holds {0} bytes, {VALUE_BYTES} expected: it was not written by this program")]
    Length(usize),
    /// The chunk size cannot be.
    #[error("`{FILE}` names no possible chunk size: {0}")]
    ChunkSize(#[from] ChunkSizeError),
}

impl Obeyed {
    /// Makes the file for a directory that is being formatted.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        fs: &dyn Fs,
        dir: &Path,
        epoch: MasterEpoch,
        chunk_size: ChunkSize,
    ) -> Result<(), ObeyedError> {
        Slots::create(fs, &dir.join(FILE), &encode(epoch, chunk_size))?;
        Ok(())
    }

    /// Opens the file.
    ///
    /// # Errors
    /// The disk's, or a file that says nothing useful.
    pub fn open(fs: &dyn Fs, dir: &Path, session: ProcessSession) -> Result<Self, ObeyedError> {
        let slots = Slots::open(fs, &dir.join(FILE))?;
        let (epoch, chunk_size) = decode(slots.value())?;
        Ok(Self { slots, fence: MasterFence::new(session, epoch), chunk_size })
    }

    /// The cluster's chunk size.
    #[must_use]
    pub fn chunk_size(&self) -> ChunkSize {
        self.chunk_size
    }

    /// The highest epoch that was obeyed.
    #[must_use]
    pub fn epoch(&self) -> MasterEpoch {
        self.fence.obeyed()
    }

    /// What to do with a command; an epoch above all others is durable when this returns.
    ///
    /// # Errors
    /// The disk's: the process must end, nobody knows which epoch the disk has.
    pub fn judge(&mut self, command: &ToChunkserver) -> Result<Verdict, ObeyedError> {
        let verdict = self.fence.judge(command);
        if let Verdict::PersistFirst(epoch) = verdict {
            self.slots.write(&encode(epoch, self.chunk_size))?;
            self.fence.persisted(epoch);
            return Ok(Verdict::Obey);
        }
        Ok(verdict)
    }
}

fn encode(epoch: MasterEpoch, chunk_size: ChunkSize) -> [u8; VALUE_BYTES] {
    let mut value = [0; VALUE_BYTES];
    value[..8].copy_from_slice(&epoch.0.to_le_bytes());
    value[8..].copy_from_slice(&chunk_size.bytes().to_le_bytes());
    value
}

fn decode(value: &[u8]) -> Result<(MasterEpoch, ChunkSize), ObeyedError> {
    let wrong = |_| ObeyedError::Length(value.len());
    let value: [u8; VALUE_BYTES] = value.try_into().map_err(wrong)?;
    let number = |at: usize| {
        u64::from_le_bytes(value[at..at + 8].try_into().expect("eight bytes are eight bytes"))
    };
    Ok((MasterEpoch(number(0)), ChunkSize::new(number(8))?))
}

#[cfg(test)]
mod tests {
    use gfs_durable::fs::real::RealFs;
    use gfs_types::message::control::Command;

    use super::*;

    fn command(epoch: u64) -> ToChunkserver {
        let command = Command::HeartbeatAnswer { seq: 1, extended: Vec::new(), lease_ms: 1 };
        ToChunkserver { epoch: MasterEpoch(epoch), session: ProcessSession(1), command }
    }

    #[test]
    fn an_epoch_that_was_obeyed_fences_after_a_restart_too() {
        let dir = tempfile::tempdir().unwrap();
        let size = ChunkSize::default();
        Obeyed::create(&RealFs, dir.path(), MasterEpoch(2), size).unwrap();
        let open = || Obeyed::open(&RealFs, dir.path(), ProcessSession(1)).unwrap();
        let mut obeyed = open();
        assert_eq!((obeyed.epoch(), obeyed.chunk_size()), (MasterEpoch(2), size));
        assert_eq!(obeyed.judge(&command(5)).unwrap(), Verdict::Obey);
        drop(obeyed);
        let mut obeyed = open();
        assert_eq!(obeyed.epoch(), MasterEpoch(5));
        assert!(matches!(obeyed.judge(&command(4)).unwrap(), Verdict::Refuse(_)));
    }

    #[test]
    fn the_bytes_are_those_of_the_page() {
        let bytes = encode(MasterEpoch(3), ChunkSize::new(128 << 10).unwrap());
        assert_eq!(bytes, [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(decode(&bytes).unwrap().0, MasterEpoch(3));
        assert!(matches!(decode(&bytes[..15]), Err(ObeyedError::Length(15))));
        assert!(matches!(decode(&[0; 16]), Err(ObeyedError::ChunkSize(_))));
    }
}
