//! How far a tree reaches below a directory: bounds where it may be moved to.

use super::{NodeBody, Tree};
use gfs_types::ids::FileId;

/// Below a directory: the most names in a row, and the most bytes of such a row with its slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    pub(crate) names: usize,
    pub(crate) bytes: usize,
}

impl Extent {
    /// Of the directory above, for a child with a name of so many bytes.
    fn above(self, name_bytes: usize) -> Self {
        Self { names: self.names + 1, bytes: self.bytes + 1 + name_bytes }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { names: self.names.max(other.names), bytes: self.bytes.max(other.bytes) }
    }

    pub(crate) fn within(self, limit: Self) -> bool {
        self.names <= limit.names && self.bytes <= limit.bytes
    }
}

impl Tree {
    /// Whether what is below `id` keeps within `limit`. Mostly answered from what each directory remembers of the furthest
    /// it ever reached; only where that is too far is the tree below walked.
    pub(crate) fn reaches_at_most(&self, id: FileId, limit: Extent) -> bool {
        let Some(directory) = self.get(id).and_then(|node| node.directory()) else { return true };
        directory.extent.within(limit) || self.measure(id).within(limit)
    }

    fn measure(&self, id: FileId) -> Extent {
        let mut far = Extent::default();
        let mut open = vec![(Self::place_of(id), Extent::default())];
        while let Some((place, above)) = open.pop() {
            let Some(directory) = self.at(place).and_then(|node| node.directory()) else {
                continue;
            };
            for (name, child) in &directory.children {
                let here = above.above(name.len());
                far = far.max(here);
                open.push((*child, here));
            }
        }
        far
    }

    /// A child was put into the directory at `place`: it and those above reach further now.
    pub(super) fn extend_above(&mut self, place: u32, name_bytes: usize, below: Extent) {
        let mut extent = below.above(name_bytes);
        let mut place = place;
        while let Some(node) = self.at_mut(place) {
            let NodeBody::Directory(directory) = &mut node.body else { return };
            if extent.within(directory.extent) {
                return;
            }
            directory.extent = directory.extent.max(extent);
            if node.parent == place {
                return;
            }
            extent = directory.extent.above(node.name.len());
            place = node.parent;
        }
    }
}
