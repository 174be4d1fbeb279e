//! The rows of the table: what is measured, and what it shall be.

mod appends;
mod bulk;
mod metadata;
mod restart;
mod small;
mod steady;

use anyhow::Result;

use super::figures::{Figures, Target};
use super::lab::Lab;

/// Something that is measured.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// It needs the machine for itself, or a cluster of its own.
    pub(crate) apart: bool,
    /// One round says it all, or takes minutes.
    pub(crate) once: bool,
    pub(crate) measure: fn(&mut Lab) -> Result<Figures>,
    pub(crate) targets: &'static [Target],
}

impl Row {
    const fn new(
        name: &'static str,
        about: &'static str,
        measure: fn(&mut Lab) -> Result<Figures>,
        targets: &'static [Target],
    ) -> Self {
        Self { name, about, apart: false, once: false, measure, targets }
    }

    const fn once(self) -> Self {
        Self { once: true, ..self }
    }

    const fn apart(self) -> Self {
        Self { apart: true, ..self }
    }
}

/// All of them, in the order of the page.
pub(crate) const ROWS: [Row; 14] = [
    bulk::WRITE,
    bulk::READ,
    small::RANDOM_READ,
    small::WRITE,
    appends::APPEND,
    metadata::CREATE,
    metadata::STAT,
    metadata::LIST,
    small::PUT,
    steady::IDLE,
    steady::MIXED,
    restart::MEMORY,
    restart::RESTART,
    restart::CHECKPOINT,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_every_line_a_figure_of_its_own() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
            for (index, target) in row.targets.iter().enumerate() {
                let before = &row.targets[..index];
                assert!(before.iter().all(|other| other.figure != target.figure), "{}", row.name);
            }
            assert!(!row.targets.is_empty(), "{}", row.name);
        }
    }
}
