//! Open files, a bounded number of them: descriptors are scarcer than replicas.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gfs_durable::fs::{File, Fs, Open};
use gfs_types::ids::ChunkHandle;

/// Files kept open.
pub(super) const OPEN_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Inner {
    files: BTreeMap<ChunkHandle, (u64, Arc<dyn File>)>,
    /// The same by age: the least recently used first.
    ages: BTreeMap<u64, ChunkHandle>,
    clock: u64,
}

/// The files used last.
#[derive(Debug, Default)]
pub(super) struct Files(Mutex<Inner>);

impl Files {
    /// The file of a replica, opened if need be.
    pub(super) fn get(
        &self,
        fs: &dyn Fs,
        handle: ChunkHandle,
        path: impl FnOnce() -> std::path::PathBuf,
    ) -> io::Result<Arc<dyn File>> {
        if let Some(file) = self.lock().touch(handle) {
            return Ok(file);
        }
        let file = fs.open(Path::new(&path()), Open::Write)?;
        self.lock().insert(handle, file.clone());
        Ok(file)
    }

    /// Keeps a file that was opened elsewhere.
    pub(super) fn keep(&self, handle: ChunkHandle, file: Arc<dyn File>) {
        self.lock().insert(handle, file);
    }

    /// Forgets a replica's file; who uses it now keeps it until done.
    pub(super) fn forget(&self, handle: ChunkHandle) {
        let mut inner = self.lock();
        if let Some((age, _)) = inner.files.remove(&handle) {
            inner.ages.remove(&age);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn touch(&mut self, handle: ChunkHandle) -> Option<Arc<dyn File>> {
        self.clock += 1;
        let (age, file) = self.files.get_mut(&handle)?;
        self.ages.remove(age);
        *age = self.clock;
        self.ages.insert(self.clock, handle);
        Some(file.clone())
    }

    fn insert(&mut self, handle: ChunkHandle, file: Arc<dyn File>) {
        self.clock += 1;
        if let Some((age, _)) = self.files.insert(handle, (self.clock, file)) {
            self.ages.remove(&age);
        }
        self.ages.insert(self.clock, handle);
        if self.files.len() > OPEN_MAX
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.files.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfs_durable::fs::sim::SimFs;

    #[test]
    fn the_least_recently_used_file_is_closed_at_the_limit() {
        let fs = SimFs::new(1);
        let path = |handle: u64| std::path::PathBuf::from(format!("/{handle}"));
        let files = Files::default();
        for handle in 0..=OPEN_MAX as u64 {
            fs.open(&path(handle), Open::CreateNew).unwrap();
            files.get(&fs, ChunkHandle(handle), || path(handle)).unwrap();
            files.get(&fs, ChunkHandle(0), || path(0)).unwrap();
        }
        let inner = files.lock();
        assert_eq!((inner.files.len(), inner.ages.len()), (OPEN_MAX, OPEN_MAX));
        assert!(inner.files.contains_key(&ChunkHandle(0)));
        assert!(!inner.files.contains_key(&ChunkHandle(1)));
    }
}
