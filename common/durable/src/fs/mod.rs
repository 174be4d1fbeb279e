//! The disk, as small as the servers need it: one trait, a real and a simulated implementation.
//!
//! What each call promises after a power loss:
//! - bytes and length of a file: after [`File::sync_data`] or [`File::sync_all`], nothing before;
//! - a name that was made, changed or removed: after [`Fs::sync_dir`] of its directory;
//! - a directory: at once, [`Fs::create_dir_all`] syncs what it must.
//!
//! Every error names the operation and the path; [`io::Error::kind`] is that of the cause.

mod error;
pub mod real;
pub mod sim;

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use error::FsError;
pub(crate) use error::named;

/// How [`Fs::open`] treats a file that is there, or is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Only to read; it must exist.
    Read,
    /// To read and write; it must exist.
    Write,
    /// To read and write; made when it is not there.
    Create,
    /// To read and write; it must not exist.
    CreateNew,
}

/// What is known of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes of the file; of no meaning for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Room on the disk that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes of the whole file system.
    pub total_bytes: u64,
    /// Bytes this process may still use.
    pub available_bytes: u64,
}

/// A lock that was taken with [`Fs::try_lock`]; dropped, it is free again. It ends with the
/// process, however that ends.
pub trait Lock: Send + Sync + Debug {
    /// The locked file, to leave a note in.
    fn file(&self) -> &dyn File;
}

/// A disk. Paths are used as they are given.
pub trait Fs: Send + Sync + Debug + 'static {
    /// Opens a file. A new name is durable after [`Fs::sync_dir`] of its directory.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, replacing what had it: after a crash the old name or the new one
    /// is there, whole. Durable after [`Fs::sync_dir`] of both directories.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. Durable after [`Fs::sync_dir`].
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory and those above it, durable at once.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// Makes every earlier change of names in this directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Length and sort of what has this name.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Whether anything has this name.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Room on the disk that holds `path`.
    fn free_space(&self, path: &Path) -> io::Result<Space>;

    /// Locks a file, made when it is not there, against every other process and every other lock of
    /// this one. `None`: somebody else has it.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>>;

    /// The bytes of a whole file, refused above `bytes_max`.
    fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > bytes_max {
            let text = format!("{} has {len} bytes, at most {bytes_max} expected", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// An open file. All methods take `&self`: reads and writes name their offset.
pub trait File: Send + Sync + Debug {
    /// Reads what is there, from `offset`: fewer bytes than asked are possible at any time, 0 only
    /// at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Fills `buffer` from `offset`, or fails with [`io::ErrorKind::UnexpectedEof`].
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all bytes at `offset`; a gap before it reads as zeros.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes all buffers one after the other from `offset`, in one system call where possible.
    fn write_all_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()>;

    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts the file, or makes it longer with zeros. Space that was reserved behind the new end is free again, also where the length stays.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for `len` bytes from `offset` and leaves the length as it is. Does nothing
    /// where the file system cannot.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;

    /// Starts to write these bytes to the disk, where that is possible without waiting: a sync that follows has less to
    /// wait for. A hint; nothing is durable by it.
    fn begin_sync(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Makes bytes and length durable. After an error the file must not be trusted any more.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes bytes and all metadata of the file durable. After an error as [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// The descriptor, for `sendfile`; `None` in the simulation.
    fn as_fd(&self) -> Option<BorrowedFd<'_>>;
}

/// The directory that holds `path`: the one to sync when its name changes.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
