//! The files of the replicas: names, end, and the look at all of them when the store is opened.
//!
//! `chunks/<the two hexadecimal digits before the last two of the handle>/<handle>.chunk`: 256 consecutive chunks share a
//! folder, so that one sync of it serves all that are born together. `.new` while it is being made, `.damaged` for one
//! that could not be read and was replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gfs_durable::fs::{File, Fs, Open};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::mutants::{Mutant, runs};
use tracing::{info, warn};

use super::ahead::Ahead;
use super::chunk::Chunk;
use super::header::Header;
use super::layout::DATA_AT;
use super::recover::{Recovered, recover};
use super::room::Room;
use super::{Bad, Entry, Found, Replica, Store, StoreConfig, StoreError};

const ENDING: &str = ".chunk";
pub(super) const ENDING_NEW: &str = ".new";
const ENDING_DAMAGED: &str = ".damaged";

pub(super) fn folder(dir: &Path, handle: ChunkHandle) -> PathBuf {
    dir.join("chunks").join(format!("{:02x}", (handle.0 >> 8) & 0xff))
}

/// Where it was before consecutive chunks shared a folder.
fn former_folder(dir: &Path, handle: ChunkHandle) -> PathBuf {
    dir.join("chunks").join(format!("{:02x}", handle.0 & 0xff))
}

pub(super) fn path(dir: &Path, handle: ChunkHandle) -> PathBuf {
    folder(dir, handle).join(format!("{handle}{ENDING}"))
}

fn damaged_path(dir: &Path, handle: ChunkHandle) -> PathBuf {
    folder(dir, handle).join(format!("{handle}{ENDING_DAMAGED}"))
}

fn failed(doing: &str) -> impl FnOnce(std::io::Error) -> StoreError {
    let doing = doing.to_owned();
    move |source| StoreError::Io { handle: None, doing, source }
}

impl Store {
    /// Opens the directory and recovers every replica in it.
    ///
    /// # Errors
    /// When the directory cannot be read, or a sync fails. A replica that cannot be used is an error in its [`Found`].
    pub fn open(fs: Arc<dyn Fs>, config: StoreConfig) -> Result<(Self, Vec<Found>), StoreError> {
        let handles = list(&*fs, &config.dir).map_err(failed("listing the replicas"))?;
        let looked = look_at_all(&*fs, &config, handles)?;
        let mut chunks = BTreeMap::new();
        let mut found = Vec::new();
        for (handle, recovered) in looked {
            let (entry, replica) = judge(recovered);
            chunks.insert(handle, entry);
            found.push(Found { handle, replica });
        }
        let room = Room::new(config.reserve_bytes);
        let chunks = RwLock::new(chunks);
        let (files, folders, syncers) = Default::default();
        let store = Self { fs, config, files, folders, room, syncers, chunks };
        Ok((store, found))
    }

    /// A new, empty file in the place of one that cannot be read, which is kept under another name: one for each chunk,
    /// the newest. The replica is suspect and corrupt until it was made equal.
    pub(super) fn replace(
        &self,
        handle: ChunkHandle,
        version: ChunkVersion,
    ) -> Result<(Arc<Chunk>, Arc<dyn File>), StoreError> {
        self.check_room(handle, DATA_AT)?;
        let path = path(&self.config.dir, handle);
        let kept = damaged_path(&self.config.dir, handle);
        let io = |source| StoreError::Io {
            handle: Some(handle),
            doing: format!("keeping the damaged file of chunk {handle}"),
            source,
        };
        if self.fs.exists(&path).map_err(io)? {
            self.fs.rename(&path, &kept).map_err(io)?;
            warn!(chunk = %handle, path = %kept.display(), "the damaged file is kept here, a new one is made");
        }
        let first = self.first_header(handle, version);
        let header = Header { clean: false, suspect: true, corrupt: true, ..first };
        self.files.forget(handle);
        self.make_files(vec![header]).pop().unwrap_or(Err(StoreError::NotFound(handle)))?;
        self.chunk(handle)
    }

