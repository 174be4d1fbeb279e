//! Histories written by hand: a microsecond passes with every event.

#![allow(dead_code, reason = "each test file uses a part")]

use gfs_history::event::What;
use gfs_history::{Answer, Entry, Event, History, Kind, Operation, Outcome};

#[derive(Default)]
pub(crate) struct Script {
    events: Vec<Event>,
    calls: u64,
}

impl Script {
    pub(crate) fn call(&mut self, operation: Operation) -> u64 {
        let call = self.calls;
        self.calls += 1;
        self.event(call, What::Called(operation));
        call
    }

    pub(crate) fn returned(&mut self, call: u64, outcome: Outcome) {
        self.event(call, What::Returned(outcome));
    }

    fn event(&mut self, call: u64, what: What) {
        let at_us = self.events.len() as u64;
        self.events.push(Event { at_us, client: 1, call, what });
    }

    pub(crate) fn returned_file(&mut self, call: u64, id: u64) {
        let entry = Entry { kind: Kind::File, id };
        self.returned(call, Outcome::Done(Answer::Entry(entry)));
    }

    pub(crate) fn returned_unknown(&mut self, call: u64) {
        self.returned(call, Outcome::Unknown);
    }

    pub(crate) fn returned_not_done(&mut self, call: u64) {
        self.returned(call, Outcome::NotDone);
    }

    pub(crate) fn done(&mut self, operation: Operation) {
        let call = self.call(operation);
        self.returned(call, Outcome::Done(Answer::Nothing));
    }

    pub(crate) fn file(&mut self, operation: Operation, id: u64) {
        let call = self.call(operation);
        self.returned_file(call, id);
    }

    pub(crate) fn files(&mut self, operation: Operation, names: &[(&str, u64)]) {
        let call = self.call(operation);
        let entry = |id| Entry { kind: Kind::File, id };
        let names = names.iter().map(|(name, id)| ((*name).to_owned(), entry(*id))).collect();
        self.returned(call, Outcome::Done(Answer::Names(names)));
    }

    /// The word is that of the JSON lines.
    pub(crate) fn refused(&mut self, operation: Operation, refusal: &str) {
        let call = self.call(operation);
        let refusal = serde_json::from_value(refusal.into()).expect("a word of refusals");
        self.returned(call, Outcome::Refused(refusal));
    }

    pub(crate) fn events(self) -> Vec<Event> {
        self.events
    }

    pub(crate) fn history(self) -> History {
        History::new(self.events).expect("the script fits together")
    }
}

pub(crate) fn create(path: &str) -> Operation {
    Operation::Create { path: path.to_owned() }
}

pub(crate) fn mkdir(path: &str) -> Operation {
    Operation::Mkdir { path: path.to_owned(), parents: false }
}

pub(crate) fn rename(from: &str, to: &str) -> Operation {
    Operation::Rename { from: from.to_owned(), to: to.to_owned(), replace: false }
}

pub(crate) fn delete(path: &str) -> Operation {
    Operation::Delete { path: path.to_owned(), recursive: false, purge: false }
}

pub(crate) fn undelete(path: &str) -> Operation {
    Operation::Undelete { path: path.to_owned() }
}

pub(crate) fn stat(path: &str) -> Operation {
    Operation::Stat { path: path.to_owned() }
}

pub(crate) fn list(path: &str) -> Operation {
    Operation::List { path: path.to_owned() }
}
