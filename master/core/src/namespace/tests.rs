use std::collections::{BTreeMap, BTreeSet};

use gfs_types::ids::{ChunkHandle, FileId, ROOT};
use gfs_types::message::client::Attributes;
use gfs_types::region::ChunkIndex;
use gfs_types::time::WallTime;
use proptest::prelude::*;

use super::node::ChunkList;
use super::*;

#[test]
fn an_id_is_refused_unless_it_is_the_next_of_its_place() {
    let mut tree = Tree::formatted();
    let id = tree.next_ids(1).unwrap()[0];
    let mut insert = |id, parent, name| tree.insert(id, parent, name, NewNode::Directory);
    assert!(insert(FileId(id.0 + 1), ROOT, "a").is_err(), "past the end");
    assert!(insert(FileId(id.0 | 1 << 32), ROOT, "a").is_err());
    assert!(insert(ROOT, ROOT, "a").is_err());
    assert!(insert(id, id, "a").is_err());
    assert!(insert(id, ROOT, "").is_err());
    assert!(insert(id, ROOT, "a/b").is_err());
    insert(id, ROOT, "a").unwrap();
    assert!(insert(FileId(id.0 + 1), ROOT, "a").is_err(), "the name is taken");
    tree.remove(id).unwrap();
    assert!(tree.insert(id, ROOT, "a", NewNode::Directory).is_err(), "never twice");
    let again = tree.next_ids(2).unwrap();
    assert_eq!(again, [FileId(id.0 | 1 << 32), FileId(id.0 + 1)]);
    tree.insert(again[0], ROOT, "a", NewNode::Directory).unwrap();
    assert!(tree.get(id).is_none());
}

#[test]
fn a_place_is_used_again_for_as_long_as_there_are_generations() {
    let mut tree = Tree::formatted();
    for generation in 0..600_u64 {
        let id = tree.next_ids(1).unwrap()[0];
        assert_eq!(id, FileId(generation << 32 | 5));
        tree.insert(id, ROOT, "a", NewNode::File(FileNode::default())).unwrap();
        assert!(tree.get(id).is_some() && tree.get(FileId(id.0 + (1 << 32))).is_none());
        tree.remove(id).unwrap();
    }
    assert_eq!(tree.generations.len(), 1, "what was above is forgotten");
}

#[test]
fn a_place_whose_generations_ran_out_is_never_used_again() {
    let mut parts = first_directories();
    parts.assembly.free(u32::MAX).unwrap();
    let mut tree = parts.finish().unwrap();
    let id = tree.next_ids(1).unwrap()[0];
    assert_eq!(id, FileId(u64::from(u32::MAX) << 32 | 5));
    tree.insert(id, ROOT, "a", NewNode::Directory).unwrap();
    assert!(tree.get(id).is_some());
    tree.remove(id).unwrap();
    assert_eq!(tree.next_ids(1).unwrap(), [FileId(6)]);
    assert!(tree.generations.is_empty());
}

