//! Finding things in the tree: by path, by name, upwards.

use gfs_types::ids::{FileId, ROOT};
use gfs_types::limits::PATH_DEPTH_MAX;
use gfs_types::path::GfsPath;

use super::block::Entries;
use super::directory::Directory;
use super::node::Node;
use super::tree::Tree;

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

/// Goes through the names of a directory in byte order.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    tree: &'a Tree,
    directory: Option<&'a Directory>,
    leaf: usize,
    entries: Entries<'a>,
    name: Vec<u8>,
    /// Only names behind this one.
    after: Vec<u8>,
}

impl Tree {
    /// Follows a path from the root.
    pub(crate) fn resolve(&self, path: &GfsPath) -> Resolved {
        let mut here = ROOT;
        for (names, name) in path.names().enumerate() {
            let Some(directory) = self.get(here).and_then(Node::directory) else {
                return Resolved::ThroughFile { names };
            };
            match self.look_up(directory, name) {
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

    /// What has this name in a directory.
    pub(crate) fn look_up(&self, directory: &Directory, name: &str) -> Option<FileId> {
        let found = directory.find(&self.blocks, name.as_bytes())?;
        self.id_of(found.entry.ok()?)
    }

    /// The entries of a directory in byte order of their names, after one of them.
    pub(crate) fn children(
        &self,
        directory: FileId,
        after: Option<&str>,
    ) -> impl Iterator<Item = (String, FileId)> + '_ {
        let mut names = self.names(directory, after);
        std::iter::from_fn(move || names.advance().map(|(name, id)| (name.to_owned(), id)))
    }

    /// The same, without a text of its own for each name.
    pub(crate) fn names(&self, directory: FileId, after: Option<&str>) -> Names<'_> {
        let directory = self.get(directory).and_then(Node::directory);
        let after = after.unwrap_or_default();
        let found = directory.and_then(|found| found.find(&self.blocks, after.as_bytes()));
        Names {
            tree: self,
            directory,
            leaf: found.map_or(0, |found| found.leaf),
            entries: Entries::default(),
            name: Vec::new(),
            after: after.into(),
        }
    }

    pub(super) fn names_at(&self, place: u32) -> Names<'_> {
        self.names(self.id_of(place).unwrap_or(ROOT), None)
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
            next = self.parent_of(Self::place_of(here)).and_then(|parent| self.id_of(parent));
            Some(here)
        })
    }

    /// The name something has in its directory; `None` for the root.
    pub(crate) fn name_of(&self, id: FileId) -> Option<String> {
        let mut name = Vec::new();
        self.get(id)?;
        let there = self.read_name(Self::place_of(id), &mut name);
        there.then(|| text(&name).to_owned())
    }

    pub(super) fn read_name(&self, place: u32, name: &mut Vec<u8>) -> bool {
        let block = self.packed(place).and_then(|packed| self.blocks.get(packed.block));
        block.is_some_and(|block| block.name_of(place, name))
    }

    /// The path something has now; in the trash the hidden one.
    pub(crate) fn path_of(&self, id: FileId) -> String {
        let names: Vec<_> = self.upwards(id).filter_map(|id| self.name_of(id)).collect();
        let mut path = String::new();
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }
}

impl Names<'_> {
    /// The next name, and what has it.
    pub(crate) fn advance(&mut self) -> Option<(&str, FileId)> {
        let place = self.advance_place()?;
        Some((text(&self.name), self.tree.id_of(place)?))
    }

    /// What has the next name.
    pub(crate) fn advance_id(&mut self) -> Option<FileId> {
        let place = self.advance_place()?;
        self.tree.id_of(place)
    }

    /// As [`Self::advance`], in bytes and with the place.
    pub(crate) fn advance_bytes(&mut self) -> Option<(&[u8], u32)> {
        let place = self.advance_place()?;
        Some((&self.name, place))
    }

    fn advance_place(&mut self) -> Option<u32> {
        loop {
            if let Some(entry) = self.entries.next() {
                entry.read(&mut self.name);
                if self.after.is_empty() || self.name > self.after {
                    self.after.clear();
                    return Some(entry.place);
                }
                continue;
            }
            let block = self.directory?.block(self.leaf)?;
            self.entries = self.tree.blocks.get(block)?.entries();
            self.leaf += 1;
        }
    }
}

/// Names are checked when they enter the tree.
fn text(name: &[u8]) -> &str {
    std::str::from_utf8(name).expect("a name in the tree is UTF-8")
}
