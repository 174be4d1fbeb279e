//! The table of nodes and its changes. Flat: nothing recurses, however deep the tree is.

use std::collections::BTreeSet;
use std::sync::Arc;

use gfs_types::ids::{FileId, ROOT};
use gfs_types::path::check_name;

use super::extent::Extent;
use super::node::{Directory, Node, NodeBody};

/// `/.gfs`.
pub(crate) const SYSTEM_ID: FileId = FileId(2);
/// `/.gfs/tmp`.
pub(crate) const UPLOAD_ID: FileId = FileId(3);
/// `/.gfs/trash`.
pub(crate) const TRASH_ID: FileId = FileId(4);

/// Every file and directory, by its place. An id is its place and, above that, the place's generation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    slots: Vec<Slot>,
    free: BTreeSet<u32>,
    files: u64,
    directories: u64,
}

/// One place of the table.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// Free; the next one here gets this generation.
    Free(u32),
    /// Free for ever: its generations ran out. Also place 0, so that no id is 0.
    Retired,
    Used(Node),
}

/// A change that the tree cannot take.
pub(crate) type Misfit = String;

impl Tree {
    /// `/`, `/.gfs`, `/.gfs/tmp`, `/.gfs/trash`.
    pub(crate) fn formatted() -> Self {
        let root = Node {
            generation: 0,
            parent: 1,
            name: Arc::from(""),
            body: NodeBody::Directory(Box::default()),
        };
        let mut tree = Self::from_slots(vec![Slot::Retired, Slot::Used(root)]);
        for (id, parent, name) in [
            (SYSTEM_ID, ROOT, ".gfs"),
            (UPLOAD_ID, SYSTEM_ID, "tmp"),
            (TRASH_ID, SYSTEM_ID, "trash"),
        ] {
            tree.insert(id, parent, name, NodeBody::Directory(Box::default()))
                .expect("the first directories fit into an empty tree");
        }
        tree
    }

