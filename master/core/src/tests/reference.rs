//! The namespace beside a naive one: a map from path to file or directory. Random operations, restarts in between.

use std::collections::BTreeMap;

use gfs_types::ErrorKind;
use gfs_types::ids::FileId;
use gfs_types::message::client::{EntryKind, Mutation, Query, Response};
use proptest::prelude::*;

use super::world::{World, create};

/// All of it, hidden things included, as a map; `None` is a directory.
#[derive(Debug, Clone, Default)]
struct Naive {
    tree: BTreeMap<String, Option<FileId>>,
    /// Deleted: where it was, and all that was in it.
    trash: Vec<(String, BTreeMap<String, Option<FileId>>)>,
}

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Mkdir(String, bool),
    Rename(String, String, bool),
    Delete(String, bool, bool),
    Undelete(String),
    Restart,
    Checkpoint(prop::sample::Index),
    Tick,
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

fn within(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Naive {
    fn is_directory(&self, path: &str) -> bool {
        path == "/" || self.tree.get(path) == Some(&None)
    }

    fn has(&self, path: &str) -> bool {
        path == "/" || self.tree.contains_key(path)
    }

    fn subtree(&self, path: &str) -> BTreeMap<String, Option<FileId>> {
        let below = self.tree.iter().filter(|(other, _)| within(other, path));
        below.map(|(path, what)| (path.clone(), *what)).collect()
    }

    fn take(&mut self, path: &str) -> BTreeMap<String, Option<FileId>> {
        let taken = self.subtree(path);
        self.tree.retain(|other, _| !within(other, path));
        taken
    }

    /// Whether it can be done; does it.
    fn apply(&mut self, op: &Op, id: Option<FileId>) -> bool {
        match op {
            Op::Create(path) => {
                let good = !self.has(path) && self.is_directory(parent(path));
                if good {
                    self.tree.insert(path.clone(), id);
                }
                good
            }
            Op::Mkdir(path, parents) => self.mkdir(path, *parents),
            Op::Rename(from, to, replace) => self.rename(from, to, *replace),
            Op::Delete(path, recursive, purge) => {
                let good = self.has(path) && (*recursive || self.subtree(path).len() == 1);
                if good {
                    let taken = self.take(path);
                    if !purge {
                        self.trash.push((path.clone(), taken));
                    }
                }
                good
            }
            Op::Undelete(path) => {
                let latest = self.trash.iter().rposition(|(from, _)| from == path);
                let free = !self.has(path) && self.is_directory(parent(path));
                match latest.filter(|_| free) {
                    Some(at) => {
                        self.tree.extend(self.trash.remove(at).1);
                        true
                    }
                    None => false,
                }
            }
            Op::Restart | Op::Checkpoint(_) | Op::Tick => true,
        }
    }

    fn mkdir(&mut self, path: &str, parents: bool) -> bool {
        if !parents {
            let good = !self.has(path) && self.is_directory(parent(path));
            if good {
                self.tree.insert(path.to_owned(), None);
            }
            return good;
        }
        let mut all = vec![path];
        while parent(all[all.len() - 1]) != "/" {
            all.push(parent(all[all.len() - 1]));
        }
        if all.iter().any(|path| self.has(path) && !self.is_directory(path)) {
            return false;
        }
        self.tree.extend(all.into_iter().map(|path| (path.to_owned(), None)));
        true
    }

    fn rename(&mut self, from: &str, to: &str, replace: bool) -> bool {
        if !self.has(from) {
            return false;
        }
        if from == to {
            return true;
        }
        let into_itself = self.is_directory(from) && within(to, from);
        let taken = self.has(to);
        let replaceable = replace && !self.is_directory(to) && !self.is_directory(from);
        if into_itself || !self.is_directory(parent(to)) || (taken && !replaceable) {
            return false;
        }
        if taken {
            let old = self.take(to);
            self.trash.push((to.to_owned(), old));
        }
        let moved = self.take(from);
        let renamed =
            moved.into_iter().map(|(path, what)| (format!("{to}{}", &path[from.len()..]), what));
        self.tree.extend(renamed.collect::<Vec<_>>());
        true
    }
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["a", "b", "c", "é", "a b"], 1..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => paths().prop_map(Op::Create),
        3 => (paths(), any::<bool>()).prop_map(|(path, parents)| Op::Mkdir(path, parents)),
        4 => (paths(), paths(), any::<bool>()).prop_map(|(from, to, replace)| Op::Rename(from, to, replace)),
        3 => (paths(), any::<bool>(), any::<bool>()).prop_map(|(path, all, purge)| Op::Delete(path, all, purge)),
        2 => paths().prop_map(Op::Undelete),
        1 => Just(Op::Restart),
        1 => any::<prop::sample::Index>().prop_map(Op::Checkpoint),
        1 => Just(Op::Tick),
    ]
}

fn perform(world: &mut World, op: &Op) -> Result<Option<FileId>, ErrorKind> {
    let text = |path: &String| path.clone();
    let mutation = match op {
        Op::Create(path) => create(path),
        Op::Mkdir(path, parents) => Mutation::Mkdir { path: text(path), parents: *parents },
        Op::Rename(from, to, replace) => {
            Mutation::Rename { from: text(from), to: text(to), replace: *replace }
        }
        Op::Delete(path, recursive, purge) => {
            Mutation::Delete { path: text(path), recursive: *recursive, purge: *purge }
        }
        Op::Undelete(path) => Mutation::Undelete { path: text(path) },
        Op::Restart => {
            world.restart();
            return Ok(None);
        }
        Op::Checkpoint(at) => {
            let at = at.index(world.log.len());
            world.restart_from_checkpoint(at);
            return Ok(None);
        }
        Op::Tick => {
            world.after_ms(50);
            return Ok(None);
        }
    };
    match world.mutate(mutation) {
        Ok(Response::Entry(entry)) => Ok(Some(entry.id)),
        Ok(_) => Ok(None),
        Err(error) => Err(error.kind),
    }
}

fn everything(world: &mut World) -> BTreeMap<String, Option<FileId>> {
    let mut found = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let list = Query::List { path: path.clone(), after: None, limit: 1000 };
        let Ok(Response::Page { entries, .. }) = world.query(list) else { panic!("{path}") };
        for entry in entries {
            let child = format!("{}/{}", path.trim_end_matches('/'), entry.path);
            if entry.kind == EntryKind::Directory {
                open.push(child.clone());
                found.insert(child, None);
            } else {
                found.insert(child, Some(entry.id));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_namespace_does_what_a_naive_one_does(ops in prop::collection::vec(ops(), 1..60)) {
        let (mut world, mut naive) = (World::new(), Naive::default());
        for op in &ops {
            let done = perform(&mut world, op);
            let expected = naive.apply(op, done.ok().flatten());
            prop_assert_eq!(done.is_ok(), expected, "{:?}: {:?}", op, done);
        }
        prop_assert_eq!(everything(&mut world), naive.tree);
        world.check_digests();
    }
}
