//! The next segment, made ready before it is needed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use super::error::Trouble;
use super::open::zero;
use super::segment::{self, Header};
use crate::fs::{File, Fs, Open};

/// The next segment before it has its name. The suffix lets the next start remove it.
const NAME: &str = "next-segment.tmp";

/// Makes the next segment ready ahead of its use, so that going over to it costs no zero-filling.
/// A clone is for a background thread; it must not outlive the process's use of the log.
#[derive(Debug, Clone)]
pub struct Preparer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_bytes: u64,
    /// Held while a segment is being made: who needs it at once waits for it.
    ready: Mutex<Option<Arc<dyn File>>>,
}

impl Preparer {
    pub(super) fn new(fs: Arc<dyn Fs>, dir: &Path, segment_bytes: u64) -> Self {
        let dir = dir.to_owned();
        Self(Arc::new(Shared { fs, dir, segment_bytes, ready: Mutex::new(None) }))
    }

    /// Writes the zeros of the next segment, unless one is ready. An error (no space, say) harms
    /// nothing yet: the log goes on in its current segment, and this may be tried again.
    pub fn prepare(&self) -> io::Result<()> {
        let mut ready = self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_none() {
            *ready = Some(self.0.make()?);
        }
        Ok(())
    }

    /// Whether the next segment is there. While one is being made it is not.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.0.ready.try_lock() {
            Ok(ready) => ready.is_some(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().is_some(),
            Err(TryLockError::WouldBlock) => false,
        }
    }

    /// Turns the prepared segment into the one with this header, durable when this returns, and
    /// returns it with the checksum of its header. Until it has its name a want of space harms nothing: a file
    /// that was never part of the log is made anew.
    pub(super) fn publish(&self, header: &Header) -> Result<(Arc<dyn File>, u32), Trouble> {
        let mut ready = self.0.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match ready.take() {
            Some(file) => file,
            None => self.0.make().map_err(Trouble::of)?,
        };
        let (bytes, seed) = header.encode();
        file.write_all_at(&bytes, 0).map_err(Trouble::of)?;
        // Only a segment whose header is durable may get the name: a header that does not verify is
        // then always damage.
        file.sync_all().map_err(Trouble::of)?;
        let (fs, dir) = (&self.0.fs, &self.0.dir);
        let renamed = fs.rename(&dir.join(NAME), &segment::path(dir, header.first));
        renamed.map_err(Trouble::of)?;
        fs.sync_dir(dir)?;
        Ok((file, seed))
    }
}

impl Shared {
    fn make(&self) -> io::Result<Arc<dyn File>> {
        let path = self.dir.join(NAME);
        self.remove(&path)?;
        let file = self.fs.open(&path, Open::CreateNew)?;
        let filled = self.fill(&*file);
        if filled.is_err() {
            // Gives the space back; the first error is the one to tell.
            let _ = self.remove(&path);
        }
        filled.map(|()| file)
    }

    fn fill(&self, file: &dyn File) -> io::Result<()> {
        file.allocate(0, self.segment_bytes)?;
        zero(file, 0, usize::try_from(self.segment_bytes).map_err(io::Error::other)?)?;
        file.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.fs.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
