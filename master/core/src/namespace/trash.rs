//! What was deleted and can come back (§4.4): by age, by id, by the path it had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gfs_types::fence::LogPosition;
use gfs_types::ids::FileId;
use gfs_types::time::WallTime;

/// One deleted file or directory, by the log position of its deletion: that orders them, whatever clocks did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trashed {
    pub(crate) id: FileId,
    pub(crate) path: Arc<str>,
    pub(crate) deleted: WallTime,
    /// It cannot come back.
    pub(crate) purge: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Trash {
    entries: BTreeMap<LogPosition, Trashed>,
    by_id: BTreeMap<FileId, LogPosition>,
    /// Of those that can come back.
    by_path: BTreeSet<(Arc<str>, LogPosition)>,
    to_purge: BTreeSet<LogPosition>,
}

impl Trash {
    pub(crate) fn put(&mut self, position: LogPosition, trashed: Trashed) {
        self.by_id.insert(trashed.id, position);
        if trashed.purge {
            self.to_purge.insert(position);
        } else {
            self.by_path.insert((Arc::clone(&trashed.path), position));
        }
        self.entries.insert(position, trashed);
    }

    pub(crate) fn take(&mut self, id: FileId) -> Option<Trashed> {
        let position = self.by_id.remove(&id)?;
        let trashed = self.entries.remove(&position)?;
        self.to_purge.remove(&position);
        self.by_path.remove(&(Arc::clone(&trashed.path), position));
        Some(trashed)
    }

    pub(crate) fn get(&self, id: FileId) -> Option<&Trashed> {
        self.entries.get(self.by_id.get(&id)?)
    }

    /// What was last deleted from this path and can come back.
    pub(crate) fn latest(&self, path: &str) -> Option<&Trashed> {
        let path: Arc<str> = Arc::from(path);
        let range = (Arc::clone(&path), LogPosition(0))..=(path, LogPosition(u64::MAX));
        let (_, position) = self.by_path.range(range).next_back()?;
        self.entries.get(position)
    }

    /// Those that can come back, oldest first, after the one with this id; `None` if that one is not there any more.
    pub(crate) fn page(&self, after: Option<FileId>) -> Option<impl Iterator<Item = &Trashed>> {
        let from = match after {
            None => LogPosition(0),
            Some(id) => self.by_id.get(&id)?.next(),
        };
        Some(
            self.entries.range(from..).map(|(_, trashed)| trashed).filter(|trashed| !trashed.purge),
        )
    }

    /// The next to free: what is to be purged at once, then the oldest, if it was deleted at or before `until`.
    pub(crate) fn next_to_purge(&self, until: WallTime) -> Option<FileId> {
        if let Some(position) = self.to_purge.first() {
            return self.entries.get(position).map(|trashed| trashed.id);
        }
        let (_, oldest) = self.entries.first_key_value()?;
        (oldest.deleted <= until).then_some(oldest.id)
    }

    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = (LogPosition, &Trashed)> {
        self.entries.iter().map(|(position, trashed)| (*position, trashed))
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
