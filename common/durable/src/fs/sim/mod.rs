//! A disk in memory that can lose power, fail, fill up and rot, the same way for the same seed.
//!
//! It is as unkind as a disk may be: of all that was not synced any part may be lost or kept, in any
//! order, and of one write any 512-byte sectors. What it grants: a synced file keeps its bytes and
//! length, a synced directory its names; a rename happens whole or not at all; directories are
//! durable at once, as [`Fs::create_dir_all`] promises.

mod content;
mod crash;
mod disk;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

pub use crash::CrashMode;
use disk::{Disk, Inode};
use file::{SimFile, SimLock};

use super::{File, Fs, Lock, Metadata, Open, Space, named};

/// Bytes that reach a disk whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// Room of a simulated disk that was given no other.
const CAPACITY_BYTES: u64 = 1 << 40;

/// What a planned failure hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A read of a file.
    Read,
    /// A write, or a change of length.
    Write,
    /// A sync of a file or directory.
    Sync,
}

/// A byte that went bad.
#[derive(Debug, Clone)]
pub struct Rotten {
    path: PathBuf,
    offset: u64,
}

/// A simulated disk. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct SimFs(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    disk: Disk,
    rng: Xoshiro256PlusPlus,
    /// Changes and syncs so far.
    operations: u64,
    /// The operation from which on the machine is off.
    off_at: Option<u64>,
    /// Off from the first failure on.
    ends_at_failure: bool,
    short_reads: bool,
    quiet: bool,
    capacity_bytes: u64,
    counts: BTreeMap<Operation, u64>,
    failing: BTreeSet<(Operation, u64)>,
    /// Operations that failed as planned, or found no room.
    failures: u64,
    locked: BTreeSet<Inode>,
}

impl SimFs {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_disk(seed, Disk::default())
    }

    fn with_disk(seed: u64, disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(Machine {
            disk,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            operations: 0,
            off_at: None,
            ends_at_failure: false,
            short_reads: false,
            quiet: false,
            capacity_bytes: CAPACITY_BYTES,
            counts: BTreeMap::new(),
            failing: BTreeSet::new(),
            failures: 0,
            locked: BTreeSet::new(),
        })))
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far that change or sync something; reads are not counted.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.machine().operations
    }

    /// Turns the machine off before its `operation`th counted operation (from 0, since the disk was
    /// made): that one and everything after it fails, reads too.
    pub fn fail_after(&self, operation: u64) {
        self.machine().off_at = Some(operation);
    }

    /// After a planned failure everything fails, as for a process that ends by it; the next one has [`SimFs::kill`].
    pub fn end_at_failure(&self) {
        self.machine().ends_at_failure = true;
    }

    /// Lets the `nth` operation of this sort fail with an I/O error, counted from now, from 0. A
    /// failed write may have written a part. A failed sync of a file has lost the bytes that it should have synced: they are read as if
    /// nothing had happened, and no later sync brings them to the disk. Names and lengths stand in a journal: a failed sync leaves them to
    /// the next one.
    pub fn fail_nth(&self, operation: Operation, nth: u64) {
        let mut machine = self.machine();
        let now = machine.counts.get(&operation).copied().unwrap_or(0);
        machine.failing.insert((operation, now + nth));
    }

    /// Nothing that is planned fails while this looks, and what it does counts for none of it.
    pub fn quietly<T>(&self, look: impl FnOnce() -> T) -> T {
        self.machine().quiet = true;
        let found = look();
        self.machine().quiet = false;
        found
    }

    /// Sets the room of the disk; a write that needs more fails with [`ErrorKind::StorageFull`].
    pub fn set_capacity(&self, bytes: u64) {
        self.machine().capacity_bytes = bytes;
    }

    /// Operations so far that failed as planned, or for lack of room.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.machine().failures
    }

    /// Whole again: nothing that was planned fails any more, and it has this room.
    pub fn mend(&self, capacity_bytes: u64) {
        let mut machine = self.machine();
        machine.failing.clear();
        machine.capacity_bytes = capacity_bytes;
    }

    /// Whether reads give fewer bytes than asked, now and then.
    pub fn set_short_reads(&self, short: bool) {
        self.machine().short_reads = short;
    }

    /// Bit rot: flips the bits of `mask` in one stored byte, durable and cached alike.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<Rotten> {
        let mut machine = self.machine();
        let inode = machine.disk.find(path).map_err(named("flip a bit of", path))?;
        machine.disk.flip(inode, offset, mask).map_err(named("flip a bit of", path))?;
        Ok(Rotten { path: path.to_owned(), offset })
    }

    /// A bad sector: every read of this byte fails, until it is written.
    pub fn spoil(&self, path: &Path, offset: u64) -> io::Result<Rotten> {
        let mut machine = self.machine();
        let inode = machine.disk.find(path).map_err(named("spoil a byte of", path))?;
        machine.disk.spoil(inode, offset).map_err(named("spoil a byte of", path))?;
        Ok(Rotten { path: path.to_owned(), offset })
    }

    /// What rotted is as it was. What was written over it since stays, also where that reached the disk behind the rot.
    pub fn restore(&self, rotten: &Rotten) -> io::Result<()> {
        let Rotten { path, offset } = rotten;
        let mut machine = self.machine();
        let inode = machine.disk.find(path).map_err(named("restore a byte of", path))?;
        machine.disk.heal(inode, *offset);
        Ok(())
    }

    /// How many changes are not synced.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.machine().disk.pending.len()
    }

    /// The disk as it is found after a power loss right now. This one is left as it is, so that
    /// every [`CrashMode`] can be tried from one state.
    #[must_use]
    pub fn crash(&self, mode: CrashMode) -> Self {
        let mut machine = self.machine();
        let seed = machine.rng.next_u64();
        Self::with_disk(seed, crash::after(&machine.disk, mode))
    }

    /// The disk as the next process finds it when this one was killed: everything written is there,
    /// synced or not, and locks are free.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut machine = self.machine();
        let seed = machine.rng.next_u64();
        Self::with_disk(seed, machine.disk.clone())
    }

    /// Every power loss worth a try from here: nothing kept, everything, each prefix, `subsets`
    /// random subsets, and the last write torn at each sector.
    #[must_use]
    pub fn crash_modes(&self, subsets: u64) -> Vec<CrashMode> {
        crash::modes(&self.machine().disk, subsets)
    }

    fn change<T>(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut machine = self.machine();
        machine.begin(operation)?;
        act(&mut machine)
    }
}