    /// From a table as an image has it; children are not linked yet.
    pub(super) fn from_slots(slots: Vec<Slot>) -> Self {
        let mut tree = Self { slots, ..Self::default() };
        for (place, slot) in (0_u32..).zip(&tree.slots) {
            match slot {
                Slot::Free(_) => {
                    tree.free.insert(place);
                }
                Slot::Retired => {}
                Slot::Used(node) => match node.body {
                    NodeBody::File(_) => tree.files += 1,
                    NodeBody::Directory(_) => tree.directories += 1,
                },
            }
        }
        tree
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(crate) fn files(&self) -> u64 {
        self.files
    }

    pub(crate) fn directories(&self) -> u64 {
        self.directories
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low half of an id is its place")]
    pub(super) fn place_of(id: FileId) -> u32 {
        id.0 as u32
    }

    pub(super) fn id_at(place: u32, generation: u32) -> FileId {
        FileId(u64::from(generation) << 32 | u64::from(place))
    }

    pub(super) fn at(&self, place: u32) -> Option<&Node> {
        match self.slots.get(place as usize) {
            Some(Slot::Used(node)) => Some(node),
            _ => None,
        }
    }

    pub(super) fn at_mut(&mut self, place: u32) -> Option<&mut Node> {
        match self.slots.get_mut(place as usize) {
            Some(Slot::Used(node)) => Some(node),
            _ => None,
        }
    }

    pub(super) fn id_of(&self, place: u32) -> Option<FileId> {
        self.at(place).map(|node| Self::id_at(place, node.generation))
    }

    /// What has this id now.
    pub(crate) fn get(&self, id: FileId) -> Option<&Node> {
        self.at(Self::place_of(id)).filter(|node| u64::from(node.generation) == id.0 >> 32)
    }

    pub(crate) fn get_mut(&mut self, id: FileId) -> Option<&mut Node> {
        self.at_mut(Self::place_of(id)).filter(|node| u64::from(node.generation) == id.0 >> 32)
    }

    /// The ids that the next `count` new nodes get; `None` when 2^32 places are in use.
    pub(crate) fn next_ids(&self, count: usize) -> Option<Vec<FileId>> {
        let freed = self.free.iter().map(|place| match self.slots[*place as usize] {
            Slot::Free(generation) => Self::id_at(*place, generation),
            _ => unreachable!("only free places are in the list of free places"),
        });
        let end = u32::try_from(self.slots.len()).ok()?;
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
        body: NodeBody,
    ) -> Result<(), Misfit> {
        self.check_place(parent, name)?;
        let place = Self::place_of(id);
        let generation = (id.0 >> 32) as u32;
        match self.slots.get(place as usize) {
            Some(Slot::Free(next)) if *next == generation => {}
            None if place as usize == self.slots.len() && generation == 0 && place != u32::MAX => {
                self.slots.push(Slot::Free(0));
            }
            _ => return Err(format!("id {id} is not free")),
        }
        self.free.remove(&place);
        match body {
            NodeBody::File(_) => self.files += 1,
            NodeBody::Directory(_) => self.directories += 1,
        }
        let node = Node { generation, parent: place, name: Arc::from(name), body };
        self.slots[place as usize] = Slot::Used(node);
        self.link(place, Self::place_of(parent));
        Ok(())
    }

    /// Gives a node another directory and name, which must be free.
    pub(crate) fn relocate(
        &mut self,
        id: FileId,
        parent: FileId,
        name: &str,
    ) -> Result<(), Misfit> {
        let Some(node) = self.get(id) else { return Err(format!("{id} is not there")) };
        if node.parent == Self::place_of(id) {
            return Err("the root cannot move".to_owned());
        }
        self.check_place(parent, name)?;
        if self.is_within(parent, id) {
            return Err(format!("directory {id} would come to stand in itself"));
        }
        let place = Self::place_of(id);
        self.unlink(place);
        let node = self.at_mut(place).expect("it was there a moment ago");
        node.name = Arc::from(name);
        self.link(place, Self::place_of(parent));
        Ok(())
    }

    /// Takes a file or empty directory out for good.
    pub(crate) fn remove(&mut self, id: FileId) -> Result<NodeBody, Misfit> {
        let Some(node) = self.get(id) else { return Err(format!("{id} is not there")) };
        if node.directory().is_some_and(|directory| !directory.children.is_empty()) {
            return Err(format!("directory {id} is not empty"));
        }
        let (place, next) = (Self::place_of(id), node.generation.checked_add(1));
        if node.parent == place {
            return Err("the root cannot go".to_owned());
        }
        self.unlink(place);
        let empty = next.map_or(Slot::Retired, Slot::Free);
        if next.is_some() {
            self.free.insert(place);
        }
        match std::mem::replace(&mut self.slots[place as usize], empty) {
            Slot::Used(node) => {
                match node.body {
                    NodeBody::File(_) => self.files -= 1,
                    NodeBody::Directory(_) => self.directories -= 1,
                }
                Ok(node.body)
            }
            _ => unreachable!("it was in use a moment ago"),
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
        if directory.children.contains_key(name) {
            return Err(format!("`{name}` is taken in {parent}"));
        }
        Ok(())
    }

    /// Enters the node at `place` into the list of the directory at `parent`, which is one and has no such name.
    pub(super) fn link(&mut self, place: u32, parent: u32) {
        let node = self.at_mut(place).expect("a node is linked when it is in its place");
        node.parent = parent;
        let name = Arc::clone(&node.name);
        let below = node.directory().map_or(Extent::default(), |directory| directory.extent);
        let bytes = name.len();
        self.children_mut(parent).insert(name, place);
        self.extend_above(parent, bytes, below);
    }

    fn unlink(&mut self, place: u32) {
        let node = self.at(place).expect("a node is unlinked while it is in its place");
        let (parent, name) = (node.parent, Arc::clone(&node.name));
        self.children_mut(parent).remove(&name);
    }

    fn children_mut(&mut self, place: u32) -> &mut std::collections::BTreeMap<Arc<str>, u32> {
        match self.at_mut(place).map(|node| &mut node.body) {
            Some(NodeBody::Directory(directory)) => {
                let directory: &mut Directory = directory;
                &mut directory.children
            }
            _ => unreachable!("every node's parent is a directory"),
        }
    }
}
