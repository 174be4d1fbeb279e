//! The birth of replicas. Those that are born together share their syncs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use gfs_durable::fs::{File, Open};
use gfs_types::fence::ChunkVersion;
use gfs_types::ids::ChunkHandle;
use gfs_types::limits::BLOCK_BYTES;

use super::chunk::Chunk;
use super::directory::{ENDING_NEW, folder, path};
use super::header::Header;
use super::layout::{DATA_AT, END_BYTES, ENDS, ENDS_AT, End, SLOT_BYTES, TABLE_AT, entry_at};
use super::{Entry, Store, StoreError};

/// Folders that are known to be on the disk, so that they are made once a process.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<BTreeSet<PathBuf>>);

/// A file that is made under another name: one with the right name is always whole.
struct Newborn {
    header: Header,
    file: Arc<dyn File>,
    folder: PathBuf,
    new: PathBuf,
}

impl Store {
    /// Makes an empty, clean replica; on disk when this returns.
    ///
    /// # Errors
    /// `Exists`, `Full`, or the disk's.
    pub fn create(&self, handle: ChunkHandle, version: ChunkVersion) -> Result<(), StoreError> {
        self.check_new(handle)?;
        let header = self.first_header(handle, version);
        self.make_files(vec![header]).pop().unwrap_or(Err(StoreError::NotFound(handle)))
    }

    /// Makes empty replicas that are about to be written, each of another chunk, and unclean from the start; on disk
    /// when this returns. Gives what came of each, in their order.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn give_birth(
        &self,
        births: &[(ChunkHandle, ChunkVersion)],
    ) -> Vec<Result<(), StoreError>> {
        let mut results = Vec::new();
        let mut headers = Vec::new();
        for (handle, version) in births {
            let new = self.check_new(*handle);
            if new.is_ok() {
                let mut header = self.first_header(*handle, *version);
                header.unclean(self.config.boot);
                headers.push(header);
            }
            results.push(new);
        }
        let mut made = self.make_files(headers).into_iter();
        for result in results.iter_mut().filter(|result| result.is_ok()) {
            if let Some(made) = made.next() {
                *result = made;
            }
        }
        results
    }

    fn check_new(&self, handle: ChunkHandle) -> Result<(), StoreError> {
        match self.entry(handle) {
            Some(Entry::Good(chunk)) => {
                Err(StoreError::Exists { handle, version: chunk.header().version })
            }
            Some(Entry::Bad(error)) => Err(error.of(handle)),
            None => self.check_room(handle, DATA_AT),
        }
    }

    pub(super) fn first_header(&self, handle: ChunkHandle, version: ChunkVersion) -> Header {
        Header {
            sequence: 1,
            cluster: self.config.cluster,
            handle,
            chunk_bytes: self.config.chunk_size.bytes(),
            version,
            clean: true,
            overwritten: false,
            suspect: false,
            corrupt: false,
            boot: self.config.boot,
            committed: 0,
            base: End::default(),
            next: End::default(),
        }
    }

    /// Makes files with these headers, durable, and takes them in. Gives what came of each, in their order.
    pub(super) fn make_files(&self, headers: Vec<Header>) -> Vec<Result<(), StoreError>> {
        let begun = headers.into_iter().map(|header| self.begin_file(header)).collect();
        let written = self.sync_files(begun);
        let named = written.into_iter().map(|newborn| self.name_file(newborn?)).collect();
        let durable = self.sync_names(named);
        let mut chunks = self.write_chunks();
        let mut take_in = |newborn: Newborn| {
            let chunk = Arc::new(Chunk::new(newborn.header, End::default(), None));
            // It is about to be written.
            self.files.keep(chunk.handle, newborn.file);
            chunks.insert(chunk.handle, Entry::Good(chunk));
        };
        durable.into_iter().map(|newborn| newborn.map(&mut take_in)).collect()
    }

    /// Those that were good, after they were synced. A sync that fails ends the process.
    fn sync_files(
        &self,
        newborns: Vec<Result<Newborn, StoreError>>,
    ) -> Vec<Result<Newborn, StoreError>> {
        let files = newborns.iter().flatten().map(|newborn| Arc::clone(&newborn.file)).collect();
        let mut synced =
            self.syncers.all(files, |file: &Arc<dyn File>| file.sync_all()).into_iter();
        let mut check = |newborn: Newborn| match synced.next() {
            Some(Err(source)) => Err(StoreError::Fatal { handle: newborn.header.handle, source }),
            _ => Ok(newborn),
        };
        newborns.into_iter().map(|newborn| newborn.and_then(&mut check)).collect()
    }

    /// Each folder once, for all that were named in it: chunks that are made one after the other are in one folder.
    fn sync_names(
        &self,
        named: Vec<Result<Newborn, StoreError>>,
    ) -> Vec<Result<Newborn, StoreError>> {
        let folders: BTreeSet<_> = named.iter().flatten().map(|new| new.folder.clone()).collect();
        let folders: Vec<_> = folders.into_iter().collect();
        let fs = Arc::clone(&self.fs);
        let synced = self.syncers.all(folders.clone(), move |folder| fs.sync_dir(folder));
        let synced: BTreeMap<_, _> = folders.into_iter().zip(synced).collect();
        let check = |newborn: Newborn| match synced.get(&newborn.folder) {
            Some(Ok(())) => Ok(newborn),
            failed => Err(StoreError::Fatal {
                handle: newborn.header.handle,
                source: again(failed.and_then(|result| result.as_ref().err())),
            }),
        };
        named.into_iter().map(|newborn| newborn.and_then(check)).collect()
    }

    fn begin_file(&self, header: Header) -> Result<Newborn, StoreError> {
        let handle = header.handle;
        let io = |source| self.full(making(handle)(source));
        let folder = folder(&self.config.dir, handle);
        self.make_folder(&folder).map_err(io)?;
        let new = folder.join(format!("{handle}{ENDING_NEW}"));
        let file = self.fs.open(&new, Open::Create).map_err(io)?;
        let filled = fill(&*file, &header, self.config.preallocate);
        if filled.is_err() {
            // Gives the space back; the first error is the one to tell.
            let _ = self.fs.remove_file(&new);
        }
        filled.map_err(io)?;
        // The headers are on their way while the next file is made.
        file.begin_sync(0, 2 * SLOT_BYTES as u64);
        Ok(Newborn { header, file, folder, new })
    }

    fn make_folder(&self, folder: &PathBuf) -> std::io::Result<()> {
        let known = || self.folders.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known().contains(folder) {
            return Ok(());
        }
        self.fs.create_dir_all(folder)?;
        known().insert(folder.clone());
        Ok(())
    }

    fn name_file(&self, newborn: Newborn) -> Result<Newborn, StoreError> {
        let handle = newborn.header.handle;
        let named = self.fs.rename(&newborn.new, &path(&self.config.dir, handle));
        named.map_err(|source| self.full(making(handle)(source)))?;
        Ok(newborn)
    }
}

