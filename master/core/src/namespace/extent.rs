//! How far a tree reaches below a directory: bounds where it may be moved to.

use super::node::Node;
use super::tree::Tree;
use gfs_types::ids::FileId;

/// Below a directory: the most names in a row, and the most bytes of such a row with its slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    pub(crate) names: usize,
    pub(crate) bytes: usize,
}

impl Extent {
    /// Of the directory above, for a child with a name of so many bytes.
    pub(super) fn above(self, name_bytes: usize) -> Self {
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
        let Some(directory) = self.get(id).and_then(Node::directory) else { return true };
        directory.extent.within(limit) || self.measure(id).within(limit)
    }

    fn measure(&self, id: FileId) -> Extent {
        let mut far = Extent::default();
        let mut open = vec![(id, Extent::default())];
        while let Some((directory, above)) = open.pop() {
            let mut names = self.names(directory, None);
            while let Some((name, child)) = names.advance() {
                let here = above.above(name.len());
                far = far.max(here);
                if self.get(child).and_then(Node::directory).is_some() {
                    open.push((child, here));
                }
            }
        }
        far
    }

    /// A child was put into the directory at `place`: it and those above reach further now.
    pub(super) fn extend_above(&mut self, place: u32, name_bytes: usize, below: Extent) {
        let mut extent = below.above(name_bytes);
        let mut place = place;
        let mut name = Vec::new();
        while let Some(directory) = self.directory_mut(place) {
            if extent.within(directory.extent) {
                return;
            }
            directory.extent = directory.extent.max(extent);
            let reached = directory.extent;
            let (Some(parent), true) = (self.parent_of(place), self.read_name(place, &mut name))
            else {
                return;
            };
            extent = reached.above(name.len());
            place = parent;
        }
    }
}
