//! The table of nodes and its changes. Flat: nothing recurses, however deep the tree is.

use std::collections::{BTreeMap, BTreeSet};

use gfs_types::ids::{ChunkHandle, FileId, ROOT};
use gfs_types::path::check_name;

use super::directory::{Blocks, Directory};
use super::extent::Extent;
use super::node::{Chunks, File, FileNode, Node};
use super::packed::{GENERATION_BESIDE, NO_BLOCK, Packed, Use};
use super::pages::{Pages, Slab};

/// `/.gfs`.
pub(crate) const SYSTEM_ID: FileId = FileId(2);
/// `/.gfs/tmp`.
pub(crate) const UPLOAD_ID: FileId = FileId(3);
/// `/.gfs/trash`.
pub(crate) const TRASH_ID: FileId = FileId(4);

/// Every file and directory, by its place. An id is its place and, above that, the place's generation: how often it was
/// used before, so that no id is given twice.
///
/// A name stands only in its directory's blocks ([`super::block`]); a node knows its block, and the block its directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(super) nodes: Pages<Packed>,
    pub(super) directories: Slab<Directory>,
    pub(super) blocks: Blocks,
    /// Files that do not fit into their place: several chunks, most of them.
    pub(super) wide: BTreeMap<u32, Box<FileNode>>,
    /// Generations that do not fit into their place.
    pub(super) generations: BTreeMap<u32, u32>,
    pub(super) free: BTreeSet<u32>,
    pub(super) file_count: u64,
    pub(super) directory_count: u64,
}

/// A node to be put into the tree.
#[derive(Debug)]
pub(crate) enum NewNode {
    File(FileNode),
    Directory,
}

/// A change that the tree cannot take.
pub(crate) type Misfit = String;

impl Tree {
    /// `/`, `/.gfs`, `/.gfs/tmp`, `/.gfs/trash`.
    pub(crate) fn formatted() -> Self {
        let mut tree = Self::default();
        tree.nodes.push(Packed::new(Use::Retired, 0));
        tree.nodes.push(Packed::new(Use::Free, 0));
        tree.occupy(Self::place_of(ROOT), 0, NewNode::Directory);
        for (id, parent, name) in [
            (SYSTEM_ID, ROOT, ".gfs"),
            (UPLOAD_ID, SYSTEM_ID, "tmp"),
            (TRASH_ID, SYSTEM_ID, "trash"),
        ] {
            tree.insert(id, parent, name, NewNode::Directory)
                .expect("the first directories fit into an empty tree");
        }
        tree
    }

    pub(crate) fn files(&self) -> u64 {
        self.file_count
    }

