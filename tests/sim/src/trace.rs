//! What happened, as lines and as one number: the same seed gives the same of both.

use std::fmt::{Arguments, Write as _};

use crate::agenda::Micros;

/// What becomes of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// They are counted; nobody makes them.
    Not,
    /// They are made, and one number is made of all of them.
    Hashed,
    /// They go to the standard output too.
    Printed,
}

/// The record of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    line: String,
    events: u64,
    traced: Traced,
}

impl Trace {
    /// An empty record.
    #[must_use]
    pub(crate) fn new(traced: Traced) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, line: String::new(), events: 0, traced }
    }

    /// Something happened.
    pub(crate) fn note(&mut self, now: Micros, what: Arguments<'_>) {
        self.events += 1;
        if self.traced == Traced::Not {
            return;
        }
        self.line.clear();
        // A string takes everything.
        let _ = write!(self.line, "{:>4}.{:06} {what}", now / 1_000_000, now % 1_000_000);
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.traced == Traced::Printed {
            println!("{}", self.line);
        }
    }

    /// One number for all of it, if it was made.
    #[must_use]
    pub(crate) fn hash(&self) -> Option<u64> {
        (self.traced != Traced::Not).then_some(self.hash)
    }

    /// How many lines it has.
    #[must_use]
    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}
