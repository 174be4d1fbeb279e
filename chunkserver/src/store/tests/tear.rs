//! A disk that stops in the middle of a write, as for a killed process, or takes its time to sync.

use std::ffi::OsString;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use gfs_durable::fs::sim::SimFs;
use gfs_durable::fs::{File, Fs, Lock, Metadata, Open, Space};

/// Lets so many writes through, then writes a part of the next one and is off.
#[derive(Debug, Clone)]
pub(super) struct TearFs {
    pub disk: SimFs,
    left: Arc<AtomicI64>,
    /// In thousandths of the write that is torn.
    part: Arc<AtomicUsize>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    /// So many may wait; more go through.
    waiting_max: usize,
    waiting: usize,
}

#[derive(Debug)]
struct TearFile(Arc<dyn File>, TearFs);

impl TearFs {
    pub(super) fn new(disk: SimFs) -> Self {
        Self {
            disk,
            left: Arc::new(AtomicI64::new(i64::MAX)),
            part: Arc::default(),
            gate: Arc::default(),
        }
    }

    /// After `writes` more, one is torn.
    pub(super) fn tear(&self, writes: i64, part: usize) {
        self.part.store(part, Ordering::Relaxed);
        self.left.store(writes, Ordering::Relaxed);
    }

    /// From now on, or no longer, syncs wait.
    pub(super) fn hold_syncs(&self, hold: bool) {
        self.hold(hold, usize::MAX);
    }

    /// The next sync waits, and no other one.
    pub(super) fn hold_one_sync(&self) {
        self.hold(true, 1);
    }

    fn hold(&self, closed: bool, waiting_max: usize) {
        let mut gate = self.gate.0.lock().unwrap();
        (gate.closed, gate.waiting_max) = (closed, waiting_max);
        self.gate.1.notify_all();
    }

    /// Waits until a sync waits.
    pub(super) fn await_sync(&self) {
        let gate = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(gate, |gate| gate.waiting == 0).unwrap());
    }

    fn pass_gate(&self) {
        let mut gate = self.gate.0.lock().unwrap();
        if gate.waiting >= gate.waiting_max {
            return;
        }
        gate.waiting += 1;
        self.gate.1.notify_all();
        let mut gate = self.gate.1.wait_while(gate, |gate| gate.closed).unwrap();
        gate.waiting -= 1;
    }

    /// Whether the write was torn.
    pub(super) fn torn(&self) -> bool {
        self.left.load(Ordering::Relaxed) < 0
    }
}

impl Fs for TearFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(TearFile(self.disk.open(path, how)?, self.clone())))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir_all(path)
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk.read_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.disk.metadata(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<Space> {
        self.disk.free_space(path)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.try_lock(path)
    }
}

impl File for TearFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Self(file, fs) = self;
        if fs.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            file.write_all_at(
                &bytes[..bytes.len() * fs.part.load(Ordering::Relaxed) / 1000],
                offset,
            )?;
            fs.disk.fail_after(0);
            return Err(io::Error::other("killed"));
        }
        file.write_all_at(bytes, offset)
    }
    fn write_all_vectored_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let parts: Vec<&[u8]> = buffers.iter().map(|buffer| &**buffer).collect();
        self.write_all_at(&parts.concat(), offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.pass_gate();
        self.0.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
