//! Creates files of names that nobody else uses, in a directory of all of them: those that were acknowledged are in every list from
//! then on, none is there twice, and none that nobody asked for.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use gfs_client::Client;
use gfs_types::message::client::Entry;

use super::{Shared, is_trouble, rest};

pub(super) const DOES: [&str; 2] = ["create a file of the set", "list the set"];
/// Files from one list to the next: each client must do all that it does now and then.
const LISTED_EVERY: u64 = 10;
/// Where they are.
pub(super) const ROOT: &str = "/set";

/// What was asked for, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Set {
    asked: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
}

pub(super) async fn run(shared: Shared, client: usize) {
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let mut number = 0_u64;
    while !shared.is_stopped() {
        number += 1;
        let name = format!("{client}-{number}");
        shared.ledger().set.asked.insert(name.clone());
        match connected.create(format!("{ROOT}/{name}"), Default::default()).await {
            Ok(_) => {
                shared.ledger().set.acknowledged.insert(name);
                shared.done(client, DOES[0]);
            }
            Err(error) if is_trouble(&error) => {}
            Err(error) => return shared.violation(format!("creating {name} of the set: {error}")),
        }
        if number.is_multiple_of(LISTED_EVERY) && look(&shared, &connected).await {
            shared.done(client, DOES[1]);
        }
        rest(&mut random, 1_000).await;
    }
}

/// Lists all of them; says whether it could.
pub(crate) async fn look(shared: &Shared, connected: &Client) -> bool {
    let before = shared.ledger().set.acknowledged.clone();
    let listed: Vec<Entry> = match connected.list(ROOT).try_collect().await {
        Ok(listed) => listed,
        Err(error) if is_trouble(&error) => return false,
        Err(error) => {
            shared.violation(format!("listing the set: {error}"));
            return false;
        }
    };
    let names = listed.iter().map(|entry| last(&entry.path).to_owned()).collect();
    let wrong = wrong(names, &before, &shared.ledger().set.asked);
    if let Some(wrong) = wrong {
        shared.violation(format!("a list of the set of files: {wrong} (META-1)"));
    }
    true
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What is wrong with a list of these names.
fn wrong(names: Vec<String>, must: &BTreeSet<String>, may: &BTreeSet<String>) -> Option<String> {
    let mut listed = BTreeSet::new();
    for name in names {
        if !may.contains(&name) {
            return Some(format!("nobody asked for {name}"));
        }
        if let Some(twice) = listed.replace(name) {
            return Some(format!("{twice} is there twice"));
        }
    }
    must.difference(&listed).next().map(|name| format!("{name} was acknowledged and is missing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_what_was_acknowledged_and_nothing_that_was_not_asked_for_and_each_once() {
        let names = |all: &[&str]| all.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let set = |all: &[&str]| names(all).into_iter().collect::<BTreeSet<_>>();
        let (must, may) = (set(&["a"]), set(&["a", "b"]));
        let wrong = |listed: &[&str]| wrong(names(listed), &must, &may).unwrap_or_default();
        assert_eq!((wrong(&["a"]), wrong(&["b", "a"])), (String::new(), String::new()));
        assert_eq!(wrong(&["b"]), "a was acknowledged and is missing");
        assert_eq!(wrong(&["a", "b", "a"]), "a is there twice");
        assert_eq!(wrong(&["a", "c"]), "nobody asked for c");
        assert_eq!(last("/set/1-2"), "1-2");
    }
}
