//! The check of a history of the namespace: its parts, each searched, and what a person needs to see where one fails.

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{History, What};
use crate::linear::{self, Call, Model, Moment, Verdict};
use crate::namespace::Namespace;
use crate::operation::{Answer, Operation, Outcome, Refusal};
use crate::split;

/// What came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Calls that were checked: all but questions without an answer and what surely did not happen.
    pub calls: usize,
    /// Of them, calls of which nobody knows whether they took effect.
    pub unknown: usize,
    /// Parts that were searched apart.
    pub parts: usize,
    /// Parts for which the search was given up.
    pub undecided: usize,
    /// What is wrong, a text for a person; empty when nothing is.
    pub violations: Vec<String>,
}

impl Report {
    /// Whether every part has an order.
    #[must_use]
    pub fn is_linearizable(&self) -> bool {
        self.undecided == 0 && self.violations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, unknown, parts, undecided, violations } = self;
        for violation in violations {
            writeln!(f, "{violation}")?;
        }
        let violations = violations.len();
        write!(
            f,
            "{calls} calls, {unknown} of unknown outcome, in {parts} parts: {violations} violations, {undecided} undecided"
        )
    }
}

/// Whether the history of a namespace that was empty at its start is linearizable.
#[must_use]
pub fn check(history: &History) -> Report {
    let calls = Calls::of(history);
    let parts = split::parts(calls.calls.iter().map(|call| &call.operation));
    let mut report = Report {
        calls: calls.calls.len(),
        unknown: calls.calls.iter().filter(|call| call.outcome.is_none()).count(),
        parts: parts.len(),
        undecided: 0,
        violations: Vec::new(),
    };
    report.violations.extend(calls.ids_in_two(&parts));
    for part in parts {
        let part = calls.part(&part);
        match linear::search(Namespace::default(), &part.calls, &part.moments) {
            Verdict::Linearizable => {}
            Verdict::Undecided { .. } => report.undecided += 1,
            Verdict::Violation(violation) => report.violations.push(part.tell(&violation)),
        }
    }
    report
}

/// What a caller was told of the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done(Answer),
    /// It was refused.
    Refused(Refusal),
}

impl Told {
    /// The ids of entries below the root that it names.
    fn ids(&self) -> Vec<u64> {
        match self {
            Self::Done(Answer::Entry(entry)) => vec![entry.id],
            Self::Done(Answer::Names(names)) => names.iter().map(|(_, entry)| entry.id).collect(),
            Self::Done(Answer::Nothing) | Self::Refused(_) => Vec::new(),
        }
    }
}

impl Model for Namespace {
    type Operation = Operation;
    type Outcome = Told;

    fn after(&self, call: u32, operation: &Operation, told: Option<&Told>) -> Option<Self> {
        let mut after = self.clone();
        match (after.perform(call, operation), told) {
            (Ok(found), Some(Told::Done(answer))) => after.agrees(&found, answer).then_some(after),
            (Err(refusal), Some(Told::Refused(told))) => (refusal == *told).then_some(after),
            (Ok(_), None) => Some(after),
            _ => None,
        }
    }

    fn changes_nothing(operation: &Operation, told: &Told) -> bool {
        operation.is_question() || matches!(told, Told::Refused(_))
    }
}

/// The calls of a history that say something, and when they were made.
struct Calls {
    calls: Vec<Call<Operation, Told>>,
    /// The number of each in the history.
    numbers: Vec<u64>,
    moments: Vec<Moment>,
}

impl Calls {
    fn of(history: &History) -> Self {
        let outcomes = history.outcomes();
        let mut places: BTreeMap<u64, u32> = BTreeMap::new();
        let mut all = Self { calls: Vec::new(), numbers: Vec::new(), moments: Vec::new() };
        for event in history.events() {
            match &event.what {
                What::Called(operation) => {
                    let outcome = match outcomes.get(&event.call) {
                        Some(Outcome::Done(answer)) => Some(Told::Done(answer.clone())),
                        Some(Outcome::Refused(refusal)) => Some(Told::Refused(*refusal)),
                        Some(Outcome::NotDone) => continue,
                        Some(Outcome::Unknown) | None if operation.is_question() => continue,
                        Some(Outcome::Unknown) | None => None,
                    };
                    let place = u32::try_from(all.calls.len()).expect("a history fits in memory");
                    places.insert(event.call, place);
                    all.calls.push(Call { operation: operation.clone(), outcome });
                    all.numbers.push(event.call);
                    all.moments.push(Moment::Called(place));
                }
                What::Returned(Outcome::Done(_) | Outcome::Refused(_)) => {
                    all.moments.extend(places.get(&event.call).copied().map(Moment::Returned));
                }
                What::Returned(Outcome::NotDone | Outcome::Unknown) => {}
            }
        }
        all
    }

    /// Only these calls, numbered anew.
    fn part(&self, places: &[usize]) -> Self {
        let of = |call: u32| {
            let place = places.binary_search(&(call as usize)).ok()?;
            u32::try_from(place).ok()
        };
        let moments = self.moments.iter().filter_map(|moment| match *moment {
            Moment::Called(call) => of(call).map(Moment::Called),
            Moment::Returned(call) => of(call).map(Moment::Returned),
        });
        Self {
            calls: places.iter().map(|place| self.calls[*place].clone()).collect(),
            numbers: places.iter().map(|place| self.numbers[*place]).collect(),
            moments: moments.collect(),
        }
    }

    /// Ids that two parts were told: searched apart, neither sees the other's.
    fn ids_in_two(&self, parts: &[Vec<usize>]) -> Vec<String> {
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        let mut found = Vec::new();
        for (part, places) in parts.iter().enumerate() {
            for place in places {
                for id in self.calls[*place].outcome.iter().flat_map(Told::ids) {
                    if *first.entry(id).or_insert(part) != part {
                        let number = self.numbers[*place];
                        found.push(format!(
                            "call {number} was told id {id}, which another entry has"
                        ));
                    }
                }
            }
        }
        found
    }

    fn tell(&self, violation: &linear::Violation) -> String {
        let call = |place: u32| {
            let Call { operation, outcome } = &self.calls[place as usize];
            let number = self.numbers[place as usize];
            match outcome {
                Some(told) => format!("call {number}: {operation:?} -> {told:?}"),
                None => format!("call {number}: {operation:?} -> nobody knows"),
            }
        };
        let mut lines = vec![format!("no order explains {}", call(violation.call))];
        lines.extend(violation.open.iter().map(|open| format!("  under way: {}", call(*open))));
        lines.push(format!("  after: {}", violation.state));
        lines.join("\n")
    }
}
