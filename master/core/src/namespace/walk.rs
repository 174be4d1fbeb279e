//! Finding things in the tree: by path, by name, upwards; and putting a table from an image together.

use std::ops::Bound;

use gfs_types::ids::{FileId, ROOT};
use gfs_types::limits::PATH_DEPTH_MAX;
use gfs_types::path::GfsPath;

use super::node::{Node, NodeBody};
use super::tree::{Misfit, Slot, Tree};

/// Nodes from the root down to any: a path, below a hidden name in the trash.
pub(crate) const DEPTH_MAX: usize = PATH_DEPTH_MAX + 2;

/// How far a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// To something.
    Found(FileId),
    /// To a directory that lacks the name after so many names.
    Missing {
        /// The last directory that is there.
        directory: FileId,
        /// How many names led to it.
        names: usize,
    },
    /// To a file, after so many names, where a directory is needed.
    ThroughFile {
        /// How many names led to the file.
        names: usize,
    },
}

impl Tree {
    /// Follows a path from the root.
    pub(crate) fn resolve(&self, path: &GfsPath) -> Resolved {
        let mut here = ROOT;
        for (names, name) in path.names().enumerate() {
            let Some(directory) = self.get(here).and_then(Node::directory) else {
                return Resolved::ThroughFile { names };
            };
            match directory.children.get(name).and_then(|place| self.id_of(*place)) {
                Some(child) => here = child,
                None => return Resolved::Missing { directory: here, names },
            }
        }
        Resolved::Found(here)
    }

    /// What has this path.
    pub(crate) fn find(&self, path: &GfsPath) -> Option<FileId> {
        match self.resolve(path) {
            Resolved::Found(id) => Some(id),
            _ => None,
        }
    }

    /// The entries of a directory in byte order of their names, after one of them.
    pub(crate) fn children(
        &self,
        directory: FileId,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&str, FileId)> + '_ {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.get(directory)
            .and_then(Node::directory)
            .map(|directory| directory.children.range::<str, _>((start, Bound::Unbounded)))
            .into_iter()
            .flatten()
            .filter_map(|(name, place)| Some((&**name, self.id_of(*place)?)))
    }

    /// Whether `id` is `above` or stands somewhere below it.
    pub(crate) fn is_within(&self, id: FileId, above: FileId) -> bool {
        self.upwards(id).any(|at| at == above)
    }

    /// `id`, its directory, that one's directory, up to the root.
    pub(crate) fn upwards(&self, id: FileId) -> impl Iterator<Item = FileId> + '_ {
        let mut next = self.get(id).map(|_| id);
        std::iter::from_fn(move || {
            let here = next?;
            let node = self.get(here)?;
            next = if node.parent == Self::place_of(here) { None } else { self.id_of(node.parent) };
            Some(here)
        })
    }

    /// The path something has now; in the trash the hidden one.
    pub(crate) fn path_of(&self, id: FileId) -> String {
        let names: Vec<&str> = self
            .upwards(id)
            .filter_map(|id| self.get(id))
            .map(|node| &*node.name)
            .filter(|name| !name.is_empty())
            .collect();
        let mut path = String::new();
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }

    /// Puts the table of an image together: every node into the list of its directory.
    pub(crate) fn assemble(slots: Vec<Slot>) -> Result<Self, Misfit> {
        let mut tree = Self::from_slots(slots);
        tree.check_first()?;
        tree.check_rooted()?;
        for place in 0..u32::try_from(tree.slots().len()).unwrap_or(u32::MAX) {
            let Some(node) = tree.at(place) else { continue };
            let (parent, name) = (node.parent, node.name.clone());
            if parent == place {
                continue;
            }
            let Some(directory) = tree.at(parent).and_then(Node::directory) else {
                return Err(format!("the parent of `{name}` is not a directory"));
            };
            let good = !name.is_empty() && !name.contains('/');
            if !good || directory.children.contains_key(&name) {
                return Err(format!("the name `{name}` stands twice in a directory, or is none"));
            }
            tree.link(place, parent);
        }
        Ok(tree)
    }

    /// The directories that every cluster has must be where they belong.
    fn check_first(&self) -> Result<(), Misfit> {
        let fits = |place: u32, parent: u32, name: &str| {
            self.at(place).is_some_and(|node| {
                let directory = matches!(node.body, NodeBody::Directory(_));
                node.parent == parent && &*node.name == name && node.generation == 0 && directory
            })
        };
        let first =
            fits(1, 1, "") && fits(2, 1, ".gfs") && fits(3, 2, "tmp") && fits(4, 2, "trash");
        if first { Ok(()) } else { Err("/, /.gfs or what belongs in it is missing".to_owned()) }
    }

    /// Every node must lead up to the root, in a bounded number of steps: in the trash a path can be longer than a user's.
    fn check_rooted(&self) -> Result<(), Misfit> {
        let mut depths: Vec<u16> = vec![0; self.slots().len()];
        let mut chain = Vec::new();
        for place in 0..u32::try_from(self.slots().len()).unwrap_or(u32::MAX) {
            let mut here = place;
            chain.clear();
            while let Some(node) = self.at(here) {
                if here == 1 || depths[here as usize] > 0 {
                    break;
                }
                chain.push(here);
                if chain.len() > DEPTH_MAX || node.parent == here {
                    return Err(format!("node {place} does not lead to the root"));
                }
                here = node.parent;
            }
            let mut depth = if self.at(here).is_some() { depths[here as usize] } else { u16::MAX };
            while let Some(node) = chain.pop() {
                if usize::from(depth) >= DEPTH_MAX {
                    return Err(format!("node {node} does not lead to the root"));
                }
                depth += 1;
                depths[node as usize] = depth;
            }
        }
        Ok(())
    }
}
