//! An open file of the simulated disk.

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rand_xoshiro::rand_core::Rng;

use super::disk::{Inode, to_usize};
use super::{Machine, Operation, SimFs, eio};
use crate::fs::{File, Lock, named};

#[derive(Debug)]
pub(super) struct SimFile {
    fs: SimFs,
    inode: Inode,
    path: PathBuf,
    writable: bool,
}

/// Free again when dropped.
#[derive(Debug)]
pub(super) struct SimLock(SimFile);

impl SimLock {
    pub(super) fn new(file: SimFile) -> Self {
        Self(file)
    }
}

impl Lock for SimLock {
    fn file(&self) -> &dyn File {
        &self.0
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.0.fs.machine().locked.remove(&self.0.inode);
    }
}

impl SimFile {
    pub(super) fn new(fs: SimFs, inode: Inode, path: &Path, writable: bool) -> Self {
        Self { fs, inode, path: path.to_owned(), writable }
    }

    fn change(&self, act: impl FnOnce(&mut Machine, bool) -> io::Result<()>) -> io::Result<()> {
        if !self.writable {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.fs.change(Operation::Write, |machine| {
            let fails = machine.planned_failure(Operation::Write);
            act(machine, fails)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let sync = |machine: &mut Machine| {
            let fails = machine.planned_failure(Operation::Sync);
            if fails {
                machine.disk.lose_file(self.inode);
                return Err(eio());
            }
            machine.disk.sync_file(self.inode);
            Ok(())
        };
        self.fs.change(Operation::Sync, sync).map_err(named("sync", &self.path))
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change(|machine, fails| {
            if fails {
                machine.disk.write(self.inode, offset, &bytes[..bytes.len() / 2]);
                return Err(eio());
            }
            let room = machine.room_for(self.inode);
            let fits = to_usize(room.saturating_sub(offset)).min(bytes.len());
            machine.disk.write(self.inode, offset, &bytes[..fits]);
            if fits < bytes.len() { Err(machine.full()) } else { Ok(()) }
        })
        .map_err(named("write", &self.path))
    }
}

impl Machine {
    /// How long this file may become.
    fn room_for(&self, inode: Inode) -> u64 {
        if self.capacity_bytes >= super::CAPACITY_BYTES {
            // More than there is memory: nobody has to count what the others take.
            return self.capacity_bytes;
        }
        let others = self.disk.used_bytes().saturating_sub(self.disk.file_bytes(inode));
        self.capacity_bytes.saturating_sub(others).max(self.disk.file_bytes(inode))
    }

    /// How many of `wanted` bytes a read gives.
    fn read_len(&mut self, wanted: usize) -> usize {
        if self.short_reads && wanted > 1 {
            let drawn = to_usize(self.rng.next_u64() >> 32);
            return 1 + drawn % wanted;
        }
        wanted
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = |machine: &mut Machine| {
            if machine.planned_failure(Operation::Read) {
                return Err(eio());
            }
            let left = to_usize(machine.disk.len(self.inode).saturating_sub(offset));
            let count = machine.read_len(buffer.len().min(left));
            if !machine.disk.is_readable(self.inode, offset, count) {
                machine.failures += 1;
                return Err(eio());
            }
            Ok(machine.disk.read(self.inode, offset, &mut buffer[..count]))
        };
        self.fs.change(Operation::Read, read).map_err(named("read", &self.path))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(bytes, offset)
    }

    fn write_all_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        self.write(&parts.concat(), offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.fs.change(Operation::Read, |machine| Ok(machine.disk.len(self.inode)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|machine, fails| {
            if fails {
                return Err(eio());
            }
            if len > machine.room_for(self.inode) {
                return Err(machine.full());
            }
            machine.disk.set_len(self.inode, len);
            Ok(())
        })
        .map_err(named("set the length of", &self.path))
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(|machine, fails| {
            let end = offset.saturating_add(len);
            if fails {
                return Err(eio());
            }
            if end > machine.room_for(self.inode) {
                return Err(machine.full());
            }
            machine.disk.reserve(self.inode, end);
            Ok(())
        })
        .map_err(named("reserve space for", &self.path))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