    pub(crate) fn directories(&self) -> u64 {
        self.directory_count
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low half of an id is its place")]
    pub(super) fn place_of(id: FileId) -> u32 {
        id.0 as u32
    }

    pub(super) fn id_at(place: u32, generation: u32) -> FileId {
        FileId(u64::from(generation) << 32 | u64::from(place))
    }

    pub(super) fn packed(&self, place: u32) -> Option<Packed> {
        self.nodes.get(place).copied()
    }

    /// What is at a place, if it is in use.
    pub(super) fn at(&self, place: u32) -> Option<Node<'_>> {
        let packed = self.packed(place)?;
        match packed.r#use() {
            Use::File => Some(Node::File(File {
                length: packed.length(),
                attributes: packed.attributes(),
                replication: packed.replication(),
                chunks: Chunks::First(packed.chunk()),
            })),
            Use::WideFile => self.wide.get(&place).map(|file| Node::File(file.view())),
            Use::Directory(slot) => self.directories.get(slot).map(Node::Directory),
            Use::Free | Use::Retired => None,
        }
    }

    /// Of the node at a place, or of the next one there.
    pub(super) fn generation(&self, place: u32, packed: Packed) -> u32 {
        match packed.generation() {
            GENERATION_BESIDE => self.generations.get(&place).copied().unwrap_or(GENERATION_BESIDE),
            generation => generation,
        }
    }

    pub(super) fn id_of(&self, place: u32) -> Option<FileId> {
        let packed = self.packed(place)?;
        let used = !matches!(packed.r#use(), Use::Free | Use::Retired);
        used.then(|| Self::id_at(place, self.generation(place, packed)))
    }

    /// What has this id now.
    pub(crate) fn get(&self, id: FileId) -> Option<Node<'_>> {
        let place = Self::place_of(id);
        if self.id_of(place) != Some(id) {
            return None;
        }
        self.at(place)
    }

    /// The place of its directory; `None` for the root.
    pub(super) fn parent_of(&self, place: u32) -> Option<u32> {
        let block = self.packed(place)?.block;
        self.blocks.get(block).map(|block| block.directory)
    }

    pub(super) fn directory_places(&self) -> impl Iterator<Item = u32> + '_ {
        let all = (0..).zip(self.nodes.iter());
        all.filter(|(_, node)| matches!(node.r#use(), Use::Directory(_))).map(|(place, _)| place)
    }

    /// The ids that the next `count` new nodes get; `None` when 2^32 places are in use.
    pub(crate) fn next_ids(&self, count: usize) -> Option<Vec<FileId>> {
        let freed = self.free.iter().map(|place| {
            let packed = self.packed(*place).expect("what is free is a place of the table");
            Self::id_at(*place, self.generation(*place, packed))
        });
        let end = u32::try_from(self.nodes.len()).ok()?;
        let fresh = (end..u32::MAX).map(|place| Self::id_at(place, 0));
        let ids: Vec<_> = freed.chain(fresh).take(count).collect();
        (ids.len() == count).then_some(ids)
    }

    /// Puts a new node. Its id must be free, and the next to be given if it is past the table's end.
    pub(crate) fn insert(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
        node: NewNode,
    ) -> Result<(), Misfit> {
        self.check_place(parent, name)?;
        let place = Self::place_of(id);
        let generation = (id.0 >> 32) as u32;
        match self.packed(place) {
            Some(free) if free.r#use() == Use::Free => {
                if self.generation(place, free) != generation {
                    return Err(format!("id {id} is not free"));
                }
                self.free.remove(&place);
            }
            None if place as usize == self.nodes.len() && generation == 0 && place != u32::MAX => {
                self.nodes.push(Packed::new(Use::Free, 0));
            }
            _ => return Err(format!("id {id} is not free")),
        }
        self.occupy(place, generation, node);
        self.link(place, Self::place_of(parent), name);
        Ok(())
    }

    /// Gives a node another directory and name, which must be free.
    pub(crate) fn relocate(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
    ) -> Result<(), Misfit> {
        if self.get(id).is_none() {
            return Err(format!("{id} is not there"));
        }
        if id == ROOT {
            return Err("the root cannot move".to_owned());
        }
        self.check_place(parent, name)?;
        if self.is_within(parent, id) {
            return Err(format!("directory {id} would come to stand in itself"));
        }
        let place = Self::place_of(id);
        self.unlink(place);
        self.link(place, Self::place_of(parent), name);
        Ok(())
    }

    /// Takes a file or empty directory out for good; gives the chunks that it held.
    pub(crate) fn remove(&mut self, id: FileId) -> Result<Vec<ChunkHandle>, Misfit> {
        let Some(node) = self.get(id) else { return Err(format!("{id} is not there")) };
        if node.directory().is_some_and(|directory| !directory.is_empty()) {
            return Err(format!("directory {id} is not empty"));
        }
        if id == ROOT {
            return Err("the root cannot go".to_owned());
        }
        let held = node.file().map(|file| file.chunks.handles().collect()).unwrap_or_default();
        let place = Self::place_of(id);
        self.unlink(place);
        self.vacate(place, (id.0 >> 32) as u32);
        Ok(held)
    }

    /// Changes what a file is.
    pub(crate) fn edit<T>(
        &mut self,
        id: FileId,
        change: impl FnOnce(&mut FileNode) -> T,
    ) -> Option<T> {
        self.get(id)?.file()?;
        let place = Self::place_of(id);
        let mut file = match self.wide.remove(&place) {
            Some(wide) => wide,
            None => Box::new(self.packed(place)?.to_file()),
        };
        let done = change(&mut file);
        self.keep(place, file);
        Some(done)
    }

    /// Puts a file where it fits.
    pub(super) fn keep(&mut self, place: u32, file: Box<FileNode>) {
        let packed = self.nodes.get_mut(place).expect("a file has a place");
        let mut new = Packed::new(Use::File, packed.generation());
        new.block = packed.block;
        if file.chunks.only_at_0().is_some_and(|chunk| new.set_file(&file, chunk)) {
            *packed = new;
            return;
        }
        *packed = Packed::new(Use::WideFile, packed.generation());
        packed.block = new.block;
        self.wide.insert(place, file);
    }

    /// A node at a place that has none, in no directory yet.
    pub(super) fn occupy(&mut self, place: u32, generation: u32, node: NewNode) {
        let new = match &node {
            NewNode::File(_) => Packed::new(Use::File, generation),
            NewNode::Directory => {
                Packed::new(Use::Directory(self.directories.add(Directory::default())), generation)
            }
        };
        *self.nodes.get_mut(place).expect("a node has a place") = new;
        self.remember(place, generation);
        match node {
            NewNode::File(file) => {
                self.file_count += 1;
                self.keep(place, Box::new(file));
            }
            NewNode::Directory => self.directory_count += 1,
        }
    }

    fn vacate(&mut self, place: u32, generation: u32) {
        match self.packed(place).map(Packed::r#use) {
            Some(Use::Directory(slot)) => {
                self.directories.take(slot);
                self.directory_count -= 1;
            }
            _ => {
                self.wide.remove(&place);
                self.file_count -= 1;
            }
        }
        let next = generation.checked_add(1);
        let left = next.map_or(Packed::new(Use::Retired, 0), |next| Packed::new(Use::Free, next));
        *self.nodes.get_mut(place).expect("it was in use") = left;
        self.generations.remove(&place);
        if let Some(next) = next {
            self.remember(place, next);
            self.free.insert(place);
        }
    }

    pub(super) fn remember(&mut self, place: u32, generation: u32) {
        if generation >= GENERATION_BESIDE {
            self.generations.insert(place, generation);
        }
    }

    fn check_place(&self, parent: FileId, name: &str) -> Result<(), Misfit> {
        if name.is_empty() || name.contains('/') {
            return Err(format!("`{name}` is no name"));
        }
        check_name(name).map_err(|error| error.to_string())?;
        let Some(directory) = self.get(parent).and_then(Node::directory) else {
            return Err(format!("{parent} is not a directory"));
        };
        let found = directory.find(&self.blocks, name.as_bytes());
        if found.is_some_and(|found| found.entry.is_ok()) {
            return Err(format!("`{name}` is taken in {parent}"));
        }
        Ok(())
    }

    /// Enters the node at `place` into the directory at `parent`, which is one and has no such name.
    fn link(&mut self, place: u32, parent: u32, name: &str) {
        let below = match self.at(place) {
            Some(Node::Directory(directory)) => directory.extent,
            _ => Extent::default(),
        };
        let (directory, blocks, nodes) = self.parts_of(parent);
        let moved = |place, block| list(nodes, place, block);
        let block = directory.enter(parent, blocks, name.as_bytes(), place, moved);
        list(&mut self.nodes, place, block);
        self.extend_above(parent, name.len(), below);
    }

    fn unlink(&mut self, place: u32) {
        let parent = self.parent_of(place).expect("all but the root stand in a directory");
        let block = self.packed(place).expect("it is there").block;
        let (directory, blocks, nodes) = self.parts_of(parent);
        directory.leave(blocks, block, place, |place, block| list(nodes, place, block));
        list(&mut self.nodes, place, NO_BLOCK);
    }

    pub(super) fn directory_mut(&mut self, place: u32) -> Option<&mut Directory> {
        match self.packed(place)?.r#use() {
            Use::Directory(slot) => self.directories.get_mut(slot),
            _ => None,
        }
    }

    fn parts_of(&mut self, place: u32) -> (&mut Directory, &mut Blocks, &mut Pages<Packed>) {
        let Self { nodes, directories, blocks, .. } = self;
        let packed = nodes.get(place).copied();
        match packed.map(Packed::r#use) {
            Some(Use::Directory(slot)) => {
                let directory = directories.get_mut(slot).expect("each directory has its own");
                (directory, blocks, nodes)
            }
            _ => unreachable!("every node's parent is a directory"),
        }
    }
}

/// Notes which block lists a node.
pub(super) fn list(nodes: &mut Pages<Packed>, place: u32, block: u32) {
    nodes.get_mut(place).expect("what is listed is there").block = block;
}
