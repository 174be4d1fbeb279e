//! Clients that fight over the same few names, and note all that they called and were told: was it one namespace?

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use gfs_client::{Client, DeleteOptions, ErrorKind};
use gfs_history::event::What;
use gfs_history::{Answer, Entry, Event, History, Kind, Operation, Outcome, Refusal, check};
use gfs_types::message::client as wire;
use tokio::time::sleep;

use super::{Count, Shared, lock};
use crate::payload;

const PAUSE: Duration = Duration::from_millis(4);
/// Two directories of three names each, and what may stand in a file's place.
const DIRECTORIES: [&str; 2] = ["/one", "/two"];
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What all contenders of a load called and were told, in order.
#[derive(Debug)]
pub(super) struct Notes {
    began: Instant,
    events: Mutex<Vec<Event>>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), events: Mutex::default() }
    }

    /// The time is taken with the place in the order, so that both say the same.
    fn called(&self, client: u32, operation: &Operation) -> u64 {
        let mut events = lock(&self.events);
        let call = events.len() as u64;
        events.push(self.event(client, call, What::Called(operation.clone())));
        call
    }

    fn returned(&self, client: u32, call: u64, outcome: Outcome) {
        let mut events = lock(&self.events);
        events.push(self.event(client, call, What::Returned(outcome)));
    }

    fn event(&self, client: u32, call: u64, what: What) -> Event {
        let at_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        Event { at_us, client, call, what }
    }

    /// Whether one namespace could have shown all of it.
    pub(super) fn check(&self) -> Result<()> {
        let events = lock(&self.events).clone();
        let history = History::new(events)?;
        let report = check(&history);
        if report.is_linearizable() {
            return Ok(());
        }
        let kept = std::env::temp_dir().join(format!("gfs-history-{}.jsonl", std::process::id()));
        history.write(File::create(&kept)?)?;
        bail!("{report}; the history is kept in {}", kept.display())
    }
}

/// Asks and changes at random, in the directory of the contenders.
pub(super) async fn run(shared: Arc<Shared>, number: u64) -> Result<()> {
    let client = shared.connect().await?;
    let me = u32::try_from(number)?;
    for turn in 0u64.. {
        if !shared.gate.pass().await {
            break;
        }
        let operation = choose(&mut Dice { seed: shared.number << 8 | number, turn, thrown: 0 });
        let call = shared.contended.called(me, &operation);
        let outcome = outcome(perform(&client, &shared.contended_dir(), &operation).await)?;
        match outcome {
            Outcome::Done(_) if !operation.is_question() => shared.count(Count::Contended),
            Outcome::NotDone | Outcome::Unknown => shared.count(Count::Unsettled),
            Outcome::Done(_) | Outcome::Refused(_) => {}
        }
        shared.contended.returned(me, call, outcome);
        sleep(PAUSE).await;
    }
    Ok(())
}

struct Dice {
    seed: u64,
    turn: u64,
    thrown: u64,
}

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.thrown += 1;
        payload::draw(self.seed, self.turn << 8 | self.thrown) % most
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    fn of(&mut self, all: &[&str]) -> String {
        let place = usize::try_from(self.below(all.len() as u64)).unwrap_or(0);
        all[place].to_owned()
    }

    fn name(&mut self) -> String {
        format!("{}/{}", self.of(&DIRECTORIES), self.of(&NAMES))
    }
}

fn choose(dice: &mut Dice) -> Operation {
    match dice.below(20) {
        0..=4 => Operation::Create { path: dice.name() },
        5..=7 => Operation::Rename { from: dice.name(), to: dice.name(), replace: dice.one_in(2) },
        8..=10 => Operation::Delete { path: dice.name(), recursive: false, purge: dice.one_in(3) },
        11..=12 => Operation::Undelete { path: dice.name() },
        13 => Operation::Mkdir { path: dice.of(&DIRECTORIES), parents: dice.one_in(2) },
        14 if dice.one_in(3) => {
            Operation::Delete { path: dice.of(&DIRECTORIES), recursive: true, purge: false }
        }
        14 => Operation::Undelete { path: dice.of(&DIRECTORIES) },
        15 => Operation::List { path: dice.of(&DIRECTORIES) },
        _ => Operation::Stat { path: dice.name() },
    }
}

async fn perform(client: &Client, dir: &str, operation: &Operation) -> gfs_client::Result<Answer> {
    let at = |path: &str| format!("{dir}{path}");
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

fn outcome(result: gfs_client::Result<Answer>) -> Result<Outcome> {
    let error = match result {
        Ok(answer) => return Ok(Outcome::Done(answer)),
        Err(error) => error,
    };
    Ok(match error.kind() {
        ErrorKind::Invalid => Outcome::Refused(Refusal::Invalid),
        ErrorKind::NotFound => Outcome::Refused(Refusal::NotFound),
        ErrorKind::AlreadyExists => Outcome::Refused(Refusal::AlreadyExists),
        ErrorKind::Unknown => Outcome::Unknown,
        ErrorKind::Busy => Outcome::NotDone,
        _ => bail!("{error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_asks_everything() {
        let operations: Vec<_> =
            (0..500).map(|turn| choose(&mut Dice { seed: 1, turn, thrown: 0 })).collect();
        let kinds: std::collections::HashSet<_> =
            operations.iter().map(std::mem::discriminant).collect();
        assert_eq!(kinds.len(), 7);
    }

    #[test]
    fn what_cannot_have_been_shown_is_found() {
        let notes = Notes::new();
        let operation = Operation::Create { path: "/one".to_owned() };
        let answer = || Outcome::Done(Answer::Entry(Entry { kind: Kind::File, id: 5 }));
        let call = notes.called(1, &operation);
        notes.returned(1, call, answer());
        notes.check().unwrap();
        let call = notes.called(2, &operation);
        notes.returned(2, call, answer());
        let error = notes.check().unwrap_err().to_string();
        assert!(error.contains("no order explains"), "{error}");
        let (_, kept) = error.rsplit_once("kept in ").unwrap();
        std::fs::remove_file(kept).unwrap();
    }
}
