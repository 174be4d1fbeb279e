//! A file answers one question; past 400 lines it answers several.

use anyhow::Result;

use super::{Finding, source};
use crate::workspace::Workspace;

/// Most lines a file may have before its tests.
const LINES_MAX: usize = 400;

pub(super) fn find(workspace: &Workspace) -> Result<Vec<Finding>> {
    let sizes = source::production(workspace)?.into_iter().map(|(path, lines)| (path, lines.len()));
    let too_long = sizes.filter(|(_, lines)| is_too_long(*lines));
    Ok(too_long.map(|(path, lines)| Finding::whole(path, message(lines))).collect())
}

fn is_too_long(lines: usize) -> bool {
    lines > LINES_MAX
}

fn message(lines: usize) -> String {
    format!(
        "{lines} lines before its tests, {LINES_MAX} at most: split it by the questions it answers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_past_it_is_not() {
        assert!(!is_too_long(LINES_MAX));
        assert!(is_too_long(LINES_MAX + 1));
    }
}
