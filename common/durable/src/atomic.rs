//! Replacing a file: after a crash the old bytes are there or the new ones, whole.
//!
//! The order is: write under a temporary name, sync the file, rename, sync the directory. What a
//! crash leaves under a temporary name is removed by [`remove_leftovers`] at the next start.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{File, Fs, Open, parent};

/// Ends the name of a file that is not finished.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// Puts `bytes` under `path`, durable when this returns.
///
/// After an error the old bytes or the new ones are there, nobody knows which.
pub fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary(path);
    let file = begin(fs, &temporary)?;
    let done = file.write_all_at(bytes, 0).and_then(|()| publish(fs, &*file, &temporary, path));
    if done.is_err() {
        // Gives the space back; the first error is the one to tell.
        let _ = fs.remove_file(&temporary);
    }
    done
}

/// Removes what interrupted replacements left in a directory. Call it once, at start, before
/// anything is written there.
pub fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    for name in fs.read_dir(dir)? {
        if is_temporary(&name) {
            fs.remove_file(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Whether a file of this name is not finished.
pub(crate) fn is_temporary(name: &OsString) -> bool {
    name.as_encoded_bytes().ends_with(TEMPORARY_SUFFIX.as_bytes())
}

/// A new file that is written piece by piece and takes its name at [`AtomicFile::commit`]. Dropped
/// before, it leaves nothing under that name.
#[derive(Debug)]
pub struct AtomicFile {
    fs: Arc<dyn Fs>,
    file: Arc<dyn File>,
    path: PathBuf,
    temporary: PathBuf,
    buffer: Vec<u8>,
    written_bytes: u64,
    committed: bool,
}

impl AtomicFile {
    /// Begins the file that will be `path`. Only one at a time may be under way for a path.
    pub fn create(fs: Arc<dyn Fs>, path: &Path) -> io::Result<Self> {
        let temporary = temporary(path);
        let file = begin(&*fs, &temporary)?;
        Ok(Self {
            fs,
            file,
            path: path.to_owned(),
            temporary,
            buffer: Vec::new(),
            written_bytes: 0,
            committed: false,
        })
    }

    /// Makes the bytes durable that were written until now, so that little is left for [`Self::commit`].
    pub fn sync_so_far(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync_data()
    }

    /// Makes the bytes durable, gives them the name, makes the name durable.
    pub fn commit(mut self) -> io::Result<()> {
        self.flush()?;
        publish(&*self.fs, &*self.file, &self.temporary, &self.path)?;
        self.committed = true;
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        let taken = bytes.len().min(BUFFER_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written_bytes)?;
        self.written_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if !self.committed {
            // Only tidiness: a leftover is removed at the next start.
            let _ = self.fs.remove_file(&self.temporary);
        }
    }
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_SUFFIX);
    PathBuf::from(name)
}

/// A fresh temporary file: never the pages of an earlier attempt, whose sync may have failed.
fn begin(fs: &dyn Fs, temporary: &Path) -> io::Result<Arc<dyn File>> {
    match fs.remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs.open(temporary, Open::CreateNew)
}

fn publish(fs: &dyn Fs, file: &dyn File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs.rename(temporary, path)?;
    fs.sync_dir(parent(path))
}

#[cfg(test)]
mod tests;
