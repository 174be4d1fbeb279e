//! The machine's own disk.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation};
use rustix::io::Errno;

use super::{File, Fs, Lock, Metadata, Open, Space, named, parent};

/// The smallest page there is: of larger ones, more bytes are begun with.
const PAGE_BYTES: u64 = 4096;
/// Bytes that are begun with before a sync: of more, the sync itself is not the smaller part.
const BEGIN_BYTES_MAX: u64 = 64 << 10;
/// Buffers of one vectored write: what Linux takes at most (`IOV_MAX`).
const BUFFERS_MAX: usize = 1024;

/// The machine's own disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFs;

/// A file of the machine's disk. It keeps its path for the sake of errors.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

/// A lock is an open file with `flock`: it goes when the file is closed.
#[derive(Debug)]
struct RealLock(RealFile);

impl Lock for RealLock {
    fn file(&self) -> &dyn File {
        &self.0
    }
}

fn open(path: &Path, how: Open) -> io::Result<RealFile> {
    let mut options = OpenOptions::new();
    options.read(true);
    match how {
        Open::Read => &mut options,
        Open::Write => options.write(true),
        Open::Create => options.write(true).create(true).truncate(false),
        Open::CreateNew => options.write(true).create_new(true),
    };
    let file = options.open(path).map_err(named("open", path))?;
    Ok(RealFile { file, path: path.to_owned() })
}

fn sync_dir(path: &Path) -> io::Result<()> {
    fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(named("sync directory", path))
}

/// An earlier process may have died between making a directory in `path` and syncing it. A parent
/// that may not be read (a mount point's) was not ours to make.
fn sync_existing(path: &Path) -> io::Result<()> {
    match sync_dir(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

impl Fs for RealFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(open(path, how)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(named("rename", from))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(named("remove", path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Ok(()) => sync_dir(parent(path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {
                sync_existing(parent(path))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && parent(path) != path => {
                self.create_dir_all(parent(path))?;
                self.create_dir_all(path)
            }
            Err(error) => Err(named("create directory", path)(error)),
        }
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let list = || -> io::Result<Vec<OsString>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(path)? {
                names.push(entry?.file_name());
            }
            names.sort();
            Ok(names)
        };
        list().map_err(named("read directory", path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        sync_dir(path)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let metadata = fs::metadata(path).map_err(named("look up", path))?;
        Ok(Metadata { len: metadata.len(), is_dir: metadata.is_dir() })
    }

    fn free_space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|errno| named("ask for the space of", path)(errno.into()))?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = open(path, Open::Create)?;
        match rustix::fs::flock(&file.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(RealLock(file)))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(errno) => Err(named("lock", path)(errno.into())),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset).map_err(named("read", &self.path))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(named("read", &self.path))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(named("write", &self.path))
    }

    fn write_all_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_vectored(&self.file, buffers, offset).map_err(named("write", &self.path))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(named("look up", &self.path))?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(named("set the length of", &self.path))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(named("reserve space for", &self.path)(errno.into())),
        }
    }

    fn begin_sync(&self, offset: u64, len: u64) {
        begin_sync(&self.file, offset, len);
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().map_err(named("sync", &self.path))
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all().map_err(named("sync", &self.path))
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

/// "Not needed any more" makes Linux start to write what is dirty, and drop whole pages that are not. So it is said of two
/// pages at a time without their first and last byte: there is no whole page in that, and nothing is dropped.
fn begin_sync(file: &fs::File, offset: u64, len: u64) {
    let end = offset.saturating_add(len.min(BEGIN_BYTES_MAX));
    let mut at = offset / PAGE_BYTES * PAGE_BYTES;
    while at < end {
        let inner = NonZeroU64::new(2 * PAGE_BYTES - 2);
        // A hint: whoever must know whether it is written syncs.
        let _ = rustix::fs::fadvise(file, at + 1, inner, Advice::DontNeed);
        at += 2 * PAGE_BYTES;
    }
}

/// One system call usually; what it leaves over is written buffer by buffer.
fn write_vectored(file: &fs::File, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
    let first = &buffers[..buffers.len().min(BUFFERS_MAX)];
    let mut written = match rustix::io::pwritev(file, first, offset) {
        Ok(count) => count,
        Err(Errno::INTR) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut at = offset;
    for buffer in buffers {
        let done = written.min(buffer.len());
        written -= done;
        if done < buffer.len() {
            file.write_all_at(&buffer[done..], at + done as u64)?;
        }
        at += buffer.len() as u64;
    }
    Ok(())
}
