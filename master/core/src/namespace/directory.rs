//! A directory: its blocks of names in order, and enough of each first name to find the right one.

use super::block::{BLOCK_NAMES_MAX, Block, Gap, common};
use super::extent::Extent;
use super::pages::Slab;

/// Neighbours with so few names together become one block.
const JOINED_NAMES: usize = BLOCK_NAMES_MAX / 2;

#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    index: Vec<Leaf>,
    /// What the names have in common, or less; counts from the second block on.
    prefix: Box<[u8]>,
    /// How far the tree ever reached below; never less than it does.
    pub(super) extent: Extent,
}

/// One block, and the bytes of its first name behind what all names have in common: a search touches no block but the last.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    key: [u8; 8],
    block: u32,
}

/// Where a name stands in a directory, or would.
pub(super) struct Found {
    /// The number of its block, from the first.
    pub(super) leaf: usize,
    /// Its block in the table of blocks.
    pub(super) block: u32,
    pub(super) entry: Result<u32, Gap>,
}

/// The blocks of all directories.
pub(super) type Blocks = Slab<Block>;

impl Directory {
    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The block of that number.
    pub(super) fn block(&self, leaf: usize) -> Option<u32> {
        self.index.get(leaf).map(|leaf| leaf.block)
    }

    /// Where a name is; `None` in an empty directory.
    pub(super) fn find(&self, blocks: &Blocks, name: &[u8]) -> Option<Found> {
        let leaf = self.leaf_of(blocks, name);
        let block = self.block(leaf)?;
        Some(Found { leaf, block, entry: at(blocks, block).find(name) })
    }

    /// The last block whose first name is not above this one, or the first block.
    fn leaf_of(&self, blocks: &Blocks, name: &[u8]) -> usize {
        if self.index.len() < 2 {
            return 0;
        }
        let shared = common(&self.prefix, name);
        if shared < self.prefix.len() {
            let above = name.get(shared).is_some_and(|byte| *byte > self.prefix[shared]);
            return if above { self.index.len() - 1 } else { 0 };
        }
        let key = key(&name[shared..]);
        let first = self.index.partition_point(|leaf| leaf.key < key);
        let equal = &self.index[first..];
        let equal = &equal[..equal.partition_point(|leaf| leaf.key == key)];
        let not_above = equal.partition_point(|leaf| at(blocks, leaf.block).first_name() <= name);
        (first + not_above).saturating_sub(1)
    }

    /// Enters a name, which is not there, for the node at `place` into the directory at `own`. Gives the block that lists
    /// it, and calls `moved` for each node that is listed in another block now.
    pub(super) fn enter(
        &mut self,
        own: u32,
        blocks: &mut Blocks,
        name: &[u8],
        place: u32,
        mut moved: impl FnMut(u32, u32),
    ) -> u32 {
        let Some(Found { leaf, block, entry }) = self.find(blocks, name) else {
            let block = blocks.add(Block::of_one(own, name, place));
            self.push(block);
            return block;
        };
        let gap = entry.expect_err("a name is entered where there is none");
        self.shorten_prefix(blocks, name);
        let here = at_mut(blocks, block);
        if here.names() < BLOCK_NAMES_MAX {
            here.insert(gap, name, place);
            if gap.names == 0 {
                self.set_key(blocks, leaf);
            }
            return block;
        }
        // At an end the full block stays full: names that come in their order leave no gaps.
        if gap.names == 0 || gap.names == BLOCK_NAMES_MAX {
            let new = blocks.add(Block::of_one(own, name, place));
            self.add(blocks, leaf + usize::from(gap.names > 0), new);
            return new;
        }
        let right = here.split_off(BLOCK_NAMES_MAX / 2);
        let places: Vec<u32> = right.entries().map(|entry| entry.place).collect();
        let new = blocks.add(right);
        places.into_iter().for_each(|place| moved(place, new));
        self.add(blocks, leaf + 1, new);
        self.enter(own, blocks, name, place, moved)
    }

    /// Takes the node at `place` out of the block that lists it.
    pub(super) fn leave(
        &mut self,
        blocks: &mut Blocks,
        block: u32,
        place: u32,
        moved: impl FnMut(u32, u32),
    ) {
        let leaf = self.leaf_of(blocks, at(blocks, block).first_name());
        debug_assert_eq!(self.block(leaf), Some(block));
        let here = at_mut(blocks, block);
        if here.names() == 1 {
            self.index.remove(leaf);
            blocks.take(block);
            return;
        }
        let before = here.remove(place);
        if before == 0 {
            self.set_key(blocks, leaf);
        }
        self.join_neighbours(blocks, leaf, moved);
    }

