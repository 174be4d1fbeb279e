use std::sync::Arc;

use gfs_types::ids::{ChunkHandle, FileId, ROOT};
use gfs_types::region::ChunkIndex;

use super::node::{ChunkList, NodeBody};
use super::*;

fn directory() -> NodeBody {
    NodeBody::Directory(Box::default())
}

#[test]
fn an_id_is_refused_unless_it_is_the_next_of_its_place() {
    let mut tree = Tree::formatted();
    let id = tree.next_ids(1).unwrap()[0];
    assert!(tree.insert(FileId(id.0 + 1), ROOT, "a", directory()).is_err(), "past the end");
    assert!(tree.insert(FileId(id.0 | 1 << 32), ROOT, "a", directory()).is_err());
    assert!(tree.insert(ROOT, ROOT, "a", directory()).is_err());
    assert!(tree.insert(id, id, "a", directory()).is_err());
    assert!(tree.insert(id, ROOT, "", directory()).is_err());
    assert!(tree.insert(id, ROOT, "a/b", directory()).is_err());
    tree.insert(id, ROOT, "a", directory()).unwrap();
    assert!(tree.insert(FileId(id.0 + 1), ROOT, "a", directory()).is_err(), "the name is taken");
    tree.remove(id).unwrap();
    assert!(tree.insert(id, ROOT, "a", directory()).is_err(), "never twice");
    let again = tree.next_ids(2).unwrap();
    assert_eq!(again, [FileId(id.0 | 1 << 32), FileId(id.0 + 1)]);
    tree.insert(again[0], ROOT, "a", directory()).unwrap();
    assert!(tree.get(id).is_none());
}

#[test]
fn a_place_whose_generations_ran_out_is_never_used_again() {
    let mut slots = Tree::formatted().slots().to_vec();
    slots.push(Slot::Free(u32::MAX));
    let mut tree = Tree::assemble(unlinked(slots)).unwrap();
    let id = tree.next_ids(1).unwrap()[0];
    assert_eq!(id, FileId(u64::from(u32::MAX) << 32 | 5));
    tree.insert(id, ROOT, "a", directory()).unwrap();
    tree.remove(id).unwrap();
    assert_eq!(tree.next_ids(1).unwrap(), [FileId(6)]);
}

/// As an image has them: no directory knows its children.
fn unlinked(mut slots: Vec<Slot>) -> Vec<Slot> {
    for slot in &mut slots {
        if let Slot::Used(Node { body: body @ NodeBody::Directory(_), .. }) = slot {
            *body = directory();
        }
    }
    slots
}

#[test]
fn a_table_that_is_no_tree_is_refused() {
    let node = |parent, name: &str| {
        Slot::Used(Node { generation: 0, parent, name: Arc::from(name), body: directory() })
    };
    let with = |more: Vec<Slot>| {
        let mut slots = unlinked(Tree::formatted().slots().to_vec());
        slots.extend(more);
        Tree::assemble(slots)
    };
    assert!(with(vec![node(6, "a"), node(1, "b")]).is_ok(), "a parent may come later");
    assert!(with(vec![node(6, "a"), node(5, "b")]).is_err(), "a ring");
    assert!(with(vec![node(5, "a")]).is_err(), "its own parent");
    assert!(with(vec![node(9, "a")]).is_err(), "no parent");
    assert!(with(vec![node(1, "a"), node(1, "a")]).is_err(), "a name twice");
    assert!(with(vec![node(1, "")]).is_err(), "no name");
    let chain = |n: u32| (0..n).map(|i| node(if i == 0 { 1 } else { 4 + i }, "d")).collect();
    assert!(with(chain(258)).is_ok());
    assert!(with(chain(259)).is_err(), "too deep");
    let file = Slot::Used(Node {
        generation: 0,
        parent: 1,
        name: Arc::from("f"),
        body: NodeBody::File(FileNode::default()),
    });
    assert!(with(vec![file, node(5, "in a file")]).is_err());
    assert!(Tree::assemble(Vec::new()).is_err());
}

#[test]
fn a_list_of_chunks_has_holes() {
    let mut list = ChunkList::default();
    for (index, handle) in [(7, 70), (2, 20), (9, 90)] {
        assert_eq!(list.put(ChunkIndex(index), ChunkHandle(handle)), None);
    }
    assert_eq!(list.put(ChunkIndex(7), ChunkHandle(71)), Some(ChunkHandle(70)));
    assert_eq!(list.get(ChunkIndex(8)), None);
    assert_eq!(list.get(ChunkIndex(9)), Some(ChunkHandle(90)));
    assert_eq!(list.last(), Some((ChunkIndex(9), ChunkHandle(90))));
    let from: Vec<_> = list.from(ChunkIndex(3)).map(|(index, _)| index.0).collect();
    assert_eq!(from, [7, 9]);
}
