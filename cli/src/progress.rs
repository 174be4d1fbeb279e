//! A line about how far a copy is: only where stderr is a terminal.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::note;

/// How far a copy of files is. Cheap to clone; clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

const REDRAW: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed} {wide_msg}";
const TEMPLATE_WITH_END: &str =
    "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} eta {eta} {wide_msg}";

impl Progress {
    /// Begins; `length` in bytes, if it is known.
    pub(crate) fn begin(length: Option<u64>) -> Self {
        if !stderr().is_terminal() {
            return Self { bar: ProgressBar::hidden() };
        }
        let (bar, template) = match length {
            Some(length) => (ProgressBar::new(length), TEMPLATE_WITH_END),
            None => (ProgressBar::new_spinner(), TEMPLATE),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(REDRAW);
        Self { bar }
    }

    /// So many bytes more.
    pub(crate) fn advance(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }

    /// What is being worked on.
    pub(crate) fn at(&self, what: impl Display) {
        if !self.bar.is_hidden() {
            self.bar.set_message(what.to_string());
        }
    }

    /// A line on stderr, above the bar.
    pub(crate) fn note(&self, message: impl Display) {
        self.bar.suspend(|| note(message));
    }

    /// Takes the line away.
    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
