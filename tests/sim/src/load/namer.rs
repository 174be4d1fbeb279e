//! Clients that fight over the same few names, and note all that they called and were told: was it one namespace (META-1)?

use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use gfs_client::{Client, DeleteOptions, Error, ErrorKind};
use gfs_history::event::What;
use gfs_history::{Answer, Entry, Event, History, Kind, Operation, Outcome, Refusal};
use gfs_types::message::client as wire;
use tokio::time::Instant;

use super::ball::{self, Player};
use super::{Shared, is_unknown, rest};
use crate::random::Random;

pub(super) const DOES: &str = "change or ask for names";
/// Where they do it: the root of the namespace that is checked.
pub(super) const ROOT: &str = "/names";
/// Two directories of three names each, and what may stand in a file's place.
const DIRECTORIES: [&str; 2] = ["/one", "/two"];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What all of them called and were told, in order.
#[derive(Debug)]
pub(crate) struct Notes {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), events: Mutex::default() }
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn called(&self, client: usize, operation: &Operation) -> u64 {
        let call = self.events().len() as u64;
        self.note(client, call, What::Called(operation.clone()));
        call
    }

    fn note(&self, client: usize, call: u64, what: What) {
        let at_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let client = u32::try_from(client).unwrap_or(u32::MAX);
        self.events().push(Event { at_us, client, call, what });
    }

    /// All of it until now.
    pub(crate) fn history(&self) -> Result<History, gfs_history::HistoryError> {
        History::new(self.events().clone())
    }
}

pub(super) async fn run(shared: Shared, client: usize, number: usize) {
    let Some(connected) = shared.connected(client).await else { return };
    let mut random = shared.random(client);
    let mut player = Player::new(&shared, client, number);
    while !shared.is_stopped() {
        let played = match &mut player {
            Some(player) => player.plays(&shared, &connected, client).await,
            None => false,
        };
        if !played {
            call(&shared, &connected, client, &choose(&mut random)).await;
        }
        rest(&mut random, 400).await;
    }
}

/// Asks for all that there may be, when nobody changes it any more.
pub(crate) async fn look(shared: &Shared, connected: &Client, client: usize) {
    for directory in DIRECTORIES {
        call(shared, connected, client, &Operation::List { path: directory.to_owned() }).await;
        for name in NAMES {
            let path = format!("{directory}/{name}");
            call(shared, connected, client, &Operation::Stat { path }).await;
        }
    }
    if shared.ball {
        ball::look(shared, connected, client).await;
    }
}

/// Calls, and notes what came of it; `None` where that may not be.
pub(super) async fn call(
    shared: &Shared,
    connected: &Client,
    client: usize,
    operation: &Operation,
) -> Option<Outcome> {
    let number = shared.notes.called(client, operation);
    let outcome = match perform(connected, operation).await {
        Ok(answer) => Outcome::Done(answer),
        Err(error) => match not_done(&error) {
            Some(outcome) => outcome,
            None => {
                shared.violation(format!("{operation:?}: {error}"));
                return None;
            }
        },
    };
    if matches!(outcome, Outcome::Done(_) | Outcome::Refused(_)) {
        shared.done(client, DOES);
    }
    shared.notes.note(client, number, What::Returned(outcome.clone()));
    Some(outcome)
}

fn choose(random: &mut Random) -> Operation {
    let directory = |random: &mut Random| (*random.pick(&DIRECTORIES)).to_owned();
    let name =
        |random: &mut Random| format!("{}/{}", random.pick(&DIRECTORIES), random.pick(&NAMES));
    match random.below(20) {
        0..=4 => Operation::Create { path: name(random) },
        5..=7 => {
            let (from, to) = (name(random), name(random));
            Operation::Rename { from, to, replace: random.percent(50) }
        }
        8..=10 => {
            let path = name(random);
            Operation::Delete { path, recursive: false, purge: random.percent(33) }
        }
        11..=12 => Operation::Undelete { path: name(random) },
        13 => {
            let path = directory(random);
            Operation::Mkdir { path, parents: random.percent(50) }
        }
        14 if random.percent(33) => {
            Operation::Delete { path: directory(random), recursive: true, purge: false }
        }
        14 => Operation::Undelete { path: directory(random) },
        15 => Operation::List { path: directory(random) },
        _ => Operation::Stat { path: name(random) },
    }
}

async fn perform(client: &Client, operation: &Operation) -> gfs_client::Result<Answer> {
    let at = |path: &str| format!("{ROOT}{path}");
    Ok(match operation {
        Operation::Create { path } => {
            let file = client.create(at(path), Default::default()).await?;
            Answer::Entry(Entry { kind: Kind::File, id: file.id().0 })
        }
        Operation::Mkdir { path, parents } => {
            client.mkdir(at(path), *parents).await?;
            Answer::Nothing
        }
        Operation::Rename { from, to, replace } => {
            entry(&client.rename(at(from), at(to), *replace).await?)
        }
        Operation::Delete { path, recursive, purge } => {
            let options = DeleteOptions { recursive: *recursive, purge: *purge };
            client.delete(at(path), options).await?;
            Answer::Nothing
        }
        Operation::Undelete { path } => entry(&client.undelete(at(path)).await?),
        Operation::Stat { path } => entry(&client.stat(at(path)).await?),
        Operation::List { path } => {
            // So few names come in one page.
            let entries: Vec<wire::Entry> = client.list(at(path)).try_collect().await?;
            Answer::Names(entries.iter().map(|entry| (entry.path.clone(), known(entry))).collect())
        }
    })
}

fn entry(entry: &wire::Entry) -> Answer {
    Answer::Entry(known(entry))
}

fn known(entry: &wire::Entry) -> Entry {
    let kind = match entry.kind {
        wire::EntryKind::File => Kind::File,
        wire::EntryKind::Directory => Kind::Directory,
    };
    Entry { kind, id: entry.id.0 }
}

/// What an error says of the namespace; `None` when a client must never meet it.
fn not_done(error: &Error) -> Option<Outcome> {
    if is_unknown(error) {
        return Some(Outcome::Unknown);
    }
    Some(match error.kind() {
        ErrorKind::Invalid => Outcome::Refused(Refusal::Invalid),
        ErrorKind::NotFound => Outcome::Refused(Refusal::NotFound),
        ErrorKind::AlreadyExists => Outcome::Refused(Refusal::AlreadyExists),
        ErrorKind::Busy => Outcome::NotDone,
        // Of a session that is over: less is claimed rather than more.
        ErrorKind::Stale => Outcome::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked() {
        let mut random = Random::of(1, "names");
        let kinds: std::collections::HashSet<_> =
            (0..500).map(|_| std::mem::discriminant(&choose(&mut random))).collect();
        assert_eq!(kinds.len(), 7);
    }

    #[test]
    fn what_cannot_have_been_shown_is_found() -> Result<(), gfs_history::HistoryError> {
        let notes = Notes::new();
        let create = Operation::Create { path: "/one".to_owned() };
        let created = || Outcome::Done(Answer::Entry(Entry { kind: Kind::File, id: 5 }));
        for (client, linearizable) in [(0, true), (1, false)] {
            let call = notes.called(client, &create);
            notes.note(client, call, What::Returned(created()));
            assert_eq!(gfs_history::check(&notes.history()?).is_linearizable(), linearizable);
        }
        Ok(())
    }
}
