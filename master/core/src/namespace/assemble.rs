//! A tree to and from an image: first all places in their order, then the names, directory by directory. Nothing is sorted or
//! searched for; what is told twice, not at all or out of order is refused.

use gfs_types::ids::{ChunkHandle, ROOT};
use gfs_types::region::ChunkIndex;

use super::block::{BLOCK_NAMES_MAX, Block, Coder};
use super::extent::Extent;
use super::node::{ChunkList, FileNode, Node};
use super::packed::{NO_BLOCK, Packed, Use};
use super::tree::{Misfit, NewNode, Tree, list};
use super::walk::DEPTH_MAX;

/// What an image tells of one place.
pub(crate) enum Place<'a> {
    Retired,
    /// With the generation of its next node.
    Free(u32),
    Used(u32, Node<'a>),
}

impl Tree {
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.nodes.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn place(&self, place: u32) -> Place<'_> {
        let Some(packed) = self.packed(place) else { return Place::Retired };
        let generation = self.generation(place, packed);
        match (packed.r#use(), self.at(place)) {
            (Use::Free, _) => Place::Free(generation),
            (_, Some(node)) => Place::Used(generation, node),
            (_, None) => Place::Retired,
        }
    }

    /// The names of all directories in full blocks from the start of each, whatever blocks they are in.
    pub(crate) fn name_blocks(&self) -> impl Iterator<Item = (u32, Coder)> + '_ {
        self.directory_places().flat_map(|place| {
            let mut names = self.names_at(place);
            std::iter::from_fn(move || {
                let mut block = Coder::default();
                while usize::from(block.names) < BLOCK_NAMES_MAX {
                    let Some((name, place)) = names.advance_bytes() else { break };
                    block.push(name, place);
                }
                (block.names > 0).then_some((place, block))
            })
        })
    }
}

/// Takes the parts of an image.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    tree: Tree,
    /// The directory whose names came last, how many its last block had, and the last of them.
    directory: u32,
    block_names: usize,
    last: Vec<u8>,
    longest: usize,
    listed: u64,
}

impl Assembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.tree.nodes.len() == 0
    }

    /// The next place is free; its next node has this generation.
    pub(crate) fn free(&mut self, generation: u32) -> Result<(), Misfit> {
        let place = self.next(Packed::new(Use::Free, generation))?;
        self.tree.remember(place, generation);
        self.tree.free.insert(place);
        Ok(())
    }

    /// The next place is free for ever.
    pub(crate) fn retired(&mut self) -> Result<(), Misfit> {
        self.next(Packed::new(Use::Retired, 0)).map(drop)
    }

    /// The next place is a file, with this chunk at index 0 or none yet.
    pub(crate) fn file(
        &mut self,
        generation: u32,
        mut file: FileNode,
        chunk: Option<ChunkHandle>,
    ) -> Result<(), Misfit> {
        let mut packed = Packed::new(Use::File, generation);
        if packed.set_file(&file, chunk) {
            let place = self.next(packed)?;
            self.tree.remember(place, generation);
            self.tree.file_count += 1;
            return Ok(());
        }
        let place = self.next(packed)?;
        file.chunks = ChunkList::only(chunk);
        self.tree.occupy(place, generation, NewNode::File(file));
        Ok(())
    }

    pub(crate) fn directory(&mut self, generation: u32) -> Result<(), Misfit> {
        let place = self.next(Packed::new(Use::Free, generation))?;
        self.tree.occupy(place, generation, NewNode::Directory);
        Ok(())
    }

    /// More chunks of the file at a place, rising.
    pub(crate) fn chunks(
        &mut self,
        place: u32,
        chunks: impl IntoIterator<Item = Result<(ChunkIndex, ChunkHandle), Misfit>>,
    ) -> Result<(), Misfit> {
        let id = self.tree.id_of(place).ok_or_else(|| format!("place {place} has no file"))?;
        let put = |file: &mut FileNode| {
            for chunk in chunks {
                let (index, handle) = chunk?;
                if file.chunks.last().is_some_and(|(last, _)| last >= index) {
                    return Err(format!("chunk {index} of place {place} is out of order"));
                }
                file.chunks.put(index, handle);
            }
            Ok(())
        };
        self.tree.edit(id, put).ok_or_else(|| format!("place {place} has no file"))?
    }

    /// The next names of the directory at a place: directories rise, and all blocks of one but its last are full.
    pub(crate) fn names(&mut self, place: u32, names: usize, bytes: &[u8]) -> Result<(), Misfit> {
        if place != self.directory {
            if place < self.directory {
                return Err(format!("directory {place} is out of order"));
            }
            self.close_directory();
            self.directory = place;
        } else if self.block_names != BLOCK_NAMES_MAX {
            return Err(format!("a block of directory {place} was not full"));
        }
        if self.tree.directory_mut(place).is_none() {
            return Err(format!("place {place} is no directory"));
        }
        let block = Block::load(place, names, bytes, &mut self.last)?;
        self.block_names = names;
        self.enter(place, block)
    }

    fn enter(&mut self, directory: u32, block: Block) -> Result<(), Misfit> {
        let Tree { nodes, blocks, .. } = &mut self.tree;
        let number = blocks.add(block);
        let block = blocks.get(number).ok_or("a block was lost")?;
        for entry in block.entries() {
            let place = entry.place;
            self.longest = self.longest.max(entry.shared + entry.suffix.len());
            let node = nodes.get(place).filter(|node| node.block == NO_BLOCK);
            match node.map(|node| node.r#use()) {
                Some(Use::File | Use::WideFile | Use::Directory(_)) => list(nodes, place, number),
                _ => return Err(format!("place {place} is free, or has two names")),
            }
        }
        self.listed += block.names() as u64;
        if let Some(directory) = self.tree.directory_mut(directory) {
            directory.push(number);
        }
        Ok(())
    }

    fn close_directory(&mut self) {
        self.last.clear();
        let longest = std::mem::take(&mut self.longest);
        let Some(packed) = self.tree.packed(self.directory) else { return };
        let Tree { directories, blocks, .. } = &mut self.tree;
        let Use::Directory(slot) = packed.r#use() else { return };
        if let Some(directory) = directories.get_mut(slot) {
            directory.set_keys(blocks);
            directory.shrink();
            directory.extent = Extent::default().above(longest);
        }
    }

    /// The tree, if it is one.
    pub(crate) fn finish(mut self) -> Result<Tree, Misfit> {
        self.close_directory();
        let tree = &self.tree;
        check_first(tree)?;
        let nodes = tree.files() + tree.directories();
        if self.listed + 1 != nodes || tree.parent_of(Tree::place_of(ROOT)).is_some() {
            return Err(format!("{} of {nodes} nodes have a name", self.listed));
        }
        check_rooted(tree)?;
        self.measure_all();
        Ok(self.tree)
    }

    /// The next place of the table.
    fn next(&mut self, packed: Packed) -> Result<u32, Misfit> {
        let place = u32::try_from(self.tree.nodes.len()).ok().filter(|place| *place != u32::MAX);
        let place = place.ok_or("there are too many nodes")?;
        self.tree.nodes.push(packed);
        Ok(place)
    }

    /// Lets every directory know how far the tree reaches below it.
    fn measure_all(&mut self) {
        let mut name = Vec::new();
        for place in self.tree.directory_places().collect::<Vec<_>>() {
            let below = self.tree.directory_mut(place).map(|directory| directory.extent);
            let parent = self.tree.parent_of(place);
            if let (Some(below), Some(parent)) = (below, parent) {
                self.tree.read_name(place, &mut name);
                self.tree.extend_above(parent, name.len(), below);
            }
        }
    }
}