/// An image in the making: places, then names.
struct Parts {
    assembly: Assembly,
    names: BTreeMap<u32, Vec<(&'static str, u32)>>,
}

/// What every image begins with; place 5 is the next.
fn first_directories() -> Parts {
    let mut assembly = Assembly::default();
    assembly.retired().unwrap();
    (1..=4).for_each(|_| assembly.directory(0).unwrap());
    let names = [(1, vec![(".gfs", 2)]), (2, vec![("tmp", 3), ("trash", 4)])].into();
    Parts { assembly, names }
}

impl Parts {
    fn directories(mut self, named: &[(u32, &'static str)]) -> Self {
        for (place, (parent, name)) in (5..).zip(named) {
            self.assembly.directory(0).unwrap();
            self.names.entry(*parent).or_default().push((name, place));
        }
        self
    }

    fn finish(mut self) -> Result<Tree, String> {
        for (place, names) in self.names {
            for some in names.chunks(BLOCK_NAMES_MAX) {
                let mut block = Coder::default();
                some.iter().for_each(|(name, place)| block.push(name.as_bytes(), *place));
                self.assembly.names(place, block.names.into(), &block.bytes)?;
            }
        }
        self.assembly.finish()
    }
}

#[test]
fn an_image_that_is_no_tree_is_refused() {
    let with = |named: &[(u32, &'static str)]| first_directories().directories(named).finish();
    assert!(with(&[]).is_ok());
    assert!(with(&[(6, "a"), (1, "b")]).is_ok(), "a parent may come later");
    assert!(with(&[(6, "a"), (5, "b")]).is_err(), "a ring");
    assert!(with(&[(5, "a")]).is_err(), "its own parent");
    assert!(with(&[(9, "a")]).is_err(), "no parent");
    assert!(with(&[(1, "a"), (1, "a")]).is_err(), "a name twice");
    assert!(with(&[(1, "b"), (1, "a")]).is_err(), "out of order");
    assert!(with(&[(1, "")]).is_err(), "no name");
    let chain = |n: u32| (0..n).map(|i| (if i == 0 { 1 } else { 4 + i }, "d")).collect::<Vec<_>>();
    assert!(with(&chain(258)).is_ok());
    assert!(with(&chain(259)).is_err(), "too deep");
    assert!(Assembly::default().finish().is_err());
    let change = |change: fn(&mut Parts)| {
        let mut parts = first_directories();
        change(&mut parts);
        parts.finish()
    };
    assert!(change(|parts| parts.assembly.directory(0).unwrap()).is_err(), "no name");
    assert!(change(|parts| parts.names.get_mut(&1).unwrap().push(("a", 3))).is_err(), "two names");
    assert!(change(|parts| parts.names.get_mut(&1).unwrap().push(("a", 1))).is_err(), "the root");
    assert!(change(|parts| parts.names.get_mut(&1).unwrap().push(("a", 0))).is_err(), "free");
    assert!(change(|parts| parts.names.get_mut(&2).unwrap()[0].0 = "tnp").is_err(), "no /.gfs/tmp");
    let in_a_file = |parts: &mut Parts| {
        parts.assembly.file(0, FileNode::default(), None).unwrap();
        parts.names.get_mut(&1).unwrap().push(("f", 5));
        parts.assembly.directory(0).unwrap();
        parts.names.insert(5, vec![("in a file", 6)]);
    };
    assert!(change(in_a_file).is_err());
    let first = |put: fn(&mut Assembly), names: Vec<(&'static str, u32)>| {
        let mut assembly = Assembly::default();
        put(&mut assembly);
        (1..=4).for_each(|_| assembly.directory(0).unwrap());
        let names = [(1, names), (2, vec![("tmp", 3), ("trash", 4)])].into();
        Parts { assembly, names }.finish()
    };
    assert!(first(|assembly| assembly.retired().unwrap(), vec![(".gfs", 2)]).is_ok());
    assert!(first(|assembly| assembly.free(0).unwrap(), vec![(".gfs", 2)]).is_err(), "place 0");
    let file = |assembly: &mut Assembly| assembly.file(0, FileNode::default(), None).unwrap();
    assert!(first(file, vec![(".gfs", 2), ("f", 0)]).is_err(), "a file at place 0");
}

#[test]
fn the_names_of_a_directory_come_once_and_in_full_blocks() {
    let many: Vec<String> = (0..40).map(|n| format!("n{n:02}")).collect();
    let block = |from: usize, to: usize| {
        let mut block = Coder::default();
        (5..)
            .zip(&many)
            .take(to)
            .skip(from)
            .for_each(|(place, name)| block.push(name.as_bytes(), place));
        (usize::from(block.names), block.bytes)
    };
    let try_all = |blocks: &[(u32, (usize, Vec<u8>))]| {
        let mut assembly = first_directories().assembly;
        (0..40).for_each(|_| assembly.directory(0).unwrap());
        blocks.iter().try_for_each(|(place, (names, bytes))| assembly.names(*place, *names, bytes))
    };
    assert!(try_all(&[(3, block(0, 32)), (3, block(32, 40))]).is_ok());
    assert!(try_all(&[(3, block(0, 8)), (3, block(8, 40))]).is_err(), "not full");
    assert!(try_all(&[(3, block(8, 40)), (3, block(0, 8))]).is_err(), "out of order");
    assert!(try_all(&[(3, block(0, 32)), (4, block(32, 40)), (3, block(39, 40))]).is_err());
    assert!(try_all(&[(3, block(0, 33))]).is_err(), "too many");
}

#[test]
fn a_list_of_chunks_has_holes() {
    let mut list = ChunkList::default();
    for (index, handle) in [(7, 70), (2, 20), (9, 90)] {
        assert_eq!(list.put(ChunkIndex(index), ChunkHandle(handle)), None);
    }
    assert_eq!(list.put(ChunkIndex(7), ChunkHandle(71)), Some(ChunkHandle(70)));
    let file = FileNode { chunks: list, ..FileNode::default() };
    let list = file.view().chunks;
    assert_eq!(list.get(ChunkIndex(8)), None);
    assert_eq!(list.get(ChunkIndex(9)), Some(ChunkHandle(90)));
    assert_eq!(list.last(), Some((ChunkIndex(9), ChunkHandle(90))));
    let from: Vec<_> = list.from(ChunkIndex(3)).map(|(index, _)| index.0).collect();
    assert_eq!(from, [7, 9]);
}

#[test]
fn a_file_stands_beside_the_table_only_while_it_does_not_fit() {
    let mut tree = Tree::formatted();
    let id = tree.next_ids(1).unwrap()[0];
    tree.insert(id, ROOT, "a", NewNode::File(FileNode { replication: 3, ..FileNode::default() }))
        .unwrap();
    let seen = |tree: &Tree| {
        let file = tree.get(id).unwrap().file().unwrap();
        let chunks: Vec<_> =
            file.chunks.from(ChunkIndex(0)).map(|(at, one)| (at.0, one.0)).collect();
        (file.length, file.attributes.modified.ms, chunks, tree.wide.len())
    };
    let put = |index, handle| {
        move |file: &mut FileNode| file.chunks.put(ChunkIndex(index), ChunkHandle(handle))
    };
    assert_eq!(tree.edit(id, put(0, 7)), Some(None));
    assert_eq!(tree.edit(id, put(0, 8)), Some(Some(ChunkHandle(7))));
    assert_eq!(seen(&tree), (0, 0, vec![(0, 8)], 0));
    let late = Attributes { modified: WallTime { ms: u64::MAX }, executable: true };
    tree.edit(id, |file| file.attributes = late).unwrap();
    assert_eq!(seen(&tree), (0, u64::MAX, vec![(0, 8)], 1));
    tree.edit(id, |file| file.attributes.modified.ms = 1).unwrap();
    assert_eq!(seen(&tree), (0, 1, vec![(0, 8)], 0));
    tree.edit(id, put(4, 9)).unwrap();
    tree.edit(id, |file| file.length = 1 << 40).unwrap();
    assert_eq!(seen(&tree), (1 << 40, 1, vec![(0, 8), (4, 9)], 1));
    assert_eq!(tree.name_of(id).as_deref(), Some("a"));
    assert_eq!(tree.remove(id).unwrap(), [ChunkHandle(8), ChunkHandle(9)]);
    assert!(tree.wide.is_empty());
    assert_eq!(tree.edit(ROOT, |_| ()), None);
}

/// Beside the tree: the names of each directory, and where each node stands.
#[derive(Default)]
struct Naive {
    children: BTreeMap<FileId, BTreeMap<String, FileId>>,
    parents: BTreeMap<FileId, (FileId, String)>,
}

impl Naive {
    fn link(&mut self, id: FileId, parent: FileId, name: &str) {
        self.children.entry(parent).or_default().insert(name.to_owned(), id);
        self.parents.insert(id, (parent, name.to_owned()));
    }

    fn unlink(&mut self, id: FileId) {
        let (parent, name) = self.parents.remove(&id).unwrap();
        self.children.get_mut(&parent).unwrap().remove(&name);
    }

    /// All that the tree says of itself is what is said here.
    fn check(&self, tree: &Tree) {
        let mut directories = BTreeSet::from([ROOT]);
        for (id, (parent, name)) in &self.parents {
            assert_eq!(tree.name_of(*id).as_ref(), Some(name));
            assert_eq!(tree.upwards(*id).nth(1), Some(*parent));
            directories.extend(tree.get(*id).unwrap().directory().map(|_| *id));
        }
        for id in directories {
            let directory = tree.get(id).unwrap().directory().unwrap();
            directory.check(&tree.blocks);
            let known = self.children.get(&id).cloned().unwrap_or_default();
            assert!(tree.children(id, None).eq(known.clone()));
            let middle = known.keys().nth(known.len() / 2).cloned().unwrap_or_default();
            let after = known.into_iter().filter(|(name, _)| *name > middle);
            assert!(tree.children(id, Some(&middle)).eq(after));
        }
        assert_eq!(tree.files() + tree.directories(), self.parents.len() as u64 + 1);
    }
}

/// Draws that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn name(&mut self, shape: usize) -> String {
        let number = self.below(4_000);
        match shape % 4 {
            0 => format!("{number}"),
            1 => format!("part-{number:05}.log"),
            2 => format!("{}{number:x}", ["é", "éa", "日本", "z", ""][self.below(5)]),
            _ => format!("{}{}", "x".repeat(self.below(200)), number),
        }
    }
}

/// Many thousands of random changes: names come, go and move, in blocks that fill, split, shrink and join.
fn random_changes(seed: u64, shape: usize, changes: usize) {
    let (mut tree, mut naive, mut dice) = (Tree::formatted(), Naive::default(), Dice(seed));
    for (id, parent, name) in [(2, 1, ".gfs"), (3, 2, "tmp"), (4, 2, "trash")] {
        naive.link(FileId(id), FileId(parent), name);
    }
    let mut directories = vec![ROOT];
    for number in 0..changes {
        // It grows, then shrinks, and again.
        let grows = number / 1_500 % 2 == 0;
        let parent = directories[dice.below(directories.len())];
        let name = dice.name(shape);
        let taken = naive.children.get(&parent).and_then(|all| all.get(&name)).copied();
        let found = tree.look_up(tree.get(parent).unwrap().directory().unwrap(), &name);
        assert_eq!(found, taken);
        let any = naive.parents.keys().nth(dice.below(naive.parents.len())).copied().unwrap();
        match dice.below(10) {
            0 | 8.. if any <= TRASH_ID => {}
            0 => {
                let moved = tree.relocate(any, parent, &name);
                assert_eq!(moved.is_ok(), taken.is_none() && !tree.is_within(parent, any));
                if moved.is_ok() {
                    naive.unlink(any);
                    naive.link(any, parent, &name);
                }
            }
            1..=7 if grows || any <= TRASH_ID => {
                let id = tree.next_ids(1).unwrap()[0];
                let directory = directories.len() < 5 && dice.below(20) == 0;
                let node =
                    if directory { NewNode::Directory } else { NewNode::File(FileNode::default()) };
                assert_eq!(tree.insert(id, parent, &name, node).is_ok(), taken.is_none());
                if taken.is_none() {
                    naive.link(id, parent, &name);
                    directories.extend(directory.then_some(id));
                }
            }
            _ => {
                let full = naive.children.get(&any).is_some_and(|all| !all.is_empty());
                assert_eq!(tree.remove(any).is_ok(), !full);
                if !full {
                    naive.unlink(any);
                    directories.retain(|id| *id != any);
                }
            }
        }
        if number % 250 == 0 {
            naive.check(&tree);
        }
    }
    naive.check(&tree);
    check_blocks(&tree);
}

/// Every block is listed by its directory, and lists what says that it does.
fn check_blocks(tree: &Tree) {
    let mut listed = 0;
    for place in tree.directory_places() {
        let directory = tree.at(place).unwrap().directory().unwrap();
        for block in (0..).map_while(|leaf| directory.block(leaf)) {
            let names = tree.blocks.get(block).unwrap();
            assert_eq!(names.directory, place);
            listed += names.names();
            assert!(names.entries().all(|entry| tree.packed(entry.place).unwrap().block == block));
        }
    }
    assert_eq!(listed as u64 + 1, tree.files() + tree.directories());
}

#[test]
fn the_tree_does_what_maps_do() {
    for (seed, shape) in (0..8).enumerate() {
        random_changes(seed as u64, shape, 6_000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_tree_does_what_maps_do_whatever_is_drawn(seed in any::<u64>(), shape in 0..4_usize) {
        random_changes(seed, shape, 3_000);
    }
}

#[test]
fn names_in_their_order_leave_full_blocks_either_way() {
    for backwards in [false, true] {
        let mut tree = Tree::formatted();
        for n in 0..1_000_u32 {
            let n = if backwards { 999 - n } else { n };
            let id = tree.next_ids(1).unwrap()[0];
            tree.insert(id, UPLOAD_ID, &format!("{n:04}"), NewNode::Directory).unwrap();
        }
        let directory = tree.get(UPLOAD_ID).unwrap().directory().unwrap();
        assert_eq!((0..).map_while(|leaf| directory.block(leaf)).count(), 1_000_usize.div_ceil(32));
        check_blocks(&tree);
    }
}
