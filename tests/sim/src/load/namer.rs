//! Changes names in a directory of its own, where a name that is known to be there must be, and one that is not must not.

use gfs_client::{Client, DeleteOptions, Error, ErrorKind};

use super::{Shared, is_trouble, is_unknown, names_path, rest};
use crate::random::Random;

const NAMES: u64 = 8;

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let Ok(connected) = shared.connect(client).await else { return };
    let mut random = shared.random(client);
    let name = |n: u64| format!("{}/{n}", names_path(number));
    for n in 0..NAMES {
        shared.ledger().names.insert(name(n), false);
    }
    while !shared.is_stopped() {
        let (a, b) = (name(random.below(NAMES)), name(random.below(NAMES)));
        match random.below(5) {
            0 | 1 => {
                let done = connected.create(&a, Default::default()).await.map(drop);
                told(&shared, client, done, &[(&a, false, true)], "create");
            }
            2 => {
                let purge = random.percent(50);
                let options = DeleteOptions { purge, recursive: false };
                let done = connected.delete(&a, options).await;
                told(&shared, client, done, &[(&a, true, false)], "delete");
            }
            3 if a != b => {
                let done = connected.rename(&a, &b, false).await.map(drop);
                told(&shared, client, done, &[(&a, true, false), (&b, false, true)], "rename");
            }
            _ => look(&shared, &connected, client, &a).await,
        }
        pause(&mut random).await;
    }
}

async fn pause(random: &mut Random) {
    rest(random, 200).await;
}

/// Notes what a change came to. Each name with what it must have been, and what it is with success.
fn told(
    shared: &Shared,
    client: usize,
    done: Result<(), Error>,
    changes: &[(&String, bool, bool)],
    what: &str,
) {
    let mut ledger = shared.ledger();
    let fits = changes
        .iter()
        .all(|(name, before, _)| ledger.names.get(*name).is_none_or(|there| there == before));
    match done {
        Ok(()) if !fits => {
            let text = format!("{what} of {changes:?} is acknowledged and cannot have been done");
            ledger.violations.push(text);
        }
        Ok(()) => {
            ledger.settle(client);
            for (name, _, after) in changes {
                ledger.names.insert((*name).clone(), *after);
            }
            drop(ledger);
            shared.acknowledged(client);
        }
        Err(error) if is_unknown(&error) => {
            for (name, ..) in changes {
                ledger.names.remove(*name);
                ledger.unsettled.insert((client, (*name).clone()));
            }
        }
        Err(error) if is_trouble(&error) => {}
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
            let known = changes.iter().all(|(name, ..)| ledger.names.contains_key(*name));
            if fits && known {
                ledger.violations.push(format!("{what} of {changes:?} is refused: {error}"));
            }
            ledger.settle(client);
            drop(ledger);
            shared.acknowledged(client);
        }
        Err(error) => ledger.violations.push(format!("{what} of {changes:?}: {error}")),
    }
}

/// A name that is looked up is known again.
async fn look(shared: &Shared, connected: &Client, client: usize, name: &String) {
    let there = match connected.stat(name).await {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) if is_trouble(&error) => return,
        Err(error) => return shared.violation(format!("stat of {name}: {error}")),
    };
    let mut ledger = shared.ledger();
    match ledger.names.get(name).copied() {
        Some(known) if known != there => {
            let text = format!("{name} is there: {there}, and should not be so");
            ledger.violations.push(text);
        }
        None if !ledger.unsettled.contains(&(client, name.clone())) => {
            ledger.names.insert(name.clone(), there);
        }
        Some(_) | None => {}
    }
    drop(ledger);
    shared.acknowledged(client);
}
