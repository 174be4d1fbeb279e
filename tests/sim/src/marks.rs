//! Which rare paths seeds came by, and which they cannot come by yet.

use gfs_types::marks::{Mark, never_hit};

/// Marks that a batch of seeds need not hit, each with what the simulator lacks for it, or how rare it is. This list may only
/// become shorter.
pub const NOT_YET: &[(Mark, &str)] = &[
    (
        Mark::RaiseAnsweredAgain,
        "no command comes twice: a stream to the master loses its end, never its middle",
    ),
    (
        Mark::StaleRefusedRaise,
        "the master asks nobody whom it does not know to be current, and commands do not overtake reports",
    ),
    (
        Mark::OtherSessionDropped,
        "commands to a run of a server travel on the stream of that run, and end with it",
    ),
    (Mark::OtherPrimaryRefused, "two primaries of one version: no master grants a version twice"),
    (Mark::LearnerPassedAgain, "chunks are smaller than TEACH_REST_BYTES"),
    (
        Mark::RaiseFoundBegun,
        "a master must die within a raise while a lease runs: once in hundreds of seeds",
    ),
    (
        Mark::UntaughtRefusedRaise,
        "a learner restarts between its report and its raise: once in a hundred seeds",
    ),
    (
        Mark::TornTailCut,
        "the master must lose power within a write that it did not sync: once in a hundred seeds",
    ),
    (Mark::GrantNotTaken, "a member dies between its raise and the grant: once in a hundred seeds"),
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