impl Machine {
    fn off(&self) -> bool {
        self.off_at.is_some_and(|at| self.operations >= at)
    }

    /// Counts an operation, and says whether it is to fail.
    fn begin(&mut self, operation: Operation) -> io::Result<()> {
        if self.off() {
            return Err(io::Error::new(ErrorKind::NotConnected, "the machine is off"));
        }
        if operation != Operation::Read {
            self.operations += 1;
        }
        Ok(())
    }

    /// Whether this operation was planned to fail.
    fn planned_failure(&mut self, operation: Operation) -> bool {
        if self.quiet {
            return false;
        }
        let count = self.counts.entry(operation).or_default();
        let failing = self.failing.contains(&(operation, *count));
        *count += 1;
        self.failures += u64::from(failing);
        if failing && self.ends_at_failure {
            self.off_at = Some(self.operations);
        }
        failing
    }

    /// The disk is full.
    fn full(&mut self) -> io::Error {
        self.failures += 1;
        ErrorKind::StorageFull.into()
    }
}

fn eio() -> io::Error {
    // As the kernel says it: callers tell a bad disk from other failures by it.
    rustix::io::Errno::IO.into()
}

impl Fs for SimFs {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let inode = self.open_inode(path, how).map_err(named("open", path))?;
        Ok(Arc::new(SimFile::new(self.clone(), inode, path, how != Open::Read)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(Operation::Write, |machine| machine.disk.rename(from, to))
            .map_err(named("rename", from))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Write, |machine| machine.disk.unlink(path))
            .map_err(named("remove", path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Write, |machine| machine.disk.make_dirs(path))
            .map_err(named("create directory", path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.change(Operation::Read, |machine| machine.disk.list(path))
            .map_err(named("read directory", path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(Operation::Sync, |machine| {
            let fails = machine.planned_failure(Operation::Sync);
            if fails { Err(eio()) } else { machine.disk.sync_dir(path) }
        })
        .map_err(named("sync directory", path))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.change(Operation::Read, |machine| machine.disk.metadata(path))
            .map_err(named("look up", path))
    }

    fn free_space(&self, _path: &Path) -> io::Result<Space> {
        let machine = self.machine();
        let total_bytes = machine.capacity_bytes;
        let available_bytes = total_bytes.saturating_sub(machine.disk.used_bytes());
        Ok(Space { total_bytes, available_bytes })
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let inode = self.open_inode(path, Open::Create).map_err(named("open", path))?;
        if !self.machine().locked.insert(inode) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock::new(SimFile::new(self.clone(), inode, path, true)))))
    }
}

impl SimFs {
    fn open_inode(&self, path: &Path, how: Open) -> io::Result<Inode> {
        let found = self.change(Operation::Read, |machine| Ok(machine.disk.find(path)))?;
        match (found, how) {
            (Ok(_), Open::CreateNew) => Err(ErrorKind::AlreadyExists.into()),
            (Ok(inode), _) => Ok(inode),
            (Err(error), Open::Create | Open::CreateNew) if error.kind() == ErrorKind::NotFound => {
                self.change(Operation::Write, |machine| machine.disk.create(path))
            }
            (Err(error), _) => Err(error),
        }
    }
}
