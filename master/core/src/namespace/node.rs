//! What stands in one place of the tree.

use std::collections::BTreeMap;
use std::sync::Arc;

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::{Attributes, EntryKind};
use gfs_types::region::ChunkIndex;

use super::extent::Extent;

/// A file or directory. Its number is its place in the table of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// How often its place was used before; together they are the id, so that none is given twice.
    pub(crate) generation: u32,
    /// The place of its directory; the root's is its own.
    pub(crate) parent: u32,
    /// Its name there, shared with the directory's list; empty for the root.
    pub(crate) name: Arc<str>,
    pub(crate) body: NodeBody,
}

#[derive(Debug, Clone)]
pub(crate) enum NodeBody {
    File(FileNode),
    Directory(Box<Directory>),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct FileNode {
    /// As logged, in bytes; reports of replicas may know more.
    pub(crate) length: u64,
    pub(crate) attributes: Attributes,
    /// Replicas wanted of each chunk.
    pub(crate) replication: u8,
    pub(crate) chunks: ChunkList,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) children: BTreeMap<Arc<str>, u32>,
    /// How far the tree ever reached below; never less than it does.
    pub(crate) extent: Extent,
}

/// The chunks of a file in the order of their index; holes take no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChunkList {
    list: Vec<(u32, ChunkHandle)>,
}

impl Node {
    pub(crate) fn kind(&self) -> EntryKind {
        match self.body {
            NodeBody::File(_) => EntryKind::File,
            NodeBody::Directory(_) => EntryKind::Directory,
        }
    }

    pub(crate) fn file(&self) -> Option<&FileNode> {
        match &self.body {
            NodeBody::File(file) => Some(file),
            NodeBody::Directory(_) => None,
        }
    }

    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            NodeBody::Directory(directory) => Some(directory),
            NodeBody::File(_) => None,
        }
    }
}

impl ChunkList {
    pub(crate) fn get(&self, index: ChunkIndex) -> Option<ChunkHandle> {
        let at = self.place(index).ok()?;
        Some(self.list[at].1)
    }

    /// Puts a chunk; gives back the one that was there.
    pub(crate) fn put(&mut self, index: ChunkIndex, handle: ChunkHandle) -> Option<ChunkHandle> {
        match self.place(index) {
            Ok(at) => Some(std::mem::replace(&mut self.list[at].1, handle)),
            Err(at) => {
                let index = u32::try_from(index.0).expect("a chunk index is below FILE_CHUNKS_MAX");
                self.list.insert(at, (index, handle));
                None
            }
        }
    }

    pub(crate) fn last(&self) -> Option<(ChunkIndex, ChunkHandle)> {
        self.list.last().map(|(index, handle)| (ChunkIndex(u64::from(*index)), *handle))
    }

    /// From `first` on.
    pub(crate) fn from(
        &self,
        first: ChunkIndex,
    ) -> impl DoubleEndedIterator<Item = (ChunkIndex, ChunkHandle)> + '_ {
        let at = self.place(first).unwrap_or_else(|at| at);
        self.list[at..].iter().map(|(index, handle)| (ChunkIndex(u64::from(*index)), *handle))
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = ChunkHandle> + '_ {
        self.list.iter().map(|(_, handle)| *handle)
    }

    pub(crate) fn pieces(&self, of: usize) -> impl Iterator<Item = &[(u32, ChunkHandle)]> {
        self.list.chunks(of)
    }

    fn place(&self, index: ChunkIndex) -> Result<usize, usize> {
        // Most look-ups are of the last chunk, and most insertions behind it.
        match self.list.last() {
            Some((last, _)) if u64::from(*last) == index.0 => return Ok(self.list.len() - 1),
            Some((last, _)) if u64::from(*last) < index.0 => return Err(self.list.len()),
            _ => {}
        }
        self.list.binary_search_by_key(&index.0, |(at, _)| u64::from(*at))
    }
}
