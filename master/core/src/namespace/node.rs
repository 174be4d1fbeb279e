//! What stands in one place of the tree, as others see it.

use gfs_types::ids::ChunkHandle;
use gfs_types::message::client::{Attributes, EntryKind};
use gfs_types::region::ChunkIndex;

use super::directory::Directory;

/// A file or directory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Node<'a> {
    File(File<'a>),
    Directory(&'a Directory),
}

/// A file, read from its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    /// As logged, in bytes; reports of replicas may know more.
    pub(crate) length: u64,
    pub(crate) attributes: Attributes,
    /// Replicas wanted of each chunk.
    pub(crate) replication: u8,
    pub(crate) chunks: Chunks<'a>,
}

/// The chunks of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chunks<'a> {
    /// None, or one that is the first.
    First(Option<ChunkHandle>),
    List(&'a ChunkList),
}

/// A file by itself: on its way into the tree or out of it, or one that does not fit into its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileNode {
    pub(crate) length: u64,
    pub(crate) attributes: Attributes,
    pub(crate) replication: u8,
    pub(crate) chunks: ChunkList,
}

/// The chunks of a file in the order of their index; holes take no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ChunkList {
    list: Vec<(u32, ChunkHandle)>,
}

impl<'a> Node<'a> {
    pub(crate) fn kind(self) -> EntryKind {
        match self {
            Self::File(_) => EntryKind::File,
            Self::Directory(_) => EntryKind::Directory,
        }
    }

    pub(crate) fn file(self) -> Option<File<'a>> {
        match self {
            Self::File(file) => Some(file),
            Self::Directory(_) => None,
        }
    }

    pub(crate) fn directory(self) -> Option<&'a Directory> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::File(_) => None,
        }
    }
}

impl FileNode {
    pub(super) fn view(&self) -> File<'_> {
        File {
            length: self.length,
            attributes: self.attributes,
            replication: self.replication,
            chunks: Chunks::List(&self.chunks),
        }
    }
}

impl<'a> Chunks<'a> {
    /// The only chunk, if it is the first, or that there is none.
    pub(crate) fn only_at_0(self) -> Option<Option<ChunkHandle>> {
        match self {
            Self::First(handle) => Some(handle),
            Self::List(list) => list.only_at_0(),
        }
    }

    /// As a list in pieces, where the chunk is not the only one and the first.
    pub(crate) fn pieces(self, of: usize) -> impl Iterator<Item = &'a [(u32, ChunkHandle)]> {
        let list = match self {
            Self::List(list) if list.only_at_0().is_none() => &list.list[..],
            _ => &[],
        };
        list.chunks(of)
    }

    pub(crate) fn get(self, index: ChunkIndex) -> Option<ChunkHandle> {
        match self {
            Self::First(handle) => handle.filter(|_| index.0 == 0),
            Self::List(list) => list.get(index),
        }
    }

    pub(crate) fn last(self) -> Option<(ChunkIndex, ChunkHandle)> {
        match self {
            Self::First(handle) => handle.map(|handle| (ChunkIndex(0), handle)),
            Self::List(list) => list.last(),
        }
    }

    /// From `first` on.
    pub(crate) fn from(
        self,
        first: ChunkIndex,
    ) -> impl DoubleEndedIterator<Item = (ChunkIndex, ChunkHandle)> + 'a {
        let (one, list) = match self {
            Self::First(handle) => (handle.filter(|_| first.0 == 0), &[][..]),
            Self::List(list) => (None, list.from(first)),
        };
        let one = one.map(|handle| (ChunkIndex(0), handle)).into_iter();
        one.chain(list.iter().map(|(index, handle)| (ChunkIndex(u64::from(*index)), *handle)))
    }

    pub(crate) fn handles(self) -> impl Iterator<Item = ChunkHandle> + 'a {
        self.from(ChunkIndex(0)).map(|(_, handle)| handle)
    }
}

impl ChunkList {
    pub(super) fn only(handle: Option<ChunkHandle>) -> Self {
        Self { list: handle.map(|handle| (0, handle)).into_iter().collect() }
    }

    /// The only chunk, if it is the first, or that there is none.
    pub(super) fn only_at_0(&self) -> Option<Option<ChunkHandle>> {
        match &self.list[..] {
            [] => Some(None),
            [(0, handle)] => Some(Some(*handle)),
            _ => None,
        }
    }

    fn get(&self, index: ChunkIndex) -> Option<ChunkHandle> {
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

    fn from(&self, first: ChunkIndex) -> &[(u32, ChunkHandle)] {
        let at = self.place(first).unwrap_or_else(|at| at);
        &self.list[at..]
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
