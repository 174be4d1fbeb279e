//! The namespace beside a naive one. Random operations, restarts in between.

use std::collections::BTreeMap;

use gfs_history::{Answer, Entry, Kind, Namespace, Operation, Refusal};
use gfs_types::ErrorKind;
use gfs_types::message::client::{self, EntryKind, Mutation, Query, Response};
use proptest::prelude::*;

use super::world::{World, create};

#[derive(Debug, Clone)]
enum Op {
    Ask(Operation),
    Restart,
    Checkpoint(prop::sample::Index),
    Tick,
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof!["a", "b", "c", "é", "a b"], 1..4)
        .prop_map(|names| format!("/{}", names.join("/")))
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => paths().prop_map(|path| Operation::Create { path }),
        3 => (paths(), any::<bool>()).prop_map(|(path, parents)| Operation::Mkdir { path, parents }),
        4 => (paths(), paths(), any::<bool>())
            .prop_map(|(from, to, replace)| Operation::Rename { from, to, replace }),
        3 => (paths(), any::<bool>(), any::<bool>())
            .prop_map(|(path, recursive, purge)| Operation::Delete { path, recursive, purge }),
        2 => paths().prop_map(|path| Operation::Undelete { path }),
        1 => paths().prop_map(|path| Operation::Stat { path }),
        1 => paths().prop_map(|path| Operation::List { path }),
    ]
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        18 => operations().prop_map(Op::Ask),
        1 => Just(Op::Restart),
        1 => any::<prop::sample::Index>().prop_map(Op::Checkpoint),
        1 => Just(Op::Tick),
    ]
}

fn ask(world: &mut World, operation: &Operation) -> Result<Response, gfs_types::Error> {
    let text = |path: &String| path.clone();
    let mutation = match operation {
        Operation::Stat { path } => return world.query(Query::Stat { path: text(path) }),
        Operation::List { path } => return world.query(page(path)),
        Operation::Create { path } => create(path),
        Operation::Mkdir { path, parents } => {
            Mutation::Mkdir { path: text(path), parents: *parents }
        }
        Operation::Rename { from, to, replace } => {
            Mutation::Rename { from: text(from), to: text(to), replace: *replace }
        }
        Operation::Delete { path, recursive, purge } => {
            Mutation::Delete { path: text(path), recursive: *recursive, purge: *purge }
        }
        Operation::Undelete { path } => Mutation::Undelete { path: text(path) },
    };
    world.mutate(mutation)
}

fn page(path: &str) -> Query {
    Query::List { path: path.to_owned(), after: None, limit: 1000 }
}

fn entry(entry: &client::Entry) -> Entry {
    let kind = match entry.kind {
        EntryKind::File => Kind::File,
        EntryKind::Directory => Kind::Directory,
    };
    Entry { kind, id: entry.id.0 }
}

fn answer(response: &Response) -> Answer {
    match response {
        Response::Done => Answer::Nothing,
        Response::Entry(told) => Answer::Entry(entry(told)),
        Response::Page { entries, more: false } => {
            Answer::Names(entries.iter().map(|told| (told.path.clone(), entry(told))).collect())
        }
        other => panic!("no answer to a question about names: {other:?}"),
    }
}

fn refusal(kind: ErrorKind) -> Refusal {
    match kind {
        ErrorKind::Invalid => Refusal::Invalid,
        ErrorKind::NotFound => Refusal::NotFound,
        ErrorKind::AlreadyExists => Refusal::AlreadyExists,
        ErrorKind::Denied => Refusal::Denied,
        other => panic!("not for what is in the namespace: {other}"),
    }
}

fn everything(world: &mut World) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    let mut open = vec!["/".to_owned()];
    while let Some(path) = open.pop() {
        let Ok(Response::Page { entries, .. }) = world.query(page(&path)) else { panic!("{path}") };
        for told in entries {
            let child = format!("{}/{}", path.trim_end_matches('/'), told.path);
            if told.kind == EntryKind::Directory {
                open.push(child.clone());
            }
            found.insert(child, entry(&told));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_namespace_does_what_a_naive_one_does(ops in prop::collection::vec(ops(), 1..60)) {
        let (mut world, mut naive) = (World::new(), Namespace::default());
        for (call, op) in (0..).zip(&ops) {
            match op {
                Op::Restart => world.restart(),
                Op::Checkpoint(at) => {
                    let at = at.index(world.log.len());
                    world.restart_from_checkpoint(at);
                }
                Op::Tick => drop(world.after_ms(50)),
                Op::Ask(operation) => {
                    let told = ask(&mut world, operation);
                    match naive.perform(call, operation) {
                        Err(expected) => {
                            let told = told.map_err(|error| refusal(error.kind));
                            prop_assert_eq!(told.unwrap_err(), expected, "{:?}", operation);
                        }
                        Ok(found) => {
                            prop_assert!(told.is_ok(), "{:?}: {:?}", operation, told);
                            let answer = answer(&told.unwrap());
                            prop_assert!(naive.agrees(&found, &answer), "{:?}: {:?}", operation, answer);
                        }
                    }
                }
            }
        }
        let real = everything(&mut world);
        let naive: Vec<_> = naive.entries().collect();
        prop_assert_eq!(real.len(), naive.len());
        for (path, kind, id) in naive {
            let told = real.get(path);
            prop_assert!(told.is_some_and(|told| told.kind == kind), "{}: {:?}", path, told);
            prop_assert!(id.is_none_or(|id| told.is_some_and(|told| told.id == id)), "{}", path);
        }
        world.check_digests();
    }
}
