//! Which rare paths seeds came by, and which they cannot come by yet.

use gfs_types::marks::{Mark, never_hit};

/// Marks that a batch of seeds need not hit, each with what the simulator lacks for it, or how rare it is. This list may only
/// become shorter.
pub const NOT_YET: &[(Mark, &str)] = &[
    (
        Mark::StaleRefusedRaise,
        "the master asks nobody whom it does not know to be current, and commands do not overtake reports",
    ),
    (Mark::OtherPrimaryRefused, "two primaries of one version: no master grants a version twice"),
    (
        Mark::RaiseFoundBegun,
        "a master must die within a raise while a lease runs: once in hundreds of seeds",
    ),
];

/// Marks that should have been hit by now.
#[must_use]
pub fn missed() -> Vec<Mark> {
    let mut missed = never_hit();
    missed.retain(|mark| !NOT_YET.iter().any(|(not_yet, _)| not_yet == mark));
    missed
}

/// One line: how many were hit, and the names of those that were not.
#[must_use]
pub fn summary() -> String {
    let never = never_hit();
    let (hit, all) = (Mark::ALL.len() - never.len(), Mark::ALL.len());
    let sooner = NOT_YET.iter().filter(|(mark, _)| !never.contains(mark));
    let sooner: Vec<_> = sooner.map(|(mark, _)| mark).collect();
    let mut line = format!("{hit} of {all} marks hit; never: {never:?}");
    if !sooner.is_empty() {
        line += &format!("; hit, though NOT_YET names them: {sooner:?}");
    }
    line
}
