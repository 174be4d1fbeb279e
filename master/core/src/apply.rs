//! What each record changes. Runs in live traffic and in replay: it decides nothing, and checks everything,
//! since the bytes may come from a damaged disk.

use gfs_types::fence::{LogPosition, MasterEpoch};
use gfs_types::ids::FileId;
use gfs_types::limits::REPLICATION_MAX;
use gfs_types::message::client::Attributes;
use gfs_types::time::WallTime;

use crate::Durable;
use crate::namespace::{FileNode, NewNode, Node, TRASH_ID, Trashed, Tree};
use crate::record::{Change, Record};
use crate::sessions::{EntryFacts, Outcome, Session};

type Applied<T> = Result<T, String>;

impl Durable {
    pub(crate) fn check_place(
        &self,
        position: LogPosition,
        epoch: MasterEpoch,
        record: &Record,
    ) -> Applied<()> {
        if Some(position.0) != self.position.0.checked_add(1) {
            return Err(format!("it stands behind record {}", self.position));
        }
        let begins =
            matches!(record.change, Change::EpochStarted { .. } | Change::Formatted { .. });
        if epoch < self.epoch || (epoch > self.epoch && !begins) {
            return Err(format!("its epoch is {epoch} where {} is running", self.epoch));
        }
        if self.is_blank() != matches!(record.change, Change::Formatted { .. }) {
            return Err("a log begins with the record that formats the cluster, once".to_owned());
        }
        Ok(())
    }

    pub(crate) fn apply_change(&mut self, position: LogPosition, record: &Record) -> Applied<()> {
        let outcome = self.change(position, record)?;
        match &record.request {
            Some(mark) => self.sessions.remember(mark, outcome),
            None => Ok(()),
        }
    }

    fn change(&mut self, position: LogPosition, record: &Record) -> Applied<Outcome> {
        match &record.change {
            Change::Formatted { cluster, chunk_size } => {
                self.format = Some((*cluster, *chunk_size));
                self.tree = Tree::formatted();
            }
            Change::EpochStarted { session } => {
                if *session <= self.master_session {
                    return Err(format!("the master's run {} is not a new one", session.0));
                }
                self.master_session = *session;
            }
            Change::SessionOpened { session } => {
                self.sessions.open(*session, Session::default())?
            }
            Change::SessionClosed { session } => self.sessions.close(*session)?,
            Change::SessionsExpired { sessions } => {
                sessions.iter().try_for_each(|session| self.sessions.close(*session))?;
            }
            Change::Created { file, parent, name, replication, attributes } => {
                self.create(*file, *parent, name, *replication, *attributes)?;
                return self.facts(*file).map(Outcome::Entry);
            }
            Change::DirectoriesMade { parent, made } => self.make_directories(*parent, made)?,
            Change::Renamed { entry, parent, name, replaced } => {
                if let Some((id, path)) = replaced {
                    self.hide(position, record.wall, *id, path, false)?;
                }
                self.check_free(*entry)?;
                self.check_open(*parent)?;
                self.tree.relocate(*entry, *parent, name)?;
                return self.facts(*entry).map(Outcome::Entry);
            }
            Change::Deleted { entry, path, purge } => {
                self.hide(position, record.wall, *entry, path, *purge)?;
            }
            Change::Undeleted { entry, parent, name } => {
                self.check_open(*parent)?;
                self.trash.take(*entry).ok_or_else(|| format!("{entry} is not in the trash"))?;
                self.tree.relocate(*entry, *parent, name)?;
                return self.facts(*entry).map(Outcome::Entry);
            }
            Change::LengthSet { file, length, attributes } => {
                self.set_length(*file, *length, *attributes)?;
            }
            Change::ChunkAllocated { file, index, handle, members } => {
                let put =
                    |file: &mut FileNode| (file.replication, file.chunks.put(*index, *handle));
                let (goal, barren) = self.edit(*file, put)?;
                if let Some(barren) = barren {
                    self.free_unborn(barren)?;
                }
                self.chunks.allocate(*handle, goal, members)?;
            }
            Change::ChunkBorn { handle } => self.chunks.born(*handle)?,
            Change::RaiseStarted { handle, number } => self.chunks.start(*handle, *number)?,
            Change::Raised { handle, version, members } => {
                self.chunks.raise(*handle, *version, *members)?;
            }
            Change::Purged { entries } => {
                entries.iter().try_for_each(|entry| self.purge(*entry))?;
            }
        }
        Ok(Outcome::Done)
    }

