//! Replacing a file: after a crash the old bytes are there or the new ones, whole.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use crate::fs::Fs;

/// Puts `bytes` under `path`, durable when this returns.
pub fn replace(_fs: &dyn Fs, _path: &Path, _bytes: &[u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Removes what interrupted replacements left in a directory. Call it once at start.
pub fn remove_leftovers(_fs: &dyn Fs, _dir: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A new file that is written piece by piece and takes its name at [`AtomicFile::commit`]. Dropped
/// before, it leaves nothing under the name.
#[derive(Debug)]
pub struct AtomicFile {}

impl AtomicFile {
    /// Begins the file that will be `path`.
    pub fn create(_fs: Arc<dyn Fs>, _path: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the bytes durable, gives them the name, makes the name durable.
    pub fn commit(self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
