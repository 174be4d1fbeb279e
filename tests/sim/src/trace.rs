//! What happened, as lines and as one number: the same seed gives the same of both.

use std::fmt::{Arguments, Write as _};

use crate::agenda::Micros;

/// The record of a run.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    line: String,
    events: u64,
    print: bool,
}

impl Trace {
    /// An empty record; with `print` its lines go to the standard output.
    #[must_use]
    pub(crate) fn new(print: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, line: String::new(), events: 0, print }
    }

    /// Something happened.
    pub(crate) fn note(&mut self, now: Micros, what: Arguments<'_>) {
        self.line.clear();
        self.events += 1;
        // A string takes everything.
        let _ = write!(self.line, "{:>4}.{:06} {what}", now / 1_000_000, now % 1_000_000);
        for byte in self.line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.print {
            println!("{}", self.line);
        }
    }

    /// One number for all of it.
    #[must_use]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines it has.
    #[must_use]
    pub(crate) fn events(&self) -> u64 {
        self.events
    }
}