    fn create(
        &mut self,
        file: FileId,
        parent: FileId,
        name: &str,
        replication: u8,
        attributes: Attributes,
    ) -> Applied<()> {
        if replication == 0 || replication > REPLICATION_MAX {
            return Err(format!("{replication} replicas of a chunk cannot be"));
        }
        self.check_open(parent)?;
        let body = FileNode { attributes, replication, ..FileNode::default() };
        self.tree.insert(file, parent, name, NewNode::File(body))
    }

    fn make_directories(&mut self, parent: FileId, made: &[(FileId, String)]) -> Applied<()> {
        self.check_open(parent)?;
        let mut parent = parent;
        for (id, name) in made {
            self.tree.insert(*id, parent, name, NewNode::Directory)?;
            parent = *id;
        }
        Ok(())
    }

    /// The directories every cluster has, and what lies in the trash, do not move.
    fn check_free(&self, entry: FileId) -> Applied<()> {
        if entry.0 <= TRASH_ID.0 || self.tree.is_within(entry, TRASH_ID) {
            return Err(format!("{entry} may not be moved"));
        }
        Ok(())
    }

    /// Nothing is put into the trash but what is deleted.
    fn check_open(&self, parent: FileId) -> Applied<()> {
        if self.tree.is_within(parent, TRASH_ID) {
            return Err(format!("{parent} lies in the trash"));
        }
        Ok(())
    }

    fn hide(
        &mut self,
        position: LogPosition,
        deleted: WallTime,
        entry: FileId,
        path: &str,
        purge: bool,
    ) -> Applied<()> {
        self.check_free(entry)?;
        self.tree.relocate(entry, TRASH_ID, &hidden_name(deleted, entry))?;
        self.trash.put(position, Trashed { id: entry, path: path.into(), deleted, purge });
        Ok(())
    }

    fn set_length(
        &mut self,
        file: FileId,
        length: u64,
        attributes: Option<Attributes>,
    ) -> Applied<()> {
        self.edit(file, |file| {
            file.length = file.length.max(length);
            file.attributes = attributes.unwrap_or(file.attributes);
        })
    }

    fn free_unborn(&mut self, handle: gfs_types::ids::ChunkHandle) -> Applied<()> {
        if self.chunks.unborn(handle).is_none() {
            return Err(format!("chunk {handle} was born and cannot be replaced"));
        }
        self.chunks.release(handle)
    }

    fn purge(&mut self, entry: FileId) -> Applied<()> {
        let hidden = self.tree.upwards(entry).skip(1).any(|above| above == TRASH_ID);
        if !hidden {
            return Err(format!("{entry} is not in the trash"));
        }
        self.trash.take(entry);
        let held = self.tree.remove(entry)?;
        held.into_iter().try_for_each(|handle| self.chunks.release(handle))
    }

    fn edit<T>(&mut self, id: FileId, change: impl FnOnce(&mut FileNode) -> T) -> Applied<T> {
        self.tree.edit(id, change).ok_or_else(|| format!("{id} is not a file"))
    }

    fn facts(&self, id: FileId) -> Applied<EntryFacts> {
        let node = self.tree.get(id).ok_or_else(|| format!("{id} is not there"))?;
        Ok(facts(id, node))
    }
}

/// What stands in the log of a file or directory.
pub(crate) fn facts(id: FileId, node: Node<'_>) -> EntryFacts {
    let kind = node.kind();
    match node.file() {
        Some(file) => EntryFacts {
            id,
            kind,
            length: file.length,
            chunks: file.chunks.last().map_or(0, |(index, _)| index.0 + 1),
            replication: file.replication,
            attributes: file.attributes,
        },
        None => EntryFacts {
            id,
            kind,
            length: 0,
            chunks: 0,
            replication: 0,
            attributes: Attributes::default(),
        },
    }
}

/// The name in the trash: the time, and the id, which makes it the only one.
fn hidden_name(deleted: WallTime, entry: FileId) -> String {
    format!("{}.{entry}", deleted.ms)
}