/// The directories that every cluster has must be where they belong, and nothing at place 0, which no id names.
fn check_first(tree: &Tree) -> Result<(), Misfit> {
    let mut found = Vec::new();
    let mut fits = |place: u32, parent: Option<u32>, name: &str| {
        let directory = tree.at(place).and_then(Node::directory).is_some();
        let named = tree.read_name(place, &mut found);
        let generation = tree.packed(place).map(|packed| tree.generation(place, packed));
        directory
            && generation == Some(0)
            && tree.parent_of(place) == parent
            && named == parent.is_some()
            && (!named || found == name.as_bytes())
    };
    let nothing = matches!(tree.nodes.get(0).map(|packed| packed.r#use()), Some(Use::Retired));
    let first = nothing
        && fits(1, None, "")
        && fits(2, Some(1), ".gfs")
        && fits(3, Some(2), "tmp")
        && fits(4, Some(2), "trash");
    if first { Ok(()) } else { Err("/, /.gfs or what belongs in it is missing".to_owned()) }
}

/// Every directory must lead up to the root, in a bounded number of steps: in the trash a path can be longer than a user's.
fn check_rooted(tree: &Tree) -> Result<(), Misfit> {
    let mut depths = std::collections::BTreeMap::from([(Tree::place_of(ROOT), 1)]);
    let mut chain = Vec::new();
    for place in tree.directory_places() {
        let lost = || format!("directory {place} does not lead to the root");
        let mut here = place;
        let mut depth = loop {
            if let Some(depth) = depths.get(&here) {
                break *depth;
            }
            chain.push(here);
            if chain.len() > DEPTH_MAX {
                return Err(lost());
            }
            here = tree.parent_of(here).ok_or_else(lost)?;
        };
        while let Some(below) = chain.pop() {
            depth += 1;
            depths.insert(below, depth);
        }
        let depth = depths.get(&place).copied().unwrap_or(usize::MAX);
        let empty = tree.at(place).and_then(Node::directory).is_none_or(|found| found.is_empty());
        if depth + usize::from(!empty) > DEPTH_MAX + 1 {
            return Err(lost());
        }
    }
    Ok(())
}