    fn join_neighbours(
        &mut self,
        blocks: &mut Blocks,
        leaf: usize,
        mut moved: impl FnMut(u32, u32),
    ) {
        for left in [leaf, leaf.wrapping_sub(1)] {
            let (Some(one), Some(other)) = (self.block(left), self.block(left.wrapping_add(1)))
            else {
                continue;
            };
            if at(blocks, one).names() + at(blocks, other).names() <= JOINED_NAMES {
                let right = blocks.take(other).expect("a directory's blocks are there");
                right.entries().for_each(|entry| moved(entry.place, one));
                at_mut(blocks, one).append(&right);
                self.index.remove(left + 1);
                return;
            }
        }
    }

    /// A block behind all others, as the only one or from an image; [`Self::set_keys`] follows.
    pub(super) fn push(&mut self, block: u32) {
        self.make_room();
        self.index.push(Leaf { key: [0; 8], block });
    }

    fn add(&mut self, blocks: &Blocks, leaf: usize, block: u32) {
        self.make_room();
        self.index.insert(leaf, Leaf { key: [0; 8], block });
        if self.index.len() == 2 { self.set_keys(blocks) } else { self.set_key(blocks, leaf) }
    }

    /// Grows by an eighth: twice the room for one more is too much.
    fn make_room(&mut self) {
        if self.index.len() == self.index.capacity() {
            self.index.reserve_exact(1 + self.index.len() / 8);
        }
    }

    /// What all names have in common, and the key of each block.
    pub(super) fn set_keys(&mut self, blocks: &Blocks) {
        let [first, .., last] = &self.index[..] else { return };
        let (first, last) = (at(blocks, first.block), at(blocks, last.block));
        let shared = common(first.first_name(), &last.last_name());
        self.prefix = first.first_name()[..shared].into();
        self.set_all_keys(blocks);
    }

    pub(super) fn shrink(&mut self) {
        self.index.shrink_to_fit();
    }

    fn shorten_prefix(&mut self, blocks: &Blocks, name: &[u8]) {
        let shared = common(&self.prefix, name);
        if self.index.len() > 1 && shared < self.prefix.len() {
            self.prefix = self.prefix[..shared].into();
            self.set_all_keys(blocks);
        }
    }

    fn set_all_keys(&mut self, blocks: &Blocks) {
        let prefix = self.prefix.len();
        for leaf in &mut self.index {
            leaf.key = key(&at(blocks, leaf.block).first_name()[prefix..]);
        }
    }

    fn set_key(&mut self, blocks: &Blocks, leaf: usize) {
        if self.index.len() > 1 {
            let first = at(blocks, self.index[leaf].block).first_name();
            self.index[leaf].key = key(&first[self.prefix.len()..]);
        }
    }

    /// Whether names are in order over all blocks, and the index says the same.
    #[cfg(test)]
    pub(super) fn check(&self, blocks: &Blocks) {
        let mut last: Option<Vec<u8>> = None;
        for (number, leaf) in self.index.iter().enumerate() {
            let block = at(blocks, leaf.block);
            assert!((1..=BLOCK_NAMES_MAX).contains(&block.names()));
            assert!(last.is_none_or(|last| &*last < block.first_name()));
            assert_eq!(self.leaf_of(blocks, block.first_name()), number);
            last = Some(block.last_name());
            if self.index.len() > 1 {
                assert!(block.first_name().starts_with(&self.prefix));
                assert_eq!(leaf.key, key(&block.first_name()[self.prefix.len()..]));
            }
        }
    }
}

fn at(blocks: &Blocks, block: u32) -> &Block {
    blocks.get(block).expect("a directory's blocks are there")
}

fn at_mut(blocks: &mut Blocks, block: u32) -> &mut Block {
    blocks.get_mut(block).expect("a directory's blocks are there")
}

/// The first bytes; a shorter text stands before those that begin with it.
fn key(text: &[u8]) -> [u8; 8] {
    let mut key = [0; 8];
    let length = text.len().min(8);
    key[..length].copy_from_slice(&text[..length]);
    key
}
