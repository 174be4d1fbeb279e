//! A history as it is kept: one JSON line for each call and each return, in the order of real time.
//!
//! ```text
//! {"at_us":12,"client":1,"call":7,"called":{"create":{"path":"/a"}}}
//! {"at_us":31,"client":1,"call":7,"returned":{"done":{"entry":{"kind":"file","id":5}}}}
//! ```
//!
//! A call that never returned has the outcome [`Outcome::Unknown`], like one whose caller gave up.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::operation::{Operation, Outcome};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When, in microseconds, by one clock for all lines of a history.
    pub at_us: u64,
    /// Who.
    pub client: u32,
    /// Which call of all, whoever calls.
    pub call: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It began.
    Called(Operation),
    /// It ended.
    Returned(Outcome),
}

/// Events that fit together: every return belongs to one call before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    events: Vec<Event>,
}

/// Why lines are no history.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("the history cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is something else.
    #[error("line {line} is no event: {source}")]
    NotAnEvent {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Time went back: the order of the lines is that of real time.
    #[error("event {event} is at {at_us} us, the one before it later")]
    Backwards {
        /// Counted from 1.
        event: usize,
        /// Its time.
        at_us: u64,
    },
    /// Two calls have one number.
    #[error("event {event} calls {call}, which was called before")]
    CalledTwice {
        /// Counted from 1.
        event: usize,
        /// The call.
        call: u64,
    },
    /// A return without a call, or a second one.
    #[error("event {event} is a return of call {call}, which is not under way")]
    NotUnderWay {
        /// Counted from 1.
        event: usize,
        /// The call.
        call: u64,
    },
    /// The namespace has no such path.
    #[error("event {event} names the path `{path}`, which is not absolute and plain")]
    BadPath {
        /// Counted from 1.
        event: usize,
        /// The path.
        path: String,
    },
}

impl History {
    /// Checks that events fit together.
    ///
    /// # Errors
    /// They do not.
    pub fn new(events: Vec<Event>) -> Result<Self, HistoryError> {
        let (mut called, mut open) = (BTreeSet::new(), BTreeSet::new());
        let mut last_us = 0;
        for (event, Event { at_us, call, what, .. }) in (1..).zip(&events) {
            if *at_us < last_us {
                return Err(HistoryError::Backwards { event, at_us: *at_us });
            }
            last_us = *at_us;
            match what {
                What::Called(operation) => {
                    check_paths(event, operation)?;
                    if !called.insert(*call) {
                        return Err(HistoryError::CalledTwice { event, call: *call });
                    }
                    open.insert(*call);
                }
                What::Returned(_) if open.remove(call) => {}
                What::Returned(_) => return Err(HistoryError::NotUnderWay { event, call: *call }),
            }
        }
        Ok(Self { events })
    }

    /// Brings together what several processes of one machine noted, by the clock they share. At the same microsecond calls come before
    /// returns: then both overlap, and less is claimed rather than more.
    ///
    /// # Errors
    /// They do not fit together.
    pub fn merged(parts: Vec<Vec<Event>>) -> Result<Self, HistoryError> {
        let mut events: Vec<_> = parts.into_iter().flatten().collect();
        events.sort_by_key(|event| (event.at_us, matches!(event.what, What::Returned(_))));
        Self::new(events)
    }

    /// Reads lines; empty ones are skipped.
    ///
    /// # Errors
    /// They are no history.
    pub fn read(from: impl BufRead) -> Result<Self, HistoryError> {
        let mut events = Vec::new();
        for (line, text) in (1..).zip(from.lines()) {
            let text = text?;
            if !text.trim().is_empty() {
                let event = serde_json::from_str(&text)
                    .map_err(|source| HistoryError::NotAnEvent { line, source })?;
                events.push(event);
            }
        }
        Self::new(events)
    }

    /// Writes the lines.
    ///
    /// # Errors
    /// `to` cannot be written to.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut to, event)?;
            to.write_all(b"\n")?;
        }
        to.flush()
    }

    /// In order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How each call ended; those that never returned are not here.
    pub(crate) fn outcomes(&self) -> BTreeMap<u64, &Outcome> {
        let returned = self.events.iter().filter_map(|event| match &event.what {
            What::Returned(outcome) => Some((event.call, outcome)),
            What::Called(_) => None,
        });
        returned.collect()
    }
}

fn check_paths(event: usize, operation: &Operation) -> Result<(), HistoryError> {
    let plain = |name: &str| !matches!(name, "" | "." | "..");
    let good = |path: &str| {
        path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
    };
    match operation.paths().into_iter().find(|path| !good(path)) {
        Some(path) => Err(HistoryError::BadPath { event, path: path.to_owned() }),
        None => Ok(()),
    }
}