    /// Removes a replica, if it still has this version.
    ///
    /// # Errors
    /// `NotFound`, `OtherVersion`, `Foreign`, or the disk's. One whose head cannot be read has version 0.
    pub fn delete(&self, handle: ChunkHandle, version: ChunkVersion) -> Result<(), StoreError> {
        let chunk = match self.entry(handle) {
            Some(Entry::Bad(Bad::Lost(_))) if version == ChunkVersion(0) => {
                self.write_chunks().remove(&handle);
                return self.unlink(handle);
            }
            _ => self.good(handle)?,
        };
        let header = chunk.header();
        if header.version != version && !runs(Mutant::AnyVersionIsDeleted) {
            return Err(StoreError::OtherVersion { handle, has: header.version, named: version });
        }
        self.write_chunks().remove(&handle);
        self.files.forget(handle);
        chunk.state().closed = Some("deleted".to_owned());
        self.unlink(handle)
    }

    fn unlink(&self, handle: ChunkHandle) -> Result<(), StoreError> {
        let dir = &self.config.dir;
        for path in [path(dir, handle), damaged_path(dir, handle)] {
            match self.fs.remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    let doing = format!("deleting chunk {handle}");
                    return Err(StoreError::Io { handle: Some(handle), doing, source });
                }
                _ => {}
            }
        }
        let synced = self.fs.sync_dir(&folder(dir, handle));
        synced.map_err(|source| StoreError::Fatal { handle, source })
    }

    /// All replicas that there are, whatever they are like.
    #[must_use]
    pub fn handles(&self) -> Vec<ChunkHandle> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// What a replica is now.
    ///
    /// # Errors
    /// `NotFound`, or `Damaged` when its head cannot be read.
    pub fn replica(&self, handle: ChunkHandle) -> Result<Replica, StoreError> {
        Ok(self.good(handle)?.replica())
    }

    pub(super) fn chunk(
        &self,
        handle: ChunkHandle,
    ) -> Result<(Arc<Chunk>, Arc<dyn File>), StoreError> {
        let chunk = self.good(handle)?;
        let path = || path(&self.config.dir, handle);
        let file = self.files.get(&*self.fs, handle, path).map_err(|error| chunk.io(error))?;
        Ok((chunk, file))
    }

    /// Whether bytes at `offset` go to the end of a replica whose header on disk allows it already.
    pub(crate) fn appends_without_sync(&self, handle: ChunkHandle, offset: u64) -> bool {
        let chunk = self.good(handle);
        chunk.is_ok_and(|chunk| chunk.is_ready(false) && chunk.applied_length() <= offset)
    }

    pub(super) fn good(&self, handle: ChunkHandle) -> Result<Arc<Chunk>, StoreError> {
        match self.entry(handle) {
            Some(Entry::Good(chunk)) => Ok(chunk),
            Some(Entry::Bad(error)) => Err(error.of(handle)),
            None => Err(StoreError::NotFound(handle)),
        }
    }

    pub(super) fn entry(&self, handle: ChunkHandle) -> Option<Entry> {
        self.chunks.read().unwrap_or_else(PoisonError::into_inner).get(&handle).cloned()
    }

    pub(super) fn write_chunks(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, BTreeMap<ChunkHandle, Entry>> {
        self.chunks.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handles of all replicas. What a crash left half-made goes away; what is not ours is left alone.
fn list(fs: &dyn Fs, dir: &Path) -> std::io::Result<Vec<ChunkHandle>> {
    let chunks = dir.join("chunks");
    fs.create_dir_all(&chunks)?;
    let mut handles = Vec::new();
    move_former(fs, dir, &chunks)?;
    for folder in fs.read_dir(&chunks)? {
        let folder = chunks.join(folder);
        if !fs.metadata(&folder)?.is_dir {
            continue;
        }
        for name in fs.read_dir(&folder)? {
            let name = name.to_string_lossy().into_owned();
            let handle = name.strip_suffix(ENDING).and_then(|name| name.parse().ok());
            match handle {
                Some(handle) if folder == self::folder(dir, handle) => handles.push(handle),
                Some(handle) => {
                    let (path, right) = (folder.join(&name), path(dir, handle));
                    warn!(path = %path.display(), right = %right.display(), "a chunk file out of its place, not used: move it to its right place if nothing is there, or away");
                }
                _ if name.ends_with(ENDING_DAMAGED) => {}
                _ if name.ends_with(ENDING_NEW) => fs.remove_file(&folder.join(&name))?,
                _ => warn!(path = %folder.join(&name).display(), "not a chunk file, left alone"),
            }
        }
        // A killed process may have made or removed a name and not synced it: what is reported now must stay so.
        fs.sync_dir(&folder)?;
    }
    Ok(handles)
}

/// Files of an earlier server are where it looked for them. Each goes to its folder, durable there before it is gone here;
/// one whose place is taken is left alone.
fn move_former(fs: &dyn Fs, dir: &Path, chunks: &Path) -> std::io::Result<()> {
    for from in fs.read_dir(chunks)? {
        let from = chunks.join(from);
        if !fs.metadata(&from)?.is_dir {
            continue;
        }
        let mut moved = BTreeSet::new();
        for name in fs.read_dir(&from)? {
            let Some(to) = name.to_str().and_then(|name| new_folder(dir, &from, name)) else {
                continue;
            };
            fs.create_dir_all(&to)?;
            if !fs.exists(&to.join(&name))? {
                fs.rename(&from.join(&name), &to.join(&name))?;
                moved.insert(to);
            }
        }
        for to in &moved {
            fs.sync_dir(to)?;
        }
        if !moved.is_empty() {
            fs.sync_dir(&from)?;
        }
    }
    Ok(())
}

/// Where a file belongs that stands where an earlier server left it.
fn new_folder(dir: &Path, from: &Path, name: &str) -> Option<PathBuf> {
    let handle = name.strip_suffix(ENDING).or_else(|| name.strip_suffix(ENDING_DAMAGED))?;
    let handle = handle.parse().ok()?;
    let to = folder(dir, handle);
    (from == former_folder(dir, handle) && from != to).then_some(to)
}

type Looked = (ChunkHandle, Result<Recovered, StoreError>);

/// Recovers all replicas, several at a time.
fn look_at_all(
    fs: &dyn Fs,
    config: &StoreConfig,
    handles: Vec<ChunkHandle>,
) -> Result<Vec<Looked>, StoreError> {
    let queue = Mutex::new(handles.into_iter());
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(handle) = next else { break };
            let looked = look_at(fs, config, handle);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((handle, looked));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..config.open_threads {
            scope.spawn(work);
        }
        work();
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(handle, _)| *handle);
    if let Some(at) = results.iter().position(|(_, r)| r.as_ref().is_err_and(StoreError::is_fatal))
    {
        return Err(results.swap_remove(at).1.expect_err("its position was found by its error"));
    }
    Ok(results)
}

fn look_at(
    fs: &dyn Fs,
    config: &StoreConfig,
    handle: ChunkHandle,
) -> Result<Recovered, StoreError> {
    let file = fs.open(&path(&config.dir, handle), Open::Write).map_err(|source| {
        StoreError::Io { handle: Some(handle), doing: format!("opening chunk {handle}"), source }
    })?;
    recover(&*file, handle, config)
}

/// What the store keeps of a replica it looked at, and what it reports.
fn judge(recovered: Result<Recovered, StoreError>) -> (Entry, Result<Replica, StoreError>) {
    match recovered {
        Ok(Recovered { header, end, damaged, .. }) => {
            if let Some(reason) = &damaged {
                warn!(chunk = %header.handle, reason, "replica damaged");
            } else if !header.clean {
                info!(chunk = %header.handle, length = end.length, "replica recovered");
            }
            let clean = header.clean;
            let chunk = Chunk::new(header, end, damaged);
            if !clean {
                chunk.state().ahead = Ahead::unknown();
            }
            let chunk = Arc::new(chunk);
            let replica = chunk.replica();
            (Entry::Good(chunk), Ok(replica))
        }
        Err(error) => {
            warn!(%error, "replica refused");
            (Entry::Bad(Bad::new(&error)), Err(error))
        }
    }
}