/// One failure, told of every replica that it concerns.
fn again(error: Option<&std::io::Error>) -> std::io::Error {
    error.map_or_else(
        || std::io::Error::other("its folder was not synced"),
        |error| std::io::Error::new(error.kind(), error.to_string()),
    )
}

fn making(handle: ChunkHandle) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io {
        handle: Some(handle),
        doing: format!("making chunk {handle}"),
        source,
    }
}

/// Both header slots, an empty ring, and zeros up to where the bytes will be. What every replica must write (headers, ends,
/// checksums) has its space from here on: a version, a flush or the end of a lease needs none, and no mutation finds its
/// bytes on the disk and no room for their checksums. The redo areas get theirs with the first overwrite.
fn fill(file: &dyn File, header: &Header, preallocate: bool) -> std::io::Result<()> {
    file.set_len(0)?;
    let whole = if preallocate { DATA_AT + header.chunk_bytes } else { 0 };
    file.allocate(0, whole)?;
    file.allocate(0, ENDS_AT + ENDS * END_BYTES)?;
    file.allocate(TABLE_AT, entry_at(header.chunk_bytes / BLOCK_BYTES) - TABLE_AT)?;
    let before = Header { sequence: header.sequence - 1, ..header.clone() };
    let mut slots = [before.slot(), header.slot()];
    slots.sort_by_key(|(at, _)| *at);
    file.write_all_at(&slots.map(|(_, bytes)| bytes).concat(), 0)?;
    file.set_len(DATA_AT)
}
